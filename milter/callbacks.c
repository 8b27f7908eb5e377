/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/callbacks.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#include "quotadefer/deferline.h"
#include "quotadefer/listen.h"
#include "quotadefer/log.h"
#include "quotadefer/reply.h"
#include "quotadefer/value.h"

/*
 * One SMTP session. Most of it comes as macros at RCPT, so that the MTA need
 * not send the connect and mail events at all; the texts here are for events
 * that were sent.
 */
struct session {
	struct qd_settings *settings;
	struct qd_aliases *aliases;
	unsigned int generation;
	int64_t deferred; /* replies, since the last accepted message */
	char *client_name, *client_address, *helo;
	/* this transaction */
	char *sender;
	int64_t size;
	unsigned int passed; /* recipients to whom the message may go */
	char *full_line;     /* of the first to be answered at DATA */
	enum qd_resource full_resource;
};

/* libmilter's callbacks have no argument of ours. */
static struct qd_daemon *the_daemon;

/* A client may send 64 KB; nothing that long is ever looked at. */
static void set_text(char **field, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	free(*field);
	*field = NULL;
	if (!text)
		return;
	if (length >= QD_LOG_LINE)
		length = QD_LOG_LINE - 1;
	*field = malloc(length + 1);
	if (!*field)
		return;
	memcpy(*field, text, length);
	(*field)[length] = '\0';
}

static void end_transaction(struct session *s)
{
	set_text(&s->sender, NULL);
	set_text(&s->full_line, NULL);
	s->size = 0;
	s->passed = 0;
}

static void free_session(struct session *s)
{
	end_transaction(s);
	set_text(&s->client_name, NULL);
	set_text(&s->client_address, NULL);
	set_text(&s->helo, NULL);
	qd_settings_unref(&s->settings);
	qd_aliases_unref(&s->aliases);
	free(s);
}

static struct session *new_session(void)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s)
		s->settings = qd_daemon_settings(the_daemon, &s->aliases,
						 &s->generation);
	return s;
}

/* Settings in force now; a session may outlive several reloads. */
static const struct qd_settings *current_settings(struct session *s)
{
	if (atomic_load(&the_daemon->generation) != s->generation) {
		qd_settings_unref(&s->settings);
		qd_aliases_unref(&s->aliases);
		s->settings = qd_daemon_settings(the_daemon, &s->aliases,
						 &s->generation);
	}
	return s->settings;
}

static bool table_wants_size(void)
{
	struct qd_view *view = qd_view_begin(the_daemon->table, NULL);
	bool wanted = view && qd_view_wants_size(view);

	if (view)
		qd_view_end(view);
	return wanted;
}

static bool ask_for_macros(SMFICTX *ctx)
{
	static char rcpt[] = "i f {auth_authen} {client_addr} {client_name} "
			     "{client_port} {mail_addr} {rcpt_addr}";
	static char data[] = "i";

	return smfi_setsymlist(ctx, SMFIM_ENVRCPT, rcpt) == MI_SUCCESS &&
	       smfi_setsymlist(ctx, SMFIM_DATA, data) == MI_SUCCESS;
}

/*
 * Ask for as little as possible: each event costs the MTA a write, each reply
 * a wait. HELO is for the log; MAIL matters if SIZE does. An MTA that cannot
 * send chosen macros sends its own with the events, which must then come.
 */
static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions,
			     unsigned long steps, unsigned long f2,
			     unsigned long f3, unsigned long *our_actions,
			     unsigned long *our_steps, unsigned long *our_f2,
			     unsigned long *our_f3)
{
	bool macros = (actions & SMFIF_SETSYMLIST) && ask_for_macros(ctx);
	struct session *s = new_session();
	unsigned long without = SMFIP_NOBODY | SMFIP_NOHDRS | SMFIP_NOEOH |
				SMFIP_NOUNKNOWN | SMFIP_NR_HELO;

	(void)f2;
	(void)f3;
	if (s) {
		atomic_fetch_add(&the_daemon->metrics.sessions, 1);
		atomic_fetch_add(&the_daemon->metrics.sessions_total, 1);
	}
	smfi_setpriv(ctx, s);
	without |= macros ? SMFIP_NOCONNECT : SMFIP_NR_CONN;
	without |= macros && !table_wants_size() ? SMFIP_NOMAIL : SMFIP_NR_MAIL;
	*our_actions = macros ? SMFIF_SETSYMLIST : 0;
	*our_steps = without & steps;
	*our_f2 = 0;
	*our_f3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	struct session *s = smfi_getpriv(ctx);
	char text[INET6_ADDRSTRLEN] = "";

	if (s && address) {
		const struct sockaddr_in *v4 = (void *)address;
		const struct sockaddr_in6 *v6 = (void *)address;

		if (address->sa_family == AF_INET)
			inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		else if (address->sa_family == AF_INET6)
			inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		set_text(&s->client_address, text);
	}
	if (s)
		set_text(&s->client_name, name);
	return SMFIS_NOREPLY;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	struct session *s = smfi_getpriv(ctx);

	if (s)
		set_text(&s->helo, name);
	return SMFIS_NOREPLY;
}

