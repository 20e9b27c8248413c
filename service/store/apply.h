/*
 * apply.h - write a change, in a write transaction. Threads: the writer's.
 */
#ifndef APPLY_H
#define APPLY_H

#include "service/store/change.h"
#include "service/store/store.h"

/*
 * store_apply(txn, change, next):
 * Write all of ${change}. ${next} is the state record as the transaction has it, and is brought up to date. It is
 * written by store_put_state(), once for all changes of a commit.
 * Returns: 0, or a negative fault, after which the transaction can only be aborted. A damaged page that it met is
 *          counted.
 */
int store_apply(struct store_txn *txn, const struct change *change, struct record_state *next);
/*
 * store_resolve(txn, change):
 * ${change} was decided on another node of a cluster: fill in what this database has, and names otherwise: the digests and
 * deadlines of keys that are not new, and what names the account's current keys.
 * Returns: 0; -FAULT_CORRUPT: a key or account is missing here; another fault.
 */
int store_resolve(struct store_txn *txn, struct change *change);
int store_put_state(struct store_txn *txn, const struct record_state *state);

#endif
