/*
 * test_open.c - a database of schema 1 under this fobd: it is opened and upgraded; verifies, lists, rolls, revocations,
 * suspensions and ends of keys work; records that are not changed keep their bytes. After each test the offline check
 * finds the database whole, in its mixture of both schemas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/offline/backup.h"
#include "service/offline/check.h"
#include "service/offline/restore.h"
#include "tests/unit/service/fixture.h"
#include "tests/unit/service/harness.h"
#include "service/store/open.h"
#include "tests/unit/service/store/schema1.h"

#define E ENVIRONMENT_TEST
#define RECORDS (sizeof(schema1) / sizeof(schema1[0]))

struct fixture {
	struct harness *h;
	struct harness_call *hc;
	bool hole; /* it is not to be whole at the end */
};

/* ---- the database behind fobd's back ---- */

static struct lmdb *
raw_open(const char *path, bool create)
{
	static const char *const names[TABLES] = { "meta", "keys", "accounts", "slots", "expiry", "tokens", "token_age",
		"events" };
	struct lmdb_options options = { .path = path,
		.names = names,
		.n_tables = TABLES,
		.map_bytes = 512U << 20,
		.readers = 4,
		.create = create };
	struct lmdb *db;
	char why[512] = "";

	if (lmdb_open(&options, &db, why, sizeof(why)) != 0)
		fail_msg("lmdb_open: %s", why);
	return db;
}

static void
from_hex(struct record_bytes *bytes, const char *hex)
{
	assert_int_equal(
	    sodium_hex2bin(bytes->bytes, sizeof(bytes->bytes), hex, strlen(hex), NULL, &bytes->len, NULL), 0);
}

/* Write the old database and its pepper where the harness will look for them. */
static void
put_old(const struct harness *h)
{
	struct lmdb_txn *txn;
	struct lmdb *db;

	fixture_write_file(h->paths[E][1], SCHEMA1_PEPPER "\n", strlen(SCHEMA1_PEPPER) + 1, 0600);
	assert_int_equal(mkdir(h->paths[E][0], 0700), 0);
	db = raw_open(h->paths[E][0], true);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_write(txn), 0);
	for (size_t i = 0; i < RECORDS; i++) {
		struct record_bytes key, value;

		from_hex(&key, schema1[i].key);
		from_hex(&value, schema1[i].value);
		lmdb_put(txn, schema1[i].table, key.bytes, key.len, value.bytes, value.len);
	}
	assert_int_equal(lmdb_commit(txn), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
}

/* A record's value, or false when there is none. */
static bool
raw_get(const struct harness *h, enum table table, const void *key, size_t key_len, struct record_bytes *value)
{
	struct lmdb *db = raw_open(h->paths[E][0], false);
	struct lmdb_txn *txn = lmdb_txn_new(db);
	struct lmdb_value v;
	int fault;

	assert_non_null(txn);
	assert_int_equal(lmdb_read(txn), 0);
	if ((fault = lmdb_get(txn, table, key, key_len, &v)) == 0) {
		assert_true(v.len <= sizeof(value->bytes));
		memcpy(value->bytes, v.data, v.len);
		value->len = v.len;
	}
	assert_true(fault == 0 || fault == -FAULT_NOT_FOUND);
	lmdb_txn_free(txn);
	lmdb_close(db);
	return fault == 0;
}

