/*
 * test_sweeper.c - sweeper.c over a real store: deadlines, clocks that are set, full disks, damaged records and pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/engine/rig.h"

static void
make_grace(struct harness *h, const char *account, int64_t grace_ms)
{
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, account), 0);
	job_init(&j, ROLLS, account);
	j.grace_ms = grace_ms;
	assert_int_equal(run(h, &j), 0);
}

static void
expires_at_the_deadline(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct record_key key;

	make_grace(h, "acme", 5000);
	harness_advance(h, 4999);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_GRACE);
	assert_int_equal(counted(h).keys_expired, 0);
	harness_advance(h, 1);
	wake(h);
	assert_int_equal(look_key(h, "acme", 1, &key), 0);
	assert_int_equal(key.state, KEY_EXPIRED);
	assert_int_equal(key.ended_ms, key.expires_ms);
	assert_int_equal(key.ended_ms, HARNESS_START_MS + 5000);
	assert_int_equal(state_of(h, "acme", 2), KEY_CURRENT);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(account.n_grace, 0);
	assert_int_equal(counted(h).keys_expired, 1);
	assert_int_equal(look_state(h).event_sequence, 3);
}

static void
sweeps_without_mutations(void **state)
{
	struct harness *h = *state;

	make_grace(h, "acme", 5000);
	harness_advance(h, 5000);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, 1);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
}

/* Each generation has its own end, and the order of the ends is not that of the rolls. */
static void
each_its_own_day(void **state)
{
	static const int64_t grace_ms[] = { 8000, 2000, 6000, 4000 };
	struct harness *h = *state;
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	for (int i = 0; i < 4; i++) {
		job_init(&j, ROLLS, "acme");
		j.grace_ms = grace_ms[i];
		assert_int_equal(run(h, &j), 0);
	}
	for (int64_t at_ms = 1000; at_ms <= 9000; at_ms += 1000) {
		harness_advance(h, 1000);
		wake(h);
		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(state_of(h, "acme", i + 1), at_ms >= grace_ms[i] ? KEY_EXPIRED : KEY_GRACE);
	}
}

static void
many_at_once(void **state)
{
	enum { N = 3 * LIMIT_COMMIT };
	struct harness *h = *state;
	struct job *create = jobs_new(N, CREATES, "a"), *roll = jobs_new(N, ROLLS, "a");
	uint64_t before;

	submit(h, create, N);
	for (int i = 0; i < N; i++)
		roll[i].grace_ms = 5000;
	submit(h, roll, N);
	wait_for(create, N);
	wait_for(roll, N);
	harness_advance(h, 5000);
	before = counted(h).commits;
	wake(h);
	for (int i = 0; i < 300 && counted(h).keys_expired < N; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, N);
	assert_in_range(counted(h).commits - before, 4, 6);
	for (int i = 0; i < N; i += 97)
		assert_int_equal(state_of(h, roll[i].account, 1), KEY_EXPIRED);
	free(create);
	free(roll);
}

static void
a_clock_set_back_revives_nothing(void **state)
{
	struct harness *h = *state;
	int64_t expires_ms = HARNESS_START_MS + 5000;

	make_grace(h, "acme", 5000);
	harness_advance(h, 5000);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	assert_in_range(harness_now(h, ENVIRONMENT_LIVE), expires_ms, expires_ms + 10);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);

	/* Nor does a restart with the clock set back: time goes on from what was committed. */
	harness_close(h);
	h->clock.boot_ns = 77000000;
	harness_open(h);
	assert_true(harness_now(h, ENVIRONMENT_LIVE) >= expires_ms);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
	/* The other environment, which committed nothing, has its own time. */
	assert_int_equal(harness_now(h, ENVIRONMENT_TEST), HARNESS_START_MS - HARNESS_DAY_MS);
}

/* As wake(), and commits nothing itself. */
static void
wake_in_vain(struct harness *h)
{
	struct job j;

	assert_int_equal(run_new(h, &j, ROLLS, "nobody"), -FAULT_NOT_FOUND);
}

/* A clock that is set back over a restart then loses at most a minute of a grace, not all time since the last change. */
static void
commits_the_time_while_a_key_is_in_grace(void **state)
{
	struct harness *h = *state;
	uint64_t commits;

	make_grace(h, "acme", HARNESS_DAY_MS);
	commits = counted(h).commits;
	harness_advance(h, 59000);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, commits);
	harness_advance(h, 1000);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, commits + 1);
	assert_int_equal(look_state(h).newest_ms, HARNESS_START_MS + 60000);
	assert_int_equal(look_state(h).event_sequence, 2);
	harness_close(h);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	harness_open(h);
	assert_in_range(harness_now(h, ENVIRONMENT_LIVE), HARNESS_START_MS + 60000, HARNESS_START_MS + 60010);
	assert_int_equal(state_of(h, "acme", 1), KEY_GRACE);
}

