/* The envelope that is written by hand is what protobuf-c reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/envelope.h"
#include "client/fob.h"
#include "fob/rpc/v1/rpc.pb-c.h"

static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static void
check(const char *method, size_t body_len, uint32_t timeout_ms, const char *trace)
{
	size_t len = envelope_size(method, body_len, timeout_ms, trace);
	uint8_t *bytes = malloc(len + 1), *to;
	Fob__Rpc__V1__Request *m;

	assert_non_null(bytes);
	to = envelope_head(method, body_len, bytes);
	memset(to, 'b', body_len);
	to = envelope_tail(timeout_ms, trace, to + body_len);
	assert_ptr_equal(to, bytes + len);
	assert_non_null(m = fob__rpc__v1__request__unpack(NULL, len, bytes));
	assert_int_equal(m->method.len, strlen(method));
	if (m->method.len > 0)
		assert_memory_equal(m->method.data, method, m->method.len);
	assert_int_equal(m->body.len, body_len);
	if (body_len > 0)
		assert_true(m->body.data[0] == 'b' && m->body.data[body_len - 1] == 'b');
	assert_int_equal(m->timeout_ms, timeout_ms);
	assert_int_equal(m->traceparent.len, trace == NULL ? 0 : strlen(trace));
	if (trace != NULL)
		assert_memory_equal(m->traceparent.data, trace, strlen(trace));
	fob__rpc__v1__request__free_unpacked(m, NULL);
	free(bytes);
}

/* Around each number where a length or a time takes one byte more. */
static void
test_envelope(void **state)
{
	static const size_t lens[] = { 0, 1, 127, 128, 129, 16383, 16384, 65000 };
	static const uint32_t times[] = { 0, 1, 127, 128, 5000, 16383, 16384, FOB_TIMEOUT_MAX_MS };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
			check("fob.v1.Keys/VerifyKey", lens[i], times[k], NULL);
			check("fob.v1.Keys/VerifyKey", lens[i], times[k], traceparent);
			check("", lens[i], times[k], NULL);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_envelope) };

	return cmocka_run_group_tests_name("client/envelope", tests, NULL, NULL);
}
