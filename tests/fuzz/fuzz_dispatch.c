/*
 * fuzz_dispatch.c - dispatch() on any request bytes, on real storage, for the verify and the admin role, with
 * allocations that fail. Every request must get one reply that decodes; VALID only for a secret that may be valid; no
 * text and no log line may hold a secret; and the stores must stay undamaged (see world.h). Opens no socket.
 *
 *	input: requests, each: 1 byte: how (below); 1 byte: which allocation fails, 0 none; 2 bytes: length; the bytes
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "client/fob.h"
#include "proto/c/basic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/world.h"

#define HEAD 4
#define REQUESTS_MAX 12

#define HOW_ADMIN 0x01
#define HOW_TWICE 0x02 /* as a client that resends */
#define HOW_LATER 0x0c /* no time, a second, an hour or 25 hours later */
#define HOW_DRAINING 0x10
#define HOW_NO_TEST 0x20 /* the test environment is not served */
#define HOW_BROKEN 0x40  /* ... as it could not be opened */

struct request {
	uint8_t how, nth;
	const uint8_t *bytes;
	size_t len;
};

/* Returns the length of the request at the beginning of ${data}, or 0. */
static size_t
next_request(const uint8_t *data, size_t size, struct request *r)
{
	size_t len;

	if (size < HEAD)
		return 0;
	len = (size_t)data[2] << 8 | data[3];
	if (len > size - HEAD)
		len = size - HEAD;
	*r = (struct request){ .how = data[0], .nth = data[1], .bytes = data + HEAD, .len = len };
	return HEAD + len;
}

/* ---- the request, decoded by protobuf-c ---- */

struct asked {
	Fob__Rpc__V1__Request *envelope;
	const ProtobufCMethodDescriptor *method; /* NULL: none of ours */
	char name[64];
	ProtobufCMessage *in;
};

static void
ask(const struct request *r, struct asked *a)
{
	static const ProtobufCServiceDescriptor *const services[] = { &fob__v1__keys__descriptor,
		&fob__v1__admin__descriptor, &fob__v1__health__descriptor };

	memset(a, 0, sizeof(*a));
	if ((a->envelope = fob__rpc__v1__request__unpack(NULL, r->len, r->bytes)) == NULL)
		return;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		for (unsigned k = 0; k < services[i]->n_methods; k++) {
			const ProtobufCMethodDescriptor *m = &services[i]->methods[k];

			snprintf(a->name, sizeof(a->name), "%s/%s", services[i]->name, m->name);
			if (a->envelope->method.len != strlen(a->name) ||
			    memcmp(a->envelope->method.data, a->name, strlen(a->name)) != 0)
				continue;
			a->method = m;
			a->in =
			    protobuf_c_message_unpack(m->input, NULL, a->envelope->body.len, a->envelope->body.data);
			return;
		}
	}
}

static void
ask_done(struct asked *a)
{
	if (a->in != NULL)
		protobuf_c_message_free_unpacked(a->in, NULL);
	if (a->envelope != NULL)
		fob__rpc__v1__request__free_unpacked(a->envelope, NULL);
}

/* ---- checks of the reply ---- */

static bool
is(const ProtobufCBinaryData *field, const char *s)
{
	return field->len == strlen(s) && (field->len == 0 || memcmp(field->data, s, field->len) == 0);
}

