/*
 * main.c - the daemon: flags, start in the right order, a guard once a second, and the way down. Everything that a
 * request meets is elsewhere; see "Structure" in DESIGN.md.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/c/program.h"
#include "service/base/config.h"
#include "service/process/confine.h"
#include "service/process/harden.h"
#include "service/net/server.h"
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
#define DEFAULT_CONFIG "/etc/fob/fobd.conf"
/* After the databases are closed, nothing is lost by leaving: nng_close() may hang, see NOTES.md. */
#define CLOSE_S 1

static const char usage[] =
    "Usage: fobd [--config FILE] [OPTION...]\n"
    "       fobd [--config FILE] --check [live|test [FOLDER]]\n"
    "       fobd [--config FILE] --backup live|test FOLDER\n"
    "       fobd [--config FILE] --restore (--events FILE | --accept-revived) live|test\n"
    "       fobd [--config FILE] --rotate-pepper live|test\n"
    "\n"
    "The daemon of Fob: whose API key is this, and may it do that?\n"
    "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it after what is under way;\n"
    "SIGHUP has it read its settings, TLS files and peppers again.\n"
    "\n"
    "  -c, --config FILE    settings; default " DEFAULT_CONFIG ". service/fobd.conf documents them all\n"
    "      --init           make the folders, peppers and databases that are missing, then exit\n"
    "      --check          prove that the databases are whole, while no fobd serves them, then exit: 0 when they\n"
    "                       are, 2 when one is not, 1 when it could not be found out. FOLDER: a backup to look at\n"
    "      --backup         copy the database of an environment, which may be served, to a new folder, then exit\n"
    "      --restore        let a copy be served that was put at the environment's path, then exit: see fob restore\n"
    "      --events FILE    for --restore: what fob events --output json printed; - is standard input\n"
    "      --accept-revived for --restore: keys that have ended since the copy was taken are valid again\n"
    "      --check-config   read the settings, then exit: 0 when they are right\n"
    "      --rotate-pepper  add a new line to the pepper of an environment, then exit: on SIGHUP, or at its next\n"
    "                       start, fobd moves the database to it while it serves. People say fob pepper rotate\n"
    "      --log-level L    error, warn, info or debug, in place of the setting\n"
    "      --log-format F   logfmt or json, in place of the setting\n"
    "      --version        print the version, then exit\n"
    "  -h, --help           print this, then exit\n";

struct flags {
	const char *config;
	const char *log_level;
	const char *log_format;
	bool init;
	bool check_config;
	bool check;
	bool backup;
	bool restore;
	const char *events;
	bool accept_revived;
	bool rotate;
	char *const *args; /* what follows the options */
	int n_args;
};

enum {
	FLAG_INIT = 256,
	FLAG_BACKUP,
	FLAG_RESTORE,
	FLAG_EVENTS,
	FLAG_ACCEPT,
	FLAG_CHECK,
	FLAG_CHECK_CONFIG,
	FLAG_ROTATE,
	FLAG_LEVEL,
	FLAG_FORMAT,
	FLAG_VERSION
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "init", no_argument, NULL, FLAG_INIT },
	{ "check", no_argument, NULL, FLAG_CHECK },
	{ "backup", no_argument, NULL, FLAG_BACKUP },
	{ "restore", no_argument, NULL, FLAG_RESTORE },
	{ "events", required_argument, NULL, FLAG_EVENTS },
	{ "accept-revived", no_argument, NULL, FLAG_ACCEPT },
	{ "check-config", no_argument, NULL, FLAG_CHECK_CONFIG },
	{ "rotate-pepper", no_argument, NULL, FLAG_ROTATE },
	{ "log-level", required_argument, NULL, FLAG_LEVEL },
	{ "log-format", required_argument, NULL, FLAG_FORMAT },
	{ "version", no_argument, NULL, FLAG_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* A command on a database, which serves nothing. */
static bool
is_offline(const struct flags *flags)
{
	return flags->check || flags->backup || flags->restore;
}

static int
run_offline(const struct flags *flags, const struct config *config)
{
	if (flags->check + flags->backup + flags->restore != 1) {
		fputs("fobd: one of --check, --backup and --restore at a time\n", stderr);
		return 1;
	}
	if (flags->check)
		return offline_check(config, flags->args, flags->n_args);
	if (flags->backup)
		return offline_backup(config, flags->args, flags->n_args);
	return offline_restore(config, flags->args, flags->n_args, flags->events, flags->accept_revived);
}

static void
parse_flags(int argc, char *argv[], struct flags *flags)
{
	int c;

	*flags = (struct flags){ .config = DEFAULT_CONFIG };
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			flags->config = optarg;
			break;
		case FLAG_INIT:
			flags->init = true;
			break;
		case FLAG_CHECK:
			flags->check = true;
			break;
		case FLAG_BACKUP:
			flags->backup = true;
			break;
		case FLAG_RESTORE:
			flags->restore = true;
			break;
		case FLAG_EVENTS:
			flags->events = optarg;
			break;
		case FLAG_ACCEPT:
			flags->accept_revived = true;
			break;
		case FLAG_CHECK_CONFIG:
			flags->check_config = true;
			break;
		case FLAG_ROTATE:
			flags->rotate = true;
			break;
		case FLAG_LEVEL:
			flags->log_level = optarg;
			break;
		case FLAG_FORMAT:
			flags->log_format = optarg;
			break;
		case FLAG_VERSION:
			printf("fobd %s\n", FOBD_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs("fobd: see fobd --help\n", stderr);
			exit(1);
		}
	}
	flags->args = argv + optind;
	flags->n_args = argc - optind;
	if (optind < argc && !is_offline(flags) && !flags->rotate) {
		fprintf(stderr, "fobd: unexpected argument \"%s\": see fobd --help\n", argv[optind]);
		exit(1);
	}
}

