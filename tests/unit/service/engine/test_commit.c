/*
 * test_commit.c - commit.c over a real store: group commit, request tokens, limits, full disks and disks that fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/engine/rig.h"

/* ---- group commit ---- */

static void
many_share_a_commit(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(256, CREATES, "a"), first;
	struct writer_counters before, after;
	struct record_account account;
	unsigned syncs;

	hold_up(h, &first);
	before = counted(h);
	syncs = n_syncs;
	submit(h, many, 256);
	assert_int_equal(counted(h).queue_depth, 256);
	for (int i = 0; i < 256; i++)
		assert_int_equal(many[i].done, 0);
	gate_open();
	wait_for(&first, 1);
	wait_for(many, 256);
	after = counted(h);
	/* The one that was held up, and one for all the others. */
	assert_int_equal(after.commits, before.commits + 2);
	assert_int_equal(n_syncs, syncs + 1);
	assert_int_equal(after.mutations, before.mutations + 257);
	assert_int_equal(after.groups[0], before.groups[0] + 1);
	assert_int_equal(after.groups[8], before.groups[8] + 1);
	assert_int_equal(after.queue_depth, 0);
	for (int i = 0; i < 256; i++) {
		assert_int_equal(many[i].fault, 0);
		assert_int_equal(look_account(h, many[i].account, &account), 0);
	}
	free(many);
}

static void
a_commit_is_bounded(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(LIMIT_COMMIT + 88, NOTHING, "a"), first;
	uint64_t before;

	hold_up(h, &first);
	before = counted(h).commits;
	submit(h, many, LIMIT_COMMIT + 88);
	gate_open();
	wait_for(many, LIMIT_COMMIT + 88);
	assert_int_equal(counted(h).commits, before + 3);
	free(many);
}

/* Not before the sync has returned. */
static void
nothing_is_told_before_it_is_durable(void **state)
{
	struct harness *h = *state;
	struct job first;

	hold_up(h, &first);
	nap(50);
	assert_int_equal(first.done, 0);
	assert_int_equal(look_state(h).revision, 0);
	gate_open();
	wait_for(&first, 1);
	assert_int_equal(first.fault, 0);
	assert_int_equal(look_state(h).revision, 1);
}

/* ---- request tokens ---- */

static void
a_token_replays(void **state)
{
	struct harness *h = *state;
	struct writer_counters before;
	struct job a, b, other;
	uint64_t revision;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	assert_false(a.replayed);
	before = counted(h);
	revision = look_state(h).revision;

	again(&b, &a);
	assert_int_equal(run(h, &b), 0);
	assert_true(b.replayed);
	assert_int_equal(b.decided, 0);
	assert_int_equal(b.reply_len, a.reply_len);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));
	assert_int_equal(counted(h).replays, before.replays + 1);
	assert_int_equal(counted(h).commits, before.commits);

	again(&other, &a);
	other.m.request[0] ^= 1;
	assert_int_equal(run(h, &other), -FAULT_ALREADY_EXISTS);
	assert_non_null(strstr(other.why, "request_token"));
	assert_int_equal(other.decided, 0);
	assert_int_equal(counted(h).refused, before.refused + 1);
	assert_int_equal(look_state(h).revision, revision);
}

/* A refused mutation does not use up its token: the caller may correct the request and use it again. */
static void
a_refusal_keeps_no_token(void **state)
{
	struct harness *h = *state;
	struct job a, b;

	assert_int_equal(run_new(h, &a, REVOKES, "nobody"), -FAULT_NOT_FOUND);
	again(&b, &a);
	b.wish = CREATES;
	b.m.request[0] ^= 1;
	assert_int_equal(run(h, &b), 0);
	assert_false(b.replayed);
}

