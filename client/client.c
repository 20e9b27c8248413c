/*
 * client.c - a client begins and ends; its event loop.
 */
#include "client/request.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "client/error.h"
#include "client/options.h"

int
fob_client_new(const struct fob_options *options, struct fob_client **client, struct fob_error *error)
{
	struct fob_client *c;
	int rc;

	*client = NULL;
	error_clear(error);
	if ((rc = options_check(options, error)) != 0)
		return rc;
	if (sodium_init() < 0 || (c = calloc(1, sizeof(*c))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	c->timeout_ms = options->timeout_ms;
	if ((rc = transport_new(options, &c->transport, error)) != 0) {
		free(c);
		return rc;
	}
	c->split = transport_is_split(c->transport, FOB_ENVIRONMENT_ANY, FOB_ENVIRONMENT_LIVE) ||
	    transport_is_split(c->transport, FOB_ENVIRONMENT_ANY, FOB_ENVIRONMENT_TEST);
	for (size_t i = 0; i < sizeof(options->addresses) / sizeof(options->addresses[0]); i++)
		c->several = c->several || options->addresses[i].n > 1;
	pthread_mutex_init(&c->mutex, NULL);
	*client = c;
	return 0;
}

void
fob_client_free(struct fob_client *client)
{
	if (client == NULL)
		return;
	transport_free(client->transport);
	assert(client->batches == NULL);
	pthread_mutex_destroy(&client->mutex);
	free(client);
}

int
fob_client_fd(const struct fob_client *client)
{
	int fd = transport_fd(client->transport);

	return fd >= 0 ? fd : FOB_EFAILED_PRECONDITION;
}

int
fob_client_dispatch(struct fob_client *client)
{
	return transport_dispatch(client->transport);
}
