/*
 * test_record.c - record.c: every record is read back as it was written, its bytes are those of the disk format, and a
 * record with a flipped bit, a cut or added bytes, or at another place, is refused. The golden bytes are from an
 * implementation in Python, under fixture_pepper(7): if one differs, the disk format has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/fixture.h"

/* Any record that has been decoded. */
union any {
	struct record_key key;
	struct record_account account;
	struct record_token token;
	struct record_event event;
	struct record_state state;
	struct record_identity identity;
	uint8_t digest[RECORD_DIGEST_LEN];
};

/* One type of record: how its value is read under a key, and an example. */
struct kind_of_record {
	const char *name;
	int (*get)(
	    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, union any *out);
	void (*make)(const struct pepper *, struct record_bytes *key, struct record_bytes *value);
	const char *golden_key; /* hex */
	const char *golden_value;
};

#define T0 FIXTURE_NOW_MS
#define D_HEX "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"

static uint8_t digest[RECORD_DIGEST_LEN]; /* D_HEX */
static struct pepper *pepper;

static int
setup(void **state)
{
	if (fixture_begin(state) != 0)
		return -1;
	for (unsigned i = 0; i < sizeof(digest); i++)
		digest[i] = (uint8_t)(0x80 + i);
	pepper = fixture_pepper(7);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pepper_free(pepper);
	return 0;
}

static void
set_key(struct record_bytes *key, const void *data, size_t len)
{
	memcpy(key->bytes, data, len);
	key->len = len;
}

static struct record_key
example_key(void)
{
	return (struct record_key){ .kind = KIND_SECRET,
		.state = KEY_CURRENT,
		.generation = 3,
		.serial = 9,
		.created_ms = T0,
		.last4 = { 'u', 'A', 'd', '0' },
		.account = "acme" };
}

/* ---- the types ---- */

static int
get_key(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_key(p, key, key_len, value, len, &out->key);
}

static void
make_key(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_key x = example_key();

	set_key(key, digest, sizeof(digest));
	record_put_key(p, key->bytes, key->len, &x, value);
}

static void
make_grace(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_key x = example_key();

	x.state = KEY_GRACE;
	x.suspended = true;
	x.expires_ms = T0 + FIXTURE_DAY_MS;
	set_key(key, digest, sizeof(digest));
	record_put_key(p, key->bytes, key->len, &x, value);
}

static int
get_account(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_account(p, key, key_len, value, len, &out->account);
}

static void
make_account(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_account x = { .created_ms = T0,
		.suspended_ms = T0 + 1,
		.secret_generation = 4,
		.publishable_generation = 1,
		.n_grace = 1,
		.grace = { { 3, T0 + FIXTURE_DAY_MS } },
		.has_ref = { true, true },
		.account = "acme" };

	for (uint8_t i = 0; i < RECORD_REF_LEN; i++)
		x.ref[0][i] = 0x40 + i;
	memcpy(x.ref[1], digest, RECORD_REF_LEN);
	set_key(key, "acme", 4);
	record_put_account(p, key->bytes, key->len, &x, value);
}

/* Without a secret key in its own record, as an account that was rolled under schema 1. */
static void
make_half_account(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_account x = { .created_ms = T0,
		.secret_generation = 4,
		.publishable_generation = 1,
		.has_ref = { false, true },
		.account = "acme" };

	memcpy(x.ref[1], digest, RECORD_REF_LEN);
	set_key(key, "acme", 4);
	record_put_account(p, key->bytes, key->len, &x, value);
}

static int
get_token(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_token(p, key, key_len, value, len, &out->token);
}

static void
make_token(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_token x = { .created_ms = T0, .sealed = (const uint8_t *)"sealed", .sealed_len = 6 };

	for (uint8_t i = 0; i < sizeof(x.request); i++)
		x.request[i] = i;
	set_key(key, digest, sizeof(digest));
	record_put_token(p, key->bytes, key->len, &x, value);
}

static int
get_event(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_event(p, key, key_len, value, len, &out->event);
}

static void
make_event(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_event x = { .time_ms = T0,
		.type = EVENT_KEY_ROLLED,
		.kind = KIND_SECRET,
		.generation = 4,
		.expires_ms = T0 + FIXTURE_DAY_MS,
		.last4 = { 'u', 'A', 'd', '0' },
		.account = "acme",
		.by = { .known = true, .uid = 1000, .pid = 77 } };

	record_sequence_key(5, key);
	record_put_event(p, key->bytes, key->len, &x, value);
}

static int
get_state(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_state(p, key, key_len, value, len, &out->state);
}

static void
make_state(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_state x = { .revision = 1, .newest_ms = T0, .event_sequence = 2, .next_serial = 3 };

	set_key(key, "state", 5);
	record_put_state(p, key->bytes, key->len, &x, value);
}

static int
get_identity(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_identity(p, key, key_len, value, len, &out->identity);
}

static void
make_identity(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_identity x = { .schema = 1, .environment = ENVIRONMENT_TEST };

	for (uint8_t i = 0; i < sizeof(x.id); i++)
		x.id[i] = i + 1;
	memcpy(x.fingerprint, digest, sizeof(digest));
	set_key(key, "identity", 8);
	record_put_identity(p, key->bytes, key->len, &x, value);
}

static int
get_slot(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	return record_get_slot(p, key, key_len, value, len, out->digest);
}

