/*
 * descent.h - LMDB's pages, read by ourselves. LMDB believes a page's header: one flipped bit in its count of entries,
 * and an entry that is there is not found; and a write into such a page may harm memory. Here each page on the way to a
 * key is proved before anything that it says is believed:
 *
 *	its number is that of its place, and its kind is right for its depth;
 *	its entries fill it without a gap, from where they are said to begin to its end, and add up to its count; so
 *	none can be hidden, as its bytes would be left over;
 *	its pointers name each of them once;
 *	its keys are in order, and within what its parent says of it.
 *
 * The form is that of LMDB 0.9 (mdb.c, MDB_DATA_VERSION 1), in the machine's own byte order, without MDB_DUPSORT and
 * its kinds of pages. A page of a snapshot does not change while a transaction has that snapshot.
 *
 * What this cannot tell is a former page of the same table from the present one: a flipped bit in a page *number* that
 * leads to just that.
 *
 * Threads: any. Everything is to be called with a trap set (trap.h): what is within the map may be behind the file's
 * end.
 */
#ifndef DESCENT_H
#define DESCENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

/* LMDB takes none longer. */
#define DESCENT_KEY_MAX 511

/* At least so many bytes of a meta page are needed to know it. */
#define DESCENT_HEAD 64

struct descent_map {
	const uint8_t *bytes;
	uint64_t n_pages;
	size_t page_bytes;
};

/* What the table of all tables has for each: LMDB's MDB_db, byte by byte. */
struct descent_tree {
	uint32_t pad;
	uint16_t flags;
	uint16_t depth;
	uint64_t branch_pages;
	uint64_t leaf_pages;
	uint64_t overflow_pages;
	uint64_t entries;
	uint64_t root;
};

/* In the map. key_len 0: there is none. */
struct descent_entry {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t len;
};

struct descent_gap {
	struct descent_entry before;
	struct descent_entry behind;
};

/*
 * descent_page_bytes(head, page_bytes):
 * Which size of pages does the meta page claim that begins with the ${DESCENT_HEAD} bytes ${head}? LMDB believes it, divides by
 * it and reads there; for us it is a power of two that LMDB itself may have chosen.
 * Returns: 0; -FAULT_NOT_FOUND: it is no meta page; -FAULT_CORRUPT: it is no such size, which *${page_bytes} gets all the
 * same.
 */
int descent_page_bytes(const uint8_t *head, uint32_t *page_bytes);

/*
 * descent_table(map, txnid, name, tree):
 * The record of the table ${name} as of the commit ${txnid}, by way of the meta page and the table of all tables, which
 * is proved. Returns: 0; -FAULT_NOT_FOUND: there have been two more commits since, and the meta page is of another one;
 * -FAULT_CORRUPT: also when there is no such table.
 */
int descent_table(const struct descent_map *map, uint64_t txnid, const char *name, struct descent_tree *tree);

/*
 * descent_find(map, tree, key, len, gap):
 * Go down to ${key} in ${tree}. When it is not there *${gap} gets its neighbours, which may be in pages beside; those
 * are proved, too.
 * Returns: 0: it is there; -FAULT_NOT_FOUND: it is not; -FAULT_CORRUPT.
 */
int descent_find(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len,
    struct descent_gap *gap);

/*
 * descent_beside(map, tree, key, len):
 * The same for the pages to both sides of those that lead to ${key}: when it is deleted LMDB may merge with them.
 * Returns: 0; -FAULT_CORRUPT.
 */
int descent_beside(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len);

/*
 * descent_writable(map, txnid):
 * Prove what LMDB believes when it writes on top of the commit ${txnid}, beside the way to each key: the meta page, all
 * of the table of all tables, and all of the list of free pages, which are in the file, in order, and together with
 * those in use as many as the file has. Not to be called while anybody else may commit.
 * Returns: 0; -FAULT_CORRUPT.
 */
int descent_writable(const struct descent_map *map, uint64_t txnid);

#endif
