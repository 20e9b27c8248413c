/*
 * internal.h - what the files of this room share: the inside of a store and of a transaction, and what they call of each
 * other. No other room includes it.
 *
 * Damage is counted once, where it leaves the room, by store_count_damage(). The functions below do not count, unless
 * they say so.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <stdatomic.h>

#include "proto/c/position.h"
#include "service/store/change.h"
#include "service/store/open.h"
#include "service/store/rotate.h"
#include "service/store/store.h"

#define RESERVE_BYTES (1U << 20)
#define ROTATE_ENTRIES 32 /* in one commit, for which a change that comes meanwhile has to wait */

static const char IDENTITY[] = "identity";
static const char STATE[] = "state";
static const char COPY[] = "copy";
static const char ROTATION[] = "rotation";
static const char CLUSTER[] = "cluster";

/* For each line of the file: the file as read, and two forms of it that are in use one after the other. */
#define PEPPERS_MAX (PEPPER_LINES_MAX * 3)

/* Of a rotation that is to begin, from its preparation to its commit. */
struct beginning {
	struct pepper *rotating, *rotated; /* NULL: there is none */
	struct record_identity identity;
	struct record_rotation rotation;
};

struct store {
	enum environment environment;
	struct lmdb *lmdb;
	struct record_identity identity; /* as committed */
	uint32_t next_schema;            /* as the writer's transaction has it */
	/*
	 * What records are made and checked with; store_read() says how it changes. A pepper that was in use is kept
	 * until the store is closed, so nobody has to find out when its last reader has gone. It holds no line that its
	 * successor does not hold.
	 */
	struct pepper *_Atomic pepper;
	struct pepper *rotated; /* what ${pepper} is at the end of the rotation: the same without the old lines */
	struct pepper *file;    /* all lines that were read, perhaps more than are in use */
	struct pepper *kept[PEPPERS_MAX];
	unsigned n_kept;
	struct beginning beginning;
	struct record_rotation rotation;      /* as committed */
	struct record_rotation next_rotation; /* as the writer's transaction has it */
	bool last_step;                       /* ${next_rotation} is the end of it */
	struct record_bytes rotate_keys[ROTATE_ENTRIES];
	store_rotated_key_cb on_rotated_key;
	void *on_rotated_key_arg;
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
	struct position position;    /* of the snapshot ${positioned}: see store_position() */
	uint64_t positioned;         /* UINT64_MAX: none */
};

/* Returns ${fault}. */
static inline int
store_count_damage(struct store *store, int fault)
{
	if (fault == -FAULT_CORRUPT)
		atomic_fetch_add_explicit(&store->corrupt_records, 1, memory_order_relaxed);
	return fault;
}

/* ---- store.c: reading ---- */

/* An entry, or the certainty that there is none. Returns: 0; -FAULT_NOT_FOUND; another fault. */
int store_get(struct store_txn *txn, enum table table, const void *key, size_t len, struct lmdb_value *value);
int store_get_account(struct store_txn *txn, const char *account, struct record_account *out);

/* Where a key stands among those of its account. */
struct place {
	const char *account;
	enum kind kind;
	uint32_t generation;
};

/* Does ${account} name the key at ${place} itself? It does so for its current keys; all others have a slot. */
bool store_in_account(const struct record_account *account, const struct place *place);
/* Is this the key of a slot of ${place}'s account? Then the rest of ${place} becomes the slot's. */
bool store_slot_of(const struct lmdb_value *key, struct place *place);
/*
 * The key that another record names by the first bytes of its digest. The key's own record, which is tagged, says whose
 * key it is, so the right one is found even if two digests begin alike. Returns -FAULT_CORRUPT when there is none.
 */
int store_key_of_ref(struct store_txn *txn, const struct place *place, const uint8_t ref[RECORD_REF_LEN],
    uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key);

/* ---- writing: lmdb_fault() or the commit tells whether it was done ---- */

static inline void
store_put(struct store_txn *txn, enum table table, const struct record_bytes *key, const struct record_bytes *value)
{
	lmdb_put(txn->txn, table, key->bytes, key->len, value->bytes, value->len);
}

/* time.c: an entry of an index by time. */
void store_put_time(struct store_txn *txn, enum table table, int64_t time_ms, const uint8_t digest[RECORD_DIGEST_LEN]);
/* time.c: delete the entry that ${c} had in the expiry table. */
void store_del_expiry(struct store_txn *txn, const struct change_key *c);

/*
 * rotate.c: rotate the key that a change is about to write, so that all that is written is under the newest pepper: a
 * key's digest and its tag must always be of the same one. ${c} gets the new digest. A fault is counted.
 */
int store_rotate_key(struct store_txn *txn, struct change_key *c);

/* ---- open.c ---- */

/* The store owns ${pepper} from here on, until it is closed. Returns it. */
struct pepper *store_keep_pepper(struct store *store, struct pepper *pepper);
/* How LMDB is to open the database of ${options}, or to make it. */
struct lmdb_options store_lmdb_options(const struct store_options *options, bool create);

#endif
