/*
 * descent.c - search and validate LMDB's pages (see descent.h). Never writes, never calls LMDB, and never
 * follows a number from a page before it has checked its bounds.
 */
#include "service/lmdb/descent.h"

#include <stdlib.h>
#include <string.h>

#include "service/lmdb/page.h"

_Static_assert(sizeof(size_t) == 8, "LMDB's page numbers have the size of size_t; only 8 bytes are tested");
_Static_assert(sizeof(struct descent_tree) == 48, "MDB_db");

#define PAGE_BYTES_MIN 512
#define PAGE_BYTES_MAX 32768 /* LMDB's own limit, also where the system's pages are larger */
#define PAGE_NUMBER_LEN 8

#define META_MAGIC 0xBEEFC0DEU
#define META_VERSION 1
#define META_TRIES 16

struct meta {
	uint32_t magic;
	uint32_t version;
	uint64_t address;
	uint64_t map_bytes;
	struct descent_tree free_pages; /* its pad is the size of a page */
	struct descent_tree tables;
	uint64_t last_page;
	uint64_t txnid;
};

/* A validated page, and the entry by which the search left it. */
struct step {
	const uint8_t *page;
	unsigned n;
	unsigned i;
	struct page_key from, to; /* ${from} <= its keys < ${to} */
};

/* The pages from the root to a leaf. */
struct way {
	const struct descent_map *map;
	unsigned depth;
	bool integers;        /* keys are 8-byte numbers in the machine's order: the list of free pages */
	uint16_t leaf_flags;  /* that an entry in a leaf may have */
	uint64_t value_pages; /* overflow pages so far, by their own headers */
	uint64_t damaged;     /* the page that was not valid */
	struct step steps[DEPTH_MAX];
};

/* ---- one page ---- */

static struct page_key
key_at(const uint8_t *page, unsigned i)
{
	size_t at = page_pointer(page, i);

	return (struct page_key){ page + at + NODE_HEADER, page_node(page, at).key_len };
}

static uint64_t
child_at(const uint8_t *page, unsigned i)
{
	return page_child(page_node(page, page_pointer(page, i)));
}

static int
compare(const struct way *w, struct page_key a, struct page_key b)
{
	uint64_t x, y;

	if (!w->integers || a.len != 8 || b.len != 8)
		return page_compare(a, b);
	memcpy(&x, a.bytes, sizeof(x));
	memcpy(&y, b.bytes, sizeof(y));
	return (x > y) - (x < y);
}

/* How many bytes an entry takes in its page; 0 for an impossible entry. */
static size_t
node_bytes(const struct way *w, const struct page_node *node, bool leaf)
{
	size_t len = NODE_HEADER + (size_t)node->key_len;

	if (node->key_len > DESCENT_KEY_MAX || (w->integers && node->key_len != 8 && (leaf || node->key_len != 0)))
		return 0;
	if (leaf) {
		if (node->key_len == 0 || (node->flags & ~w->leaf_flags) != 0)
			return 0;
		len += (node->flags & F_BIGDATA) != 0 ? PAGE_NUMBER_LEN : page_value_len(*node);
	}
	return (len + 1) & ~(size_t)1;
}

/* One bit for each even offset in a page: has it been toggled an odd number of times? */
struct edges {
	uint64_t odd[PAGE_BYTES_MAX / 128 + 1];
};

static void
toggle(struct edges *edges, size_t at)
{
	edges->odd[at / 128] ^= UINT64_C(1) << at / 2 % 64;
}

/*
 * Do the ${n} entries fill the page from ${upper} to its end, each with one pointer, and are their keys
 * in order? The beginning and the end of every entry are toggled, and then the two ends of the region:
 * if the entries fill it without gap or overlap, every offset was toggled an even number of times. No
 * sort by offset is needed, and the reads do not depend on each other. The first key of a branch has no
 * meaning and is not compared.
 */
static bool
fills_in_order(const struct way *w, const uint8_t *page, bool leaf, unsigned n, size_t upper)
{
	size_t end = w->map->page_bytes, at, bytes;
	struct page_key last = { 0 }, key;
	struct edges edges;
	struct page_node node;
	uint64_t odd = 0;

	memset(edges.odd, 0, (end / 128 + 1) * sizeof(edges.odd[0]));
	for (unsigned i = 0; i < n; i++, last = key) {
		at = page_pointer(page, i);
		if (at % 2 != 0 || at < upper || at > end - NODE_HEADER)
			return false;
		node = page_node(page, at);
		if ((bytes = node_bytes(w, &node, leaf)) == 0 || bytes > end - at)
			return false;
		toggle(&edges, at);
		toggle(&edges, at + bytes);
		key = (struct page_key){ page + at + NODE_HEADER, node.key_len };
		if ((i > 0 && key.len == 0) || (i > (leaf ? 0U : 1U) && compare(w, last, key) >= 0))
			return false;
	}
	toggle(&edges, upper);
	toggle(&edges, end);
	for (size_t i = 0; i <= end / 128; i++)
		odd |= edges.odd[i];
	return odd == 0;
}