static void
commits_no_time_without_a_grace(void **state)
{
	struct harness *h = *state;
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	harness_advance(h, HARNESS_DAY_MS / 2);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, 1);
	assert_int_equal(look_state(h).newest_ms, HARNESS_START_MS);
}

/* A key ends by comparison while the sweeper is delayed, then fobd stops: the next start sweeps first. */
static void
sweeps_at_start(void **state)
{
	struct harness *h = *state;

	make_grace(h, "acme", 5000);
	harness_close(h);
	harness_advance(h, 6000);
	harness_open(h);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
}

/* A sweep that cannot be written is tried again after a pause, not at once. */
static void
a_full_disk_does_not_make_the_sweeper_spin(void **state)
{
	struct harness *h = *state;
	unsigned writes;

	make_grace(h, "acme", 5000);
	stderr_quiet();
	fail_write = ENOSPC;
	harness_advance(h, 5000);
	writes = n_writes;
	nap(2500);
	writes = n_writes - writes;
	fail_write = 0;
	stderr_loud();
	assert_in_range(writes, 1, 20);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, 1);
}

/*
 * The wall clock was set past a deadline, and a verify says EXPIRED: the end is committed at once. Without the verify it
 * would be at the writer's next look at the clock, up to a second later.
 */
static void
a_verify_that_says_expired(void **state)
{
	struct harness *h = *state;
	struct harness_call *hc = harness_call_new(h, ROLE_ADMIN);
	struct harness_secrets s;
	int64_t asked_ms, took_ms;

	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_roll(hc, ENVIRONMENT_LIVE, "acme", 5, NULL));
	/* Until the writer waits for the deadline, which nothing tells. */
	nap(50);
	h->clock.wall_ns += INT64_C(5000000000);
	asked_ms = clock_boot_ms();
	assert_int_equal(harness_verdict(hc, s.secret), FOB__V1__VERDICT__EXPIRED);
	for (int i = 0; i < 3000 && counted(h).keys_expired == 0; i++)
		nap(1);
	took_ms = clock_boot_ms() - asked_ms;
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
	assert_in_range(took_ms, 0, 700);
	harness_call_free(hc);
}

/* With a damaged key only that key's end is not written. */
static void
a_damaged_key_holds_nobody_up(void **state)
{
	struct harness *h = *state;
	uint8_t digest[RECORD_DIGEST_LEN];
	struct store_txn *txn;
	struct record_key key;

	make_grace(h, "damaged", 5000);
	make_grace(h, "whole", 6000);
	txn = store_txn_new(store_of(h));
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_slot(txn, "damaged", KIND_SECRET, 1, digest), 0);
	store_txn_free(txn);
	assert_int_not_equal(harness_flip(h->paths[0][0], digest, 5, 0), 0);
	assert_int_equal(look_key(h, "damaged", 1, &key), -FAULT_CORRUPT);

	stderr_quiet();
	harness_advance(h, 6000);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	stderr_loud();
	assert_int_equal(state_of(h, "whole", 1), KEY_EXPIRED);
	assert_int_equal(look_key(h, "damaged", 1, &key), -FAULT_CORRUPT);
	assert_false(store_failed(store_of(h)));
}

/*
 * Does this leaf have an entry whose key is at ${at}? A page that was used anew may hold remains of an entry among its free
 * bytes, and be a page of another table by now.
 */
static bool
has_entry(const uint8_t *page, const uint8_t *at)
{
	enum { PAGE = 4096, LOWER = 12, HEADER = 16, NODE = 8 };
	uint16_t lower, offset;

	memcpy(&lower, page + LOWER, sizeof(lower));
	for (size_t i = HEADER; i + sizeof(offset) <= lower && lower <= PAGE; i += sizeof(offset)) {
		memcpy(&offset, page + i, sizeof(offset));
		if (page + offset + NODE == at)
			return true;
	}
	return false;
}

/*
 * Flip one bit in the header of each page of keys that has ${digest}, free pages included: in the offset where entries
 * begin. Reads do not use it, and writes to such a page must be refused. Returns how many pages there are.
 */
