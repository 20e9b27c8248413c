/*
 * page.h - the bytes of LMDB's pages, for reader.c and descent.c. The format is that of LMDB 0.9 (mdb.c, MDB_DATA_VERSION
 * 1), in the machine's own byte order, without MDB_DUPSORT and its kinds of pages. Nothing here checks a bound.
 */
#ifndef LMDB_PAGE_H
#define LMDB_PAGE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PAGE_HEADER 16
#define NODE_HEADER 8
#define FIRST_PAGE 2       /* behind the two meta pages */
#define NO_PAGE UINT64_MAX /* the root of an empty table */
#define DEPTH_MAX 32       /* LMDB's own limit (CURSOR_STACK) */

/* Flags of a page. */
enum { P_BRANCH = 0x01, P_LEAF = 0x02, P_OVERFLOW = 0x04, P_META = 0x08 };
/* Flags of an entry in a leaf: the value is on overflow pages; the value is a table's record. */
enum { F_BIGDATA = 0x01, F_SUBDATA = 0x02 };

struct page_header {
	uint64_t number;
	uint16_t pad;
	uint16_t flags;
	uint16_t lower; /* the end of the pointers */
	uint16_t upper; /* the beginning of the entries */
};

struct page_node {
	uint16_t lo, hi; /* the value's length; in a branch, with flags, the child's page number */
	uint16_t flags;
	uint16_t key_len;
};

_Static_assert(
    sizeof(struct page_header) == PAGE_HEADER && sizeof(struct page_node) == NODE_HEADER, "MDB_page, MDB_node");

/* As a bound, bytes NULL means none. */
struct page_key {
	const uint8_t *bytes;
	size_t len;
};

/* Where the entry ${i} begins in its page. */
static inline size_t
page_pointer(const uint8_t *page, unsigned i)
{
	uint16_t at;

	memcpy(&at, page + PAGE_HEADER + 2 * (size_t)i, sizeof(at));
	return at;
}

static inline struct page_node
page_node(const uint8_t *page, size_t at)
{
	struct page_node node;

	memcpy(&node, page + at, sizeof(node));
	return node;
}

static inline uint64_t
page_child(struct page_node node)
{
	return node.lo | (uint64_t)node.hi << 16 | (uint64_t)node.flags << 32;
}

static inline size_t
page_value_len(struct page_node node)
{
	return node.lo | (size_t)node.hi << 16;
}

/* Keys are ordered as bytes. Most differ in the first eight. */
static inline int
page_compare(struct page_key a, struct page_key b)
{
	uint64_t x, y;
	int order;

	if (a.len >= 8 && b.len >= 8) {
		memcpy(&x, a.bytes, sizeof(x));
		memcpy(&y, b.bytes, sizeof(y));
		if (x != y)
			return be64toh(x) < be64toh(y) ? -1 : 1;
	}
	order = memcmp(a.bytes, b.bytes, a.len < b.len ? a.len : b.len);
	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