static bool
in_bounds(const struct way *w, const struct step *s, bool leaf)
{
	unsigned first = leaf ? 0 : 1;

	if (s->n <= first)
		return true;
	return (s->from.bytes == NULL || compare(w, key_at(s->page, first), s->from) >= 0) &&
	    (s->to.bytes == NULL || compare(w, key_at(s->page, s->n - 1), s->to) < 0);
}

static const uint8_t *
page_at(const struct descent_map *map, uint64_t number, uint16_t flags, struct page_header *header)
{
	const uint8_t *page;

	if (number >= map->n_pages)
		return NULL;
	page = map->bytes + number * map->page_bytes;
	memcpy(header, page, sizeof(*header));
	return header->number == number && header->flags == flags ? page : NULL;
}

static bool
is_valid(const struct way *w, struct step *s, uint64_t number, bool leaf)
{
	struct page_header h;

	if (number < FIRST_PAGE || (s->page = page_at(w->map, number, leaf ? P_LEAF : P_BRANCH, &h)) == NULL)
		return false;
	if (h.lower <= PAGE_HEADER || h.lower % 2 != 0 || h.upper % 2 != 0 || h.lower > h.upper)
		return false;
	s->n = (h.lower - PAGE_HEADER) / 2U;
	return fills_in_order(w, s->page, leaf, s->n, h.upper) && in_bounds(w, s, leaf);
}

/* Validate page ${number}, whose bounds are in ${s}. */
static bool
enter(struct way *w, struct step *s, uint64_t number, bool leaf)
{
	if (is_valid(w, s, number, leaf))
		return true;
	w->damaged = number;
	return false;
}

/* ---- a way from the root to a leaf ---- */

/*
 * The first entry from ${i} on whose key is not below ${key}. In a branch the child to descend to is that
 * entry if its key is equal, else the entry before.
 */
static unsigned
search(const struct way *w, const struct step *s, unsigned i, struct page_key key, bool *equal)
{
	unsigned end = s->n, middle;
	int order;

	for (*equal = false; i < end && !*equal;) {
		middle = i + (end - i) / 2;
		order = compare(w, key_at(s->page, middle), key);
		*equal = order == 0;
		if (order < 0)
			i = middle + 1;
		else
			end = middle;
	}
	return end;
}

/* Give ${child} the bounds of the child at entry ${i}. */
static void
narrow(const struct step *s, unsigned i, struct step *child)
{
	child->from = i > 0 ? key_at(s->page, i) : s->from;
	child->to = i + 1 < s->n ? key_at(s->page, i + 1) : s->to;
}

enum toward { TO_KEY, TO_FIRST, TO_LAST };

/*
 * From page ${number} on ${level}, whose bounds are set, down to a leaf. With TO_KEY, *${equal} says
 * whether the leaf has ${key}.
 */
static bool
go_down(struct way *w, unsigned level, uint64_t number, enum toward toward, struct page_key key, bool *equal)
{
	struct step *s;
	bool leaf;

	for (;; level++) {
		s = &w->steps[level];
		leaf = level + 1 == w->depth;
		if (!enter(w, s, number, leaf))
			return false;
		if (toward == TO_KEY) {
			s->i = search(w, s, leaf ? 0 : 1, key, equal);
			if (!leaf && !*equal)
				s->i--;
		} else {
			s->i = toward == TO_FIRST ? 0 : s->n - 1;
		}
		if (leaf)
			return true;
		narrow(s, s->i, s + 1);
		number = child_at(s->page, s->i);
	}
}

/*
 * To the next leaf on ${side} (1: right, -1: left), at its entry that is nearest. *${any}: whether there
 * is such a leaf.
 */
static bool
go_aside(struct way *w, int side, bool *any)
{
	struct step *s;
	bool equal;

	*any = false;
	for (unsigned level = w->depth - 1; level-- > 0;) {
		s = &w->steps[level];
		if (side > 0 ? s->i + 1 >= s->n : s->i == 0)
			continue;
		*any = true;
		s->i += (unsigned)side;
		narrow(s, s->i, s + 1);
		return go_down(w, level + 1, child_at(s->page, s->i), side > 0 ? TO_FIRST : TO_LAST,
		    (struct page_key){ 0 }, &equal);
	}
	return true;
}

