/*
 * test_lookup.c - lookup.c: keys of Fob's own and imported ones, found where they may be and nowhere else, before, during
 * and after a rotation; and damage, which is never "not found".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/keys/lookup.h"
#include "service/store/apply.h"
#include "service/store/rotate.h"
#include "tests/unit/service/fixture.h"

#define LINE2 "fob-pepper-v1 1718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536\n"
#define OWN "own"
#define IMPORTED "imported"

static void
digest_of(const struct fixture_store *f, const char *secret, bool imported, uint8_t digest[RECORD_DIGEST_LEN])
{
	const struct pepper *pepper = store_pepper(f->store);
	uint8_t sha256[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(sha256, (const uint8_t *)secret, strlen(secret));
	if (imported)
		pepper_imported(pepper, KIND_SECRET, sha256, digest);
	else
		pepper_digest(pepper, secret, strlen(secret), digest);
}

/* An account with one secret key, whose name is its secret. */
static void
add(struct fixture_store *f, const char *secret, bool imported, uint32_t serial)
{
	struct change change = { .time_ms = FIXTURE_NOW_MS, .touches_account = true, .n_keys = 1, .imports = imported };
	struct change_key *c = &change.keys[0];

	snprintf(change.account.account, sizeof(change.account.account), "%s", secret);
	change.account.created_ms = FIXTURE_NOW_MS;
	change.account.secret_generation = 1;
	c->is_new = true;
	c->key = (struct record_key){ .kind = KIND_SECRET,
		.state = KEY_CURRENT,
		.generation = 1,
		.serial = serial,
		.created_ms = FIXTURE_NOW_MS,
		.last4 = { 'a', 'b', 'c', 'd' } };
	snprintf(c->key.account, sizeof(c->key.account), "%s", secret);
	digest_of(f, secret, imported, c->digest);
	assert_int_equal(fixture_apply(f, &change), 0);
}

static int
begin(void **state)
{
	struct fixture_store *f = calloc(1, sizeof(*f));

	assert_non_null(*state = f);
	fixture_store(f, ENVIRONMENT_LIVE);
	add(f, OWN, false, 0);
	add(f, IMPORTED, true, 1);
	return 0;
}

static int
end(void **state)
{
	fixture_store_end(*state);
	free(*state);
	return 0;
}

/* Returns the fault; *${old}: the key was found under its old digest. What is found is checked. */
static int
look_up(struct fixture_store *f, const char *secret, enum kind kind, bool own, bool *old)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct lookup found;
	struct record_key key;
	int fault;

	memset(&found, 0xee, sizeof(found));
	found.secret = secret;
	found.len = strlen(secret);
	found.kind = kind;
	found.own = own;
	assert_int_equal(store_read(f->reader), 0);
	fault = lookup_key(f->reader, &found);
	if (fault == 0) {
		digest_of(f, secret, strcmp(secret, IMPORTED) == 0, digest);
		assert_memory_equal(found.digest, digest, sizeof(digest));
		assert_string_equal(found.key.account, secret);
		assert_int_equal(store_key(f->reader, found.stored, &key), 0);
		assert_string_equal(key.account, secret);
		*old = memcmp(found.stored, found.digest, sizeof(digest)) != 0;
	} else if (fault == -FAULT_NOT_FOUND) {
		assert_int_equal(store_key(f->reader, found.digest, &key), -FAULT_NOT_FOUND);
		assert_int_equal(store_key(f->reader, found.stored, &key), -FAULT_NOT_FOUND);
	}
	store_read_end(f->reader);
	return fault;
}

static void
expect_all(struct fixture_store *f, bool old)
{
	static const struct {
		const char *secret;
		enum kind kind;
		bool own;
		int fault;
	} cases[] = {
		{ OWN, KIND_SECRET, true, 0 },
		{ OWN, KIND_SECRET, false, -FAULT_NOT_FOUND },
		{ IMPORTED, KIND_SECRET, false, 0 },
		{ IMPORTED, KIND_SECRET, true, 0 },
		/* Its kind is part of an imported key's digest. */
		{ IMPORTED, KIND_PUBLISHABLE, true, -FAULT_NOT_FOUND },
		{ "nobody's", KIND_SECRET, true, -FAULT_NOT_FOUND },
		{ "", KIND_SECRET, true, -FAULT_NOT_FOUND },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_old = !old;

		assert_int_equal(look_up(f, cases[i].secret, cases[i].kind, cases[i].own, &is_old), cases[i].fault);
		if (cases[i].fault == 0)
			assert_int_equal(is_old, old);
	}
}

