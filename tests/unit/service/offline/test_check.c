/*
 * test_check.c - the check of a database that a real writer made: whole; with one thing wrong in each table, under a
 * correct tag, so that only the invariant can show it; and with wrong tags.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "service/store/open.h"
#include "tests/unit/service/harness.h"
#include "service/base/bytes.h"
#include "service/offline/check.h"
#include "service/lmdb/lmdb.h"

static struct harness *h;
static struct pepper *pepper;
static struct store_options options;
static void *whole; /* data.mdb as the writer left it */
static size_t whole_len;

/* ---- the database ---- */

static const char *const names[TABLES] = { "meta", "keys", "accounts", "slots", "expiry", "tokens", "token_age",
	"events" };

static void
file_name(char name[700])
{
	snprintf(name, 700, "%s/data.mdb", options.path);
}

/*
 * acme: secret 1 in grace, 2 revoked at once, 3 current, publishable 1; beta: suspended; gone: publishable 1 revoked.
 */
static int
begin(void **state)
{
	struct harness_call *hc;
	char name[700], why[512] = "";
	FILE *f;

	(void)state;
	h = harness_new();
	hc = harness_call_new(h, ROLE_ADMIN);
	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "acme", NULL));
	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "beta", NULL));
	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "gone", NULL));
	assert_non_null(harness_roll(hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	assert_non_null(harness_roll(hc, ENVIRONMENT_LIVE, "acme", 0, NULL));
	assert_int_equal(harness_suspend(hc, ENVIRONMENT_LIVE, "beta", true), 0);
	assert_int_equal(harness_revoke(hc, ENVIRONMENT_LIVE, "gone", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	harness_call_free(hc);
	harness_close(h);
	options = (struct store_options){ .environment = ENVIRONMENT_LIVE,
		.use = STORE_CHECK,
		.path = h->paths[ENVIRONMENT_LIVE][0],
		.pepper = h->paths[ENVIRONMENT_LIVE][1],
		.ceiling_bytes = 256U << 20,
		.events_kept = 1000,
		.readers = 16 };
	assert_int_equal(pepper_load(options.pepper, &pepper, why, sizeof(why)), 0);
	file_name(name);
	f = fopen(name, "r");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	whole_len = (size_t)ftell(f);
	rewind(f);
	assert_non_null(whole = malloc(whole_len));
	assert_int_equal(fread(whole, 1, whole_len, f), whole_len);
	fclose(f);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	pepper_free(pepper);
	free(whole);
	harness_free(h);
	return 0;
}

static int
put_back(void **state)
{
	char name[700];
	FILE *f;

	(void)state;
	file_name(name);
	f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(whole, 1, whole_len, f), whole_len);
	assert_int_equal(fclose(f), 0);
	return 0;
}

/* ---- tampering, with the pepper ---- */

static struct lmdb *db;
static struct lmdb_txn *txn;

static void
tamper_begin(void)
{
	struct lmdb_options lmdb_options = {
		.path = options.path, .names = names, .n_tables = TABLES, .map_bytes = 512U << 20, .readers = 16
	};
	char why[512] = "";

	if (lmdb_open(&lmdb_options, &db, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_write(txn), 0);
}

static void
tamper_end(void)
{
	assert_int_equal(lmdb_commit(txn), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
}

/* The entry ${n} of ${table}, from 0 on. */
static void
nth(enum table table, unsigned n, struct record_bytes *key, struct record_bytes *value)
{
	struct lmdb_cursor c;
	int fault = lmdb_seek(txn, table, NULL, 0, &c);

	for (; n > 0 && fault == 0; n--)
		fault = lmdb_next(&c);
	assert_int_equal(fault, 0);
	memcpy(key->bytes, c.key.data, key->len = c.key.len);
	memcpy(value->bytes, c.value.data, value->len = c.value.len);
	lmdb_cursor_end(&c);
}

/* Find the key of a slot among all keys. */
static void
find(const char *account, enum kind kind, uint32_t generation, uint8_t digest[RECORD_DIGEST_LEN], struct record_key *x)
{
	struct lmdb_cursor c;
	int fault;

	for (fault = lmdb_seek(txn, TABLE_KEYS, NULL, 0, &c); fault == 0; fault = lmdb_next(&c)) {
		assert_int_equal(record_get_key(pepper, c.key.data, c.key.len, c.value.data, c.value.len, x), 0);
		if (strcmp(x->account, account) == 0 && x->kind == kind && x->generation == generation)
			break;
	}
	assert_int_equal(fault, 0);
	memcpy(digest, c.key.data, RECORD_DIGEST_LEN);
	lmdb_cursor_end(&c);
}

static void
put_key(const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *x)
{
	struct record_bytes value;

	record_put_key(pepper, digest, RECORD_DIGEST_LEN, x, &value);
	lmdb_put(txn, TABLE_KEYS, digest, RECORD_DIGEST_LEN, value.bytes, value.len);
}

static void
put_empty(enum table table, const struct record_bytes *key)
{
	struct record_bytes value;

	record_put_empty(pepper, table, key->bytes, key->len, &value);
	lmdb_put(txn, table, key->bytes, key->len, value.bytes, value.len);
}

static void
get_account(const char *account, struct record_account *x)
{
	struct lmdb_value value;

	assert_int_equal(lmdb_get(txn, TABLE_ACCOUNTS, account, strlen(account), &value), 0);
	assert_int_equal(record_get_account(pepper, account, strlen(account), value.data, value.len, x), 0);
}

static void
put_account(const struct record_account *x)
{
	struct record_bytes value;

	record_put_account(pepper, x->account, strlen(x->account), x, &value);
	lmdb_put(txn, TABLE_ACCOUNTS, x->account, strlen(x->account), value.bytes, value.len);
}

static void
delete_nth(enum table table, unsigned n)
{
	struct record_bytes key, value;

	nth(table, n, &key, &value);
	lmdb_del(txn, table, key.bytes, key.len);
}

/* ---- one thing wrong ---- */

static uint8_t digest[RECORD_DIGEST_LEN], other[RECORD_DIGEST_LEN];
static struct record_key key, key2;
static struct record_account account;
static struct record_bytes bytes, value;

static void
a_slot_is_gone(void)
{
	record_slot_key("acme", KIND_SECRET, 1, &bytes);
	lmdb_del(txn, TABLE_SLOTS, bytes.bytes, bytes.len);
}

static void
a_slot_names_another_key(void)
{
	find("beta", KIND_SECRET, 1, digest, &key);
	record_slot_key("acme", KIND_SECRET, 1, &bytes);
	record_put_slot(pepper, bytes.bytes, bytes.len, digest, &value);
	lmdb_put(txn, TABLE_SLOTS, bytes.bytes, bytes.len, value.bytes, value.len);
}

static void
a_slot_too_many(void)
{
	find("acme", KIND_SECRET, 1, digest, &key);
	record_slot_key("acme", KIND_SECRET, 9, &bytes);
	record_put_slot(pepper, bytes.bytes, bytes.len, digest, &value);
	lmdb_put(txn, TABLE_SLOTS, bytes.bytes, bytes.len, value.bytes, value.len);
}

static void
a_key_is_gone(void)
{
	find("acme", KIND_SECRET, 2, digest, &key);
	lmdb_del(txn, TABLE_KEYS, digest, sizeof(digest));
}

static void
a_key_of_no_account(void)
{
	find("gone", KIND_SECRET, 1, digest, &key);
	lmdb_del(txn, TABLE_ACCOUNTS, "gone", 4);
}

static void
a_slot_has_two_keys(void)
{
	find("gone", KIND_SECRET, 1, digest, &key);
	memset(other, 0x5a, sizeof(other));
	key.serial = 6;
	put_key(other, &key);
}

static void
a_serial_twice(void)
{
	find("acme", KIND_SECRET, 1, digest, &key);
	find("beta", KIND_SECRET, 1, other, &key2);
	key2.serial = key.serial;
	put_key(other, &key2);
}

static void
a_serial_too_high(void)
{
	find("beta", KIND_SECRET, 1, digest, &key);
	key.serial = 1000;
	put_key(digest, &key);
}

static void
a_superseded_key_is_current(void)
{
	find("acme", KIND_SECRET, 2, digest, &key);
	key.state = KEY_CURRENT;
	put_key(digest, &key);
}

static void
a_current_key_has_expired(void)
{
	find("acme", KIND_SECRET, 3, digest, &key);
	key.state = KEY_EXPIRED;
	key.ended_ms = 1;
	put_key(digest, &key);
}

static void
a_deadline_is_not_in_the_index(void)
{
	delete_nth(TABLE_EXPIRY, 0);
}

static void
a_deadline_of_no_key(void)
{
	find("beta", KIND_SECRET, 1, digest, &key);
	record_time_key(HARNESS_START_MS, digest, &bytes);
	put_empty(TABLE_EXPIRY, &bytes);
}

static void
a_deadline_was_put_off(void)
{
	find("acme", KIND_SECRET, 1, digest, &key);
	key.expires_ms += 1000;
	put_key(digest, &key);
}

static void
an_account_forgets_a_grace(void)
{
	get_account("acme", &account);
	account.n_grace = 0;
	put_account(&account);
}

static void
an_account_is_ahead(void)
{
	get_account("acme", &account);
	account.publishable_generation = 2;
	put_account(&account);
}

static void
a_suspension_missed_a_key(void)
{
	find("beta", KIND_PUBLISHABLE, 1, digest, &key);
	key.suspended = false;
	put_key(digest, &key);
}

static void
a_token_has_no_age(void)
{
	delete_nth(TABLE_TOKEN_AGE, 1);
}

static void
an_age_has_no_token(void)
{
	delete_nth(TABLE_TOKENS, 1);
}

static void
an_event_is_gone(void)
{
	delete_nth(TABLE_EVENTS, 2);
}

static void
the_last_event_is_gone(void)
{
	delete_nth(TABLE_EVENTS, 6);
}

static void
something_strange_in(enum table table)
{
	nth(table, 0, &bytes, &value);
	value.bytes[value.len - 1] ^= 1;
	lmdb_put(txn, table, bytes.bytes, bytes.len, value.bytes, value.len);
}

/* Only its identity's schema tells an older fobd that it must not serve the database. */
static void
put_schema(uint32_t schema)
{
	struct record_identity identity;
	struct lmdb_value v;

	assert_int_equal(lmdb_get(txn, TABLE_META, "identity", 8, &v), 0);
	assert_int_equal(record_get_identity(pepper, "identity", 8, v.data, v.len, &identity), 0);
	identity.schema = schema;
	record_put_identity(pepper, "identity", 8, &identity, &value);
	lmdb_put(txn, TABLE_META, "identity", 8, value.bytes, value.len);
}

static void
put_cluster(void)
{
	const struct record_cluster cluster = { .number = 7 };

	record_put_cluster(pepper, "cluster", 7, &cluster, &value);
	lmdb_put(txn, TABLE_META, "cluster", 7, value.bytes, value.len);
}

static void
a_cluster_without_its_schema(void)
{
	put_cluster();
}

static void
the_schema_of_a_cluster_without_one(void)
{
	put_schema(RECORD_SCHEMA_CLUSTER);
}

static const struct {
	const char *name;
	void (*tamper)(void);
	const char *says[2];
} cases[] = {
	{ "a slot is gone", a_slot_is_gone, { "keys ", "its slot, acme secret 1, is missing" } },
	{ "a slot names another key", a_slot_names_another_key, { "acme secret 1" } },
	{ "a slot too many", a_slot_too_many, { "live: slots acme secret 9: ", "live: slots (all): " } },
	{ "a key is gone", a_key_is_gone, { "acme", "generations add up to 8, but there are 7 keys" } },
	{ "a key of no account", a_key_of_no_account, { "its account, gone, is missing" } },
	{ "a slot has two keys", a_slot_has_two_keys,
	    { "keys 5a5a5a5a5a5a5a5a: its slot, gone secret 1, is another key's" } },
	{ "a serial twice", a_serial_twice, { "another key has its serial" } },
	{ "a serial too high", a_serial_too_high, { "serial 1000 is not below the next one, 8" } },
	{ "a superseded key is current", a_superseded_key_is_current,
	    { "current, but its account is at generation 3" } },
	{ "a current key has expired", a_current_key_has_expired,
	    { "superseded, but of its account's current generation" } },
	{ "a deadline is not in the index", a_deadline_is_not_in_the_index, { "its entry in expiry is missing" } },
	{ "a deadline of no key", a_deadline_of_no_key, { "its key is not in grace, or until another time", "expiry (all)" } },
	{ "a deadline was put off", a_deadline_was_put_off,
	    { "its entry in expiry is missing", "accounts acme: its list" } },
	{ "an account forgets a grace", an_account_forgets_a_grace, { "but its account's list does not say so" } },
	{ "an account is ahead", an_account_is_ahead,
	    { "accounts acme: its current publishable key, generation 2, " } },
	{ "a suspension missed a key", a_suspension_missed_a_key,
	    { "its suspension and its account's differ" } },
	{ "a token has no age", a_token_has_no_age, { "its entry in token_age is missing" } },
	{ "an age has no token", an_age_has_no_token, { "its token is missing" } },
	{ "an event is gone", an_event_is_gone, { "events 4: the event before it is 2" } },
	{ "the last event is gone", the_last_event_is_gone, { "the last is 6, but 7 have been written" } },
	{ "a cluster without its schema", a_cluster_without_its_schema,
	    { "meta cluster: the record is there, and the schema is 4" } },
	{ "the schema of a cluster without one", the_schema_of_a_cluster_without_one,
	    { "meta cluster: the record is missing, and the schema is 5" } },
};

/* ---- tests ---- */

static int
check(char **text)
{
	char why[512] = "";
	size_t len;
	FILE *out;
	int rc;

	assert_non_null(out = open_memstream(text, &len));
	rc = check_database(&options, out, why, sizeof(why));
	fclose(out);
	if (rc < 0)
		fail_msg("%s", why);
	return rc;
}

static void
it_is_whole(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(check(&text), 0);
	assert_string_equal(text,
	    "live: whole: accounts 3 (suspended 1), keys 8 (current 5, in grace 1, expired 0, revoked 2), tokens 7, events 1 "
	    "to 7, revision 7, violations 0\n");
	free(text);
}

static void
a_node_is_whole(void **state)
{
	char *text;

	(void)state;
	tamper_begin();
	put_cluster();
	put_schema(RECORD_SCHEMA_CLUSTER);
	tamper_end();
	assert_int_equal(check(&text), 0);
	assert_non_null(strstr(text, "violations 0"));
	free(text);
}

static void
each_thing_wrong_is_said(void **state)
{
	unsigned silent = 0;
	char *text;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_back(state);
		tamper_begin();
		cases[i].tamper();
		tamper_end();
		if (check(&text) != 1 || strstr(text, "NOT WHOLE") == NULL || strstr(text, cases[i].says[0]) == NULL ||
		    (cases[i].says[1] != NULL && strstr(text, cases[i].says[1]) == NULL)) {
			print_message("# %s: %s", cases[i].name, text);
			silent++;
		}
		free(text);
	}
	assert_int_equal(silent, 0);
}

static void
each_wrong_tag_is_said(void **state)
{
	char *text, says[64];

	for (enum table table = TABLE_KEYS; table < TABLES; table++) {
		put_back(state);
		tamper_begin();
		something_strange_in(table);
		tamper_end();
		snprintf(says, sizeof(says), "live: %s ", names[table]);
		assert_int_equal(check(&text), 1);
		assert_non_null(strstr(text, says));
		assert_non_null(strstr(text, "damaged"));
		free(text);
	}
}

/* Violation 1,001 is counted but not printed. */
static void
there_is_an_end_of_lines(void **state)
{
	char *text, *line;
	unsigned n = 0;

	(void)state;
	tamper_begin();
	for (uint32_t i = 0; i < 1500; i++) {
		record_slot_key("nobody", KIND_SECRET, i + 1, &bytes);
		memset(digest, 7, sizeof(digest));
		record_put_slot(pepper, bytes.bytes, bytes.len, digest, &value);
		lmdb_put(txn, TABLE_SLOTS, bytes.bytes, bytes.len, value.bytes, value.len);
	}
	tamper_end();
	assert_int_equal(check(&text), 1);
	for (line = text; (line = strchr(line, '\n')) != NULL; line++)
		n++;
	assert_int_equal(n, 1002);
	assert_non_null(strstr(text, "live: and 501 more\n"));
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(it_is_whole, put_back),
		cmocka_unit_test_teardown(a_node_is_whole, put_back),
		cmocka_unit_test_teardown(each_thing_wrong_is_said, put_back),
		cmocka_unit_test_teardown(each_wrong_tag_is_said, put_back),
		cmocka_unit_test_teardown(there_is_an_end_of_lines, put_back),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