static void
make_slot(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	record_slot_key("acme", KIND_SECRET, 4, key);
	record_put_slot(p, key->bytes, key->len, digest, value);
}

static int
get_expiry(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	(void)out;
	return record_get_empty(p, TABLE_EXPIRY, key, key_len, value, len);
}

static void
make_expiry(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	record_time_key(T0, digest, key);
	record_put_empty(p, TABLE_EXPIRY, key->bytes, key->len, value);
}

static int
get_token_age(const struct pepper *p, const void *key, size_t key_len, const void *value, size_t len, union any *out)
{
	(void)out;
	return record_get_empty(p, TABLE_TOKEN_AGE, key, key_len, value, len);
}

static void
make_token_age(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	record_time_key(T0, digest, key);
	record_put_empty(p, TABLE_TOKEN_AGE, key->bytes, key->len, value);
}

/* What schema 1 wrote: read, and no longer written. */
#define KEY_1 "010101000000000300000009000001a0c4506c00754164300461636d652a444d3b4d78fc2d2a65cfe1ffa7b82c"
#define GRACE_1 \
	"010102010000000300000009000001a0c4506c00000001a0c976c8000000000000000000754164300461636d65" \
	"48f341f01cdcc2fdc3a1d77f5f9953c6"
#define ACCOUNT_1 \
	"01000001a0c4506c00000001a0c4506c0100000004000000010100000003000001a0c976c800f9d450d451a8d1adf5c76804c790374d"
#define SLOT_1 "01" D_HEX "e3d2a43c279fd8b4138ffb8852aa6328"

/* And what schemas 2 and 3 wrote. */
#define EVENT_1 "01020100000004000001a0c4506c00000001a0c976c800754164300461636d65ce53e0bf75c83c613a96a92e0c2622dc"
#define EVENT_2 \
	"02020100000004000001a0c4506c00000001a0c976c800754164300461636d6501000003e80000004d" \
	"985ef599814760494df5d1a5d8ad66e4"

static void
set_hex(struct record_bytes *bytes, const char *hex)
{
	assert_int_equal(
	    sodium_hex2bin(bytes->bytes, sizeof(bytes->bytes), hex, strlen(hex), NULL, &bytes->len, NULL), 0);
}

static void
make_key_1(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	set_key(key, digest, sizeof(digest));
	set_hex(value, KEY_1);
}

static void
make_grace_1(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	set_key(key, digest, sizeof(digest));
	set_hex(value, GRACE_1);
}

static void
make_account_1(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	set_key(key, "acme", 4);
	set_hex(value, ACCOUNT_1);
}

static void
make_slot_1(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	record_slot_key("acme", KIND_SECRET, 4, key);
	set_hex(value, SLOT_1);
}

static void
make_event_1(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	record_sequence_key(5, key);
	set_hex(value, EVENT_1);
}

static void
make_event_2(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	(void)p;
	record_sequence_key(5, key);
	set_hex(value, EVENT_2);
}

static void
make_event_over_tls(const struct pepper *p, struct record_bytes *key, struct record_bytes *value)
{
	struct record_event x = { .time_ms = T0,
		.type = EVENT_ACCOUNT_SUSPENDED,
		.account = "acme",
		.by = { .address = "192.0.2.7:50312", .certificate = "ops" },
		.on_behalf_of = "ada" };

	record_sequence_key(5, key);
	record_put_event(p, key->bytes, key->len, &x, value);
}

