/*
 * connection.c - a connection to one of a server's addresses (see connection.h). Knows neither calls nor locks.
 */
#include "client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "client/error.h"

#define PAUSE_MIN_MS 10
#define PAUSE_MAX_MS 1000
/* From connecting to the greeting. Twice as long with each failed round: the server may be slow, rather than away. */
#define PATIENCE_MIN_MS 2000
#define PATIENCE_MAX_MS 16000
#define BACKLOG_MIN_MS 1
#define BACKLOG_MAX_MS 10
#define RESOLVED_KEPT_MS 10000
#define RESOLVER_POLL_MS 5
/* A peer that has vanished is noticed after about so long, on an idle connection and on one with unacknowledged data. */
#define KEEPALIVE_IDLE_S 5
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_COUNT 3
#define USER_TIMEOUT_MS 10000
#define READ_SIZE 16384

static const char closes_tls[] = "the server closes the TLS connection: it may not accept the client's certificate";

static struct connection_target *
target_of(struct connection *c)
{
	return &c->targets[c->target];
}

/* Not for secrets. */
static uint32_t
random_below(struct connection *c, uint32_t n)
{
	c->random = c->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)c->random * n >> 32);
}

enum sp_framing
connection_framing(const struct connection *c)
{
	return c->targets[c->target].address.scheme == ADDRESS_IPC ? SP_IPC : SP_TCP;
}

const char *
connection_address(const struct connection *c)
{
	return c->targets[c->target].address.text;
}

static int
target_init(struct connection_target *t, const char *text)
{
	if (address_init(&t->address, text) != 0)
		return -1;
	t->name = address_is_name(&t->address);
	t->why = address_resolve(&t->address, &t->endpoints);
	return 0;
}

int
connection_init(struct connection *c, const struct options_addresses *addresses, const struct fob_options *o,
    SSL_CTX *tls, struct fob_error *error)
{
	unsigned i;

	*c = (struct connection){ .fd = -1, .epoll_fd = -1, .tls = tls };
	c->random = randombytes_random();
	c->patience_ms = PATIENCE_MIN_MS;
	if ((c->targets = calloc(addresses->n, sizeof(c->targets[0]))) == NULL ||
	    (o->tls_server_name != NULL && (c->tls_name = strdup(o->tls_server_name)) == NULL))
		return error_set(error, FOB_EINTERNAL, "out of memory");
	for (i = 0; i < addresses->n; i++) {
		if (target_init(&c->targets[i], addresses->list[i]) != 0)
			return error_set(error, FOB_EINTERNAL, "out of memory");
		c->n_targets++;
	}
	c->where = c->targets[0].address.text;
	snprintf(c->reason, sizeof(c->reason), "still connecting");
	return 0;
}

