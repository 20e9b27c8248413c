/*
 * connection.c - a connection's life: greeting, requests in, replies out, the end (see internal.h for its state). Waits
 * for nothing: each function ends when a receive or a send is under way that will call back.
 *
 * An operation on a stream that has been closed may end without a callback (nng 1.5.2), so none is begun once ${closed}
 * is set, under the mutex.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/log.h"
#include "service/net/internal.h"
#include "service/net/peer.h"
#include "service/net/stream.h"
#include "service/rpc/dispatch.h"

static void turn(struct connection *c, struct workspace *ws, size_t n);

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
	tls_free(c->tls);
	buffer_clear(&c->in, &c->budget);
	buffer_clear(&c->out, &c->budget);
	buffer_clear(&c->sent, &c->budget);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

/* From here on it is counted no more, whatever becomes of its descriptor. */
static bool
close_locked(struct connection *c)
{
	struct server *server = c->listener->server;

	if (c->closed)
		return false;
	c->closed = true;
	pthread_mutex_lock(&server->mutex);
	list_remove(&server->all, c, PLACE_ALL);
	list_remove(&server->stalled, c, PLACE_STALLED);
	list_remove(&c->listener->ungreeted, c, PLACE_UNGREETED);
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
	was_open = close_locked(c);
	pthread_mutex_unlock(&c->mutex);
	return was_open;
}

/* ---- replies out: under the mutex ---- */

static void sent(void *arg);

/* The socket is full: what is left goes when it has room, and a callback says so. */
static void
send_later(struct connection *c)
{
	struct server *server = c->listener->server;

	if (c->send_aio == NULL && nng_aio_alloc(&c->send_aio, sent, c) != 0) {
		c->send_aio = NULL;
		close_locked(c);
		return;
	}
	c->sent = c->out;
	c->sent_at = 0;
	c->out = (struct buffer){ 0 };
	c->sending = true;
	c->progress_ms = clock_boot_ms();
	connection_ref(c);
	pthread_mutex_lock(&server->mutex);
	list_add(&server->stalled, c, PLACE_STALLED);
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->mutex);
	stream_send(c->stream, c->send_aio, c->sent.bytes, c->sent.len);
}

/* Send ${bytes}, behind what waits already. They are copied only if the socket does not take them at once. */
static void
send_bytes(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len)
{
	size_t n;

	if (c->closed)
		return;
	if (c->sending || c->out.len > 0) {
		if (buffer_append(&c->out, bytes, len, &c->budget) != 0) {
			close_locked(c);
			return;
		}
		len = 0;
	}
	while (!c->sending && c->out.len > 0) {
		switch (stream_try_send(c->stream, try_aio, c->out.bytes, c->out.len, &n)) {
		case STREAM_DONE:
			buffer_drop(&c->out, n, &c->budget);
			continue;
		case STREAM_BUSY:
			send_later(c);
			return;
		default:
			close_locked(c);
			return;
		}
	}
	for (; len > 0; bytes += n, len -= n) {
		switch (stream_try_send(c->stream, try_aio, bytes, len, &n)) {
		case STREAM_DONE:
			continue;
		case STREAM_BUSY:
			if (buffer_append(&c->out, bytes, len, &c->budget) == 0)
				send_later(c);
			else
				close_locked(c);
			return;
		default:
			close_locked(c);
			return;
		}
	}
}

/* What the TLS session has for its peer. */
static int
take_ciphertext(struct connection *c)
{
	size_t n;

	while ((n = tls_pending(c->tls)) > 0) {
		if (buffer_reserve(&c->out, n, &c->budget) != 0)
			return -1;
		c->out.len += tls_drain(c->tls, c->out.bytes + c->out.len, n);
	}
	return 0;
}

static void
send_plain(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len)
{
	if (c->tls == NULL) {
		send_bytes(c, try_aio, bytes, len);
	} else if (!c->closed) {
		if (tls_write(c->tls, bytes, len) != 0 || take_ciphertext(c) != 0)
			close_locked(c);
		else
			send_bytes(c, try_aio, NULL, 0);
	}
}