static int64_t size_parameter(char **argv)
{
	int64_t size;

	for (argv++; *argv; argv++)
		if (strncasecmp(*argv, "SIZE=", 5) == 0 &&
		    qd_value_integer(*argv + 5, 0, INT64_MAX, &size) == 0)
			return size;
	return 0;
}

static sfsistat on_mail(SMFICTX *ctx, char **argv)
{
	struct session *s = smfi_getpriv(ctx);

	if (s) {
		end_transaction(s);
		set_text(&s->sender, argv[0]);
		s->size = size_parameter(argv);
	}
	return SMFIS_NOREPLY;
}

/* "" for a macro that the MTA did not send */
static const char *macro(SMFICTX *ctx, const char *name)
{
	/* libmilter only lacks the const */
	const char *value = smfi_getsymval(ctx, (char *)name);

	return value ? value : "";
}

/*
 * Postfix runs mail from sendmail(1) past non_smtpd_milters as if it came from
 * port 0 of localhost. A 4xx there is an error to it, not a deferral. The
 * "sendmail -bs" of sendmail has neither port nor address.
 */
static bool is_local_submission(SMFICTX *ctx)
{
	const char *address;

	if (strcmp(macro(ctx, "{client_port}"), "0") != 0)
		return false;
	address = macro(ctx, "{client_addr}");
	return strcmp(address, "127.0.0.1") == 0 ||
	       strcmp(address, "::1") == 0 ||
	       strcmp(address, "IPv6:::1") == 0 || strcmp(address, "0") == 0;
}

static const char *client_address(SMFICTX *ctx, const struct session *s)
{
	return s->client_address ? s->client_address :
				   macro(ctx, "{client_addr}");
}

static void log_line(SMFICTX *ctx, int priority, const char *what,
		     const char *line)
{
	const char *queue_id = macro(ctx, "i");
	char quoted[64];

	qd_log(priority, "%s: %s: %s",
	       *queue_id ? qd_log_quote(quoted, sizeof(quoted), queue_id) :
			   "NOQUEUE",
	       what, line);
}

static void make_line(SMFICTX *ctx, const struct session *s,
		      const struct qd_request *request,
		      const struct qd_answer *answer, char line[QD_LOG_LINE])
{
	struct qd_client client = {
		.name = s->client_name ? s->client_name :
					 macro(ctx, "{client_name}"),
		.address = client_address(ctx, s),
		.helo = s->helo,
	};

	qd_deferline(request, answer, &client, line, QD_LOG_LINE);
}

/* Defer with our reply, or pass if libmilter will not have it. */
static sfsistat defer(SMFICTX *ctx, struct session *s,
		      enum qd_resource resource, const char *line)
{
	struct qd_reply reply = { 0 };
	char text[sizeof(reply.text) * 2];

	qd_reply_defer(s->settings, resource, &reply);
	qd_reply_escape(reply.text, text, sizeof(text));
	if (smfi_setreply(ctx, reply.code, reply.dsn, text) != MI_SUCCESS) {
		atomic_fetch_add(&the_daemon->metrics.reply_errors, 1);
		qd_log(LOG_ERR, "libmilter refused the reply; %s", line);
		return SMFIS_CONTINUE;
	}
	log_line(ctx, LOG_INFO, "defer", line);
	return SMFIS_TEMPFAIL;
}

static sfsistat act(SMFICTX *ctx, struct session *s,
		    const struct qd_request *request,
		    const struct qd_answer *answer)
{
	char line[QD_LOG_LINE];
	sfsistat status = SMFIS_CONTINUE;

	if (answer->verdict == QD_PASS && answer->why != QD_WHY_MONITOR) {
		if (qd_log_is_on(LOG_DEBUG)) {
			qd_passline(request, answer, line, sizeof(line));
			log_line(ctx, LOG_DEBUG, "pass", line);
		}
		s->passed++;
		return SMFIS_CONTINUE;
	}
	make_line(ctx, s, request, answer, line);
	if (answer->at_data) {
		if (!s->full_line) {
			set_text(&s->full_line, line);
			s->full_resource = answer->resource;
		}
		/* no memory to defer it with: it passes */
		if (!s->full_line)
			s->passed++;
		return SMFIS_CONTINUE;
	}
	if (answer->why == QD_WHY_MONITOR)
		log_line(ctx, LOG_INFO, "would-defer", line);
	else
		status = defer(ctx, s, answer->resource, line);
	if (status == SMFIS_CONTINUE)
		s->passed++;
	else
		s->deferred++;
	return status;
}

static int64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * NULL if the MTA does not tell. {mail_addr} of sendmail has no domain if the
 * sender is one of its users; its f has, and Postfix knows no f.
 */
