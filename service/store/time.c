/*
 * time.c - the indexes by time (see time.h, and internal.h for adding and deleting entries). Reads no clock.
 */
#include "service/store/time.h"

#include <string.h>

#include "service/base/bytes.h"
#include "service/store/internal.h"

/*
 * Go on to the first sound entry of an index, from where ${cursor} is. Damaged entries are counted and passed over, so
 * that they do not keep other keys from ending and other tokens from being forgotten.
 */
static int
sound_by_time(struct store_txn *txn, enum table table, struct lmdb_cursor *cursor, int fault, int64_t *time_ms,
    uint8_t digest[RECORD_DIGEST_LEN])
{
	for (; fault == 0; fault = lmdb_next(cursor)) {
		if (cursor->key.len == 8 + RECORD_DIGEST_LEN &&
		    store_count_damage(txn->store,
			record_get_empty(txn->pepper, table, cursor->key.data, cursor->key.len, cursor->value.data,
			    cursor->value.len)) == 0)
			break;
	}
	if (fault == 0) {
		*time_ms = (int64_t)bytes_get64(cursor->key.data);
		memcpy(digest, (const uint8_t *)cursor->key.data + 8, RECORD_DIGEST_LEN);
	}
	return fault;
}

static int
first_by_time(struct store_txn *txn, enum table table, int64_t *time_ms, uint8_t digest[RECORD_DIGEST_LEN])
{
	struct lmdb_cursor cursor;
	int fault;

	fault = lmdb_seek(txn->txn, table, NULL, 0, &cursor);
	fault = sound_by_time(txn, table, &cursor, fault, time_ms, digest);
	lmdb_cursor_end(&cursor);
	return fault;
}

int
store_due(struct store_txn *txn, int64_t now_ms, const struct store_due *after, unsigned most, struct store_due *due)
{
	struct lmdb_cursor cursor;
	struct record_bytes from;
	unsigned n = 0;
	int fault;

	record_time_key(after->expires_ms, after->digest, &from);
	fault = lmdb_seek(txn->txn, TABLE_EXPIRY, from.bytes, from.len, &cursor);
	if (fault == 0 && cursor.key.len == from.len && memcmp(cursor.key.data, from.bytes, from.len) == 0)
		fault = lmdb_next(&cursor);
	while (n < most) {
		if ((fault = sound_by_time(txn, TABLE_EXPIRY, &cursor, fault, &due[n].expires_ms, due[n].digest)) !=
			0 ||
		    due[n].expires_ms > now_ms)
			break;
		n++;
		fault = lmdb_next(&cursor);
	}
	lmdb_cursor_end(&cursor);
	return fault == 0 || fault == -FAULT_NOT_FOUND ? (int)n : fault;
}

int
store_next_expiry(struct store_txn *txn, int64_t *expires_ms, uint8_t digest[RECORD_DIGEST_LEN])
{
	return first_by_time(txn, TABLE_EXPIRY, expires_ms, digest);
}

void
store_put_time(struct store_txn *txn, enum table table, int64_t time_ms, const uint8_t digest[RECORD_DIGEST_LEN])
{
	struct record_bytes key, value;

	record_time_key(time_ms, digest, &key);
	record_put_empty(txn->pepper, table, key.bytes, key.len, &value);
	store_put(txn, table, &key, &value);
}

/* A missing entry is damage, and is counted. The change that ends its key must still succeed. */
void
store_del_expiry(struct store_txn *txn, const struct change_key *c)
{
	struct record_bytes key;
	struct lmdb_value value;

	record_time_key(c->old_expires_ms, c->digest, &key);
	if (lmdb_get(txn->txn, TABLE_EXPIRY, key.bytes, key.len, &value) == -FAULT_NOT_FOUND)
		(void)store_count_damage(txn->store, -FAULT_CORRUPT);
	else
		lmdb_del(txn->txn, TABLE_EXPIRY, key.bytes, key.len);
}

int
store_forget_tokens(struct store_txn *txn, int64_t before_ms, unsigned most, int64_t *oldest_ms)
{
	uint8_t index[PEPPER_DIGEST_LEN];
	struct record_bytes age;
	struct lmdb_value value;
	int64_t created_ms;
	unsigned n;
	int fault;

	for (n = 0;; n++) {
		*oldest_ms = 0;
		if ((fault = first_by_time(txn, TABLE_TOKEN_AGE, &created_ms, index)) == -FAULT_NOT_FOUND)
			return (int)n;
		if (fault != 0)
			return fault;
		*oldest_ms = created_ms;
		if (created_ms >= before_ms || n == most)
			return (int)n;
		record_time_key(created_ms, index, &age);
		lmdb_del(txn->txn, TABLE_TOKEN_AGE, age.bytes, age.len);
		/* A missing token is damage, and is counted. The others must still be forgotten. */
		if (lmdb_get(txn->txn, TABLE_TOKENS, index, sizeof(index), &value) == -FAULT_NOT_FOUND)
			(void)store_count_damage(txn->store, -FAULT_CORRUPT);
		else
			lmdb_del(txn->txn, TABLE_TOKENS, index, sizeof(index));
		if ((fault = lmdb_fault(txn->txn)) != 0)
			return fault;
	}
}
