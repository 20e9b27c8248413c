/*
 * entry.c - a log's entry as bytes (see entry.h). What is read is checked field by field, although only a holder of the
 * pepper can have written it: another version of fobd may have.
 *
 * An item of kind 1 is a change. Integers are big-endian; a text is its length (1) and its bytes:
 *
 *	time 8, flags 1 (touches_account 1, imports 2, token 4, event 8, rotation 16)
 *	account     if touches_account: text, created 8, suspended 8, secret generation 4, publishable generation 4, keys in
 *	            grace 1, of each: generation 4, expires 8
 *	keys 1, of each: flags 1 (is_new 1, superseded 2, suspended 4), kind 1, state 1, generation 4, serial 4, created 8,
 *	            expires 8, ended 8, last4 4, account text (empty: the change's), and of a new one its digest 32
 *	event       if there is one: type 1, kind 1, generation 4, time 8, expires 8, last4 4, account text, known 1, uid 4,
 *	            pid 4, address text, certificate text, on_behalf_of text
 *	rotation    if it begins one: lines 1, fingerprint 32
 *	token       if there is one: index 32, request 32, length of the sealed reply 2, the reply
 */
#include "service/cluster/entry.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/cluster/entry_internal.h"

#define ITEM_CHANGE 1
#define ITEM_HEADER (4 + 1)

enum { HAS_ACCOUNT = 1, IMPORTS = 2, HAS_TOKEN = 4, HAS_EVENT = 8, HAS_ROTATION = 16 };
enum { KEY_NEW = 1, KEY_SUPERSEDED = 2, KEY_SUSPENDED = 4 };

struct entry {
	uint8_t *bytes; /* ENTRY_PLAIN_MAX; zeros from ${len} on */
	size_t len;
	size_t changes;
	size_t mark_len, mark_changes;
	size_t at; /* of entry_next() */
	uint8_t proposer[ENTRY_PROPOSER_LEN];
};