static void
raw_del(const struct harness *h, enum table table, const void *key, size_t key_len)
{
	struct lmdb *db = raw_open(h->paths[E][0], false);
	struct lmdb_txn *txn = lmdb_txn_new(db);

	assert_non_null(txn);
	assert_int_equal(lmdb_write(txn), 0);
	lmdb_del(txn, table, key, key_len);
	assert_int_equal(lmdb_commit(txn), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
}

static bool
has_slot(const struct harness *h, const char *account, enum kind kind, uint32_t generation)
{
	struct record_bytes key, value;

	record_slot_key(account, kind, generation, &key);
	return raw_get(h, TABLE_SLOTS, key.bytes, key.len, &value);
}

static void
account_is(const struct fixture *f, const char *name, uint8_t version, bool secret_ref, bool publishable_ref)
{
	struct record_account account;
	struct record_bytes value;
	struct pepper *pepper;
	char why[512] = "";

	assert_true(raw_get(f->h, TABLE_ACCOUNTS, name, strlen(name), &value));
	assert_int_equal(value.bytes[0], version);
	assert_int_equal(pepper_load(f->h->paths[E][1], &pepper, why, sizeof(why)), 0);
	assert_int_equal(record_get_account(pepper, name, strlen(name), value.bytes, value.len, &account), 0);
	pepper_free(pepper);
	assert_int_equal(account.has_ref[0], secret_ref);
	assert_int_equal(account.has_ref[1], publishable_ref);
}

static void
down(struct fixture *f)
{
	harness_call_free(f->hc);
	f->hc = NULL;
	harness_close(f->h);
}

static void
up(struct fixture *f)
{
	harness_open(f->h);
	f->hc = harness_call_new(f->h, ROLE_ADMIN);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->h = harness_prepare();
	f->h->clock.wall_ns = SCHEMA1_NOW_MS * 1000000;
	put_old(f->h);
	up(f);
	*state = f;
	return 0;
}

static struct store_options
options_of(const struct fixture *f, enum store_use use)
{
	const struct config_environment *c = &f->h->config.environments[E];

	return (struct store_options){ .environment = E,
		.use = use,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = 16 };
}

static void
check(const struct fixture *f, const char *path, bool whole)
{
	struct store_options options = options_of(f, STORE_CHECK);
	char *text = NULL, why[512] = "";
	size_t len;
	FILE *out;
	int rc;

	options.path = path;
	assert_non_null(out = open_memstream(&text, &len));
	rc = check_database(&options, out, why, sizeof(why));
	fclose(out);
	if (rc != !whole)
		fail_msg("%d: %s%s", rc, text, why);
	free(text);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->hc != NULL)
		down(f);
	check(f, f->h->paths[E][0], !f->hole);
	harness_free(f->h);
	free(f);
	return 0;
}

/* ---- what it answers ---- */

static Fob__V1__VerifyKeyResponse *
verify(const struct fixture *f, const char *prefix, const char *rest)
{
	char secret[SECRET_LEN + 1];

	snprintf(secret, sizeof(secret), "%s_test_%s", prefix, rest);
	return harness_verify(f->hc, secret, "", FOB__V1__ENVIRONMENT__TEST);
}

static void
expect(const struct fixture *f, const char *prefix, const char *rest, enum verdict verdict, uint32_t generation,
    uint32_t current)
{
	Fob__V1__VerifyKeyResponse *v = verify(f, prefix, rest);

	assert_non_null(v);
	assert_string_equal(verdict_name((enum verdict)v->verdict), verdict_name(verdict));
	assert_int_equal(v->generation, generation);
	assert_int_equal(v->current_generation, current);
	if (verdict == VERDICT_VALID)
		assert_int_equal(v->superseded, generation < current);
}

/* An account's keys, as "s1 expired, s2 current, p1 current", ${size} a page. */
static void
list(const struct fixture *f, const char *account, uint32_t size, char text[512])
{
	static const char *const states[] = { "?", "current", "grace", "expired", "revoked" };
	uint8_t token[16];
	size_t len = 0, token_len = 0;

	text[0] = '\0';
	do {
		Fob__V1__ListKeysRequest in = FOB__V1__LIST_KEYS_REQUEST__INIT;
		Fob__V1__ListKeysResponse *out;

		in.environment = FOB__V1__ENVIRONMENT__TEST;
		in.account = harness_text(account);
		in.page_size = size;
		in.page_token = harness_bytes(token, token_len);
		assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/ListKeys", &in.base), 0);
		out = harness_body(f->hc, &fob__v1__list_keys_response__descriptor);
		for (size_t i = 0; i < out->n_keys; i++) {
			assert_true(harness_is(&out->keys[i]->account, account));
			len += (size_t)snprintf(text + len, 512 - len, "%s%s%u %s", len > 0 ? ", " : "",
			    out->keys[i]->kind == FOB__V1__KEY_KIND__SECRET ? "s" : "p", out->keys[i]->generation,
			    states[out->keys[i]->state]);
			assert_true(len < 512);
		}
		token_len = out->next_page_token.len;
		assert_true(token_len <= sizeof(token));
		if (token_len > 0)
			memcpy(token, out->next_page_token.data, token_len);
	} while (token_len > 0);
}

