/*
 * test_grpc.c - gRPC's frames and status, cut at every place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/grpc.h"

static void
test_prefix(void **state)
{
	const uint8_t want[] = { 0, 0, 1, 2, 3 };
	uint8_t got[GRPC_PREFIX];

	(void)state;
	grpc_prefix(0x010203, got);
	assert_memory_equal(want, got, sizeof(want));
}

static void
test_message(void **state)
{
	const uint8_t bytes[] = { 0, 0, 0, 0, 2, 'a', 'b', 'c' }, packed[] = { 1, 0, 0, 0, 0 };
	const uint8_t large[] = { 0, 0xff, 0xff, 0xff, 0xff };
	const uint8_t *body;
	size_t len;

	(void)state;
	for (size_t n = 0; n < 7; n++)
		assert_int_equal(GRPC_MORE, grpc_message(bytes, n, &body, &len));
	assert_int_equal(GRPC_MESSAGE, grpc_message(bytes, sizeof(bytes), &body, &len));
	assert_ptr_equal(bytes + 5, body);
	assert_int_equal(2, len);
	assert_int_equal(GRPC_BROKEN, grpc_message(packed, sizeof(packed), &body, &len));
	assert_int_equal(GRPC_BROKEN, grpc_message(large, sizeof(large), &body, &len));
}

static void
test_status(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *reason;
	} rows[] = { { "grpc-status: 0\r\n", 0, "" }, { "Grpc-Status:14\r\n", 14, "" }, { "grpc-status: \r\n", GRPC_NONE, "" },
		{ "grpc-status: x\r\n", GRPC_NONE, "" }, { "grpc-status: 99999999999999\r\n", GRPC_NONE, "" },
		{ "grpc-status-details-bin: 1\r\n", GRPC_NONE, "" },
		{ "grpc-message: a%20b%0ac%zz%4\r\n", GRPC_NONE, "a b?c%zz%4" }, { "", GRPC_NONE, "" } };
	struct grpc_status status;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		grpc_status_init(&status);
		grpc_status_header(&status, rows[i].line, strlen(rows[i].line));
		assert_int_equal(rows[i].code, status.code);
		assert_string_equal(rows[i].reason, status.reason);
	}
}

struct seen {
	unsigned n;
	size_t lens[4], heads[4];
	uint8_t first[4];
};

static void
on_message(void *arg, const uint8_t *head, size_t head_len, size_t len)
{
	struct seen *seen = arg;

	assert_in_range(seen->n, 0, 3);
	seen->lens[seen->n] = len;
	seen->heads[seen->n] = head_len;
	seen->first[seen->n++] = head_len > 0 ? head[0] : 0;
}

/* Three messages: of 3 bytes, of none, of more than is kept. */
static void
test_stream(void **state)
{
	uint8_t bytes[3 * GRPC_PREFIX + 3 + 1000] = { 0 };
	const size_t steps[] = { 1, 2, 7, 513, sizeof(bytes) };

	(void)state;
	grpc_prefix(3, bytes);
	bytes[5] = 'x';
	grpc_prefix(1000, bytes + 13);
	bytes[18] = 'y';
	for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		struct grpc_stream stream = { 0 };
		struct seen seen = { 0 };

		for (size_t at = 0; at < sizeof(bytes); at += steps[s]) {
			size_t left = sizeof(bytes) - at;

			assert_int_equal(0, grpc_stream_add(&stream, bytes + at, left < steps[s] ? left : steps[s],
			                        on_message, &seen));
		}
		assert_int_equal(3, seen.n);
		assert_int_equal(3, seen.lens[0]);
		assert_int_equal('x', seen.first[0]);
		assert_int_equal(0, seen.lens[1]);
		assert_int_equal(1000, seen.lens[2]);
		assert_int_equal(GRPC_HEAD_MAX, seen.heads[2]);
		assert_int_equal('y', seen.first[2]);
	}
	bytes[0] = 1;
	assert_int_equal(-1, grpc_stream_add(&(struct grpc_stream){ 0 }, bytes, sizeof(bytes), on_message, &(struct seen){ 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_prefix), cmocka_unit_test(test_message),
		cmocka_unit_test(test_status), cmocka_unit_test(test_stream) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
