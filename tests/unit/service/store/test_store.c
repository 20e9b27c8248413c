/*
 * test_store.c - store.c and its parts: a database is made, opened or refused; a change is applied and read back; walks;
 * and damaged records, which are counted and never returned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "service/store/apply.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "service/store/size.h"
#include "service/store/time.h"
#include "service/store/walk.h"
#include "tests/unit/service/fixture.h"

#define NOW FIXTURE_NOW_MS

static struct fixture_store f;

static int
begin(void **state)
{
	(void)state;
	fixture_store(&f, ENVIRONMENT_LIVE);
	return 0;
}

static int
begin_nothing(void **state)
{
	(void)state;
	fixture_store_prepare(&f, ENVIRONMENT_LIVE);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	fixture_store_end(&f);
	return 0;
}

static void
reopen(void)
{
	fixture_store_close(&f);
	fixture_store_open(&f);
}

static void
refused_open(const struct store_options *options, const char *reason)
{
	struct store *store = NULL;
	char why[512] = "";
	bool damaged;
	int fault;

	fault = store_open(options, &store, why, sizeof(why));
	assert_true(fault < 0);
	assert_null(store);
	if (strstr(why, reason) == NULL)
		fail_msg("not \"%s\", but: %s", reason, why);
	/* With a damaged environment the other one is still served. An error that the operator must fix stops fobd. */
	damaged = strstr(why, "damaged") != NULL || strstr(why, "cut short") != NULL ||
	    strstr(why, "cannot open the database") != NULL;
	if ((fault == -FAULT_CORRUPT) != damaged)
		fail_msg("%d: %s", fault, why);
	assert_null(strchr(why, '\n'));
}

static void
refused_init(const struct store_options *options, const char *reason)
{
	char why[512] = "";

	assert_int_equal(store_init(options, why, sizeof(why)), -1);
	if (strstr(why, reason) == NULL)
		fail_msg("not \"%s\", but: %s", reason, why);
}

static void
init(void)
{
	char why[512] = "";

	if (store_init(&f.options, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

/* ---- changes ---- */

static void
digest_of(uint8_t n, uint8_t digest[RECORD_DIGEST_LEN])
{
	memset(digest, n, RECORD_DIGEST_LEN);
}

static struct record_state
read_state(void)
{
	struct record_state state;

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_state(f.reader, &state), 0);
	store_read_end(f.reader);
	return state;
}

/* An account with the first key of its secret slot, of digest ${n}. */
static struct change
creation(const char *account, uint8_t n)
{
	struct change c = { .time_ms = NOW + n, .touches_account = true, .n_keys = 1 };

	c.account =
	    (struct record_account){ .created_ms = NOW + n, .secret_generation = 1, .publishable_generation = 1 };
	snprintf(c.account.account, sizeof(c.account.account), "%s", account);
	c.keys[0].is_new = true;
	digest_of(n, c.keys[0].digest);
	c.keys[0].key = (struct record_key){ .kind = KIND_SECRET,
		.state = KEY_CURRENT,
		.generation = 1,
		.serial = n,
		.created_ms = NOW + n,
		.last4 = { 'l', 'a', 's', 't' } };
	snprintf(c.keys[0].key.account, sizeof(c.keys[0].key.account), "%s", account);
	c.event = (struct record_event){ .type = EVENT_ACCOUNT_CREATED, .time_ms = NOW + n };
	snprintf(c.event.account, sizeof(c.event.account), "%s", account);
	return c;
}

/* One more key, which has a slot, and nothing else. */
static struct change
another_key(const char *account, enum kind kind, uint32_t generation, uint8_t n)
{
	struct change c = creation(account, n);

	c.touches_account = false;
	c.event.type = EVENT_NONE;
	c.keys[0].is_new = false;
	c.keys[0].superseded = true;
	c.keys[0].key.kind = kind;
	c.keys[0].key.generation = generation;
	return c;
}

/* The key of digest ${n} goes into grace, or out of it. */
static struct change
grace(const char *account, uint8_t n, int64_t old_expires_ms, enum key_state to, int64_t expires_ms)
{
	struct change c = another_key(account, KIND_SECRET, 1, n);

	c.keys[0].superseded = false;
	c.keys[0].old_expires_ms = old_expires_ms;
	c.keys[0].key.state = to;
	c.keys[0].key.expires_ms = expires_ms;
	return c;
}

static void
apply(const struct change *change)
{
	assert_int_equal(fixture_apply(&f, change), 0);
}

/* ---- making and opening ---- */

static void
init_is_idempotent(void **state)
{
	struct stat pepper[2], data[2];
	struct change c = creation("acme", 1);
	struct record_account account;

	(void)state;
	fixture_store_close(&f);
	assert_int_equal(stat(f.pepper, &pepper[0]), 0);
	assert_int_equal(stat(f.path, &data[0]), 0);
	assert_int_equal(data[0].st_mode & 07777, 0700);
	init();
	fixture_store_open(&f);
	apply(&c);
	fixture_store_close(&f);
	init();
	assert_int_equal(stat(f.pepper, &pepper[1]), 0);
	assert_int_equal(pepper[0].st_ino, pepper[1].st_ino);
	assert_int_equal(pepper[0].st_mtim.tv_nsec, pepper[1].st_mtim.tv_nsec);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_account(f.reader, "acme", &account), 0);
	store_read_end(f.reader);
	assert_int_equal(read_state().revision, 1);
}

/* Cut off behind each step of a first start: the next one finishes it. */
static void
an_interrupted_init_is_finished(void **state)
{
	char file[FIXTURE_PATH];

	(void)state;
	/* The folder alone. */
	assert_int_equal(mkdir(f.path, 0700), 0);
	init();
	fixture_store_open(&f);
	fixture_store_close(&f);

	/* The folder and the pepper. */
	fixture_remove(f.path);
	assert_int_equal(mkdir(f.path, 0700), 0);
	assert_int_equal(unlink(fixture_path(f.folder, "pepper.used", file)), 0);
	init();
	fixture_store_open(&f);
	fixture_store_close(&f);

	/* A database of empty tables. */
	fixture_raw_put(&f, TABLE_META, "identity", 8, NULL, 0);
	fixture_raw_put(&f, TABLE_META, "state", 5, NULL, 0);
	refused_open(&f.options, "the database was not made by fobd, or it is damaged");
	init();
	fixture_store_open(&f);
	assert_int_equal(read_state().revision, 0);
}

/* A new, empty database in the place of one that is lost or empty would make every key "not found". */
static void
a_lost_database_is_not_made_anew(void **state)
{
	static const char *const left[] = { "lastused", "fobd.lock", "lock.mdb" };
	char file[FIXTURE_PATH], note[FIXTURE_PATH], why[512];

	(void)state;
	fixture_store_close(&f);
	fixture_path(f.folder, "pepper.used", note);
	fixture_write_file(fixture_path(f.path, "data.mdb", file), "", 0, 0600);
	refused_open(&f.options, "data.mdb: the file is empty: it was cut short");
	refused_init(&f.options, "data.mdb shows that there was a database");

	/* The folder is a mount point without its disk. */
	fixture_remove(f.path);
	refused_open(&f.options, "there is no database here");
	refused_init(&f.options, "pepper.used shows that there was a database");
	assert_int_equal(unlink(note), 0);
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		fixture_write_file(fixture_path(f.path, left[i], file), "", 0, 0600);
		refused_init(&f.options, left[i]);
		assert_int_equal(unlink(file), 0);
	}
	assert_int_equal(pepper_append(f.pepper, why, sizeof(why)), 0);
	refused_init(&f.options, "pepper shows that there was a database");
	assert_int_equal(unlink(f.pepper), 0);
	assert_int_equal(access(fixture_path(f.path, "data.mdb", file), F_OK), -1);
	init();
	/* One that is there gets its note, and no failure to make one matters. */
	assert_int_equal(unlink(note), 0);
	init();
	assert_int_equal(access(note, F_OK), 0);
	assert_int_equal(unlink(note), 0);
	assert_int_equal(symlink("/nowhere/x", note), 0);
	init();
	fixture_store_open(&f);
}

