/*
 * fuzz_record.c - every record's decoder on any bytes, with a correct tag, so that the decoder is reached. A record that
 * it accepts must decode to the same when it is encoded again, as fobd does with records of an older format; in the
 * newest format it must be the same bytes. Then one bit is flipped, which the tag must detect.
 *
 *	input: 1 byte: which record; 1 byte: bit to flip; 1 byte: length of the table's key; the key; the value without
 *	tag
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/store/record.h"
#include "tests/fuzz/fuzz.h"

enum { A_KEY, AN_ACCOUNT, A_TOKEN, AN_EVENT, A_STATE, AN_IDENTITY, A_SLOT, AN_EXPIRY, A_TOKEN_AGE, RECORDS };

static const enum table tables[RECORDS] = { TABLE_KEYS, TABLE_ACCOUNTS, TABLE_TOKENS, TABLE_EVENTS, TABLE_META,
	TABLE_META, TABLE_SLOTS, TABLE_EXPIRY, TABLE_TOKEN_AGE };

union record {
	struct record_key key;
	struct record_account account;
	struct record_token token;
	struct record_event event;
	struct record_state state;
	struct record_identity identity;
	uint8_t digest[RECORD_DIGEST_LEN];
};

static struct pepper *pepper;

static int
get(unsigned which, const void *key, size_t key_len, const void *value, size_t len, union record *x)
{
	switch (which) {
	case A_KEY:
		return record_get_key(pepper, key, key_len, value, len, &x->key);
	case AN_ACCOUNT:
		return record_get_account(pepper, key, key_len, value, len, &x->account);
	case A_TOKEN:
		return record_get_token(pepper, key, key_len, value, len, &x->token);
	case AN_EVENT:
		return record_get_event(pepper, key, key_len, value, len, &x->event);
	case A_STATE:
		return record_get_state(pepper, key, key_len, value, len, &x->state);
	case AN_IDENTITY:
		return record_get_identity(pepper, key, key_len, value, len, &x->identity);
	case A_SLOT:
		return record_get_slot(pepper, key, key_len, value, len, x->digest);
	default:
		return record_get_empty(pepper, tables[which], key, key_len, value, len);
	}
}

static void
put(unsigned which, const void *key, size_t key_len, const union record *x, struct record_bytes *out)
{
	switch (which) {
	case A_KEY:
		record_put_key(pepper, key, key_len, &x->key, out);
		break;
	case AN_ACCOUNT:
		record_put_account(pepper, key, key_len, &x->account, out);
		break;
	case A_TOKEN:
		record_put_token(pepper, key, key_len, &x->token, out);
		break;
	case AN_EVENT:
		record_put_event(pepper, key, key_len, &x->event, out);
		break;
	case A_STATE:
		record_put_state(pepper, key, key_len, &x->state, out);
		break;
	case AN_IDENTITY:
		record_put_identity(pepper, key, key_len, &x->identity, out);
		break;
	case A_SLOT:
		record_put_slot(pepper, key, key_len, x->digest, out);
		break;
	default:
		record_put_empty(pepper, tables[which], key, key_len, out);
	}
}

/* The tag, as record.c makes it. A key or a value that is too long for any record has none. */
static void
add_tag(unsigned which, const uint8_t *key, size_t key_len, uint8_t *value, size_t len)
{
	uint8_t buf[2 + RECORD_KEY_MAX + RECORD_MAX];

	if (key_len > RECORD_KEY_MAX || len > RECORD_MAX)
		return;
	buf[0] = (uint8_t)tables[which];
	buf[1] = (uint8_t)key_len;
	memcpy(buf + 2, key, key_len);
	memcpy(buf + 2 + key_len, value, len);
	pepper_tag(pepper, buf, 2 + key_len + len, value + len);
}

