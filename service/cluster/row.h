/*
 * row.h - a node's row in etcd, as bytes: what its process says of itself. It carries a keyed BLAKE2b under a subkey of the
 * pepper, over the cluster's id, the row's key and its bytes, so that nobody who can write to etcd can acknowledge a
 * change in a node's name.
 *
 *	version 1 (1), applied 8, its tag 16, max_staleness_ms 4, wall_ms 8, boot 16, pepper_lines 1, entry's version 1,
 *	length of the address 1, the address, MAC 16. Integers are big-endian.
 */
#ifndef ROW_H
#define ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROW_TAG_LEN 16
#define ROW_BOOT_LEN 16
#define ROW_KEY_LEN 32
#define ROW_ADDRESS_MAX 127
#define ROW_MAC_LEN 16
#define ROW_FIXED_LEN (1 + 8 + ROW_TAG_LEN + 4 + 8 + ROW_BOOT_LEN + 1 + 1 + 1)
#define ROW_MAX (ROW_FIXED_LEN + ROW_ADDRESS_MAX + ROW_MAC_LEN)

struct row {
	uint64_t applied;
	uint8_t tag[ROW_TAG_LEN]; /* of that entry */
	uint32_t max_staleness_ms;
	int64_t wall_ms; /* when it was written */
	uint8_t boot[ROW_BOOT_LEN];
	uint8_t pepper_lines;
	uint8_t entry_version; /* the newest form of an entry that it can read */
	char address[ROW_ADDRESS_MAX + 1];
};

/* Returns the length, at most ROW_MAX. ${cluster} has 16 bytes; ${name}: the row's key in etcd, without the prefix. */
size_t row_put(const uint8_t key[ROW_KEY_LEN], const uint8_t cluster[16], const char *name, const struct row *row,
    uint8_t bytes[ROW_MAX]);
/* Returns: 0; -1 when it is not a row, or its MAC does not fit. */
int row_get(const uint8_t key[ROW_KEY_LEN], const uint8_t cluster[16], const char *name, const uint8_t *bytes, size_t len,
    struct row *row);

#endif