/* A database without its identity is not treated as new: it would then give out serial numbers a second time. */
static void
a_lost_identity_is_not_a_new_database(void **state)
{
	struct change c = creation("acme", 1);

	(void)state;
	apply(&c);
	fixture_store_close(&f);
	fixture_raw_put(&f, TABLE_META, "identity", 8, NULL, 0);
	refused_open(&f.options, "the database was not made by fobd, or it is damaged");
	refused_init(&f.options, "the database has no identity");
	/* Nothing was made of it. */
	refused_open(&f.options, "the database was not made by fobd, or it is damaged");
}

static void
a_database_without_its_pepper(void **state)
{
	(void)state;
	fixture_store_close(&f);
	assert_int_equal(unlink(f.pepper), 0);
	refused_open(&f.options, "cannot read the pepper: No such file");
	refused_init(&f.options, "an old database needs its own");
	/* And none was made. */
	assert_int_equal(access(f.pepper, F_OK), -1);
}

static void
no_place_for_it(void **state)
{
	char path[FIXTURE_PATH];

	(void)state;
	f.options.path = fixture_path(f.folder, "no/such", path);
	refused_init(&f.options, "cannot make the data folder: No such file");
	fixture_write_file(f.path, "x", 1, 0600);
	f.options.path = f.path;
	refused_init(&f.options, "cannot make the data folder: File exists");
	refused_open(&f.options, "the pepper");
}

static void
another_database_s_pepper(void **state)
{
	char path[FIXTURE_PATH], why[512] = "";
	struct store_options options = f.options;

	(void)state;
	fixture_store_close(&f);
	assert_int_equal(pepper_create(fixture_path(f.folder, "another", path), why, sizeof(why)), 0);
	options.pepper = path;
	refused_open(&options, "this pepper does not belong to the database");
	/* Nor does init adopt it. */
	assert_int_equal(store_init(&options, why, sizeof(why)), 0);
	refused_open(&options, "this pepper does not belong to the database");
	fixture_store_open(&f);
}

static void
the_other_environment(void **state)
{
	struct store_options options = f.options;

	(void)state;
	fixture_store_close(&f);
	options.environment = ENVIRONMENT_TEST;
	refused_open(&options, "this is a live database, configured as test");
}

/* Put an identity of our own making. */
static void
put_identity(const struct record_identity *identity, bool tag)
{
	char why[512] = "";
	struct pepper *pepper;
	struct record_bytes value;

	assert_int_equal(pepper_load(f.pepper, &pepper, why, sizeof(why)), 0);
	record_put_identity(pepper, "identity", 8, identity, &value);
	if (!tag)
		value.bytes[value.len - 1] ^= 1;
	fixture_raw_put(&f, TABLE_META, "identity", 8, value.bytes, value.len);
	pepper_free(pepper);
}

