/*
 * test_wire.c - wire.c: what it reads and writes by hand is what protobuf-c reads and writes: random messages, with fields
 * left out; and the same bytes damaged, cut, or in another order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/numbers.h"
#include "service/rpc/wire.h"
#include "tests/unit/service/fixture.h"

#define ROUNDS 20000
#define BYTES_MAX (64U << 10)

static uint64_t random_state = 1;

static unsigned
below(unsigned n)
{
	random_state = random_state * 6364136223846793005U + 1442695040888963407U;
	return (unsigned)(random_state >> 33) % n;
}

/* Numbers of every length, and zero. */
static uint64_t
number(unsigned bits)
{
	uint64_t v = (uint64_t)below(1U << 31) << 33 ^ (uint64_t)below(1U << 31) << 12 ^ below(4096);

	return below(3) == 0 ? 0 : v >> (64 - 1 - below(bits));
}

static ProtobufCBinaryData
text(unsigned max)
{
	static uint8_t bytes[64][400];
	static unsigned next;
	uint8_t *at = bytes[next++ % 64];
	size_t len = below(3) == 0 ? 0 : below(max);

	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)below(256);
	return (ProtobufCBinaryData){ .data = at, .len = len };
}

static size_t
pack(const ProtobufCMessage *message, uint8_t *to)
{
	size_t len = protobuf_c_message_get_packed_size(message);

	assert_true(len <= BYTES_MAX);
	assert_int_equal(protobuf_c_message_pack(message, to), len);
	return len;
}

/* ---- reading ---- */

struct both {
	struct scratch scratch;
	uint8_t bytes[BYTES_MAX], ours[BYTES_MAX], theirs[BYTES_MAX];
};

static void
expect_position(const struct position *ours, const Fob__Rpc__V1__Position *theirs)
{
	assert_int_equal(ours->entry, theirs == NULL ? 0 : theirs->entry);
	if (ours->entry != 0)
		assert_int_equal(ours->cluster, theirs->cluster);
}

/* Ours are told apart from the message. */
static void
expect_same_positions(Fob__Rpc__V1__Request *request, const struct position min[2], const Fob__Rpc__V1__Request *theirs)
{
	expect_position(&min[0], theirs->min_live);
	expect_position(&min[1], theirs->min_test);
	request->min_live = theirs->min_live;
	request->min_test = theirs->min_test;
}

/* What protobuf-c makes of the bytes, and we of them, becomes the same bytes again; or neither takes them. */
static void
expect_same(struct both *b, const ProtobufCMessageDescriptor *type, size_t len)
{
	uint8_t *copy = malloc(len + 1); /* so that a read behind the end is seen */
	struct position min[2];
	Fob__Rpc__V1__Request request;
	ProtobufCMessage *ours, *theirs;
	size_t n;

	memcpy(copy, b->bytes, len);
	scratch_begin(&b->scratch);
	if (type == &fob__rpc__v1__request__descriptor)
		ours = wire_request(&b->scratch, copy, len, &request, min) ? &request.base : NULL;
	else
		ours = wire_unpack(type, &b->scratch, copy, len);
	theirs = numbers_fit(type, copy, len) ? protobuf_c_message_unpack(type, NULL, len, copy) : NULL;
	assert_int_equal(ours != NULL, theirs != NULL);
	if (ours != NULL && ours == &request.base)
		expect_same_positions(&request, min, (const Fob__Rpc__V1__Request *)theirs);
	if (ours != NULL) {
		assert_int_equal(n = pack(ours, b->ours), pack(theirs, b->theirs));
		assert_memory_equal(b->ours, b->theirs, n);
		protobuf_c_message_free_unpacked(theirs, NULL);
	}
	scratch_reset(&b->scratch);
	free(copy);
}

/* The bytes as they are, with one changed, cut, and with a part of them repeated. */
static void
expect_same_damaged(struct both *b, const ProtobufCMessageDescriptor *type, size_t len)
{
	size_t at;

	expect_same(b, type, len);
	if (len == 0 || len > BYTES_MAX / 2)
		return;
	expect_same(b, type, below((unsigned)len));
	at = below((unsigned)len);
	memmove(b->bytes + len, b->bytes + at, len - at);
	expect_same(b, type, 2 * len - at);
	b->bytes[at] = (uint8_t)(below(2) == 0 ? below(256) : b->bytes[at] ^ 1U << below(8));
	expect_same(b, type, len);
}

static void
random_position(struct position *p, Fob__Rpc__V1__Position *m)
{
	*p = (struct position){ .cluster = number(63) * 2 + below(2), .entry = number(63) };
	fob__rpc__v1__position__init(m);
	m->cluster = p->cluster;
	m->entry = p->entry;
}

static void
random_verify(Fob__V1__VerifyKeyRequest *m)
{
	fob__v1__verify_key_request__init(m);
	switch (below(3)) {
	case 0:
		m->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
		m->secret = text(60);
		break;
	case 1:
		m->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION;
		m->authorization = text(200);
		break;
	default:
		break;
	}
	m->operation = text(80);
	m->require_environment = (Fob__V1__Environment)number(32);
}