static void
one_token_twice_in_one_commit(void **state)
{
	struct harness *h = *state;
	struct writer_counters before, after;
	struct job first, a, b, c;

	job_init(&a, CREATES, "acme");
	again(&b, &a);
	again(&c, &a);
	c.m.request[5] ^= 1;
	hold_up(h, &first);
	before = counted(h);
	submit(h, &a, 1);
	submit(h, &b, 1);
	submit(h, &c, 1);
	gate_open();
	wait_for(&c, 1);
	after = counted(h);
	assert_int_equal(a.fault, 0);
	assert_int_equal(b.fault, 0);
	assert_int_equal(c.fault, -FAULT_ALREADY_EXISTS);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));
	assert_int_equal(a.decided, 1);
	assert_int_equal(b.decided, 0);
	assert_int_equal(after.mutations, before.mutations + 2);
	assert_int_equal(after.replays, before.replays + 1);
	assert_int_equal(after.refused, before.refused + 1);
}

static void
a_token_outlives_a_restart_and_ends_after_a_day(void **state)
{
	struct harness *h = *state;
	struct job a, b, c, d;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	harness_close(h);
	harness_advance(h, HARNESS_DAY_MS);
	harness_open(h);
	/* Old tokens are looked for at start; at 24 hours exactly it is still there. */
	wake(h);
	again(&b, &a);
	assert_int_equal(run(h, &b), 0);
	assert_true(b.replayed);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));

	harness_close(h);
	harness_advance(h, 1);
	harness_open(h);
	wake(h);
	again(&c, &a);
	assert_int_equal(run(h, &c), -FAULT_ALREADY_EXISTS);
	assert_non_null(strstr(c.why, "acme exists already"));
	again(&d, &a);
	d.wish = ROLLS;
	assert_int_equal(run(h, &d), 0);
	assert_false(d.replayed);
}

/* More than fit into a few commits: all the same, none is kept for long. */
static void
all_old_tokens_are_forgotten(void **state)
{
	enum { N = 3000 };
	struct harness *h = *state;
	struct job *many = jobs_new(N, NOTHING, "a");
	struct store_options options;
	struct store_txn *txn;
	struct store *store;
	int64_t oldest_ms;
	char why[256];

	submit(h, many, N);
	wait_for(many, N);
	harness_close(h);
	harness_advance(h, HARNESS_DAY_MS + 1);
	harness_open(h);
	/* Ten looks are far more than are needed. */
	for (int i = 0; i < 10; i++)
		wake(h);
	harness_close(h);

	options = (struct store_options){ .environment = ENVIRONMENT_LIVE,
		.path = h->paths[0][0],
		.pepper = h->paths[0][1],
		.ceiling_bytes = 256U << 20,
		.events_kept = 1000000,
		.readers = 16 };
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), 0);
	txn = store_txn_new(store);
	assert_int_equal(store_write(txn), 0);
	assert_int_equal(store_forget_tokens(txn, HARNESS_START_MS + 1, 2 * N, &oldest_ms), 0);
	store_abort(txn);
	store_txn_free(txn);
	store_close(store);
	free(many);
}

/* ---- limits ---- */

static void
a_deadline_that_has_passed(void **state)
{
	struct harness *h = *state;
	struct job late, waits, first;
	struct record_account account;

	job_init(&late, CREATES, "late");
	late.m.deadline_ms = clock_boot_ms();
	assert_int_equal(run(h, &late), -FAULT_DEADLINE_EXCEEDED);
	assert_int_equal(late.decided, 0);
	assert_int_equal(look_account(h, "late", &account), -FAULT_NOT_FOUND);

	/* It passes while the mutation waits its turn. */
	hold_up(h, &first);
	job_init(&waits, CREATES, "waits");
	waits.m.deadline_ms = clock_boot_ms() + 10;
	submit(h, &waits, 1);
	while (clock_boot_ms() < waits.m.deadline_ms)
		nap(1);
	gate_open();
	wait_for(&waits, 1);
	assert_int_equal(waits.fault, -FAULT_DEADLINE_EXCEEDED);
	assert_int_equal(waits.decided, 0);
	assert_int_equal(look_account(h, "waits", &account), -FAULT_NOT_FOUND);
}