static void
a_newer_schema_and_damage(void **state)
{
	struct record_identity identity = { .schema = RECORD_SCHEMA_CLUSTER + 1, .environment = ENVIRONMENT_LIVE };
	struct pepper *pepper;
	char why[512] = "";

	(void)state;
	fixture_store_close(&f);
	put_identity(&identity, true);
	refused_open(&f.options, "made by a newer fobd (schema 6, this one knows 5)");

	assert_int_equal(pepper_load(f.pepper, &pepper, why, sizeof(why)), 0);
	identity.schema = RECORD_SCHEMA;
	pepper_fingerprint(pepper, identity.id, ENVIRONMENT_LIVE, identity.fingerprint);
	pepper_free(pepper);
	put_identity(&identity, false);
	refused_open(&f.options, "the database's identity is damaged: restore it from a backup");
	put_identity(&identity, true);
	fixture_store_open(&f);
	fixture_store_close(&f);
	/* With any single flipped bit the database does not open. */
	for (long bit = 0; bit < 8 * (1 + 4 + 1 + 16 + 32 + 16); bit++) {
		struct store *store = NULL;

		fixture_flip(&f, TABLE_META, "identity", 8, bit);
		/* And it is the database that is damaged, not the settings that are wrong. */
		assert_int_equal(store_open(&f.options, &store, why, sizeof(why)), -FAULT_CORRUPT);
		fixture_flip(&f, TABLE_META, "identity", 8, bit);
	}
	fixture_store_open(&f);
}

static void
in_use(void **state)
{
	(void)state;
	refused_open(&f.options, "in use by another fobd");
	assert_int_equal(store_environment(f.store), ENVIRONMENT_LIVE);
	assert_string_equal(store_path(f.store), f.path);
	assert_false(store_failed(f.store));
	store_close(NULL);
	store_txn_free(NULL);
}

/* ---- a change and all that is read of it ---- */

static void
a_change_is_read_back(void **state)
{
	struct change c = creation("acme", 7);
	uint8_t digest[RECORD_DIGEST_LEN], expected[RECORD_DIGEST_LEN];
	struct record_account account;
	struct record_token token;
	struct record_state now;
	struct record_key key;
	struct store_size size;

	(void)state;
	c.has_token = true;
	memset(c.token_index, 0x11, sizeof(c.token_index));
	memset(c.token_request, 0x22, sizeof(c.token_request));
	memset(c.sealed, 0x33, sizeof(c.sealed));
	c.sealed_len = sizeof(c.sealed);
	apply(&c);
	for (int round = 0; round < 2; round++, reopen()) {
		digest_of(7, expected);
		assert_int_equal(store_read(f.reader), 0);
		assert_int_equal(store_account(f.reader, "acme", &account), 0);
		assert_string_equal(account.account, "acme");
		assert_int_equal(account.secret_generation, 1);
		assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 1, digest), 0);
		assert_memory_equal(digest, expected, sizeof(digest));
		assert_int_equal(store_key(f.reader, digest, &key), 0);
		assert_int_equal(key.serial, 7);
		assert_string_equal(key.account, "acme");
		assert_int_equal(store_token(f.reader, c.token_index, &token), 0);
		assert_int_equal(token.created_ms, NOW + 7);
		assert_memory_equal(token.request, c.token_request, sizeof(token.request));
		assert_int_equal(token.sealed_len, sizeof(c.sealed));
		assert_memory_equal(token.sealed, c.sealed, sizeof(c.sealed));
		assert_int_equal(store_state(f.reader, &now), 0);
		assert_int_equal(now.revision, 1);
		assert_int_equal(now.newest_ms, NOW + 7);
		assert_int_equal(now.event_sequence, 1);
		assert_int_equal(now.next_serial, 8);
		store_size(f.reader, &size);
		assert_int_equal(size.accounts, 1);
		assert_int_equal(size.keys, 1);
		assert_int_equal(size.ceiling_bytes, f.options.ceiling_bytes);
		assert_true(size.used_bytes > 0 && size.used_bytes < 1 << 20);

		/* And what is not there is not. */
		digest_of(8, digest);
		assert_int_equal(store_key(f.reader, digest, &key), -FAULT_NOT_FOUND);
		assert_int_equal(store_account(f.reader, "acm", &account), -FAULT_NOT_FOUND);
		assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 2, digest), -FAULT_NOT_FOUND);
		assert_int_equal(store_slot(f.reader, "acme", KIND_PUBLISHABLE, 1, digest), -FAULT_NOT_FOUND);
		assert_int_equal(store_token(f.reader, digest, &token), -FAULT_NOT_FOUND);
		store_read_end(f.reader);
		assert_int_equal(store_corrupt_records(f.store), 0);
	}
}

static void
time_never_runs_back_in_the_state(void **state)
{
	struct change late = creation("late", 9), early = creation("early", 3);

	(void)state;
	apply(&late);
	apply(&early);
	assert_int_equal(read_state().newest_ms, NOW + 9);
	assert_int_equal(read_state().next_serial, 10);
	assert_int_equal(read_state().revision, 2);
}

static void
an_abort_applies_nothing(void **state)
{
	struct change c = creation("acme", 1);
	struct record_state next = { 0 };
	struct record_account account;

	(void)state;
	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_apply(f.writer, &c, &next), 0);
	assert_int_equal(store_account(f.writer, "acme", &account), 0);
	store_abort(f.writer);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_account(f.reader, "acme", &account), -FAULT_NOT_FOUND);
	store_read_end(f.reader);
	assert_int_equal(read_state().revision, 0);
}

