/*
 * config.h - the daemon's settings: a file in libconfuse's syntax, then flags. config.c is the only file that knows
 * libconfuse; service/fobd.conf documents every setting.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "service/base/limits.h"
#include "service/base/log.h"
#include "service/base/types.h"

enum role { ROLE_VERIFY, ROLE_ADMIN };

struct config_listener {
	char *url; /* ipc://PATH, tcp://HOST:PORT, tls+tcp://HOST:PORT */
	enum role role;
	bool insecure; /* admin over plain TCP: only when the file says so, and logged as a warning */
	mode_t mode;   /* of a unix socket */
	uid_t allow_uids
	    [LIMIT_ALLOW_USERS]; /* of a unix socket: whose requests are answered; none: all that can open it */
	size_t n_allow_uids;
	char *tls_cert; /* PEM files; all three for tls+tcp, where client certificates are then required */
	char *tls_key;
	char *tls_ca;
};

struct config_environment {
	bool configured;
	char *path;             /* folder of the database */
	char *pepper;           /* file, 0600 */
	uint64_t ceiling_bytes; /* of the database: new keys are refused at 90 % of it */
	uint64_t events_kept;
};

struct config {
	struct config_listener listeners[LIMIT_LISTENERS];
	size_t n_listeners;
	struct config_environment environments[ENVIRONMENTS]; /* by enum environment */
	char *publishable_operations[LIMIT_OPERATIONS];       /* what a publishable key may do */
	size_t n_publishable_operations;
	char *roll_operations[LIMIT_OPERATIONS]; /* what a superseded secret key may not do */
	size_t n_roll_operations;
	char *user; /* to become after the sockets are open; NULL: stay */
	enum log_level log_level;
	bool log_json;
	uint32_t timeout_ms;  /* of requests that name none */
	unsigned connections; /* at once, over all listeners */
	unsigned in_flight;   /* changes of one connection */
	uint32_t drain_ms;    /* for what is under way at shutdown */
};

/*
 * config_load(path, config, why, why_len):
 * Read and check the file at ${path} into ${config}, which is zeroed first. Every value is checked here: types, ranges,
 * unknown names, duplicate listeners, roles (admin over tcp:// without `insecure = true` is refused, admin over tls+tcp
 * needs all three TLS files), environments that share a path or a pepper.
 * A path that is not absolute, also an ipc:// one, is below the folder of ${path}; what is in ${config} is resolved.
 * Ownership: ${path} borrowed; ${config} is freed with config_fini(), which takes a zeroed one, as it is on failure.
 * Threads:   one at a time in the process: libconfuse's lexer is global.
 * Returns:   0; -1 with one line "FILE:LINE: what is wrong; what to do" at ${why} (FILE alone where no line is to
 *            blame), cut at ${why_len} bytes, which must be at least 1.
 */
int config_load(const char *path, struct config *config, char *why, size_t why_len);
void config_fini(struct config *config);

/* The path of an ipc:// URL; NULL for another one. */
const char *config_ipc_path(const char *url);

#endif
