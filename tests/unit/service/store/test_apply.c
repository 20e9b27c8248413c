/*
 * test_apply.c - store_resolve() of apply.c, over a real store: a change of another node gets what only this database says,
 * also while a rotation has moved some keys to the new pepper and others not; what cannot be read is never made up. What
 * store_apply() writes is tested in test_store.c and test_rotate.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/store/apply.h"
#include "service/store/rotate.h"
#include "service/store/time.h"
#include "tests/unit/service/fixture.h"

#define NOW FIXTURE_NOW_MS
#define GRACE_MS (NOW + FIXTURE_HOUR_MS)
#define ACCOUNTS 40

static struct fixture_store f;

static const char *
name_of(unsigned i)
{
	static char name[LIMIT_ACCOUNT + 1];

	snprintf(name, sizeof(name), "acct_%02u", i);
	return name;
}

static struct change
change_of(unsigned i, uint32_t generation)
{
	struct change c = { .time_ms = NOW, .touches_account = true, .n_keys = 1 };

	c.account = (struct record_account){ .created_ms = NOW, .secret_generation = 2, .publishable_generation = 0 };
	snprintf(c.account.account, sizeof(c.account.account), "%s", name_of(i));
	c.keys[0].key = (struct record_key){ .kind = KIND_SECRET,
		.state = KEY_CURRENT,
		.generation = generation,
		.serial = i * 2 + generation,
		.created_ms = NOW,
		.last4 = { 'l', 'a', 's', 't' } };
	snprintf(c.keys[0].key.account, sizeof(c.keys[0].key.account), "%s", name_of(i));
	return c;
}

/* An account with a current key, of generation 2, and one in grace. */
static void
create(unsigned i)
{
	struct change c = change_of(i, 2);

	c.n_keys = 2;
	c.keys[1] = change_of(i, 1).keys[0];
	c.keys[0].is_new = true;
	c.keys[1].superseded = true;
	c.keys[1].key.state = KEY_GRACE;
	c.keys[1].key.expires_ms = GRACE_MS;
	c.account.n_grace = 1;
	c.account.grace[0] = (struct record_grace){ 1, GRACE_MS };
	randombytes_buf(c.keys[0].digest, sizeof(c.keys[0].digest));
	randombytes_buf(c.keys[1].digest, sizeof(c.keys[1].digest));
	assert_int_equal(fixture_apply(&f, &c), 0);
}

static int
begin(void **state)
{
	(void)state;
	fixture_store(&f, ENVIRONMENT_LIVE);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		create(i);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	fixture_store_end(&f);
	return 0;
}

/* The revocation of both keys, as another node has decided it: without what only the database says. */
static struct change
revocation(unsigned i)
{
	struct change c = change_of(i, 2);

	c.n_keys = 2;
	c.keys[1] = change_of(i, 1).keys[0];
	for (unsigned k = 0; k < 2; k++) {
		c.keys[k].key.state = KEY_REVOKED;
		c.keys[k].key.ended_ms = NOW;
	}
	return c;
}

static int
resolve(struct change *c)
{
	int fault;

	assert_int_equal(store_write(f.writer), 0);
	fault = store_resolve(f.writer, c);
	store_abort(f.writer);
	return fault;
}

/* Resolve and commit, as a node does with an entry of the log. */
static void
follow(struct change *c)
{
	struct record_state state;

	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_state(f.writer, &state), 0);
	assert_int_equal(store_resolve(f.writer, c), 0);
	assert_int_equal(store_apply(f.writer, c, &state), 0);
	assert_int_equal(store_put_state(f.writer, &state), 0);
	assert_int_equal(store_commit(f.writer), 0);
}

static void
assert_state_of(unsigned i, uint32_t generation, enum key_state state)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_account account;
	struct record_key key;

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_slot(f.reader, name_of(i), KIND_SECRET, generation, digest), 0);
	assert_int_equal(store_key(f.reader, digest, &key), 0);
	assert_int_equal(key.state, state);
	if (generation == 2) {
		assert_int_equal(store_account(f.reader, name_of(i), &account), 0);
		assert_memory_equal(account.ref[KIND_SECRET - 1], digest, RECORD_REF_LEN);
	}
	store_read_end(f.reader);
}

static unsigned
deadlines(void)
{
	struct store_due due[ACCOUNTS + 1];
	int n;

	assert_int_equal(store_read(f.reader), 0);
	n = store_due(f.reader, INT64_MAX, &(struct store_due){ 0 }, ACCOUNTS + 1, due);
	store_read_end(f.reader);
	assert_true(n >= 0);
	return (unsigned)n;
}

/* ---- tests ---- */

