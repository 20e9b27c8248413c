/*
 * node.c - the connection to fobd (see node.h). Knows SP's frames, and nothing of what is in them.
 */
#include "client/cluster/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/c/sp.h"

#define REPLY_MAX (4U << 20)
#define READ_SIZE 65536

struct bytes {
	uint8_t *data;
	size_t len, room;
};

struct node {
	const char *path;
	int fd;
	bool greeted;
	uint32_t next_id;
	struct bytes out, in;
	size_t used; /* of ${in}, by replies that were given out */
};

struct node *
node_new(const char *path)
{
	struct node *n;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return NULL;
	n->path = path;
	n->fd = -1;
	return n;
}

void
node_free(struct node *n)
{
	if (n == NULL)
		return;
	node_close(n);
	free(n->out.data);
	free(n->in.data);
	free(n);
}

void
node_close(struct node *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	n->greeted = false;
	n->out.len = n->in.len = n->used = 0;
}

static bool
add(struct bytes *b, const void *data, size_t len)
{
	uint8_t *grown;

	if (b->len + len > b->room) {
		if ((grown = realloc(b->data, (b->len + len) * 2)) == NULL)
			return false;
		b->data = grown;
		b->room = (b->len + len) * 2;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return true;
}

bool
node_connect(struct node *n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint8_t greeting[SP_GREETING_LEN];

	if (n->fd >= 0)
		return true;
	if (strlen(n->path) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, n->path, strlen(n->path));
	if ((n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return false;
	sp_greeting(SP_REQ, greeting);
	if (connect(n->fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && add(&n->out, greeting, sizeof(greeting)))
		return true;
	node_close(n);
	return false;
}

struct pollfd
node_poll(const struct node *n)
{
	return (struct pollfd){ .fd = n->fd, .events = (short)(POLLIN | (n->out.len > 0 ? POLLOUT : 0)) };
}

/* Returns false when the connection is of no use any more. */
static bool
write_some(struct node *n)
{
	ssize_t done;

	while (n->out.len > 0) {
		if ((done = send(n->fd, n->out.data, n->out.len, MSG_NOSIGNAL)) < 0)
			return errno == EAGAIN || errno == EINTR;
		memmove(n->out.data, n->out.data + done, n->out.len - (size_t)done);
		n->out.len -= (size_t)done;
	}
	return true;
}

/* It does not read: a reply that was read here would wait for the next one. */
uint32_t
node_send(struct node *n, const uint8_t *request, size_t len)
{
	uint8_t header[SP_HEADER_MAX];
	uint32_t id = (++n->next_id) | SP_ID_BIT;
	size_t header_len;

	if (n->fd < 0)
		return 0;
	header_len = sp_header(SP_IPC, id, len, header);
	if (!add(&n->out, header, header_len) || !add(&n->out, request, len)) {
		node_close(n);
		return 0;
	}
	if (write_some(n))
		return id;
	node_close(n);
	return 0;
}

static bool
read_some(struct node *n)
{
	uint8_t part[READ_SIZE];
	ssize_t got;

	for (;;) {
		if ((got = recv(n->fd, part, sizeof(part), 0)) == 0)
			return false;
		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		if (!add(&n->in, part, (size_t)got))
			return false;
	}
}

static bool
take_greeting(struct node *n)
{
	size_t len = n->in.len - n->used;

	if (n->greeted || len < SP_GREETING_LEN)
		return true;
	if (!sp_greeting_ok(n->in.data + n->used, SP_GREETING_LEN, SP_REP))
		return false;
	n->greeted = true;
	n->used += SP_GREETING_LEN;
	return true;
}

bool
node_run(struct node *n)
{
	if (n->fd >= 0 && write_some(n) && read_some(n) && take_greeting(n))
		return true;
	node_close(n);
	return false;
}

bool
node_reply(struct node *n, uint32_t *id, const uint8_t **reply, size_t *len)
{
	struct sp_frame frame;
	enum sp_result rc;

	while (n->fd >= 0 && n->greeted) {
		rc = sp_parse(SP_IPC, REPLY_MAX, n->in.data + n->used, n->in.len - n->used, &frame);
		if (rc == SP_INCOMPLETE)
			break;
		if (rc == SP_BROKEN) {
			node_close(n);
			return false;
		}
		n->used += frame.size;
		if (rc != SP_MESSAGE)
			continue;
		*id = frame.id;
		*reply = frame.body;
		*len = frame.body_len;
		return true;
	}
	if (n->used > 0) {
		memmove(n->in.data, n->in.data + n->used, n->in.len - n->used);
		n->in.len -= n->used;
		n->used = 0;
	}
	return false;
}
