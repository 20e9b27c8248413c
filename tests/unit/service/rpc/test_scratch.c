/*
 * test_scratch.c - the budget of scratch memory is kept, new memory is zeroed, and a request leaves no bytes behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <sys/mman.h>

#include "tests/unit/service/fixture.h"

#include "fob/rpc/v1/rpc.pb-c.h"
#include "service/rpc/scratch.h"

static void
is_zeroed_and_aligned(void **state)
{
	static const size_t sizes[] = { 1, 7, 8, 15, 16, 17, 100, 4095, 4096, 4097 };
	struct scratch s;
	uint8_t *end = NULL;

	(void)state;
	assert_int_equal(scratch_init(&s), 0);
	for (int round = 0; round < 3; round++) {
		end = NULL;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *p = scratch_alloc(&s, sizes[i]);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
			assert_true(end == NULL || p >= end);
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal(p[j], 0);
			memset(p, 0xa5, sizes[i]);
			end = p + sizes[i];
		}
		scratch_reset(&s);
	}
	scratch_fini(&s);
}

static void
has_a_budget(void **state)
{
	struct scratch s;

	(void)state;
	assert_int_equal(scratch_init(&s), 0);
	assert_null(scratch_alloc(&s, LIMIT_ARENA + 1));
	assert_true(s.exhausted);
	scratch_reset(&s);
	assert_false(s.exhausted);

	assert_non_null(scratch_alloc(&s, LIMIT_ARENA));
	assert_false(s.exhausted);
	assert_null(scratch_alloc(&s, 1));
	assert_true(s.exhausted);
	scratch_reset(&s);

	/* The last piece, whose rounding up would not fit, and sizes whose rounding up would overflow. */
	assert_non_null(scratch_alloc(&s, LIMIT_ARENA - alignof(max_align_t)));
	assert_non_null(scratch_alloc(&s, 1));
	assert_null(scratch_alloc(&s, 1));
	scratch_reset(&s);
	assert_null(scratch_alloc(&s, SIZE_MAX));
	assert_null(scratch_alloc(&s, SIZE_MAX - 15));
	assert_true(s.exhausted);
	/* What does not fit leaves room for what does. */
	assert_non_null(scratch_alloc(&s, 16));
	scratch_fini(&s);
}

static void
is_wiped(void **state)
{
	static const size_t sizes[] = { 100, 64U << 10, (64U << 10) + 1, LIMIT_ARENA };
	struct scratch s;

	(void)state;
	assert_int_equal(scratch_init(&s), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *p = scratch_alloc(&s, sizes[i]);

		assert_non_null(p);
		memset(p, 's', sizes[i]);
		scratch_reset(&s);
		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(p[j], 0);
	}
	scratch_fini(&s);
}

static size_t
resident(const struct scratch *s)
{
	unsigned char pages[LIMIT_ARENA / 4096];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;

	assert_int_equal(mincore(s->bytes, LIMIT_ARENA, pages), 0);
	for (size_t i = 0; i < LIMIT_ARENA / page; i++)
		n += pages[i] & 1;
	return n * page;
}

static void
gives_its_pages_back(void **state)
{
	struct scratch s;
	void *p;

	(void)state;
	assert_int_equal(scratch_init(&s), 0);
	assert_int_equal(resident(&s), 0);
	assert_non_null(p = scratch_alloc(&s, LIMIT_ARENA));
	memset(p, 1, LIMIT_ARENA);
	assert_int_equal(resident(&s), LIMIT_ARENA);
	scratch_reset(&s);
	assert_true(resident(&s) <= 64U << 10);
	scratch_fini(&s);
}

/* As protobuf-c uses it: a message that is decoded in it, and one that the budget refuses. */
static void
decodes_in_it(void **state)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT, *got;
	uint8_t method[20], packed[256];
	struct scratch s;
	size_t len;

	(void)state;
	assert_int_equal(scratch_init(&s), 0);
	memset(method, 'm', sizeof(method));
	request.method.data = method;
	request.method.len = sizeof(method);
	len = fob__rpc__v1__request__pack(&request, packed);
	got = fob__rpc__v1__request__unpack(&s.allocator, len, packed);
	assert_non_null(got);
	assert_int_equal(got->method.len, sizeof(method));
	assert_true((uint8_t *)got >= s.bytes && (uint8_t *)got < s.bytes + s.used);
	fob__rpc__v1__request__free_unpacked(got, &s.allocator);
	scratch_reset(&s);

	assert_non_null(scratch_alloc(&s, LIMIT_ARENA - 32));
	assert_null(fob__rpc__v1__request__unpack(&s.allocator, len, packed));
	assert_true(s.exhausted);
	scratch_fini(&s);
}

static void
the_end_may_come_twice(void **state)
{
	struct scratch s = { 0 };

	(void)state;
	scratch_fini(&s);
	assert_int_equal(scratch_init(&s), 0);
	scratch_fini(&s);
	scratch_fini(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_zeroed_and_aligned),
		cmocka_unit_test(has_a_budget),
		cmocka_unit_test(is_wiped),
		cmocka_unit_test(gives_its_pages_back),
		cmocka_unit_test(decodes_in_it),
		cmocka_unit_test(the_end_may_come_twice),
	};

	return cmocka_run_group_tests_name("scratch", tests, fixture_begin, NULL);
}
