/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/daemon.h"

#include <time.h>

#include "quotadefer/log.h"

void qd_daemon_init(struct qd_daemon *daemon, struct qd_settings *settings,
		    struct qd_table *table)
{
	pthread_mutex_init(&daemon->lock, NULL);
	pthread_mutex_init(&daemon->writing, NULL);
	daemon->settings = settings;
	daemon->table = table;
	atomic_store(&daemon->metrics.last_reload_good, true);
	daemon->metrics.started = (int64_t)time(NULL);
}

struct qd_settings *qd_daemon_settings(struct qd_daemon *daemon,
				       unsigned int *generation)
{
	struct qd_settings *settings;

	pthread_mutex_lock(&daemon->lock);
	settings = qd_settings_ref(daemon->settings);
	if (generation)
		*generation = atomic_load(&daemon->generation);
	pthread_mutex_unlock(&daemon->lock);
	return settings;
}

void qd_daemon_replace_settings(struct qd_daemon *daemon,
				struct qd_settings *settings)
{
	struct qd_settings *old;

	pthread_mutex_lock(&daemon->lock);
	old = daemon->settings;
	daemon->settings = settings;
	atomic_fetch_add(&daemon->generation, 1);
	pthread_mutex_unlock(&daemon->lock);
	qd_settings_unref(&old);
}

void qd_daemon_table_state(struct qd_daemon *daemon, const struct qd_error *err)
{
	if (err) {
		if (!atomic_exchange(&daemon->table_failed, true))
			qd_log(LOG_WARNING, "%s; recipients pass", err->text);
		return;
	}
	/* a plain load first: this is asked for every recipient */
	if (atomic_load(&daemon->table_failed) &&
	    atomic_exchange(&daemon->table_failed, false))
		qd_log(LOG_NOTICE, "the table can be read again");
}
