/*
 * reader.h - find many keys in a table's pages at once. A lookup is a chain of reads, each of which waits for memory; the
 * chains of several lookups are interleaved, so that they wait together (measured: service/NOTES.md).
 *
 * A hit is not proved here: every read stays within the snapshot's pages, but a damaged page may lead to a wrong entry.
 * Its record's tag, which covers the key, proves it. What is not found here may be there: descent.h decides that.
 *
 * Threads: any, within a read transaction, with a trap set (trap.h): a page of the map may be behind the file's end.
 */
#ifndef LMDB_READER_H
#define LMDB_READER_H

#include <stdbool.h>

#include "service/lmdb/descent.h"
#include "service/lmdb/page.h"

/* One lookup. */
struct reader_search {
	struct page_key key;
	/* Set by reader_find(): the value, in the map; NULL: nothing was found. */
	const uint8_t *value;
	size_t len;
	/* reader_find()'s own; NULL: it has ended */
	const uint8_t *page;
	uint64_t number;
	uint64_t head;      /* of the key: its first eight bytes, as a number */
	uint64_t low, high; /* heads of keys before it and behind it */
	unsigned from, to;  /* the entries among which the key, or the way to it, may be */
	unsigned middle;    /* that of them which is looked at next */
	unsigned guesses;   /* that are left on this page */
};

/* Search for the ${n} keys of ${searches} in ${tree}, whose pages are those of ${map}. */
void
reader_find(const struct descent_map *map, const struct descent_tree *tree, struct reader_search *searches, size_t n);

#endif