static void
check_names(unsigned which, const union record *x)
{
	if (which == A_KEY)
		FUZZ_CHECK(strlen(x->key.account) >= 1 && strlen(x->key.account) <= LIMIT_ACCOUNT, "no account");
	if (which == AN_EVENT && x->event.type == EVENT_RESTORED)
		FUZZ_CHECK(x->event.account[0] == '\0', "an account");
	else if (which == AN_EVENT)
		FUZZ_CHECK(strlen(x->event.account) >= 1 && strlen(x->event.account) <= LIMIT_ACCOUNT, "no account");
	if (which == AN_ACCOUNT)
		FUZZ_CHECK(x->account.n_grace <= LIMIT_IN_GRACE, "%u keys in grace", x->account.n_grace);
}

/* Replies depend on these numbers. */
static void
check_same(unsigned which, const union record *x, const union record *y)
{
	if (which == A_KEY)
		FUZZ_CHECK(x->key.kind == y->key.kind && x->key.state == y->key.state &&
			x->key.suspended == y->key.suspended && x->key.generation == y->key.generation &&
			x->key.expires_ms == y->key.expires_ms && strcmp(x->key.account, y->key.account) == 0,
		    "another key when it is written anew");
	if (which == AN_ACCOUNT)
		FUZZ_CHECK(x->account.suspended_ms == y->account.suspended_ms &&
			x->account.n_grace == y->account.n_grace &&
			x->account.secret_generation == y->account.secret_generation &&
			memcmp(x->account.has_ref, y->account.has_ref, sizeof(x->account.has_ref)) == 0,
		    "another account when it is written anew");
}

static void
decode(unsigned which, const uint8_t *key, size_t key_len, uint8_t *value, size_t len, unsigned flip)
{
	struct record_bytes again, third;
	union record x, y;
	int rc;

	memset(&x, 0, sizeof(x));
	rc = get(which, key, key_len, value, len, &x);
	FUZZ_CHECK(rc == 0 || rc == -FAULT_CORRUPT, "a record is %d", rc);
	if (rc != 0)
		return;
	check_names(which, &x);
	put(which, key, key_len, &x, &again);
	if (which != A_KEY && which != AN_ACCOUNT && which != A_SLOT && (which != AN_EVENT || value[0] > 2))
		FUZZ_CHECK(
		    again.len == len && memcmp(again.bytes, value, len) == 0, "record %u has other bytes", which);
	memset(&y, 0, sizeof(y));
	FUZZ_CHECK(
	    get(which, key, key_len, again.bytes, again.len, &y) == 0, "record %u written anew is damage", which);
	put(which, key, key_len, &y, &third);
	FUZZ_CHECK(third.len == again.len && memcmp(third.bytes, again.bytes, third.len) == 0,
	    "record %u says something else when it is written anew", which);
	check_same(which, &x, &y);
	FUZZ_CHECK(record_sound(pepper, tables[which], key, key_len, value, len) == 0, "a whole record is not sound");

	value[flip % len] ^= (uint8_t)(1U << flip % 8);
	FUZZ_CHECK(get(which, key, key_len, value, len, &x) == -FAULT_CORRUPT, "a flipped bit is not seen");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t seed[32] = { 1 };
	uint8_t *key, *value;
	size_t key_len, len;

	if (pepper == NULL)
		FUZZ_CHECK(sodium_init() >= 0 && (pepper = pepper_from_bytes(seed)) != NULL, "no pepper");
	if (size < 3)
		return 0;
	key_len = data[2] < size - 3 ? data[2] : size - 3;
	len = size - 3 - key_len;
	key = fuzz_copy(data + 3, key_len);
	value = malloc(len + PEPPER_TAG_LEN);
	FUZZ_CHECK(value != NULL, "out of memory");
	memset(value + len, 0, PEPPER_TAG_LEN);
	memcpy(value, data + 3 + key_len, len);
	add_tag(data[0] % RECORDS, key, key_len, value, len);
	decode(data[0] % RECORDS, key, key_len, value, len + PEPPER_TAG_LEN, data[1]);
	free(key);
	free(value);
	return 0;
}
