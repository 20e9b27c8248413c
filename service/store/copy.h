/*
 * copy.h - a copy of a database, and the mark that says that it is one. A copy lacks what ended after it was taken, so
 * fobd refuses to serve a database that has the mark.
 */
#ifndef COPY_H
#define COPY_H

#include "service/store/store.h"

/* Write a consistent copy of the file to ${fd}, while others write: lmdb_copy(). */
int store_copy(struct store *store, int fd);
/* Is this a copy? Returns: 0; -FAULT_NOT_FOUND; another fault. */
int store_copy_mark(struct store_txn *txn, struct record_copy *copy);
/* In a write transaction, whose commit tells whether it was done. */
void store_mark(struct store_txn *txn, const struct record_copy *copy);
void store_unmark(struct store_txn *txn);

#endif