struct entry *
entry_new(void)
{
	struct entry *e;

	if ((e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	if ((e->bytes = calloc(1, ENTRY_PLAIN_MAX)) == NULL) {
		free(e);
		return NULL;
	}
	return e;
}

void
entry_clear(struct entry *e)
{
	sodium_memzero(e->bytes, e->len);
	e->len = e->changes = e->at = e->mark_len = e->mark_changes = 0;
}

void
entry_free(struct entry *e)
{
	if (e == NULL)
		return;
	entry_clear(e);
	free(e->bytes);
	free(e);
}

/* ---- writing ---- */

struct writing {
	uint8_t *at, *end;
	bool full;
};

static void
put(struct writing *w, const void *bytes, size_t len)
{
	if ((size_t)(w->end - w->at) < len) {
		w->full = true;
		return;
	}
	memcpy(w->at, bytes, len);
	w->at += len;
}

static void
put8(struct writing *w, uint8_t v)
{
	put(w, &v, 1);
}

static void
put32(struct writing *w, uint32_t v)
{
	uint8_t b[4];

	bytes_put32(b, v);
	put(w, b, sizeof(b));
}

static void
put_time(struct writing *w, int64_t v)
{
	uint8_t b[8];

	bytes_put64(b, (uint64_t)v);
	put(w, b, sizeof(b));
}

static void
put_text(struct writing *w, const char *text)
{
	size_t len = strlen(text);

	assert(len <= UINT8_MAX);
	put8(w, (uint8_t)len);
	put(w, text, len);
}

static void
put_account(struct writing *w, const struct record_account *a)
{
	put_text(w, a->account);
	put_time(w, a->created_ms);
	put_time(w, a->suspended_ms);
	put32(w, a->secret_generation);
	put32(w, a->publishable_generation);
	put8(w, a->n_grace);
	for (unsigned i = 0; i < a->n_grace; i++) {
		put32(w, a->grace[i].generation);
		put_time(w, a->grace[i].expires_ms);
	}
}

static void
put_key(struct writing *w, const struct change *change, const struct change_key *c)
{
	const struct record_key *k = &c->key;
	bool same = change->touches_account && strcmp(k->account, change->account.account) == 0;

	put8(w,
	    (uint8_t)((c->is_new ? KEY_NEW : 0) | (c->superseded ? KEY_SUPERSEDED : 0) | (k->suspended ? KEY_SUSPENDED : 0)));
	put8(w, (uint8_t)k->kind);
	put8(w, (uint8_t)k->state);
	put32(w, k->generation);
	put32(w, k->serial);
	put_time(w, k->created_ms);
	put_time(w, k->expires_ms);
	put_time(w, k->ended_ms);
	put(w, k->last4, sizeof(k->last4));
	put_text(w, same ? "" : k->account);
	if (c->is_new)
		put(w, c->digest, sizeof(c->digest));
}

static void
put_event(struct writing *w, const struct record_event *e)
{
	put8(w, (uint8_t)e->type);
	put8(w, (uint8_t)e->kind);
	put32(w, e->generation);
	put_time(w, e->time_ms);
	put_time(w, e->expires_ms);
	put(w, e->last4, sizeof(e->last4));
	put_text(w, e->account);
	put8(w, e->by.known);
	put32(w, e->by.uid);
	put32(w, e->by.pid);
	put_text(w, e->by.address);
	put_text(w, e->by.certificate);
	put_text(w, e->on_behalf_of);
}

static void
put_token(struct writing *w, const struct change *c)
{
	put(w, c->token_index, sizeof(c->token_index));
	put(w, c->token_request, sizeof(c->token_request));
	put8(w, (uint8_t)(c->sealed_len >> 8));
	put8(w, (uint8_t)c->sealed_len);
	put(w, c->sealed, c->sealed_len);
}

static void
put_change(struct writing *w, const struct change *c)
{
	bool has_event = c->event.type != EVENT_NONE;

	put_time(w, c->time_ms);
	put8(w,
	    (uint8_t)((c->touches_account ? HAS_ACCOUNT : 0) | (c->imports ? IMPORTS : 0) | (c->has_token ? HAS_TOKEN : 0) |
		(has_event ? HAS_EVENT : 0) | (c->rotate_lines != 0 ? HAS_ROTATION : 0)));
	if (c->touches_account)
		put_account(w, &c->account);
	put8(w, (uint8_t)c->n_keys);
	for (unsigned i = 0; i < c->n_keys; i++)
		put_key(w, c, &c->keys[i]);
	if (has_event)
		put_event(w, &c->event);
	if (c->rotate_lines != 0) {
		put8(w, c->rotate_lines);
		put(w, c->rotate_fingerprint, sizeof(c->rotate_fingerprint));
	}
	if (c->has_token)
		put_token(w, c);
}

int
entry_add(struct entry *e, const struct change *change)
{
	struct writing w = { .at = e->bytes + e->len, .end = e->bytes + ENTRY_PLAIN_MAX };
	uint8_t *length = w.at;

	put32(&w, 0);
	put8(&w, ITEM_CHANGE);
	put_change(&w, change);
	if (w.full) {
		sodium_memzero(length, (size_t)(w.at - length));
		return -FAULT_RESOURCE_EXHAUSTED;
	}
	bytes_put32(length, (uint32_t)(w.at - length - ITEM_HEADER));
	e->len = (size_t)(w.at - e->bytes);
	e->changes++;
	return 0;
}

void
entry_mark(struct entry *e)
{
	e->mark_len = e->len;
	e->mark_changes = e->changes;
}

void
entry_back(struct entry *e)
{
	sodium_memzero(e->bytes + e->mark_len, e->len - e->mark_len);
	e->len = e->mark_len;
	e->changes = e->mark_changes;
}

size_t
entry_changes(const struct entry *e)
{
	return e->changes;
}

/* ---- sealing ---- */

#define BOUND_LEN (1 + ENTRY_CLUSTER_LEN + 1 + 8 + ENTRY_TAG_LEN + ENTRY_PROPOSER_LEN)

static void
bind_to(const struct entry_place *place, const uint8_t *proposer, uint8_t bound[BOUND_LEN])
{
	uint8_t *p = bound;

	*p++ = ENTRY_VERSION;
	memcpy(p, place->cluster, ENTRY_CLUSTER_LEN);
	p += ENTRY_CLUSTER_LEN;
	*p++ = (uint8_t)place->environment;
	bytes_put64(p, place->number);
	p += 8;
	memcpy(p, place->before, ENTRY_TAG_LEN);
	memcpy(p + ENTRY_TAG_LEN, proposer, ENTRY_PROPOSER_LEN);
}

size_t
entry_seal(const struct entry *e, const struct pepper *pepper, const struct entry_place *place,
    const uint8_t proposer[ENTRY_PROPOSER_LEN], uint8_t *bytes)
{
	uint8_t bound[BOUND_LEN];

	bind_to(place, proposer, bound);
	bytes[0] = ENTRY_VERSION;
	memcpy(bytes + 1, proposer, ENTRY_PROPOSER_LEN);
	pepper_entry_seal(pepper, bound, sizeof(bound), e->bytes, e->len, bytes + 1 + ENTRY_PROPOSER_LEN);
	return e->len + ENTRY_SEAL_LEN;
}

int
entry_open(struct entry *e, const struct pepper *pepper, const struct entry_place *place, const uint8_t *bytes,
    size_t len)
{
	uint8_t bound[BOUND_LEN];

	entry_clear(e);
	if (len < 1 || len > ENTRY_MAX)
		return -FAULT_CORRUPT;
	if (bytes[0] != ENTRY_VERSION)
		return bytes[0] > ENTRY_VERSION ? -FAULT_UNIMPLEMENTED : -FAULT_CORRUPT;
	if (len < ENTRY_SEAL_LEN)
		return -FAULT_CORRUPT;
	bind_to(place, bytes + 1, bound);
	if (pepper_entry_unseal(pepper, bound, sizeof(bound), bytes + 1 + ENTRY_PROPOSER_LEN, len - 1 - ENTRY_PROPOSER_LEN,
		e->bytes) != 0)
		return -FAULT_CORRUPT;
	memcpy(e->proposer, bytes + 1, ENTRY_PROPOSER_LEN);
	e->len = len - ENTRY_SEAL_LEN;
	return 0;
}

const uint8_t *
entry_proposer(const struct entry *e)
{
	return e->proposer;
}

void
entry_set_plain(struct entry *e, const uint8_t *bytes, size_t len)
{
	assert(len <= ENTRY_PLAIN_MAX);
	entry_clear(e);
	memcpy(e->bytes, bytes, len);
	e->len = len;
}

const uint8_t *
entry_plain(const struct entry *e)
{
	return e->bytes;
}

/* ---- reading ---- */

struct reading {
	const uint8_t *at, *end;
	bool bad;
};

static const uint8_t *
take(struct reading *r, size_t len)
{
	static const uint8_t zeros[RECORD_REPLY_MAX + PEPPER_SEAL_LEN];
	const uint8_t *p = r->at;

	assert(len <= sizeof(zeros));
	if ((size_t)(r->end - r->at) < len) {
		r->bad = true;
		return zeros;
	}
	r->at += len;
	return p;
}

static uint8_t
get8(struct reading *r)
{
	return *take(r, 1);
}

static uint32_t
get32(struct reading *r)
{
	return bytes_get32(take(r, 4));
}

/* No time is negative. */
static int64_t
get_time(struct reading *r)
{
	uint64_t v = bytes_get64(take(r, 8));

	r->bad = r->bad || v > INT64_MAX;
	return r->bad ? 0 : (int64_t)v;
}

/* A number from ${least} to ${most}. */
static unsigned
get_within(struct reading *r, unsigned least, unsigned most)
{
	uint8_t v = get8(r);

	if (v >= least && v <= most)
		return v;
	r->bad = true;
	return least;
}

/* ${size} with its NUL. A NUL in the text is refused. */
static void
get_text(struct reading *r, char *text, size_t size)
{
	size_t len = get8(r);
	const uint8_t *p;

	if (len >= size) {
		r->bad = true;
		len = 0;
	}
	p = take(r, len);
	if (len > 0 && memchr(p, 0, len) != NULL)
		r->bad = true;
	memcpy(text, p, len);
	text[len] = '\0';
}

static void
get_name(struct reading *r, char name[LIMIT_ACCOUNT + 1])
{
	get_text(r, name, LIMIT_ACCOUNT + 1);
	r->bad = r->bad || !record_account_ok(name, strlen(name));
}

static void
get_account(struct reading *r, struct record_account *a)
{
	get_name(r, a->account);
	a->created_ms = get_time(r);
	a->suspended_ms = get_time(r);
	a->secret_generation = get32(r);
	a->publishable_generation = get32(r);
	a->n_grace = (uint8_t)get_within(r, 0, LIMIT_IN_GRACE);
	for (unsigned i = 0; i < a->n_grace; i++) {
		a->grace[i].generation = get32(r);
		a->grace[i].expires_ms = get_time(r);
	}
}

static void
get_key(struct reading *r, const struct change *change, struct change_key *c)
{
	unsigned flags = get_within(r, 0, KEY_NEW | KEY_SUPERSEDED | KEY_SUSPENDED);
	struct record_key *k = &c->key;

	c->is_new = (flags & KEY_NEW) != 0;
	c->superseded = (flags & KEY_SUPERSEDED) != 0;
	k->suspended = (flags & KEY_SUSPENDED) != 0;
	k->kind = (enum kind)get_within(r, KIND_SECRET, KIND_PUBLISHABLE);
	k->state = (enum key_state)get_within(r, KEY_CURRENT, KEY_REVOKED);
	k->generation = get32(r);
	k->serial = get32(r);
	k->created_ms = get_time(r);
	k->expires_ms = get_time(r);
	k->ended_ms = get_time(r);
	memcpy(k->last4, take(r, sizeof(k->last4)), sizeof(k->last4));
	if (change->touches_account && r->at < r->end && *r->at == 0) {
		(void)get8(r);
		memcpy(k->account, change->account.account, sizeof(k->account));
	} else {
		get_name(r, k->account);
	}
	/* store_apply() makes a new key the current one of the change's account. */
	if (c->is_new &&
	    (!change->touches_account || k->state != KEY_CURRENT || strcmp(k->account, change->account.account) != 0))
		r->bad = true;
	if (c->is_new)
		memcpy(c->digest, take(r, sizeof(c->digest)), sizeof(c->digest));
}

static void
get_event(struct reading *r, struct record_event *e)
{
	e->type = (enum event_type)get_within(r, EVENT_ACCOUNT_CREATED, EVENT_ACCOUNT_IMPORTED);
	e->kind = (enum kind)get_within(r, 0, KIND_PUBLISHABLE);
	e->generation = get32(r);
	e->time_ms = get_time(r);
	e->expires_ms = get_time(r);
	memcpy(e->last4, take(r, sizeof(e->last4)), sizeof(e->last4));
	get_name(r, e->account);
	e->by.known = get_within(r, 0, 1) != 0;
	e->by.uid = get32(r);
	e->by.pid = get32(r);
	get_text(r, e->by.address, sizeof(e->by.address));
	get_text(r, e->by.certificate, sizeof(e->by.certificate));
	get_text(r, e->on_behalf_of, sizeof(e->on_behalf_of));
	r->bad = r->bad || !record_on_behalf_of_ok(e->on_behalf_of, strlen(e->on_behalf_of));
}

static void
get_token(struct reading *r, struct change *c)
{
	memcpy(c->token_index, take(r, sizeof(c->token_index)), sizeof(c->token_index));
	memcpy(c->token_request, take(r, sizeof(c->token_request)), sizeof(c->token_request));
	c->sealed_len = (size_t)get8(r) << 8;
	c->sealed_len |= get8(r);
	if (c->sealed_len > sizeof(c->sealed)) {
		r->bad = true;
		c->sealed_len = 0;
	}
	memcpy(c->sealed, take(r, c->sealed_len), c->sealed_len);
}

static void
get_change(struct reading *r, struct change *c)
{
	unsigned flags;

	memset(c, 0, sizeof(*c));
	c->time_ms = get_time(r);
	flags = get_within(r, 0, HAS_ACCOUNT | IMPORTS | HAS_TOKEN | HAS_EVENT | HAS_ROTATION);
	c->touches_account = (flags & HAS_ACCOUNT) != 0;
	c->imports = (flags & IMPORTS) != 0;
	c->has_token = (flags & HAS_TOKEN) != 0;
	if (c->touches_account)
		get_account(r, &c->account);
	c->n_keys = get_within(r, 0, CHANGE_KEYS);
	for (unsigned i = 0; i < c->n_keys; i++)
		get_key(r, c, &c->keys[i]);
	if ((flags & HAS_EVENT) != 0)
		get_event(r, &c->event);
	if ((flags & HAS_ROTATION) != 0) {
		c->rotate_lines = (uint8_t)get_within(r, 2, PEPPER_LINES_MAX);
		memcpy(c->rotate_fingerprint, take(r, sizeof(c->rotate_fingerprint)), sizeof(c->rotate_fingerprint));
	}
	if (c->has_token)
		get_token(r, c);
}

int
entry_next(struct entry *e, struct change *change)
{
	struct reading r = { .at = e->bytes + e->at, .end = e->bytes + e->len };
	uint32_t len;

	if (e->at == e->len)
		return 0;
	len = get32(&r);
	if (get8(&r) != ITEM_CHANGE || r.bad || (size_t)(r.end - r.at) < len)
		return -FAULT_CORRUPT;
	r.end = r.at + len;
	get_change(&r, change);
	if (r.bad || r.at != r.end)
		return -FAULT_CORRUPT;
	e->at = (size_t)(r.end - e->bytes);
	return 1;
}
