/*
 * main.c - the daemon: start in the right order, a guard once a second, and the way down. Everything that a
 * request meets is elsewhere; see "Structure" in DESIGN.md.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/c/journal.h"
#include "proto/c/program.h"
#include "service/base/boot.h"
#include "service/base/config.h"
#include "service/flags.h"
#include "service/process/confine.h"
#include "service/process/harden.h"
#include "service/net/server.h"
#include "service/net/socket_file.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/process/notify.h"
#include "service/offline/offline.h"
#include "service/reload.h"
#include "service/reopen.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "service/store/rotate.h"

#define WHY_LEN 1024
#define REASON_LEN (WHY_LEN / 2 - 2) /* of each environment: two fit in one line */
/* After the databases are closed, nothing is lost by leaving: nng_close() may hang, see NOTES.md. */
#define CLOSE_S 1
/* For etcd to take this node out of its cluster. Others do so later, if it cannot. */
#define LEAVE_MS 500

/* One clear line, and status 1. */
static int
fail(const char *why)
{
	fprintf(stderr, "%sfobd: %s\n", journal_is_fd(STDERR_FILENO) ? journal_prefix(LOG_ERROR) : "", why);
	return 1;
}

static int
apply_log_flags(const struct flags *flags, struct config *config, char *why, size_t why_len)
{
	static const char *const levels[] = { "error", "warn", "info", "debug" };

	if (flags->log_level != NULL) {
		int i;

		for (i = 0; i < 4 && strcmp(flags->log_level, levels[i]) != 0; i++)
			;
		if (i == 4) {
			snprintf(why, why_len, "--log-level: error, warn, info or debug");
			return -1;
		}
		config->log_level = (enum log_level)i;
	}
	if (flags->log_format != NULL) {
		if (strcmp(flags->log_format, "json") != 0 && strcmp(flags->log_format, "logfmt") != 0) {
			snprintf(why, why_len, "--log-format: logfmt or json");
			return -1;
		}
		config->log_json = strcmp(flags->log_format, "json") == 0;
	}
	return 0;
}

/* ---- making databases ---- */

static int
init_databases(const struct config *config, char *why, size_t why_len)
{
	for (int e = 0; e < ENVIRONMENTS; e++) {
		const struct config_environment *c = &config->environments[e];
		struct store_options options_of = { .environment = (enum environment)e,
			.path = c->path,
			.pepper = c->pepper,
			.ceiling_bytes = c->ceiling_bytes,
			.events_kept = c->events_kept,
			.readers = 16 };

		if (c->configured && store_init(&options_of, why, why_len) != 0)
			return -1;
	}
	return 0;
}

static int
rotate_pepper(const struct config *config, const struct flags *flags, char *why, size_t why_len)
{
	const char *name = flags->n_args == 1 ? flags->args[0] : "";

	for (int e = 0; e < ENVIRONMENTS; e++) {
		const struct config_environment *c = &config->environments[e];

		if (!c->configured || strcmp(name, environment_name((enum environment)e)) != 0)
			continue;
		if (pepper_append(c->pepper, why, why_len) != 0)
			return -1;
		printf(
		    "%s: a new pepper was added. Back the file up, then have fobd reload (systemctl reload fobd, or SIGHUP):\n"
		    "it moves the database to the new pepper while it serves, and logs \"pepper rotated\" at the end.\n",
		    c->pepper);
		return 0;
	}
	snprintf(why, why_len, "--rotate-pepper: no environment \"%s\" is configured: live or test", name);
	return -1;
}

/* ---- serving ---- */

static void
close_engines(struct service *service)
{
	for (int e = 0; e < ENVIRONMENTS; e++) {
		engine_close(service->engines[e]);
		service->engines[e] = NULL;
	}
}

/*
 * One environment's storage must not keep the other environment down: a database that is damaged, cut short or not there,
 * a disk that is full, read-only or fails. What is set wrongly (a pepper, a path) is for the operator who is starting us
 * to put right.
 */
static bool
other_may_be_served(int fault)
{
	return fault == -FAULT_CORRUPT || fault == -FAULT_NOT_FOUND || fault == -FAULT_FULL || fault == -FAULT_DISK;
}

/* ${reasons}: why an environment is not served; empty if it is. */
static void
tell_broken(const struct service *service, char reasons[ENVIRONMENTS][REASON_LEN])
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		if (service->broken[e])
			LOG(LOG_ERROR, "this environment is not served",
			    LOG_S("environment", environment_name((enum environment)e)), LOG_S("reason", reasons[e]));
}

static int
open_engines(struct service *service, const struct config *config, char *why, size_t why_len)
{
	char reasons[ENVIRONMENTS][REASON_LEN] = { "", "" };
	struct engine *engine;
	unsigned opened = 0;
	int fault;

	for (int e = 0; e < ENVIRONMENTS; e++) {
		if (!config->environments[e].configured)
			continue;
		fault = engine_open(config, (enum environment)e, SERVER_WORKERS, &engine, reasons[e], REASON_LEN);
		if (fault == 0) {
			service->engines[e] = engine;
			opened++;
			continue;
		}
		if (!other_may_be_served(fault)) {
			close_engines(service);
			snprintf(why, why_len, "%s", reasons[e]);
			return -1;
		}
		service->broken[e] = true;
	}
	if (opened == 0) {
		snprintf(why, why_len, "%s%s%s", reasons[0], reasons[0][0] != '\0' && reasons[1][0] != '\0' ? "; " : "",
		    reasons[1]);
		return -1;
	}
	tell_broken(service, reasons);
	return 0;
}

