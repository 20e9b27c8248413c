/*
 * settings.h - fob-cluster's settings, from a file in libconfuse's syntax. client/cluster/fob-cluster.conf documents every
 * setting.
 */
#ifndef CLUSTER_SETTINGS_H
#define CLUSTER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/program/log.h"
#include "fob/v1/types.pb-c.h"

#define SETTINGS_ENDPOINTS_MAX 16

struct settings {
	Fob__V1__Environment environment;
	char *socket; /* the path of fobd's listener of role cluster */
	char *endpoints[SETTINGS_ENDPOINTS_MAX]; /* https://HOST:PORT of etcd's members */
	size_t n_endpoints;
	char *ca, *cert, *key; /* PEM files; cert and key are both set or both NULL */
	char *prefix;          /* of all keys in etcd */
	enum log_level log_level;
	bool log_json;
};

/*
 * settings_load(path, settings, why, why_len):
 * Read and check the file at ${path}. Free ${settings} with settings_fini(), also after a failure.
 * Threads: one at a time in the process: libconfuse's lexer is global.
 * Returns: 0; -1 with one line "FILE:LINE: what is wrong; what to do" at ${why}, without LINE where the error has none.
 */
int settings_load(const char *path, struct settings *settings, char *why, size_t why_len);
void settings_fini(struct settings *settings);

#endif
