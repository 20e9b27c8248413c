/*
 * main.c - fob-http: flags, start, signals, stop. What a request meets is elsewhere: server.c, auth.c, verify.c,
 * and for operators sign_in.c and admin.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/daemon/notify.h"
#include "client/daemon/start.h"
#include "client/http/listen.h"
#include "client/http/settings.h"
#include "client/http/wipe.h"
#include "client/http/worker.h"
#include "proto/c/program.h"

#define DEFAULT_CONFIG "/etc/fob/fob-http.conf"
#define WORKERS_MAX 64
/* Descriptors besides connections: of event loops and libfob, and of each listener of each thread. */
#define DESCRIPTORS_OWN 256
#define DESCRIPTORS_LISTENER 40 /* its own, and of connections that are about to be counted */

static const char usage[] =
    "Usage: fob-http [--config FILE] [--check-config]\n"
    "\n"
    "Fob behind the web: forward auth for proxies, and verify calls as JSON; in another process, for operators, the\n"
    "changes of keys as JSON. A client of fobd.\n"
    "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it after what is under way;\n"
    "SIGHUP has it read its settings again.\n"
    "\n"
    "  -c, --config FILE    settings; default " DEFAULT_CONFIG ". client/http/fob-http.conf documents them all\n"
    "      --check-config   check the settings, then exit: 0 when they are right, 1 with FILE:LINE and what to do\n"
    "      --version        print the version, then exit\n"
    "      --help           print this, then exit\n";

static const struct start_program program = { "fob-http", usage, DEFAULT_CONFIG };

/* All workers and what they share. */
struct fleet {
	struct server_shared shared;
	struct worker *workers[WORKERS_MAX];
	unsigned n;
};

/* One clear line, and status 1. */
static int
fail(const char *why)
{
	return start_fail(&program, why);
}

static int
raise_descriptors(const struct settings *s, unsigned workers, char *why, size_t why_len)
{
	rlim_t need = (rlim_t)s->connections + workers * (s->n_listen + 1) * DESCRIPTORS_LISTENER + DESCRIPTORS_OWN;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		if (limit.rlim_cur >= need)
			return 0;
		limit.rlim_cur = need;
		if (limit.rlim_max < need)
			limit.rlim_max = need;
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return 0;
	}
	snprintf(why, why_len,
	    "connections = %u needs %lu open files, more than this process may have: lower connections, or raise the "
	    "limit (ulimit -Hn, systemd's LimitNOFILE=)",
	    s->connections, (unsigned long)need);
	return -1;
}

static unsigned
count_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
}

/* ---- start ---- */

/* ${sockets}: one of each worker. Descriptors that were opened before an error end with the process. */
static int
open_sockets(const struct settings *s, unsigned n, struct worker_sockets *sockets, char *why, size_t why_len)
{
	int fds[WORKERS_MAX];

	for (size_t i = 0; i < s->n_listen; i++) {
		if (listen_open(s->listen[i], s->socket_mode, n, fds, why, why_len) != 0)
			return -1;
		for (unsigned w = 0; w < n; w++)
			sockets[w].listen[i] = fds[w];
	}
	for (unsigned w = 0; w < n; w++)
		sockets[w].metrics = fds[w] = -1;
	if (s->metrics != NULL && listen_open(s->metrics, s->socket_mode, n, fds, why, why_len) != 0)
		return -1;
	for (unsigned w = 0; w < n; w++)
		sockets[w].metrics = fds[w];
	return 0;
}

static int
start(struct fleet *fleet, struct settings *settings, char *why, size_t why_len)
{
	struct worker_sockets sockets[WORKERS_MAX];
	/* The operator's sessions are one thread's: see operator.h. */
	unsigned n = settings->role == ROLE_OPERATOR ? 1 : count_workers();

	fleet->shared.connections = settings->connections;
	if (raise_descriptors(settings, n, why, why_len) != 0 || open_sockets(settings, n, sockets, why, why_len) != 0)
		return -1;
	for (fleet->n = 0; fleet->n < n; fleet->n++)
		if (worker_new(settings, &fleet->shared, &sockets[fleet->n], &fleet->workers[fleet->n], why, why_len) !=
		    0)
			return -1;
	for (unsigned i = 0; i < n; i++)
		if (worker_start(fleet->workers[i], why, why_len) != 0)
			return -1;
	return 0;
}