static const struct kind_of_record kinds[] = {
	{ "key", get_key, make_key, D_HEX,
	    "0205030000000980d8c1a28c347541643061636d6573c1ae9187d400d16de882f0545a9413" },
	{ "key in grace", get_key, make_grace, D_HEX,
	    "0229030000000980d8c1a28c348090dbcb8c34007541643061636d656bc64a6625f9e235e70cb0ac8e6d8327" },
	{ "account", get_account, make_account, "61636d65",
	    "020780d8c1a28c3481d8c1a28c340401404142434445464748494a4b4c4d4e4f8081828384858687"
	    "88898a8b8c8d8e8f038090dbcb8c34b5a35e446c368e491c0d5ebcee2a520c" },
	{ "token", get_token, make_token, D_HEX,
	    "01000001a0c4506c00000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f7365616c6564"
	    "33e4ec34acf11d4ea481a45fadcf9ef5" },
	{ "event", get_event, make_event, "0000000000000005",
	    "03020100000004000001a0c4506c00000001a0c976c800754164300461636d6501000003e80000004d00"
	    "7fb5f4fe6fb3a08435a41c8e05453743" },
	{ "state", get_state, make_state, "7374617465",
	    "010000000000000001000001a0c4506c000000000000000002000000036087931677bba75c8955bb777e4a107d" },
	{ "identity", get_identity, make_identity, "6964656e74697479",
	    "0100000001010102030405060708090a0b0c0d0e0f10" D_HEX "1a1157fc37f8cb80747bc5ee4287ab45" },
	{ "slot", get_slot, make_slot, "61636d65000100000004",
	    "02808182838485868788898a8b8c8d8e8fa52fab33a1dcca70b3fee5d3443f69f5" },
	{ "expiry", get_expiry, make_expiry, "000001a0c4506c00" D_HEX, "015becea9110337874fda65db41452fe7a" },
	{ "token age", get_token_age, make_token_age, "000001a0c4506c00" D_HEX, "0143c05b394fee0f01aacfbd61987c4221" },
	{ "account with one reference", get_account, make_half_account, "61636d65",
	    "020280d8c1a28c34000401808182838485868788898a8b8c8d8e8f984f64992f3b4bd4835df1e5d6cfb82e" },
	{ "event over TLS", get_event, make_event_over_tls, "0000000000000005",
	    "03050000000000000001a0c4506c000000000000000000000000000461636d65020f3139322e302e322e373a3530333132036f7073"
	    "03616461975bba18905f037de271ef68f089eb97" },
	{ "key of version 1", get_key, make_key_1, D_HEX, KEY_1 },
	{ "key in grace of version 1", get_key, make_grace_1, D_HEX, GRACE_1 },
	{ "account of version 1", get_account, make_account_1, "61636d65", ACCOUNT_1 },
	{ "event of version 1", get_event, make_event_1, "0000000000000005", EVENT_1 },
	{ "event of version 2", get_event, make_event_2, "0000000000000005", EVENT_2 },
	{ "slot of version 1", get_slot, make_slot_1, "61636d65000100000004", SLOT_1 },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Read from copies of exactly these lengths, so that a sanitizer sees a read behind them. */
static int
get(const struct kind_of_record *k, const struct pepper *p, const void *key, size_t key_len, const void *value,
    size_t len)
{
	uint8_t *key_copy = malloc(key_len + 1), *value_copy = malloc(len > 0 ? len : 1);
	union any out;
	int rc;

	assert_non_null(key_copy);
	assert_non_null(value_copy);
	if (key_len > 0)
		memcpy(key_copy, key, key_len);
	if (len > 0)
		memcpy(value_copy, value, len);
	rc = k->get(p, key_copy, key_len, value_copy, len, &out);
	free(key_copy);
	free(value_copy);
	return rc;
}

/* ---- all types ---- */

static void
golden(void **state)
{
	struct record_bytes key, value;
	char hex[2 * RECORD_MAX + 1];

	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		kinds[i].make(pepper, &key, &value);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), key.bytes, key.len), kinds[i].golden_key);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), value.bytes, value.len), kinds[i].golden_value);
		assert_int_equal(get(&kinds[i], pepper, key.bytes, key.len, value.bytes, value.len), 0);
	}
}

static void
every_flipped_bit_is_noticed(void **state)
{
	struct record_bytes key, value;

	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		kinds[i].make(pepper, &key, &value);
		for (size_t bit = 0; bit < 8 * value.len; bit++) {
			value.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
			assert_int_equal(
			    get(&kinds[i], pepper, key.bytes, key.len, value.bytes, value.len), -FAULT_CORRUPT);
			value.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
		for (size_t bit = 0; bit < 8 * key.len; bit++) {
			key.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
			assert_int_equal(
			    get(&kinds[i], pepper, key.bytes, key.len, value.bytes, value.len), -FAULT_CORRUPT);
			key.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
	}
}

static void
every_other_length_is_noticed(void **state)
{
	struct record_bytes key, value;
	uint8_t longer[RECORD_MAX + 64];

	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		kinds[i].make(pepper, &key, &value);
		memset(longer, 0, sizeof(longer));
		memcpy(longer, value.bytes, value.len);
		for (size_t len = 0; len <= sizeof(longer); len++)
			if (len != value.len)
				assert_int_equal(
				    get(&kinds[i], pepper, key.bytes, key.len, longer, len), -FAULT_CORRUPT);
		/* Without its beginning, and with its key cut or longer. */
		for (size_t cut = 1; cut < value.len; cut++)
			assert_int_equal(get(&kinds[i], pepper, key.bytes, key.len, value.bytes + cut, value.len - cut),
			    -FAULT_CORRUPT);
		memset(longer, 0, sizeof(longer));
		memcpy(longer, key.bytes, key.len);
		for (size_t len = 0; len <= RECORD_KEY_MAX + 64; len++)
			if (len != key.len)
				assert_int_equal(
				    get(&kinds[i], pepper, longer, len, value.bytes, value.len), -FAULT_CORRUPT);
	}
}

/* A record belongs to its table, its key and its pepper. */
static void
another_place_is_noticed(void **state)
{
	struct pepper *other = fixture_pepper(8);
	struct record_bytes key, value, other_key, other_value;

	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		kinds[i].make(pepper, &key, &value);
		assert_int_equal(get(&kinds[i], other, key.bytes, key.len, value.bytes, value.len), -FAULT_CORRUPT);
		for (size_t j = 0; j < N_KINDS; j++) {
			if (kinds[j].get == kinds[i].get)
				continue;
			/* Read as another type, under its own key and under that type's. */
			kinds[j].make(pepper, &other_key, &other_value);
			assert_int_equal(
			    get(&kinds[j], pepper, key.bytes, key.len, value.bytes, value.len), -FAULT_CORRUPT);
			assert_int_equal(get(&kinds[j], pepper, other_key.bytes, other_key.len, value.bytes, value.len),
			    -FAULT_CORRUPT);
		}
	}
	/* One key's record in place of another's: the same type, the same length. */
	kinds[0].make(pepper, &key, &value);
	memset(key.bytes, 0x11, key.len);
	assert_int_equal(get(&kinds[0], pepper, key.bytes, key.len, value.bytes, value.len), -FAULT_CORRUPT);
	pepper_free(other);
}

