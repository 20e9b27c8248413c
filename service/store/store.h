/*
 * store.h - one environment's database: transactions on it, and the records that are read in them. Opening, walking,
 * changing, rotating and copying it have headers of their own beside this one.
 *
 * Threads: threads share a store, but a transaction belongs to one thread at a time. Only the writer's thread begins
 *          write transactions.
 * Returns: 0, -FAULT_NOT_FOUND, -FAULT_CORRUPT, -FAULT_FULL, -FAULT_IO, -FAULT_READERS or -FAULT_INTERNAL. A record whose tag does not
 *          fit is -FAULT_CORRUPT, and is counted. -FAULT_NOT_FOUND is returned only after every page on the lookup path
 *          and the neighbouring records were validated.
 */
#ifndef STORE_H
#define STORE_H

#include "service/lmdb/lmdb.h"
#include "service/store/record.h"

struct store;
struct store_txn;

/* ---- the store as a whole. Threads: any ---- */

/*
 * The pepper that is in use now: for the writer, and for what is the same under all of its lines. What a transaction
 * reads must be checked with that transaction's pepper. Both stay unchanged until the store is closed.
 */
const struct pepper *store_pepper(const struct store *store);
const struct pepper *store_txn_pepper(const struct store_txn *txn);
enum environment store_environment(const struct store *store);
/* Has the database failed for good? And why, in a sentence that is never freed; else NULL. */
bool store_failed(const struct store *store);
const char *store_failure(const struct store *store);
/* It has failed from here on, so that it is closed and opened anew. ${why} is never freed. Threads: any. */
void store_give_up(struct store *store, const char *why);
/* The file that is open. Returns: 0; -FAULT_IO. */
int store_file(const struct store *store, struct lmdb_file *file);
/* Was the last reader that asked for a slot in LMDB's table refused? */
bool store_readers_full(const struct store *store);
uint64_t store_corrupt_records(const struct store *store);
/* May there be imported keys? True once an import was applied, even if it was not committed. */
bool store_has_imported(const struct store *store);
bool store_txn_has_imported(const struct store_txn *txn);
/* The folder, for files that lie beside the database. Borrowed. */
const char *store_path(const struct store *store);
/* Free the slots of readers that have died. To be called once a minute. */
void store_upkeep(struct store *store);
/* Is the database's file still in its place, and is there room for readers? To be called once a second: see lmdb_look(). */
void store_look(struct store *store);

/* ---- transactions ---- */

struct store_txn *store_txn_new(struct store *store);
void store_txn_free(struct store_txn *txn);
int store_read(struct store_txn *txn);
void store_read_end(struct store_txn *txn);
int store_write(struct store_txn *txn);
int store_commit(struct store_txn *txn);
void store_abort(struct store_txn *txn);

/* May this transaction meet records of the old pepper? Then a secret must be searched for by its old digest, too. */
bool store_txn_is_rotating(const struct store_txn *txn);

/* ---- records ---- */

int store_key(struct store_txn *txn, const uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key);
/* One of several keys that are looked up at once: in, and out. ${fault} is what store_key() would return. */
struct store_search {
	const uint8_t *digest;
	struct record_key *key;
	int fault;
};

/* At most STORE_PASS keys, in a read transaction. They wait for memory together. */
#define STORE_PASS LMDB_PASS
void store_keys(struct store_txn *txn, struct store_search *searches, size_t n);
int store_account(struct store_txn *txn, const char *account, struct record_account *out);
int store_slot(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, uint8_t digest[RECORD_DIGEST_LEN]);
int store_state(struct store_txn *txn, struct record_state *state);
/* ${token}->sealed is valid until the next call with ${txn}. */
int store_token(struct store_txn *txn, const uint8_t index[PEPPER_DIGEST_LEN], struct record_token *token);
/* Returns: 0: the entry is there and sound; -FAULT_NOT_FOUND; -FAULT_CORRUPT; another fault. */
int store_has(struct store_txn *txn, enum table table, const void *key, size_t len);
uint64_t store_entries(struct store_txn *txn, enum table table);

#endif