static void
lists(const struct fixture *f, const char *account, const char *expected)
{
	char text[512];

	for (uint32_t size = 1; size <= 8; size++) {
		list(f, account, size, text);
		assert_string_equal(text, expected);
	}
}

static void
all_is_as_it_was(const struct fixture *f)
{
	expect(f, "sk", FRESH_SECRET, VERDICT_VALID, 1, 1);
	expect(f, "pk", FRESH_PUBLISHABLE, VERDICT_VALID, 1, 1);
	expect(f, "sk", MIXED_1, VERDICT_EXPIRED, 1, 4);
	expect(f, "sk", MIXED_2, VERDICT_REVOKED, 2, 4);
	expect(f, "sk", MIXED_3, VERDICT_VALID, 3, 4);
	expect(f, "sk", MIXED_4, VERDICT_VALID, 4, 4);
	expect(f, "pk", MIXED_PUBLISHABLE, VERDICT_VALID, 1, 1);
	expect(f, "sk", SUSPENDED_1, VERDICT_SUSPENDED, 1, 2);
	expect(f, "sk", SUSPENDED_2, VERDICT_SUSPENDED, 2, 2);
	expect(f, "pk", SUSPENDED_PUBLISHABLE, VERDICT_SUSPENDED, 1, 1);
	expect(f, "sk", ENDED_SECRET, VERDICT_REVOKED, 1, 1);
	expect(f, "pk", ENDED_PUBLISHABLE, VERDICT_REVOKED, 1, 1);
	expect(f, "sk", "from-elsewhere", VERDICT_VALID, 1, 1);
	lists(f, "fresh", "s1 current, p1 current");
	lists(f, "mixed", "s1 expired, s2 revoked, s3 grace, s4 current, p1 current");
	lists(f, "suspended", "s1 grace, s2 current, p1 current");
	lists(f, "ended", "s1 revoked, p1 revoked");
	lists(f, "half", "s1 current");
	assert_int_equal(store_corrupt_records(f->h->service.engines[E]->store), 0);
}

static void
roll(const struct fixture *f, const char *account, uint32_t grace_s, char out[SECRET_LEN + 1])
{
	assert_non_null(harness_roll(f->hc, E, account, grace_s, out));
	assert_int_equal(harness_verdict(f->hc, out), FOB__V1__VERDICT__VALID);
}

/* ---- the tests ---- */

/* Only the identity is written; every other record is, to the byte, what was there. */
static void
it_is_raised_and_answers(void **state)
{
	struct fixture *f = *state;
	struct record_identity identity;
	struct record_bytes key, value, old;

	all_is_as_it_was(f);
	down(f);
	for (size_t i = 0; i < RECORDS; i++) {
		from_hex(&key, schema1[i].key);
		from_hex(&old, schema1[i].value);
		assert_true(raw_get(f->h, schema1[i].table, key.bytes, key.len, &value));
		if (schema1[i].table == TABLE_META && key.len == strlen("identity")) {
			assert_int_equal(record_get_identity(NULL, "identity", 8, old.bytes, old.len, &identity), 0);
			assert_int_equal(identity.schema, 1);
			assert_int_equal(
			    record_get_identity(NULL, "identity", 8, value.bytes, value.len, &identity), 0);
			assert_int_equal(identity.schema, RECORD_SCHEMA);
		} else {
			assert_int_equal(value.len, old.len);
			assert_memory_equal(value.bytes, old.bytes, old.len);
		}
	}
	up(f);
	all_is_as_it_was(f);
}