/* ---- the expiry table ---- */

static void
expect_next_expiry(int64_t at_ms, uint8_t n)
{
	uint8_t digest[RECORD_DIGEST_LEN], expected[RECORD_DIGEST_LEN];
	int64_t got_ms;

	digest_of(n, expected);
	assert_int_equal(store_read(f.reader), 0);
	if (at_ms == 0) {
		assert_int_equal(store_next_expiry(f.reader, &got_ms, digest), -FAULT_NOT_FOUND);
	} else {
		assert_int_equal(store_next_expiry(f.reader, &got_ms, digest), 0);
		assert_int_equal(got_ms, at_ms);
		assert_memory_equal(digest, expected, sizeof(digest));
	}
	store_read_end(f.reader);
}

static void
deadlines_in_order(void **state)
{
	struct change c;

	(void)state;
	for (uint8_t n = 1; n <= 3; n++) {
		char account[8];

		snprintf(account, sizeof(account), "a%u", n);
		c = creation(account, n);
		apply(&c);
	}
	expect_next_expiry(0, 0);
	c = grace("a1", 1, 0, KEY_GRACE, NOW + 3000);
	apply(&c);
	expect_next_expiry(NOW + 3000, 1);
	c = grace("a2", 2, 0, KEY_GRACE, NOW + 1000);
	apply(&c);
	expect_next_expiry(NOW + 1000, 2);
	c = grace("a3", 3, 0, KEY_GRACE, NOW + 2000);
	apply(&c);
	expect_next_expiry(NOW + 1000, 2);
	/* A change of the key that leaves its deadline alone (a suspension) leaves the entry alone. */
	c = grace("a2", 2, NOW + 1000, KEY_GRACE, NOW + 1000);
	c.keys[0].key.suspended = true;
	apply(&c);
	expect_next_expiry(NOW + 1000, 2);
	c = grace("a2", 2, NOW + 1000, KEY_EXPIRED, NOW + 1000);
	apply(&c);
	expect_next_expiry(NOW + 2000, 3);
	c = grace("a3", 3, NOW + 2000, KEY_REVOKED, NOW + 2000);
	apply(&c);
	expect_next_expiry(NOW + 3000, 1);
	c = grace("a1", 1, NOW + 3000, KEY_EXPIRED, NOW + 3000);
	apply(&c);
	expect_next_expiry(0, 0);
}

/* ---- walks ---- */

struct walk {
	unsigned n;
	unsigned most; /* stop after so many */
	char seen[64][LIMIT_ACCOUNT + 1 + 32];
};

static bool
see(struct walk *w, const char *what, unsigned a, unsigned b)
{
	assert_true(w->n < 64);
	snprintf(w->seen[w->n], sizeof(w->seen[0]), "%s %u %u", what, a, b);
	w->n++;
	return w->n != w->most;
}

static bool
see_key(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key)
{
	uint8_t expected[RECORD_DIGEST_LEN];

	digest_of((uint8_t)key->serial, expected);
	assert_memory_equal(digest, expected, sizeof(expected));
	return see(arg, key->account, key->kind, key->generation);
}

static bool
see_account(void *arg, const struct record_account *account)
{
	return see(arg, account->account, 0, 0);
}

static bool
see_event(void *arg, const struct record_event *event)
{
	return see(arg, event->account, (unsigned)event->sequence, 0);
}

static void
expect_walk(const struct walk *w, const char *const *seen, unsigned n)
{
	assert_int_equal(w->n, n);
	for (unsigned i = 0; i < n; i++)
		assert_string_equal(w->seen[i], seen[i]);
}

static void
walk_keys(const char *account, enum kind kind, uint32_t generation, unsigned most, const char *const *seen, unsigned n)
{
	struct walk w = { .most = most };

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_key(f.reader, account, kind, generation, see_key, &w), 0);
	store_read_end(f.reader);
	expect_walk(&w, seen, n);
}

static void
each_key(void **state)
{
	static const char *const all[] = { "a 1 1", "a 1 2", "a 1 300", "a 2 1" };
	struct change c;

	(void)state;
	/* Neighbours on both sides, of names that begin alike. */
	c = creation("a", 1), apply(&c);
	c = creation("a-", 2), apply(&c);
	c = creation("A", 3), apply(&c);
	c = creation("aa", 4), apply(&c);
	c = another_key("a", KIND_SECRET, 2, 5), apply(&c);
	c = another_key("a", KIND_SECRET, 300, 6), apply(&c);
	c = another_key("a", KIND_PUBLISHABLE, 1, 7), apply(&c);
	walk_keys("a", 0, 0, 0, all, 4);
	walk_keys("a", KIND_SECRET, 0, 0, all, 4);
	walk_keys("a", KIND_SECRET, 1, 0, all + 1, 3);
	walk_keys("a", KIND_SECRET, 2, 0, all + 2, 2);
	walk_keys("a", KIND_SECRET, 299, 0, all + 2, 2);
	walk_keys("a", KIND_SECRET, 300, 0, all + 3, 1);
	walk_keys("a", KIND_PUBLISHABLE, 0, 0, all + 3, 1);
	walk_keys("a", KIND_PUBLISHABLE, 1, 0, NULL, 0);
	/* A position beyond every generation does not start again from the beginning. */
	walk_keys("a", KIND_SECRET, UINT32_MAX, 0, all + 3, 1);
	walk_keys("a", KIND_PUBLISHABLE, UINT32_MAX, 0, NULL, 0);
	/* Stopped by the visitor. */
	walk_keys("a", 0, 0, 2, all, 2);
	walk_keys("nobody", 0, 0, 0, NULL, 0);
}

