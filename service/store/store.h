/*
 * store.h - one environment's database: its tables, what is read from them, and how a change is applied.
 *
 * Threads: a store may be shared; a transaction belongs to one thread at a time. Reads take a `struct store_txn` from
 *          store_txn_new(), one per context; only the writer thread begins write transactions.
 * Returns: 0, -FAULT_NOT_FOUND, -FAULT_CORRUPT, -FAULT_FULL, -FAULT_IO, -FAULT_INTERNAL. A record whose tag does not
 *          fit is -FAULT_CORRUPT, counted, and never an answer.
 */
#ifndef STORE_H
#define STORE_H

#include "service/store/change.h"
#include "service/lmdb/lmdb.h"

struct store;
struct store_txn;

/* What for: the offline commands open a database differently. */
enum store_use {
	STORE_SERVE,   /* to read and write it, alone. One that is marked as a copy is refused */
	STORE_CHECK,   /* to read it while no fobd serves it; also a copy */
	STORE_COPY,    /* to copy it while a fobd may serve it */
	STORE_MARK,    /* to mark a copy as one: ${path} is the file that was just made */
	STORE_RESTORE, /* to make a marked copy one that is served; any other is refused */
};

struct store_options {
	enum environment environment;
	enum store_use use;
	const char *path;
	const char *pepper; /* file */
	uint64_t ceiling_bytes;
	uint64_t events_kept;
	unsigned readers;
};

/*
 * store_init(options, why, why_len):
 * Make what is missing of the pepper file, the folder and the database. An existing database or pepper is left as it
 * is; a database without its pepper is refused, because a new pepper would not fit it.
 * Returns: 0, or -1 with one line at ${why}.
 */
int store_init(const struct store_options *options, char *why, size_t why_len);

/*
 * store_open(options, store, why, why_len):
 * Open an existing database and check that it is whole, of this environment, of no newer schema, and belongs to this
 * pepper. One of an older schema is raised to this one, in a commit of its identity alone, which is logged.
 * Returns: 0, *${store} to be closed with store_close(); -FAULT_CORRUPT for damage; -FAULT_FULL; -FAULT_DISK for
 *          a disk that fails; another negative fault for what an operator has set wrongly (no database, another's
 *          pepper, ...). One line at ${why}.
 */
int store_open(const struct store_options *options, struct store **store, char *why, size_t why_len);
void store_close(struct store *store);

/* A move to a new pepper (see store_move()): */
typedef void (*store_moved_cb)(void *arg, const struct pepper *pepper, uint32_t serial,
    const uint8_t old[RECORD_DIGEST_LEN], const uint8_t digest[RECORD_DIGEST_LEN]);
/* Have ${moved} called for each key that gets another digest, before the commit that it gets it in. */
void store_on_move(struct store *store, store_moved_cb moved, void *arg);
bool store_is_moving(const struct store *store);

/*
 * The pepper that is in use now: for the writer, and for what is the same under all of its lines. With what a
 * transaction reads, only that transaction's will do. Either stays what it is until the store is closed.
 */
const struct pepper *store_pepper(const struct store *store);
const struct pepper *store_txn_pepper(const struct store_txn *txn);
enum environment store_environment(const struct store *store);
bool store_failed(const struct store *store);
uint64_t store_corrupt_records(const struct store *store);
/*
 * May there be imported keys? True from the moment when the first import is applied, whether it is then committed or not.
 * Threads: any, without a lock.
 */
bool store_has_imported(const struct store *store);
bool store_txn_has_imported(const struct store_txn *txn);
/* The folder, for files that live beside the database. Borrowed. */
const char *store_path(const struct store *store);

/* ---- reading ---- */

struct store_txn *store_txn_new(struct store *store);
void store_txn_free(struct store_txn *txn);
int store_read(struct store_txn *txn);
void store_read_end(struct store_txn *txn);

/* May this transaction meet records of the old pepper? Then a secret is looked for by its old digest, too. */
bool store_moving(const struct store_txn *txn);

int store_key(struct store_txn *txn, const uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key);
int store_account(struct store_txn *txn, const char *account, struct record_account *out);
int store_slot(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, uint8_t digest[RECORD_DIGEST_LEN]);
int store_state(struct store_txn *txn, struct record_state *state);
/* ${token}->sealed points into the map: copy it before the transaction ends. */
int store_token(struct store_txn *txn, const uint8_t index[PEPPER_DIGEST_LEN], struct record_token *token);

/*
 * Walks: ${visit} is called for each record behind the position, until it returns false or there are no more.
 * The position is exclusive: store_each_key after (kind, generation); 0, 0 is the beginning.
 */
typedef bool (*store_key_cb)(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key);
typedef bool (*store_account_cb)(void *arg, const struct record_account *account);
typedef bool (*store_event_cb)(void *arg, const struct record_event *event);
int store_each_key(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, store_key_cb visit, void *arg);
int store_each_account(struct store_txn *txn, const char *after, store_account_cb visit, void *arg);
int store_each_event(struct store_txn *txn, uint64_t after, store_event_cb visit, void *arg);