/* Returns: 1; 0: the tree is empty; -1: its record is damaged. */
static int
begin(struct way *w, const struct descent_map *map, const struct descent_tree *tree, uint16_t leaf_flags)
{
	w->map = map;
	w->integers = false;
	w->leaf_flags = leaf_flags;
	w->depth = tree->depth;
	w->value_pages = 0;
	w->damaged = tree->root;
	w->steps[0].from = w->steps[0].to = (struct page_key){ 0 };
	if (tree->root == NO_PAGE)
		return tree->depth == 0 && tree->entries == 0 && tree->leaf_pages == 0 && tree->branch_pages == 0 ? 0 :
														    -1;
	return tree->depth > 0 && tree->depth <= DEPTH_MAX ? 1 : -1;
}

/* Check the counts in the record as far as the root shows them: in a tree of one or two levels. */
static bool
counted(const struct way *w, const struct descent_tree *tree)
{
	if (w->depth == 1)
		return tree->entries == w->steps[0].n;
	return w->depth != 2 || tree->leaf_pages == w->steps[0].n;
}

/* ---- entries ---- */

/* A value on overflow pages, of which only the first has a header. */
static const uint8_t *
big_value(struct way *w, const uint8_t *at, size_t len)
{
	const uint8_t *page;
	struct page_header h;
	uint64_t number, pages;

	memcpy(&number, at, sizeof(number));
	if (number < FIRST_PAGE || (page = page_at(w->map, number, P_OVERFLOW, &h)) == NULL)
		return NULL;
	/* The count is where other pages have lower and upper. LMDB keeps more pages than needed when a
	 * value becomes shorter. */
	pages = h.lower | (uint64_t)h.upper << 16;
	if (pages > w->map->n_pages - number || pages < (PAGE_HEADER - 1 + len) / w->map->page_bytes + 1)
		return NULL;
	w->value_pages += pages;
	return page + PAGE_HEADER;
}

static bool
entry_at(struct way *w, const struct step *s, unsigned i, struct descent_entry *entry)
{
	size_t at = page_pointer(s->page, i);
	struct page_node node = page_node(s->page, at);

	entry->key = s->page + at + NODE_HEADER;
	entry->key_len = node.key_len;
	entry->value = entry->key + node.key_len;
	entry->len = page_value_len(node);
	if ((node.flags & F_BIGDATA) != 0)
		entry->value = big_value(w, entry->value, entry->len);
	return entry->value != NULL;
}

/* Validate the found entry's overflow pages, too: LMDB frees them when it replaces the value. */
static bool
own_value(struct way *w)
{
	const struct step *leaf = &w->steps[w->depth - 1];
	struct descent_entry entry;

	return entry_at(w, leaf, leaf->i, &entry);
}

/*
 * Find the two neighbours; the last step is at the first entry behind the gap. At either end of the page
 * one neighbour is in the page beside.
 */
static bool
look_around(struct way *w, struct descent_gap *gap)
{
	struct step *leaf = &w->steps[w->depth - 1];
	bool any;

	if (leaf->i > 0 && !entry_at(w, leaf, leaf->i - 1, &gap->before))
		return false;
	if (leaf->i < leaf->n && !entry_at(w, leaf, leaf->i, &gap->behind))
		return false;
	if (leaf->i == 0)
		return go_aside(w, -1, &any) && (!any || entry_at(w, leaf, leaf->i, &gap->before));
	if (leaf->i == leaf->n)
		return go_aside(w, 1, &any) && (!any || entry_at(w, leaf, leaf->i, &gap->behind));
	return true;
}

int
descent_page_bytes(const uint8_t *head, uint32_t *page_bytes)
{
	struct page_header h;
	uint32_t magic, n;

	_Static_assert(PAGE_HEADER + offsetof(struct meta, free_pages) + sizeof(n) <= DESCENT_HEAD, "DESCENT_HEAD");
	memcpy(&h, head, sizeof(h));
	memcpy(&magic, head + PAGE_HEADER, sizeof(magic));
	memcpy(&n, head + PAGE_HEADER + offsetof(struct meta, free_pages), sizeof(n));
	if ((h.flags & P_META) == 0 || magic != META_MAGIC)
		return -FAULT_NOT_FOUND;
	*page_bytes = n;
	return n >= PAGE_BYTES_MIN && n <= PAGE_BYTES_MAX && (n & (n - 1)) == 0 ? 0 : -FAULT_CORRUPT;
}

