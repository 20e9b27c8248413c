/*
 * test_census.c - the counts of keys by state and of superseded keys in use, compared with a walk over all keys: after
 * each kind of change, after a restart under changes, and across a pepper's rotation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "service/store/walk.h"
#include "tests/unit/service/harness.h"

/* More keys than a step of the census reads. */
#define ACCOUNTS 150

struct fixture {
	struct harness *h;
	struct harness_call *admin, *verify;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->h = harness_new();
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	harness_call_free(f->admin);
	harness_call_free(f->verify);
	harness_free(f->h);
	free(f);
	return 0;
}

static struct engine *
live(const struct fixture *f)
{
	return f->h->service.engines[ENVIRONMENT_LIVE];
}

static void
nap(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/* ---- keys by state ---- */

static bool
count_one(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key)
{
	uint64_t *states = arg;

	(void)digest;
	assert_non_null(key);
	states[key->state]++;
	return true;
}

static struct writer_counters
counted(const struct fixture *f)
{
	struct writer_counters w;

	writer_count(live(f)->writer, &w);
	while (!w.keys_counted) {
		nap();
		writer_count(live(f)->writer, &w);
	}
	return w;
}

/* The census is what a walk over all keys finds. */
static void
is_true(const struct fixture *f)
{
	struct writer_counters w = counted(f);
	uint64_t states[WRITER_STATES] = { 0 };
	struct store_txn *txn = store_txn_new(live(f)->store);

	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_scan_keys(txn, NULL, count_one, states), 0);
	store_txn_free(txn);
	for (int s = 0; s < WRITER_STATES; s++)
		assert_int_equal(w.keys[s], states[s]);
}

static void
is(const struct fixture *f, uint64_t current, uint64_t grace, uint64_t expired, uint64_t revoked)
{
	struct writer_counters w = counted(f);

	assert_int_equal(w.keys[KEY_CURRENT], current);
	assert_int_equal(w.keys[KEY_GRACE], grace);
	assert_int_equal(w.keys[KEY_EXPIRED], expired);
	assert_int_equal(w.keys[KEY_REVOKED], revoked);
	is_true(f);
}

static void
create(const struct fixture *f, const char *account, struct harness_secrets *s)
{
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, account, s));
}

static void
roll(const struct fixture *f, const char *account, uint32_t grace_s)
{
	assert_non_null(harness_roll(f->admin, ENVIRONMENT_LIVE, account, grace_s, NULL));
}

