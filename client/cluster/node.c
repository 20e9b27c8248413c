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

#include "fob/rpc/v1/rpc.pb-c.h"
#include "proto/c/buffer.h"
#include "proto/c/sp.h"

#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000
#define PAYLOAD_MAX (8U << 20)
#define READ_MIN 65536
#define KEPT 65536
#define OUT_MAX (4U << 20) /* fobd does not read */

struct node {
	struct sockaddr_un address;
	struct node_callbacks callbacks;
	int fd;
	bool up; /* the greetings were exchanged */
	uint32_t next_id;
	int64_t at_ms; /* without a connection: when the next one is tried */
	int pause_ms;
	struct buffer in, out;
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
	return n;
}

static void
close_all(struct node *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	buffer_consume(&n->in, n->in.len, 0);
	buffer_consume(&n->out, n->out.len, 0);
}

void
node_free(struct node *n)
{
	if (n == NULL)
		return;
	close_all(n);
	buffer_free(&n->in);
	buffer_free(&n->out);
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
	return (short)(POLLIN | (n->out.len > 0 ? POLLOUT : 0));
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
	bool was_up = n->up;

	close_all(n);
	n->up = false;
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

	while (n->out.len > 0) {
		if ((wrote = send(n->fd, n->out.p, n->out.len, MSG_NOSIGNAL)) < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		buffer_consume(&n->out, (size_t)wrote, KEPT);
	}
	return 0;
}

int
node_send(struct node *n, const char *method, uint32_t timeout_ms, const uint8_t *body, size_t len)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	uint8_t header[SP_HEADER_MAX], *to;
	size_t size, header_len;

	if (!n->up || n->out.len > OUT_MAX)
		return -1;
	request.method.data = (uint8_t *)(uintptr_t)method;
	request.method.len = strlen(method);
	request.timeout_ms = timeout_ms;
	request.body.data = (uint8_t *)(uintptr_t)body;
	request.body.len = len;
	size = fob__rpc__v1__request__get_packed_size(&request);
	header_len = sp_header(SP_IPC, SP_ID_BIT | (n->next_id++ & ~SP_ID_BIT), size, header);
	if ((to = buffer_reserve(&n->out, header_len + size)) == NULL)
		return -1;
	memcpy(to, header, header_len);
	fob__rpc__v1__request__pack(&request, to + header_len);
	buffer_add(&n->out, header_len + size);
	/* What is wrong with the connection is seen by the next read. */
	(void)flush(n);
	return 0;
}

/* ---- in ---- */

static int
on_message(struct node *n, const struct sp_frame *frame)
{
	Fob__Rpc__V1__Response *r = fob__rpc__v1__response__unpack(NULL, frame->body_len, frame->body);

	if (r == NULL)
		return -1;
	n->callbacks.on_reply(n->callbacks.arg, (int)r->code, (const char *)r->message.data, r->message.len,
	    r->body.data, r->body.len);
	fob__rpc__v1__response__free_unpacked(r, NULL);
	return 0;
}

static int
greet(struct node *n)
{
	size_t len = n->in.len < SP_GREETING_LEN ? n->in.len : SP_GREETING_LEN;

	if (!sp_greeting_ok(n->in.p, len, SP_REP))
		return -1;
	if (len < SP_GREETING_LEN)
		return 0;
	buffer_consume(&n->in, SP_GREETING_LEN, KEPT);
	n->up = true;
	n->pause_ms = PAUSE_MIN_MS;
	n->callbacks.on_up(n->callbacks.arg);
	return 0;
}

/* Returns: 0; -1 when what has come is not SP. */
static int
parse(struct node *n)
{
	struct sp_frame frame;
	enum sp_result result;

	if (!n->up && greet(n) != 0)
		return -1;
	while (n->up && (result = sp_parse(SP_IPC, PAYLOAD_MAX, n->in.p, n->in.len, &frame)) != SP_INCOMPLETE) {
		if (result == SP_BROKEN || (result == SP_MESSAGE && on_message(n, &frame) != 0))
			return -1;
		/* A callback may have dropped the connection. */
		if (n->fd < 0)
			return 0;
		buffer_consume(&n->in, frame.size, KEPT);
	}
	return 0;
}

static void
receive(struct node *n, int64_t now_ms)
{
	ssize_t got;
	uint8_t *to;

	for (;;) {
		if ((to = buffer_reserve(&n->in, READ_MIN)) == NULL) {
			down(n, now_ms, "out of memory");
			return;
		}
		if ((got = recv(n->fd, to, READ_MIN, 0)) < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			down(n, now_ms, got == 0 ? "fobd has closed the connection" : strerror(errno));
			return;
		}
		buffer_add(&n->in, (size_t)got);
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
	uint8_t greeting[SP_GREETING_LEN];

	n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	sp_greeting(SP_REQ, greeting);
	/* A unix socket connects at once, or its backlog is full. */
	if (n->fd < 0 || connect(n->fd, (const struct sockaddr *)&n->address, sizeof(n->address)) != 0 ||
	    buffer_append(&n->out, greeting, sizeof(greeting)) != 0 || flush(n) != 0)
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