/*
 * The first entry of the expiry table: the next deadline. -FAULT_NOT_FOUND: no key is in grace. A damaged entry is
 * counted and passed over; its key still ends in time, by comparison.
 */
int store_next_expiry(struct store_txn *txn, int64_t *expires_ms, uint8_t digest[RECORD_DIGEST_LEN]);

/*
 * store_due(txn, now_ms, after, most, due):
 * Copy up to ${most} entries of keys whose grace has ended by ${now_ms}, the earliest first, from behind ${after} on;
 * one of zeros is the beginning. Damaged entries as above.
 * Returns: how many, or a negative fault.
 */
struct store_due {
	int64_t expires_ms;
	uint8_t digest[RECORD_DIGEST_LEN];
};
int
store_due(struct store_txn *txn, int64_t now_ms, const struct store_due *after, unsigned most, struct store_due *due);

/* ---- copies ---- */

/* A consistent copy of the file to ${fd}, while others write: lmdb_copy(). */
int store_copy(struct store *store, int fd);
/* Is this a copy? Returns: 0; -FAULT_NOT_FOUND; another fault. */
int store_copy_mark(struct store_txn *txn, struct record_copy *copy);
/* In a write transaction, whose commit tells whether it was done. */
void store_mark(struct store_txn *txn, const struct record_copy *copy);
void store_unmark(struct store_txn *txn);

/* ---- all of it: the offline check ---- */

/* As they are stored, damaged ones as well. ${visit} returns false to stop. */
typedef bool (*store_entry_cb)(void *arg, const struct lmdb_value *key, const struct lmdb_value *value);
int store_each_entry(struct store_txn *txn, enum table table, store_entry_cb visit, void *arg);
uint64_t store_entries(struct store_txn *txn, enum table table);
/* Returns: 0: it is there, and sound; -FAULT_NOT_FOUND; -FAULT_CORRUPT; another fault. */
int store_has(struct store_txn *txn, enum table table, const void *key, size_t len);

/* ---- writing: the writer thread ---- */

int store_write(struct store_txn *txn);
int store_commit(struct store_txn *txn);
void store_abort(struct store_txn *txn);

/*
 * store_apply(txn, change, next):
 * Write all of ${change}. ${next} is the state record before, as the transaction has it, and is brought up to date; it
 * is written by store_put_state(), once for all changes of a commit.
 * Returns: 0, or a negative fault, after which the transaction can only be aborted. A damaged page in its way is counted.
 */
int store_apply(struct store_txn *txn, const struct change *change, struct record_state *next);
int store_put_state(struct store_txn *txn, const struct record_state *state);

/*
 * store_offer(store, file): the pepper's file as it was read anew. Threads: the writer's, as the next two.
 * Ownership: taken. Returns: how many lines it has more than when it was read last, for the next rotation; -1: it does
 *            not have all of those as they were, and is not used.
 */
int store_offer(struct store *store, struct pepper *file);
/* Has the file lines that are not in use yet, and is no move under way? */
bool store_may_begin(const struct store *store);
/*
 * store_begin(txn):
 * Begin to move all records to a pepper that has the new lines, too: a commit of its own. store_is_moving() from then
 * on.
 * Returns: 0, or a negative fault: nothing has changed, and it may be tried again unless store_failed().
 */
int store_begin(struct store_txn *txn);

/* Of a move, in a read transaction. Returns false when none is under way. */
struct store_progress {
	uint64_t keys;       /* moved to their new digests */
	uint64_t records;    /* walked, of all tables */
	uint64_t of_records; /* as many as there are now */
};
bool store_progress(struct store_txn *txn, struct store_progress *progress);

/*
 * store_move(txn):
 * While store_is_moving(): move some dozen records on to the newest pepper, from where the last committed call came to;
 * keys go to their new digests, together with what names them. What is changed for other reasons meanwhile is moved by
 * store_apply(). After the commit store_moved() is due, which takes note of how far it came; it returns true when that
 * was the end: from then on what is under the old pepper is not believed any more.
 * Returns: 0, or a negative fault, after which the transaction can only be aborted; -FAULT_FULL: the disk has nothing
 *          but its reserve left; -FAULT_CORRUPT: a key or what names it is damaged, and the rotation can go no further.
 */
int store_move(struct store_txn *txn);
bool store_moved(struct store *store);
/* How far it has come. Threads: the writer's. */
const struct record_rotation *store_rotation(const struct store *store);

/*
 * store_forget_tokens(txn, before_ms, most, oldest_ms):
 * Delete up to ${most} request tokens made before ${before_ms}. *${oldest_ms}: when the oldest that is left was made,
 * 0 when none is. Returns: how many, or a negative fault.
 */
int store_forget_tokens(struct store_txn *txn, int64_t before_ms, unsigned most, int64_t *oldest_ms);

/* Once a minute. */
void store_upkeep(struct store *store);

#endif