static void
a_refused_change_leaves_nothing(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct record_state before;
	struct job first, refused, fine;

	before = look_state(h);
	assert_int_equal(run_new(h, &refused, FAILS, "ghost"), -FAULT_ABORTED);
	assert_string_equal(refused.why, "changed my mind");
	assert_int_equal(look_state(h).revision, before.revision);
	assert_int_equal(counted(h).commits, 0);

	/* Nor in the commit of others. */
	hold_up(h, &first);
	job_init(&refused, FAILS, "ghost");
	job_init(&fine, CREATES, "acme");
	submit(h, &refused, 1);
	submit(h, &fine, 1);
	gate_open();
	wait_for(&fine, 1);
	assert_int_equal(fine.fault, 0);
	assert_int_equal(refused.fault, -FAULT_ABORTED);
	assert_int_equal(look_account(h, "ghost", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_state(h).next_serial, 2);
	assert_int_equal(look_state(h).event_sequence, 1);
}

/* ---- no room ---- */

/* Many mutations that do not fit share a commit with one that does: each has its own outcome. */
static void
what_fits_is_done(void **state)
{
	struct harness *h = *state;
	struct job *big = jobs_new(40, GROWS, "big"), first, acme, revoke, again_acme;
	struct record_account account;

	assert_int_equal(run_new(h, &acme, CREATES, "acme"), 0);
	hold_up(h, &first);
	fail_allocate = ENOSPC;
	submit(h, big, 20);
	job_init(&revoke, REVOKES, "acme");
	submit(h, &revoke, 1);
	again(&again_acme, &acme);
	submit(h, &again_acme, 1);
	submit(h, big + 20, 20);
	gate_open();
	wait_for(big, 40);
	assert_int_equal(revoke.fault, 0);
	assert_int_equal(again_acme.fault, 0);
	assert_true(again_acme.replayed);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(big[i].fault, -FAULT_FULL);
		assert_non_null(strstr(big[i].why, "is full"));
		assert_int_equal(look_account(h, big[i].account, &account), -FAULT_NOT_FOUND);
	}
	assert_false(store_failed(store_of(h)));
	fail_allocate = 0;

	/* What was acknowledged is still there after a restart, and there is room again. */
	harness_close(h);
	harness_open(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_REVOKED);
	assert_int_equal(run_new(h, &big[0], GROWS, "big0"), 0);
	free(big);
}

static void
a_full_disk(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(30, CREATES, "a"), first, acme, wants;
	struct record_account account;

	assert_int_equal(run_new(h, &acme, CREATES, "acme"), 0);
	stderr_quiet();
	fail_write = ENOSPC;
	assert_int_equal(run_new(h, &first, CREATES, "first"), -FAULT_FULL);
	submit(h, many, 30);
	wait_for(many, 30);
	stderr_loud();
	for (int i = 0; i < 30; i++) {
		assert_int_equal(many[i].fault, -FAULT_FULL);
		assert_int_equal(look_account(h, many[i].account, &account), -FAULT_NOT_FOUND);
	}
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_false(store_failed(store_of(h)));

	fail_write = 0;
	assert_int_equal(run_new(h, &wants, CREATES, "first"), 0);
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_account(h, "first", &account), 0);
	assert_int_equal(look_account(h, "a0", &account), -FAULT_NOT_FOUND);
	free(many);
}

/* New keys are refused at 90 % of the ceiling; keys can be ended beyond it. */
static void
the_ceiling(void **state)
{
	struct harness *h = *state;
	struct job *j = jobs_new(4000, CREATES, "a"), revoke;
	size_t n = 0, refused = 0, last = 0;

	harness_close(h);
	h->config.environments[ENVIRONMENT_LIVE].ceiling_bytes = 1U << 20;
	harness_open(h);
	submit(h, j, 4000);
	wait_for(j, 4000);
	for (size_t i = 0; i < 4000; i++) {
		if (j[i].fault == 0) {
			n++;
			last = i;
		} else {
			assert_int_equal(j[i].fault, -FAULT_RESOURCE_EXHAUSTED);
			refused++;
		}
	}
	assert_in_range(n, 100, 3900);
	assert_int_equal(n + refused, 4000);
	job_init(&revoke, REVOKES, j[last].account);
	assert_int_equal(run(h, &revoke), 0);
	for (size_t i = 0; i < 50; i++) {
		job_init(&revoke, REVOKES, j[i].account);
		assert_int_equal(run(h, &revoke), 0);
	}
	free(j);
}