/*
 * Commits alternate between the two meta pages: the page of ${txnid} holds that commit or one that is an even number of
 * commits later. LMDB writes it with one pwrite(), of which a reader may see a part: it is copied until two copies are the
 * same.
 */
static int
read_meta(const struct descent_map *map, uint64_t txnid, struct meta *meta)
{
	const uint8_t *page;
	struct page_header h;
	struct meta again;

	if ((page = page_at(map, txnid % 2, P_META, &h)) == NULL)
		return -FAULT_CORRUPT;
	memcpy(meta, page + PAGE_HEADER, sizeof(*meta));
	for (unsigned tries = 0; tries < META_TRIES; tries++, *meta = again) {
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		memcpy(&again, page + PAGE_HEADER, sizeof(again));
		if (memcmp(meta, &again, sizeof(again)) == 0)
			break;
	}
	if (meta->magic != META_MAGIC || meta->version != META_VERSION || meta->txnid < txnid ||
	    meta->free_pages.pad != map->page_bytes || meta->last_page >= map->n_pages)
		return -FAULT_CORRUPT;
	return meta->txnid == txnid ? 0 : -FAULT_NOT_FOUND;
}

int
descent_root(const struct descent_map *map, uint64_t txnid, struct descent_root *root)
{
	struct meta meta;
	int fault;

	if ((fault = read_meta(map, txnid, &meta)) == 0)
		*root = (struct descent_root){ .n_pages = meta.last_page + 1, .tables = meta.tables };
	return fault;
}

int
descent_table(
    const struct descent_map *map, const struct descent_root *root, const char *name, struct descent_tree *tree)
{
	const struct page_key key = { (const uint8_t *)name, strlen(name) };
	struct descent_entry entry;
	const struct step *leaf;
	struct way w;
	bool equal;

	if (begin(&w, map, &root->tables, F_SUBDATA) <= 0 || !go_down(&w, 0, root->tables.root, TO_KEY, key, &equal) ||
	    !counted(&w, &root->tables) || !equal)
		return -FAULT_CORRUPT;
	leaf = &w.steps[w.depth - 1];
	if (!entry_at(&w, leaf, leaf->i, &entry) || entry.len != sizeof(*tree))
		return -FAULT_CORRUPT;
	memcpy(tree, entry.value, sizeof(*tree));
	return 0;
}

int
descent_find(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len,
    struct descent_gap *gap)
{
	struct way w;
	bool equal;
	int any;

	memset(gap, 0, sizeof(*gap));
	if ((any = begin(&w, map, tree, F_BIGDATA)) <= 0)
		return any == 0 ? -FAULT_NOT_FOUND : -FAULT_CORRUPT;
	if (!go_down(&w, 0, tree->root, TO_KEY, (struct page_key){ key, len }, &equal) || !counted(&w, tree) ||
	    !(equal ? own_value(&w) : look_around(&w, gap))) {
		gap->damaged = w.damaged;
		return -FAULT_CORRUPT;
	}
	return equal ? 0 : -FAULT_NOT_FOUND;
}

int
descent_beside(const struct descent_map *map, const struct descent_tree *tree, const void *key, size_t len)
{
	struct step beside, *s;
	struct way w;
	bool equal;
	int any;

	if ((any = begin(&w, map, tree, F_BIGDATA)) <= 0)
		return any == 0 ? 0 : -FAULT_CORRUPT;
	if (!go_down(&w, 0, tree->root, TO_KEY, (struct page_key){ key, len }, &equal) || !counted(&w, tree) ||
	    (equal && !own_value(&w)))
		return -FAULT_CORRUPT;
	for (unsigned level = 0; level + 1 < w.depth; level++) {
		s = &w.steps[level];
		for (unsigned i = s->i > 0 ? s->i - 1 : 0; i <= s->i + 1 && i < s->n; i++) {
			narrow(s, i, &beside);
			if (!enter(&w, &beside, child_at(s->page, i), level + 2 == w.depth))
				return -FAULT_CORRUPT;
		}
	}
	return 0;
}

/* ---- a walk ---- */

struct descent_walk {
	struct descent_map map; /* a copy: the transaction's changes with its snapshot */
	struct way way;
};

struct descent_walk *
descent_walk_new(void)
{
	return malloc(sizeof(struct descent_walk));
}

void
descent_walk_free(struct descent_walk *walk)
{
	free(walk);
}

/* The entry at which the walk is, which may be behind the last one of its leaf. */
static int
take_entry(struct way *w, struct descent_entry *entry)
{
	struct step *leaf = &w->steps[w->depth - 1];
	bool any = true;

	if (leaf->i == leaf->n && !go_aside(w, 1, &any))
		return -FAULT_CORRUPT;
	if (!any)
		return -FAULT_NOT_FOUND;
	return entry_at(w, leaf, leaf->i, entry) ? 0 : -FAULT_CORRUPT;
}