/* What record.c puts behind a value. */
static void
tag_again(enum table table, const void *key, size_t key_len, struct record_bytes *value)
{
	uint8_t buf[2 + RECORD_KEY_MAX + RECORD_MAX];

	buf[0] = (uint8_t)table;
	buf[1] = (uint8_t)key_len;
	memcpy(buf + 2, key, key_len);
	memcpy(buf + 2 + key_len, value->bytes, value->len);
	pepper_tag(pepper, buf, 2 + key_len + value->len, value->bytes + value->len);
	value->len += PEPPER_TAG_LEN;
}

/* Invalid records with a correct tag are refused, too. */
static void
a_form_that_is_wrong_is_noticed(void **state)
{
	struct record_key x = example_key();
	struct record_bytes value, key;
	struct record_account a = { .account = "acme" };
	struct record_identity identity = { .schema = 1, .environment = (enum environment)3 };
	union any out;

	(void)state;
	x.kind = (enum kind)3;
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	x = example_key();
	x.state = (enum key_state)0;
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	x.state = (enum key_state)5;
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	x = example_key();
	x.account[0] = '\0';
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	/* A NUL in an account's id, under a right tag. */
	x = example_key();
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	value.len -= PEPPER_TAG_LEN;
	value.bytes[value.len - 1] = '\0';
	tag_again(TABLE_KEYS, digest, sizeof(digest), &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);

	record_put_identity(pepper, "identity", 8, &identity, &value);
	assert_int_equal(get_identity(pepper, "identity", 8, value.bytes, value.len, &out), -FAULT_CORRUPT);

	/* The empty record of an index, tagged for the table of keys and so on: the tag fits, the form does not. */
	record_put_empty(pepper, TABLE_KEYS, digest, sizeof(digest), &value);
	assert_int_equal(get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	record_put_empty(pepper, TABLE_TOKENS, digest, sizeof(digest), &value);
	assert_int_equal(get_token(pepper, digest, sizeof(digest), value.bytes, value.len, &out), -FAULT_CORRUPT);
	record_put_empty(pepper, TABLE_ACCOUNTS, "acme", 4, &value);
	assert_int_equal(get_account(pepper, "acme", 4, value.bytes, value.len, &out), -FAULT_CORRUPT);
	record_put_empty(pepper, TABLE_EVENTS, digest, 8, &value);
	assert_int_equal(get_event(pepper, digest, 8, value.bytes, value.len, &out), -FAULT_CORRUPT);
	record_put_empty(pepper, TABLE_META, "state", 5, &value);
	assert_int_equal(get_state(pepper, "state", 5, value.bytes, value.len, &out), -FAULT_CORRUPT);
	record_slot_key("acme", KIND_SECRET, 1, &key);
	record_put_empty(pepper, TABLE_SLOTS, key.bytes, key.len, &value);
	assert_int_equal(get_slot(pepper, key.bytes, key.len, value.bytes, value.len, &out), -FAULT_CORRUPT);

	/* A tag over nothing, whose first bytes look like a record. */
	for (uint32_t n = 0; n < 2000; n++) {
		uint8_t bare[2 + RECORD_DIGEST_LEN] = { TABLE_TOKENS, RECORD_DIGEST_LEN }, tag[PEPPER_TAG_LEN];

		memcpy(bare + 2, &n, sizeof(n));
		pepper_tag(pepper, bare, sizeof(bare), tag);
		assert_int_equal(
		    get_token(pepper, bare + 2, RECORD_DIGEST_LEN, tag, sizeof(tag), &out), -FAULT_CORRUPT);
	}

	/* An account under a key longer than an account id, and an event under one that is no sequence. */
	memset(key.bytes, 'a', LIMIT_ACCOUNT + 1);
	record_put_account(pepper, key.bytes, LIMIT_ACCOUNT + 1, &a, &value);
	assert_int_equal(
	    get_account(pepper, key.bytes, LIMIT_ACCOUNT + 1, value.bytes, value.len, &out), -FAULT_CORRUPT);
}

/* ---- each type, with its extremes ---- */

#define LONGEST "AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.1234"

static void
assert_same_key(const struct record_key *a, const struct record_key *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->suspended, b->suspended);
	assert_int_equal(a->generation, b->generation);
	assert_int_equal(a->serial, b->serial);
	assert_int_equal(a->created_ms, b->created_ms);
	assert_int_equal(a->expires_ms, b->expires_ms);
	assert_int_equal(a->ended_ms, b->ended_ms);
	assert_memory_equal(a->last4, b->last4, 4);
	assert_string_equal(a->account, b->account);
}