static void
walk_accounts(const char *after, unsigned most, const char *const *seen, unsigned n)
{
	struct walk w = { .most = most };

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_account(f.reader, after, see_account, &w), 0);
	store_read_end(f.reader);
	expect_walk(&w, seen, n);
}

static void
each_account(void **state)
{
	static const char *const all[] = { "- 0 0", "B 0 0", "a 0 0", "a1 0 0", "b 0 0" };
	static const char *const names[] = { "a1", "b", "-", "a", "B" };

	(void)state;
	walk_accounts("", 0, NULL, 0);
	for (uint8_t i = 0; i < 5; i++) {
		struct change c = creation(names[i], i);

		apply(&c);
	}
	walk_accounts("", 0, all, 5);
	walk_accounts("-", 0, all + 1, 4);
	walk_accounts("a", 0, all + 3, 2);
	walk_accounts("a0", 0, all + 3, 2);
	walk_accounts("b", 0, NULL, 0);
	walk_accounts("zzz", 0, NULL, 0);
	walk_accounts("", 3, all, 3);
}

static void
walk_events(uint64_t after, unsigned most, const char *const *seen, unsigned n)
{
	struct walk w = { .most = most };

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_event(f.reader, after, see_event, &w), 0);
	store_read_end(f.reader);
	expect_walk(&w, seen, n);
}

static void
each_event(void **state)
{
	static const char *const all[] = { "a0 1 0", "a1 2 0", "a2 3 0", "a3 4 0" };

	(void)state;
	walk_events(0, 0, NULL, 0);
	for (uint8_t i = 0; i < 4; i++) {
		char name[4];
		struct change c;

		snprintf(name, sizeof(name), "a%u", i);
		c = creation(name, i);
		apply(&c);
	}
	walk_events(0, 0, all, 4);
	walk_events(2, 0, all + 2, 2);
	walk_events(4, 0, NULL, 0);
	walk_events(UINT64_MAX, 0, NULL, 0);
	walk_events(0, 1, all, 1);
}

/* ---- what is forgotten ---- */

static void
events_kept(void **state)
{
	static const char *const newest[] = { "a 8 0", "a 9 0", "a 10 0" };
	struct walk w = { .n = 0 };
	struct change c = creation("a", 1);

	(void)state;
	fixture_store_close(&f);
	f.options.events_kept = 3;
	fixture_store_open(&f);
	for (int i = 0; i < 10; i++) {
		apply(&c);
		c.keys[0].is_new = false;
	}
	walk_events(0, 0, newest, 3);

	/* Lowered: caught up with, one by one, while new ones come. */
	fixture_store_close(&f);
	f.options.events_kept = 1;
	fixture_store_open(&f);
	for (int i = 0; i < 3; i++)
		apply(&c);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_event(f.reader, 0, see_event, &w), 0);
	store_read_end(f.reader);
	assert_int_equal(w.n, 1);
	assert_string_equal(w.seen[0], "a 13 0");
}

static void
forget(int64_t before_ms, unsigned most, int forgotten, int64_t oldest_ms)
{
	int64_t got_ms = -1;

	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_forget_tokens(f.writer, before_ms, most, &got_ms), forgotten);
	assert_int_equal(got_ms, oldest_ms);
	assert_int_equal(store_commit(f.writer), 0);
}

static void
tokens_are_forgotten(void **state)
{
	struct record_token token;
	uint8_t index[PEPPER_DIGEST_LEN];

	(void)state;
	forget(NOW, 10, 0, 0);
	for (uint8_t i = 1; i <= 5; i++) {
		struct change c = { .time_ms = NOW + i, .has_token = true, .sealed_len = PEPPER_SEAL_LEN };

		memset(c.token_index, 10 - i, sizeof(c.token_index));
		apply(&c);
	}
	forget(NOW + 1, 10, 0, NOW + 1);
	forget(NOW + 2, 10, 1, NOW + 2);
	forget(NOW + 5, 2, 2, NOW + 4);
	/* Exactly those: the later ones still replay. */
	assert_int_equal(store_read(f.reader), 0);
	for (uint8_t i = 1; i <= 5; i++) {
		memset(index, 10 - i, sizeof(index));
		assert_int_equal(store_token(f.reader, index, &token), i <= 3 ? -FAULT_NOT_FOUND : 0);
	}
	store_read_end(f.reader);
	/* When none is left, there is no oldest. */
	forget(NOW + 100, 10, 2, 0);
	forget(NOW + 100, 10, 0, 0);
}

/* ---- room ---- */

