/*
 * descent.h - search LMDB's pages without LMDB, and validate every page on the way. LMDB trusts a
 * page's header: with one flipped bit in the count of entries it does not find a key that is there, and
 * a write into such a page may corrupt memory. A page is valid when
 *
 *	its number is that of its place, and its kind is right for its depth;
 *	its entries fill it without a gap, from where the header says that they begin, to its end, and their
 *	number is the header's: an entry that a wrong count hides would leave bytes over;
 *	each of them has exactly one pointer;
 *	its keys are in order, and between the bounds that its parent gives.
 *
 * The format is that of LMDB 0.9 (mdb.c, MDB_DATA_VERSION 1), in the machine's own byte order, without
 * MDB_DUPSORT and its kinds of pages. A page of a snapshot does not change while a transaction has that
 * snapshot.
 *
 * Limit: an old page of the same table is valid, too. A flipped bit in a page *number* that leads to one
 * is not noticed.
 *
 * Threads: any. Call everything with a trap set (trap.h): a page within the map may be behind the
 * file's end.
 */
#ifndef DESCENT_H
#define DESCENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

/* LMDB refuses longer keys. */
#define DESCENT_KEY_MAX 511

/* How many bytes of a meta page descent_page_bytes() reads. */
#define DESCENT_HEAD 64

struct descent_map {
	const uint8_t *bytes;
	uint64_t n_pages;
	size_t page_bytes;
};

/* A table's record in the table of all tables: LMDB's MDB_db, byte by byte. */
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

/* An entry; the pointers lead into the map. key_len 0: there is no entry. */
struct descent_entry {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t len;
};

/* The neighbours of a key that is absent. */
struct descent_gap {
	struct descent_entry before;
	struct descent_entry behind;
	uint64_t damaged; /* with -FAULT_CORRUPT: the page that is not valid, or to which a wrong number leads */
};

/*
 * descent_page_bytes(head, page_bytes):
 * Read the page size that a meta page claims; ${head} is its first DESCENT_HEAD bytes. LMDB trusts the
 * size and divides by it. Valid is a power of two from 512 to 32768.
 * Returns: 0; -FAULT_NOT_FOUND: not a meta page; -FAULT_CORRUPT: not a valid size, which is in
 *          *${page_bytes} for the error's text.
 */
int descent_page_bytes(const uint8_t *head, uint32_t *page_bytes);

/* What a commit's meta page says. */
struct descent_root {
	uint64_t n_pages;           /* of the file as of this commit */
	struct descent_tree tables; /* the table of all tables */
};

/*
 * descent_root(map, txnid, root):
 * Read the meta page of the commit ${txnid}.
 * Returns: 0; -FAULT_NOT_FOUND: two more commits have been made, and the meta page is a later commit's;
 *          -FAULT_CORRUPT.
 *
 * descent_table(map, root, name, tree):
 * Read the record of the table ${name} from the validated table of all tables.
 * Returns: 0; -FAULT_CORRUPT, also when there is no such table.
 */
int descent_root(const struct descent_map *map, uint64_t txnid, struct descent_root *root);
int descent_table(
    const struct descent_map *map, const struct descent_root *root, const char *name, struct descent_tree *tree);

/*
 * descent_find(map, tree, key, len, gap):
 * Search ${key} in ${tree}. If it is absent, *${gap} gets its neighbours. They may be in the pages next
 * to its own, which are then validated, too.
 * Returns: 0: found; -FAULT_NOT_FOUND: absent; -FAULT_CORRUPT.
 */
int descent_find(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len,
    struct descent_gap *gap);

/*
 * A walk through a table in the order of its keys, over validated pages. descent_walk_new() returns NULL when there is no
 * memory.
 *
 * descent_seek(walk, map, tree, key, len, entry): to the first entry whose key is not below ${key}; len 0: to the first.
 * descent_next(walk, entry):                      to the next one, after a seek that returned 0.
 * Returns: 0 and *${entry}; -FAULT_NOT_FOUND: there is none; -FAULT_CORRUPT.
 *
 * descent_damaged(walk): after -FAULT_CORRUPT, the page that is not valid, or to which a wrong number leads.
 */
struct descent_walk;
struct descent_walk *descent_walk_new(void);
void descent_walk_free(struct descent_walk *walk);
int descent_seek(struct descent_walk *walk, const struct descent_map *map, const struct descent_tree *tree,
    const void *key, size_t len, struct descent_entry *entry);
int descent_next(struct descent_walk *walk, struct descent_entry *entry);
uint64_t descent_damaged(const struct descent_walk *walk);

/*
 * descent_beside(map, tree, key, len):
 * Validate the pages that lead to ${key}, and those to their left and right: when LMDB deletes ${key} it
 * may merge a page with either.
 * Returns: 0; -FAULT_CORRUPT.
 */
int descent_beside(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len);

/*
 * descent_writable(map, txnid):
 * Validate what LMDB trusts when it writes on top of the commit ${txnid}: the meta page, the whole table
 * of all tables, and the whole list of free pages. Free page numbers must be in order and within the
 * file; free and used pages together must be all the pages of the file.
 * Only for the thread that holds LMDB's write lock.
 * Returns: 0; -FAULT_CORRUPT.
 */
int descent_writable(const struct descent_map *map, uint64_t txnid);

#endif