/* The database's file, to be freed. */
static uint8_t *
read_file(const struct harness *h, size_t *len)
{
	char path[700];
	uint8_t *bytes;
	struct stat st;
	FILE *file;

	snprintf(path, sizeof(path), "%s/data.mdb", h->paths[E][0]);
	assert_non_null(file = fopen(path, "r"));
	assert_int_equal(fstat(fileno(file), &st), 0);
	*len = (size_t)st.st_size;
	assert_non_null(bytes = malloc(*len));
	assert_int_equal(fread(bytes, 1, *len, file), *len);
	fclose(file);
	return bytes;
}

static void
it_is_raised_once(void **state)
{
	struct fixture *f = *state;
	struct store_options options = { .environment = E,
		.path = f->h->paths[E][0],
		.pepper = f->h->paths[E][1],
		.ceiling_bytes = 256U << 20,
		.events_kept = 1000,
		.readers = 4 };
	size_t before_len, after_len;
	uint8_t *before, *after;
	struct store *store;
	char why[512] = "";

	down(f);
	before = read_file(f->h, &before_len);
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), 0);
	store_close(store);
	after = read_file(f->h, &after_len);
	assert_int_equal(after_len, before_len);
	assert_memory_equal(after, before, before_len);
	free(before);
	free(after);
}

static void
it_rolls(void **state)
{
	struct fixture *f = *state;
	char second[SECRET_LEN + 1], third[SECRET_LEN + 1];

	down(f);
	account_is(f, "fresh", 1, false, false);
	up(f);
	roll(f, "fresh", 3600, second);
	expect(f, "sk", FRESH_SECRET, VERDICT_VALID, 1, 2);
	expect(f, "pk", FRESH_PUBLISHABLE, VERDICT_VALID, 1, 1);
	lists(f, "fresh", "s1 grace, s2 current, p1 current");
	down(f);
	/* The new key is the account's; the publishable one, which never rolls, keeps its slot. */
	account_is(f, "fresh", 2, true, false);
	assert_true(has_slot(f->h, "fresh", KIND_SECRET, 1));
	assert_false(has_slot(f->h, "fresh", KIND_SECRET, 2));
	assert_true(has_slot(f->h, "fresh", KIND_PUBLISHABLE, 1));
	up(f);
	roll(f, "fresh", 0, third);
	assert_int_equal(harness_verdict(f->hc, second), FOB__V1__VERDICT__REVOKED);
	lists(f, "fresh", "s1 grace, s2 revoked, s3 current, p1 current");
	down(f);
	assert_true(has_slot(f->h, "fresh", KIND_SECRET, 2));
	assert_false(has_slot(f->h, "fresh", KIND_SECRET, 3));
	up(f);
	lists(f, "fresh", "s1 grace, s2 revoked, s3 current, p1 current");

	roll(f, "mixed", 86400, second);
	lists(f, "mixed", "s1 expired, s2 revoked, s3 grace, s4 grace, s5 current, p1 current");
	expect(f, "sk", MIXED_1, VERDICT_EXPIRED, 1, 5);
	expect(f, "sk", MIXED_2, VERDICT_REVOKED, 2, 5);
	expect(f, "sk", MIXED_3, VERDICT_VALID, 3, 5);
	expect(f, "sk", MIXED_4, VERDICT_VALID, 4, 5);
	roll(f, "ended", 86400, second);
	lists(f, "ended", "s1 revoked, s2 current, p1 revoked");
	expect(f, "sk", ENDED_SECRET, VERDICT_REVOKED, 1, 2);
	roll(f, "half", 86400, second);
	lists(f, "half", "s1 grace, s2 current");
	expect(f, "sk", "from-elsewhere", VERDICT_VALID, 1, 2);
}

