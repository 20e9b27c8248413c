/*
 * grpc.h - gRPC's frames, and its status as HTTP/2 headers give it. Pure: no socket, no clock.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
#ifndef CLUSTER_GRPC_H
#define CLUSTER_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/c/buffer.h"

#define GRPC_PREFIX 5 /* in front of each message: whether it is compressed, and its length */
#define GRPC_MESSAGE_MAX (4U << 20)
#define GRPC_REASON_MAX 200
#define GRPC_NONE (-1) /* no status has come */

/* gRPC's codes that mean something here. */
enum grpc_code {
	GRPC_OK = 0,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16
};

struct grpc_status {
	int code; /* GRPC_NONE, or what grpc-status says */
	char reason[GRPC_REASON_MAX]; /* grpc-message, decoded; printable ASCII */
};

/* Write the prefix of a message of ${len} bytes. */
void grpc_prefix(uint32_t len, uint8_t out[GRPC_PREFIX]);

void grpc_status_init(struct grpc_status *status);

/* A header or a trailer, "name: value\r\n" in ${len} bytes: keep what it says of the status. */
void grpc_status_header(struct grpc_status *status, const char *line, size_t len);

enum grpc_result { GRPC_MORE, GRPC_MESSAGE, GRPC_BROKEN };

/*
 * grpc_message(bytes, len, body, body_len):
 * Look at the beginning of ${bytes} for a whole message. A compressed one, which we never ask for, or one of more than
 * GRPC_MESSAGE_MAX is GRPC_BROKEN.
 * Ownership: *${body} borrows from ${bytes}.
 */
enum grpc_result grpc_message(const uint8_t *bytes, size_t len, const uint8_t **body, size_t *body_len);

/*
 * The messages of a stream, of which only the first GRPC_HEAD_MAX bytes are kept: enough for etcd's header, not for its
 * events.
 */
#define GRPC_HEAD_MAX 512

struct grpc_stream {
	uint8_t prefix[GRPC_PREFIX], head[GRPC_HEAD_MAX];
	uint32_t len;  /* of the message under way */
	uint32_t got;  /* of it */
	unsigned have; /* of its prefix */
};

/* Called for each message when all of it has come. */
typedef void grpc_on_message(void *arg, const uint8_t *head, size_t head_len, size_t len);

/* Returns: 0; -1 when it is not gRPC. */
int grpc_stream_add(
    struct grpc_stream *stream, const uint8_t *bytes, size_t len, grpc_on_message *on_message, void *arg);

#endif
