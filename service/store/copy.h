/*
 * copy.h - a copy of a database, and the mark that says that it is one. A copy lacks what ended after it was taken, so
 * fobd refuses to serve a database that has the mark.
 */
#ifndef COPY_H
#define COPY_H

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * store_copy(store, options, path, stop, copied, why, why_len):
 * Make the new file ${path}, 0600: a consistent copy of the database, taken while others write, synced and marked.
 * ${options}: those that ${store} was opened with. *${copied}: what it is a copy of. ${stop}: as for lmdb_copy().
 * Threads: any.
 * Returns: 0; a negative fault with one line at ${why}, -FAULT_FULL and -FAULT_CANCELLED among them. What there is of
 *          the file stays then, and is the caller's to remove: it may lack the mark.
 */
int store_copy(struct store *store, const struct store_options *options, const char *path, const _Atomic bool *stop,
    struct record_copy *copied, char *why, size_t why_len);
/* Is this a copy? Returns: 0; -FAULT_NOT_FOUND; another fault. */
int store_copy_mark(struct store_txn *txn, struct record_copy *copy);
/* In a write transaction, whose commit tells whether it was done. */
void store_unmark(struct store_txn *txn);

#endif
