/*
 * node.c - the connection to fobd (see node.h). Knows the envelope, not what is in it.
 */
#include "client/cluster/node.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/cluster/wire.h"

#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000
#define PAYLOAD_MAX (8U << 20)
#define READ_MIN 65536
#define OUT_MAX (4U << 20) /* fobd does not read */

struct node {
	struct sockaddr_un address;
	struct node_callbacks callbacks;
	int fd;
	int64_t at_ms; /* without a connection: when the next one is tried */
	int pause_ms;
	struct wire wire;
};

struct node *
node_new(const char *path, const struct node_callbacks *callbacks)
{
	struct node *n;

	if (strlen(path) >= sizeof(n->address.sun_path) || (n = calloc(1, sizeof(*n))) == NULL)
		return NULL;
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, path, strlen(path));
	n->callbacks = *callbacks;
	n->fd = -1;
	n->pause_ms = PAUSE_MIN_MS;
	n->wire.framing = SP_IPC;
	n->wire.payload_max = PAYLOAD_MAX;
	return n;
}

static void
close_all(struct node *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	wire_end(&n->wire);
}

void
node_free(struct node *n)
{
	if (n == NULL)
		return;
	close_all(n);
	wire_fini(&n->wire);
	free(n);
}

int
node_fd(const struct node *n)
{
	return n->fd;
}

short
node_events(const struct node *n)
{
	return (short)(POLLIN | (n->wire.out.len > 0 ? POLLOUT : 0));
}

int
node_wait_ms(const struct node *n, int64_t now_ms)
{
	if (n->fd >= 0)
		return -1;
	return n->at_ms > now_ms ? (int)(n->at_ms - now_ms) : 0;
}

/* ${why}: NULL when it is our wish. */
static void
down(struct node *n, int64_t now_ms, const char *why)
{
	bool was_up = n->wire.up;

	close_all(n);
	n->at_ms = now_ms + n->pause_ms;
	n->pause_ms = n->pause_ms * 2 < PAUSE_MAX_MS ? n->pause_ms * 2 : PAUSE_MAX_MS;
	if (was_up || why != NULL)
		n->callbacks.on_down(n->callbacks.arg, why);
}

void
node_drop(struct node *n, int64_t now_ms)
{
	n->pause_ms = PAUSE_MAX_MS;
	if (n->fd >= 0)
		down(n, now_ms, NULL);
}

/* ---- out ---- */

/* Returns: 0; -1 with errno. */
static int
flush(struct node *n)
{
	ssize_t wrote;

	while (n->wire.out.len > 0) {
		if ((wrote = send(n->fd, n->wire.out.p, n->wire.out.len, MSG_NOSIGNAL)) < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		buffer_consume(&n->wire.out, (size_t)wrote, WIRE_KEPT);
	}
	return 0;
}

int
node_send(struct node *n, const char *method, uint32_t timeout_ms, const uint8_t *body, size_t len)
{
	if (!n->wire.up || n->wire.out.len > OUT_MAX ||
	    wire_request(&n->wire, method, timeout_ms, body, len, NULL) != 0)
		return -1;
	/* What is wrong with the connection is seen by the next read. */
	(void)flush(n);
	return 0;
}

/* ---- in ---- */

/* Returns: 0; -1 when what has come is not SP. */
static int
parse(struct node *n)
{
	Fob__Rpc__V1__Response *r;
	enum wire_event event;
	uint32_t id;

	/* A callback may drop the connection. */
	while (n->fd >= 0 && (event = wire_next(&n->wire, &id, &r)) != WIRE_NOTHING) {
		if (event == WIRE_BROKEN)
			return -1;
		if (event == WIRE_UP) {
			n->pause_ms = PAUSE_MIN_MS;
			n->callbacks.on_up(n->callbacks.arg);
			continue;
		}
		n->callbacks.on_reply(n->callbacks.arg, (int)r->code, (const char *)r->message.data, r->message.len,
		    r->body.data, r->body.len);
		fob__rpc__v1__response__free_unpacked(r, NULL);
	}
	return 0;
}

static void
receive(struct node *n, int64_t now_ms)
{
	ssize_t got;
	uint8_t *to;

	for (;;) {
		if ((to = buffer_reserve(&n->wire.in, READ_MIN)) == NULL) {
			down(n, now_ms, "out of memory");
			return;
		}
		if ((got = recv(n->fd, to, READ_MIN, 0)) < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			down(n, now_ms, got == 0 ? "fobd has closed the connection" : strerror(errno));
			return;
		}
		buffer_add(&n->wire.in, (size_t)got);
		if (parse(n) != 0) {
			down(n, now_ms, "what answers there does not speak Fob's protocol");
			return;
		}
		if (n->fd < 0 || got < READ_MIN)
			return;
	}
}

/* ---- the connection ---- */

static void
try_connect(struct node *n, int64_t now_ms)
{
	n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A unix socket connects at once, or its backlog is full. */
	if (n->fd < 0 || connect(n->fd, (const struct sockaddr *)&n->address, sizeof(n->address)) != 0 ||
	    wire_begin(&n->wire) != 0 || flush(n) != 0)
		down(n, now_ms, strerror(errno));
}

void
node_turn(struct node *n, int64_t now_ms)
{
	if (n->fd < 0 && now_ms >= n->at_ms)
		try_connect(n, now_ms);
	if (n->fd >= 0 && flush(n) != 0)
		down(n, now_ms, strerror(errno));
	if (n->fd >= 0)
		receive(n, now_ms);
}
