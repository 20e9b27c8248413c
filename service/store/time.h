/*
 * time.h - the two tables that are indexes by time: of deadlines, and of request tokens. A damaged entry is counted and
 * passed over. Its key still ends in time, because a verify compares the deadline in the key's own record.
 */
#ifndef STORE_TIME_H
#define STORE_TIME_H

#include "service/store/store.h"

/* The next deadline. Returns -FAULT_NOT_FOUND when no key is in grace. */
int store_next_expiry(struct store_txn *txn, int64_t *expires_ms, uint8_t digest[RECORD_DIGEST_LEN]);

struct store_due {
	int64_t expires_ms;
	uint8_t digest[RECORD_DIGEST_LEN];
};

/*
 * store_due(txn, now_ms, after, most, due):
 * Copy up to ${most} entries of keys whose grace has ended by ${now_ms}, the earliest first, from behind ${after} on.
 * An ${after} of zeros is the beginning.
 * Returns: how many, or a negative fault.
 */
int
store_due(struct store_txn *txn, int64_t now_ms, const struct store_due *after, unsigned most, struct store_due *due);

/*
 * store_forget_tokens(txn, before_ms, most, oldest_ms):
 * Delete up to ${most} request tokens made before ${before_ms}, in a write transaction. *${oldest_ms}: when the oldest
 * token that is left was made; 0 when none is left.
 * Returns: how many, or a negative fault.
 */
int store_forget_tokens(struct store_txn *txn, int64_t before_ms, unsigned most, int64_t *oldest_ms);

#endif
