/*
 * grpc.h - gRPC's messages and statuses over HTTP/2, without the HTTP/2: a length-prefixed message, and what a status means
 * for a transaction. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Pure.
 */
#ifndef CLUSTER_GRPC_H
#define CLUSTER_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fob/v1/cluster.pb-c.h"

#define GRPC_HEADER_LEN 5
#define GRPC_MESSAGE_MAX 300 /* of a status */

/* What precedes a message of ${len} bytes that is not compressed. */
void grpc_header(size_t len, uint8_t header[GRPC_HEADER_LEN]);

/*
 * grpc_message(bytes, len, message, message_len):
 * The message at the beginning of ${bytes}. Returns: 1, with the message within ${bytes}; 0: more bytes are needed; -1: it
 * is compressed, or longer than etcd may send.
 */
int grpc_message(const uint8_t *bytes, size_t len, const uint8_t **message, size_t *message_len);

struct grpc_status {
	int code; /* gRPC's; -1: none has come */
	char message[GRPC_MESSAGE_MAX];
};

/* Take "grpc-status" and "grpc-message" out of a header or trailer; others are passed over. */
void grpc_take_header(struct grpc_status *status, const char *line, size_t len);

/*
 * What a status that is not 0 says of a transaction, and whether etcd's member is of no use now, so that another one is to
 * be asked. *${tell}: it is something that an operator must mend.
 */
Fob__V1__Result__Outcome grpc_outcome(const struct grpc_status *status, bool *another, bool *tell);

#endif
