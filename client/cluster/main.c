/*
 * main.c - fob-cluster: flags, settings, signals, and the loop until one of them ends it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cluster/agent.h"
#include "client/cluster/settings.h"
#include "client/daemon/log.h"
#include "client/daemon/notify.h"
#include "proto/c/journal.h"
#include "proto/c/program.h"

#define DEFAULT_CONFIG "/etc/fob/fob-cluster.conf"
#define WHY_LEN 512
#define IDLE_MS 10000 /* at most so long between two turns of the loop */

static const char usage[] =
    "Usage: fob-cluster [--config FILE] [--check-config]\n"
    "\n"
    "The agent between a fobd of a cluster and etcd, for one environment. It carries out fobd's transactions, and sees\n"
    "sealed bytes only.\n"
    "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it; SIGHUP has it read its settings\n"
    "and certificates again.\n"
    "\n"
    "  -c, --config FILE    settings; default " DEFAULT_CONFIG ". client/cluster/fob-cluster.conf documents them all\n"
    "      --check-config   check the settings, then exit: 0 when they are right, 1 with FILE:LINE and what to do\n"
    "      --version        print the version, then exit\n"
    "      --help           print this, then exit\n";

struct flags {
	const char *config;
	bool check, done;
};

/* One clear line, and status 1. */
static int
fail(const char *why)
{
	fprintf(stderr, "%sfob-cluster: %s\n", journal_is_fd(STDERR_FILENO) ? journal_prefix(LOG_ERROR) : "", why);
	return 1;
}

/* Returns 0; -1 after a line on stderr. */
static int
parse_flags(int argc, char *argv[], struct flags *out)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c;

	*out = (struct flags){ .config = DEFAULT_CONFIG };
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (c == 'c')
			out->config = optarg;
		else if (c == 'k')
			out->check = true;
		else if (c == 'v' || c == 'h') {
			fputs(c == 'h' ? usage : "fob-cluster " FOBD_VERSION "\n", stdout);
			out->done = true;
		} else
			return -1;
	}
	if (optind == argc)
		return 0;
	fail("there are no arguments, only options: see --help");
	return -1;
}

/* Its private key is in this memory: no core dump, no debugger of the same user. */
static int
harden(char *why, size_t why_len)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		return 0;
	snprintf(why, why_len, "cannot turn off core dumps, which would hold a key: %s", strerror(errno));
	return -1;
}

/* ---- until a signal to end ---- */

static void
reload(struct agent *agent, const char *path, struct settings **settings)
{
	struct settings *next;
	char why[WHY_LEN];

	notify_reloading();
	if (settings_load(path, &next, why, sizeof(why)) != 0)
		log_line(LOG_ERROR, "settings not reloaded; nothing has changed", "reason", why, NULL);
	else if (next->environment != (*settings)->environment || strcmp(next->socket, (*settings)->socket) != 0 ||
	    strcmp(next->prefix, (*settings)->prefix) != 0) {
		log_line(LOG_ERROR, "settings not reloaded; nothing has changed", "reason",
		    "environment, socket and prefix change at the next start only", NULL);
		settings_free(next);
	} else {
		log_setup(next->log_level, next->log_json);
		agent_reload(agent, next);
		settings_free(*settings);
		*settings = next;
		log_line(LOG_INFO, "settings reloaded", NULL);
	}
	notify_ready();
}

/* Returns: whether to go on. */
static bool
take_signals(int fd, struct agent *agent, const char *path, struct settings **settings)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGHUP) {
			log_line(LOG_INFO, "ending", "signal", strsignal((int)info.ssi_signo), NULL);
			return false;
		}
		reload(agent, path, settings);
	}
	return true;
}

static int
serve(struct settings **settings, const char *path)
{
	struct agent *agent;
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if ((fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 || (agent = agent_new(*settings)) == NULL)
		return fail("out of memory or descriptors");
	log_line(LOG_INFO, "ready", "version", FOBD_VERSION, NULL);
	notify_ready();
	do {
		agent_turn(agent, fd, notify_alive(IDLE_MS));
	} while (take_signals(fd, agent, path, settings));
	notify_stopping();
	agent_free(agent);
	close(fd);
	log_line(LOG_INFO, "ended", NULL);
	return 0;
}

int
main(int argc, char *argv[])
{
	struct settings *settings;
	struct flags flags;
	char why[WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	if (parse_flags(argc, argv, &flags) != 0)
		return 1;
	if (flags.done)
		return 0;
	if (harden(why, sizeof(why)) != 0 || settings_load(flags.config, &settings, why, sizeof(why)) != 0)
		return fail(why);
	log_setup(settings->log_level, settings->log_json);
	rc = flags.check ? 0 : serve(&settings, flags.config);
	settings_free(settings);
	return rc;
}