static void
keys(void **state)
{
	static const struct record_key cases[] = {
		{ .kind = KIND_SECRET, .state = KEY_CURRENT, .account = "a" },
		{ .kind = KIND_PUBLISHABLE,
		    .state = KEY_CURRENT,
		    .suspended = true,
		    .generation = UINT32_MAX,
		    .serial = UINT32_MAX,
		    .created_ms = INT64_MAX,
		    .last4 = { '\0', '\xff', 'z', '0' },
		    .account = LONGEST },
		{ .kind = KIND_SECRET,
		    .state = KEY_GRACE,
		    .generation = 1,
		    .created_ms = 1,
		    .expires_ms = INT64_MAX,
		    .account = LONGEST },
		{ .kind = KIND_SECRET,
		    .state = KEY_EXPIRED,
		    .suspended = true,
		    .expires_ms = 2,
		    .ended_ms = 2,
		    .account = "b" },
		{ .kind = KIND_PUBLISHABLE, .state = KEY_REVOKED, .ended_ms = INT64_MAX, .account = "c" },
		{ .kind = KIND_SECRET,
		    .state = KEY_REVOKED,
		    .created_ms = INT64_MIN,
		    .expires_ms = INT64_MIN,
		    .ended_ms = INT64_MIN,
		    .account = "-" },
	};

	(void)state;
	assert_int_equal(strlen(LONGEST), LIMIT_ACCOUNT);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_bytes value;
		struct record_key got;

		record_put_key(pepper, digest, sizeof(digest), &cases[i], &value);
		memset(&got, 0xee, sizeof(got));
		assert_int_equal(record_get_key(pepper, digest, sizeof(digest), value.bytes, value.len, &got), 0);
		assert_same_key(&got, &cases[i]);
	}
}

static void
accounts(void **state)
{
	struct record_account x = { .created_ms = INT64_MAX,
		.suspended_ms = INT64_MAX,
		.secret_generation = UINT32_MAX,
		.publishable_generation = UINT32_MAX,
		.account = LONGEST };

	(void)state;
	memset(x.ref[0], 0xa0, sizeof(x.ref[0]));
	memset(x.ref[1], 0xb1, sizeof(x.ref[1]));
	for (uint8_t n = 0; n <= LIMIT_IN_GRACE; n++) {
		struct record_account got;
		struct record_bytes value;

		x.n_grace = n;
		x.has_ref[0] = (n & 1) != 0;
		x.has_ref[1] = (n & 2) != 0;
		for (unsigned i = 0; i < n; i++) {
			x.grace[i].generation = UINT32_MAX - i;
			x.grace[i].expires_ms = INT64_MAX - i;
		}
		record_put_account(pepper, LONGEST, LIMIT_ACCOUNT, &x, &value);
		memset(&got, 0xee, sizeof(got));
		assert_int_equal(record_get_account(pepper, LONGEST, LIMIT_ACCOUNT, value.bytes, value.len, &got), 0);
		assert_string_equal(got.account, LONGEST);
		assert_int_equal(got.created_ms, x.created_ms);
		assert_int_equal(got.suspended_ms, x.suspended_ms);
		assert_int_equal(got.secret_generation, x.secret_generation);
		assert_int_equal(got.publishable_generation, x.publishable_generation);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(got.has_ref[i], x.has_ref[i]);
			if (got.has_ref[i])
				assert_memory_equal(got.ref[i], x.ref[i], sizeof(x.ref[i]));
		}
		assert_int_equal(record_generation(&got, KIND_SECRET), x.secret_generation);
		assert_int_equal(record_generation(&got, KIND_PUBLISHABLE), x.publishable_generation);
		assert_int_equal(got.n_grace, n);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(got.grace[i].generation, x.grace[i].generation);
			assert_int_equal(got.grace[i].expires_ms, x.grace[i].expires_ms);
		}
	}
}

/* Records of the schemas before keep their meaning. */
static void
versions_before(void **state)
{
	struct record_key expected = example_key();
	struct record_bytes key, value;
	uint8_t ref[RECORD_REF_LEN];
	struct record_account a;
	struct record_event e;
	struct record_key got;

	(void)state;
	make_key_1(pepper, &key, &value);
	memset(&got, 0xee, sizeof(got));
	assert_int_equal(record_get_key(pepper, key.bytes, key.len, value.bytes, value.len, &got), 0);
	assert_same_key(&got, &expected);
	make_grace_1(pepper, &key, &value);
	memset(&got, 0xee, sizeof(got));
	assert_int_equal(record_get_key(pepper, key.bytes, key.len, value.bytes, value.len, &got), 0);
	expected.state = KEY_GRACE;
	expected.suspended = true;
	expected.expires_ms = T0 + FIXTURE_DAY_MS;
	assert_same_key(&got, &expected);

	make_account_1(pepper, &key, &value);
	memset(&a, 0xee, sizeof(a));
	assert_int_equal(record_get_account(pepper, key.bytes, key.len, value.bytes, value.len, &a), 0);
	assert_string_equal(a.account, "acme");
	assert_int_equal(a.created_ms, T0);
	assert_int_equal(a.suspended_ms, T0 + 1);
	assert_int_equal(a.secret_generation, 4);
	assert_int_equal(a.publishable_generation, 1);
	assert_int_equal(a.n_grace, 1);
	assert_int_equal(a.grace[0].generation, 3);
	assert_int_equal(a.grace[0].expires_ms, T0 + FIXTURE_DAY_MS);
	/* Its current keys are in slots, all of them. */
	assert_false(a.has_ref[0] || a.has_ref[1]);

	make_event_1(pepper, &key, &value);
	memset(&e, 0xee, sizeof(e));
	assert_int_equal(record_get_event(pepper, key.bytes, key.len, value.bytes, value.len, &e), 0);
	assert_string_equal(e.account, "acme");
	assert_int_equal(e.generation, 4);
	assert_memory_equal(&e.by, &(struct peer){ 0 }, sizeof(e.by));
	assert_string_equal(e.on_behalf_of, "");
	make_event_2(pepper, &key, &value);
	memset(&e, 0xee, sizeof(e));
	assert_int_equal(record_get_event(pepper, key.bytes, key.len, value.bytes, value.len, &e), 0);
	assert_int_equal(e.by.pid, 77);
	assert_string_equal(e.on_behalf_of, "");

	make_slot_1(pepper, &key, &value);
	assert_int_equal(record_get_slot(pepper, key.bytes, key.len, value.bytes, value.len, ref), 0);
	assert_memory_equal(ref, digest, sizeof(ref));
}