static void
fd_close(struct connection *c)
{
	connection_watch(c, 0);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void
bytes_free(struct connection *c)
{
	tls_session_free(c->session);
	c->session = NULL;
	buffer_free(&c->out);
	buffer_free(&c->in);
}

void
connection_fini(struct connection *c)
{
	unsigned i;

	fd_close(c);
	bytes_free(c);
	resolver_fini(&c->resolver);
	for (i = 0; i < c->n_targets; i++)
		address_fini(&c->targets[i].address);
	free(c->targets);
	free(c->tls_name);
	c->n_targets = 0;
	c->targets = NULL;
	c->tls_name = NULL;
}

void
connection_watch(struct connection *c, short events)
{
	struct epoll_event e = { .events = (events & POLLIN ? EPOLLIN : 0U) | (events & POLLOUT ? EPOLLOUT : 0U),
		.data.fd = c->fd };

	if (c->epoll_fd < 0 || c->fd < 0 || e.events == c->watched)
		return;
	/* Before a close, too: the descriptor may live on in a forked child, and would then be reported for ever. */
	epoll_ctl(c->epoll_fd,
	    c->watched == 0   ? EPOLL_CTL_ADD :
		e.events == 0 ? EPOLL_CTL_DEL :
				EPOLL_CTL_MOD,
	    c->fd, &e);
	c->watched = e.events;
}

/* ---- from one attempt to the next ---- */

static void
wait_for(struct connection *c, int64_t at_ms)
{
	c->phase = CONNECTION_WAITS;
	c->due_ms = at_ms;
}

/* All addresses have failed. */
static void
round_failed(struct connection *c, int64_t now_ms)
{
	c->failed++;
	c->refused = c->refusing;
	c->refusing = false;
	c->pause_ms = c->pause_ms == 0 ? PAUSE_MIN_MS : c->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : c->pause_ms * 2;
	c->patience_ms = c->patience_ms * 2 > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : c->patience_ms * 2;
	c->target = c->endpoint = 0;
	wait_for(c, now_ms + c->pause_ms / 2 + random_below(c, c->pause_ms / 2 + 1));
}

/* The next endpoint, the next address or the next round. */
static void
attempt_failed(struct connection *c, int64_t now_ms, const char *reason)
{
	fd_close(c);
	c->where = connection_address(c);
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	bytes_free(c);
	if (++c->endpoint < target_of(c)->endpoints.n) {
		wait_for(c, now_ms);
		return;
	}
	/* They may not be its addresses any more. */
	target_of(c)->resolved_ms = now_ms - RESOLVED_KEPT_MS;
	c->endpoint = 0;
	if (++c->target < c->n_targets)
		wait_for(c, now_ms);
	else
		round_failed(c, now_ms);
}

int
connection_lost(struct connection *c, int64_t now_ms, const char *reason)
{
	int fd = c->fd;

	connection_watch(c, 0);
	shutdown(fd, SHUT_RDWR);
	c->fd = -1;
	bytes_free(c);
	c->where = connection_address(c);
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	c->target = c->endpoint = 0;
	if (c->proven) {
		c->pause_ms = 0;
		c->patience_ms = PATIENCE_MIN_MS;
		wait_for(c, now_ms);
	} else {
		round_failed(c, now_ms);
	}
	return fd;
}

void
connection_begin_with(struct connection *c, unsigned target)
{
	c->target = target % c->n_targets;
	c->endpoint = 0;
}

/* ---- one attempt ---- */

static const char *
ipc_reason(const char *path, int error)
{
	struct stat st;

	if (error != ECONNREFUSED)
		return strerrordesc_np(error);
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return "it is not a socket";
	return "nothing listens there";
}

static void
connect_failed(struct connection *c, int64_t now_ms, int error)
{
	const struct address *a = &target_of(c)->address;

	attempt_failed(c, now_ms, a->scheme == ADDRESS_IPC ? ipc_reason(a->host, error) : strerrordesc_np(error));
}

static void
set_option(int fd, int level, int option, int value)
{
	/* A system that lacks one goes without. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void
tcp_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

static void
connect_begin(struct connection *c, int64_t now_ms)
{
	const struct connection_target *t = target_of(c);
	const union address_socket *to = &t->endpoints.list[c->endpoint];

	c->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		attempt_failed(c, now_ms, strerrordesc_np(errno));
		return;
	}
	if (t->address.scheme != ADDRESS_IPC)
		tcp_options(c->fd);
	c->due_ms = now_ms + c->patience_ms;
	c->phase = CONNECTION_CONNECTS;
	if (connect(c->fd, &to->any, t->endpoints.len[c->endpoint]) == 0 || errno == EINPROGRESS)
		return;
	if (errno == EAGAIN) {
		fd_close(c);
		c->where = t->address.text;
		snprintf(c->reason, sizeof(c->reason), "its backlog is full");
		wait_for(c, now_ms + BACKLOG_MIN_MS + random_below(c, BACKLOG_MAX_MS - BACKLOG_MIN_MS + 1));
		return;
	}
	connect_failed(c, now_ms, errno);
}

static void
attempt_begin(struct connection *c, int64_t now_ms)
{
	struct connection_target *t = target_of(c);
	int rv;

	if (t->name && c->endpoint == 0 && (t->why != NULL || now_ms - t->resolved_ms >= RESOLVED_KEPT_MS) &&
	    t->resolved_ms != 0) {
		if ((rv = resolver_start(&c->resolver, &t->address)) != 0) {
			attempt_failed(c, now_ms, strerrordesc_np(rv));
			return;
		}
		c->phase = CONNECTION_RESOLVES;
		c->due_ms = now_ms + RESOLVER_POLL_MS;
		return;
	}
	/* What connection_init() found counts as found now. */
	if (t->resolved_ms == 0)
		t->resolved_ms = now_ms;
	if (t->why != NULL)
		attempt_failed(c, now_ms, t->why);
	else
		connect_begin(c, now_ms);
}

static void
resolved(struct connection *c, int64_t now_ms)
{
	struct connection_target *t = target_of(c);

	if (!resolver_done(&c->resolver)) {
		c->due_ms = now_ms + RESOLVER_POLL_MS;
		return;
	}
	if ((t->why = c->resolver.why) != NULL) {
		attempt_failed(c, now_ms, t->why);
		return;
	}
	t->endpoints = c->resolver.endpoints;
	t->resolved_ms = now_ms;
	connect_begin(c, now_ms);
}

static void
connected(struct connection *c, int64_t now_ms)
{
	const struct address *a = &target_of(c)->address;
	uint8_t greeting[SP_GREETING_LEN], *to;

	sp_greeting(SP_REQ, greeting);
	if (a->scheme == ADDRESS_TLS) {
		c->session = tls_session_new(c->tls, c->tls_name != NULL ? c->tls_name : a->host);
		if (c->session == NULL)
			attempt_failed(c, now_ms, "out of memory");
		else
			c->phase = CONNECTION_SECURES;
		return;
	}
	if ((to = buffer_reserve(&c->out, sizeof(greeting))) == NULL) {
		attempt_failed(c, now_ms, "out of memory");
		return;
	}
	memcpy(to, greeting, sizeof(greeting));
	buffer_add(&c->out, sizeof(greeting));
	c->phase = CONNECTION_GREETS;
}

static void
connecting(struct connection *c, int64_t now_ms)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = 0;

	if (poll(&pfd, 1, 0) < 1)
		return;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0)
		connect_failed(c, now_ms, error);
	else
		connected(c, now_ms);
}