/* Before the first thread: all of them inherit it, and the main thread alone waits for signals. */
static void
block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL);
}

/*
 * glibc gives each thread a heap of its own, up to eight for each core, and what lasts (a context's reader, made at its
 * first request) holds pages of all of them. One for each core is as fast, as small pieces are cached by thread.
 */
static void
limit_heaps(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	mallopt(M_ARENA_MAX, cores > 0 && cores < 1024 ? (int)cores : 1);
}

/* A pipe, as bash makes it for --config <(...), gives its text only once. */
static bool
can_be_read_again(const char *path, char *why, size_t why_len)
{
	struct stat st;

	if (stat(path, &st) != 0 || S_ISREG(st.st_mode))
		return true;
	snprintf(why, why_len, "%s: is no regular file, so it could be read only once, at the start", path);
	return false;
}

/* What is wrong with the new settings is said, and nothing changes. */
static void
reload_settings(struct reload *reload, const struct flags *flags, const struct notify *notify)
{
	struct config config;
	char why[WHY_LEN];

	notify_reloading(notify);
	config = (struct config){ 0 };
	if (!can_be_read_again(flags->config, why, sizeof(why)) ||
	    config_load(flags->config, &config, why, sizeof(why)) != 0 ||
	    apply_log_flags(flags, &config, why, sizeof(why)) != 0 ||
	    reload_apply(reload, &config, why, sizeof(why)) != 0)
		LOG(LOG_ERROR, "settings not reloaded; nothing has changed", LOG_S("reason", why));
	else
		reload_peppers(reload);
	config_fini(&config);
	notify_ready(notify);
}

/* Adds "live: 40 % moved to the new pepper" to ${text}, if that is so. */
static void
describe_rotation(const struct engine *engine, char *text, size_t len)
{
	struct store_rotation_progress progress;
	struct store_txn *txn;
	size_t at = strlen(text);

	if (engine == NULL || !store_is_rotating(engine->store) || (txn = store_txn_new(engine->store)) == NULL)
		return;
	if (store_read(txn) == 0) {
		if (store_rotation_progress(txn, &progress) && progress.of_records > 0)
			snprintf(text + at, len - at, "%s%s: %u %% moved to the new pepper", at > 0 ? ", " : "",
			    environment_name(engine->environment),
			    (unsigned)(progress.records >= progress.of_records ?
				    99 :
				    progress.records * 100 / progress.of_records));
		store_read_end(txn);
	}
	store_txn_free(txn);
}

/* The same for an environment that is not served. */
static void
describe_failure(const struct service *service, enum environment e, char *text, size_t len)
{
	size_t at = strlen(text);

	if (service->engines[e] == NULL && service->broken[e])
		snprintf(text + at, len - at, "%s%s: not served, its database has failed", at > 0 ? ", " : "",
		    environment_name(e));
}

/* For `systemctl status`, as long as there is something to tell; *${told}: there was. */
static void
tell_state(const struct service *service, const struct notify *notify, bool *told)
{
	char text[160] = "";

	for (int e = 0; e < ENVIRONMENTS; e++) {
		describe_rotation(service->engines[e], text, sizeof(text));
		describe_failure(service, (enum environment)e, text, sizeof(text));
	}
	if (*told || text[0] != '\0')
		notify_status(notify, "%s", text);
	*told = text[0] != '\0';
}

/* Until a signal to end comes. */
static void
look_after(struct reload *reload, struct reopen *reopen, const struct flags *flags, const struct notify *notify,
    const sigset_t *signals)
{
	const struct timespec second = { .tv_sec = 1 }, soon = { .tv_nsec = 20000000 };
	bool told = false, busy = false;
	int signal_number;

	for (;;) {
		signal_number = sigtimedwait(signals, NULL, busy ? &soon : &second);
		if (signal_number == SIGHUP) {
			reload_settings(reload, flags, notify);
		} else if (signal_number > 0) {
			LOG(LOG_INFO, "ending", LOG_S("signal", strsignal(signal_number)));
			return;
		}
		reload_tidy(reload);
		busy = reopen_look(reopen);
		tell_state(reload->service, notify, &told);
		notify_watchdog(notify);
	}
}

