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
expect_position(const Fob__Rpc__V1__Position *field, struct position p)
{
	assert_int_equal(field != NULL, p.entry != 0);
	if (field == NULL)
		return;
	assert_int_equal(field->cluster, p.cluster);
	assert_int_equal(field->entry, p.entry);
}

static void
expect_text(const ProtobufCBinaryData *field, const char *text)
{
	assert_int_equal(field->len, text == NULL ? 0 : strlen(text));
	if (field->len > 0)
		assert_memory_equal(field->data, text, field->len);
}

static void
check_min(const char *method, size_t body_len, uint32_t timeout_ms, const char *trace, const char *person,
    struct position live, struct position test)
{
	const struct position min[] = { live, test };
	const struct envelope e = { method, timeout_ms, trace, person, live.entry == 0 && test.entry == 0 ? NULL : min };
	size_t len = envelope_size(&e, body_len);
	uint8_t *bytes = malloc(len + 1), *to;
	Fob__Rpc__V1__Request *m;

	assert_non_null(bytes);
	to = envelope_head(&e, body_len, bytes);
	memset(to, 'b', body_len);
	to = envelope_tail(&e, to + body_len);
	assert_ptr_equal(to, bytes + len);
	assert_non_null(m = fob__rpc__v1__request__unpack(NULL, len, bytes));
	expect_text(&m->method, method);
	assert_int_equal(m->body.len, body_len);
	if (body_len > 0)
		assert_true(m->body.data[0] == 'b' && m->body.data[body_len - 1] == 'b');
	assert_int_equal(m->timeout_ms, timeout_ms);
	expect_text(&m->traceparent, trace);
	expect_text(&m->on_behalf_of, person);
	expect_position(m->min_live, live);
	expect_position(m->min_test, test);
	fob__rpc__v1__request__free_unpacked(m, NULL);
	free(bytes);
}

static void
check(const char *method, size_t body_len, uint32_t timeout_ms, const char *trace, const char *person)
{
	const struct position none = { 5, 0 }, first = { 0x8000000000000001, 1 }, last = { 0, UINT64_MAX };

	check_min(method, body_len, timeout_ms, trace, person, none, none);
	check_min(method, body_len, timeout_ms, trace, person, first, none);
	check_min(method, body_len, timeout_ms, trace, person, last, first);
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
			check("fob.v1.Keys/VerifyKey", lens[i], times[k], NULL, NULL);
			check("fob.v1.Keys/VerifyKey", lens[i], times[k], traceparent, "");
			check("fob.v1.Admin/RollKey", lens[i], times[k], traceparent, "ada");
			check("", lens[i], times[k], NULL, "ada");
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_envelope) };

	return cmocka_run_group_tests_name("client/envelope", tests, NULL, NULL);
}
