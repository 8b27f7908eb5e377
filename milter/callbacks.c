/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/callbacks.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#include "quotadefer/deferline.h"
#include "quotadefer/listen.h"
#include "quotadefer/log.h"
#include "quotadefer/policy.h"
#include "quotadefer/reply.h"
#include "quotadefer/session.h"
#include "quotadefer/value.h"

/* libmilter's callbacks have no argument of ours. */
static struct qd_daemon *the_daemon;

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
	struct qd_session *s = qd_session_new(the_daemon);
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
	struct qd_session *s = smfi_getpriv(ctx);
	char text[INET6_ADDRSTRLEN] = "";

	if (s && address) {
		const struct sockaddr_in *v4 = (void *)address;
		const struct sockaddr_in6 *v6 = (void *)address;

		if (address->sa_family == AF_INET)
			inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		else if (address->sa_family == AF_INET6)
			inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		qd_session_set_text(&s->client_address, text);
	}
	if (s)
		qd_session_set_text(&s->client_name, name);
	return SMFIS_NOREPLY;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	struct qd_session *s = smfi_getpriv(ctx);

	if (s)
		qd_session_set_text(&s->helo, name);
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
	struct qd_session *s = smfi_getpriv(ctx);

	if (s) {
		qd_session_end_transaction(s);
		qd_session_set_text(&s->sender, argv[0]);
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

static const char *client_address(SMFICTX *ctx, const struct qd_session *s)
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

static void make_line(SMFICTX *ctx, const struct qd_session *s,
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

/* smfi_setmlreply takes lines one by one, up to the first NULL. */
static int set_reply(SMFICTX *ctx, const struct qd_reply *reply)
{
	char text[sizeof(reply->text) * 2];
	char *lines[QD_REPLY_LINES] = { NULL }, *rest = NULL;
	int n = 0;

	_Static_assert(QD_REPLY_LINES == 8, "as many as are passed below");
	qd_reply_escape(reply->text, text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &rest);
	     line && n < QD_REPLY_LINES; line = strtok_r(NULL, "\n", &rest))
		lines[n++] = line;
	return smfi_setmlreply(ctx, reply->code, reply->dsn, lines[0], lines[1],
			       lines[2], lines[3], lines[4], lines[5], lines[6],
			       lines[7], NULL);
}

/* Give our reply, or pass if libmilter will not have it. */
static sfsistat answer_full(SMFICTX *ctx, struct qd_session *s,
			    const struct qd_held *full)
{
	struct qd_reply reply;

	qd_reply_make(s->settings, full->verdict, full->resource,
		      &full->recipient, &reply);
	if (set_reply(ctx, &reply) != MI_SUCCESS) {
		atomic_fetch_add(&the_daemon->metrics.reply_errors, 1);
		qd_log(LOG_ERR, "libmilter refused the reply; %s", full->line);
		return SMFIS_CONTINUE;
	}
	s->deferred++;
	if (full->verdict == QD_REJECT) {
		log_line(ctx, LOG_INFO, "reject", full->line);
		return SMFIS_REJECT;
	}
	log_line(ctx, LOG_INFO, "defer", full->line);
	return SMFIS_TEMPFAIL;
}

static void log_pass(SMFICTX *ctx, const struct qd_request *request,
		     const struct qd_answer *answer)
{
	char line[QD_LOG_LINE];

	if (!qd_log_is_on(LOG_DEBUG))
		return;
	qd_passline(request, answer, line, sizeof(line));
	log_line(ctx, LOG_DEBUG, "pass", line);
}

/* What is done with a full recipient, or would be. */
static sfsistat act_on_full(SMFICTX *ctx, struct qd_session *s,
			    const struct qd_request *request,
			    const struct qd_answer *answer, int64_t now)
{
	char line[QD_LOG_LINE];
	const struct qd_held full = { .verdict = answer->verdict,
				      .resource = answer->resource,
				      .recipient = answer->address,
				      .line = line };

	make_line(ctx, s, request, answer, line);
	if (answer->verdict == QD_PASS) {
		log_line(ctx, LOG_INFO,
			 qd_policy_is_overdue(s->settings, now, answer) ?
				 "would-reject" :
				 "would-defer",
			 line);
		return SMFIS_CONTINUE;
	}
	return answer_full(ctx, s, &full);
}

static sfsistat act(SMFICTX *ctx, struct qd_session *s,
		    const struct qd_request *request,
		    const struct qd_answer *answer, int64_t now)
{
	sfsistat status = SMFIS_CONTINUE;
	char line[QD_LOG_LINE];

	if (answer->at_data) {
		make_line(ctx, s, request, answer, line);
		/* no memory to answer it with: it passes */
		if (!qd_session_hold(s, answer, line))
			s->passed++;
		return SMFIS_CONTINUE;
	}
	if (answer->verdict != QD_PASS || answer->why == QD_WHY_MONITOR ||
	    answer->why == QD_WHY_SHARE)
		status = act_on_full(ctx, s, request, answer, now);
	else
		log_pass(ctx, request, answer);
	if (status == SMFIS_CONTINUE)
		s->passed++;
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
static const char *sender(SMFICTX *ctx, const struct qd_session *s)
{
	const char *f;

	if (s->sender)
		return s->sender;
	f = smfi_getsymval(ctx, (char[]){ "f" });
	return f ? f : smfi_getsymval(ctx, (char[]){ "{mail_addr}" });
}

static sfsistat on_rcpt(SMFICTX *ctx, char **argv)
{
	struct qd_session *s = smfi_getpriv(ctx);
	const struct qd_settings *settings;
	int64_t start = nanoseconds(), now = (int64_t)time(NULL);
	struct qd_request request;
	struct qd_answer answer;

	if (!s)
		return SMFIS_CONTINUE;
	settings = qd_session_settings(s);
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
	qd_rcpt_decide(settings, s->aliases, the_daemon->table, &request, now,
		       &answer);
	if (answer.why == QD_WHY_TABLE)
		qd_daemon_table_failed(the_daemon, &answer.err,
				       "recipients pass");
	if (answer.why == QD_WHY_ALIAS)
		qd_daemon_alias_failed(the_daemon, &answer.err);
	if (answer.why == QD_WHY_DOMAINS_UNSET)
		qd_daemon_no_domains(the_daemon);
	qd_metrics_rcpt(&the_daemon->metrics, &answer, nanoseconds() - start);
	return act(ctx, s, &request, &answer, now);
}

/*
 * Before any content. A message goes back only if every one of its recipients
 * is full: one reply must do for all of them.
 */
static sfsistat on_data(SMFICTX *ctx)
{
	struct qd_session *s = smfi_getpriv(ctx);
	sfsistat status = SMFIS_CONTINUE;

	if (!s)
		return SMFIS_ACCEPT;
	if (s->held.line && s->passed == 0)
		status = answer_full(ctx, s, &s->held);
	if (status != SMFIS_CONTINUE) {
		atomic_fetch_add(&the_daemon->metrics.data_deferred, 1);
		return status;
	}
	qd_session_end_transaction(s);
	/* spare the MTA the end of message, if there is nothing to forget */
	return s->deferred ? SMFIS_CONTINUE : SMFIS_ACCEPT;
}

/*
 * Postfix forgets a client's errors when it has accepted a message, and asks
 * here only if it is about to.
 */
static sfsistat on_message(SMFICTX *ctx)
{
	struct qd_session *s = smfi_getpriv(ctx);

	if (s)
		s->deferred = 0;
	return SMFIS_ACCEPT;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	struct qd_session *s = smfi_getpriv(ctx);

	if (s)
		qd_session_end_transaction(s);
	return SMFIS_CONTINUE;
}

/* Also called for a client that left before any command: no session then. */
static sfsistat on_close(SMFICTX *ctx)
{
	struct qd_session *s = smfi_getpriv(ctx);

	if (!s)
		return SMFIS_CONTINUE;
	smfi_setpriv(ctx, NULL);
	qd_session_free(&s);
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
		.xxfi_eom = on_message,
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
