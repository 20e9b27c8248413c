/*
 * send.c - a connection's replies, from requests to the socket. What is ready together leaves in one write; what the
 * socket does not take at once leaves when a callback says that it has room.
 */
#include "service/net/internal.h"
#include "service/net/stream.h"

#include <assert.h>

#define OUT_KEPT (64U << 10) /* of a workspace's buffer, between turns */

/* ---- to the socket: under the mutex ---- */

static void sent(void *arg);

/* The socket is full: what is left goes when it has room, and a callback says so. */
static void
send_later(struct connection *c)
{
	struct server *server = c->listener->server;

	if (c->send_aio == NULL && nng_aio_alloc(&c->send_aio, sent, c) != 0) {
		c->send_aio = NULL;
		connection_close_locked(c);
		return;
	}
	c->sent = c->out;
	c->sent_at = 0;
	c->out = (struct buffer){ .budget = &c->budget };
	c->sending = true;
	c->progress_ms = clock_boot_ms();
	connection_ref(c);
	pthread_mutex_lock(&server->mutex);
	list_add(&server->stalled, c, PLACE_STALLED);
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->mutex);
	stream_send(c->stream, c->send_aio, c->sent.p, c->sent.len);
}

void
send_bytes(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len)
{
	size_t n;

	if (c->closed)
		return;
	if (c->sending || c->out.len > 0) {
		if (buffer_append(&c->out, bytes, len) != 0) {
			connection_close_locked(c);
			return;
		}
		len = 0;
	}
	while (!c->sending && c->out.len > 0) {
		switch (stream_try_send(c->stream, try_aio, c->out.p, c->out.len, &n)) {
		case STREAM_DONE:
			buffer_consume(&c->out, n, 0);
			continue;
		case STREAM_BUSY:
			send_later(c);
			return;
		default:
			connection_close_locked(c);
			return;
		}
	}
	for (; len > 0; bytes += n, len -= n) {
		switch (stream_try_send(c->stream, try_aio, bytes, len, &n)) {
		case STREAM_DONE:
			continue;
		case STREAM_BUSY:
			if (buffer_append(&c->out, bytes, len) == 0)
				send_later(c);
			else
				connection_close_locked(c);
			return;
		default:
			connection_close_locked(c);
			return;
		}
	}
}

void
send_plain(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len)
{
	if (c->tls == NULL) {
		send_bytes(c, try_aio, bytes, len);
	} else if (!c->closed) {
		if (tls_write(c->tls, bytes, len) != 0 || tls_take(c->tls, &c->out) != 0)
			connection_close_locked(c);
		else
			send_bytes(c, try_aio, NULL, 0);
	}
}

/* Returns whether all has left, so that the next request may be looked at. */
bool
send_replies(struct connection *c, struct workspace *ws)
{
	bool left;

	pthread_mutex_lock(&c->mutex);
	if (ws->out.len > 0)
		send_plain(c, ws->try_aio, ws->out.p, ws->out.len);
	else
		send_bytes(c, ws->try_aio, NULL, 0);
	left = !c->closed && !c->sending;
	pthread_mutex_unlock(&c->mutex);
	buffer_consume(&ws->out, ws->out.len, OUT_KEPT);
	return left;
}

void
send_flush(struct connection *c, struct workspace *ws)
{
	pthread_mutex_lock(&c->mutex);
	send_bytes(c, ws->try_aio, NULL, 0);
	pthread_mutex_unlock(&c->mutex);
}

static void
sent_all(struct connection *c, nng_aio *try_aio)
{
	struct server *server = c->listener->server;

	c->sending = false;
	buffer_free(&c->sent);
	pthread_mutex_lock(&server->mutex);
	list_remove(&server->stalled, c, PLACE_STALLED);
	pthread_mutex_unlock(&server->mutex);
	send_bytes(c, try_aio, NULL, 0);
}

static void
sent(void *arg)
{
	struct connection *c = arg;
	struct server *server = c->listener->server;
	struct workspace *ws = workspace_take(server);
	int rc = nng_aio_result(c->send_aio);
	bool resume = false, ended = false;

	pthread_mutex_lock(&c->mutex);
	c->sent_at += rc == 0 ? nng_aio_count(c->send_aio) : 0;
	if (rc != 0 || ws == NULL)
		connection_close_locked(c);
	c->progress_ms = clock_boot_ms();
	if (!c->closed && c->sent_at < c->sent.len) {
		stream_send(c->stream, c->send_aio, c->sent.p + c->sent_at, c->sent.len - c->sent_at);
		pthread_mutex_unlock(&c->mutex);
		workspace_give(server, ws);
		return;
	}
	if (c->closed)
		c->sending = false;
	else {
		assert(ws != NULL); /* or it would be closed */
		sent_all(c, ws->try_aio);
	}
	if (c->paused && !c->sending) {
		c->paused = false;
		resume = !c->closed;
		ended = c->closed;
	}
	pthread_mutex_unlock(&c->mutex);
	if (resume)
		reader_turn(c, ws, 0);
	if (ended)
		connection_unref(c);
	workspace_give(server, ws);
	connection_unref(c);
}

/* ---- the transport's part of a request ---- */

bool
send_admit(const struct origin *origin)
{
	struct connection *c = origin->connection;
	struct server *server = c->listener->server;

	if (atomic_fetch_add(&c->changes, 1) >= atomic_load(&server->service->config)->in_flight) {
		atomic_fetch_sub(&c->changes, 1);
		return false;
	}
	connection_ref(c);
	return true;
}

static int
append_frame(struct connection *c, struct buffer *to, uint32_t id, const uint8_t *bytes, size_t len)
{
	uint8_t *p = buffer_reserve(to, SP_HEADER_MAX + len);

	if (p == NULL)
		return -1;
	buffer_add(to, sp_header(c->listener->framing, id, len, p));
	return buffer_append(to, bytes, len);
}

/* A change's reply: the sweep sends it, together with those that come meanwhile. */
static void
reply_later(struct connection *c, uint32_t id, const uint8_t *bytes, size_t len)
{
	struct server *server = c->listener->server;
	struct buffer frame = { 0 };

	pthread_mutex_lock(&c->mutex);
	if (c->tls == NULL) {
		if (append_frame(c, &c->out, id, bytes, len) != 0)
			connection_close_locked(c);
	} else {
		if (append_frame(c, &frame, id, bytes, len) != 0 || c->closed ||
		    tls_write(c->tls, frame.p, frame.len) != 0 || tls_take(c->tls, &c->out) != 0)
			connection_close_locked(c);
		buffer_free(&frame);
	}
	if (!c->closed) {
		pthread_mutex_lock(&server->mutex);
		if (!c->links[PLACE_FLUSH].listed) {
			list_add(&server->flush, c, PLACE_FLUSH);
			connection_ref(c);
			pthread_cond_signal(&server->work);
		}
		pthread_mutex_unlock(&server->mutex);
	}
	pthread_mutex_unlock(&c->mutex);
}

void
send_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	struct connection *c = origin->connection;

	if (!admitted) {
		/* On the reader's thread: it leaves with the other replies of this turn. */
		if (append_frame(c, &c->ws->out, origin->id, bytes, len) != 0)
			connection_close(c);
		return;
	}
	/* First: who has the reply may send the next change, which must not find this one under way. */
	atomic_fetch_sub(&c->changes, 1);
	reply_later(c, origin->id, bytes, len);
	connection_unref(c);
}
