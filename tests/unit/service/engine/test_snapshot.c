/*
 * test_snapshot.c - a backup that fobd makes and a client reads: the same bytes for the same call, one at a time, given up
 * when asked to, and nothing left beside the database.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/service/harness.h"

static const uint8_t first[SNAPSHOT_ID_LEN] = "the first", second[SNAPSHOT_ID_LEN] = "the second";

struct fixture {
	struct harness *h;
	struct snapshot *snapshot;
	char unfinished[700];
};

static int
setup(void **state)
{
	static struct fixture f;

	f.h = harness_new();
	f.snapshot = f.h->service.engines[ENVIRONMENT_LIVE]->snapshot;
	snprintf(f.unfinished, sizeof(f.unfinished), "%s/backup.unfinished", f.h->paths[ENVIRONMENT_LIVE][0]);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	harness_free(f->h);
	assert_int_equal(access(f->unfinished, F_OK), -1);
	return 0;
}

static int
ask(struct fixture *f, const uint8_t *id, uint64_t offset, uint8_t *bytes, size_t max, struct snapshot_part *part)
{
	why_text why = "";
	int fault = snapshot_read(f->snapshot, id, offset, bytes, max, part, why);

	assert_true(fault == 0 || (why[0] != '\0' && strchr(why, '\n') == NULL));
	return fault;
}

/* Ask until it is made. */
static int
ask_made(struct fixture *f, const uint8_t *id, uint8_t *bytes, size_t max, struct snapshot_part *part)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int fault;

	while ((fault = ask(f, id, 0, bytes, max, part)) == 0 && !part->ready) {
		assert_int_equal(part->size + part->len, 0);
		nanosleep(&pause, NULL);
	}
	return fault;
}

static void
is_read_in_parts(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[5000], again[5000], sha256[32];
	crypto_hash_sha256_state hash;
	struct snapshot_part part, same;
	uint64_t offset = 0;

	assert_int_equal(ask(f, first, 1, bytes, sizeof(bytes), &part), -FAULT_FAILED_PRECONDITION);
	assert_int_equal(ask_made(f, first, bytes, sizeof(bytes), &part), 0);
	assert_int_equal(part.len, sizeof(bytes));
	assert_int_equal(access(f->unfinished, F_OK), -1);
	crypto_hash_sha256_init(&hash);
	do {
		assert_int_equal(ask(f, first, offset, bytes, sizeof(bytes), &part), 0);
		assert_int_equal(ask(f, first, offset, again, sizeof(again), &same), 0);
		assert_int_equal(same.len, part.len);
		assert_memory_equal(again, bytes, part.len);
		crypto_hash_sha256_update(&hash, bytes, part.len);
		offset += part.len;
	} while (part.len > 0);
	assert_int_equal(offset, part.size);
	crypto_hash_sha256_final(&hash, sha256);
	assert_memory_equal(sha256, part.sha256, sizeof(sha256));
	assert_int_equal(ask(f, first, offset + 1, bytes, sizeof(bytes), &part), -FAULT_INVALID_ARGUMENT);
}

static void
one_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct snapshot_part part;
	uint8_t bytes[4096];

	assert_int_equal(ask_made(f, first, bytes, sizeof(bytes), &part), 0);
	assert_int_equal(ask(f, second, 0, bytes, sizeof(bytes), &part), -FAULT_RESOURCE_EXHAUSTED);
	/* Once the first was read to its end, it makes way. */
	assert_int_equal(ask(f, first, 0, bytes, sizeof(bytes), &part), 0);
	assert_int_equal(ask(f, first, part.size - 1, bytes, sizeof(bytes), &part), 0);
	assert_int_equal(part.len, 1);
	assert_int_equal(ask_made(f, second, bytes, sizeof(bytes), &part), 0);
	assert_int_equal(ask(f, first, 4096, bytes, sizeof(bytes), &part), -FAULT_FAILED_PRECONDITION);
}

/* It cannot be made: that is the answer, and the next one is tried anew. */
static void
a_copy_that_fails(void **state)
{
	struct fixture *f = *state;
	struct snapshot_part part;
	uint8_t bytes[4096];

	assert_int_equal(mkdir(f->unfinished, 0700), 0);
	assert_int_equal(ask_made(f, first, bytes, sizeof(bytes), &part), -FAULT_UNAVAILABLE);
	assert_int_equal(rmdir(f->unfinished), 0);
	assert_int_equal(ask_made(f, second, bytes, sizeof(bytes), &part), 0);
}

struct asker {
	struct fixture *f;
	unsigned refused, given;
};

static void *
ask_on(void *arg)
{
	struct asker *a = arg;
	struct snapshot_part part;
	uint8_t id[SNAPSHOT_ID_LEN], bytes[4096];
	why_text why;
	int fault;

	for (unsigned i = 0; i < 30; i++) {
		randombytes_buf(id, sizeof(id));
		do {
			fault = snapshot_read(a->f->snapshot, id, 0, bytes, sizeof(bytes), &part, why);
		} while (fault == 0 && !part.ready);
		if (fault == 0)
			fault = snapshot_read(a->f->snapshot, id, part.size, bytes, sizeof(bytes), &part, why);
		a->refused += fault != 0;
		a->given += fault == 0;
	}
	return NULL;
}

/* Threads that ask for backups of their own; the last one is ended while it is being made. */
static void
from_many_threads(void **state)
{
	struct fixture *f = *state;
	struct asker askers[4];
	struct snapshot_part part;
	pthread_t threads[4];
	uint8_t bytes[16];
	unsigned given = 0;

	for (unsigned i = 0; i < 4; i++) {
		askers[i] = (struct asker){ .f = f };
		assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &askers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		given += askers[i].given;
	}
	assert_true(given > 0);
	(void)ask(f, second, 0, bytes, sizeof(bytes), &part);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_read_in_parts),
		TEST(one_at_a_time),
		TEST(a_copy_that_fails),
		TEST(from_many_threads),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