static void
leave_now(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

/* Databases first: what was acknowledged is safe then, whatever becomes of the sockets. */
static void
shut_down(struct service *service, struct server *server, struct reopen *reopen, uint32_t drain_ms)
{
	if (server_drain(server, drain_ms) != 0) {
		/*
		 * A request still holds its database: closing under it would be worse than leaving. LMDB survives that.
		 */
		LOG_TEXT(LOG_ERROR, "requests did not end within the drain time; leaving");
		_exit(1);
	}
	if (reopen_stop(reopen, drain_ms) != 0) {
		LOG_TEXT(LOG_ERROR, "a database that has failed cannot be closed within the drain time; leaving");
		_exit(1);
	}
	close_engines(service);
	LOG_TEXT(LOG_INFO, "databases closed");
	signal(SIGALRM, leave_now);
	alarm(CLOSE_S);
	server_close(server);
	alarm(0);
}

static int
make_socket_folders(const struct config *config, char *why, size_t why_len)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const char *path = config_ipc_path(config->listeners[i].url);

		if (path != NULL && socket_file_folder(path, why, why_len) != 0)
			return -1;
	}
	return 0;
}

static int
serve(const struct config *config, const struct flags *flags, const struct notify *notify, char *why, size_t why_len)
{
	struct service service = { .config = config, .mutex = PTHREAD_MUTEX_INITIALIZER };
	struct server *server;
	struct reload reload;
	struct reopen reopen;
	struct clock clock;
	sigset_t signals;

	block_signals(&signals);
	limit_heaps();
	if (make_socket_folders(config, why, why_len) != 0)
		return fail(why);
	if (confine_process(config, flags->config, notify_is_abstract(notify), why, why_len) != 0)
		return fail(why);
	clock_init(&clock);
	service.start_ms = clock_now_ms(&clock);
	if (open_engines(&service, config, why, why_len) != 0)
		return fail(why);
	if (server_open(&service, config, &server, why, why_len) != 0) {
		close_engines(&service);
		return fail(why);
	}
	LOG(LOG_INFO, "ready", LOG_S("version", FOBD_VERSION), LOG_T("live", service.engines[ENVIRONMENT_LIVE] != NULL),
	    LOG_T("test", service.engines[ENVIRONMENT_TEST] != NULL));
	notify_ready(notify);

	reload_init(&reload, &service, server, config);
	reopen_init(&reopen, &service, server, config);
	look_after(&reload, &reopen, flags, notify, &signals);

	notify_stopping(notify);
	for (int e = 0; e < ENVIRONMENTS; e++)
		engine_leave_cluster(atomic_load(&service.engines[e]), LEAVE_MS);
	shut_down(&service, server, &reopen, atomic_load(&service.config)->drain_ms);
	reload_fini(&reload);
	LOG_TEXT(LOG_INFO, "ended");
	return 0;
}

static int
serve_notifying(const struct config *config, const struct flags *flags, char *why, size_t why_len)
{
	struct notify notify;
	int rc;

	if (notify_init(&notify) != 0)
		LOG(LOG_WARN, "NOTIFY_SOCKET cannot be used", LOG_S("reason", strerror(errno)));
	rc = serve(config, flags, &notify, why, why_len);
	notify_fini(&notify);
	return rc;
}

/* Returns the exit status. */
static int
run(const struct flags *flags, const struct config *config, char *why, size_t why_len)
{
	switch (flags->mode) {
	case MODE_CHECK:
		return offline_check(config, flags->args, flags->n_args);
	case MODE_BACKUP:
		return offline_backup(config, flags->args, flags->n_args);
	case MODE_RESTORE:
		return offline_restore(config, flags->args, flags->n_args, flags->events, flags->accept_revived);
	case MODE_JOIN:
		return offline_join(config, flags->args, flags->n_args);
	case MODE_LEAVE:
		return offline_leave(config, flags->args, flags->n_args);
	case MODE_INIT:
		return init_databases(config, why, why_len) == 0 ? 0 : fail(why);
	case MODE_ROTATE_PEPPER:
		return rotate_pepper(config, flags, why, why_len) == 0 ? 0 : fail(why);
	default:
		return serve_notifying(config, flags, why, why_len);
	}
}

int
main(int argc, char *argv[])
{
	struct config config;
	struct flags flags;
	char why[WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	if (flags_parse(argc, argv, &flags) != 0)
		return 1;
	if (flags.mode == MODE_HELP || flags.mode == MODE_VERSION) {
		fputs(flags.mode == MODE_HELP ? flags_usage : "fobd " FOBD_VERSION "\n", stdout);
		return 0;
	}
	if (harden_process(why, sizeof(why)) != 0)
		return fail(why);
	if (sodium_init() < 0)
		return fail("libsodium does not work here");
	boot_read();
	if (config_load(flags.config, &config, why, sizeof(why)) != 0)
		return fail(why);
	if (apply_log_flags(&flags, &config, why, sizeof(why)) != 0)
		return fail(why);
	if (flags.mode == MODE_CHECK_CONFIG) {
		config_fini(&config);
		return 0;
	}
	log_setup(config.log_level, config.log_json);
	if ((flags.mode == MODE_SERVE && harden_descriptors(config.connections, why, sizeof(why)) != 0) ||
	    (config.user != NULL && harden_drop(config.user, why, sizeof(why)) != 0))
		return fail(why);
	rc = run(&flags, &config, why, sizeof(why));
	config_fini(&config);
	return rc;
}
