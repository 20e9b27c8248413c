/*
 * messages.h - a transaction of fobd's as a message of etcd's, and etcd's answer as a result of fobd's. Here the keys
 * get the environment's prefix, and lose it. Pure.
 */
#ifndef CLUSTER_MESSAGES_H
#define CLUSTER_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fob/v1/cluster.pb-c.h"
#include "proto/c/buffer.h"

#define MESSAGES_PREFIX_MAX 128

/*
 * messages_txn(prefix, txn, out):
 * Append a gRPC frame with an etcdserverpb.TxnRequest to ${out}.
 * Returns: 0; -1 when out of memory, or when ${txn} has an action or a compare that is unknown.
 */
int messages_txn(const char *prefix, const Fob__V1__Transaction *txn, struct buffer *out);

/*
 * The one key that is watched: it changes with each entry of the log. A row changes with each acknowledgement, of which there
 * are as many as nodes, so to look at every one of them would cost the square of their number.
 */
#define MESSAGES_WATCHED "head"
/* The same with an etcdserverpb.WatchRequest for that key behind ${prefix}, which is not empty. */
int messages_watch(const char *prefix, struct buffer *out);

/* Into ${to}, which is empty. Returns: whether there was memory. */
bool messages_copy(ProtobufCBinaryData *to, const void *from, size_t len);

/*
 * messages_result(prefix, bytes, len, result):
 * Read an etcdserverpb.TxnResponse into ${result}, whose id stays.
 * Ownership: free what was put there with messages_result_fini().
 * Returns:   0; -1 when it is no such message, or out of memory: ${result} is as it was.
 */
int messages_result(const char *prefix, const uint8_t *bytes, size_t len, Fob__V1__Result *result);
void messages_result_fini(Fob__V1__Result *result);

/* What a WatchResponse says in its first bytes. */
struct messages_watched {
	bool canceled;
	int64_t revision;
	char reason[200];
};

/* ${whole}: whether ${bytes} are all of it. Else only the revision is read. */
void messages_watched(const uint8_t *bytes, size_t len, bool whole, struct messages_watched *out);

#endif