static void
requests(void **state)
{
	struct both *b = *state;
	Fob__V1__VerifyKeyRequest items[8], *pointers[8];

	for (unsigned round = 0; round < ROUNDS; round++) {
		Fob__Rpc__V1__Request envelope = FOB__RPC__V1__REQUEST__INIT;
		Fob__V1__VerifyKeysRequest batch = FOB__V1__VERIFY_KEYS_REQUEST__INIT;
		Fob__Rpc__V1__Position live, test;
		struct position p;

		random_position(&p, &live);
		random_position(&p, &test);
		envelope.min_live = below(2) == 0 ? &live : NULL;
		envelope.min_test = below(2) == 0 ? &test : NULL;
		envelope.method = text(30);
		envelope.body = text(300);
		envelope.timeout_ms = (uint32_t)number(32);
		envelope.traceparent = text(60);
		envelope.on_behalf_of = text(70);
		expect_same_damaged(b, envelope.base.descriptor, pack(&envelope.base, b->bytes));
		for (unsigned i = 0; i < 8; i++) {
			random_verify(&items[i]);
			pointers[i] = &items[i];
		}
		expect_same_damaged(b, items[0].base.descriptor, pack(&items[0].base, b->bytes));
		batch.items = pointers;
		batch.n_items = below(9);
		expect_same_damaged(b, batch.base.descriptor, pack(&batch.base, b->bytes));
	}
}

/* ---- writing ---- */

static void
random_verified(Fob__V1__VerifyKeyResponse *m)
{
	fob__v1__verify_key_response__init(m);
	m->verdict = (Fob__V1__Verdict)(number(31) & INT32_MAX);
	m->detail = text(120);
	m->account = text(70);
	m->environment = (Fob__V1__Environment)(number(31) & INT32_MAX);
	m->livemode = below(2) == 0;
	m->kind = (Fob__V1__KeyKind)(number(31) & INT32_MAX);
	m->generation = (uint32_t)number(32);
	m->current_generation = (uint32_t)number(32);
	m->superseded = below(2) == 0;
	m->created_ms = (int64_t)number(64);
	m->expires_ms = (int64_t)number(64);
	m->last4 = text(6);
}

static void
expect_same_bytes(struct both *b, const ProtobufCMessage *message)
{
	Fob__Rpc__V1__Response response = FOB__RPC__V1__RESPONSE__INIT;
	size_t len = pack(message, b->theirs), max = wire_max(message);
	Fob__Rpc__V1__Position live, test;
	struct position at[2];
	unsigned tells = 0;
	uint8_t *ours;

	assert_true(len <= max && WIRE_RESPONSE + max <= BYTES_MAX);
	/* As much as is promised, and no more: a write behind it is seen. */
	ours = malloc(max + 1);
	assert_int_equal(wire_pack(message, ours), len);
	assert_memory_equal(ours, b->theirs, len);
	free(ours);

	response.body = (ProtobufCBinaryData){ .data = b->theirs, .len = len };
	random_position(&at[0], &live);
	random_position(&at[1], &test);
	tells |= at[0].entry != 0 && below(2) == 0 ? 1U : 0;
	tells |= at[1].entry != 0 && below(2) == 0 ? 2U : 0;
	response.live = tells & 1U ? &live : NULL;
	response.test = tells & 2U ? &test : NULL;
	ours = malloc(WIRE_RESPONSE + max);
	assert_int_equal(pack(&response.base, b->bytes), protobuf_c_message_get_packed_size(&response.base));
	assert_memory_equal(wire_pack_response(message, at, tells, ours, &len), b->bytes, pack(&response.base, b->bytes));
	assert_int_equal(len, pack(&response.base, b->bytes));
	free(ours);
}

static void
responses(void **state)
{
	struct both *b = *state;
	Fob__V1__VerifyKeyResponse results[8];
	Fob__V1__VerifyKeysItem items[8], *pointers[8];

	for (unsigned round = 0; round < ROUNDS; round++) {
		Fob__V1__VerifyKeysResponse batch = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;

		for (unsigned i = 0; i < 8; i++) {
			random_verified(&results[i]);
			fob__v1__verify_keys_item__init(&items[i]);
			items[i].code = (Fob__Rpc__V1__Code)below(17);
			items[i].message = text(240);
			items[i].result = below(3) == 0 ? NULL : &results[i];
			pointers[i] = &items[i];
		}
		expect_same_bytes(b, &results[0].base);
		batch.items = pointers;
		batch.n_items = below(9);
		expect_same_bytes(b, &batch.base);
	}
}

static int
begin(void **state)
{
	struct both *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(scratch_init(&b->scratch), 0);
	*state = b;
	return 0;
}

static int
end(void **state)
{
	struct both *b = *state;

	scratch_fini(&b->scratch);
	free(b);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, begin, end),
		cmocka_unit_test_setup_teardown(responses, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