/* Returns whether all has left, so that the next request may be looked at. */
static bool
send_replies(struct connection *c, struct workspace *ws)
{
	bool left;

	pthread_mutex_lock(&c->mutex);
	if (ws->out.len > 0)
		send_plain(c, ws->try_aio, ws->out.bytes, ws->out.len);
	else
		send_bytes(c, ws->try_aio, NULL, 0);
	left = !c->closed && !c->sending;
	pthread_mutex_unlock(&c->mutex);
	sodium_memzero(ws->out.bytes, ws->out.len);
	ws->out.len = 0;
	return left;
}

void
connection_flush(struct connection *c, struct workspace *ws)
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
	buffer_clear(&c->sent, &c->budget);
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
		close_locked(c);
	c->progress_ms = clock_boot_ms();
	if (!c->closed && c->sent_at < c->sent.len) {
		stream_send(c->stream, c->send_aio, c->sent.bytes + c->sent_at, c->sent.len - c->sent_at);
		pthread_mutex_unlock(&c->mutex);
		workspace_give(server, ws);
		return;
	}
	if (c->closed)
		c->sending = false;
	else
		sent_all(c, ws->try_aio);
	if (c->paused && !c->sending) {
		c->paused = false;
		resume = !c->closed;
		ended = c->closed;
	}
	pthread_mutex_unlock(&c->mutex);
	if (resume)
		turn(c, ws, 0);
	if (ended)
		connection_unref(c);
	workspace_give(server, ws);
	connection_unref(c);
}

/* ---- the transport's part of a request ---- */

bool
connection_admit(const struct origin *origin)
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
append_frame(struct connection *c, struct buffer *to, struct budget *budget, uint32_t id, const uint8_t *bytes,
    size_t len)
{
	uint8_t header[SP_HEADER_MAX];
	size_t header_len = sp_header(c->listener->framing, id, len, header);

	return buffer_reserve(to, header_len + len, budget) != 0 || buffer_append(to, header, header_len, budget) != 0 ||
		buffer_append(to, bytes, len, budget) != 0 ?
	    -1 :
	    0;
}

