/*
 * receive.c - the bytes of a turn: what a receive brought, what more the socket has, and what was left of the last turn;
 * with TLS, decrypted.
 */
#include "service/net/internal.h"

#include <string.h>

#include "service/base/log.h"
#include "service/net/stream.h"

static bool
receive_plain(struct connection *c, struct workspace *ws, size_t n, bool look, size_t *more, const uint8_t **bytes,
    size_t *len)
{
	uint8_t *to;

	*bytes = c->first;
	*len = n;
	if (c->in.len == 0 && !look)
		return true;
	if (c->in.len > 0) {
		if (buffer_append(&c->in, c->first, n) != 0)
			return false;
		if (look) {
			if ((to = buffer_reserve(&c->in, LIMIT_READ)) == NULL)
				return false;
			(void)stream_try_receive(c->stream, ws->try_aio, to, LIMIT_READ, more);
			buffer_add(&c->in, *more);
		}
		*bytes = c->in.p;
		*len = c->in.len;
		return true;
	}
	memcpy(ws->in, c->first, n);
	(void)stream_try_receive(c->stream, ws->try_aio, ws->in + n, LIMIT_READ, more);
	*bytes = ws->in;
	*len = n + *more;
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
	const char *why;
	int rc;

	if ((rc = tls_handshake(c->tls, &why)) < 0) {
		tell_handshake(c, why);
		return false;
	}
	if (rc == 0)
		return true;
	c->secured = true;
	tls_peer_name(c->tls, c->peer.certificate, sizeof(c->peer.certificate));
	sp_greeting(SP_REP, greeting);
	send_plain(c, ws->try_aio, greeting, sizeof(greeting));
	return true;
}

/* Under the mutex. Decrypt all that was fed, behind what is left of the last turn. */
static bool
decrypt(struct connection *c, struct workspace *ws, const uint8_t **bytes, size_t *len)
{
	struct buffer *to = c->in.len > 0 ? &c->in : &ws->plain;
	size_t before = to->len;
	int rc = tls_read(c->tls, to);

	*bytes = to->p;
	*len = to->len;
	/* What came before the peer's last word is answered. */
	return rc == 0 || (rc == 1 && to->len > before);
}

static bool
receive_tls(struct connection *c, struct workspace *ws, size_t n, bool look, size_t *more, const uint8_t **bytes,
    size_t *len)
{
	bool ok;

	if (look)
		(void)stream_try_receive(c->stream, ws->try_aio, ws->in, LIMIT_READ, more);
	pthread_mutex_lock(&c->mutex);
	*len = 0;
	ok = tls_feed(c->tls, c->first, n) == 0 && tls_feed(c->tls, ws->in, *more) == 0;
	if (ok && !c->secured)
		ok = shake_hands(c, ws);
	if (ok && c->secured)
		ok = decrypt(c, ws, bytes, len);
	/* The handshake's next flight, an alert, or the refusal to renegotiate: it would pile up if it waited for a reply. */
	send_plain(c, ws->try_aio, NULL, 0);
	pthread_mutex_unlock(&c->mutex);
	return ok;
}

bool
receive_bytes(struct connection *c, struct workspace *ws, size_t n, bool look, size_t *more, const uint8_t **bytes,
    size_t *len)
{
	look = look || n == FIRST_READ;
	*more = 0;
	return (c->tls != NULL ? receive_tls : receive_plain)(c, ws, n, look, more, bytes, len);
}
