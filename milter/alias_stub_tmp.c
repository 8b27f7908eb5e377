#include "quotadefer/aliases.h"
enum qd_found qd_aliases_expand(struct qd_aliases *a, const struct qd_settings *s, const struct qd_address *d, const struct qd_alias_watcher *w, struct qd_targets *o, struct qd_error *e){(void)a;(void)s;(void)d;(void)w;(void)o;(void)e;return QD_ERROR;}
void qd_targets_free(struct qd_targets *t){(void)t;}
int qd_aliases_open(const struct qd_settings *settings, bool strict, void (*say)(int priority, const char *text), struct qd_aliases **out, struct qd_error *err){(void)settings;(void)strict;(void)say;(void)err;*out=0;return 0;}
struct qd_aliases *qd_aliases_ref(struct qd_aliases *aliases){return aliases;}
void qd_aliases_unref(struct qd_aliases **aliases){*aliases=0;}
bool qd_aliases_fit(const struct qd_aliases *a, const struct qd_settings *s){(void)a;(void)s;return true;}
void qd_aliases_each(struct qd_aliases *aliases, void (*each)(void *arg, const char *name, const struct qd_aliasmap_stats *stats), void *arg){(void)aliases;(void)each;(void)arg;}
void qd_aliases_cached(struct qd_aliases *aliases, const char *name, const char *key, char *out, size_t size){(void)aliases;(void)name;(void)key;(void)out;(void)size;}