/* A reader that keeps its snapshot lets the file grow until the map is full. Then, too, each has its own outcome. */
static void
the_end_of_the_map(void **state)
{
	struct harness *h = *state;
	struct store_txn *pin;
	struct job j;
	int fault = 0, n;

	harness_close(h);
	h->config.environments[ENVIRONMENT_LIVE].ceiling_bytes = 1U << 20;
	harness_open(h);
	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	pin = store_txn_new(store_of(h));
	assert_int_equal(store_read(pin), 0);
	for (n = 0; n < 5000 && fault == 0; n++)
		fault = run_new(h, &j, NOTHING, "x");
	assert_int_equal(fault, -FAULT_FULL);
	assert_false(store_failed(store_of(h)));
	assert_int_equal(look_state(h).revision, (uint64_t)n);
	store_txn_free(pin);
	assert_int_equal(run_new(h, &j, REVOKES, "acme"), 0);
}

/* ---- a disk that fails ---- */

static void
a_failed_sync_ends_it(void **state)
{
	struct harness *h = *state;
	struct job first, a, twice, other_request, later;
	struct record_account account;

	hold_up(h, &first);
	job_init(&a, CREATES, "acme");
	job_init(&twice, CREATES, "acme");
	again(&other_request, &a);
	other_request.m.request[0] ^= 1;
	submit(h, &a, 1);
	submit(h, &twice, 1);
	submit(h, &other_request, 1);
	fail_sync = EIO;
	gate_open();
	wait_for(&other_request, 1);
	/* Whether the failed commit is on the disk is not known. The mutations after it are certainly not. */
	assert_int_equal(first.fault, -FAULT_INTERNAL);
	assert_int_equal(a.fault, -FAULT_IO);
	assert_true(store_failed(store_of(h)));
	assert_int_equal(twice.fault, -FAULT_IO);
	assert_int_equal(other_request.fault, -FAULT_IO);

	/* Later commits would succeed, on pages that the disk never got. */
	fail_sync = 0;
	assert_int_equal(run_new(h, &later, CREATES, "later"), -FAULT_IO);
	assert_non_null(strstr(later.why, "opens it anew"));
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "later", &account), -FAULT_NOT_FOUND);
	assert_int_equal(run_new(h, &later, CREATES, "later"), 0);
}

/* A page cannot be written, for another reason than space: the environment stops. */
static void
a_failed_write_ends_it(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct job a, b;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	fail_write = EIO;
	assert_int_equal(run_new(h, &b, CREATES, "beta"), -FAULT_INTERNAL);
	fail_write = 0;
	assert_true(store_failed(store_of(h)));
	assert_int_equal(run_new(h, &b, CREATES, "beta"), -FAULT_IO);
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_account(h, "beta", &account), -FAULT_NOT_FOUND);
}

/* The commit before went well; this one fails, and takes with it what was decided on top of it. */
static void
refusals_of_a_lost_commit(void **state)
{
	struct harness *h = *state;
	struct job first, acme, twice, beta, nobody;

	hold_up(h, &first);
	job_init(&acme, CREATES, "acme");
	job_init(&twice, CREATES, "acme");
	submit(h, &acme, 1);
	submit(h, &twice, 1);
	gate_open();
	wait_for(&twice, 1);
	assert_int_equal(first.fault | acme.fault, 0);
	assert_int_equal(twice.fault, -FAULT_ALREADY_EXISTS);

	fail_sync_after = 1;
	hold_up(h, &first);
	job_init(&beta, CREATES, "beta");
	job_init(&twice, CREATES, "beta");
	job_init(&nobody, ROLLS, "nobody");
	submit(h, &beta, 1);
	submit(h, &twice, 1);
	submit(h, &nobody, 1);
	gate_open();
	wait_for(&nobody, 1);
	assert_int_equal(first.fault, 0);
	assert_int_equal(beta.fault, -FAULT_INTERNAL);
	/* The reply must not be "beta exists already", as that is not known. */
	assert_int_equal(twice.fault, -FAULT_INTERNAL);
	assert_int_equal(nobody.fault, -FAULT_INTERNAL);
}

