/*
 * rotate.h - the rotation of a pepper: every record is written anew under the newest line of the pepper, some in each
 * commit, while the database serves. A key gets a new digest, and what names the key is written with it. Until the end,
 * records of the old and of the new pepper are both believed.
 *
 * Threads: the writer's, but for store_is_rotating() and store_rotation_progress().
 */
#ifndef ROTATE_H
#define ROTATE_H

#include "service/store/store.h"

/*
 * store_offer_pepper(store, file):
 * ${file} is the pepper's file, read anew: its lines are used by the next rotation.
 * Ownership: taken.
 * Returns:   how many lines it has more than when it was read last; -1: it lacks one of those, or has another in its
 *            place, and is not used.
 */
int store_offer_pepper(struct store *store, struct pepper *file);

/* Has the file lines that are not in use yet, and is no rotation under way? */
bool store_may_rotate(const struct store *store);
bool store_is_rotating(const struct store *store);

typedef void (*store_rotated_key_cb)(void *arg, const struct pepper *pepper, uint32_t serial,
    const uint8_t old[RECORD_DIGEST_LEN], const uint8_t digest[RECORD_DIGEST_LEN]);
/* Have ${rotated} called for each key that gets another digest, before the commit that gives it. */
void store_on_rotated_key(struct store *store, store_rotated_key_cb rotated, void *arg);

/*
 * store_begin_rotation(txn):
 * Begin to use the file's new lines, in a commit of its own. store_is_rotating() from then on.
 * Returns: 0, or a negative fault: nothing has changed, and it may be tried again unless store_failed().
 */
int store_begin_rotation(struct store_txn *txn);

/*
 * The same within a transaction that does more, in three steps: what is to be written, before the commit; then, after it,
 * store_publish_rotation(), or after an abort store_drop_rotation(). ${lines} and ${fingerprint}: of the pepper that all
 * nodes of a cluster rotate to. Returns: 0; -FAULT_FAILED_PRECONDITION: the pepper's file has other lines here, or a
 * rotation is under way; another negative fault.
 */
int store_prepare_rotation(
    struct store_txn *txn, unsigned lines, const uint8_t fingerprint[PEPPER_DIGEST_LEN]);
bool store_rotation_is_prepared(const struct store *store);
void store_publish_rotation(struct store *store);
void store_drop_rotation(struct store *store);
/* How many lines the pepper's file has; and the fingerprint of the pepper with all of them. */
unsigned store_file_lines(const struct store *store);
void store_next_fingerprint(const struct store *store, uint8_t fingerprint[PEPPER_DIGEST_LEN]);

/*
 * store_rotate(txn):
 * While store_is_rotating(): rotate some dozen records, from where the last committed call stopped. What is changed for
 * other reasons meanwhile is rotated by store_apply(). After the commit store_rotated() must be called.
 * Returns: 0, or a negative fault, after which the transaction can only be aborted; -FAULT_FULL: the disk has nothing
 *          but its reserve left; -FAULT_CORRUPT: a key or what names it is damaged, and the rotation can go no further.
 */
int store_rotate(struct store_txn *txn);

/*
 * Take note of what was committed. Returns true when that was the end: from then on nothing under the old pepper is
 * believed.
 */
bool store_rotated(struct store *store);

/* How far it has come, as committed. */
const struct record_rotation *store_rotation(const struct store *store);

/* The same for a reader, in its transaction. Returns false when no rotation is under way. Threads: any. */
struct store_rotation_progress {
	uint64_t keys;       /* with their new digests */
	uint64_t records;    /* done, of all tables */
	uint64_t of_records; /* as many as there are now */
};
bool store_rotation_progress(struct store_txn *txn, struct store_rotation_progress *progress);

#endif
