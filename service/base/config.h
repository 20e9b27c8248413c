/*
 * config.h - the daemon's settings, from a file in libconfuse's syntax. service/fobd.conf documents every
 * setting.
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

enum role { ROLE_VERIFY, ROLE_ADMIN, ROLE_CLUSTER, ROLE_PEER };

struct config_listener {
	char *url; /* ipc://PATH, tcp://ADDRESS:PORT, tls+tcp://ADDRESS:PORT; no name is resolved */
	enum role role;
	bool insecure; /* as in the file; without it an exposed listener is refused */
	bool exposed;  /* tcp:// for admin, or at an address that is not loopback: logged as a warning */
	mode_t mode;   /* of a unix socket */
	uid_t allow_uids[LIMIT_ALLOW_USERS]; /* of a unix socket: users whose requests are answered */
	size_t n_allow_uids;                 /* 0: every user who can open the socket */
	char *tls_cert; /* PEM files; tls+tcp:// needs all three, and requires client certificates */
	char *tls_key;
	char *tls_ca;
	char *advertise; /* of role peer: the URL at which other nodes' agents reach it */
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
	char *user; /* that fobd becomes before it reads a pepper, a TLS file or a database; NULL: none */
	enum log_level log_level;
	bool log_json;
	uint32_t timeout_ms;  /* of a request that names none */
	unsigned connections; /* at once, over all listeners */
	unsigned in_flight;   /* changes of one connection */
	uint32_t max_staleness_ms; /* how long a cluster's node may answer without having heard of the cluster */
	uint32_t drain_ms;    /* how long shutdown waits for requests under way */
};

/*
 * config_load(path, config, why, why_len):
 * Read the file at ${path} into ${config} and check every value: types, ranges, unknown names, listeners
 * that appear twice, roles (an exposed tcp:// needs `insecure = true`), TLS files, environments that share
 * a path or a pepper. Relative paths, ipc:// ones included, are resolved: they are below the folder of
 * ${path}.
 * Ownership: ${path} borrowed; free ${config} with config_fini(). On failure it is zeroed, which
 *            config_fini() allows.
 * Threads:   one at a time in the process: libconfuse's lexer is global.
 * Returns:   0; -1 with one line "FILE:LINE: what is wrong; what to do" at ${why}, without LINE where the
 *            error has none, cut at ${why_len} > 0 bytes.
 */
int config_load(const char *path, struct config *config, char *why, size_t why_len);
void config_fini(struct config *config);

/* "verify", "admin", "cluster" or "peer". */
const char *config_role_name(enum role role);
/* The path of an ipc:// URL; NULL for any other URL. */
const char *config_ipc_path(const char *url);
/* Where other nodes of a cluster reach this one; empty: there is no listener of role peer. */
const char *config_peer_address(const struct config *config);

#endif