/* ---- until a signal to end ---- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Is what only a start reads the same? */
static bool
same_start(const struct settings *a, const struct settings *b)
{
	bool same = a->role == b->role && same_text(a->token_file, b->token_file) &&
	    same_text(a->user_header, b->user_header) && same_text(a->origin, b->origin) &&
	    a->session_idle_s == b->session_idle_s && a->n_fob == b->n_fob && a->n_listen == b->n_listen &&
	    same_text(a->metrics, b->metrics) && a->socket_mode == b->socket_mode && a->connections == b->connections &&
	    a->timeout_ms == b->timeout_ms;

	for (size_t i = 0; same && i < a->n_fob; i++)
		same = strcmp(a->fob[i], b->fob[i]) == 0;
	for (size_t i = 0; same && i < a->n_listen; i++)
		same = strcmp(a->listen[i], b->listen[i]) == 0;
	return same;
}

static void
reload(struct fleet *fleet, const char *path, const struct settings *started)
{
	struct settings *settings;
	char why[START_WHY_LEN];

	notify_reloading();
	if (settings_load(path, &settings, why, sizeof(why)) != 0)
		log_line(LOG_ERROR, "settings not reloaded; nothing has changed", "reason", why, NULL);
	else {
		log_setup(settings->log_level, settings->log_json);
		for (unsigned i = 0; i < fleet->n; i++)
			worker_reload(fleet->workers[i], settings);
		if (!same_start(started, settings))
			log_line(LOG_WARN, "some settings change at the next start only", "settings",
			    "role fob listen socket_mode metrics connections timeout "
			    "token_file user_header origin session_idle",
			    NULL);
		log_line(LOG_INFO, "settings reloaded", NULL);
		settings_unref(settings);
	}
	notify_ready();
}

static void
look_after(struct fleet *fleet, const char *path, const struct settings *started, const sigset_t *signals)
{
	int number;

	for (;;) {
		if (sigwait(signals, &number) != 0)
			continue;
		if (number != SIGHUP) {
			log_line(LOG_INFO, "ending", "signal", strsignal(number), NULL);
			return;
		}
		reload(fleet, path, started);
	}
}

static void
stop(struct fleet *fleet, const struct settings *settings)
{
	notify_stopping();
	for (unsigned i = 0; i < fleet->n; i++)
		worker_stop(fleet->workers[i]);
	for (unsigned i = 0; i < fleet->n; i++)
		worker_free(fleet->workers[i]);
	for (size_t i = 0; i < settings->n_listen; i++)
		listen_remove(settings->listen[i]);
	if (settings->metrics != NULL)
		listen_remove(settings->metrics);
	log_line(LOG_INFO, "ended", NULL);
}

/* As fobd warns: there is no TLS here. */
static void
warn_of_clear_text(const struct settings *s)
{
	for (size_t i = 0; i < s->n_listen; i++)
		if (!listen_address_is_local(s->listen[i]))
			log_line(
			    LOG_WARN, "over plain HTTP keys cross the network in clear", "listen", s->listen[i], NULL);
}

static int
serve(struct settings *settings, const char *path)
{
	static struct fleet fleet;
	char why[START_WHY_LEN];
	sigset_t signals;

	/* Before the first thread: all of them inherit it, and the main thread alone waits for signals. */
	start_block_signals(&signals);
	if (start(&fleet, settings, why, sizeof(why)) != 0)
		return fail(why);
	warn_of_clear_text(settings);
	log_line(LOG_INFO, "ready", "version", FOBD_VERSION, NULL);
	notify_ready();
	look_after(&fleet, path, settings, &signals);
	stop(&fleet, settings);
	return 0;
}

int
main(int argc, char *argv[])
{
	struct settings *settings;
	struct start_flags flags;
	char why[START_WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	if (start_parse(&program, argc, argv, &flags) != 0)
		return 1;
	if (flags.done)
		return 0;
	wipe_begin();
	if (start_harden("keys", why, sizeof(why)) != 0 || settings_load(flags.config, &settings, why, sizeof(why)) != 0)
		return fail(why);
	log_setup(settings->log_level, settings->log_json);
	rc = flags.check ? 0 : serve(settings, flags.config);
	settings_unref(settings);
	return rc;
}
