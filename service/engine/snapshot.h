/*
 * snapshot.h - a backup that fobd itself makes, for an admin client to read. The copy is made in the database's folder
 * by a thread of its own, so that no second process opens the database, and no slow client holds one of its snapshots.
 * It has no name once it is whole. One at a time; it ends when it was read and another one is asked for, or a minute
 * after the last request.
 *
 * Threads: any, for all functions but snapshot_free().
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "service/keys/decide.h"
#include "service/store/open.h"

#define SNAPSHOT_ID_LEN 16

struct snapshot;

struct snapshot_part {
	bool ready;    /* false: the copy is still being made, and the rest is zero */
	size_t len;    /* bytes of this part; 0: there are no more */
	uint64_t size; /* of the copy */
	uint64_t revision, event_sequence;
	uint8_t sha256[32]; /* of the copy */
};

/*
 * ${options} are those of ${store}, which outlives it; copied. Removes what a killed process left. NULL without
 * memory.
 */
struct snapshot *snapshot_new(struct store *store, const struct store_options *options);
/* Ends the copy that is being made. No call may be under way. NULL is allowed. */
void snapshot_free(struct snapshot *snapshot);

/*
 * snapshot_read(snapshot, id, offset, bytes, max, part, why):
 * Read up to ${max} bytes at ${offset} of the copy ${id}, a random name that the client made. ${offset} 0 under a new
 * ${id} begins a copy. The same call gives the same bytes again.
 * Returns: 0; with a sentence at ${why}: -FAULT_RESOURCE_EXHAUSTED: another copy is under way, or the disk has no room;
 *          -FAULT_FAILED_PRECONDITION: there is no such copy any more; -FAULT_INVALID_ARGUMENT: ${offset} is behind its
 *          end; -FAULT_UNAVAILABLE: it could not be made.
 */
int snapshot_read(struct snapshot *snapshot, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t offset, uint8_t *bytes,
    size_t max, struct snapshot_part *part, why_text why);

#endif