static void
it_revokes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_revoke(f->hc, E, "fresh", FOB__V1__KEY_KIND__SECRET, 1), 0);
	assert_int_equal(harness_revoke(f->hc, E, "fresh", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	expect(f, "sk", FRESH_SECRET, VERDICT_REVOKED, 1, 1);
	expect(f, "pk", FRESH_PUBLISHABLE, VERDICT_REVOKED, 1, 1);
	lists(f, "fresh", "s1 revoked, p1 revoked");
	for (uint32_t generation = 1; generation <= 4; generation++)
		assert_int_equal(harness_revoke(f->hc, E, "mixed", FOB__V1__KEY_KIND__SECRET, generation), 0);
	lists(f, "mixed", "s1 expired, s2 revoked, s3 revoked, s4 revoked, p1 current");
	assert_int_equal(harness_revoke(f->hc, E, "mixed", FOB__V1__KEY_KIND__SECRET, 5), FAULT_NOT_FOUND);
	assert_int_equal(harness_revoke(f->hc, E, "half", FOB__V1__KEY_KIND__PUBLISHABLE, 1), FAULT_NOT_FOUND);
	expect(f, "sk", MIXED_1, VERDICT_EXPIRED, 1, 4);
	expect(f, "sk", MIXED_3, VERDICT_REVOKED, 3, 4);
	expect(f, "sk", MIXED_4, VERDICT_REVOKED, 4, 4);
	down(f);
	/* To revoke a key in grace changes its account's list, so the account has the new version, too. */
	account_is(f, "mixed", 2, false, false);
	account_is(f, "fresh", 1, false, false);
	up(f);
	lists(f, "mixed", "s1 expired, s2 revoked, s3 revoked, s4 revoked, p1 current");
}

static void
it_suspends_and_resumes(void **state)
{
	static const char *const names[] = { "fresh", "mixed", "ended", "half" };
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(harness_suspend(f->hc, E, names[i], true), 0);
	expect(f, "sk", FRESH_SECRET, VERDICT_SUSPENDED, 1, 1);
	expect(f, "pk", FRESH_PUBLISHABLE, VERDICT_SUSPENDED, 1, 1);
	expect(f, "sk", MIXED_1, VERDICT_EXPIRED, 1, 4);
	expect(f, "sk", MIXED_2, VERDICT_REVOKED, 2, 4);
	expect(f, "sk", MIXED_3, VERDICT_SUSPENDED, 3, 4);
	expect(f, "sk", MIXED_4, VERDICT_SUSPENDED, 4, 4);
	expect(f, "pk", MIXED_PUBLISHABLE, VERDICT_SUSPENDED, 1, 1);
	expect(f, "sk", ENDED_SECRET, VERDICT_REVOKED, 1, 1);
	expect(f, "sk", "from-elsewhere", VERDICT_SUSPENDED, 1, 1);
	down(f);
	account_is(f, "fresh", 2, false, false);
	up(f);
	for (int i = 0; i < 4; i++)
		assert_int_equal(harness_suspend(f->hc, E, names[i], false), 0);
	all_is_as_it_was(f);
	assert_int_equal(harness_suspend(f->hc, E, "suspended", false), 0);
	expect(f, "sk", SUSPENDED_1, VERDICT_VALID, 1, 2);
	expect(f, "sk", SUSPENDED_2, VERDICT_VALID, 2, 2);
	expect(f, "pk", SUSPENDED_PUBLISHABLE, VERDICT_VALID, 1, 1);
}

/* The graces that schema 1 gave end when it said; by the next start they are facts. */
static void
its_graces_end(void **state)
{
	struct fixture *f = *state;
	char second[SECRET_LEN + 1];

	harness_advance(f->h, 24 * 3600 * 1000 - 1);
	expect(f, "sk", MIXED_3, VERDICT_VALID, 3, 4);
	harness_advance(f->h, 1);
	expect(f, "sk", MIXED_3, VERDICT_EXPIRED, 3, 4);
	/* The sweeper goes before the work. */
	roll(f, "fresh", 0, second);
	down(f);
	account_is(f, "mixed", 2, false, false);
	account_is(f, "suspended", 2, false, false);
	up(f);
	lists(f, "mixed", "s1 expired, s2 revoked, s3 expired, s4 current, p1 current");
	lists(f, "suspended", "s1 expired, s2 current, p1 current");
	expect(f, "sk", SUSPENDED_2, VERDICT_SUSPENDED, 2, 2);
}

/* What the account never had is its record's own when it comes. */
static void
it_takes_an_import(void **state)
{
	Fob__V1__ImportAccountsRequest in = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ImportItem item = FOB__V1__IMPORT_ITEM__INIT, *items[1] = { &item };
	static const char publishable[] = "pk_test_from-elsewhere";
	struct harness_token token = harness_token();
	struct fixture *f = *state;
	uint8_t sha256[32];

	crypto_hash_sha256(sha256, (const uint8_t *)publishable, strlen(publishable));
	item.account = harness_text("half");
	item.publishable_sha256 = harness_bytes(sha256, sizeof(sha256));
	item.publishable_last4 = harness_text("here");
	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = HARNESS_ENVIRONMENT(E);
	in.n_items = 1;
	in.items = items;
	assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/ImportAccounts", &in.base), 0);
	lists(f, "half", "s1 current, p1 current");
	expect(f, "pk", "from-elsewhere", VERDICT_VALID, 1, 1);
	expect(f, "sk", "from-elsewhere", VERDICT_VALID, 1, 1);
	down(f);
	account_is(f, "half", 2, false, true);
	assert_false(has_slot(f->h, "half", KIND_PUBLISHABLE, 1));
	up(f);
	assert_int_equal(harness_revoke(f->hc, E, "half", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	lists(f, "half", "s1 current, p1 revoked");
}

/* An account of version 1 with a missing slot is damaged, as before. Its other key is not affected. */
static void
a_hole_is_a_hole(void **state)
{
	struct fixture *f = *state;
	struct record_bytes slot;

	f->hole = true;
	down(f);
	record_slot_key("fresh", KIND_SECRET, 1, &slot);
	raw_del(f->h, TABLE_SLOTS, slot.bytes, slot.len);
	up(f);
	assert_null(harness_roll(f->hc, E, "fresh", 0, NULL));
	assert_int_equal(f->hc->code, FAULT_UNAVAILABLE);
	assert_int_equal(harness_suspend(f->hc, E, "fresh", true), FAULT_UNAVAILABLE);
	expect(f, "sk", FRESH_SECRET, VERDICT_VALID, 1, 1);
	assert_int_equal(harness_revoke(f->hc, E, "fresh", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	lists(f, "fresh", "p1 revoked");
}

/* A copy of a database of schema 1 has schema 1, too. It is upgraded when it is restored. */
static void
a_copy_of_it_is_restored(void **state)
{
	struct store_options options = options_of(*state, STORE_COPY);
	struct fixture *f = *state;
	char copy[700], why[512] = "";
	FILE *out = fopen("/dev/null", "w");

	assert_non_null(out);
	down(f);
	fixture_remove(f->h->paths[E][0]);
	put_old(f->h);
	check(f, f->h->paths[E][0], true);
	snprintf(copy, sizeof(copy), "%s/copy", f->h->folder);
	if (backup_make(&options, copy, out, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	check(f, copy, true);
	fixture_remove(f->h->paths[E][0]);
	assert_int_equal(rename(copy, f->h->paths[E][0]), 0);
	options = options_of(f, STORE_RESTORE);
	if (restore_backup(&options, NULL, true, out, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	fclose(out);
	up(f);
	expect(f, "sk", FRESH_SECRET, VERDICT_VALID, 1, 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_raised_and_answers),
		TEST(it_is_raised_once),
		TEST(it_rolls),
		TEST(it_revokes),
		TEST(it_suspends_and_resumes),
		TEST(its_graces_end),
		TEST(it_takes_an_import),
		TEST(a_hole_is_a_hole),
		TEST(a_copy_of_it_is_restored),
	};

	return cmocka_run_group_tests_name("open", tests, fixture_begin, NULL);
}
