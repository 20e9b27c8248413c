/*
 * record.c - the bytes of every record (see record.h). Knows nothing of LMDB, and never trusts a length that it reads.
 */
#include "service/store/record.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "service/base/bytes.h"

#define TAG_LEN PEPPER_TAG_LEN

/* The version that a table's records are written in. All versions before it are read. */
static const uint8_t versions[TABLES] = {
	[TABLE_META] = 1,
	[TABLE_KEYS] = 2,
	[TABLE_ACCOUNTS] = 2,
	[TABLE_SLOTS] = 2,
	[TABLE_EXPIRY] = 1,
	[TABLE_TOKENS] = 1,
	[TABLE_TOKEN_AGE] = 1,
	[TABLE_EVENTS] = 3,
};

/* ---- writing ---- */

static void
put8(struct record_bytes *b, uint8_t v)
{
	assert(b->len + 1 <= sizeof(b->bytes));
	b->bytes[b->len++] = v;
}

static void
put32(struct record_bytes *b, uint32_t v)
{
	assert(b->len + 4 <= sizeof(b->bytes));
	bytes_put32(b->bytes + b->len, v);
	b->len += 4;
}

static void
put64(struct record_bytes *b, uint64_t v)
{
	assert(b->len + 8 <= sizeof(b->bytes));
	bytes_put64(b->bytes + b->len, v);
	b->len += 8;
}

/* A varint: a generation takes one byte, a time of this century six. */
static void
put_varint(struct record_bytes *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		put8(b, (uint8_t)(v | 0x80));
	put8(b, (uint8_t)v);
}

static void
put_bytes(struct record_bytes *b, const void *data, size_t len)
{
	assert(b->len + len <= sizeof(b->bytes));
	if (len > 0)
		memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static void
put_account(struct record_bytes *b, const char *account)
{
	size_t len = strlen(account);

	put8(b, (uint8_t)len);
	put_bytes(b, account, len);
}

static void
begin(struct record_bytes *b, enum table table)
{
	b->len = 0;
	put8(b, versions[table]);
}

/* ---- the tag ---- */

#define TAGGED_MAX (2 + RECORD_KEY_MAX + RECORD_MAX)

/* What a tag is made of. Returns its length. */
static size_t
tagged(enum table table, const void *key, size_t key_len, const void *value, size_t len, uint8_t buf[TAGGED_MAX])
{
	assert(key_len <= RECORD_KEY_MAX && len <= RECORD_MAX);
	buf[0] = (uint8_t)table;
	buf[1] = (uint8_t)key_len;
	memcpy(buf + 2, key, key_len);
	memcpy(buf + 2 + key_len, value, len);
	return 2 + key_len + len;
}

static void
end(const struct pepper *pepper, enum table table, const void *key, size_t key_len, struct record_bytes *b)
{
	uint8_t tag[TAG_LEN], buf[TAGGED_MAX];

	pepper_tag(pepper, buf, tagged(table, key, key_len, b->bytes, b->len, buf), tag);
	put_bytes(b, tag, TAG_LEN);
}

/* ---- reading: past the end, the reader is marked as bad and gives zeros ---- */

struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
	uint8_t version;
};

static const uint8_t *
take(struct reader *r, size_t len)
{
	static const uint8_t zeros[64];
	const uint8_t *p = r->p;

	if (r->bad || len > r->left) {
		r->bad = true;
		assert(len <= sizeof(zeros));
		return zeros;
	}
	r->p += len;
	r->left -= len;
	return p;
}

static uint8_t
get8(struct reader *r)
{
	return take(r, 1)[0];
}

static uint32_t
get32(struct reader *r)
{
	return bytes_get32(take(r, 4));
}

static uint64_t
get64(struct reader *r)
{
	return bytes_get64(take(r, 8));
}

static int64_t
get_time(struct reader *r)
{
	return (int64_t)get64(r);
}

#define VARINT_MAX 10 /* bytes */

static uint64_t
get_long_varint(struct reader *r)
{
	size_t n = 0, most = r->left < VARINT_MAX ? r->left : VARINT_MAX;
	uint64_t v = 0;

	while (n < most && r->p[n] >= 0x80)
		n++;
	if (n == most || (n == VARINT_MAX - 1 && r->p[n] > 1)) {
		r->bad = true;
		return 0;
	}
	for (size_t i = n + 1; i-- > 0;)
		v = v << 7 | (r->p[i] & 0x7f);
	r->p += n + 1;
	r->left -= n + 1;
	return v;
}