static void
each_where_it_may_be(void **state)
{
	expect_all(*state, false);
}

/* Without an import nobody pays for a second search; a database that took one is known by it when it is opened. */
static void
before_and_after_an_import(void **state)
{
	struct fixture_store *f = *state, none;
	bool old;

	fixture_store(&none, ENVIRONMENT_LIVE);
	assert_false(store_has_imported(none.store));
	add(&none, OWN, false, 0);
	assert_false(store_has_imported(none.store));
	assert_int_equal(look_up(&none, OWN, KIND_SECRET, true, &old), 0);
	assert_int_equal(look_up(&none, IMPORTED, KIND_SECRET, true, &old), -FAULT_NOT_FOUND);
	add(&none, IMPORTED, true, 1);
	assert_true(store_has_imported(none.store));
	fixture_store_end(&none);

	fixture_store_close(f);
	fixture_store_open(f);
	assert_true(store_has_imported(f->store));
	expect_all(f, false);
}

static void
begin_rotation(struct fixture_store *f)
{
	struct pepper *pepper;
	char why[512] = "";
	FILE *file;

	assert_non_null(file = fopen(f->pepper, "a"));
	assert_true(fputs(LINE2, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(pepper_load(f->pepper, &pepper, why, sizeof(why)), 0);
	assert_int_equal(store_offer_pepper(f->store, pepper), 1);
	assert_int_equal(store_begin_rotation(f->writer), 0);
}

/* Returns whether that was the end. */
static bool
move(struct fixture_store *f)
{
	struct record_state next;

	assert_int_equal(store_write(f->writer), 0);
	assert_int_equal(store_state(f->writer, &next), 0);
	assert_int_equal(store_rotate(f->writer), 0);
	assert_int_equal(store_put_state(f->writer, &next), 0);
	assert_int_equal(store_commit(f->writer), 0);
	return store_rotated(f->store);
}

static void
in_a_rotation(void **state)
{
	struct fixture_store *f = *state;

	begin_rotation(f);
	assert_true(store_is_rotating(f->store));
	expect_all(f, true);
	assert_false(move(f)); /* all accounts, with their keys */
	assert_true(store_is_rotating(f->store));
	expect_all(f, false);
	while (!move(f))
		;
	assert_false(store_is_rotating(f->store));
	expect_all(f, false);
}

static void
damage_all(struct fixture_store *f)
{
	uint8_t digests[2][RECORD_DIGEST_LEN];

	digest_of(f, OWN, false, digests[0]);
	digest_of(f, IMPORTED, true, digests[1]);
	fixture_store_close(f);
	fixture_flip(f, TABLE_KEYS, digests[0], RECORD_DIGEST_LEN, 40);
	fixture_flip(f, TABLE_KEYS, digests[1], RECORD_DIGEST_LEN, 40);
	fixture_store_open(f);
}

static void
expect_corrupt(struct fixture_store *f)
{
	bool old;

	assert_int_equal(look_up(f, OWN, KIND_SECRET, true, &old), -FAULT_CORRUPT);
	assert_int_equal(look_up(f, IMPORTED, KIND_SECRET, true, &old), -FAULT_CORRUPT);
	assert_int_equal(look_up(f, IMPORTED, KIND_SECRET, false, &old), -FAULT_CORRUPT);
}

/* A damaged record is a fault, whichever of the digests it is under, and the search goes no further. */
static void
damage(void **state)
{
	damage_all(*state);
	expect_corrupt(*state);
	begin_rotation(*state);
	expect_corrupt(*state);
}

static void
damage_behind_a_rotation(void **state)
{
	char name[16];

	/* So that the records beside the place of an old digest are most likely sound. */
	for (uint32_t i = 2; i < 30; i++) {
		snprintf(name, sizeof(name), "other%u", i);
		add(*state, name, false, i);
	}
	begin_rotation(*state);
	assert_false(move(*state));
	damage_all(*state);
	expect_corrupt(*state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_where_it_may_be, begin, end),
		cmocka_unit_test_setup_teardown(before_and_after_an_import, begin, end),
		cmocka_unit_test_setup_teardown(in_a_rotation, begin, end),
		cmocka_unit_test_setup_teardown(damage, begin, end),
		cmocka_unit_test_setup_teardown(damage_behind_a_rotation, begin, end),
	};

	return cmocka_run_group_tests_name("lookup", tests, fixture_begin, NULL);
}