static const char *sender(SMFICTX *ctx, const struct session *s)
{
	const char *f;

	if (s->sender)
		return s->sender;
	f = smfi_getsymval(ctx, (char[]){ "f" });
	return f ? f : smfi_getsymval(ctx, (char[]){ "{mail_addr}" });
}

static sfsistat on_rcpt(SMFICTX *ctx, char **argv)
{
	struct session *s = smfi_getpriv(ctx);
	const struct qd_settings *settings;
	int64_t start = nanoseconds();
	struct qd_request request;
	struct qd_answer answer;

	if (!s)
		return SMFIS_CONTINUE;
	settings = current_settings(s);
	request = (struct qd_request){
		.rcpt = argv[0],
		.mapped = smfi_getsymval(ctx, (char[]){ "{rcpt_addr}" }),
		.sender = sender(ctx, s),
		.client = client_address(ctx, s),
		.size = s->size,
		.authenticated = *macro(ctx, "{auth_authen}") != '\0',
		.local_submission = is_local_submission(ctx),
		.deferred = s->deferred,
	};
	qd_rcpt_decide(settings, s->aliases, the_daemon->table, &request,
		       (int64_t)time(NULL), &answer);
	if (answer.why == QD_WHY_TABLE)
		qd_daemon_table_failed(the_daemon, &answer.err,
				       "recipients pass");
	if (answer.why == QD_WHY_ALIAS)
		qd_daemon_alias_failed(the_daemon, &answer.err);
	if (answer.why == QD_WHY_DOMAINS_UNSET)
		qd_daemon_no_domains(the_daemon);
	qd_metrics_rcpt(&the_daemon->metrics, &answer, nanoseconds() - start);
	return act(ctx, s, &request, &answer);
}

/*
 * Before any content. A message goes back only if every one of its recipients
 * is full: one reply must do for all of them.
 */
static sfsistat on_data(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (!s)
		return SMFIS_ACCEPT;
	if (s->full_line && s->passed == 0) {
		sfsistat status = defer(ctx, s, s->full_resource, s->full_line);

		if (status == SMFIS_TEMPFAIL) {
			s->deferred++;
			atomic_fetch_add(&the_daemon->metrics.data_deferred, 1);
			return status;
		}
	}
	s->deferred = 0;
	end_transaction(s);
	/* nothing after this concerns us: spare the MTA the end of message */
	return SMFIS_ACCEPT;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s)
		end_transaction(s);
	return SMFIS_CONTINUE;
}

/* Also called for a client that left before any command: no session then. */
static sfsistat on_close(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (!s)
		return SMFIS_CONTINUE;
	smfi_setpriv(ctx, NULL);
	free_session(s);
	atomic_fetch_sub(&the_daemon->metrics.sessions, 1);
	return SMFIS_CONTINUE;
}

/* The MTA's group may connect: by far the most frequent trouble of filters. */
static int share_socket(const struct qd_settings *settings,
			struct qd_error *err)
{
	const char *path = settings->socket_spec.path;
	gid_t group;

	if (qd_listen_group(settings->socket_group, &group, err) < 0)
		return -1;
	if (chown(path, (uid_t)-1, group) < 0 && settings->socket_group)
		return qd_error_set(err, EX_NOPERM, "socket %s: group %s: %m",
				    path, settings->socket_group);
	if (chmod(path, (mode_t)settings->socket_mode) < 0)
		return qd_error_set(err, EX_NOPERM, "socket %s: %m", path);
	return 0;
}

int qd_callbacks_register(struct qd_daemon *daemon,
			  const struct qd_settings *settings,
			  struct qd_error *err)
{
	static char name[] = "quotadefer";
	struct smfiDesc description = {
		.xxfi_name = name,
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_SETSYMLIST,
		.xxfi_negotiate = on_negotiate,
		.xxfi_connect = on_connect,
		.xxfi_helo = on_helo,
		.xxfi_envfrom = on_mail,
		.xxfi_envrcpt = on_rcpt,
		.xxfi_data = on_data,
		.xxfi_abort = on_abort,
		.xxfi_close = on_close,
	};
	const struct qd_socketspec *spec = &settings->socket_spec;
	mode_t mask;
	int rc;

	the_daemon = daemon;
	if (smfi_register(description) != MI_SUCCESS ||
	    smfi_setconn((char *)spec->milter) != MI_SUCCESS)
		return qd_error_set(err, EX_SOFTWARE,
				    "libmilter refused the filter");
	/* nobody connects between bind and chmod */
	mask = umask(0177);
	rc = smfi_opensocket(false);
	umask(mask);
	if (rc != MI_SUCCESS)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "socket %s: cannot be opened: %m",
				    spec->milter);
	return spec->family == AF_UNIX ? share_socket(settings, err) : 0;
}

int qd_callbacks_serve(void)
{
	smfi_main();
	return -1;
}