static void
what_only_the_database_says(void **state)
{
	struct change c = revocation(3);
	struct record_account account;
	uint8_t digest[RECORD_DIGEST_LEN];

	(void)state;
	assert_int_equal(resolve(&c), 0);
	assert_int_equal(store_read(f.reader), 0);
	for (uint32_t generation = 1; generation <= 2; generation++) {
		assert_int_equal(store_slot(f.reader, name_of(3), KIND_SECRET, generation, digest), 0);
		assert_memory_equal(c.keys[2 - generation].digest, digest, sizeof(digest));
	}
	assert_int_equal(store_account(f.reader, name_of(3), &account), 0);
	store_read_end(f.reader);
	assert_int_equal(c.keys[0].old_expires_ms, 0);
	assert_int_equal(c.keys[1].old_expires_ms, GRACE_MS);
	assert_memory_equal(c.account.has_ref, account.has_ref, sizeof(account.has_ref));
	assert_memory_equal(c.account.ref[KIND_SECRET - 1], account.ref[KIND_SECRET - 1], RECORD_REF_LEN);
	assert_true(c.account.has_ref[KIND_SECRET - 1]);
}

static void
a_new_account_has_nothing_yet(void **state)
{
	struct change c = change_of(77, 1);

	(void)state;
	c.keys[0].is_new = true;
	memset(c.keys[0].digest, 7, sizeof(c.keys[0].digest));
	assert_int_equal(resolve(&c), 0);
	assert_false(c.account.has_ref[KIND_SECRET - 1]);
	for (size_t i = 0; i < RECORD_DIGEST_LEN; i++)
		assert_int_equal(c.keys[0].digest[i], 7);
}

/* The other node has it: this database lacks something, so the entry must not be applied. */
static void
a_key_that_is_missing_here(void **state)
{
	struct change c = revocation(3), unknown = revocation(78);

	(void)state;
	c.keys[1].key.generation = 9;
	assert_int_equal(resolve(&c), -FAULT_CORRUPT);
	assert_int_equal(resolve(&unknown), -FAULT_CORRUPT);
}

static void
a_damaged_account(void **state)
{
	struct change c = change_of(3, 2);
	struct record_account before;

	(void)state;
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_ACCOUNTS, name_of(3), strlen(name_of(3)), 20);
	fixture_store_open(&f);
	c.n_keys = 0;
	c.account.has_ref[0] = true;
	memset(c.account.ref, 0xa5, sizeof(c.account.ref));
	before = c.account;
	assert_int_equal(resolve(&c), -FAULT_CORRUPT);
	assert_memory_equal(c.account.has_ref, before.has_ref, sizeof(before.has_ref));
	assert_memory_equal(c.account.ref, before.ref, sizeof(before.ref));
}

static void
a_token_that_this_node_has_not_forgotten(void **state)
{
	struct change c = { .time_ms = NOW, .has_token = true, .sealed_len = PEPPER_SEAL_LEN + 1 };
	struct change later = c;

	(void)state;
	assert_int_equal(resolve(&c), 0);
	assert_int_equal(c.token_before_ms, 0);
	follow(&c);
	later.time_ms = NOW + FIXTURE_DAY_MS;
	assert_int_equal(resolve(&later), 0);
	assert_int_equal(later.token_before_ms, NOW);
}

/* Each node's rotation goes at its own pace, and a change comes for keys on either side of where it has come to. */
static void
a_rotation_is_under_way(void **state)
{
	char why[512] = "";
	struct record_state s;
	bool ended = false;

	(void)state;
	fixture_store_close(&f);
	assert_int_equal(pepper_append(f.pepper, why, sizeof(why)), 0);
	fixture_store_open(&f);
	assert_int_equal(store_begin_rotation(f.writer), 0);
	for (unsigned i = 0; !ended; i++) {
		/* The first and the last of those that are not revoked yet: the order of the way is that of the names. */
		if (i < ACCOUNTS / 2) {
			struct change first = revocation(i), last = revocation(ACCOUNTS - 1 - i);

			follow(&first);
			follow(&last);
		}
		if (i % 8 != 0)
			continue;
		assert_int_equal(store_write(f.writer), 0);
		assert_int_equal(store_state(f.writer, &s), 0);
		assert_int_equal(store_rotate(f.writer), 0);
		assert_int_equal(store_put_state(f.writer, &s), 0);
		assert_int_equal(store_commit(f.writer), 0);
		ended = store_rotated(f.store);
	}
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < ACCOUNTS; i++) {
			assert_state_of(i, 1, KEY_REVOKED);
			assert_state_of(i, 2, KEY_REVOKED);
		}
		assert_int_equal(deadlines(), 0);
		assert_int_equal(store_corrupt_records(f.store), 0);
		fixture_store_close(&f);
		fixture_store_open(&f);
	}
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_only_the_database_says),
		TEST(a_new_account_has_nothing_yet),
		TEST(a_key_that_is_missing_here),
		TEST(a_damaged_account),
		TEST(a_token_that_this_node_has_not_forgotten),
		TEST(a_rotation_is_under_way),
	};

	return cmocka_run_group_tests_name("apply", tests, fixture_begin, NULL);
}