/* Most are of one byte. */
static inline uint64_t
get_varint(struct reader *r)
{
	if (r->left == 0 || *r->p >= 0x80)
		return get_long_varint(r);
	r->left--;
	return *r->p++;
}

static inline uint32_t
get_varint32(struct reader *r)
{
	uint64_t v = get_varint(r);

	r->bad = r->bad || v > UINT32_MAX;
	return (uint32_t)v;
}

static void
get_account(struct reader *r, size_t len, char account[LIMIT_ACCOUNT + 1])
{
	if (len < 1 || len > LIMIT_ACCOUNT) {
		r->bad = true;
		len = 0;
	}
	memcpy(account, take(r, len), len);
	account[len] = '\0';
	/* As a C string it would be cut off at the NUL, and be another account's id. */
	if (memchr(account, '\0', len) != NULL)
		r->bad = true;
}

/* Check the tag and set ${r} to the bytes between version and tag. With a NULL ${pepper} the tag is not checked. */
static int
open_value(const struct pepper *pepper, enum table table, const void *key, size_t key_len, const void *value,
    size_t len, struct reader *r)
{
	const uint8_t *bytes = value;
	uint8_t buf[TAGGED_MAX];
	size_t n;

	if (len < 1 + TAG_LEN || len > RECORD_MAX || key_len > RECORD_KEY_MAX)
		return -FAULT_CORRUPT;
	if (pepper != NULL) {
		n = tagged(table, key, key_len, value, len - TAG_LEN, buf);
		if (!pepper_tag_fits(pepper, buf, n, bytes + len - TAG_LEN))
			return -FAULT_CORRUPT;
	}
	if (bytes[0] < 1 || bytes[0] > versions[table])
		return -FAULT_CORRUPT;
	*r = (struct reader){ .p = bytes + 1, .left = len - 1 - TAG_LEN, .version = bytes[0] };
	return 0;
}

int
record_sound(
    const struct pepper *pepper, enum table table, const void *key, size_t key_len, const void *value, size_t len)
{
	struct reader r;

	return open_value(pepper, table, key, key_len, value, len, &r);
}

bool
record_is_newest(
    const struct pepper *pepper, enum table table, const void *key, size_t key_len, const void *value, size_t len)
{
	uint8_t buf[TAGGED_MAX];
	size_t n;

	if (len < 1 + TAG_LEN || len > RECORD_MAX || key_len > RECORD_KEY_MAX)
		return false;
	n = tagged(table, key, key_len, value, len - TAG_LEN, buf);
	return pepper_tag_is_newest(pepper, buf, n, (const uint8_t *)value + len - TAG_LEN);
}

void
record_tag_anew(const struct pepper *pepper, enum table table, const void *key, size_t key_len, const void *value,
    size_t len, struct record_bytes *out)
{
	out->len = 0;
	put_bytes(out, value, len - TAG_LEN);
	end(pepper, table, key, key_len, out);
}

static int
close_value(const struct reader *r)
{
	return r->bad || r->left != 0 ? -FAULT_CORRUPT : 0;
}

/* ---- keys ---- */

/* Bits of a key's second byte: its kind, its state, and whether it is suspended. The highest two are 0. */
#define KEY_KIND(b) ((b)&3)
#define KEY_STATE(b) ((b) >> 2 & 7)
#define KEY_BITS(kind, state) ((uint8_t)((unsigned)(kind) | (unsigned)(state) << 2))
#define KEY_SUSPENDED 0x20
#define KEY_UNUSED 0xc0

void
record_put_key(
    const struct pepper *pepper, const void *key, size_t key_len, const struct record_key *x, struct record_bytes *out)
{
	assert((unsigned)x->kind < 4 && (unsigned)x->state < 8);
	begin(out, TABLE_KEYS);
	put8(out, KEY_BITS(x->kind, x->state) | (x->suspended ? KEY_SUSPENDED : 0));
	put_varint(out, x->generation);
	put32(out, x->serial);
	put_varint(out, (uint64_t)x->created_ms);
	/* Left out for current keys: nearly all keys are current, and most of a large database is keys. */
	if (x->state != KEY_CURRENT) {
		put_varint(out, (uint64_t)x->expires_ms);
		put_varint(out, (uint64_t)x->ended_ms);
	}
	put_bytes(out, x->last4, sizeof(x->last4));
	put_bytes(out, x->account, strlen(x->account));
	end(pepper, TABLE_KEYS, key, key_len, out);
}

