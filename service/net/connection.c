/*
 * connection.c - a connection begins, and ends (see internal.h for its state). What it does in between is the reader's,
 * in reader.c, receive.c and send.c.
 *
 * An operation on a stream that has been closed may end without a callback (nng 1.5.2), so none is begun once ${closed}
 * is set, under the mutex.
 */
#include "service/net/internal.h"

#include <stdlib.h>

#include "service/net/peer.h"

/* ---- the beginning ---- */

struct connection *
connection_new(struct listener *l, nng_stream *stream)
{
	struct connection *c;

	if ((c = calloc(1, sizeof(*c))) == NULL) {
		nng_stream_free(stream);
		return NULL;
	}
	c->listener = l;
	c->stream = stream;
	c->budget.of = &l->server->budget;
	c->in.budget = c->out.budget = c->sent.budget = &c->budget;
	c->refs = 1;
	c->arrived_ms = clock_boot_ms();
	if (nng_aio_alloc(&c->receive_aio, reader_received, c) != 0) {
		nng_stream_free(stream);
		free(c);
		return NULL;
	}
	pthread_mutex_init(&c->mutex, NULL);
	peer_of(stream, &c->peer);
	return c;
}

/* Under the server's mutex. The connection of any listener that has not greeted for the longest; NULL: there is none. */
static struct connection *
find_oldest(const struct server *server)
{
	struct connection *oldest = NULL, *c;

	for (size_t i = 0; i < server->n_listeners; i++) {
		c = server->listeners[i].ungreeted.first;
		if (c != NULL && (oldest == NULL || c->arrived_ms < oldest->arrived_ms))
			oldest = c;
	}
	return oldest;
}

/* A newcomer is let in, has to wait, or is refused. */
enum entry { ENTRY_ENTERED, ENTRY_WAIT, ENTRY_REFUSED };

/*
 * Under the server's mutex, when all connections have greeted. A connection counts until its end has been noticed, which
 * takes a moment on a busy machine: a few clients that connect and close again must not refuse each other.
 */
static enum entry
wait_or_refuse(struct server *server)
{
	int64_t now_ms = clock_boot_ms();

	if (server->full_since_ms == 0)
		server->full_since_ms = now_ms;
	return now_ms < server->full_since_ms + LIMIT_FULL_MS ? ENTRY_WAIT : ENTRY_REFUSED;
}

/*
 * Under the server's mutex. Silent peers must not keep others out: where there is no room, the connection that has not
 * greeted for the longest makes some. It is at *${oldest}, with a reference, to be closed.
 */
static enum entry
make_room(struct listener *l, struct connection **oldest)
{
	struct server *server = l->server;

	*oldest = NULL;
	if (server->closing)
		return ENTRY_REFUSED;
	if (l->ungreeted.n >= LIMIT_UNGREETED)
		*oldest = l->ungreeted.first;
	else if (server->live >= server->config->connections && (*oldest = find_oldest(server)) == NULL)
		return wait_or_refuse(server);
	if (*oldest != NULL) {
		connection_ref(*oldest);
		list_remove(&(*oldest)->listener->ungreeted, *oldest, PLACE_UNGREETED);
		server->crowded++;
	}
	server->full_since_ms = 0;
	return ENTRY_ENTERED;
}

static enum entry
enter(struct connection *c, struct connection **oldest)
{
	struct listener *l = c->listener;
	struct server *server = l->server;
	enum entry entry;

	pthread_mutex_lock(&server->mutex);
	entry = make_room(l, oldest);
	if (entry == ENTRY_ENTERED && l->tls != NULL && (c->tls = tls_session_new(l->tls, NULL)) == NULL)
		entry = ENTRY_REFUSED;
	if (entry == ENTRY_ENTERED) {
		server->live++;
		server->exist++;
		list_add(&server->all, c, PLACE_ALL);
		list_add(&l->ungreeted, c, PLACE_UNGREETED);
		/* The sweep closes it when it does not greet in time. */
		if (l->ungreeted.n == 1)
			pthread_cond_signal(&server->work);
	}
	pthread_mutex_unlock(&server->mutex);
	return entry;
}

bool
connection_begin(struct connection *c, struct workspace *ws)
{
	uint8_t greeting[SP_GREETING_LEN];
	struct connection *oldest;
	enum entry entry = enter(c, &oldest);

	if (oldest != NULL) {
		connection_close(oldest);
		connection_unref(oldest);
	}
	if (entry == ENTRY_WAIT)
		return false;
	if (entry == ENTRY_REFUSED) {
		atomic_fetch_add(&c->listener->server->refused, 1);
		connection_free(c);
		return true;
	}
	if (c->tls == NULL) {
		sp_greeting(SP_REP, greeting);
		pthread_mutex_lock(&c->mutex);
		send_bytes(c, ws->try_aio, greeting, sizeof(greeting));
		pthread_mutex_unlock(&c->mutex);
	}
	reader_begin(c);
	return true;
}

/* ---- the end ---- */

void
connection_ref(struct connection *c)
{
	atomic_fetch_add(&c->refs, 1);
}

void
connection_unref(struct connection *c)
{
	struct server *server = c->listener->server;

	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	/* Not here: an aio cannot be freed in its own callback. */
	pthread_mutex_lock(&server->mutex);
	c->links[PLACE_ALL].next = server->dead;
	server->dead = c;
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->mutex);
}

void
connection_free(struct connection *c)
{
	nng_aio_free(c->receive_aio);
	if (c->send_aio != NULL)
		nng_aio_free(c->send_aio);
	nng_stream_free(c->stream);
	tls_session_free(c->tls);
	buffer_free(&c->in);
	buffer_free(&c->out);
	buffer_free(&c->sent);
	atomic_fetch_sub(&c->listener->server->leaving, c->leaving);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

/* From here on it is counted no more, whatever becomes of its descriptor. */
bool
connection_close_locked(struct connection *c)
{
	struct server *server = c->listener->server;

	if (c->closed)
		return false;
	c->closed = true;
	pthread_mutex_lock(&server->mutex);
	list_remove(&server->all, c, PLACE_ALL);
	list_remove(&server->stalled, c, PLACE_STALLED);
	list_remove(&c->listener->ungreeted, c, PLACE_UNGREETED);
	c->leaving = c->budget.held;
	atomic_fetch_add(&server->leaving, c->leaving);
	pthread_mutex_unlock(&server->mutex);
	atomic_fetch_sub(&server->live, 1);
	nng_stream_close(c->stream);
	return true;
}

bool
connection_close(struct connection *c)
{
	bool was_open;

	pthread_mutex_lock(&c->mutex);
	was_open = connection_close_locked(c);
	pthread_mutex_unlock(&c->mutex);
	return was_open;
}
