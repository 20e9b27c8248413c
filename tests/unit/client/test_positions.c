/*
 * test_positions.c - of what replies tell the newest is kept, for each environment; and threads do not mix the numbers of two
 * clusters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/positions.h"

#define ROUNDS 20000

static void
expect(struct positions *ps, uint64_t cluster_live, uint64_t live, uint64_t cluster_test, uint64_t test)
{
	struct position is[POSITIONS];

	positions_get(ps, is);
	assert_int_equal(is[0].entry, live);
	assert_int_equal(is[1].entry, test);
	if (live != 0)
		assert_int_equal(is[0].cluster, cluster_live);
	if (test != 0)
		assert_int_equal(is[1].cluster, cluster_test);
}

static void
note(struct positions *ps, struct position live, struct position test)
{
	const struct position told[POSITIONS] = { live, test };

	positions_note(ps, told);
}

static void
newest(void **state)
{
	const struct position none = { 0, 0 };
	struct positions ps;

	(void)state;
	positions_init(&ps);
	expect(&ps, 0, 0, 0, 0);
	note(&ps, none, none);
	expect(&ps, 0, 0, 0, 0);
	note(&ps, (struct position){ 7, 20 }, none);
	expect(&ps, 7, 20, 0, 0);
	note(&ps, (struct position){ 7, 19 }, (struct position){ 8, 3 });
	expect(&ps, 7, 20, 8, 3);
	note(&ps, (struct position){ 7, 21 }, none);
	expect(&ps, 7, 21, 8, 3);
	/* A cluster that was made anew counts from the beginning. */
	note(&ps, (struct position){ 9, 1 }, (struct position){ 8, 4 });
	expect(&ps, 9, 1, 8, 4);
	/* A cluster without an entry tells nothing. */
	note(&ps, (struct position){ 7, 0 }, (struct position){ 9, 0 });
	expect(&ps, 9, 1, 8, 4);
	positions_fini(&ps);
}

/* The entries of a cluster are its multiples, so that a mixture is seen. */
static void *
noting(void *arg)
{
	struct positions *ps = arg;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		uint64_t cluster = 1000003 + (i / 100) % 2;
		const struct position told[POSITIONS] = { { cluster, cluster * i }, { 5, i } };
		struct position is[POSITIONS];

		positions_note(ps, told);
		positions_get(ps, is);
		if (is[0].entry % is[0].cluster != 0 || is[1].entry < i)
			return ps;
	}
	return NULL;
}

static void
threads(void **state)
{
	struct positions ps;
	pthread_t ids[4];
	void *wrong;

	(void)state;
	positions_init(&ps);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, noting, &ps), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(ids[i], &wrong), 0);
		assert_null(wrong);
	}
	positions_fini(&ps);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(newest), cmocka_unit_test(threads) };

	return cmocka_run_group_tests_name("client/positions", tests, NULL, NULL);
}
