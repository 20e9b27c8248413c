/*
 * test_pipes.c - pipes.c: who is connected and what each has under way, also while connections come and go under the
 * requests of many threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "tests/unit/service/fixture.h"

#include "service/net/pipes.h"

/* A request's last two steps. */
static void
done(struct pipes *p, struct pipe *pipe)
{
	pipes_replied(pipe);
	pipes_leave(p, pipe);
}

/* What the peer knows to be answered no longer counts against it, though the transport still has the reply. */
static void
a_reply_that_is_on_its_way_is_not_work(void **state)
{
	struct pipes *p = pipes_new(4);
	struct pipe *a;
	struct pipe_load n;

	(void)state;
	assert_true(pipes_add(p, 1, NULL));
	assert_non_null(a = pipes_enter(p, 1, &n));
	pipes_replied(a);
	assert_ptr_equal(pipes_enter(p, 1, &n), a);
	assert_int_equal(n.working, 1);
	assert_int_equal(n.in_flight, 2);
	pipes_leave(p, a);
	done(p, a);
	pipes_replied(NULL);
	pipes_free(p);
}

static void
come_and_go(void **state)
{
	struct pipes *p = pipes_new(4);
	struct pipe_load n;

	(void)state;
	assert_non_null(p);
	assert_int_equal(pipes_count(p), 0);
	assert_true(pipes_add(p, 7, NULL));
	assert_true(pipes_add(p, 8, NULL));
	assert_int_equal(pipes_count(p), 2);
	pipes_remove(p, 7);
	assert_int_equal(pipes_count(p), 1);
	/* One that was refused, or is gone, is no news. */
	pipes_remove(p, 7);
	pipes_remove(p, 99);
	assert_int_equal(pipes_count(p), 1);
	assert_null(pipes_enter(p, 7, &n));
	assert_int_equal(n.in_flight, 1);
	pipes_leave(p, NULL);
	pipes_free(p);
	pipes_free(NULL);
}

static void
has_a_limit(void **state)
{
	struct pipes *p = pipes_new(3);

	(void)state;
	assert_non_null(p);
	for (uint32_t id = 1; id <= 3; id++)
		assert_true(pipes_add(p, id, NULL));
	assert_false(pipes_add(p, 4, NULL));
	assert_int_equal(pipes_count(p), 3);
	pipes_remove(p, 4);
	assert_int_equal(pipes_count(p), 3);
	pipes_remove(p, 2);
	assert_true(pipes_add(p, 4, NULL));
	assert_false(pipes_add(p, 5, NULL));
	pipes_free(p);
}

static void
counts_what_is_under_way(void **state)
{
	struct pipes *p = pipes_new(4);
	struct pipe *a, *b;
	struct pipe_load n;

	(void)state;
	assert_non_null(p);
	assert_true(pipes_add(p, 1, NULL));
	assert_true(pipes_add(p, 2, NULL));
	assert_non_null(a = pipes_enter(p, 1, &n));
	assert_int_equal(n.in_flight, 1);
	assert_ptr_equal(pipes_enter(p, 1, &n), a);
	assert_int_equal(n.in_flight, 2);
	assert_non_null(b = pipes_enter(p, 2, &n));
	assert_int_equal(n.in_flight, 1);
	assert_ptr_not_equal(a, b);
	done(p, a);
	assert_ptr_equal(pipes_enter(p, 1, &n), a);
	assert_int_equal(n.in_flight, 2);
	done(p, a);
	done(p, a);
	done(p, b);
	assert_ptr_equal(pipes_enter(p, 1, &n), a);
	assert_int_equal(n.in_flight, 1);
	done(p, a);
	pipes_free(p);
}

/* A connection that closes under its requests: its place is kept until the last of them has left. */
static void
leave_after_gone(void **state)
{
	struct pipes *p = pipes_new(1);
	struct pipe *pipe;
	struct pipe_load n;

	(void)state;
	assert_non_null(p);
	assert_true(pipes_add(p, 5, NULL));
	assert_non_null(pipe = pipes_enter(p, 5, &n));
	assert_ptr_equal(pipes_enter(p, 5, &n), pipe);
	pipes_remove(p, 5);
	/* It no longer counts as a connection, and takes no more requests. */
	assert_int_equal(pipes_count(p), 0);
	assert_null(pipes_enter(p, 5, &n));
	assert_int_equal(n.in_flight, 1);
	assert_int_equal(atomic_load(&pipe->id), 5);
	/* The next one has a place of its own meanwhile. */
	assert_true(pipes_add(p, 6, NULL));
	assert_ptr_not_equal(pipes_enter(p, 6, &n), pipe);
	assert_int_equal(n.in_flight, 1);
	done(p, pipe);
	assert_int_equal(atomic_load(&pipe->id), 5);
	done(p, pipe);
	assert_int_equal(atomic_load(&pipe->id), 0);
	pipes_free(p);
}

static void
places_are_used_again(void **state)
{
	struct pipes *p = pipes_new(8);
	struct pipe_load n;

	(void)state;
	assert_non_null(p);
	for (uint32_t id = 1; id <= 100000; id++) {
		struct pipe *pipe;

		assert_true(pipes_add(p, id, NULL));
		assert_non_null(pipe = pipes_enter(p, id, &n));
		assert_int_equal(n.in_flight, 1);
		if (id % 2 == 0)
			pipes_remove(p, id);
		done(p, pipe);
		if (id % 2 != 0)
			pipes_remove(p, id);
		assert_int_equal(pipes_count(p), 0);
	}
	pipes_free(p);
}

/*
 * A fleet that connected at one go, and stays, has numbers in sequence. Short-lived connections count on until they
 * come round to where the fleet is: they must find places there too, up to the limit.
 */
