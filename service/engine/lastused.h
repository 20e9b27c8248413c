/*
 * lastused.h - when each key was last verified, to the minute, with no write to the database: one 8-byte cell per key,
 * by the key's serial, in a file that is mapped into memory. A verify stores into its cell at most once a minute, and the
 * kernel writes the pages back in its own time. After a power loss the last half minute may be missing; after a
 * crash of fobd alone nothing is.
 *
 * A cell holds the minute (since the epoch, 4 bytes) and a check made from the key's digest and the minute under the
 * pepper, so that a flipped bit, a stale file or a reused serial shows as "never seen", not as a wrong time. The pepper comes
 * with each call, as a digest does: while it is rotated, two are in use.
 *
 * It is a convenience, and harms no verify: of what is missing because the file was cut short or its disk fails, every key
 * is "never seen", and is noted in memory until the next start, which makes the file whole again.
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
void lastused_close(struct lastused *lastused);

/*
 * lastused_grow(lastused, keys):
 * Have cells for ${keys} keys, with their disk space: a full disk is told here, not as SIGBUS in a verify.
 * Threads: the writer's. Returns: 0, -FAULT_FULL, -FAULT_IO.
 */
int lastused_grow(struct lastused *lastused, uint32_t keys);

/* Have the key's cell brought into the processor's cache: it is needed soon. Threads: any. */
void lastused_prefetch(const struct lastused *lastused, uint32_t serial);

/*
 * While records are moved to a new pepper: a cell that fits the key's old digest is made to fit its new one.
 * Threads: the writer's.
 */
void lastused_rotate(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t old[RECORD_DIGEST_LEN], const uint8_t digest[RECORD_DIGEST_LEN]);

/*
 * Note a use, under the key's digest of the newest line. Threads: any; takes no lock, and stores only when the minute has
 * changed. Returns whether it was stored.
 */
bool lastused_touch(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms);
/* The same, whatever the minute was. */
void lastused_put(struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms);

/* The start of the minute in which the key was last used; 0: never seen. Threads: any. */
int64_t lastused_get(const struct lastused *lastused, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN]);

#endif
