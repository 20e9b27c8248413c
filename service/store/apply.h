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
int store_put_state(struct store_txn *txn, const struct record_state *state);

#endif
