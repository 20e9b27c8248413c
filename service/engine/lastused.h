/*
 * lastused.h - when each key was last verified, to the minute, without a write to the database: one 8-byte cell for each
 * key, by the key's serial, in a file. In memory are the cells of the keys that were used, 4,096 at a time. A verify stores
 * into its cell at most once a minute, which is no system call, and the writer's thread writes what has changed to the
 * file. After a crash or a power loss the last use or two may be missing: see lastused_flush().
 *
 * A cell holds the minute (since the epoch, 4 bytes) and a check, made under the pepper from the key's digest and the
 * minute. So a flipped bit, a stale file or a reused serial shows as "never seen" and not as a wrong time. The pepper is
 * passed to each call, because two are in use during a rotation.
 *
 * Faults of this file never harm a verify. What cannot be read shows as "never seen"; uses are noted in memory, and are
 * not written over what could not be read.
 */
#ifndef LASTUSED_H
#define LASTUSED_H

#include <stdbool.h>
#include <stdint.h>

#include "service/store/record.h"

struct lastused;

/*
 * lastused_open(folder, keys, lastused, why, why_len):
 * Open or make ${folder}/lastused with cells for ${keys} keys.
 * Returns: 0; -FAULT_FULL, -FAULT_DISK or another negative fault with a line at ${why}.
 */
int lastused_open(const char *folder, uint32_t keys, struct lastused **lastused, char *why, size_t why_len);
/* Writes what has changed. NULL is allowed. */
void lastused_close(struct lastused *lastused);

/*
 * lastused_flush(lastused):
 * Write what has changed since the last time. A part of the file that cannot be read or written is logged once; what could
 * not be written is tried again the next time. Threads: the writer's.
 */
void lastused_flush(struct lastused *lastused);

/*
 * lastused_grow(lastused, keys):
 * Have cells for ${keys} keys, with their disk space, so that a full disk is reported before the key is committed.
 * Threads: the writer's. Returns: 0, -FAULT_FULL, -FAULT_IO.
 */
int lastused_grow(struct lastused *lastused, uint32_t keys);

/* Prefetch the key's cell. Threads: any. */
void lastused_prefetch(const struct lastused *lastused, uint32_t serial);

/* The key has got a new digest in a rotation: a cell that fits the old one is made to fit it. Threads: the writer's. */
void lastused_rotate(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t old[RECORD_DIGEST_LEN], const uint8_t digest[RECORD_DIGEST_LEN]);

/*
 * Note a use, under the key's digest of the newest line. Threads: any; takes no lock, and stores only when the minute has
 * changed. The first use of one of 4,096 keys allocates and reads their 32 KiB. Returns whether it was stored.
 */
bool lastused_touch(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms);
/* Store a use, even if one is noted for this minute. */
void lastused_put(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms);

/* The start of the minute in which the key was last used; 0: never seen. May read the file. Threads: any. */
int64_t lastused_get(
    struct lastused *lastused, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN]);

#endif
