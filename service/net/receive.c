/*
 * receive.c - the bytes of a turn: what a receive brought, what more the socket has, and what was left of the last turn;
 * with TLS, decrypted.
 */
#include <string.h>

#include "service/base/log.h"
#include "service/net/internal.h"
#include "service/net/stream.h"

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
			(void)stream_try_receive(c->stream, ws->try_aio, c->in.bytes + c->in.len, LIMIT_READ, &more);
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
	send_plain(c, ws->try_aio, NULL, 0);
	pthread_mutex_unlock(&c->mutex);
	return ok;
}

bool
receive_bytes(struct connection *c, struct workspace *ws, size_t n, const uint8_t **bytes, size_t *len)
{
	return c->tls != NULL ? receive_tls(c, ws, n, bytes, len) : receive_plain(c, ws, n, bytes, len);
}
