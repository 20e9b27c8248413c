/*
 * test_entry.c - the changes of an entry are read back; another entry's place, a changed byte and items that are none are
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/cluster/entry.h"
#include "service/cluster/entry_internal.h"

static const uint8_t master[32] = { 1 };
static struct pepper *pepper;
static struct entry *entry;
static uint8_t sealed[ENTRY_MAX];
static struct change change, got;
static const struct entry_place place = { .cluster = { 5 }, .environment = ENVIRONMENT_TEST, .number = 9, .before = { 6 } };
static const uint8_t proposer[ENTRY_PROPOSER_LEN] = { 7, 8 };

static int
setup(void **state)
{
	(void)state;
	assert_true(sodium_init() >= 0);
	assert_non_null(pepper = pepper_from_bytes(master));
	assert_non_null(entry = entry_new());
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pepper_free(pepper);
	entry_free(entry);
	return 0;
}

static void
name(char *to, unsigned i, bool longest)
{
	snprintf(to, LIMIT_ACCOUNT + 1, longest ? "%064u" : "acct_%u", i);
}

static void
add_key(enum kind kind, bool is_new, enum key_state state)
{
	struct change_key *k = &change.keys[change.n_keys++];

	k->is_new = is_new;
	k->superseded = !is_new;
	if (is_new)
		memset(k->digest, 0x40 + (int)kind, sizeof(k->digest));
	k->key = (struct record_key){ .kind = kind,
		.state = state,
		.suspended = state == KEY_CURRENT,
		.generation = 7,
		.serial = 99,
		.created_ms = 1000,
		.expires_ms = state == KEY_GRACE ? 5000 : 0,
		.ended_ms = state == KEY_REVOKED ? 4000 : 0 };
	memcpy(k->key.last4, "wxyz", 4);
	strcpy(k->key.account, change.account.account);
}

static void
drop_keys(void)
{
	memset(change.keys, 0, sizeof(change.keys));
	change.n_keys = 0;
}

/* The largest change of its kind. */
static void
make(unsigned i, bool longest)
{
	memset(&change, 0, sizeof(change));
	change.time_ms = 123456;
	change.touches_account = true;
	change.account = (struct record_account){ .created_ms = 1, .suspended_ms = 2, .secret_generation = 8 };
	name(change.account.account, i, longest);
	add_key(KIND_SECRET, true, KEY_CURRENT);
	add_key(KIND_PUBLISHABLE, true, KEY_CURRENT);
	change.event = (struct record_event){ .type = EVENT_ACCOUNT_IMPORTED,
		.kind = KIND_SECRET,
		.time_ms = 123456,
		.by = { .known = true, .uid = 1000, .pid = 7 } };
	strcpy(change.event.account, change.account.account);
	if (longest) {
		memset(change.event.by.address, 'a', sizeof(change.event.by.address) - 1);
		memset(change.event.by.certificate, 'c', sizeof(change.event.by.certificate) - 1);
		memset(change.event.on_behalf_of, 'o', LIMIT_ON_BEHALF_OF);
	}
}

static void
read_back(const struct change *wanted)
{
	size_t len;

	len = entry_seal(entry, pepper, &place, proposer, sealed);
	assert_int_equal(entry_open(entry, pepper, &place, sealed, len), 0);
	assert_int_equal(entry_next(entry, &got), 1);
	assert_memory_equal(wanted, &got, sizeof(got));
	assert_int_equal(entry_next(entry, &got), 0);
	assert_memory_equal(entry_proposer(entry), proposer, sizeof(proposer));
}

static void
changes_are_read_back(void **state)
{
	(void)state;
	make(1, false);
	assert_int_equal(entry_add(entry, &change), 0);
	read_back(&change);

	/* A roll: a new key, and one that is named by its place. */
	make(2, true);
	drop_keys();
	add_key(KIND_SECRET, true, KEY_CURRENT);
	add_key(KIND_SECRET, false, KEY_GRACE);
	change.account.n_grace = LIMIT_IN_GRACE;
	for (unsigned i = 0; i < LIMIT_IN_GRACE; i++)
		change.account.grace[i] = (struct record_grace){ i + 1, 5000 + i };
	change.has_token = true;
	memset(change.token_index, 1, sizeof(change.token_index));
	memset(change.token_request, 2, sizeof(change.token_request));
	change.sealed_len = sizeof(change.sealed);
	memset(change.sealed, 3, sizeof(change.sealed));
	entry_clear(entry);
	assert_int_equal(entry_add(entry, &change), 0);
	read_back(&change);

	/* The end of a key, which leaves the account alone. */
	make(3, false);
	drop_keys();
	add_key(KIND_SECRET, false, KEY_REVOKED);
	change.touches_account = false;
	memset(&change.account, 0, sizeof(change.account));
	change.event.type = EVENT_KEY_REVOKED;
	entry_clear(entry);
	assert_int_equal(entry_add(entry, &change), 0);
	read_back(&change);

	/* The time; a rotation. */
	change = (struct change){ .time_ms = 1 };
	entry_clear(entry);
	assert_int_equal(entry_add(entry, &change), 0);
	read_back(&change);
	change.rotate_lines = 3;
	memset(change.rotate_fingerprint, 4, sizeof(change.rotate_fingerprint));
	entry_clear(entry);
	assert_int_equal(entry_add(entry, &change), 0);
	read_back(&change);
}