/* One clear line, and status 1. */
static int
fail(const char *why)
{
	fprintf(stderr, "fobd: %s\n", why);
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
 * A database that is damaged, or whose disk is full or fails, is not to keep the other environment down: that one is
 * served. What is set wrongly (a pepper, a folder) is for the operator who is starting us to put right.
 */
static bool
other_may_be_served(int fault)
{
	return fault == -FAULT_CORRUPT || fault == -FAULT_FULL || fault == -FAULT_DISK;
}

static int
open_engines(struct service *service, const struct config *config, char *why, size_t why_len)
{
	struct engine *engine;
	unsigned opened = 0;
	int fault;

	for (int e = 0; e < ENVIRONMENTS; e++) {
		if (!config->environments[e].configured)
			continue;
		fault = engine_open(config, (enum environment)e, SERVER_WORKERS, &engine, why, why_len);
		if (fault == 0) {
			service->engines[e] = engine;
			opened++;
			continue;
		}
		if (!other_may_be_served(fault)) {
			close_engines(service);
			return -1;
		}
		service->broken[e] = true;
		LOG(LOG_ERROR, "this environment is not served",
		    LOG_S("environment", environment_name((enum environment)e)), LOG_S("reason", why));
	}
	return opened > 0 ? 0 : -1;
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

/* What is wrong with the new settings is said, and nothing changes. */
static void
reload_settings(struct reload *reload, const struct flags *flags, const struct notify *notify)
{
	struct config config;
	char why[WHY_LEN];

	notify_reloading(notify);
	if (config_load(flags->config, &config, why, sizeof(why)) != 0 ||
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
	shut_down(&service, server, &reopen, atomic_load(&service.config)->drain_ms);
	reload_fini(&reload);
	LOG_TEXT(LOG_INFO, "ended");
	return 0;
}

int
main(int argc, char *argv[])
{
	struct config config;
	struct notify notify;
	struct flags flags;
	char why[WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	parse_flags(argc, argv, &flags);
	if (harden_process(why, sizeof(why)) != 0)
		return fail(why);
	if (sodium_init() < 0)
		return fail("libsodium does not work here");
	if (config_load(flags.config, &config, why, sizeof(why)) != 0)
		return fail(why);
	if (apply_log_flags(&flags, &config, why, sizeof(why)) != 0)
		return fail(why);
	if (flags.check_config) {
		config_fini(&config);
		return 0;
	}
	log_setup(config.log_level, config.log_json);
	if ((!is_offline(&flags) && harden_descriptors(config.connections, why, sizeof(why)) != 0) ||
	    (config.user != NULL && harden_drop(config.user, why, sizeof(why)) != 0))
		return fail(why);
	if (is_offline(&flags)) {
		rc = run_offline(&flags, &config);
		config_fini(&config);
		return rc;
	}
	if (flags.init) {
		rc = init_databases(&config, why, sizeof(why)) == 0 ? 0 : fail(why);
		config_fini(&config);
		return rc;
	}
	if (flags.rotate) {
		rc = rotate_pepper(&config, &flags, why, sizeof(why)) == 0 ? 0 : fail(why);
		config_fini(&config);
		return rc;
	}
	if (notify_init(&notify) != 0)
		LOG(LOG_WARN, "NOTIFY_SOCKET cannot be used", LOG_S("reason", strerror(errno)));
	rc = serve(&config, &flags, &notify, why, sizeof(why));
	notify_fini(&notify);
	config_fini(&config);
	return rc;
}