/*
 * Version 1 has a byte each for what are bits in version 2, integers of full length, and the account's length.
 */
static void
get_key_1(struct reader *r, uint8_t *bits, struct record_key *x)
{
	uint8_t kind = get8(r), state = get8(r), suspended = get8(r);

	r->bad = r->bad || kind > 3 || state > 7 || suspended > 1;
	*bits = (uint8_t)(KEY_BITS(kind & 3, state & 7) | (suspended != 0 ? KEY_SUSPENDED : 0));
	x->generation = get32(r);
	x->serial = get32(r);
	x->created_ms = get_time(r);
	x->expires_ms = state != KEY_CURRENT ? get_time(r) : 0;
	x->ended_ms = state != KEY_CURRENT ? get_time(r) : 0;
	memcpy(x->last4, take(r, sizeof(x->last4)), sizeof(x->last4));
	get_account(r, get8(r), x->account);
}

static void
get_key_2(struct reader *r, uint8_t *bits, struct record_key *x)
{
	*bits = get8(r);
	x->generation = get_varint32(r);
	x->serial = get32(r);
	x->created_ms = (int64_t)get_varint(r);
	x->expires_ms = KEY_STATE(*bits) != KEY_CURRENT ? (int64_t)get_varint(r) : 0;
	x->ended_ms = KEY_STATE(*bits) != KEY_CURRENT ? (int64_t)get_varint(r) : 0;
	memcpy(x->last4, take(r, sizeof(x->last4)), sizeof(x->last4));
	get_account(r, r->left, x->account);
}

int
record_get_key(
    const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len, struct record_key *x)
{
	struct reader r;
	uint8_t bits;
	int rc;

	if ((rc = open_value(pepper, TABLE_KEYS, key, key_len, value, len, &r)) != 0)
		return rc;
	if (r.version == 1)
		get_key_1(&r, &bits, x);
	else
		get_key_2(&r, &bits, x);
	x->kind = KEY_KIND(bits);
	x->state = KEY_STATE(bits);
	x->suspended = (bits & KEY_SUSPENDED) != 0;
	if ((x->kind != KIND_SECRET && x->kind != KIND_PUBLISHABLE) || x->state < KEY_CURRENT ||
	    x->state > KEY_REVOKED || (bits & KEY_UNUSED) != 0)
		return -FAULT_CORRUPT;
	return close_value(&r);
}

/* ---- accounts ---- */

void
record_put_account(const struct pepper *pepper, const void *key, size_t key_len, const struct record_account *x,
    struct record_bytes *out)
{
	assert(x->n_grace <= LIMIT_IN_GRACE);
	begin(out, TABLE_ACCOUNTS);
	put8(out, (uint8_t)(x->has_ref[0] | x->has_ref[1] << 1 | x->n_grace << 2));
	put_varint(out, (uint64_t)x->created_ms);
	put_varint(out, (uint64_t)x->suspended_ms);
	put_varint(out, x->secret_generation);
	put_varint(out, x->publishable_generation);
	for (unsigned i = 0; i < 2; i++)
		if (x->has_ref[i])
			put_bytes(out, x->ref[i], sizeof(x->ref[i]));
	for (unsigned i = 0; i < x->n_grace; i++) {
		put_varint(out, x->grace[i].generation);
		put_varint(out, (uint64_t)x->grace[i].expires_ms);
	}
	end(pepper, TABLE_ACCOUNTS, key, key_len, out);
}

static void
get_account_1(struct reader *r, struct record_account *x)
{
	x->created_ms = get_time(r);
	x->suspended_ms = get_time(r);
	x->secret_generation = get32(r);
	x->publishable_generation = get32(r);
	memset(x->has_ref, 0, sizeof(x->has_ref));
	x->n_grace = get8(r);
	r->bad = r->bad || x->n_grace > LIMIT_IN_GRACE;
	for (unsigned i = 0; !r->bad && i < x->n_grace; i++) {
		x->grace[i].generation = get32(r);
		x->grace[i].expires_ms = get_time(r);
	}
}