static unsigned
damage_page(const char *folder, const uint8_t digest[RECORD_DIGEST_LEN])
{
	enum { PAGE = 4096, FLAGS = 10, LEAF = 0x02, UPPER = 14 };
	char path[700];
	struct stat st;
	unsigned n = 0;
	uint8_t *map, *at, *page;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(map, MAP_FAILED);
	for (at = map; (at = memmem(at, (size_t)(map + st.st_size - at), digest, RECORD_DIGEST_LEN)) != NULL; at++) {
		page = map + (at - map) / PAGE * PAGE;
		/* The length of a key stands before it. */
		if (at[-2] == RECORD_DIGEST_LEN && at[-1] == 0 && (page[FLAGS] & LEAF) != 0 &&
		    has_entry(page, at)) {
			page[UPPER] |= 1; /* it is even */
			n++;
		}
	}
	munmap(map, (size_t)st.st_size);
	return n;
}

/*
 * Wait until each key has ended whose page can be read, and the sweeper has passed over the others. Returns how many of
 * these there are.
 */
static unsigned
await_rest(struct harness *h, const struct job *rolled, unsigned n)
{
	unsigned left = 0, in_grace = n;
	struct record_key key;
	int fault;

	for (int i = 0; i < 3000 && in_grace > 0; i++, nap(20)) {
		left = in_grace = 0;
		for (unsigned k = 0; k < n; k++) {
			if ((fault = look_key(h, rolled[k].account, 1, &key)) == 0)
				in_grace += key.state != KEY_EXPIRED;
			else
				assert_int_equal(fault, -FAULT_CORRUPT);
			left += fault != 0;
		}
	}
	assert_int_equal(in_grace, 0);
	/* Those that are left fit into one round, which may have begun already: the second one is whole. */
	wake_in_vain(h);
	wake_in_vain(h);
	return left;
}

/* Only keys on a damaged page do not get their end written. Time still goes on, so none of them is valid again. */
static void
a_damaged_page_holds_nobody_else_up(void **state)
{
	enum { N = 300 };
	struct job *create = jobs_new(N, CREATES, "a"), *roll = jobs_new(N, ROLLS, "a");
	int64_t expires_ms = HARNESS_START_MS + 5000;
	struct harness *h = *state;
	uint8_t digest[RECORD_DIGEST_LEN];
	struct store_txn *txn;
	uint64_t told, commits;
	unsigned left;

	submit(h, create, N);
	wait_for(create, N);
	for (int i = 0; i < N; i++)
		roll[i].grace_ms = 5000;
	submit(h, roll, N);
	wait_for(roll, N);
	/* The one that comes first, so that all others come behind it. */
	txn = store_txn_new(store_of(h));
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_next_expiry(txn, &(int64_t){ 0 }, digest), 0);
	store_txn_free(txn);
	assert_true(damage_page(h->paths[0][0], digest) > 0);

	stderr_quiet();
	harness_advance(h, 6000);
	left = await_rest(h, roll, N);
	assert_in_range(left, 1, N / 4);
	/* The way to the key behind the page leads over it. */
	assert_in_range(counted(h).keys_expired, N - left, N - left + 1);
	assert_true(look_state(h).newest_ms >= expires_ms);
	told = store_corrupt_records(store_of(h));
	/* What is left is not tried again at once. */
	commits = counted(h).commits;
	nap(2500);
	assert_in_range(store_corrupt_records(store_of(h)) - told, 0, left);
	assert_int_equal(counted(h).commits, commits);
	assert_false(store_failed(store_of(h)));

	harness_close(h);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	harness_open(h);
	assert_true(harness_now(h, ENVIRONMENT_LIVE) >= expires_ms);
	stderr_loud();
	free(create);
	free(roll);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(expires_at_the_deadline),
		TEST(sweeps_without_mutations),
		TEST(each_its_own_day),
		TEST(many_at_once),
		TEST(a_clock_set_back_revives_nothing),
		TEST(commits_the_time_while_a_key_is_in_grace),
		TEST(commits_no_time_without_a_grace),
		TEST(sweeps_at_start),
		TEST(a_full_disk_does_not_make_the_sweeper_spin),
		TEST(a_verify_that_says_expired),
		TEST(a_damaged_key_holds_nobody_up),
		TEST(a_damaged_page_holds_nobody_else_up),
	};

	return cmocka_run_group_tests_name("sweeper", tests, NULL, NULL);
}
