/*
 * main.c - fob-cluster: flags, start, signals, stop. What it does is in agent.c.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "client/cluster/agent.h"
#include "client/program/notify.h"
#include "proto/c/journal.h"
#include "proto/c/program.h"

#define DEFAULT_CONFIG "/etc/fob/fob-cluster.conf"
#define WHY_LEN 512

static const char usage[] =
    "Usage: fob-cluster [--config FILE] [--check-config]\n"
    "\n"
    "The agent between a fobd that is a node of a cluster and the etcd that has the cluster's log, for one environment.\n"
    "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it; SIGHUP has it read its TLS files\n"
    "again. fobd answers verifies for at most max_staleness without it.\n"
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

/* No key passes through this memory, but its own private key does. */
static int
harden(char *why, size_t why_len)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		return 0;
	snprintf(why, why_len, "cannot turn off core dumps, which would hold a private key: %s", strerror(errno));
	return -1;
}

static void
look_after(struct agent *agent, int signals)
{
	int number;

	while ((number = agent_run(agent, signals)) == SIGHUP) {
		notify_reloading();
		if (agent_reload(agent) == 0)
			log_line(LOG_INFO, "TLS files are read again", NULL);
		else
			log_line(LOG_ERROR, "out of memory; nothing has changed", NULL);
		notify_ready();
	}
	log_line(LOG_INFO, "ending", "signal", strsignal(number), NULL);
}

static int
serve(const struct settings *settings)
{
	struct agent *agent;
	sigset_t set;
	int signals;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if ((signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return fail(strerror(errno));
	if ((agent = agent_new(settings)) == NULL)
		return fail("out of memory");
	log_line(LOG_INFO, "ready", "version", FOBD_VERSION, "prefix", settings->prefix, NULL);
	notify_ready();
	look_after(agent, signals);
	notify_stopping();
	agent_free(agent);
	log_line(LOG_INFO, "ended", NULL);
	return 0;
}

int
main(int argc, char *argv[])
{
	struct settings settings;
	struct flags flags;
	char why[WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	if (parse_flags(argc, argv, &flags) != 0)
		return 1;
	if (flags.done)
		return 0;
	if (sodium_init() < 0)
		return fail("libsodium does not work here");
	if (harden(why, sizeof(why)) != 0)
		return fail(why);
	rc = settings_load(flags.config, &settings, why, sizeof(why));
	if (rc != 0) {
		rc = fail(why);
	} else {
		log_setup(settings.log_level, settings.log_json);
		rc = flags.check ? 0 : serve(&settings);
	}
	settings_fini(&settings);
	return rc;
}
