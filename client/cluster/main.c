/*
 * main.c - fob-cluster: flags, settings, signals, and the loop until one of them ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client/cluster/agent.h"
#include "client/cluster/settings.h"
#include "client/daemon/log.h"
#include "client/daemon/notify.h"
#include "client/daemon/start.h"
#include "proto/c/program.h"

#define DEFAULT_CONFIG "/etc/fob/fob-cluster.conf"
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

static const struct start_program program = { "fob-cluster", usage, DEFAULT_CONFIG };

/* One clear line, and status 1. */
static int
fail(const char *why)
{
	return start_fail(&program, why);
}

/* ---- until a signal to end ---- */

static void
reload(struct agent *agent, const char *path, struct settings **settings)
{
	struct settings *next;
	char why[START_WHY_LEN];

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

	start_block_signals(&signals);
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
	struct start_flags flags;
	char why[START_WHY_LEN];
	int rc;

	if (program_begin() != 0)
		return fail("a standard descriptor is closed, and /dev/null cannot be opened for it");
	if (start_parse(&program, argc, argv, &flags) != 0)
		return 1;
	if (flags.done)
		return 0;
	/* The private key with which this process speaks to etcd is in its memory. */
	if (start_harden("a key", why, sizeof(why)) != 0 || settings_load(flags.config, &settings, why, sizeof(why)) != 0)
		return fail(why);
	log_setup(settings->log_level, settings->log_json);
	rc = flags.check ? 0 : serve(&settings, flags.config);
	settings_free(settings);
	return rc;
}
