/*
 * copy.c - copy a database, and mark a copy as one (see copy.h). Never makes a file.
 */
#include "service/store/copy.h"

#include <string.h>

#include "service/store/internal.h"

int
store_copy(struct store *store, int fd)
{
	return lmdb_copy(store->lmdb, fd);
}

int
store_copy_mark(struct store_txn *txn, struct record_copy *copy)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_META, COPY, strlen(COPY), &value)) != 0)
		return store_count_damage(txn->store, fault);
	return store_count_damage(
	    txn->store, record_get_copy(txn->pepper, COPY, strlen(COPY), value.data, value.len, copy));
}

void
store_mark(struct store_txn *txn, const struct record_copy *copy)
{
	struct record_bytes value;

	record_put_copy(txn->pepper, COPY, strlen(COPY), copy, &value);
	lmdb_put(txn->txn, TABLE_META, COPY, strlen(COPY), value.bytes, value.len);
}

void
store_unmark(struct store_txn *txn)
{
	lmdb_del(txn->txn, TABLE_META, COPY, strlen(COPY));
}
