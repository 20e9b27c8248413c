/*
 * test_answers.c - what of the answers fits one Exchange.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/answers.h"
#include "client/cluster/peer.h"
#include "client/cluster/results.h"

static void
add(struct answers *as, uint64_t id, size_t len)
{
	uint8_t *bytes = calloc(1, len + 1);

	assert_non_null(bytes);
	answers_add(as, id, &(ProtobufCBinaryData){ .data = bytes, .len = len }, "");
	free(bytes);
}

/* Take what fits ${room}; the first has the id ${first}. Returns: how many. */
static size_t
take(struct answers *as, size_t room, uint64_t first)
{
	Fob__V1__Answer *out[ANSWERS_AT_ONCE];
	Fob__V1__ExchangeRequest request = FOB__V1__EXCHANGE_REQUEST__INIT;
	size_t n = answers_take(as, room, out);

	request.answers = out;
	request.n_answers = n;
	assert_in_range(fob__v1__exchange_request__get_packed_size(&request), 0, room);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(first + i, out[i]->id);
		fob__v1__answer__free_unpacked(out[i], NULL);
	}
	return n;
}

static void
test_budget(void **state)
{
	struct answers as = { .n = 0 };

	(void)state;
	assert_int_equal(0, take(&as, RESULTS_BYTES, 1));
	for (uint64_t i = 1; i <= 10; i++)
		add(&as, i, 10);
	assert_int_equal(8, take(&as, RESULTS_BYTES, 1));
	assert_int_equal(2, take(&as, RESULTS_BYTES, 9));
	/* The second does not fit beside the first, and waits; and the first, where results are before it. */
	add(&as, 1, 130 << 10);
	add(&as, 2, 130 << 10);
	assert_int_equal(0, take(&as, 100 << 10, 1));
	assert_int_equal(1, take(&as, RESULTS_BYTES, 1));
	assert_int_equal(1, take(&as, RESULTS_BYTES, 2));
	/* The largest that there is goes. */
	add(&as, 3, PEERS_SEALED_MAX);
	assert_int_equal(1, take(&as, RESULTS_BYTES, 3));
	assert_int_equal(0, as.n);
}

static void
test_bounds(void **state)
{
	struct answers as = { .n = 0 };
	Fob__V1__Answer *out[ANSWERS_AT_ONCE];
	char why[300];

	(void)state;
	memset(why, 'y', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	why[1] = '\n';
	why[2] = (char)0xc3;
	answers_add(&as, 1, &(ProtobufCBinaryData){ 0 }, why);
	assert_int_equal(1, answers_take(&as, RESULTS_BYTES, out));
	assert_int_equal(ANSWERS_WHY_MAX, out[0]->why.len);
	assert_memory_equal("y??y", out[0]->why.data, 4);
	assert_int_equal(0, out[0]->sealed.len);
	fob__v1__answer__free_unpacked(out[0], NULL);
	for (uint64_t i = 0; i < ANSWERS_MAX + 3; i++)
		add(&as, i, 1);
	assert_int_equal(ANSWERS_MAX, as.n);
	answers_clear(&as);
	assert_int_equal(0, as.n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_budget), cmocka_unit_test(test_bounds) };

	return cmocka_run_group_tests_name("client/cluster/answers", tests, NULL, NULL);
}