static void
a_fleet_that_stays_keeps_nobody_out(void **state)
{
	enum { MOST = 1024, FLEET = 512 };
	struct pipes *p = pipes_new(MOST);
	unsigned refused = 0;
	struct pipe_load n;

	(void)state;
	assert_non_null(p);
	for (uint32_t id = 1; id <= FLEET; id++)
		assert_true(pipes_add(p, id, NULL));
	for (uint32_t id = FLEET + 1; id < 40000; id++) {
		if (!pipes_add(p, id, NULL))
			refused++;
		pipes_remove(p, id);
	}
	assert_int_equal(refused, 0);
	for (uint32_t id = 1; id <= FLEET; id++) {
		struct pipe *pipe = pipes_enter(p, id, &n);

		assert_non_null(pipe);
		assert_int_equal(n.in_flight, 1);
		done(p, pipe);
	}
	pipes_free(p);
}

/* Numbers at any distance: the limit is reached, and exactly the limit. */
static void
any_step_fills_it(void **state)
{
	static const uint32_t steps[] = { 1, 2, 3, 4, 64, 1000, 4096, 65536, 1U << 20, 0x10001, 2654435769U };

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		enum { MOST = 1024 };
		struct pipes *p = pipes_new(MOST);
		uint32_t id = 12345;

		assert_non_null(p);
		for (int k = 0; k < MOST; k++, id += steps[i])
			assert_true(pipes_add(p, id, NULL));
		assert_false(pipes_add(p, id, NULL));
		assert_int_equal(pipes_count(p), MOST);
		id = 12345;
		for (int k = 0; k < MOST; k++, id += steps[i])
			pipes_remove(p, id);
		assert_int_equal(pipes_count(p), 0);
		pipes_free(p);
	}
}

/* ---- threads ---- */

#define MOST 16
#define WORKERS 3
#define ROUNDS 20000

struct race {
	struct pipes *pipes;
	_Atomic uint32_t newest; /* ids up to here may be there */
	_Atomic bool over;
	_Atomic unsigned wrong;
};

/* Connections come, stay for a while, and go; never more than half of what is allowed, so none may be refused. */
static void *
connect_and_close(void *arg)
{
	struct race *race = arg;

	for (uint32_t id = 1; id <= ROUNDS; id++) {
		if (!pipes_add(race->pipes, id, NULL))
			atomic_fetch_add(&race->wrong, 1);
		atomic_store(&race->newest, id);
		if (id > MOST / 2)
			pipes_remove(race->pipes, id - MOST / 2);
	}
	for (uint32_t id = ROUNDS - MOST / 2 + 1; id <= ROUNDS; id++)
		pipes_remove(race->pipes, id);
	atomic_store(&race->over, true);
	return NULL;
}

/* Requests of connections that are there, that have just gone, and that are about to go. */
static void *
request(void *arg)
{
	struct race *race = arg;
	struct pipe_load n;
	uint32_t round = 0;

	while (!atomic_load(&race->over)) {
		uint32_t back = round++ % (MOST + 2), newest = atomic_load(&race->newest);
		struct pipe *first, *second;

		if (newest <= back)
			continue;
		first = pipes_enter(race->pipes, newest - back, &n);
		/* An entered place belongs to its connection until it is left, even if that has closed. */
		if (first != NULL && atomic_load(&first->id) != newest - back)
			atomic_fetch_add(&race->wrong, 1);
		second = pipes_enter(race->pipes, newest - back, &n);
		if (second != NULL && (first == NULL || second != first))
			atomic_fetch_add(&race->wrong, first != NULL);
		if (n.in_flight < 1 || n.in_flight > 4 * WORKERS || n.working < 1 || n.working > 4 * WORKERS)
			atomic_fetch_add(&race->wrong, 1);
		done(race->pipes, second);
		done(race->pipes, first);
	}
	return NULL;
}

static void
threads(void **state)
{
	struct race race = { .wrong = 0 };
	pthread_t connector, workers[WORKERS];
	struct pipe_load n;

	(void)state;
	assert_non_null(race.pipes = pipes_new(MOST));
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&workers[i], NULL, request, &race), 0);
	assert_int_equal(pthread_create(&connector, NULL, connect_and_close, &race), 0);
	pthread_join(connector, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);

	assert_int_equal(atomic_load(&race.wrong), 0);
	assert_int_equal(pipes_count(race.pipes), 0);
	/* No place was lost, and none kept a count: all can be had again, each from zero. */
	for (int round = 0; round < 64; round++) {
		for (uint32_t i = 0; i < MOST; i++) {
			uint32_t id = ROUNDS + 1 + (uint32_t)round * MOST + i;
			struct pipe *pipe;

			assert_true(pipes_add(race.pipes, id, NULL));
			assert_non_null(pipe = pipes_enter(race.pipes, id, &n));
			assert_int_equal(n.in_flight, 1);
			done(race.pipes, pipe);
		}
		assert_int_equal(pipes_count(race.pipes), MOST);
		for (uint32_t i = 0; i < MOST; i++)
			pipes_remove(race.pipes, ROUNDS + 1 + (uint32_t)round * MOST + i);
	}
	assert_int_equal(pipes_count(race.pipes), 0);
	pipes_free(race.pipes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(come_and_go),
		cmocka_unit_test(has_a_limit),
		cmocka_unit_test(counts_what_is_under_way),
		cmocka_unit_test(a_reply_that_is_on_its_way_is_not_work),
		cmocka_unit_test(leave_after_gone),
		cmocka_unit_test(places_are_used_again),
		cmocka_unit_test(a_fleet_that_stays_keeps_nobody_out),
		cmocka_unit_test(any_step_fills_it),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests_name("pipes", tests, fixture_begin, NULL);
}
