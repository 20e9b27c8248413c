/*
 * reader.c - interleaved lookups in LMDB's pages (see reader.h). All lookups are on the same level of the tree at a time,
 * and take their steps in turns: each step asks for the memory that the next one needs, and by then it has come.
 * Never calls LMDB, and follows no number from a page before it has checked its bounds.
 */
#include "service/lmdb/reader.h"

#define LINE 64         /* bytes that the processor fetches at a time */
#define POINTER_LINES 4 /* of the header and the pointers, for which a page's beginning is fetched */
#define VALUE_LINES 3
#define GUESSES 3      /* on a page */
#define GUESS_MIN 4    /* entries; fewer are halved */
#define GUESS_SHIFT 16 /* so that a difference times a page's entries fits 64 bits */

static inline void
prefetch(const uint8_t *p, unsigned lines)
{
	for (unsigned i = 0; i < lines; i++)
		__builtin_prefetch(p + (size_t)i * LINE);
}

/* To the page of s->number. */
static void
go_to_page(const struct descent_map *map, struct reader_search *s)
{
	if (s->number < FIRST_PAGE || s->number >= map->n_pages) {
		s->page = NULL;
		return;
	}
	s->page = map->bytes + s->number * map->page_bytes;
	prefetch(s->page, POINTER_LINES);
}

/*
 * Where to look next. Digests are as good as random, so the place of one among its neighbours can be guessed from its value:
 * that takes fewer steps than halving. Keys that are not random are found by halving after the first guesses.
 */
static inline void
choose(const struct descent_map *map, struct reader_search *s)
{
	uint64_t range = (s->high - s->low) >> GUESS_SHIFT;
	unsigned n = s->to - s->from;
	size_t at;

	s->middle = s->from + n / 2;
	if (s->guesses > 0 && n > GUESS_MIN && range > 0) {
		s->guesses--;
		s->middle = s->from + (unsigned)(((s->head - s->low) >> GUESS_SHIFT) * n / (range + 1));
	}
	at = page_pointer(s->page, s->middle);
	if (at < map->page_bytes)
		prefetch(s->page + at, 1);
}

/* The first key of a branch has no meaning. */
static void
open_page(const struct descent_map *map, struct reader_search *s, bool leaf)
{
	struct page_header h;

	memcpy(&h, s->page, sizeof(h));
	if (h.number != s->number || h.flags != (leaf ? P_LEAF : P_BRANCH) || h.lower <= PAGE_HEADER ||
	    h.lower > map->page_bytes) {
		s->page = NULL;
		return;
	}
	s->from = leaf ? 0 : 1;
	s->to = (h.lower - PAGE_HEADER) / 2U;
	s->guesses = GUESSES;
	if (s->from < s->to)
		choose(map, s);
}

/* The entry ${i}, whose header and key are within the page. Returns where it begins; 0: it is not. */
static inline size_t
entry_at(const struct descent_map *map, const uint8_t *page, unsigned i, struct page_node *node)
{
	size_t at = page_pointer(page, i);

	if (at < PAGE_HEADER || at > map->page_bytes - NODE_HEADER)
		return 0;
	*node = page_node(page, at);
	return node->key_len <= map->page_bytes - NODE_HEADER - at ? at : 0;
}

/* A value on overflow pages, of which only the first has a header. NULL: it is not within the file. */
static const uint8_t *
overflow(const struct descent_map *map, const uint8_t *at, size_t len)
{
	struct page_header h;
	const uint8_t *page;
	uint64_t number;

	memcpy(&number, at, sizeof(number));
	if (number < FIRST_PAGE || number >= map->n_pages ||
	    len > (map->n_pages - number) * map->page_bytes - PAGE_HEADER)
		return NULL;
	page = map->bytes + number * map->page_bytes;
	memcpy(&h, page, sizeof(h));
	return h.number == number && h.flags == P_OVERFLOW ? page + PAGE_HEADER : NULL;
}

/* The key was found at ${at}. */
static void
take_value(const struct descent_map *map, struct reader_search *s, size_t at, struct page_node node)
{
	size_t value_at = at + NODE_HEADER + node.key_len, left = map->page_bytes - value_at;

	s->len = page_value_len(node);
	if (node.flags == 0 && s->len <= left)
		s->value = s->page + value_at;
	else if (node.flags == F_BIGDATA && left >= sizeof(uint64_t))
		s->value = overflow(map, s->page + value_at, s->len);
	s->page = NULL;
	if (s->value != NULL)
		prefetch(s->value, VALUE_LINES);
}

/* The first eight bytes as a number that is ordered as they are; a shorter key has zeros behind it. */
static uint64_t
head_of(struct page_key key)
{
	uint64_t head = 0;

	memcpy(&head, key.bytes, key.len < sizeof(head) ? key.len : sizeof(head));
	return be64toh(head);
}

/* The order of the key of an entry. Nearly all keys differ in their heads. */
static inline int
compare(const uint8_t *key, size_t len, struct reader_search *s)
{
	uint64_t head = s->head;

	if (len >= sizeof(head)) {
		memcpy(&head, key, sizeof(head));
		head = be64toh(head);
		if (head < s->head) {
			s->low = head;
			return -1;
		}
		if (head > s->head) {
			s->high = head;
			return 1;
		}
	}
	return page_compare((struct page_key){ key, len }, s->key);
}

/* One step of the search. Afterwards the way through a branch leads to the child before s->from. */
static inline void
step(const struct descent_map *map, struct reader_search *s, bool leaf)
{
	struct page_node node;
	size_t at;
	int order;

	if ((at = entry_at(map, s->page, s->middle, &node)) == 0) {
		s->page = NULL;
		return;
	}
	order = compare(s->page + at + NODE_HEADER, node.key_len, s);
	if (order > 0)
		s->to = s->middle;
	else if (order < 0 || !leaf)
		s->from = s->middle + 1;
	else
		take_value(map, s, at, node);
}

static void
search_page(const struct descent_map *map, struct reader_search *searches, size_t n, bool leaf)
{
	struct reader_search *s, *end = searches + n;
	bool more = true;

	for (s = searches; s < end; s++)
		if (s->page != NULL)
			open_page(map, s, leaf);
	while (more) {
		more = false;
		for (s = searches; s < end; s++) {
			if (s->page == NULL || s->from >= s->to)
				continue;
			step(map, s, leaf);
			if (s->page != NULL && s->from < s->to) {
				choose(map, s);
				more = true;
			}
		}
	}
}

static void
go_to_child(const struct descent_map *map, struct reader_search *s)
{
	struct page_node node;

	if (entry_at(map, s->page, s->from - 1, &node) == 0) {
		s->page = NULL;
		return;
	}
	s->number = page_child(node);
	go_to_page(map, s);
}

void
reader_find(const struct descent_map *map, const struct descent_tree *tree, struct reader_search *searches, size_t n)
{
	struct reader_search *s, *end = searches + n;
	unsigned depth = tree->depth <= DEPTH_MAX ? tree->depth : 0;

	for (s = searches; s < end; s++) {
		s->value = NULL;
		s->number = tree->root;
		s->page = NULL;
		s->head = head_of(s->key);
		s->low = 0;
		s->high = UINT64_MAX;
		if (depth > 0)
			go_to_page(map, s);
	}
	for (unsigned level = 0; level < depth; level++) {
		search_page(map, searches, n, level + 1 == depth);
		if (level + 1 == depth)
			break;
		for (s = searches; s < end; s++)
			if (s->page != NULL)
				go_to_child(map, s);
	}
}
