/*
 * options.h - the inside of struct fob_options, for the files that read it. Every value in it has been checked by its
 * setter; options_check() looks at them together.
 */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <stdint.h>

#include "client/fob.h"

#define OPTIONS_TIMEOUT_DEFAULT_MS 5000
#define OPTIONS_IN_FLIGHT_MAX 64
#define OPTIONS_QUEUE_DEFAULT 4096
#define OPTIONS_QUEUE_MAX 1048576

/* Addresses of servers that serve the same databases, in the order in which they are tried. */
struct options_addresses {
	unsigned n; /* 0: not set */
	char *list[FOB_ADDRESSES_MAX];
};

struct fob_options {
	/* By enum fob_environment. FOB_ENVIRONMENT_ANY's are for what has none of its own. */
	struct options_addresses addresses[3];
	uint32_t timeout_ms;
	uint32_t connect_wait_ms; /* 0: until the call's deadline */
	unsigned in_flight;
	unsigned queue;
	bool fail_fast;
	bool loop;
	fob_state_cb state_cb; /* NULL: none */
	void *state_arg;
	char *tls_ca; /* NULL, as are the next three: not set */
	char *tls_cert;
	char *tls_key;
	char *tls_server_name;
};

/*
 * options_check(options, error):
 * Returns: 0 when a client can be made of ${options}; FOB_EINVALID_ARGUMENT with what is missing at ${error}.
 */
int options_check(const struct fob_options *options, struct fob_error *error);

#endif