static void
check_verdict(const Fob__V1__VerifyKeyRequest *in, const Fob__V1__VerifyKeyResponse *out)
{
	char basic[BASIC_MAX];
	const void *secret = in->secret.data;
	size_t len = in->secret.len;

	FUZZ_CHECK(out->verdict > 0 && out->verdict <= FOB__V1__VERDICT__FORBIDDEN, "verdict %d", (int)out->verdict);
	FUZZ_CHECK((out->verdict == FOB__V1__VERDICT__VALID) == (out->detail.len == 0), "a detail, or none");
	world_check_text(out->detail.data, out->detail.len);
	if (out->verdict != FOB__V1__VERDICT__VALID)
		return;
	if (in->credential_case == FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION) {
		secret = basic;
		FUZZ_CHECK(
		    basic_parse((const char *)in->authorization.data, in->authorization.len, basic, &len, NULL) == 0,
		    "VALID for a header that is none");
	}
	world_check_valid(secret, len, &out->base);
	FUZZ_CHECK(in->require_environment == 0 || in->require_environment == out->environment,
	    "VALID in another environment than is required");
	FUZZ_CHECK(out->kind != FOB__V1__KEY_KIND__PUBLISHABLE || in->operation.len == 0 ||
		is(&in->operation, "tokenize") || is(&in->operation, "tokens.create"),
	    "a publishable key may do what is not listed");
	FUZZ_CHECK(!out->superseded || !is(&in->operation, "keys.roll"), "a superseded key may roll");
}

static void
check_verdicts(const Fob__V1__VerifyKeysRequest *in, const Fob__V1__VerifyKeysResponse *out)
{
	FUZZ_CHECK(out->n_items == in->n_items && in->n_items <= LIMIT_BATCH, "not one answer per item");
	for (size_t i = 0; i < out->n_items; i++) {
		const Fob__V1__VerifyKeysItem *item = out->items[i];

		FUZZ_CHECK(item->code >= 0 && item->code < CODES, "an item's code is %d", (int)item->code);
		FUZZ_CHECK((item->code == 0) == (item->result != NULL), "a result, or none");
		world_check_text(item->message.data, item->message.len);
		if (item->code == 0)
			check_verdict(in->items[i], item->result);
	}
}

static void
check_answer(const struct request *r, const struct asked *a, const Fob__Rpc__V1__Response *response)
{
	ProtobufCMessage *out = NULL;

	FUZZ_CHECK(response->code >= 0 && response->code < CODES, "code %d", (int)response->code);
	FUZZ_CHECK((response->code == 0) == (response->message.len == 0), "a fault without a reason, or the reverse");
	FUZZ_CHECK(response->message.len < LIMIT_MESSAGE, "a message of %zu bytes", response->message.len);
	world_check_text(response->message.data, response->message.len);
	if (response->code == 0) {
		FUZZ_CHECK(a->in != NULL, "OK for what is no request");
		FUZZ_CHECK((r->how & HOW_ADMIN) != 0 || strncmp(a->name, "fob.v1.Admin/", 13) != 0,
		    "a verify listener serves %s", a->name);
		FUZZ_CHECK((r->how & HOW_DRAINING) == 0, "OK while draining");
		out = protobuf_c_message_unpack(a->method->output, NULL, response->body.len, response->body.data);
		FUZZ_CHECK(out != NULL, "the reply to %s does not decode", a->name);
	} else {
		FUZZ_CHECK(response->body.len == 0, "a fault with a body");
	}
	if (a->in != NULL && (r->how & HOW_ADMIN) != 0)
		world_learn(a->name, a->in, (int)response->code, out);
	if (out != NULL && a->method->input == &fob__v1__verify_key_request__descriptor)
		check_verdict((const Fob__V1__VerifyKeyRequest *)a->in, (const Fob__V1__VerifyKeyResponse *)out);
	if (out != NULL && a->method->input == &fob__v1__verify_keys_request__descriptor)
		check_verdicts((const Fob__V1__VerifyKeysRequest *)a->in, (const Fob__V1__VerifyKeysResponse *)out);
	if (out != NULL)
		protobuf_c_message_free_unpacked(out, NULL);
}

/* ---- a request ---- */

