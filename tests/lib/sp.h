/*
 * sp.h - SP's greetings and frames over a stream socket, written from proto/PROTOCOL.md. For tests' servers and
 * peers: they share no code with what is tested, and may break the protocol.
 */
#ifndef SP_H
#define SP_H

#include <assert.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "service/base/bytes.h"

#define SP_ID 4         /* bytes of a request's id */
#define SP_REST_MS 5000 /* the longest pause within a message */

static const uint8_t sp_req[8] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static const uint8_t sp_rep[8] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

/* Read ${len} bytes. Returns false when the peer has closed or is silent for ${ms}; -1 waits for ever. */
static inline bool
sp_read(int fd, void *to, size_t len, int ms)
{
	uint8_t *p = to;
	ssize_t n;

	while (len > 0) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		if (poll(&pfd, 1, ms) != 1 || (n = recv(fd, p, len, 0)) <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static inline bool
sp_write(int fd, const void *from, size_t len)
{
	const uint8_t *p = from;
	ssize_t n;

	while (len > 0) {
		if ((n = send(fd, p, len, MSG_NOSIGNAL)) <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Send a message of ${len} bytes whose header claims the length ${says}. */
static inline bool
sp_send(int fd, const uint8_t id[SP_ID], const void *bytes, size_t len, uint64_t says)
{
	uint8_t head[1 + 8 + SP_ID] = { 1 };

	bytes_put64(head + 1, says + SP_ID);
	memcpy(head + 9, id, SP_ID);
	return sp_write(fd, head, sizeof(head)) && sp_write(fd, bytes, len);
}

/*
 * Read the rest of a message that has begun. Returns false when the peer has closed. If the peer is silent a length
 * is wrong, here or in what is tested, and the program ends: otherwise every later receive would run into its timeout.
 */
static inline bool
sp_read_rest(int fd, void *to, size_t len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint8_t *p = to;
	ssize_t n;

	while (len > 0) {
		int ready = poll(&pfd, 1, SP_REST_MS);

		if (ready == 0) {
			fprintf(stderr, "sp.h: a message lacks its last %zu bytes: its length is wrong\n", len);
			abort();
		}
		if (ready < 0 || (n = recv(fd, p, len, 0)) <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Read a message of at most ${max} bytes. Free it. Returns NULL when the peer has closed or is silent for ${ms}. */
static inline uint8_t *
sp_receive(int fd, uint8_t id[SP_ID], size_t max, size_t *len, int ms)
{
	uint8_t head[1 + 8 + SP_ID], *bytes;

	if (!sp_read(fd, head, 1, ms) || !sp_read_rest(fd, head + 1, sizeof(head) - 1))
		return NULL;
	*len = bytes_get64(head + 1) - SP_ID;
	assert(head[0] == 1 && *len <= max);
	memcpy(id, head + 9, SP_ID);
	bytes = malloc(*len + 1);
	assert(bytes != NULL);
	if (sp_read_rest(fd, bytes, *len))
		return bytes;
	free(bytes);
	return NULL;
}

#endif
