/*
 * peer_link.c - one connection to another node (see peer_link.h). Knows no asks.
 */
#include "client/cluster/peer_link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/c/tls_context.h"

#define RESOLVER_POLL_MAX_MS 100
#define READ_SIZE 65536
#define READS_MAX 16 /* in one turn: others have something to do, too */
/* A node that has vanished is noticed after about so long, with unacknowledged data and on an idle connection. */
#define USER_TIMEOUT_MS 10000
#define KEEPALIVE_IDLE_S 5
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_COUNT 3

static int
fail(struct peer_link *l, const char *why)
{
	snprintf(l->why, sizeof(l->why), "%s", why);
	return -1;
}

/* ---- a TCP connection to one of the endpoints ---- */

static void
close_fd(struct peer_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	tls_session_free(l->session);
	l->session = NULL;
	buffer_consume(&l->out, l->out.len, 0);
}

static void
set_option(int fd, int level, int option, int value)
{
	/* A system that lacks one goes without. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int
connect_begin(struct peer_link *l, int64_t now_ms)
{
	const union address_socket *to = &l->endpoints.list[l->endpoint];

	close_fd(l);
	if ((l->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return fail(l, strerrordesc_np(errno));
	set_option(l->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
	set_option(l->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(l->fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(l->fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(l->fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
	l->phase = PEER_LINK_CONNECTS;
	l->due_ms = now_ms + PEER_LINK_CONNECT_MS;
	if (connect(l->fd, &to->any, l->endpoints.len[l->endpoint]) != 0 && errno != EINPROGRESS)
		return fail(l, strerrordesc_np(errno));
	return 0;
}

/* From ${endpoint} on. Returns: 0; -1 when there is no more. */
static int
connect_any(struct peer_link *l, int64_t now_ms)
{
	for (; l->endpoint < l->endpoints.n; l->endpoint++)
		if (connect_begin(l, now_ms) == 0)
			return 0;
	return -1;
}

/* ---- the phases. Each returns 0, or -1 when it has failed ---- */

static int
resolve(struct peer_link *l, int64_t now_ms)
{
	int64_t pause_ms = (now_ms - l->begun_ms) / 4 + 1;

	if (!resolver_done(&l->resolver)) {
		l->due_ms = now_ms + (pause_ms < RESOLVER_POLL_MAX_MS ? pause_ms : RESOLVER_POLL_MAX_MS);
		return 0;
	}
	if (l->resolver.why != NULL)
		return fail(l, l->resolver.why);
	l->endpoints = l->resolver.endpoints;
	return connect_any(l, now_ms);
}

static int
finish_connecting(struct peer_link *l)
{
	struct pollfd pfd = { .fd = l->fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = 0;

	if (poll(&pfd, 1, 0) < 1)
		return 0;
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
		return fail(l, strerrordesc_np(error != 0 ? error : errno));
	if (l->tls != NULL && (l->session = tls_session_new(l->tls, l->address.host)) == NULL)
		return fail(l, "out of memory");
	l->phase = l->tls != NULL ? PEER_LINK_SECURES : PEER_LINK_OPEN;
	return 0;
}

/* The greeting has come, though it may not have been looked at. */
static bool
is_greeted(const struct peer_link *l)
{
	return l->wire.up || l->wire.in.len >= SP_GREETING_LEN;
}

/* What the loss of the connection means. ${error} 0: the other end has closed it. */
static int
lost(struct peer_link *l, int error)
{
	/* With TLS 1.3 a server refuses a client's certificate after the handshake, and may say so no more. */
	if (l->session != NULL && !is_greeted(l) && (error == 0 || error == ECONNRESET || error == EPIPE))
		return fail(l, "it closes the TLS connection: it may not accept this node's certificate");
	return fail(l, error == 0 ? "it has closed the connection" : strerrordesc_np(error));
}

static int
flush(struct peer_link *l)
{
	struct buffer *out = l->session != NULL ? &l->out : &l->wire.out;
	ssize_t wrote;

	while (out->len > 0) {
		if ((wrote = send(l->fd, out->p, out->len, MSG_NOSIGNAL)) < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : lost(l, errno);
		buffer_consume(out, (size_t)wrote, WIRE_KEPT);
	}
	return 0;
}

/* Returns: how many bytes; 0 when there are none yet; -1. */
static ssize_t
receive(struct peer_link *l, uint8_t *to, size_t max)
{
	ssize_t got = recv(l->fd, to, max, 0);

	if (got > 0)
		return got;
	return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : lost(l, got == 0 ? 0 : errno);
}

static int
secure(struct peer_link *l)
{
	uint8_t bytes[READ_SIZE / 4];
	const char *why = "out of memory";
	char said[sizeof(l->why)];
	ssize_t got;
	int rv;

	do {
		if ((got = receive(l, bytes, sizeof(bytes))) < 0)
			return -1;
		rv = tls_feed(l->session, bytes, (size_t)got) == 0 ? tls_handshake(l->session, &why) : -1;
		snprintf(said, sizeof(said), "%s", why);
		/* When it has failed, an alert, so that the other node's log can say why. */
		if (tls_take(l->session, &l->out) != 0)
			return fail(l, "out of memory");
		if (flush(l) != 0 && rv >= 0)
			return -1;
		if (rv < 0)
			return fail(l, said);
	} while (rv == 0 && got > 0);
	if (rv == 1)
		l->phase = PEER_LINK_OPEN;
	return 0;
}

static int
encrypt(struct peer_link *l)
{
	if (l->session == NULL)
		return 0;
	if (tls_write(l->session, l->wire.out.p, l->wire.out.len) != 0 || tls_take(l->session, &l->out) != 0)
		return fail(l, "TLS: it cannot be written to");
	buffer_consume(&l->wire.out, l->wire.out.len, WIRE_KEPT);
	return 0;
}

static int
receive_plain(struct peer_link *l)
{
	uint8_t *to;
	ssize_t got;

	if ((to = buffer_reserve(&l->wire.in, READ_SIZE)) == NULL)
		return fail(l, "out of memory");
	if ((got = receive(l, to, READ_SIZE)) > 0)
		buffer_add(&l->wire.in, (size_t)got);
	return (int)got;
}

static int
receive_tls(struct peer_link *l)
{
	uint8_t bytes[READ_SIZE];
	ssize_t got;
	int rv;

	if ((got = receive(l, bytes, sizeof(bytes))) < 0)
		return -1;
	if (tls_feed(l->session, bytes, (size_t)got) != 0 || (rv = tls_read(l->session, &l->wire.in)) == 0)
		return (int)got;
	/* With TLS 1.3 a server that refuses our certificate says so only now. */
	return rv < 0 && tls_why(l->session)[0] != '\0' ? fail(l, tls_why(l->session)) : lost(l, 0);
}

static int
exchange(struct peer_link *l)
{
	int got = 1;

	/* What the other end has said before it closed is read, even if it cannot be written to. */
	for (int i = 0; i < READS_MAX && got > 0; i++)
		got = l->session != NULL ? receive_tls(l) : receive_plain(l);
	if (got < 0)
		return -1;
	return encrypt(l) != 0 ? -1 : flush(l);
}

/* ---- all of it ---- */

static int
step(struct peer_link *l, int64_t now_ms)
{
	int rv = l->phase == PEER_LINK_RESOLVES ? resolve(l, now_ms) :
	    l->phase == PEER_LINK_CONNECTS      ? finish_connecting(l) :
	    l->phase == PEER_LINK_SECURES       ? secure(l) :
						  exchange(l);

	if (rv == 0 && l->phase != PEER_LINK_RESOLVES && now_ms >= peer_link_due_ms(l))
		return fail(l, "no answer to connecting");
	return rv;
}

int
peer_link_turn(struct peer_link *l, int64_t now_ms)
{
	enum peer_link_phase before;
	int rv;

	do {
		before = l->phase;
		rv = step(l, now_ms);
		/* Nothing of the wire has been sent yet. */
		if (rv != 0 && (before == PEER_LINK_CONNECTS || before == PEER_LINK_SECURES)) {
			l->endpoint++;
			rv = connect_any(l, now_ms);
		}
	} while (rv == 0 && l->phase != before);
	return rv;
}

short
peer_link_events(const struct peer_link *l)
{
	size_t waiting = l->out.len + (l->phase == PEER_LINK_OPEN ? l->wire.out.len : 0);

	if (l->phase == PEER_LINK_CONNECTS)
		return POLLOUT;
	return (short)(waiting > 0 ? POLLIN | POLLOUT : POLLIN);
}

int64_t
peer_link_due_ms(const struct peer_link *l)
{
	return is_greeted(l) ? INT64_MAX : l->due_ms;
}

/* Returns: 0; -1 with a reason. */
static int
begin(struct peer_link *l, int64_t now_ms)
{
	const char *why;
	int rv;

	if (!address_is_name(&l->address)) {
		if ((why = address_resolve(&l->address, &l->endpoints)) != NULL)
			return fail(l, why);
		return connect_any(l, now_ms);
	}
	if ((rv = resolver_start(&l->resolver, &l->address)) != 0)
		return fail(l, strerrordesc_np(rv));
	return resolve(l, now_ms);
}

struct peer_link *
peer_link_new(const char *text, const struct peer_link_files *files, int64_t now_ms, char *why, size_t why_len)
{
	struct peer_link *l = calloc(1, sizeof(*l));

	snprintf(why, why_len, "out of memory");
	if (l == NULL)
		return NULL;
	l->fd = -1;
	l->begun_ms = now_ms;
	l->wire.framing = SP_TCP;
	l->wire.payload_max = PEER_LINK_REPLY_MAX;
	if (address_init(&l->address, text) != 0 || wire_begin(&l->wire) != 0 ||
	    (l->address.scheme == ADDRESS_TLS &&
		tls_context_load(files->ca, files->cert, files->key, &l->tls, why, why_len) != 0)) {
		peer_link_free(l);
		return NULL;
	}
	if (begin(l, now_ms) == 0)
		return l;
	snprintf(why, why_len, "%s", l->why);
	peer_link_free(l);
	return NULL;
}

void
peer_link_free(struct peer_link *l)
{
	if (l == NULL)
		return;
	close_fd(l);
	buffer_free(&l->out);
	wire_fini(&l->wire);
	SSL_CTX_free(l->tls);
	/* The thread reads the address. It cannot be ended, and a name server may take long. */
	if (l->resolver.running && !resolver_done(&l->resolver))
		return;
	address_fini(&l->address);
	free(l);
}
