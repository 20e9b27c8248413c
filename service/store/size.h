/*
 * size.h - how full a database is.
 */
#ifndef SIZE_H
#define SIZE_H

#include "service/store/store.h"

struct store_size {
	uint64_t accounts;
	uint64_t keys;
	uint64_t used_bytes;
	uint64_t ceiling_bytes;
};
void store_size(struct store_txn *txn, struct store_size *size);

/*
 * store_room(txn):
 * May the database take another key? Asked before a change that adds records, but not before one that ends keys: the
 * room between 90 % of the ceiling and the ceiling is kept for those.
 * Returns: 0; -FAULT_FULL at 90 % of the ceiling, or when the disk has no reserve left.
 */
int store_room(struct store_txn *txn);

/*
 * store_room_to_commit(txn):
 * Is there room on the disk for all that ${txn} has changed? What the reserve takes, such as a revocation, is never
 * refused.
 * Returns: 0; -FAULT_FULL: abort ${txn}.
 */
int store_room_to_commit(struct store_txn *txn);

#endif