/* A change's reply: the sweep sends it, together with those that come meanwhile. */
static void
reply_later(struct connection *c, uint32_t id, const uint8_t *bytes, size_t len)
{
	struct server *server = c->listener->server;
	struct buffer frame = { 0 };

	pthread_mutex_lock(&c->mutex);
	if (c->tls == NULL) {
		if (append_frame(c, &c->out, &c->budget, id, bytes, len) != 0)
			close_locked(c);
	} else {
		if (append_frame(c, &frame, NULL, id, bytes, len) != 0 || c->closed ||
		    tls_write(c->tls, frame.bytes, frame.len) != 0 || take_ciphertext(c) != 0)
			close_locked(c);
		buffer_clear(&frame, NULL);
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
connection_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	struct connection *c = origin->connection;

	if (!admitted) {
		/* On the reader's thread: it leaves with the other replies of this turn. */
		if (append_frame(c, &c->ws->out, NULL, origin->id, bytes, len) != 0)
			connection_close(c);
		return;
	}
	reply_later(c, origin->id, bytes, len);
	atomic_fetch_sub(&c->changes, 1);
	connection_unref(c);
}

/* ---- requests in: the reader ---- */

static void
refuse_user(struct connection *c, struct workspace *ws, const struct origin *origin)
{
	char message[LIMIT_MESSAGE];
	uint64_t left_out;

	if (rate_limit_pass(&c->listener->refusals, &left_out))
		LOG(LOG_WARN, "refused: not one of the listener's allow_users", LOG_S("url", c->listener->config->url),
		    LOG_PEER(&c->peer), LOG_I_IF(left_out > 0, "more", left_out));
	snprintf(message, sizeof(message), "the user with number %ld is not one of this listener's allow_users",
	    c->peer.known ? (long)c->peer.uid : -1L);
	dispatch_refuse(&ws->worker, origin, FAULT_PERMISSION_DENIED, message);
}

static void
answer(struct connection *c, struct workspace *ws, const struct sp_frame *frame, int64_t now_ms)
{
	struct origin origin = { .connection = c,
		.id = frame->id,
		.role = c->listener->config->role,
		.peer = &c->peer };

	if (!peer_allowed(&c->peer, c->listener->current))
		refuse_user(c, ws, &origin);
	else if (frame->body_len > LIMIT_REQUEST)
		dispatch_refuse(
		    &ws->worker, &origin, FAULT_INVALID_ARGUMENT, "the request is longer than 65536 bytes");
	else
		dispatch(&ws->worker, &origin, frame->body, frame->body_len, now_ms);
}

/* Returns how many bytes the greeting takes; 0 while it is not whole; -1 when it is none. */
static int
take_greeting(struct connection *c, const uint8_t *bytes, size_t len)
{
	struct server *server = c->listener->server;

	if (c->greeted)
		return 0;
	if (!sp_greeting_ok(bytes, len < SP_GREETING_LEN ? len : SP_GREETING_LEN, SP_REQ))
		return -1;
	if (len < SP_GREETING_LEN)
		return 0;
	c->greeted = true;
	pthread_mutex_lock(&server->mutex);
	list_remove(&c->listener->ungreeted, c, PLACE_UNGREETED);
	pthread_mutex_unlock(&server->mutex);
	return SP_GREETING_LEN;
}

/*
 * Answer the requests at ${bytes}, one after the other, until one is not whole, or until so many replies wait for the
 * socket that the peer has to take them first.
 * Returns how many bytes were dealt with; -1: close.
 */
static ssize_t
answer_all(struct connection *c, struct workspace *ws, const uint8_t *bytes, size_t len)
{
	int64_t now_ms = clock_boot_ms();
	struct sp_frame frame;
	enum sp_result result;
	bool left = true;
	int greeting;
	size_t at;

	if ((greeting = take_greeting(c, bytes, len)) < 0)
		return -1;
	at = (size_t)greeting;
	if (!c->greeted)
		return 0;
	c->ws = ws;
	while (left &&
	    ((result = sp_parse(c->listener->framing, LIMIT_FRAME, bytes + at, len - at, &frame)) == SP_MESSAGE ||
		result == SP_NO_ID)) {
		if (result == SP_MESSAGE)
			answer(c, ws, &frame, now_ms);
		at += frame.size;
		if (ws->out.len >= LIMIT_UNSENT)
			left = send_replies(c, ws);
	}
	c->ws = NULL;
	c->more = !left;
	send_replies(c, ws);
	return left && result == SP_BROKEN ? -1 : (ssize_t)at;
}

/* ---- bytes in ---- */

static bool
receive_plain(struct connection *c, struct workspace *ws, size_t n, const uint8_t **bytes, size_t *len)
{
	size_t more = 0;

	*bytes = c->first;
	*len = n;
	if (c->in.len == 0 && n < FIRST_READ)
		return true;
	if (c->in.len > 0) {
		if (buffer_append(&c->in, c->first, n, &c->budget) != 0)
			return false;
		if (n == FIRST_READ) {
			if (buffer_reserve(&c->in, LIMIT_READ, &c->budget) != 0)
				return false;
			(void)stream_try_receive(
			    c->stream, ws->try_aio, c->in.bytes + c->in.len, LIMIT_READ, &more);
			c->in.len += more;
		}
		*bytes = c->in.bytes;
		*len = c->in.len;
		return true;
	}
	memcpy(ws->in, c->first, n);
	(void)stream_try_receive(c->stream, ws->try_aio, ws->in + n, LIMIT_READ, &more);
	*bytes = ws->in;
	*len = n + more;
	return true;
}

static void
tell_handshake(struct connection *c, const char *why)
{
	uint64_t left_out;

	if (rate_limit_pass(&c->listener->handshakes, &left_out))
		LOG(LOG_WARN, "TLS handshake failed", LOG_S("url", c->listener->config->url), LOG_S("reason", why),
		    LOG_PEER(&c->peer), LOG_I_IF(left_out > 0, "more", left_out));
}

/* Under the mutex. Returns false when the handshake has failed. */
static bool
shake_hands(struct connection *c, struct workspace *ws)
{
	uint8_t greeting[SP_GREETING_LEN];
	char why[160];

	switch (tls_handshake(c->tls, why, sizeof(why))) {
	case TLS_FAILED:
		tell_handshake(c, why);
		return false;
	case TLS_DONE:
		tls_peer_name(c->tls, c->peer.certificate, sizeof(c->peer.certificate));
		sp_greeting(SP_REP, greeting);
		send_plain(c, ws->try_aio, greeting, sizeof(greeting));
		return true;
	default:
		return true;
	}
}

/* Under the mutex. Decrypt all that was fed, behind what is left of the last turn. */
static bool
decrypt(struct connection *c, struct workspace *ws, const uint8_t **bytes, size_t *len)
{
	enum tls_result result;
	size_t n;

	if (c->in.len == 0) {
		result = tls_read(c->tls, ws->in, sizeof(ws->in), len);
		*bytes = ws->in;
		return result != TLS_FAILED;
	}
	do {
		if (buffer_reserve(&c->in, LIMIT_READ, &c->budget) != 0)
			return false;
		result = tls_read(c->tls, c->in.bytes + c->in.len, LIMIT_READ, &n);
		c->in.len += n;
	} while (result == TLS_DONE && n == LIMIT_READ);
	*bytes = c->in.bytes;
	*len = c->in.len;
	return result != TLS_FAILED;
}

static bool
receive_tls(struct connection *c, struct workspace *ws, size_t n, const uint8_t **bytes, size_t *len)
{
	size_t more = 0;
	bool ok;

	if (n == FIRST_READ)
		(void)stream_try_receive(c->stream, ws->try_aio, ws->in, LIMIT_READ, &more);
	pthread_mutex_lock(&c->mutex);
	*len = 0;
	ok = tls_feed(c->tls, c->first, n) == 0 && tls_feed(c->tls, ws->in, more) == 0;
	if (ok && !c->tls->established)
		ok = shake_hands(c, ws);
	if (ok && c->tls->established)
		ok = decrypt(c, ws, bytes, len);
	/* The handshake's next flight, an alert, or the refusal to renegotiate: it would pile up if it waited for a reply. */
	if (take_ciphertext(c) == 0)
		send_bytes(c, ws->try_aio, NULL, 0);
	else
		ok = false;
	pthread_mutex_unlock(&c->mutex);
	return ok;
}

/* ---- turns ---- */

/* What was not dealt with stays for the next turn. */
static bool
keep(struct connection *c, const uint8_t *bytes, size_t len, size_t done)
{
	if (done == len) {
		buffer_clear(&c->in, &c->budget);
		return true;
	}
	if (c->in.len > 0) {
		buffer_drop(&c->in, done, &c->budget);
		return true;
	}
	return buffer_append(&c->in, bytes + done, len - done, &c->budget) == 0;
}

/*
 * A pause until what waits for the socket has left, or the next receive: from then on another thread may be the reader.
 * Returns false when there is something to do first: requests of the last turn, whose replies have left by now.
 */
static bool
hand_over(struct connection *c)
{
	bool closed, over = true;

	pthread_mutex_lock(&c->mutex);
	closed = c->closed;
	if (!closed && c->sending)
		c->paused = true;
	else if (!closed && c->more)
		over = false;
	else if (!closed)
		stream_receive(c->stream, c->receive_aio, c->first, sizeof(c->first));
	pthread_mutex_unlock(&c->mutex);
	if (closed)
		connection_unref(c);
	return over;
}

static void
take_turn(struct connection *c, struct workspace *ws, size_t n)
{
	struct server *server = c->listener->server;
	const uint8_t *bytes = c->in.bytes;
	size_t len = c->in.len;
	ssize_t done = 0;

	if (c->tls != NULL ? !receive_tls(c, ws, n, &bytes, &len) : !receive_plain(c, ws, n, &bytes, &len))
		done = -1;
	if (done == 0 && len > 0)
		done = answer_all(c, ws, bytes, len);
	if (done < 0 || !keep(c, bytes, len, (size_t)done))
		connection_close(c);
	sodium_memzero(c->first, n);
	if (bytes == ws->in)
		sodium_memzero(ws->in, len);
	if (atomic_load_explicit(&server->budget.held, memory_order_relaxed) > LIMIT_BUFFERS)
		server_relieve(server);
}

/* The reader's work: ${n} bytes have been received. It is not the reader any more when this returns. */
static void
turn(struct connection *c, struct workspace *ws, size_t n)
{
	do {
		take_turn(c, ws, n);
		n = 0;
	} while (!hand_over(c));
}

static void
received(void *arg)
{
	struct connection *c = arg;
	struct server *server = c->listener->server;
	struct workspace *ws = NULL;

	if (nng_aio_result(c->receive_aio) != 0 || (ws = workspace_take(server)) == NULL) {
		connection_close(c);
		connection_unref(c);
		return;
	}
	turn(c, ws, nng_aio_count(c->receive_aio));
	workspace_give(server, ws);
}

/* ---- the beginning ---- */

static struct connection *
connection_new(struct listener *l, nng_stream *stream)
{
	struct connection *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->listener = l;
	c->stream = stream;
	c->budget.of = &l->server->budget;
	c->refs = 1;
	c->arrived_ms = clock_boot_ms();
	if (nng_aio_alloc(&c->receive_aio, received, c) != 0) {
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

/*
 * Under the server's mutex. Silent peers must not keep others out: where there is no room, the connection that has not
 * greeted for the longest makes some. It is at *${oldest}, with a reference, to be closed. Returns whether there is room.
 */
static bool
make_room(struct listener *l, struct connection **oldest)
{
	struct server *server = l->server;

	*oldest = NULL;
	if (server->closing)
		return false;
	if (l->ungreeted.n >= LIMIT_UNGREETED)
		*oldest = l->ungreeted.first;
	else if (server->live >= server->config->connections && (*oldest = find_oldest(server)) == NULL)
		return false;
	if (*oldest != NULL) {
		connection_ref(*oldest);
		list_remove(&(*oldest)->listener->ungreeted, *oldest, PLACE_UNGREETED);
		server->crowded++;
	}
	return true;
}

/* Returns false when there is no room for ${c}. */
static bool
enter(struct connection *c, struct connection **oldest)
{
	struct listener *l = c->listener;
	struct server *server = l->server;
	bool entered;

	pthread_mutex_lock(&server->mutex);
	server->accepted++;
	entered = make_room(l, oldest) && (l->tls == NULL || (c->tls = tls_new(l->tls)) != NULL);
	if (entered) {
		server->live++;
		server->exist++;
		list_add(&server->all, c, PLACE_ALL);
		list_add(&l->ungreeted, c, PLACE_UNGREETED);
		/* The sweep closes it when it does not greet in time. */
		if (l->ungreeted.n == 1)
			pthread_cond_signal(&server->work);
	}
	pthread_mutex_unlock(&server->mutex);
	return entered;
}

void
connection_start(struct listener *l, nng_stream *stream, struct workspace *ws)
{
	uint8_t greeting[SP_GREETING_LEN];
	struct connection *c, *oldest;
	bool entered;

	if ((c = connection_new(l, stream)) == NULL) {
		nng_stream_free(stream);
		return;
	}
	entered = enter(c, &oldest);
	if (oldest != NULL) {
		connection_close(oldest);
		connection_unref(oldest);
	}
	if (!entered) {
		atomic_fetch_add(&l->server->refused, 1);
		connection_free(c);
		return;
	}
	if (c->tls == NULL) {
		sp_greeting(SP_REP, greeting);
		pthread_mutex_lock(&c->mutex);
		send_bytes(c, ws->try_aio, greeting, sizeof(greeting));
		pthread_mutex_unlock(&c->mutex);
	}
	(void)hand_over(c);
}
