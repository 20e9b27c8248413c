/*
 * settings.h - fob-cluster's settings, from a file in libconfuse's syntax. client/cluster/fob-cluster.conf documents
 * every setting.
 */
#ifndef CLUSTER_SETTINGS_H
#define CLUSTER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/daemon/log.h"
#include "fob/v1/types.pb-c.h"

#define SETTINGS_ENDPOINTS_MAX 16

struct settings {
	Fob__V1__Environment environment;
	char *socket;                            /* a path */
	char *endpoints[SETTINGS_ENDPOINTS_MAX]; /* https://HOST:PORT */
	size_t n_endpoints;
	char *ca, *cert, *key;
	char *peer_ca, *peer_cert, *peer_key; /* for the listeners of other nodes */
	char *prefix;                         /* with the environment: "/fob/live/" */
	enum log_level log_level;
	bool log_json;
};

/*
 * settings_load(path, out, why, why_len):
 * Read and check the file at ${path}, and that the certificates' files can be read.
 * Ownership: *${out} is the caller's: settings_free().
 * Threads:   one at a time in the process: libconfuse's lexer is global.
 * Returns:   0; -1 with one line "FILE:LINE: what is wrong; what to do" at ${why}.
 */
int settings_load(const char *path, struct settings **out, char *why, size_t why_len);
void settings_free(struct settings *settings); /* takes NULL */

#endif
