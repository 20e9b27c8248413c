/*
 * settings.h - fob-http's settings, from a file in libconfuse's syntax. client/http/fob-http.conf documents every
 * setting.
 */
#ifndef HTTP_SETTINGS_H
#define HTTP_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/daemon/log.h"
#include "client/fob.h"
#include "client/http/peer.h"
#include "client/http/route.h"

#define SETTINGS_LISTEN_MAX 16
#define SETTINGS_TRUSTED_MAX 64

/* The zero reaches no admin socket. */
enum role { ROLE_AUTH, ROLE_OPERATOR };

enum original {
	ORIGINAL_HEADERS, /* method and URI of the original request are in two headers */
	ORIGINAL_REQUEST  /* they are those of the request itself, below /v1/auth */
};

struct settings {
	atomic_uint references;
	enum role role;
	char *fob[FOB_ADDRESSES_MAX]; /* fobd's addresses, as libfob takes them */
	size_t n_fob;
	char *listen[SETTINGS_LISTEN_MAX]; /* unix:PATH or ADDRESS:PORT */
	size_t n_listen;
	char *metrics; /* ADDRESS:PORT; NULL: none */
	mode_t socket_mode;
	struct peer_block trusted[SETTINGS_TRUSTED_MAX];
	size_t n_trusted;
	enum original original;
	char *original_method, *original_uri; /* the headers' names */
	struct route_table routes;
	char *realm;
	bool bearer, error_body;
	/* Those of the role operator, whose people sign in by one of the first two. */
	char *token_file;
	char *user_header;
	char *origin; /* "https://fob.example.com", as a browser has it; NULL: made from Host */
	unsigned session_idle_s;
	unsigned connections;
	uint32_t timeout_ms;
	enum log_level log_level;
	bool log_json;
};

/*
 * settings_load(path, out, why, why_len):
 * Read and check the file at ${path}: types, ranges, unknown names, addresses, routes.
 * Ownership: *${out} has one reference; settings_unref() frees it with the last one.
 * Threads:   one at a time in the process: libconfuse's lexer is global.
 * Returns:   0; -1 with one line "FILE:LINE: what is wrong; what to do" at ${why}, without LINE where the error has
 *            none.
 */
int settings_load(const char *path, struct settings **out, char *why, size_t why_len);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings *settings); /* takes NULL */

#endif