static void
room_ends_at_nine_tenths(void **state)
{
	struct change c = creation("big", 1);
	struct store_size size;
	uint32_t n = 0;
	int fault;

	(void)state;
	fixture_store_close(&f);
	f.options.ceiling_bytes = 1U << 20;
	fixture_store_open(&f);
	c.has_token = true;
	c.sealed_len = sizeof(c.sealed);
	for (fault = 0; fault == 0 && n < 100000; n++) {
		struct record_state next;

		assert_int_equal(store_write(f.writer), 0);
		assert_int_equal(store_state(f.writer, &next), 0);
		if ((fault = store_room(f.writer)) != 0) {
			store_abort(f.writer);
			break;
		}
		for (int i = 0; i < 16; i++) {
			randombytes_buf(c.token_index, sizeof(c.token_index));
			assert_int_equal(store_apply(f.writer, &c, &next), 0);
		}
		assert_int_equal(store_put_state(f.writer, &next), 0);
		assert_int_equal(store_commit(f.writer), 0);
	}
	assert_int_equal(fault, -FAULT_FULL);
	assert_int_equal(store_read(f.reader), 0);
	store_size(f.reader, &size);
	store_read_end(f.reader);
	assert_in_range(size.used_bytes, size.ceiling_bytes / 10 * 9, size.ceiling_bytes);
	/* What ends a key still fits, again and again; room is made by forgetting tokens. */
	for (int i = 0; i < 200; i++) {
		struct change suspend = grace("big", 1, 0, i % 2 == 0 ? KEY_REVOKED : KEY_CURRENT, 0);

		apply(&suspend);
	}
	for (;;) {
		int64_t oldest_ms;
		int forgotten;

		assert_int_equal(store_write(f.writer), 0);
		forgotten = store_forget_tokens(f.writer, NOW + 1000, 512, &oldest_ms);
		assert_true(forgotten >= 0);
		assert_int_equal(store_commit(f.writer), 0);
		if (forgotten == 0)
			break;
	}
	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_room(f.writer), 0);
	store_abort(f.writer);
}

/* ---- damage ---- */

static void
expect_damage(uint64_t corrupt)
{
	assert_int_equal(store_corrupt_records(f.store), corrupt);
	assert_false(store_failed(f.store));
}

/* Flip one bit of each record in turn. What is read of it is -FAULT_CORRUPT, each time counted once. */
static void
damaged_records(void **state)
{
	struct change c = creation("acme", 7), other = creation("zeta", 8), in_grace, old;
	uint8_t digest[RECORD_DIGEST_LEN], got[RECORD_DIGEST_LEN];
	struct record_bytes slot, sequence, at, age;
	struct record_account account;
	struct record_token token;
	struct record_key key;
	struct walk w = { .n = 0 };
	int64_t at_ms;

	(void)state;
	c.has_token = true;
	memset(c.token_index, 0x11, sizeof(c.token_index));
	c.sealed_len = PEPPER_SEAL_LEN;
	apply(&c);
	apply(&other);
	in_grace = grace("acme", 7, 0, KEY_GRACE, NOW + 1000);
	apply(&in_grace);
	old = another_key("acme", KIND_SECRET, 2, 9);
	apply(&old);
	digest_of(7, digest);
	record_slot_key("acme", KIND_SECRET, 2, &slot);
	record_sequence_key(1, &sequence);
	record_time_key(NOW + 1000, digest, &at);
	record_time_key(NOW + 7, c.token_index, &age);

	fixture_store_close(&f);
	fixture_flip(&f, TABLE_KEYS, digest, sizeof(digest), 10); /* its state */
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_key(f.reader, digest, &key), -FAULT_CORRUPT);
	expect_damage(1);
	assert_int_equal(store_each_key(f.reader, "acme", 0, 0, see_key, &w), -FAULT_CORRUPT);
	expect_damage(2);
	assert_int_equal(w.n, 0);
	/* The other account's is as it was. */
	assert_int_equal(store_each_key(f.reader, "zeta", 0, 0, see_key, &w), 0);
	assert_int_equal(w.n, 1);
	store_read_end(f.reader);
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_KEYS, digest, sizeof(digest), 10);

	fixture_flip(&f, TABLE_ACCOUNTS, "acme", 4, -1);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_account(f.reader, "acme", &account), -FAULT_CORRUPT);
	expect_damage(1);
	/* Nor is anything else said of its keys. */
	w.n = 0;
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 1, got), -FAULT_CORRUPT);
	assert_int_equal(store_each_key(f.reader, "acme", 0, 0, see_key, &w), -FAULT_CORRUPT);
	assert_int_equal(w.n, 0);
	expect_damage(3);
	assert_int_equal(store_each_account(f.reader, "", see_account, &w), -FAULT_CORRUPT);
	expect_damage(4);
	/* The damage is in the walk's way; behind it the walk goes on. */
	assert_int_equal(store_each_account(f.reader, "acme", see_account, &w), 0);
	assert_int_equal(w.n, 1);
	store_read_end(f.reader);
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_ACCOUNTS, "acme", 4, -1);

	fixture_flip(&f, TABLE_SLOTS, slot.bytes, slot.len, 100);
	fixture_flip(&f, TABLE_EVENTS, sequence.bytes, sequence.len, 0);
	fixture_flip(&f, TABLE_TOKENS, c.token_index, sizeof(c.token_index), 300);
	fixture_flip(&f, TABLE_TOKEN_AGE, age.bytes, age.len, 5);
	fixture_flip(&f, TABLE_EXPIRY, at.bytes, at.len, 60);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 2, got), -FAULT_CORRUPT);
	expect_damage(1);
	w.n = 0;
	assert_int_equal(store_each_key(f.reader, "acme", 0, 0, see_key, &w), -FAULT_CORRUPT);
	assert_int_equal(w.n, 1);
	expect_damage(2);
	assert_int_equal(store_each_event(f.reader, 0, see_event, &w), -FAULT_CORRUPT);
	expect_damage(3);
	assert_int_equal(store_token(f.reader, c.token_index, &token), -FAULT_CORRUPT);
	expect_damage(4);
	assert_int_equal(store_next_expiry(f.reader, &at_ms, got), -FAULT_NOT_FOUND);
	expect_damage(5);
	store_read_end(f.reader);
	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_forget_tokens(f.writer, NOW + 1000, 10, &at_ms), 0);
	store_abort(f.writer);
	expect_damage(6);
	fixture_store_close(&f);

	/*
	 * Where there is a record that nobody wrote, nobody can say that there is no mark of a copy: a bit in its name
	 * is wrong.
	 */
	fixture_raw_put(&f, TABLE_META, "aopy", 4, "marked", 6);
	refused_open(&f.options, "the record that says whether this is a backup is damaged");
	fixture_raw_put(&f, TABLE_META, "aopy", 4, NULL, 0);
	fixture_store_open(&f);
}

