/*
 * txn.h - a transaction of fobd's as one of etcd's, and etcd's answer as fobd's result. Pure: bytes in, bytes out.
 */
#ifndef CLUSTER_TXN_H
#define CLUSTER_TXN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fob/v1/cluster.pb-c.h"

#define TXN_RESULT_MAX (200U << 10) /* of what one result holds; fobd takes 256 KiB in one message */

struct txn_bytes {
	uint8_t *data;
	size_t len;
};

/*
 * txn_pack(txn, prefix, out):
 * Encode ${txn} as an etcdserverpb.TxnRequest whose keys have ${prefix} before them.
 * Returns: 0, and ${out}->data is to be freed; -1 without memory, or when ${txn} has a kind or target that is not known.
 */
int txn_pack(const Fob__V1__Transaction *txn, const char *prefix, struct txn_bytes *out);

/*
 * txn_unpack(id, bytes, len, prefix):
 * The result that an etcdserverpb.TxnResponse tells, with the prefix taken off its keys. Values beyond TXN_RESULT_MAX are
 * left out, from the end.
 * Returns: NULL when the bytes are no such message or without memory; to be freed with
 *          fob__v1__result__free_unpacked(result, NULL).
 */
Fob__V1__Result *txn_unpack(uint64_t id, const uint8_t *bytes, size_t len, const char *prefix);

/* A result without content. NULL without memory. */
Fob__V1__Result *txn_outcome(uint64_t id, Fob__V1__Result__Outcome outcome);

/* A request to watch one key, as an etcdserverpb.WatchRequest. Returns: as txn_pack(). */
int txn_pack_watch(const char *prefix, const char *key, struct txn_bytes *out);

#endif