/* While the connection is not open. */
static const char *
io_reason(const struct connection *c, int error)
{
	if (error != 0 && error != ECONNRESET && error != EPIPE)
		return strerrordesc_np(error);
	return c->session != NULL && c->phase == CONNECTION_GREETS ? closes_tls :
								     "the connection is closed as soon as it is made";
}

static bool
out_send(struct connection *c, int64_t now_ms)
{
	ssize_t n;

	if (c->out.len == 0)
		return true;
	if ((n = send(c->fd, c->out.p, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return true;
		attempt_failed(c, now_ms, io_reason(c, errno));
		return false;
	}
	buffer_consume(&c->out, (size_t)n, READ_SIZE);
	return true;
}

/* At most ${max} bytes. Returns: how many; 0 when there are none yet; -1 when the attempt has failed. */
static ssize_t
bytes_receive(struct connection *c, int64_t now_ms, uint8_t *to, size_t max)
{
	ssize_t n = recv(c->fd, to, max, MSG_DONTWAIT);

	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	attempt_failed(c, now_ms, io_reason(c, n == 0 ? 0 : errno));
	return -1;
}

static void
securing(struct connection *c, int64_t now_ms)
{
	uint8_t bytes[READ_SIZE], greeting[SP_GREETING_LEN];
	const char *why = "out of memory";
	char said[sizeof(c->reason)];
	ssize_t n;
	int rv;

	do {
		if ((n = bytes_receive(c, now_ms, bytes, sizeof(bytes))) < 0)
			return;
		if (tls_feed(c->session, bytes, (size_t)n) != 0)
			rv = -1;
		else
			rv = tls_handshake(c->session, &why);
		/* An alert, when it has failed, so that the server's log can say why. */
		if (tls_take(c->session, &c->out) != 0)
			rv = -1;
		if (rv == 1)
			break;
		snprintf(said, sizeof(said), "%s", why);
		if (!out_send(c, now_ms))
			return;
		if (rv < 0) {
			c->refusing = true;
			attempt_failed(c, now_ms, said);
			return;
		}
	} while (n > 0);
	if (rv != 1)
		return;
	sp_greeting(SP_REQ, greeting);
	if (tls_write(c->session, greeting, sizeof(greeting)) != 0 || tls_take(c->session, &c->out) != 0)
		attempt_failed(c, now_ms, "out of memory");
	else
		c->phase = CONNECTION_GREETS;
}

/* Appends to ${in}. Returns: false when the attempt has failed. */
static bool
plain_receive(struct connection *c, int64_t now_ms)
{
	uint8_t bytes[READ_SIZE], *to;
	char why[sizeof(c->reason)];
	ssize_t n;

	if (c->session == NULL) {
		if ((to = buffer_reserve(&c->in, SP_GREETING_LEN)) == NULL) {
			attempt_failed(c, now_ms, "out of memory");
			return false;
		}
		if ((n = bytes_receive(c, now_ms, to, SP_GREETING_LEN - c->in.len)) < 0)
			return false;
		buffer_add(&c->in, (size_t)n);
		return true;
	}
	if ((n = bytes_receive(c, now_ms, bytes, sizeof(bytes))) < 0)
		return false;
	if (tls_feed(c->session, bytes, (size_t)n) == 0 && tls_read(c->session, &c->in) == 0)
		return true;
	/* With TLS 1.3 a server that refuses our certificate says so only now. */
	c->refusing = tls_why(c->session)[0] != '\0';
	snprintf(why, sizeof(why), "%s", c->refusing ? tls_why(c->session) : closes_tls);
	attempt_failed(c, now_ms, why);
	return false;
}

static void
opened(struct connection *c)
{
	struct timeval wait = { .tv_usec = CONNECTION_RECV_MS * 1000 };

	buffer_consume(&c->in, SP_GREETING_LEN, 0);
	buffer_free(&c->out);
	/* Blocking, as a receive is to be able to wait; whatever is not to wait says so. */
	fcntl(c->fd, F_SETFL, 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	c->phase = CONNECTION_OPEN;
	c->due_ms = INT64_MAX;
	c->proven = false;
	c->failed = 0;
}

static void
greeting_exchange(struct connection *c, int64_t now_ms)
{
	size_t len;

	if (!out_send(c, now_ms) || !plain_receive(c, now_ms))
		return;
	len = c->in.len < SP_GREETING_LEN ? c->in.len : SP_GREETING_LEN;
	if (len > 0 && !sp_greeting_ok(c->in.p, len, SP_REP))
		attempt_failed(c, now_ms, "what listens there does not speak the protocol");
	else if (len == SP_GREETING_LEN && c->out.len == 0)
		opened(c);
}

bool
connection_step(struct connection *c, int64_t now_ms)
{
	enum connection_phase before;
	unsigned target, endpoint;

	do {
		before = c->phase;
		target = c->target;
		endpoint = c->endpoint;
		switch (c->phase) {
		case CONNECTION_WAITS:
			if (now_ms >= c->due_ms)
				attempt_begin(c, now_ms);
			break;
		case CONNECTION_RESOLVES:
			resolved(c, now_ms);
			break;
		case CONNECTION_CONNECTS:
			connecting(c, now_ms);
			break;
		case CONNECTION_SECURES:
			securing(c, now_ms);
			break;
		case CONNECTION_GREETS:
			greeting_exchange(c, now_ms);
			break;
		case CONNECTION_OPEN:
			return true;
		}
		if (c->phase != CONNECTION_WAITS && c->phase != CONNECTION_RESOLVES && c->phase != CONNECTION_OPEN &&
		    now_ms >= c->due_ms)
			attempt_failed(c, now_ms, "no answer to connecting");
	} while (c->phase != before || c->target != target || c->endpoint != endpoint);
	return c->phase == CONNECTION_OPEN;
}

short
connection_events(const struct connection *c)
{
	if (c->fd < 0 || c->phase == CONNECTION_OPEN)
		return 0;
	if (c->phase == CONNECTION_CONNECTS)
		return POLLOUT;
	return (short)(c->out.len > 0 ? POLLIN | POLLOUT : POLLIN);
}