static void
send_one(const struct request *r)
{
	Fob__Rpc__V1__Response *response;
	struct asked a;
	uint8_t *reply;
	size_t len;

	world_ask((r->how & HOW_ADMIN) != 0 ? ROLE_ADMIN : ROLE_VERIFY, r->bytes, r->len, r->nth, &reply, &len);
	FUZZ_CHECK((response = fob__rpc__v1__response__unpack(NULL, len, reply)) != NULL, "the reply does not decode");
	ask(r, &a);
	check_answer(r, &a, response);
	ask_done(&a);
	fob__rpc__v1__response__free_unpacked(response, NULL);
	free(reply);
}

static void
run(struct world *world, const struct request *given)
{
	static const int64_t later_ms[] = { 0, 1000, 3600 * 1000, 25 * 3600 * 1000 };
	struct engine *test = world->service.engines[ENVIRONMENT_TEST];
	struct request r = *given;
	uint8_t *bytes = fuzz_copy(r.bytes, r.len);

	world_insert_secrets(bytes, r.len);
	r.bytes = bytes;
	world_advance(later_ms[(r.how & HOW_LATER) >> 2]);
	world->service.draining = (r.how & HOW_DRAINING) != 0;
	if ((r.how & (HOW_NO_TEST | HOW_BROKEN)) != 0)
		world->service.engines[ENVIRONMENT_TEST] = NULL;
	world->service.broken[ENVIRONMENT_TEST] = (r.how & HOW_BROKEN) != 0;
	send_one(&r);
	if ((r.how & HOW_TWICE) != 0)
		send_one(&r);
	world->service.engines[ENVIRONMENT_TEST] = test;
	world->service.broken[ENVIRONMENT_TEST] = false;
	world->service.draining = false;
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *world = world_get();
	struct request r;
	size_t len;

	for (int i = 0; i < REQUESTS_MAX && (len = next_request(data, size, &r)) > 0; i++) {
		run(world, &r);
		data += len;
		size -= len;
	}
	world_check_health();
	return 0;
}

/* ---- mutations: of one request's protobuf fields, or of the list of requests ---- */

static size_t
mutate_request(uint8_t *data, size_t size, size_t max, struct fuzz_random *r)
{
	static uint8_t bytes[65536];
	size_t at = 0, len, most;
	struct request q, chosen = { 0 };
	uint32_t n = 0;

	/* Each with the same chance. */
	for (size_t pos = 0; (len = next_request(data + pos, size - pos, &q)) > 0; pos += len)
		if (fuzz_below(r, ++n) == 0) {
			chosen = q;
			at = pos;
		}
	if (n == 0)
		return LLVMFuzzerMutate(data, size, max);
	most = chosen.len + (max - size);
	if (most > sizeof(bytes) - 1)
		most = sizeof(bytes) - 1;
	if (chosen.len > most)
		return size;
	memcpy(bytes, chosen.bytes, chosen.len);
	switch (fuzz_below(r, 8)) {
	case 0:
		data[at] ^= (uint8_t)(1U << fuzz_below(r, 7));
		return size;
	case 1:
		data[at + 1] = (uint8_t)(fuzz_below(r, 2) * fuzz_below(r, 40));
		return size;
	default:
		len = wire_mutate(bytes, chosen.len, most, r);
	}
	memmove(data + at + HEAD + len, data + at + HEAD + chosen.len, size - at - HEAD - chosen.len);
	memcpy(data + at + HEAD, bytes, len);
	data[at + 2] = (uint8_t)(len >> 8);
	data[at + 3] = (uint8_t)len;
	return size - chosen.len + len;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	struct fuzz_random r = { seed };
	struct request q;
	size_t len = next_request(data, size, &q);

	if (len == 0 || size > max || fuzz_below(&r, 20) == 0)
		return LLVMFuzzerMutate(data, size, max);
	/* Append the first request again, or remove it. */
	if (fuzz_below(&r, 20) == 0 && size + len <= max) {
		memcpy(data + size, data, len);
		return size + len;
	}
	if (fuzz_below(&r, 20) == 0 && len < size) {
		memmove(data, data + len, size - len);
		return size - len;
	}
	return mutate_request(data, size, max, &r);
}