/*
 * Where the table of all tables says that "meta" begins, a bit is wrong: behind the end of the file. That is damage,
 * too.
 */
static void
a_table_that_begins_nowhere(void **state)
{
	static const char name[] = "meta";
	static uint8_t bytes[1 << 20];
	char path[FIXTURE_PATH];
	size_t len, found = 0;
	FILE *file;

	(void)state;
	fixture_store_close(&f);
	assert_non_null(file = fopen(fixture_path(f.path, "data.mdb", path), "r+"));
	len = fread(bytes, 1, sizeof(bytes), file);
	for (uint8_t *at = bytes; (at = memmem(at, (size_t)(bytes + len - at), name, 4)) != NULL; at += 4, found++)
		at[4 + 40 + 3] ^= 0x10;
	assert_true(found > 0);
	rewind(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	refused_open(&f.options, "or it is damaged");
}

/* A damaged entry of the expiry table must not keep other keys from ending, or its own key from being revoked. */
static void
damage_does_not_stop_the_sweeper(void **state)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_bytes at;
	struct record_key key;
	struct change c;

	(void)state;
	c = creation("a1", 1), apply(&c);
	c = creation("a2", 2), apply(&c);
	c = creation("a3", 3), apply(&c);
	c = grace("a1", 1, 0, KEY_GRACE, NOW + 1000), apply(&c);
	c = grace("a2", 2, 0, KEY_GRACE, NOW + 2000), apply(&c);
	c = grace("a3", 3, 0, KEY_GRACE, NOW + 3000), apply(&c);
	digest_of(1, digest);
	record_time_key(NOW + 1000, digest, &at);
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_EXPIRY, at.bytes, at.len, 60);
	fixture_store_open(&f);
	expect_next_expiry(NOW + 2000, 2);
	expect_damage(1);
	/* Its own key ends when it is revoked, and takes the entry along. */
	c = grace("a1", 1, NOW + 1000, KEY_REVOKED, NOW + 1000), apply(&c);
	expect_next_expiry(NOW + 2000, 2);
	expect_damage(1);

	/* The same where the entry is gone altogether. */
	digest_of(2, digest);
	record_time_key(NOW + 2000, digest, &at);
	fixture_store_close(&f);
	fixture_raw_put(&f, TABLE_EXPIRY, at.bytes, at.len, NULL, 0);
	fixture_store_open(&f);
	expect_next_expiry(NOW + 3000, 3);
	c = grace("a2", 2, NOW + 2000, KEY_REVOKED, NOW + 2000), apply(&c);
	expect_damage(1);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_key(f.reader, digest, &key), 0);
	assert_int_equal(key.state, KEY_REVOKED);
	store_read_end(f.reader);
}

static void
damage_does_not_keep_tokens(void **state)
{
	struct record_bytes at;
	struct record_token token;
	struct change c = { .has_token = true, .sealed_len = PEPPER_SEAL_LEN };

	(void)state;
	for (uint8_t i = 1; i <= 3; i++) {
		c.time_ms = NOW + i;
		memset(c.token_index, i, sizeof(c.token_index));
		apply(&c);
	}
	memset(c.token_index, 1, sizeof(c.token_index));
	record_time_key(NOW + 1, c.token_index, &at);
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_TOKEN_AGE, at.bytes, at.len, 60);
	fixture_store_open(&f);
	forget(NOW + 3, 10, 1, NOW + 3);
	memset(c.token_index, 2, sizeof(c.token_index));
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_token(f.reader, c.token_index, &token), -FAULT_NOT_FOUND);
	store_read_end(f.reader);
}

/* A valid record that was copied to another key, by an attacker who can write the file. */
static void
a_copied_record(void **state)
{
	struct change c = creation("acme", 7), poor = creation("poor", 8);
	uint8_t digest[RECORD_DIGEST_LEN], other[RECORD_DIGEST_LEN];
	struct record_bytes value;
	struct record_account account;
	struct record_key key;
	struct lmdb_value v;
	struct lmdb_txn *txn;
	struct lmdb *db;

	(void)state;
	apply(&c);
	apply(&poor);
	fixture_store_close(&f);
	digest_of(7, digest);
	digest_of(9, other);
	db = fixture_raw_open(&f);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_read(txn), 0);
	assert_int_equal(lmdb_get(txn, TABLE_KEYS, digest, sizeof(digest), &v), 0);
	memcpy(value.bytes, v.data, v.len);
	value.len = v.len;
	lmdb_txn_free(txn);
	lmdb_close(db);
	/* As a key of a new digest, in place of another key, and as another account. */
	fixture_raw_put(&f, TABLE_KEYS, other, sizeof(other), value.bytes, value.len);
	digest_of(8, digest);
	fixture_raw_put(&f, TABLE_KEYS, digest, sizeof(digest), value.bytes, value.len);
	fixture_raw_put(&f, TABLE_ACCOUNTS, "mallory", 7, value.bytes, value.len);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_key(f.reader, other, &key), -FAULT_CORRUPT);
	assert_int_equal(store_key(f.reader, digest, &key), -FAULT_CORRUPT);
	assert_int_equal(store_account(f.reader, "mallory", &account), -FAULT_CORRUPT);
	store_read_end(f.reader);
	expect_damage(3);
}

