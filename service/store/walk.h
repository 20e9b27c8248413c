/*
 * walk.h - walks over a table, in a read transaction: ${visit} is called for each record behind the given position,
 * until it returns false or there are no more. The position is exclusive; zeros or "" are the beginning.
 */
#ifndef WALK_H
#define WALK_H

#include "service/store/store.h"

typedef bool (*store_key_cb)(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key);
typedef bool (*store_account_cb)(void *arg, const struct record_account *account);
typedef bool (*store_event_cb)(void *arg, const struct record_event *event);
typedef bool (*store_entry_cb)(void *arg, const struct lmdb_value *key, const struct lmdb_value *value);

/* The keys of one account, by kind and generation. An account that does not exist has none. */
int store_each_key(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, store_key_cb visit, void *arg);
int store_each_account(struct store_txn *txn, const char *after, store_account_cb visit, void *arg);
int store_each_event(struct store_txn *txn, uint64_t after, store_event_cb visit, void *arg);
/*
 * All keys behind the digest ${after}, by digest; NULL: from the beginning. Damage is not counted. A record whose tag does
 * not fit is visited with a NULL ${key}.
 */
int store_scan_keys(struct store_txn *txn, const uint8_t *after, store_key_cb visit, void *arg);
/* All entries of a table as they are stored, damaged ones included: for the offline check. */
int store_each_entry(struct store_txn *txn, enum table table, store_entry_cb visit, void *arg);

#endif
