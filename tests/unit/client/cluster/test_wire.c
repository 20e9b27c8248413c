/*
 * test_wire.c - what a connection to fobd or to another node sends and reads, byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/wire.h"

static const uint8_t req[] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static const uint8_t rep[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

/* A reply with the id ${id} that has ${len} bytes of body. */
static void
come(struct wire *w, uint32_t id, size_t len)
{
	Fob__Rpc__V1__Response r = FOB__RPC__V1__RESPONSE__INIT;
	uint8_t bytes[4096], header[SP_HEADER_MAX], body[2048] = { 0 };
	size_t size;

	assert_in_range(len, 0, sizeof(body));
	r.body = (ProtobufCBinaryData){ .data = body, .len = len };
	size = fob__rpc__v1__response__pack(&r, bytes);
	assert_int_equal(0, buffer_append(&w->in, header, sp_header(w->framing, id, size, header)));
	assert_int_equal(0, buffer_append(&w->in, bytes, size));
}

static uint32_t
next_reply(struct wire *w, size_t len)
{
	Fob__Rpc__V1__Response *r;
	uint32_t id;

	assert_int_equal(WIRE_REPLY, wire_next(w, &id, &r));
	assert_int_equal(len, r->body.len);
	fob__rpc__v1__response__free_unpacked(r, NULL);
	return id;
}

static void
test_requests(void **state)
{
	static const enum sp_framing framings[] = { SP_TCP, SP_IPC };
	uint32_t first, second;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct wire w = { .framing = framings[i], .payload_max = 4096, .next_id = UINT32_C(0x7fffffff) };
		Fob__Rpc__V1__Request *r;
		struct sp_frame frame;

		assert_int_equal(0, wire_begin(&w));
		assert_int_equal(0, wire_request(&w, "a/B", 7, (const uint8_t *)"body", 4, &first));
		assert_int_equal(0, wire_request(&w, "a/B", 7, NULL, 0, &second));
		assert_int_equal(UINT32_C(0xffffffff), first);
		assert_int_equal(UINT32_C(0x80000000), second);
		assert_memory_equal(req, w.out.p, sizeof(req));
		assert_int_equal(
		    SP_MESSAGE, sp_parse(framings[i], 4096, w.out.p + sizeof(req), w.out.len - sizeof(req), &frame));
		assert_int_equal(first, frame.id);
		assert_non_null(r = fob__rpc__v1__request__unpack(NULL, frame.body_len, frame.body));
		assert_int_equal(3, r->method.len);
		assert_memory_equal("a/B", r->method.data, 3);
		assert_int_equal(7, r->timeout_ms);
		assert_int_equal(4, r->body.len);
		fob__rpc__v1__request__free_unpacked(r, NULL);
		wire_fini(&w);
	}
}

static void
test_replies(void **state)
{
	struct wire w = { .framing = SP_TCP, .payload_max = 2000 };
	struct buffer all;
	uint32_t id;
	Fob__Rpc__V1__Response *r;
	size_t events = 0;

	(void)state;
	assert_int_equal(0, wire_begin(&w));
	assert_int_equal(WIRE_NOTHING, wire_next(&w, &id, &r));
	assert_int_equal(0, buffer_append(&w.in, rep, sizeof(rep)));
	come(&w, UINT32_C(0x80000001), 10);
	come(&w, 5, 10); /* no id of a request: passed over */
	come(&w, UINT32_C(0x80000000), 1500);
	/* The same a byte at a time. */
	all = w.in;
	w.in = (struct buffer){ 0 };
	for (size_t i = 0; i < all.len; i++) {
		enum wire_event event;

		assert_int_equal(0, buffer_append(&w.in, all.p + i, 1));
		if ((event = wire_next(&w, &id, &r)) == WIRE_REPLY)
			fob__rpc__v1__response__free_unpacked(r, NULL);
		events += event == WIRE_UP || event == WIRE_REPLY;
		assert_int_not_equal(WIRE_BROKEN, event);
	}
	assert_int_equal(3, events);
	wire_end(&w);
	assert_false(w.up);
	w.in = all;
	assert_int_equal(WIRE_UP, wire_next(&w, &id, &r));
	assert_true(w.up);
	assert_int_equal(UINT32_C(0x80000001), next_reply(&w, 10));
	assert_int_equal(UINT32_C(0x80000000), next_reply(&w, 1500));
	assert_int_equal(WIRE_NOTHING, wire_next(&w, &id, &r));
	/* One that is too long. */
	come(&w, UINT32_C(0x80000000), 2040);
	assert_int_equal(WIRE_BROKEN, wire_next(&w, &id, &r));
	wire_fini(&w);
}

static void
test_broken(void **state)
{
	static const uint8_t envelope[] = { 0, 0, 0, 0, 0, 0, 0, 6, 0x80, 0, 0, 1, 0x0f, 0xff };
	struct wire w = { .framing = SP_TCP, .payload_max = 2000 };
	Fob__Rpc__V1__Response *r;
	uint32_t id;

	(void)state;
	assert_int_equal(0, wire_begin(&w));
	assert_int_equal(0, buffer_append(&w.in, "HTTP", 4));
	assert_int_equal(WIRE_BROKEN, wire_next(&w, &id, &r));
	assert_int_equal(0, wire_begin(&w));
	assert_int_equal(0, buffer_append(&w.in, req, sizeof(req))); /* a client, too */
	assert_int_equal(WIRE_BROKEN, wire_next(&w, &id, &r));
	assert_int_equal(0, wire_begin(&w));
	assert_int_equal(0, buffer_append(&w.in, rep, sizeof(rep)));
	assert_int_equal(0, buffer_append(&w.in, envelope, sizeof(envelope)));
	assert_int_equal(WIRE_UP, wire_next(&w, &id, &r));
	assert_int_equal(WIRE_BROKEN, wire_next(&w, &id, &r));
	wire_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_requests), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_broken) };

	return cmocka_run_group_tests_name("client/cluster/wire", tests, NULL, NULL);
}
