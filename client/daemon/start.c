/*
 * start.c - options, hardening and signals (see start.h). Opens no file.
 */
#include "client/daemon/start.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/daemon/log.h"
#include "proto/c/journal.h"

int
start_fail(const struct start_program *program, const char *why)
{
	fprintf(stderr, "%s%s: %s\n", journal_is_fd(STDERR_FILENO) ? journal_prefix(LOG_ERROR) : "", program->name, why);
	return 1;
}

int
start_parse(const struct start_program *program, int argc, char *argv[], struct start_flags *out)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c;

	*out = (struct start_flags){ .config = program->config };
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (c == 'c')
			out->config = optarg;
		else if (c == 'k')
			out->check = true;
		else if (c == 'v')
			printf("%s %s\n", program->name, FOBD_VERSION);
		else if (c == 'h')
			fputs(program->usage, stdout);
		else
			return -1;
		out->done = out->done || c == 'v' || c == 'h';
	}
	if (optind == argc)
		return 0;
	start_fail(program, "there are no arguments, only options: see --help");
	return -1;
}

int
start_harden(const char *secrets, char *why, size_t why_len)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		return 0;
	snprintf(why, why_len, "cannot turn off core dumps, which would hold %s: %s", secrets, strerror(errno));
	return -1;
}

void
start_block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, NULL);
}
