/*
 * etcd.c - the store and its transactions (see etcd.h), as etcdserverpb has them.
 */
#include "tests/cluster/etcd.h"

#include <stdlib.h>
#include <string.h>

#include "tests/cluster/events.h"

/* ---- bytes ---- */

struct blob *
blob_new(const void *bytes, size_t len)
{
	struct blob *b = sim_realloc(NULL, sizeof(*b) + len);

	b->refs = 1;
	b->len = (uint32_t)len;
	memcpy(b->bytes, bytes, len);
	return b;
}

struct blob *
blob_ref(struct blob *b)
{
	if (b != NULL)
		b->refs++;
	return b;
}

void
blob_unref(struct blob *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}

static const uint8_t *
keep(struct request *r, const uint8_t *bytes, size_t len)
{
	if (bytes == NULL)
		return NULL;
	r->values[r->n_values] = blob_new(bytes, len);
	return r->values[r->n_values++]->bytes;
}

void
request_init(struct request *r, const struct fleet_txn *t)
{
	r->id = t->id;
	r->n_compares = t->n_compares;
	r->n_success = t->n_success;
	r->n_failure = t->n_failure;
	r->n_values = 0;
	for (unsigned i = 0; i < t->n_compares; i++) {
		r->compares[i] = t->compares[i];
		r->compares[i].value = keep(r, t->compares[i].value, t->compares[i].len);
	}
	for (unsigned i = 0; i < t->n_success; i++) {
		r->success[i] = t->success[i];
		r->success[i].value = keep(r, t->success[i].value, t->success[i].len);
	}
	for (unsigned i = 0; i < t->n_failure; i++) {
		r->failure[i] = t->failure[i];
		r->failure[i].value = keep(r, t->failure[i].value, t->failure[i].len);
	}
}

void
request_fini(struct request *r)
{
	for (unsigned i = 0; i < r->n_values; i++)
		blob_unref(r->values[i]);
}

void
reply_fini(struct reply *r)
{
	for (size_t i = 0; i < r->n; i++) {
		blob_unref(r->items[i].key);
		blob_unref(r->items[i].value);
	}
	free(r->items);
}

/* ---- a state ---- */

static int
compare_key(const struct blob *key, const char *text, size_t len)
{
	int c = memcmp(key->bytes, text, key->len < len ? key->len : len);

	return c != 0 ? c : key->len < len ? -1 : key->len > len;
}

