/*
 * backend.c - libfob in a libevent loop (see backend.h). No key is kept here.
 */
#include "client/http/backend.h"

#include <stdio.h>
#include <stdlib.h>

struct backend {
	struct fob_client *client;
	struct event *ready;
	bool told_lost;   /* that there is no connection stands in the log */
	bool only_verify; /* in the role auth; an operator needs an admin listener */
	bool is_admin;    /* what answers is an admin listener; in the role auth it is not asked */
};

/* libfob has something to do: a socket is ready, a deadline has passed, or calls were made in this turn of the loop. */
static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct backend *b = arg;

	(void)fd;
	(void)what;
	fob_client_dispatch(b->client);
}

/* ---- a verify listener it must be, for an operator an admin one ---- */

static void
on_accounts(void *arg, int fault, const struct fob_account_page *page, const struct fob_cursor *next,
    const struct fob_error *error)
{
	struct backend *b = arg;

	(void)page;
	(void)next;
	if (fault == FOB_EUNAVAILABLE || fault == FOB_EDEADLINE_EXCEEDED || fault == FOB_ECANCELLED)
		return;
	b->is_admin = fault != FOB_EPERMISSION_DENIED;
	if (!b->only_verify && !b->is_admin)
		log_line(LOG_ERROR,
		    "this fobd listener does not serve fob.v1.Admin to this user; every change is refused until it "
		    "does",
		    "reason", error->message, NULL);
	if (b->only_verify && b->is_admin)
		log_line(LOG_ERROR,
		    "this fobd listener serves fob.v1.Admin; every answer is 503 until fob names a verify one", NULL);
}

/* A hole in what faces the world must not be a way to roll keys, so that asks for what a verify listener refuses. */
static void
check_listener(struct backend *b)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.page_size = 1 };

	fob_list_accounts_async(b->client, &request, NULL, on_accounts, b, NULL, NULL);
}

static int
refuse(struct fob_error *error)
{
	*error =
	    (struct fob_error){ .fault = FOB_EFAILED_PRECONDITION, .message = "fobd's listener is not a verify one" };
	return FOB_EFAILED_PRECONDITION;
}

static void
on_state(void *arg, const char *address, enum fob_connection_state state, const struct fob_error *reason)
{
	struct backend *b = arg;

	if (state == FOB_CONNECTION_STATE_MADE) {
		log_line(LOG_INFO, "connected to fobd", "address", address, NULL);
		check_listener(b);
	} else if (!b->told_lost)
		log_line(LOG_WARN, "not connected to fobd", "address", address, "reason", reason->message, NULL);
	b->told_lost = state != FOB_CONNECTION_STATE_MADE;
}

static int
set_options(struct fob_options *o, const struct settings *s, struct backend *b)
{
	for (size_t i = 0; i < s->n_fob; i++)
		if (fob_options_add_address(o, s->fob[i]) != 0)
			return -1;
	/* A request for more than the queue holds is answered with 503 at once: waiting would not make it shorter. */
	return fob_options_set_loop(o, true) != 0 || fob_options_set_fail_fast(o, true) != 0 ||
		fob_options_set_timeout_ms(o, s->timeout_ms) != 0 || fob_options_set_queue(o, s->connections) != 0 ||
		fob_options_set_state_callback(o, on_state, b) != 0 ?
	    -1 :
	    0;
}

int
backend_new(struct event_base *base, const struct settings *settings, struct backend **out, char *why, size_t why_len)
{
	struct fob_options *options = fob_options_new();
	struct backend *b = calloc(1, sizeof(*b));
	struct fob_error error = { .message = "out of memory" };
	int rc = -1;

	if (b != NULL)
		b->only_verify = settings->role == ROLE_AUTH;
	if (options != NULL && b != NULL && set_options(options, settings, b) == 0 &&
	    fob_client_new(options, &b->client, &error) == 0) {
		b->ready = event_new(base, fob_client_fd(b->client), EV_READ | EV_PERSIST, on_ready, b);
		rc = b->ready != NULL ? event_add(b->ready, NULL) : -1;
	}
	fob_options_free(options);
	if (rc == 0) {
		*out = b;
		return 0;
	}
	snprintf(why, why_len, "libfob: %s", error.message);
	backend_free(b);
	return -1;
}

void
backend_free(struct backend *b)
{
	if (b == NULL)
		return;
	if (b->ready != NULL)
		event_free(b->ready);
	fob_client_free(b->client);
	free(b);
}

struct fob_client *
backend_client(struct backend *b)
{
	return b->client;
}

void
backend_flush(struct backend *b)
{
	event_active(b->ready, EV_READ, 0);
}

int
backend_verify(
    struct backend *b, const struct fob_verify_request *request, fob_verify_cb cb, void *arg, struct fob_error *error)
{
	if (b->is_admin && b->only_verify)
		return refuse(error);
	backend_flush(b);
	return fob_verify_async(b->client, request, cb, arg, NULL, error);
}

int
backend_verify_batch(struct backend *b, const struct fob_verify_batch_request *request, fob_verify_batch_cb cb,
    void *arg, struct fob_error *error)
{
	if (b->is_admin && b->only_verify)
		return refuse(error);
	backend_flush(b);
	return fob_verify_batch_async(b->client, request, cb, arg, NULL, error);
}
