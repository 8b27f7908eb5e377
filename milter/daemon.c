/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/daemon.h"

#include <time.h>

#include "quotadefer/log.h"

/* So long without a failure, and an outage is over. */
enum {
	QUIET_S = 5,
	ALIAS_S = 60
};

void qd_daemon_init(struct qd_daemon *daemon, struct qd_settings *settings,
		    struct qd_aliases *aliases, struct qd_table *table)
{
	pthread_mutex_init(&daemon->lock, NULL);
	pthread_mutex_init(&daemon->writing, NULL);
	daemon->settings = settings;
	daemon->aliases = aliases;
	daemon->table = table;
	atomic_store(&daemon->metrics.last_reload_good, true);
	daemon->metrics.started = (int64_t)time(NULL);
}

struct qd_settings *qd_daemon_settings(struct qd_daemon *daemon,
				       struct qd_aliases **aliases,
				       unsigned int *generation)
{
	struct qd_settings *settings;

	pthread_mutex_lock(&daemon->lock);
	settings = qd_settings_ref(daemon->settings);
	if (aliases)
		*aliases = qd_aliases_ref(daemon->aliases);
	if (generation)
		*generation = atomic_load(&daemon->generation);
	pthread_mutex_unlock(&daemon->lock);
	return settings;
}

void qd_daemon_replace_settings(struct qd_daemon *daemon,
				struct qd_settings *settings,
				struct qd_aliases *aliases)
{
	struct qd_aliases *old_aliases;
	struct qd_settings *old;

	pthread_mutex_lock(&daemon->lock);
	old = daemon->settings;
	daemon->settings = settings;
	old_aliases = daemon->aliases;
	daemon->aliases = aliases;
	atomic_fetch_add(&daemon->generation, 1);
	atomic_store(&daemon->said_no_domains, false);
	pthread_mutex_unlock(&daemon->lock);
	qd_settings_unref(&old);
	qd_aliases_unref(&old_aliases);
}

static int64_t monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec;
}

void qd_daemon_no_domains(struct qd_daemon *daemon)
{
	if (!atomic_exchange(&daemon->said_no_domains, true))
		qd_log(LOG_WARNING,
		       "domains: not set, and Cyrus has virtdomains off: any "
		       "address would be a local user's, so all recipients "
		       "pass; set domains, and reload");
}

void qd_daemon_alias_failed(struct qd_daemon *daemon,
			    const struct qd_error *err)
{
	long long now = monotonic_seconds();
	long long last = atomic_load(&daemon->alias_failed_at);

	if ((last == 0 || now - last >= ALIAS_S) &&
	    atomic_compare_exchange_strong(&daemon->alias_failed_at, &last,
					   now))
		qd_log(LOG_WARNING, "%s; recipients pass", err->text);
}

void qd_daemon_table_failed(struct qd_daemon *daemon,
			    const struct qd_error *err, const char *meanwhile)
{
	atomic_store(&daemon->table_failed_at, monotonic_seconds());
	if (!atomic_exchange(&daemon->table_failed, true))
		qd_log(LOG_WARNING, "%s; %s", err->text, meanwhile);
}

void qd_daemon_table_works(struct qd_daemon *daemon)
{
	int64_t quiet =
		monotonic_seconds() - atomic_load(&daemon->table_failed_at);

	/* one damaged record among good ones is not an outage a second */
	if (atomic_load(&daemon->table_failed) && quiet >= QUIET_S) {
		atomic_store(&daemon->table_failed, false);
		qd_log(LOG_NOTICE, "the table can be read again");
	}
}
