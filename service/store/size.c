/*
 * size.c - how full a database is, and whether there is room for more (see size.h). Writes nothing.
 */
#include "service/store/size.h"

#include "service/store/internal.h"

void
store_size(struct store_txn *txn, struct store_size *size)
{
	*size = (struct store_size){
		.accounts = lmdb_entries(txn->txn, TABLE_ACCOUNTS),
		.keys = lmdb_entries(txn->txn, TABLE_KEYS),
		.used_bytes = lmdb_used_bytes(txn->txn),
		.ceiling_bytes = txn->store->ceiling_bytes,
	};
}

int
store_room(struct store_txn *txn)
{
	if (lmdb_used_bytes(txn->txn) >= txn->store->ceiling_bytes / 10 * 9)
		return -FAULT_FULL;
	return lmdb_reserve(txn->store->lmdb, RESERVE_BYTES);
}

int
store_room_to_commit(struct store_txn *txn)
{
	return lmdb_reserve_commit(txn->txn, RESERVE_BYTES);
}
