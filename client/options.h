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
#define OPTIONS_LANES_DEFAULT 3
#define OPTIONS_QUEUE_DEFAULT 4096
#define OPTIONS_QUEUE_MAX 1048576
#define OPTIONS_ADDRESS_MAX 300 /* a host name of 253 characters, its scheme and port */

struct fob_options {
	char *address; /* NULL: not set yet */
	uint32_t timeout_ms;
	unsigned in_flight;
	unsigned queue;
	bool coalesce;
	unsigned lanes; /* messages with verifies at once */
	char *tls_ca;   /* NULL, as are the next three: not set */
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
