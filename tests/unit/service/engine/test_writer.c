/*
 * test_writer.c - writer.c: the order of the queue and its limit, many threads, and the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/engine/rig.h"

static void
in_order_of_arrival(void **state)
{
	struct harness *h = *state;
	struct job first, create, roll, revoke, roll2;

	hold_up(h, &first);
	job_init(&create, CREATES, "acme");
	job_init(&roll, ROLLS, "acme");
	roll.grace_ms = 1000;
	job_init(&revoke, REVOKES, "acme");
	job_init(&roll2, ROLLS, "acme");
	submit(h, &create, 1);
	submit(h, &roll, 1);
	submit(h, &revoke, 1);
	submit(h, &roll2, 1);
	gate_open();
	wait_for(&roll2, 1);
	assert_int_equal(create.fault | roll.fault | revoke.fault | roll2.fault, 0);
	assert_int_equal(state_of(h, "acme", 1), KEY_REVOKED);
	assert_int_equal(state_of(h, "acme", 2), KEY_REVOKED);
	assert_int_equal(state_of(h, "acme", 3), KEY_CURRENT);
}

static void
the_queue_is_bounded(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(LIMIT_QUEUE, NOTHING, "a"), first, more;

	hold_up(h, &first);
	submit(h, many, LIMIT_QUEUE);
	job_init(&more, CREATES, "more");
	assert_int_equal(writer_submit(writer_of(h), &more.m), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(counted(h).queue_depth, LIMIT_QUEUE);
	gate_open();
	wait_for(many, LIMIT_QUEUE);
	assert_int_equal(more.done, 0);
	for (int i = 0; i < LIMIT_QUEUE; i++)
		assert_int_equal(many[i].fault, 0);
	assert_int_equal(run(h, &more), 0);
	free(many);
}

static void *
stop(void *arg)
{
	struct harness *h = arg;

	writer_stop(h->service.engines[ENVIRONMENT_LIVE]->writer);
	h->service.engines[ENVIRONMENT_LIVE]->writer = NULL;
	return NULL;
}

static void
stop_finishes_what_is_queued(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(2 * LIMIT_COMMIT + 1, CREATES, "a"), first;
	struct record_account account;
	pthread_t thread;

	hold_up(h, &first);
	submit(h, many, 2 * LIMIT_COMMIT + 1);
	assert_int_equal(pthread_create(&thread, NULL, stop, h), 0);
	nap(20);
	gate_open();
	pthread_join(thread, NULL);
	for (int i = 0; i < 2 * LIMIT_COMMIT + 1; i++) {
		assert_int_equal(many[i].done, 1);
		assert_int_equal(many[i].fault, 0);
		assert_int_equal(look_account(h, many[i].account, &account), 0);
	}
	free(many);
}

/* Many threads at once: each mutation is answered once, and all of them are there. */
struct crowd {
	struct harness *h;
	struct job *jobs;
};

static void *
press(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < 200; i++)
		if (writer_submit(writer_of(c->h), &c->jobs[i].m) != 0)
			return c;
	return NULL;
}

static void
from_many_threads(void **state)
{
	enum { THREADS = 8 };
	struct harness *h = *state;
	struct crowd crowd[THREADS];
	pthread_t threads[THREADS];
	char prefix[8];
	void *wrong;

	for (int i = 0; i < THREADS; i++) {
		snprintf(prefix, sizeof(prefix), "t%d-", i);
		crowd[i] = (struct crowd){ h, jobs_new(200, CREATES, prefix) };
		assert_int_equal(pthread_create(&threads[i], NULL, press, &crowd[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
		wait_for(crowd[i].jobs, 200);
		for (int k = 0; k < 200; k++)
			assert_int_equal(crowd[i].jobs[k].fault, 0);
		free(crowd[i].jobs);
	}
	assert_int_equal(look_state(h).revision, 200 * THREADS);
	assert_int_equal(look_state(h).event_sequence, 200 * THREADS);
	assert_in_range(counted(h).commits, 1, 100 * THREADS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_order_of_arrival),
		TEST(the_queue_is_bounded),
		TEST(stop_finishes_what_is_queued),
		TEST(from_many_threads),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