/* ---- several changes under one token ---- */

static void
several_changes_are_one_mutation(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct writer_counters before, after;
	struct record_state was = look_state(h);
	struct job j, resent;

	before = counted(h);
	assert_int_equal(run_new(h, &j, SEVERAL, "s"), 0);
	assert_int_equal(j.decided, 3);
	assert_int_equal(look_account(h, "s-0", &account), 0);
	assert_int_equal(look_account(h, "s-1", &account), 0);
	assert_int_equal(look_account(h, "s-2", &account), 0);
	assert_int_equal(look_state(h).revision, was.revision + 3);
	assert_int_equal(look_state(h).next_serial, was.next_serial + 6);
	after = counted(h);
	assert_int_equal(after.mutations, before.mutations + 1);
	assert_int_equal(after.commits, before.commits + 1);

	again(&resent, &j);
	assert_int_equal(run(h, &resent), 0);
	assert_true(resent.replayed);
	assert_int_equal(resent.decided, 0);
	assert_memory_equal(resent.reply, j.reply, sizeof(j.reply));
	/* Refused at its first step, it is as any other: its neighbours are not undone. */
	assert_int_equal(run_new(h, &j, SEVERAL, "s"), -FAULT_ALREADY_EXISTS);
	assert_int_equal(j.decided, 1);
}

/* Damage after two of three changes: none is left, and what shared the commit is there. */
static void
several_changes_are_all_or_none(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct job first, js[3];

	hold_up(h, &first);
	job_init(&js[0], CREATES, "before");
	job_init(&js[1], BREAKS, "b");
	job_init(&js[2], SEVERAL, "after");
	submit(h, js, 3);
	gate_open();
	wait_for(&first, 1);
	wait_for(js, 3);
	assert_int_equal(js[0].fault, 0);
	assert_int_equal(js[1].fault, -FAULT_CORRUPT);
	assert_non_null(strstr(js[1].why, "nothing was changed"));
	assert_int_equal(js[2].fault, 0);
	assert_int_equal(look_account(h, "before", &account), 0);
	assert_int_equal(look_account(h, "b-0", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "b-1", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "after-2", &account), 0);
	/* Its token was not kept either. */
	again(&js[0], &js[1]);
	assert_int_equal(run(h, &js[0]), -FAULT_CORRUPT);
	assert_false(js[0].replayed);
}

/* A heavy mutation counts as several towards a commit's limit, but a commit always takes at least one. */
static void
a_commit_is_bounded_by_weight(void **state)
{
	struct harness *h = *state;
	struct writer_counters before;
	struct job *many = jobs_new(4, NOTHING, "a"), first;

	hold_up(h, &first);
	before = counted(h);
	many[0].m.weight = LIMIT_COMMIT * 2;
	many[1].m.weight = LIMIT_COMMIT - 1;
	submit(h, many, 4);
	gate_open();
	wait_for(&first, 1);
	wait_for(many, 4);
	assert_int_equal(counted(h).commits - before.commits, 1 + 3);
	free(many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_share_a_commit),
		TEST(a_commit_is_bounded),
		TEST(nothing_is_told_before_it_is_durable),
		TEST(a_token_replays),
		TEST(a_refusal_keeps_no_token),
		TEST(one_token_twice_in_one_commit),
		TEST(a_token_outlives_a_restart_and_ends_after_a_day),
		TEST(all_old_tokens_are_forgotten),
		TEST(a_deadline_that_has_passed),
		TEST(a_refused_change_leaves_nothing),
		TEST(what_fits_is_done),
		TEST(a_full_disk),
		TEST(the_ceiling),
		TEST(the_end_of_the_map),
		TEST(a_failed_sync_ends_it),
		TEST(a_failed_write_ends_it),
		TEST(refusals_of_a_lost_commit),
		TEST(several_changes_are_one_mutation),
		TEST(several_changes_are_all_or_none),
		TEST(a_commit_is_bounded_by_weight),
	};

	return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
