/*
 * test_orphans.c - orphans.c over real sockets: who is counted, that it is the same socket for which looks are counted,
 * and that a descriptor which has become another socket begins anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "service/net/descriptors.h"
#include "service/net/orphans.h"

enum { MANY = 300 };

/* A connected socket; *${peer} its other end. */
static int
connected(int *peer)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*peer = pair[1];
	return pair[0];
}

static int
left(void)
{
	int peer, fd = connected(&peer);

	close(peer);
	return fd;
}

static void
look(struct orphans *o)
{
	unsigned open;

	orphans_look(o, &open);
	assert_int_equal(open, descriptors_count());
}

static void
who_is_counted(void **state)
{
	struct orphans o = { 0 };
	int peer, there = connected(&peer), gone = left(), ends[2];

	(void)state;
	/* What is no socket has no peer. */
	assert_int_equal(pipe(ends), 0);
	close(ends[1]);
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 1);
	/* A peer that says no more has left, too, whatever it said before. */
	assert_int_equal(send(peer, "x", 1, 0), 1);
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 1);
	shutdown(peer, SHUT_WR);
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 2);
	assert_int_equal(orphans_since(&o, 3), 1);
	close(gone);
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 1);
	close(ends[0]);
	close(there);
	close(peer);
	orphans_fini(&o);
	assert_int_equal(orphans_since(&o, 1), 0);
}

static void
looks_are_of_one_socket(void **state)
{
	struct orphans o = { 0 };
	int fds[MANY], again[MANY];

	(void)state;
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 0);
	for (int i = 0; i < MANY; i++)
		fds[i] = left();
	for (unsigned n = 1; n <= 4; n++) {
		look(&o);
		assert_int_equal(orphans_since(&o, n), MANY);
		assert_int_equal(orphans_since(&o, n + 1), 0);
	}
	/* Others under the same descriptors, and a third that stays. */
	for (int i = 0; i < MANY; i++)
		if (i % 3 != 0)
			close(fds[i]);
	for (int i = 0; i < MANY; i++) {
		again[i] = i % 3 != 0 ? left() : -1;
		assert_true(again[i] <= fds[MANY - 1]);
	}
	look(&o);
	assert_int_equal(orphans_since(&o, 1), MANY);
	assert_int_equal(orphans_since(&o, 2), MANY / 3);
	assert_int_equal(orphans_since(&o, 5), MANY / 3);
	for (int i = 0; i < MANY; i++)
		close(i % 3 == 0 ? fds[i] : again[i]);
	look(&o);
	assert_int_equal(orphans_since(&o, 1), 0);
	orphans_fini(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_counted),
		cmocka_unit_test(looks_are_of_one_socket),
	};

	return cmocka_run_group_tests_name("orphans", tests, NULL, NULL);
}