/* The place of ${key}, or of the first key after it. */
static size_t
place(const struct state *s, const char *key, size_t len)
{
	size_t low = 0, high = s->n, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (compare_key(s->items[mid].key, key, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct item *
find(const struct state *s, const char *key, size_t len)
{
	size_t i = place(s, key, len);

	return i < s->n && compare_key(s->items[i].key, key, len) == 0 ? &s->items[i] : NULL;
}

static void
put(struct state *s, struct blob *key, struct blob *value, int64_t revision)
{
	struct item *item = find(s, (const char *)key->bytes, key->len);
	size_t i;

	if (item != NULL) {
		blob_unref(item->value);
		item->value = blob_ref(value);
		item->version++;
		return;
	}
	if (s->n == s->room) {
		s->room = s->room * 2 + 64;
		s->items = sim_realloc(s->items, s->room * sizeof(*s->items));
	}
	i = place(s, (const char *)key->bytes, key->len);
	memmove(&s->items[i + 1], &s->items[i], (s->n++ - i) * sizeof(*s->items));
	s->items[i] = (struct item){
		.key = blob_ref(key), .value = blob_ref(value), .create_revision = revision, .version = 1
	};
}

static void
take_out(struct state *s, size_t i)
{
	blob_unref(s->items[i].key);
	blob_unref(s->items[i].value);
	memmove(&s->items[i], &s->items[i + 1], (--s->n - i) * sizeof(*s->items));
}

static void
state_fini(struct state *s)
{
	while (s->n > 0)
		take_out(s, s->n - 1);
	free(s->items);
}

/* ---- the member that has fallen behind ---- */

static void
note(struct etcd *e, struct blob *key, struct blob *value, int64_t revision)
{
	if (e->n_missed == e->room) {
		e->room = e->room * 2 + 64;
		e->missed = sim_realloc(e->missed, e->room * sizeof(*e->missed));
	}
	e->missed[e->n_missed++] =
	    (struct missed){ .key = blob_ref(key), .value = blob_ref(value), .revision = revision };
}

void
etcd_catch_up(struct etcd *e)
{
	for (size_t i = 0; i < e->n_missed; i++) {
		struct missed *m = &e->missed[i];

		if (m->value != NULL)
			put(&e->behind, m->key, m->value, m->revision);
		else
			take_out(&e->behind, place(&e->behind, (const char *)m->key->bytes, m->key->len));
		blob_unref(m->key);
		blob_unref(m->value);
	}
	e->n_missed = 0;
	e->behind.revision = e->now.revision;
}

/* ---- transactions ---- */

static bool
holds(const struct state *s, const struct fleet_compare *c)
{
	const struct item *item = find(s, c->key, strlen(c->key));

	switch (c->target) {
	case FLEET_CREATE_REVISION:
		return (item != NULL ? item->create_revision : 0) == c->number;
	case FLEET_VERSION:
		return (item != NULL ? item->version : 0) == c->number;
	default:
		return item != NULL && item->value->len == c->len && memcmp(item->value->bytes, c->value, c->len) == 0;
	}
}

static bool
is_of(const struct item *item, const struct fleet_action *a)
{
	if (a->end[0] == '\0')
		return compare_key(item->key, a->key, strlen(a->key)) == 0;
	return compare_key(item->key, a->end, strlen(a->end)) < 0;
}

static void
get(const struct state *s, const struct fleet_action *a, struct reply *reply)
{
	size_t n = 0;

	for (size_t i = place(s, a->key, strlen(a->key)); i < s->n && is_of(&s->items[i], a); i++) {
		if (a->limit != 0 && n++ == a->limit) {
			reply->more = true;
			return;
		}
		if (reply->n == reply->room) {
			reply->room = reply->room * 2 + 8;
			reply->items = sim_realloc(reply->items, reply->room * sizeof(*reply->items));
		}
		reply->items[reply->n] = s->items[i];
		blob_ref(s->items[i].key);
		blob_ref(s->items[i].value);
		reply->n++;
	}
}

static bool
delete(struct etcd *e, const struct fleet_action *a, int64_t revision)
{
	size_t i = place(&e->now, a->key, strlen(a->key));
	bool changed = false;

	while (i < e->now.n && is_of(&e->now.items[i], a)) {
		note(e, e->now.items[i].key, NULL, revision);
		take_out(&e->now, i);
		changed = true;
	}
	return changed;
}

static bool
has(const struct request *r, enum fleet_kind kind)
{
	for (unsigned i = 0; i < r->n_success; i++)
		if (r->success[i].kind == kind)
			return true;
	for (unsigned i = 0; i < r->n_failure; i++)
		if (r->failure[i].kind == kind)
			return true;
	return false;
}

static bool
all_hold(const struct state *s, const struct request *r)
{
	for (unsigned i = 0; i < r->n_compares; i++)
		if (!holds(s, &r->compares[i]))
			return false;
	return true;
}

static bool
act(struct etcd *e, const struct fleet_action *a, struct state *s, struct reply *reply)
{
	struct blob *key, *value;

	if (a->kind == FLEET_GET) {
		get(s, a, reply);
		return false;
	}
	if (a->kind == FLEET_DELETE)
		return delete(e, a, e->now.revision + 1);
	key = blob_new(a->key, strlen(a->key));
	value = blob_new(a->value, a->len);
	put(&e->now, key, value, e->now.revision + 1);
	note(e, key, value, e->now.revision + 1);
	blob_unref(key);
	blob_unref(value);
	return true;
}

bool
etcd_transact(struct etcd *e, const struct request *r, bool from_behind, struct reply *reply)
{
	bool reads = !has(r, FLEET_PUT) && !has(r, FLEET_DELETE), changed = false;
	struct state *s = reads && from_behind ? &e->behind : &e->now;
	const struct fleet_action *actions;
	unsigned n;

	memset(reply, 0, sizeof(*reply));
	if (e->full && has(r, FLEET_PUT)) {
		reply->outcome = FLEET_NO_SPACE;
		return false;
	}
	reply->outcome = FLEET_DONE;
	reply->succeeded = all_hold(s, r);
	actions = reply->succeeded ? r->success : r->failure;
	n = reply->succeeded ? r->n_success : r->n_failure;
	for (unsigned i = 0; i < n; i++)
		changed = act(e, &actions[i], s, reply) || changed;
	if (changed)
		e->now.revision++;
	reply->revision = s->revision;
	return changed;
}

size_t
etcd_count(const struct etcd *e, const char *prefix)
{
	size_t n = 0, len = strlen(prefix);

	for (size_t i = 0; i < e->now.n; i++)
		n += e->now.items[i].key->len >= len && memcmp(e->now.items[i].key->bytes, prefix, len) == 0;
	return n;
}

void
etcd_init(struct etcd *e)
{
	memset(e, 0, sizeof(*e));
	e->now.revision = e->behind.revision = 1;
}

void
etcd_fini(struct etcd *e)
{
	etcd_catch_up(e);
	state_fini(&e->now);
	state_fini(&e->behind);
	free(e->missed);
}
