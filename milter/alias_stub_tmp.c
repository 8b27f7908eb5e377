#include "quotadefer/aliases.h"
enum qd_found qd_aliases_expand(struct qd_aliases *a,
				const struct qd_settings *s,
				const struct qd_address *d,
				const struct qd_alias_watcher *w,
				struct qd_targets *o, struct qd_error *e)
{
	(void)a;
	(void)s;
	(void)d;
	(void)w;
	(void)o;
	(void)e;
	return QD_ERROR;
}
void qd_targets_free(struct qd_targets *t)
{
	(void)t;
}
