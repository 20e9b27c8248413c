/*
 * options.c - what a client is made from. Never opens a file or a socket: whether the address answers and the
 * certificates fit is found out later.
 */
#include "client/options.h"

#include <stdlib.h>
#include <string.h>

#include "client/error.h"
#include "proto/c/address.h"

struct fob_options *
fob_options_new(void)
{
	struct fob_options *o;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		return NULL;
	o->timeout_ms = OPTIONS_TIMEOUT_DEFAULT_MS;
	o->in_flight = OPTIONS_IN_FLIGHT_MAX;
	o->queue = OPTIONS_QUEUE_DEFAULT;
	return o;
}

static void
addresses_clear(struct options_addresses *a)
{
	while (a->n > 0)
		free(a->list[--a->n]);
}

void
fob_options_free(struct fob_options *o)
{
	size_t i;

	if (o == NULL)
		return;
	for (i = 0; i < sizeof(o->addresses) / sizeof(o->addresses[0]); i++)
		addresses_clear(&o->addresses[i]);
	free(o->tls_ca);
	free(o->tls_cert);
	free(o->tls_key);
	free(o->tls_server_name);
	free(o);
}

/* The old value stays when there is no memory for the new one. */
static int
string_set(char **to, const char *value)
{
	char *copy;

	if (value == NULL || *value == '\0')
		return FOB_EINVALID_ARGUMENT;
	if ((copy = strdup(value)) == NULL)
		return FOB_EINTERNAL;
	free(*to);
	*to = copy;
	return 0;
}

static int
number_set(unsigned *to, unsigned value, unsigned min, unsigned max)
{
	if (value < min || value > max)
		return FOB_EINVALID_ARGUMENT;
	*to = value;
	return 0;
}

/* Append ${address}, or make it the only one. What was there stays when it cannot be taken. */
static int
address_take(struct options_addresses *a, const char *address, bool only)
{
	char *copy;

	if (address == NULL || !address_is_good(address) || (!only && a->n == FOB_ADDRESSES_MAX))
		return FOB_EINVALID_ARGUMENT;
	if ((copy = strdup(address)) == NULL)
		return FOB_EINTERNAL;
	if (only)
		addresses_clear(a);
	a->list[a->n++] = copy;
	return 0;
}

int
fob_options_set_address(struct fob_options *o, const char *address)
{
	return address_take(&o->addresses[FOB_ENVIRONMENT_ANY], address, true);
}

int
fob_options_add_address(struct fob_options *o, const char *address)
{
	return address_take(&o->addresses[FOB_ENVIRONMENT_ANY], address, false);
}

int
fob_options_set_environment_address(struct fob_options *o, enum fob_environment environment, const char *address)
{
	if (environment != FOB_ENVIRONMENT_LIVE && environment != FOB_ENVIRONMENT_TEST)
		return FOB_EINVALID_ARGUMENT;
	return address_take(&o->addresses[environment], address, true);
}

int
fob_options_set_timeout_ms(struct fob_options *o, uint32_t timeout_ms)
{
	return number_set(&o->timeout_ms, timeout_ms, 1, FOB_TIMEOUT_MAX_MS);
}

int
fob_options_set_connect_wait_ms(struct fob_options *o, uint32_t wait_ms)
{
	return number_set(&o->connect_wait_ms, wait_ms, 1, FOB_TIMEOUT_MAX_MS);
}

int
fob_options_set_fail_fast(struct fob_options *o, bool fail_fast)
{
	o->fail_fast = fail_fast;
	return 0;
}

int
fob_options_set_in_flight(struct fob_options *o, unsigned messages)
{
	return number_set(&o->in_flight, messages, 1, OPTIONS_IN_FLIGHT_MAX);
}

int
fob_options_set_queue(struct fob_options *o, unsigned calls)
{
	return number_set(&o->queue, calls, 0, OPTIONS_QUEUE_MAX);
}

int
fob_options_set_loop(struct fob_options *o, bool loop)
{
	o->loop = loop;
	return 0;
}

int
fob_options_set_state_callback(struct fob_options *o, fob_state_cb cb, void *arg)
{
	o->state_cb = cb;
	o->state_arg = arg;
	return 0;
}

int
fob_options_set_tls_ca(struct fob_options *o, const char *ca_file)
{
	return string_set(&o->tls_ca, ca_file);
}

/* Both or neither: a certificate without its key, even for a moment, is no setting. */
int
fob_options_set_tls_certificate(struct fob_options *o, const char *cert_file, const char *key_file)
{
	char *cert = NULL, *key = NULL;
	int rc;

	if ((rc = string_set(&cert, cert_file)) != 0 || (rc = string_set(&key, key_file)) != 0) {
		free(cert);
		return rc;
	}
	free(o->tls_cert);
	free(o->tls_key);
	o->tls_cert = cert;
	o->tls_key = key;
	return 0;
}

int
fob_options_set_tls_server_name(struct fob_options *o, const char *name)
{
	return string_set(&o->tls_server_name, name);
}

/* How many addresses there are, and how many of them are for TLS. */
static unsigned
addresses_count(const struct fob_options *o, unsigned *tls)
{
	unsigned n = 0, i, j;

	*tls = 0;
	for (i = 0; i < sizeof(o->addresses) / sizeof(o->addresses[0]); i++) {
		for (j = 0; j < o->addresses[i].n; j++, n++)
			*tls += address_is_tls(o->addresses[i].list[j]);
	}
	return n;
}

int
options_check(const struct fob_options *o, struct fob_error *error)
{
	unsigned n, tls;

	n = addresses_count(o, &tls);
	if (n == 0)
		return error_set(error, FOB_EINVALID_ARGUMENT, "no address: set one with fob_options_set_address()");
	if (o->addresses[FOB_ENVIRONMENT_ANY].n == 0 &&
	    (o->addresses[FOB_ENVIRONMENT_LIVE].n == 0 || o->addresses[FOB_ENVIRONMENT_TEST].n == 0))
		return error_set(error, FOB_EINVALID_ARGUMENT,
		    "only one environment has an address: set the other's, or one for both with "
		    "fob_options_set_address()");
	if (tls > 0 && o->tls_ca == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "tls+tcp:// needs a CA: fob_options_set_tls_ca()");
	if (tls == 0 && (o->tls_ca != NULL || o->tls_cert != NULL || o->tls_server_name != NULL))
		return error_set(error, FOB_EINVALID_ARGUMENT, "TLS settings are for tls+tcp://, and no address is");
	return 0;
}