static void
get_account_2(struct reader *r, struct record_account *x)
{
	uint8_t bits = get8(r);

	x->n_grace = bits >> 2;
	r->bad = r->bad || x->n_grace > LIMIT_IN_GRACE;
	x->created_ms = (int64_t)get_varint(r);
	x->suspended_ms = (int64_t)get_varint(r);
	x->secret_generation = get_varint32(r);
	x->publishable_generation = get_varint32(r);
	for (unsigned i = 0; i < 2; i++)
		if ((x->has_ref[i] = (bits >> i & 1) != 0))
			memcpy(x->ref[i], take(r, RECORD_REF_LEN), RECORD_REF_LEN);
	for (unsigned i = 0; !r->bad && i < x->n_grace; i++) {
		x->grace[i].generation = get_varint32(r);
		x->grace[i].expires_ms = (int64_t)get_varint(r);
	}
}

int
record_get_account(const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len,
    struct record_account *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_ACCOUNTS, key, key_len, value, len, &r)) != 0)
		return rc;
	if (key_len > LIMIT_ACCOUNT)
		return -FAULT_CORRUPT;
	memcpy(x->account, key, key_len);
	x->account[key_len] = '\0';
	if (r.version == 1)
		get_account_1(&r, x);
	else
		get_account_2(&r, x);
	return close_value(&r);
}

uint32_t
record_generation(const struct record_account *account, enum kind kind)
{
	return kind == KIND_SECRET ? account->secret_generation : account->publishable_generation;
}

/* ---- tokens ---- */

void
record_put_token(const struct pepper *pepper, const void *key, size_t key_len, const struct record_token *x,
    struct record_bytes *out)
{
	assert(x->sealed_len <= RECORD_REPLY_MAX + PEPPER_SEAL_LEN);
	begin(out, TABLE_TOKENS);
	put64(out, (uint64_t)x->created_ms);
	put_bytes(out, x->request, sizeof(x->request));
	put_bytes(out, x->sealed, x->sealed_len);
	end(pepper, TABLE_TOKENS, key, key_len, out);
}

int
record_get_token(
    const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len, struct record_token *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_TOKENS, key, key_len, value, len, &r)) != 0)
		return rc;
	x->created_ms = get_time(&r);
	memcpy(x->request, take(&r, sizeof(x->request)), sizeof(x->request));
	x->sealed = r.p;
	x->sealed_len = r.left;
	return r.bad ? -FAULT_CORRUPT : 0;
}

/* ---- events ---- */

/* Who asked: one of these, and then uid 4, pid 4; or the address and the certificate, each behind its length. */
enum { BY_NOBODY = 0, BY_USER = 1, BY_ADDRESS = 2 };

static void
put_text(struct record_bytes *b, const char *text)
{
	size_t len = strlen(text);

	put8(b, (uint8_t)len);
	put_bytes(b, text, len);
}

static void
put_peer(struct record_bytes *b, const struct peer *peer)
{
	if (peer->known) {
		put8(b, BY_USER);
		put32(b, peer->uid);
		put32(b, peer->pid);
	} else if (peer->address[0] != '\0') {
		put8(b, BY_ADDRESS);
		put_text(b, peer->address);
		put_text(b, peer->certificate);
	} else {
		put8(b, BY_NOBODY);
	}
}

/* A text of fewer than ${size} printable bytes. */
static void
get_text(struct reader *r, char *text, size_t size)
{
	size_t len = get8(r);
	const uint8_t *bytes;

	if (len >= size) {
		r->bad = true;
		return;
	}
	bytes = take(r, len);
	for (size_t i = 0; i < len; i++) {
		r->bad = r->bad || bytes[i] < ' ' || bytes[i] > '~';
		text[i] = (char)bytes[i];
	}
}

static void
get_peer(struct reader *r, struct peer *peer)
{
	*peer = (struct peer){ 0 };
	if (r->version == 1)
		return;
	switch (get8(r)) {
	case BY_NOBODY:
		break;
	case BY_USER:
		peer->known = true;
		peer->uid = get32(r);
		peer->pid = get32(r);
		break;
	case BY_ADDRESS:
		get_text(r, peer->address, sizeof(peer->address));
		get_text(r, peer->certificate, sizeof(peer->certificate));
		r->bad = r->bad || peer->address[0] == '\0';
		break;
	default:
		r->bad = true;
	}
}

void
record_put_event(const struct pepper *pepper, const void *key, size_t key_len, const struct record_event *x,
    struct record_bytes *out)
{
	begin(out, TABLE_EVENTS);
	put8(out, (uint8_t)x->type);
	put8(out, (uint8_t)x->kind);
	put32(out, x->generation);
	put64(out, (uint64_t)x->time_ms);
	put64(out, (uint64_t)x->expires_ms);
	put_bytes(out, x->last4, sizeof(x->last4));
	put_account(out, x->account);
	put_peer(out, &x->by);
	put_text(out, x->on_behalf_of);
	end(pepper, TABLE_EVENTS, key, key_len, out);
}