/* Bodies that carry a fitting tag, so that only their form can be refused. Of a time a varint may fill all 64 bits. */
static void
forms_of_version_2(void **state)
{
	static const struct {
		enum table table;
		const char *body; /* hex, before the tag */
		int fault;
	} cases[] = {
		/* Bits, created, suspended, secret generation, publishable generation. */
		{ TABLE_ACCOUNTS, "020001000100", 0 },
		{ TABLE_ACCOUNTS, "0200010001ffffffff0f", 0 },
		{ TABLE_ACCOUNTS, "0200010001ffffffff1f", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "02000100018080808010", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "0200010001ffffffffffffffffff01", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "0200010001ff", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "0200010001", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "02000100010000", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "0200ffffffffffffffffff01000100", 0 },
		{ TABLE_ACCOUNTS, "0200ffffffffffffffffff02000100", -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "0200ffffffffffffffffffff01000100", -FAULT_CORRUPT },
		/* Eight in grace, and nine. */
		{ TABLE_ACCOUNTS, "02200100010001010201030104010501060107010801", 0 },
		{ TABLE_ACCOUNTS, "022401000100010102010301040105010601070108010901", -FAULT_CORRUPT },
		/* A reference that is cut short. */
		{ TABLE_ACCOUNTS,
		    "020101000100"
		    "000102030405060708090a0b0c0d0e0f",
		    0 },
		{ TABLE_ACCOUNTS,
		    "020101000100"
		    "000102030405060708090a0b0c0d0e",
		    -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS,
		    "020301000100"
		    "000102030405060708090a0b0c0d0e0f",
		    -FAULT_CORRUPT },
		/* Bits, generation, serial, created, last4, account. */
		{ TABLE_KEYS,
		    "02050100000000"
		    "01"
		    "61626364"
		    "61",
		    0 },
		{ TABLE_KEYS,
		    "02450100000000"
		    "01"
		    "61626364"
		    "61",
		    -FAULT_CORRUPT },
		{ TABLE_KEYS,
		    "02850100000000"
		    "01"
		    "61626364"
		    "61",
		    -FAULT_CORRUPT },
		{ TABLE_KEYS,
		    "02040100000000"
		    "01"
		    "61626364"
		    "61",
		    -FAULT_CORRUPT },
		{ TABLE_KEYS,
		    "02010100000000"
		    "01"
		    "61626364"
		    "61",
		    -FAULT_CORRUPT },
		{ TABLE_KEYS,
		    "02050100000000"
		    "01"
		    "61626364",
		    -FAULT_CORRUPT },
		/* Of a later version. */
		{ TABLE_KEYS,
		    "03050100000000"
		    "01"
		    "61626364"
		    "61",
		    -FAULT_CORRUPT },
		{ TABLE_ACCOUNTS, "000001000100", -FAULT_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t tagged[2 + 4 + 128] = { (uint8_t)cases[i].table, 4, 'a', 'c', 'm', 'e' };
		struct record_bytes value;
		union any out;
		int fault;

		set_hex(&value, cases[i].body);
		memcpy(tagged + 6, value.bytes, value.len);
		pepper_tag(pepper, tagged, 6 + value.len, value.bytes + value.len);
		value.len += PEPPER_TAG_LEN;
		fault = cases[i].table == TABLE_KEYS ? get_key(pepper, "acme", 4, value.bytes, value.len, &out) :
						       get_account(pepper, "acme", 4, value.bytes, value.len, &out);
		if (fault != cases[i].fault)
			fail_msg("%s: %d", cases[i].body, fault);
	}
}

/* A database of ten million keys consists mostly of these two records. */
static void
what_they_take(void **state)
{
	struct record_account a = {
		.created_ms = T0, .secret_generation = 1, .publishable_generation = 1, .has_ref = { true, true }
	};
	struct record_key x = example_key();
	struct record_bytes value;

	(void)state;
	record_put_key(pepper, digest, sizeof(digest), &x, &value);
	assert_int_equal(value.len, 1 + 1 + 1 + 4 + 6 + 4 + strlen(x.account) + PEPPER_TAG_LEN);
	record_put_account(pepper, "acme", 4, &a, &value);
	assert_int_equal(value.len, 1 + 1 + 6 + 1 + 1 + 1 + 2 * RECORD_REF_LEN + PEPPER_TAG_LEN);
}

static void
tokens(void **state)
{
	static uint8_t sealed[RECORD_REPLY_MAX + PEPPER_SEAL_LEN];
	static const size_t lens[] = { 0, 1, PEPPER_SEAL_LEN, sizeof(sealed) };

	(void)state;
	randombytes_buf(sealed, sizeof(sealed));
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct record_token x = { .created_ms = INT64_MAX, .sealed = sealed, .sealed_len = lens[i] }, got;
		struct record_bytes value;

		memset(x.request, 0xff, sizeof(x.request));
		record_put_token(pepper, digest, sizeof(digest), &x, &value);
		assert_int_equal(record_get_token(pepper, digest, sizeof(digest), value.bytes, value.len, &got), 0);
		assert_int_equal(got.created_ms, x.created_ms);
		assert_memory_equal(got.request, x.request, sizeof(x.request));
		assert_int_equal(got.sealed_len, lens[i]);
		assert_memory_equal(got.sealed, sealed, lens[i]);
	}
}