int
descent_seek(struct descent_walk *walk, const struct descent_map *map, const struct descent_tree *tree, const void *key,
    size_t len, struct descent_entry *entry)
{
	struct way *w = &walk->way;
	bool equal;
	int any;

	walk->map = *map;
	if ((any = begin(w, &walk->map, tree, F_BIGDATA)) <= 0)
		return any == 0 ? -FAULT_NOT_FOUND : -FAULT_CORRUPT;
	if (!go_down(w, 0, tree->root, len > 0 ? TO_KEY : TO_FIRST, (struct page_key){ key, len }, &equal) ||
	    !counted(w, tree))
		return -FAULT_CORRUPT;
	return take_entry(w, entry);
}

int
descent_next(struct descent_walk *walk, struct descent_entry *entry)
{
	struct way *w = &walk->way;

	/* Another next after the end stays at the end. */
	if (w->steps[w->depth - 1].i < w->steps[w->depth - 1].n)
		w->steps[w->depth - 1].i++;
	return take_entry(w, entry);
}

uint64_t
descent_damaged(const struct descent_walk *walk)
{
	return walk->way.damaged;
}

/* ---- before a write ---- */

struct sum {
	uint64_t pages; /* used and free ones so far */
	uint64_t end;   /* every page number is below this */
};

typedef bool (*visit_cb)(struct sum *sum, const struct descent_entry *entry);

static void
add_tree(struct sum *sum, const struct descent_tree *tree)
{
	sum->pages += tree->branch_pages + tree->leaf_pages + tree->overflow_pages;
}

/* Visit every entry of ${tree}, for which begin() was called with ${w}. */
static bool
visit_all(struct way *w, const struct descent_tree *tree, visit_cb visit, struct sum *sum)
{
	struct step *leaf = &w->steps[w->depth - 1];
	struct descent_entry entry;
	uint64_t n = 0, leaves = 0;
	bool any = true, equal;

	if (!go_down(w, 0, tree->root, TO_FIRST, (struct page_key){ 0 }, &equal))
		return false;
	for (; any; leaves++) {
		for (unsigned i = 0; i < leaf->n; i++, n++)
			if (!entry_at(w, leaf, i, &entry) || !visit(sum, &entry))
				return false;
		if (!go_aside(w, 1, &any))
			return false;
	}
	add_tree(sum, tree);
	return n == tree->entries && leaves == tree->leaf_pages && w->value_pages == tree->overflow_pages;
}

static bool
visit_table(struct sum *sum, const struct descent_entry *entry)
{
	struct descent_tree tree;

	if (entry->len != sizeof(tree))
		return false;
	memcpy(&tree, entry->value, sizeof(tree));
	add_tree(sum, &tree);
	return tree.root == NO_PAGE || (tree.root >= FIRST_PAGE && tree.root < sum->end);
}

/*
 * The pages that one commit freed: their number, then as many page numbers, the highest first. The value
 * may have unused room behind them.
 */
static bool
visit_free(struct sum *sum, const struct descent_entry *entry)
{
	uint64_t n, number, last = sum->end;

	if (entry->len < sizeof(n) || entry->len % sizeof(n) != 0)
		return false;
	memcpy(&n, entry->value, sizeof(n));
	if (n > entry->len / sizeof(n) - 1)
		return false;
	for (uint64_t i = 1; i <= n; i++, last = number) {
		memcpy(&number, entry->value + i * sizeof(number), sizeof(number));
		if (number >= last || number < FIRST_PAGE)
			return false;
	}
	sum->pages += n;
	return true;
}

int
descent_writable(const struct descent_map *map, uint64_t txnid)
{
	struct sum sum = { .pages = FIRST_PAGE };
	struct meta meta;
	struct way w;
	int any;

	if (read_meta(map, txnid, &meta) != 0)
		return -FAULT_CORRUPT;
	sum.end = meta.last_page + 1;
	if ((any = begin(&w, map, &meta.tables, F_SUBDATA)) < 0 ||
	    (any > 0 && !visit_all(&w, &meta.tables, visit_table, &sum)))
		return -FAULT_CORRUPT;
	if ((any = begin(&w, map, &meta.free_pages, F_BIGDATA)) < 0)
		return -FAULT_CORRUPT;
	w.integers = true;
	if (any > 0 && !visit_all(&w, &meta.free_pages, visit_free, &sum))
		return -FAULT_CORRUPT;
	return sum.pages == sum.end ? 0 : -FAULT_CORRUPT;
}
