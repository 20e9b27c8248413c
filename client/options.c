/*
 * options.c - what a client is made from.
 *
 * Called by libfob's users before fob_client_new(), and by client.c, which checks the result; transport.c and
 * coalesce.c read it. Calls the C library only. Never opens a file or a socket: whether the address answers and the
 * certificates fit is found out later.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "client/error.h"
#include "client/options.h"

static const char scheme_ipc[] = "ipc://";
static const char scheme_tcp[] = "tcp://";
static const char scheme_tls[] = "tls+tcp://";

#define STARTS_WITH(s, scheme) (strncmp((s), (scheme), sizeof(scheme) - 1) == 0)
#define AFTER(s, scheme) ((s) + sizeof(scheme) - 1)

struct fob_options *
fob_options_new(void)
{
	struct fob_options *o;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		return NULL;
	o->timeout_ms = OPTIONS_TIMEOUT_DEFAULT_MS;
	o->in_flight = OPTIONS_IN_FLIGHT_MAX;
	o->queue = OPTIONS_QUEUE_DEFAULT;
	o->coalesce = true;
	o->lanes = OPTIONS_LANES_DEFAULT;
	return o;
}

void
fob_options_free(struct fob_options *o)
{
	if (o == NULL)
		return;
	free(o->address);
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

static bool
path_is_good(const char *path)
{
	return *path != '\0' && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

static bool
port_is_good(const char *port)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*port))
		return false;
	errno = 0;
	n = strtoul(port, &end, 10);
	return errno == 0 && *end == '\0' && n >= 1 && n <= 65535;
}

/* HOST:PORT or [V6]:PORT. What the host's characters mean is the resolver's business; that there are any is ours. */
static bool
host_port_is_good(const char *s)
{
	const char *colon = strrchr(s, ':'), *p;

	if (colon == NULL || colon == s || !port_is_good(colon + 1))
		return false;
	for (p = s; p < colon; p++) {
		if (!isgraph((unsigned char)*p) || strchr("/?#@%*", *p) != NULL)
			return false;
	}
	if (*s == '[')
		return colon[-1] == ']' && colon - s > 2;
	return memchr(s, ':', (size_t)(colon - s)) == NULL;
}

int
fob_options_set_address(struct fob_options *o, const char *address)
{
	bool good = false;

	if (address == NULL || strlen(address) > OPTIONS_ADDRESS_MAX)
		return FOB_EINVALID_ARGUMENT;
	if (STARTS_WITH(address, scheme_ipc))
		good = path_is_good(AFTER(address, scheme_ipc));
	else if (STARTS_WITH(address, scheme_tcp))
		good = host_port_is_good(AFTER(address, scheme_tcp));
	else if (STARTS_WITH(address, scheme_tls))
		good = host_port_is_good(AFTER(address, scheme_tls));
	return good ? string_set(&o->address, address) : FOB_EINVALID_ARGUMENT;
}

int
fob_options_set_timeout_ms(struct fob_options *o, uint32_t timeout_ms)
{
	if (timeout_ms < 1 || timeout_ms > FOB_TIMEOUT_MAX_MS)
		return FOB_EINVALID_ARGUMENT;
	o->timeout_ms = timeout_ms;
	return 0;
}

int
fob_options_set_in_flight(struct fob_options *o, unsigned calls)
{
	return number_set(&o->in_flight, calls, 1, OPTIONS_IN_FLIGHT_MAX);
}

int
fob_options_set_queue(struct fob_options *o, unsigned calls)
{
	return number_set(&o->queue, calls, 0, OPTIONS_QUEUE_MAX);
}

int
fob_options_set_coalesce(struct fob_options *o, bool coalesce)
{
	o->coalesce = coalesce;
	return 0;
}

int
fob_options_set_verify_lanes(struct fob_options *o, unsigned messages)
{
	return number_set(&o->lanes, messages, 1, OPTIONS_IN_FLIGHT_MAX);
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

int
options_check(const struct fob_options *o, struct fob_error *error)
{
	bool tls;

	if (o->address == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "no address: set one with fob_options_set_address()");
	tls = STARTS_WITH(o->address, scheme_tls);
	if (tls && o->tls_ca == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "%s needs a CA: fob_options_set_tls_ca()", o->address);
	if (!tls && (o->tls_ca != NULL || o->tls_cert != NULL || o->tls_server_name != NULL))
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "TLS settings are for tls+tcp://, not for %s", o->address);
	return 0;
}