static void
each_change(void **state)
{
	struct fixture *f = *state;

	is(f, 0, 0, 0, 0);
	create(f, "acme", NULL);
	is(f, 2, 0, 0, 0);
	roll(f, "acme", 10);
	is(f, 2, 1, 0, 0);
	roll(f, "acme", 0);
	is(f, 2, 1, 0, 1);
	assert_int_equal(harness_suspend(f->admin, ENVIRONMENT_LIVE, "acme", true), 0);
	assert_int_equal(harness_suspend(f->admin, ENVIRONMENT_LIVE, "acme", false), 0);
	is(f, 2, 1, 0, 1);
	assert_int_equal(harness_revoke(f->admin, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	is(f, 1, 1, 0, 2);
	/* Again: nothing changes. And a key in grace. */
	assert_int_equal(harness_revoke(f->admin, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	is(f, 1, 1, 0, 2);
	roll(f, "acme", 60);
	assert_int_equal(harness_revoke(f->admin, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, 3), 0);
	is(f, 1, 1, 0, 3);
	harness_advance(f->h, 10000);
	create(f, "wakes-the-sweeper", NULL);
	is(f, 3, 0, 1, 3);
	/* Refused: nothing changes. */
	assert_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", NULL));
	is(f, 3, 0, 1, 3);
}

static void
make_accounts(const struct fixture *f, int n)
{
	char account[32];

	for (int i = 0; i < n; i++) {
		snprintf(account, sizeof(account), "acct-%d", i);
		create(f, account, NULL);
	}
}

/* From here on the writer counts anew, from the beginning. ${offered}: a longer pepper, or NULL. */
static void
start_anew(struct fixture *f, struct pepper *offered)
{
	harness_call_free(f->admin);
	harness_call_free(f->verify);
	harness_close(f->h);
	harness_open(f->h);
	if (offered != NULL)
		writer_offer_pepper(live(f)->writer, offered);
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
}

/* Changes of keys in front of the walk and behind it, and of new ones, from its beginning to its end. */
static void
changes_during_the_count(void **state)
{
	struct fixture *f = *state;
	struct writer_counters w;
	char account[32];
	int n = 0;

	make_accounts(f, ACCOUNTS);
	is(f, 2 * ACCOUNTS, 0, 0, 0);
	start_anew(f, NULL);
	do {
		snprintf(account, sizeof(account), "acct-%d", n % ACCOUNTS);
		roll(f, account, n % 2 == 0 ? 0 : 3600);
		snprintf(account, sizeof(account), "more-%d", n++);
		create(f, account, NULL);
		writer_count(live(f)->writer, &w);
	} while (!w.keys_counted);
	is_true(f);
	roll(f, "more-0", 0);
	is_true(f);
}

static void
add_line(const struct fixture *f)
{
	char why[512] = "";

	if (pepper_append(f->h->paths[ENVIRONMENT_LIVE][1], why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static void
await_rotated(const struct fixture *f)
{
	while (pepper_newest(store_pepper(live(f)->store)) != 2 || pepper_has_old(store_pepper(live(f)->store)))
		nap();
}

/* A rotation, in which keys get other digests, begins with the count. Under changes, and afterwards, the count is right. */
static void
across_a_rotation(void **state)
{
	struct fixture *f = *state;

	make_accounts(f, ACCOUNTS);
	add_line(f);
	start_anew(f, NULL);
	for (int i = 0; i < 20; i++)
		roll(f, i % 2 == 0 ? "acct-1" : "acct-2", 0);
	is_true(f);
	await_rotated(f);
	is(f, 2 * ACCOUNTS, 0, 0, 20);
	roll(f, "acct-3", 3600);
	is(f, 2 * ACCOUNTS, 1, 0, 20);
}

/* A small file. */
static void
copy_file(const char *from, const char *to)
{
	char bytes[4096];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ssize_t n = read(in, bytes, sizeof(bytes));

	assert_true(n > 0 && write(out, bytes, (size_t)n) == n);
	close(in);
	close(out);
}

/* The pepper's file with one line more. The file itself stays as it is. */
static struct pepper *
longer_pepper(const struct fixture *f)
{
	char kept[700], why[512] = "";
	struct pepper *pepper;

	snprintf(kept, sizeof(kept), "%s.kept", f->h->paths[ENVIRONMENT_LIVE][1]);
	assert_int_equal(rename(f->h->paths[ENVIRONMENT_LIVE][1], kept), 0);
	copy_file(kept, f->h->paths[ENVIRONMENT_LIVE][1]);
	add_line(f);
	if (pepper_load(f->h->paths[ENVIRONMENT_LIVE][1], &pepper, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_int_equal(rename(kept, f->h->paths[ENVIRONMENT_LIVE][1]), 0);
	return pepper;
}

/* A rotation that begins when some of the keys are counted. */
static void
a_rotation_amid_the_count(void **state)
{
	struct fixture *f = *state;
	struct pepper *pepper;

	make_accounts(f, 3 * ACCOUNTS);
	pepper = longer_pepper(f);
	f->h->config.environments[ENVIRONMENT_TEST].configured = false;
	start_anew(f, pepper);
	await_rotated(f);
	is(f, 6 * ACCOUNTS, 0, 0, 0);
}

/* ---- superseded keys in use ---- */

/* Wait for a walk that has begun after this call. */
static void
await_in_use(const struct fixture *f, uint64_t keys, int64_t end_ms)
{
	struct writer_counters w;

	for (int i = 0; i < 10000; i++) {
		writer_count(live(f)->writer, &w);
		if (w.superseded_in_use == keys && w.superseded_in_use_end_ms == end_ms)
			return;
		nap();
	}
	fail_msg(
	    "%d keys in use, the soonest until %lld", (int)w.superseded_in_use, (long long)w.superseded_in_use_end_ms);
}

static void
in_use(void **state)
{
	struct fixture *f = *state;
	int64_t rolled_ms = harness_now(f->h, ENVIRONMENT_LIVE);
	struct harness_secrets a, b, c;

	create(f, "a", &a);
	create(f, "b", &b);
	create(f, "c", &c);
	assert_int_equal(harness_verdict(f->verify, a.secret), FOB__V1__VERDICT__VALID);
	roll(f, "a", 7200);
	roll(f, "b", 3600);
	roll(f, "c", 1800);
	/* In the minute of the roll it cannot be told from a use before it. */
	assert_int_equal(harness_verdict(f->verify, a.secret), FOB__V1__VERDICT__VALID);
	harness_advance(f->h, 60000);
	assert_int_equal(harness_verdict(f->verify, a.secret), FOB__V1__VERDICT__VALID);
	await_in_use(f, 1, rolled_ms + 7200 * 1000);
	assert_int_equal(harness_verdict(f->verify, b.secret), FOB__V1__VERDICT__VALID);
	await_in_use(f, 2, rolled_ms + 3600 * 1000);
	harness_advance(f->h, 3600 * 1000);
	await_in_use(f, 1, rolled_ms + 7200 * 1000);
	/* It is rolled once more: its successor is in grace itself, and not in use. */
	roll(f, "a", 7200);
	await_in_use(f, 1, rolled_ms + 7200 * 1000);
	assert_int_equal(harness_revoke(f->admin, ENVIRONMENT_LIVE, "a", FOB__V1__KEY_KIND__SECRET, 1), 0);
	await_in_use(f, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_change),
		TEST(changes_during_the_count),
		TEST(across_a_rotation),
		TEST(a_rotation_amid_the_count),
		TEST(in_use),
	};

	return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