static void
get_no_account(struct reader *r, char account[LIMIT_ACCOUNT + 1])
{
	if (get8(r) != 0)
		r->bad = true;
	memset(account, 0, LIMIT_ACCOUNT + 1);
}

int
record_get_event(
    const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len, struct record_event *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_EVENTS, key, key_len, value, len, &r)) != 0)
		return rc;
	if (key_len != 8)
		return -FAULT_CORRUPT;
	x->sequence = bytes_get64(key);
	x->type = get8(&r);
	x->kind = get8(&r);
	x->generation = get32(&r);
	x->time_ms = get_time(&r);
	x->expires_ms = get_time(&r);
	memcpy(x->last4, take(&r, sizeof(x->last4)), sizeof(x->last4));
	if (x->type == EVENT_RESTORED)
		get_no_account(&r, x->account);
	else
		get_account(&r, get8(&r), x->account);
	get_peer(&r, &x->by);
	memset(x->on_behalf_of, 0, sizeof(x->on_behalf_of));
	if (r.version >= 3)
		get_text(&r, x->on_behalf_of, sizeof(x->on_behalf_of));
	return close_value(&r);
}

/* ---- meta ---- */

#define STATE_IMPORTED 1

void
record_put_state(const struct pepper *pepper, const void *key, size_t key_len, const struct record_state *x,
    struct record_bytes *out)
{
	begin(out, TABLE_META);
	put64(out, x->revision);
	put64(out, (uint64_t)x->newest_ms);
	put64(out, x->event_sequence);
	put32(out, x->next_serial);
	/* Written only when it is true, so that an older fobd can read a database without an import. */
	if (x->imported)
		put8(out, STATE_IMPORTED);
	end(pepper, TABLE_META, key, key_len, out);
}

int
record_get_state(
    const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len, struct record_state *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_META, key, key_len, value, len, &r)) != 0)
		return rc;
	x->revision = get64(&r);
	x->newest_ms = get_time(&r);
	x->event_sequence = get64(&r);
	x->next_serial = get32(&r);
	x->imported = r.left > 0;
	if (x->imported && get8(&r) != STATE_IMPORTED)
		return -FAULT_CORRUPT;
	return close_value(&r);
}

void
record_put_copy(
    const struct pepper *pepper, const void *key, size_t key_len, const struct record_copy *x, struct record_bytes *out)
{
	begin(out, TABLE_META);
	put64(out, (uint64_t)x->taken_ms);
	put64(out, x->revision);
	put64(out, x->event_sequence);
	end(pepper, TABLE_META, key, key_len, out);
}

int
record_get_copy(
    const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len, struct record_copy *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_META, key, key_len, value, len, &r)) != 0)
		return rc;
	x->taken_ms = get_time(&r);
	x->revision = get64(&r);
	x->event_sequence = get64(&r);
	return close_value(&r);
}

void
record_put_cluster(const struct pepper *pepper, const void *key, size_t key_len, const struct record_cluster *x,
    struct record_bytes *out)
{
	begin(out, TABLE_META);
	put_bytes(out, x->cluster, sizeof(x->cluster));
	put_bytes(out, x->replica, sizeof(x->replica));
	put64(out, x->number);
	put_bytes(out, x->tag, sizeof(x->tag));
	end(pepper, TABLE_META, key, key_len, out);
}

int
record_get_cluster(const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len,
    struct record_cluster *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_META, key, key_len, value, len, &r)) != 0)
		return rc;
	memcpy(x->cluster, take(&r, sizeof(x->cluster)), sizeof(x->cluster));
	memcpy(x->replica, take(&r, sizeof(x->replica)), sizeof(x->replica));
	x->number = get64(&r);
	memcpy(x->tag, take(&r, sizeof(x->tag)), sizeof(x->tag));
	return close_value(&r);
}

void
record_put_identity(const struct pepper *pepper, const void *key, size_t key_len, const struct record_identity *x,
    struct record_bytes *out)
{
	begin(out, TABLE_META);
	put32(out, x->schema);
	put8(out, (uint8_t)x->environment);
	put_bytes(out, x->id, sizeof(x->id));
	put_bytes(out, x->fingerprint, sizeof(x->fingerprint));
	end(pepper, TABLE_META, key, key_len, out);
}

int
record_get_identity(const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len,
    struct record_identity *x)
{
	struct reader r;
	uint8_t environment;
	int rc;

