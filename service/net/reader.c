/*
 * reader.c - a connection's turns: what was received becomes requests, each is answered, and the next receive begins.
 * One thread at a time is the reader. It waits for nothing.
 */
#include "service/net/internal.h"

#include <sodium.h>
#include <stdio.h>

#include "service/base/log.h"
#include "service/net/peer.h"
#include "service/net/stream.h"
#include "service/rpc/dispatch.h"

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
answer(struct connection *c, struct workspace *ws, const struct sp_frame *frame, int64_t now_ns)
{
	struct origin origin = {
		.connection = c, .id = frame->id, .role = c->listener->config->role, .peer = &c->peer
	};

	/* The next fobd answers it: a client asks again when its connection closes, which is soon. */
	if (atomic_load(&c->listener->server->service->draining))
		return;
	if (!peer_allowed(&c->peer, c->listener->current))
		refuse_user(c, ws, &origin);
	else if (frame->body_len > (origin.role == ROLE_CLUSTER || origin.role == ROLE_PEER ? LIMIT_EXCHANGE : LIMIT_REQUEST))
		dispatch_refuse(&ws->worker, &origin, FAULT_INVALID_ARGUMENT, "the request is longer than 65536 bytes");
	else
		dispatch(&ws->worker, &origin, frame->body, frame->body_len, now_ns);
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
 * Answer the requests at ${bytes}, one after the other, until one is not whole, or until the peer has to take its
 * replies first. Replies leave while more requests are at hand: a client that waits for all of them, and fobd for all of
 * the next requests, would each be idle while the other works.
 * Returns how many bytes were dealt with; -1: close.
 */
static ssize_t
answer_all(struct connection *c, struct workspace *ws, const uint8_t *bytes, size_t len)
{
	int64_t now_ns = clock_boot_ns();
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
			answer(c, ws, &frame, now_ns);
		at += frame.size;
		if (ws->out.len >= LIMIT_UNSENT)
			left = send_replies(c, ws);
	}
	dispatch_end(&ws->worker);
	c->ws = NULL;
	c->more = !left;
	send_replies(c, ws);
	return left && result == SP_BROKEN ? -1 : (ssize_t)at;
}

/* ---- turns ---- */

/* What was not dealt with stays for the next turn. */
static bool
keep(struct connection *c, const uint8_t *bytes, size_t len, size_t done)
{
	if (done == len) {
		buffer_free(&c->in);
		return true;
	}
	if (c->in.len > 0) {
		buffer_consume(&c->in, done, 0);
		return true;
	}
	return buffer_append(&c->in, bytes + done, len - done) == 0;
}

/*
 * A pause until what waits for the socket has left, or the next receive: from then on another thread may be the reader.
 * Returns false when there is something to do first: requests of the last turn, whose replies have left by now, or to
 * ${look} whether the socket has more.
 */
static bool
hand_over(struct connection *c, bool look)
{
	bool closed, over = true;

	pthread_mutex_lock(&c->mutex);
	closed = c->closed;
	if (!closed && c->sending)
		c->paused = true;
	else if (!closed && (c->more || look))
		over = false;
	else if (!closed)
		stream_receive(c->stream, c->receive_aio, c->first, sizeof(c->first));
	pthread_mutex_unlock(&c->mutex);
	if (closed)
		connection_unref(c);
	return over;
}

void
reader_begin(struct connection *c)
{
	(void)hand_over(c, false);
}

/* Returns how many bytes the socket brought. */
static size_t
take_turn(struct connection *c, struct workspace *ws, size_t n, bool look)
{
	struct server *server = c->listener->server;
	const uint8_t *bytes = c->in.p;
	size_t len = c->in.len, more = 0;
	ssize_t done = 0;

	if (!receive_bytes(c, ws, n, look, &more, &bytes, &len))
		done = -1;
	if (done == 0 && len > 0)
		done = answer_all(c, ws, bytes, len);
	if (done < 0 || !keep(c, bytes, len, (size_t)done))
		connection_close(c);
	sodium_memzero(c->first, n);
	if (bytes == ws->in)
		sodium_memzero(ws->in, len);
	buffer_consume(&ws->plain, ws->plain.len, LIMIT_READ);
	if (server_holds_too_much(server))
		server_relieve(server);
	return n + more;
}

/*
 * A client that sends many requests is likely to have sent more meanwhile: to look for them costs a system call, and to
 * be called back for them costs two threads' wake-ups.
 */
void
reader_turn(struct connection *c, struct workspace *ws, size_t n)
{
	size_t received, all = 0;
	bool look = false;

	do {
		received = take_turn(c, ws, n, look);
		all += received;
		look = received >= FIRST_READ && all < LIMIT_READ;
		n = 0;
	} while (!hand_over(c, look));
}

void
reader_received(void *arg)
{
	struct connection *c = arg;
	struct server *server = c->listener->server;
	struct workspace *ws = NULL;

	if (nng_aio_result(c->receive_aio) != 0 || (ws = workspace_take(server)) == NULL) {
		connection_close(c);
		connection_unref(c);
		return;
	}
	reader_turn(c, ws, nng_aio_count(c->receive_aio));
	workspace_give(server, ws);
}
