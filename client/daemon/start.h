/*
 * start.h - how the daemons of the client room begin: the same few options, one line for an error, no core dump.
 */
#ifndef DAEMON_START_H
#define DAEMON_START_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#define START_WHY_LEN 512

struct start_program {
	const char *name;   /* "fob-http" */
	const char *usage;  /* for --help */
	const char *config; /* the settings file, where --config names none */
};

struct start_flags {
	const char *config; /* borrowed from argv */
	bool check;         /* --check-config */
	bool done;          /* --help or --version, which is printed */
};

/* One clear line on stderr. Returns 1, the exit status. */
int start_fail(const struct start_program *program, const char *why);

/* Returns 0; -1 after a line on stderr. */
int start_parse(const struct start_program *program, int argc, char *argv[], struct start_flags *out);

/*
 * start_harden(secrets, why, why_len):
 * No core dump, no debugger of the same user, no new privileges; umask 077. ${secrets}: what this process has in its memory,
 * for the error.
 * Returns: 0; -1 with one line at ${why}.
 */
int start_harden(const char *secrets, char *why, size_t why_len);

/* SIGTERM, SIGINT and SIGHUP are blocked from here on, in all threads that begin later. */
void start_block_signals(sigset_t *signals);

#endif