/* Cut at any length, under a correct tag. (The last byte is a length.) */
static void
an_event_that_is_cut_is_noticed(void **state)
{
	static const struct record_event cases[] = {
		{ .type = EVENT_ACCOUNT_CREATED, .account = "acme" },
		{ .type = EVENT_ACCOUNT_CREATED, .account = "acme", .by = { .known = true, .uid = 1, .pid = 2 } },
		{ .type = EVENT_ACCOUNT_CREATED, .account = "acme", .by = { .address = "a", .certificate = "b" } },
		{ .type = EVENT_ACCOUNT_CREATED, .account = "acme", .by = { .known = true }, .on_behalf_of = "ada" },
		{ .type = EVENT_RESTORED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_bytes key, whole, cut;
		union any out;

		record_sequence_key(5, &key);
		record_put_event(pepper, key.bytes, key.len, &cases[i], &whole);
		for (size_t len = 0; len < whole.len - PEPPER_TAG_LEN; len++) {
			cut = whole;
			cut.len = len;
			tag_again(TABLE_EVENTS, key.bytes, key.len, &cut);
			assert_int_equal(
			    get_event(pepper, key.bytes, key.len, cut.bytes, cut.len, &out), -FAULT_CORRUPT);
		}
	}
}

static void
events(void **state)
{
	static const struct record_event cases[] = {
		{ .sequence = 0, .type = EVENT_ACCOUNT_CREATED, .account = "a" },
		{ .sequence = 7, .time_ms = T0, .type = EVENT_RESTORED },
		{ .sequence = 8, .type = EVENT_KEY_REVOKED, .account = "a", .by = { .known = true, .pid = 1 } },
		{ .sequence = 9,
		    .type = EVENT_KEY_REVOKED,
		    .account = "a",
		    .by = { .known = true, .uid = UINT32_MAX, .pid = UINT32_MAX } },
		{ .sequence = 10, .type = EVENT_KEY_REVOKED, .account = "a", .by = { .address = "127.0.0.1:1" } },
		{ .sequence = 11, .type = EVENT_KEY_REVOKED, .account = "a", .on_behalf_of = "ada" },
		{ .sequence = UINT64_MAX,
		    .time_ms = INT64_MAX,
		    .type = EVENT_ACCOUNT_RESUMED,
		    .kind = KIND_PUBLISHABLE,
		    .generation = UINT32_MAX,
		    .expires_ms = INT64_MAX,
		    .last4 = { 'a', 'b', 'c', '\xff' },
		    .account = LONGEST,
		    .by = { .address = "[0000:0000:0000:0000:0000:ffff:255.255.255.255%abcdefghijk]:655",
			.certificate = LONGEST },
		    .on_behalf_of = LONGEST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_bytes key, value;
		struct record_event got;

		record_sequence_key(cases[i].sequence, &key);
		record_put_event(pepper, key.bytes, key.len, &cases[i], &value);
		assert_int_equal(record_get_event(pepper, key.bytes, key.len, value.bytes, value.len, &got), 0);
		assert_int_equal(got.sequence, cases[i].sequence);
		assert_int_equal(got.time_ms, cases[i].time_ms);
		assert_int_equal(got.type, cases[i].type);
		assert_int_equal(got.kind, cases[i].kind);
		assert_int_equal(got.generation, cases[i].generation);
		assert_int_equal(got.expires_ms, cases[i].expires_ms);
		assert_memory_equal(got.last4, cases[i].last4, 4);
		assert_string_equal(got.account, cases[i].account);
		assert_memory_equal(&got.by, &cases[i].by, sizeof(got.by));
		assert_string_equal(got.on_behalf_of, cases[i].on_behalf_of);
	}
}

/* A person's name: what a line of JSON has as it is. */
static void
names(void **state)
{
	static const char *const good[] = { "", "a", "Ada Lovelace <ada@example.com>", LONGEST };
	static const char too_long[] = LONGEST "x";
	static const char *const bad[] = { too_long, "a\"", "a\\", "a\n", "a\x7f", "\xc3\xa9", "\xff" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(record_on_behalf_of_ok(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(record_on_behalf_of_ok(bad[i], strlen(bad[i])));
	assert_false(record_on_behalf_of_ok("a\0b", 3));
}

static void
meta(void **state)
{
	struct record_state x = { UINT64_MAX, INT64_MAX, UINT64_MAX, UINT32_MAX, false }, got;
	struct record_identity identity = { .schema = UINT32_MAX, .environment = ENVIRONMENT_TEST }, got_identity;
	struct record_bytes value;

	(void)state;
	record_put_state(pepper, "state", 5, &x, &value);
	assert_int_equal(record_get_state(pepper, "state", 5, value.bytes, value.len, &got), 0);
	assert_true(got.revision == x.revision && got.newest_ms == x.newest_ms &&
	    got.event_sequence == x.event_sequence && got.next_serial == x.next_serial);
	assert_false(got.imported);
	/* An import adds a byte, which is 1; without one the record is as it was before there were imports. */
	assert_int_equal(value.len, 1 + 8 + 8 + 8 + 4 + 16);
	x.imported = true;
	record_put_state(pepper, "state", 5, &x, &value);
	assert_int_equal(value.len, 1 + 8 + 8 + 8 + 4 + 1 + 16);
	assert_int_equal(record_get_state(pepper, "state", 5, value.bytes, value.len, &got), 0);
	assert_true(got.imported && got.next_serial == x.next_serial);

	memset(identity.id, 0xff, sizeof(identity.id));
	memcpy(identity.fingerprint, digest, sizeof(digest));
	record_put_identity(pepper, "identity", 8, &identity, &value);
	/* Before the pepper is known the tag is not looked at; with the pepper it is. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    record_get_identity(i == 0 ? NULL : pepper, "identity", 8, value.bytes, value.len, &got_identity),
		    0);
		assert_int_equal(got_identity.schema, UINT32_MAX);
		assert_int_equal(got_identity.environment, ENVIRONMENT_TEST);
		assert_memory_equal(got_identity.id, identity.id, sizeof(identity.id));
		assert_memory_equal(got_identity.fingerprint, digest, sizeof(digest));
	}
	value.bytes[value.len - 1] ^= 1;
	assert_int_equal(record_get_identity(NULL, "identity", 8, value.bytes, value.len, &got_identity), 0);
	assert_int_equal(
	    record_get_identity(pepper, "identity", 8, value.bytes, value.len, &got_identity), -FAULT_CORRUPT);
	/* Of any length, tag or no tag, nothing is read behind the end. */
	for (size_t len = 0; len < value.len; len++)
		assert_int_equal(get(&kinds[6], NULL, "identity", 8, value.bytes, len), -FAULT_CORRUPT);
}

/* ---- keys of tables ---- */

static int
compare(const struct record_bytes *a, const struct record_bytes *b)
{
	int c = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);

	return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

static void
keys_sort_as_numbers_do(void **state)
{
	static const uint64_t numbers[] = { 0, 1, 255, 256, 65535, 65536, UINT32_MAX, (uint64_t)UINT32_MAX + 1,
		(uint64_t)INT64_MAX };
	static const struct {
		const char *account;
		enum kind kind;
		uint32_t generation;
	} slots[] = {
		{ "a", KIND_SECRET, 1 },
		{ "a", KIND_SECRET, 2 },
		{ "a", KIND_SECRET, 256 },
		{ "a", KIND_SECRET, UINT32_MAX },
		{ "a", KIND_PUBLISHABLE, 1 },
		{ "a-", KIND_SECRET, 1 },
		{ "a.", KIND_SECRET, 1 },
		{ "aa", KIND_SECRET, 1 },
		{ "b", KIND_SECRET, 1 },
		{ LONGEST, KIND_SECRET, 1 },
	};
	struct record_bytes key, before;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++, before = key) {
		record_sequence_key(numbers[i], &key);
		if (i > 0)
			assert_true(compare(&before, &key) < 0);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++, before = key) {
		record_time_key((int64_t)numbers[i], digest, &key);
		assert_int_equal(key.len, 40);
		if (i > 0)
			assert_true(compare(&before, &key) < 0);
	}
	for (size_t i = 0; i + 1 < sizeof(slots) / sizeof(slots[0]); i++, before = key) {
		record_slot_key(slots[i].account, slots[i].kind, slots[i].generation, &key);
		if (i > 0)
			assert_true(compare(&before, &key) < 0);
	}
	record_slot_key(LONGEST, KIND_SECRET, 1, &key);
	assert_int_equal(key.len, RECORD_KEY_MAX);
}

static void
account_ids(void **state)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	(void)state;
	for (int c = 0; c < 256; c++) {
		char id[3] = { 'a', (char)c, 'b' };

		assert_int_equal(record_account_ok(id, 3), c != 0 && strchr(good, c) != NULL);
	}
	assert_false(record_account_ok("", 0));
	assert_false(record_account_ok(NULL, 0));
	assert_true(record_account_ok("a", 1));
	assert_true(record_account_ok(LONGEST, LIMIT_ACCOUNT));
	assert_false(record_account_ok(LONGEST "a", LIMIT_ACCOUNT + 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(every_other_length_is_noticed),
		cmocka_unit_test(another_place_is_noticed),
		cmocka_unit_test(a_form_that_is_wrong_is_noticed),
		cmocka_unit_test(keys),
		cmocka_unit_test(accounts),
		cmocka_unit_test(versions_before),
		cmocka_unit_test(forms_of_version_2),
		cmocka_unit_test(what_they_take),
		cmocka_unit_test(tokens),
		cmocka_unit_test(an_event_that_is_cut_is_noticed),
		cmocka_unit_test(events),
		cmocka_unit_test(names),
		cmocka_unit_test(meta),
		cmocka_unit_test(keys_sort_as_numbers_do),
		cmocka_unit_test(account_ids),
	};

	return cmocka_run_group_tests_name("record", tests, setup, teardown);
}