/* A hole: an account or a slot whose key is gone is a fault, not a shorter list. */
static void
a_slot_without_its_key(void **state)
{
	struct change c = creation("acme", 7), old = another_key("acme", KIND_SECRET, 2, 9),
		      other = creation("zeta", 8);
	struct walk w = { .n = 0 };
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_state now;

	(void)state;
	apply(&c);
	apply(&old);
	apply(&other);
	fixture_store_close(&f);
	digest_of(9, digest);
	fixture_raw_put(&f, TABLE_KEYS, digest, sizeof(digest), NULL, 0);
	digest_of(8, digest);
	fixture_raw_put(&f, TABLE_KEYS, digest, sizeof(digest), NULL, 0);
	fixture_raw_put(&f, TABLE_META, "state", 5, NULL, 0);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_key(f.reader, "acme", 0, 0, see_key, &w), -FAULT_CORRUPT);
	assert_int_equal(w.n, 1);
	expect_damage(1);
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 2, digest), -FAULT_CORRUPT);
	expect_damage(2);
	assert_int_equal(store_each_key(f.reader, "zeta", 0, 0, see_key, &w), -FAULT_CORRUPT);
	assert_int_equal(w.n, 1);
	assert_int_equal(store_slot(f.reader, "zeta", KIND_SECRET, 1, digest), -FAULT_CORRUPT);
	expect_damage(4);
	/* So is a database without its state. */
	assert_int_equal(store_state(f.reader, &now), -FAULT_CORRUPT);
	store_read_end(f.reader);
}

/* Two digests with the same beginning, which is too unlikely to happen: each finds its own key. */
static void
digests_that_begin_alike(void **state)
{
	struct change c = creation("acme", 7), twin = creation("twin", 7), old = another_key("acme", KIND_SECRET, 2, 7);
	uint8_t digest[RECORD_DIGEST_LEN];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct change *each = i == 0 ? &c : i == 1 ? &twin : &old;

		each->keys[0].digest[RECORD_REF_LEN] = (uint8_t)(0x10 + i);
		apply(each);
	}
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 1, digest), 0);
	assert_memory_equal(digest, c.keys[0].digest, sizeof(digest));
	assert_int_equal(store_slot(f.reader, "twin", KIND_SECRET, 1, digest), 0);
	assert_memory_equal(digest, twin.keys[0].digest, sizeof(digest));
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 2, digest), 0);
	assert_memory_equal(digest, old.keys[0].digest, sizeof(digest));
	store_read_end(f.reader);

	/* A key that is gone is not found in its neighbour's. */
	fixture_store_close(&f);
	fixture_raw_put(&f, TABLE_KEYS, twin.keys[0].digest, sizeof(digest), NULL, 0);
	fixture_store_open(&f);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_slot(f.reader, "twin", KIND_SECRET, 1, digest), -FAULT_CORRUPT);
	assert_int_equal(store_slot(f.reader, "acme", KIND_SECRET, 2, digest), 0);
	store_read_end(f.reader);
	expect_damage(1);
}

/* Two environments: no record of the one is in the other, whatever happens to it. */
static void
two_stores(void **state)
{
	struct change c = creation("acme", 7);
	struct fixture_store test;
	struct record_account account;
	char file[FIXTURE_PATH];

	(void)state;
	fixture_store(&test, ENVIRONMENT_TEST);
	apply(&c);
	assert_int_equal(store_read(test.reader), 0);
	assert_int_equal(store_account(test.reader, "acme", &account), -FAULT_NOT_FOUND);
	store_read_end(test.reader);
	fixture_store_close(&test);
	assert_int_equal(truncate(fixture_path(test.path, "data.mdb", file), 9000), 0);
	refused_open(&test.options, "cut short");
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_account(f.reader, "acme", &account), 0);
	store_read_end(f.reader);
	store_upkeep(f.store);
	fixture_store_end(&test);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
#define TEST_NOTHING(t) cmocka_unit_test_setup_teardown(t, begin_nothing, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(init_is_idempotent),
		TEST_NOTHING(an_interrupted_init_is_finished),
		TEST(a_lost_database_is_not_made_anew),
		TEST(a_lost_identity_is_not_a_new_database),
		TEST(a_database_without_its_pepper),
		TEST_NOTHING(no_place_for_it),
		TEST(another_database_s_pepper),
		TEST(the_other_environment),
		TEST(a_newer_schema_and_damage),
		TEST(in_use),
		TEST(a_change_is_read_back),
		TEST(time_never_runs_back_in_the_state),
		TEST(an_abort_applies_nothing),
		TEST(deadlines_in_order),
		TEST(each_key),
		TEST(each_account),
		TEST(each_event),
		TEST(events_kept),
		TEST(tokens_are_forgotten),
		TEST(room_ends_at_nine_tenths),
		TEST(damaged_records),
		TEST(a_table_that_begins_nowhere),
		TEST(damage_does_not_stop_the_sweeper),
		TEST(damage_does_not_keep_tokens),
		TEST(a_copied_record),
		TEST(a_slot_without_its_key),
		TEST(digests_that_begin_alike),
		TEST(two_stores),
	};

	return cmocka_run_group_tests_name("store", tests, fixture_begin, NULL);
}
