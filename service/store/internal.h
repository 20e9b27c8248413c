/*
 * store_internal.h - what store.c and its parts, the store_*.c, share: what a store and a transaction are, and what
 * the parts call of each other. For those files alone; everybody else sees store.h.
 *
 * Faults that a record's decoder has found are counted once, where they leave the store: by store_judged(). What is
 * below does not count, but for what says so.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <stdatomic.h>

#include "service/store/store.h"

#define RESERVE_BYTES (1U << 20)
#define MOVE_ENTRIES 32 /* in one commit: a mutation that comes meanwhile waits for it */

static const char IDENTITY[] = "identity";
static const char STATE[] = "state";
static const char COPY[] = "copy";
static const char ROTATION[] = "rotation";

/* Each line's file, and two forms of it that are in use one after the other. */
#define PEPPERS_MAX (PEPPER_LINES_MAX * 3)

struct store {
	enum environment environment;
	struct lmdb *lmdb;
	struct record_identity identity;
	/*
	 * What records are made with and believed by: store_read() says how it changes. What was in use is kept until
	 * the end, and nobody need know when its last reader is gone: it holds no line that its successor does not hold
	 * as well.
	 */
	struct pepper *_Atomic pepper;
	struct pepper *moved; /* what ${pepper} is to be at the end of a move: the same without the old lines */
	struct pepper *file;  /* all lines that were read, perhaps more than are in use */
	struct pepper *kept[PEPPERS_MAX];
	unsigned n_kept;
	struct record_rotation rotation;      /* as committed */
	struct record_rotation next_rotation; /* as the writer's transaction has it */
	bool last_move;                       /* and that is the end of it */
	struct record_bytes move_keys[MOVE_ENTRIES];
	store_moved_cb on_move;
	void *on_move_arg;
	char *path;
	uint64_t ceiling_bytes;
	uint64_t events_kept;
	_Atomic uint64_t corrupt_records;
	_Atomic bool has_imported;
};

struct store_txn {
	struct store *store;
	struct lmdb_txn *txn;
	const struct pepper *pepper; /* it covers the snapshot */
};

/* Count what a record decoder refused. */
static inline int
store_judged(struct store *store, int fault)
{
	if (fault == -FAULT_CORRUPT)
		atomic_fetch_add_explicit(&store->corrupt_records, 1, memory_order_relaxed);
	return fault;
}

/* ---- reading ---- */

/* An entry, or the certainty that there is none. Returns: 0; -FAULT_NOT_FOUND; another fault. */
int store_look_up(struct store_txn *txn, enum table table, const void *key, size_t len, struct lmdb_value *value);
int store_get_account(struct store_txn *txn, const char *account, struct record_account *out);

/* Where a key stands among those of its account. */
struct place {
	const char *account;
	enum kind kind;
	uint32_t generation;
};

/* Is the key at ${place} one of the current ones, which ${account} names itself? All others have a slot. */
bool store_in_account(const struct record_account *account, const struct place *place);
/* Is this the key of a slot of ${place}'s account? Then the rest of ${place} becomes the slot's. */
bool store_slot_of(const struct lmdb_value *key, struct place *place);
/*
 * The key that another record names by the beginning of its digest. Whose key it is its own record says, which is
 * tagged: should two digests ever begin alike, the right one is found. When there is none, that is a hole in the
 * database: -FAULT_CORRUPT.
 */
int store_key_of_ref(struct store_txn *txn, const struct place *place, const uint8_t ref[RECORD_REF_LEN],
    uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key);

/* ---- writing: lmdb_fault() or the commit tells whether it was done ---- */

static inline void
store_put(struct store_txn *txn, enum table table, const struct record_bytes *key, const struct record_bytes *value)
{
	lmdb_put(txn->txn, table, key->bytes, key->len, value->bytes, value->len);
}

/* An entry of an index by time. */
void store_put_time(struct store_txn *txn, enum table table, int64_t time_ms, const uint8_t digest[RECORD_DIGEST_LEN]);
/* The entry that ${c} had in the expiry table. */
void store_del_expiry(struct store_txn *txn, const struct change_key *c);

/* ---- peppers ---- */

/* ${pepper} is the store's from here on, until it is closed. Returns it. */
struct pepper *store_keep(struct store *store, struct pepper *pepper);

/*
 * What a change is about to touch is moved first, so that all that is written is under the newest pepper: a record's
 * digest and its tag are always of the same one. ${c} is to go on with the new digest. A fault is counted.
 */
int store_settle(struct store_txn *txn, struct change_key *c);

/* ---- opening ---- */

/* How LMDB is to open the database of ${options}, or to make it. */
struct lmdb_options store_lmdb_options(const struct store_options *options, bool create);

#endif
