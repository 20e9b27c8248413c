/*
 * load_client.c - clients of libfob as a load's settings want them (see load.h).
 */
#include "tests/load/load.h"

#include <stdio.h>

int
load_client(const struct load_config *config, const char *address, unsigned in_flight, struct fob_client **client,
    char *why, size_t why_len)
{
	struct fob_options *o = fob_options_new();
	struct fob_error error = { 0 };
	int rc;

	if (o == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if ((rc = fob_options_set_address(o, address)) != 0)
		snprintf(error.message, sizeof(error.message),
		    "%s: not ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT", address);
	else if ((rc = fob_options_set_timeout_ms(o, config->timeout_ms)) != 0 ||
	    (rc = fob_options_set_in_flight(o, in_flight)) != 0 ||
	    (rc = fob_options_set_queue(o, LOAD_CALLERS_MAX)) != 0 ||
	    (config->tls_ca != NULL && (rc = fob_options_set_tls_ca(o, config->tls_ca)) != 0) ||
	    (config->tls_cert != NULL &&
		(rc = fob_options_set_tls_certificate(o, config->tls_cert, config->tls_key)) != 0))
		snprintf(error.message, sizeof(error.message), "libfob does not take these settings");
	else
		rc = fob_client_new(o, client, &error);
	fob_options_free(o);
	if (rc != 0)
		snprintf(why, why_len, "%s", error.message);
	return rc == 0 ? 0 : -1;
}