static void
an_import_fits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LIMIT_IMPORT; i++) {
		make(i, true);
		change.imports = true;
		if (i == LIMIT_IMPORT - 1) {
			change.has_token = true;
			change.sealed_len = sizeof(change.sealed);
		}
		assert_int_equal(entry_add(entry, &change), 0);
	}
	assert_int_equal(entry_changes(entry), LIMIT_IMPORT);
	assert_true(entry_seal(entry, pepper, &place, proposer, sealed) <= ENTRY_MAX);
}

static void
what_does_not_fit_is_taken_back(void **state)
{
	size_t n, len;

	(void)state;
	make(1, true);
	do {
		entry_mark(entry);
	} while (entry_add(entry, &change) == 0);
	n = entry_changes(entry);
	assert_true(n > LIMIT_IMPORT);
	assert_int_equal(entry_add(entry, &change), -FAULT_RESOURCE_EXHAUSTED);
	/* Nor does the part of it that did fit stay in memory: it may be a sealed secret. */
	len = entry_seal(entry, pepper, &place, proposer, sealed) - ENTRY_SEAL_LEN;
	for (size_t i = len; i < ENTRY_PLAIN_MAX; i++)
		assert_int_equal(entry_plain(entry)[i], 0);
	entry_back(entry);
	assert_int_equal(entry_changes(entry), n);
	len = entry_seal(entry, pepper, &place, proposer, sealed);
	assert_int_equal(entry_open(entry, pepper, &place, sealed, len), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(entry_next(entry, &got), 1);
	assert_int_equal(entry_next(entry, &got), 0);
}

static void
another_place_is_refused(void **state)
{
	const uint8_t other_master[32] = { 2 };
	struct pepper *other = pepper_from_bytes(other_master);
	struct entry_place p;
	size_t len;

	(void)state;
	make(1, false);
	assert_int_equal(entry_add(entry, &change), 0);
	len = entry_seal(entry, pepper, &place, proposer, sealed);
#define REFUSED(what) (p = place, (what), assert_int_equal(entry_open(entry, pepper, &p, sealed, len), -FAULT_CORRUPT))
	REFUSED(p.cluster[3] ^= 1);
	REFUSED(p.environment = ENVIRONMENT_LIVE);
	REFUSED(p.number++);
	REFUSED(p.before[15] ^= 1);
	assert_int_equal(entry_open(entry, other, &place, sealed, len), -FAULT_CORRUPT);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(entry_open(entry, pepper, &place, sealed, n), -FAULT_CORRUPT);
	for (size_t bit = 8; bit < len * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(entry_open(entry, pepper, &place, sealed, len), -FAULT_CORRUPT);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	sealed[0] = ENTRY_VERSION + 1;
	assert_int_equal(entry_open(entry, pepper, &place, sealed, len), -FAULT_UNIMPLEMENTED);
	pepper_free(other);
}

static int
add_and_read(void)
{
	size_t len;

	entry_clear(entry);
	assert_int_equal(entry_add(entry, &change), 0);
	len = entry_seal(entry, pepper, &place, proposer, sealed);
	assert_int_equal(entry_open(entry, pepper, &place, sealed, len), 0);
	return entry_next(entry, &got);
}

/* store_apply() would make it the current key of the change's account, whatever it is. */
static void
a_new_key_that_is_none_is_refused(void **state)
{
	(void)state;
	make(1, false);
	assert_int_equal(add_and_read(), 1);
	strcpy(change.keys[1].key.account, "another");
	assert_int_equal(add_and_read(), -FAULT_CORRUPT);

	for (enum key_state s = KEY_GRACE; s <= KEY_REVOKED; s++) {
		make(1, false);
		change.keys[0].key.state = s;
		assert_int_equal(add_and_read(), -FAULT_CORRUPT);
	}

	make(1, false);
	change.touches_account = false;
	assert_int_equal(add_and_read(), -FAULT_CORRUPT);
	/* One that is not new is named by its account. */
	for (unsigned i = 0; i < change.n_keys; i++)
		change.keys[i].is_new = false;
	assert_int_equal(add_and_read(), 1);
}

/* Whatever the bytes are: a change, an end or a fault, and nothing is read behind them. */
static void
items_that_are_none(void **state)
{
	static uint8_t plain[4096];
	uint8_t *exact;
	size_t len;

	(void)state;
	make(1, false);
	change.has_token = true;
	change.sealed_len = 40;
	assert_int_equal(entry_add(entry, &change), 0);
	len = entry_seal(entry, pepper, &place, proposer, sealed) - ENTRY_SEAL_LEN;
	assert_int_equal(entry_open(entry, pepper, &place, sealed, len + ENTRY_SEAL_LEN), 0);
	assert_true(len < sizeof(plain));
	memcpy(plain, entry_plain(entry), len);
	for (size_t n = 1; n < len; n++) {
		exact = malloc(n);
		memcpy(exact, plain, n);
		entry_set_plain(entry, exact, n);
		assert_int_equal(entry_next(entry, &got), -FAULT_CORRUPT);
		free(exact);
	}
	for (size_t at = 0; at < len; at++) {
		for (unsigned value = 0; value < 256; value += 5) {
			uint8_t was = plain[at];

			plain[at] = (uint8_t)value;
			entry_set_plain(entry, plain, len);
			while (entry_next(entry, &got) == 1)
				assert_true(got.n_keys <= CHANGE_KEYS && got.sealed_len <= sizeof(got.sealed) &&
				    got.account.n_grace <= LIMIT_IN_GRACE);
			plain[at] = was;
		}
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(changes_are_read_back),
		TEST(an_import_fits),
		TEST(what_does_not_fit_is_taken_back),
		TEST(another_place_is_refused),
		TEST(a_new_key_that_is_none_is_refused),
		TEST(items_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