	if ((rc = open_value(pepper, TABLE_META, key, key_len, value, len, &r)) != 0)
		return rc;
	x->schema = get32(&r);
	if ((environment = get8(&r)) >= ENVIRONMENTS)
		return -FAULT_CORRUPT;
	x->environment = environment;
	memcpy(x->id, take(&r, sizeof(x->id)), sizeof(x->id));
	memcpy(x->fingerprint, take(&r, sizeof(x->fingerprint)), sizeof(x->fingerprint));
	return close_value(&r);
}

void
record_put_rotation(const struct pepper *pepper, const void *key, size_t key_len, const struct record_rotation *x,
    struct record_bytes *out)
{
	begin(out, TABLE_META);
	put_bytes(out, x->old_fingerprint, sizeof(x->old_fingerprint));
	put8(out, (uint8_t)x->table);
	put64(out, x->keys);
	put64(out, x->records);
	put8(out, x->at_len);
	put_bytes(out, x->at, x->at_len);
	end(pepper, TABLE_META, key, key_len, out);
}

int
record_get_rotation(const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len,
    struct record_rotation *x)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_META, key, key_len, value, len, &r)) != 0)
		return rc;
	memcpy(x->old_fingerprint, take(&r, sizeof(x->old_fingerprint)), sizeof(x->old_fingerprint));
	x->table = get8(&r);
	x->keys = get64(&r);
	x->records = get64(&r);
	if (x->table >= TABLES || (x->at_len = get8(&r)) > RECORD_KEY_MAX)
		return -FAULT_CORRUPT;
	for (unsigned i = 0; i < x->at_len; i++)
		x->at[i] = get8(&r);
	return close_value(&r);
}

/* ---- indexes ---- */

void
record_put_slot(const struct pepper *pepper, const void *key, size_t key_len, const uint8_t digest[RECORD_DIGEST_LEN],
    struct record_bytes *out)
{
	begin(out, TABLE_SLOTS);
	put_bytes(out, digest, RECORD_REF_LEN);
	end(pepper, TABLE_SLOTS, key, key_len, out);
}

int
record_get_slot(const struct pepper *pepper, const void *key, size_t key_len, const void *value, size_t len,
    uint8_t ref[RECORD_REF_LEN])
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, TABLE_SLOTS, key, key_len, value, len, &r)) != 0)
		return rc;
	memcpy(ref, take(&r, RECORD_REF_LEN), RECORD_REF_LEN);
	if (r.version == 1)
		(void)take(&r, RECORD_DIGEST_LEN - RECORD_REF_LEN);
	return close_value(&r);
}

void
record_put_empty(
    const struct pepper *pepper, enum table table, const void *key, size_t key_len, struct record_bytes *out)
{
	begin(out, table);
	end(pepper, table, key, key_len, out);
}

int
record_get_empty(
    const struct pepper *pepper, enum table table, const void *key, size_t key_len, const void *value, size_t len)
{
	struct reader r;
	int rc;

	if ((rc = open_value(pepper, table, key, key_len, value, len, &r)) != 0)
		return rc;
	return close_value(&r);
}

void
record_slot_key(const char *account, enum kind kind, uint32_t generation, struct record_bytes *out)
{
	out->len = 0;
	put_bytes(out, account, strlen(account));
	put8(out, 0);
	put8(out, (uint8_t)kind);
	put32(out, generation);
}

void
record_time_key(int64_t time_ms, const uint8_t digest[RECORD_DIGEST_LEN], struct record_bytes *out)
{
	out->len = 0;
	put64(out, (uint64_t)time_ms);
	put_bytes(out, digest, RECORD_DIGEST_LEN);
}

void
record_sequence_key(uint64_t sequence, struct record_bytes *out)
{
	out->len = 0;
	put64(out, sequence);
}

bool
record_account_ok(const void *account, size_t len)
{
	const char *p = account;

	if (len < 1 || len > LIMIT_ACCOUNT)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((p[i] >= 'A' && p[i] <= 'Z') || (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') ||
			p[i] == '.' || p[i] == '_' || p[i] == '-'))
			return false;
	return true;
}

bool
record_on_behalf_of_ok(const void *name, size_t len)
{
	const char *p = name;

	if (len > LIMIT_ON_BEHALF_OF)
		return false;
	for (size_t i = 0; i < len; i++)
		if (p[i] < ' ' || p[i] > '~' || p[i] == '"' || p[i] == '\\')
			return false;
	return true;
}
