/*
 * test_dispatch.c - dispatch() on any bytes: there is exactly one reply, it is an error unless the request is valid, and
 * the same worker answers the next request correctly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/harness.h"

enum {
	OK = 0,
	INVALID_ARGUMENT = 3,
	PERMISSION_DENIED = 7,
	RESOURCE_EXHAUSTED = 8,
	UNIMPLEMENTED = 12,
	UNAVAILABLE = 14
};

struct fixture {
	struct harness *h;
	struct harness_call *admin, *verify;
	struct harness_secrets live;
	uint64_t seed;
};

/* xorshift64*: the same numbers every time, unless TEST_SEED says otherwise. */
static uint32_t
random_below(struct fixture *f, uint32_t n)
{
	f->seed ^= f->seed >> 12;
	f->seed ^= f->seed << 25;
	f->seed ^= f->seed >> 27;
	return (uint32_t)((f->seed * UINT64_C(2685821657736338717)) >> 32) % n;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *seed = getenv("TEST_SEED");

	f->seed = seed != NULL ? strtoull(seed, NULL, 0) | 1 : UINT64_C(0x9e3779b97f4a7c15);
	f->h = harness_new();
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &f->live));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	harness_call_free(f->admin);
	harness_call_free(f->verify);
	harness_free(f->h);
	free(f);
	return 0;
}

static int
send_raw(struct harness_call *hc, const void *bytes, size_t len)
{
	harness_send_bytes(hc, bytes, len);
	return harness_wait(hc);
}

/* The worker is as good as new. */
static void
works_on(struct fixture *f, struct harness_call *hc)
{
	assert_int_equal(harness_verdict(hc, f->live.secret), FOB__V1__VERDICT__VALID);
	assert_false(hc->worker.call.scratch.exhausted);
	assert_int_equal(hc->worker.call.scratch.used, 0);
}

static int
send_envelope(struct harness_call *hc, const char *method, size_t method_len, const void *body, size_t body_len,
    uint32_t timeout_ms, const char *traceparent)
{
	size_t len;
	uint8_t *bytes = harness_envelope(method, method_len, body, body_len, timeout_ms, traceparent, &len);
	int code = send_raw(hc, bytes, len);

	free(bytes);
	return code;
}

static int
send_method(struct harness_call *hc, const char *method)
{
	return send_envelope(hc, method, strlen(method), NULL, 0, 0, NULL);
}

static uint8_t *
verify_request(struct fixture *f, size_t *len)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_text(f->live.secret);
	return harness_request("fob.v1.Keys/VerifyKey", &in.base, 0, len);
}

static uint8_t *
revoke_request(size_t *len)
{
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	struct harness_token token = harness_token();

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("acme");
	in.kind = FOB__V1__KEY_KIND__SECRET;
	in.generation = 1;
	return harness_request("fob.v1.Admin/RevokeKey", &in.base, 0, len);
}

static void
descriptors_have_their_handlers(void **state)
{
	(void)state;
	dispatch_check();
}

static void
every_method_is_found(void **state)
{
	static const ProtobufCServiceDescriptor *const services[] = { &fob__v1__keys__descriptor,
		&fob__v1__admin__descriptor, &fob__v1__health__descriptor, &fob__v1__cluster__descriptor };
	struct fixture *f = *state;
	char name[128];
	unsigned n = 0;

	for (size_t i = 0; i < 4; i++) {
		for (unsigned k = 0; k < services[i]->n_methods; k++, n++) {
			snprintf(name, sizeof(name), "%s/%s", services[i]->name, services[i]->methods[k].name);
			assert_int_not_equal(send_method(f->admin, name), UNIMPLEMENTED);
			assert_int_equal(send_method(f->verify, name) == PERMISSION_DENIED, i == 1 || i == 3);
		}
	}
	assert_int_equal(n, 18);
	works_on(f, f->admin);
	works_on(f, f->verify);
}

static void
methods_that_are_not_there(void **state)
{
	static const char *const names[] = { "", "/", "//", "fob.v1.Keys", "fob.v1.Keys/", "/VerifyKey",
		"fob.v1.Keys//VerifyKey", "/fob.v1.Keys/VerifyKey", "fob.v1.Keys/VerifyKey/", "fob.v1.Keys/verifykey",
		"fob.v1.keys/VerifyKey", "fob.v1.Keys/VerifyKey ", " fob.v1.Keys/VerifyKey", "fob.v1.Keys/VerifyKeyX",
		"fob.v1.Keys/VerifyKe", "fob.v1.Key/VerifyKey", "fob.v1.Keyss/VerifyKey", "fob.v1.Keys.VerifyKey",
		"fob.v2.Keys/VerifyKey", "fob.v1.Keys/RollKey", "fob.v1.Admin/VerifyKey", "fob.v1.Health/",
		"fob.v1.Keys\\VerifyKey",
		"fob.v1.Keys/0123456789012345678901234567890123456789012345678901234567890123456789" };
	static const struct {
		const char *bytes;
		size_t len;
	} with_nul[] = { { "fob.v1.Keys/VerifyKey\0", 22 }, { "fob.v1.Keys/Verify\0Key", 22 },
		{ "fob.v1.Keys\0/VerifyKey", 22 }, { "\0fob.v1.Keys/VerifyKey", 22 },
		{ "fob.v1.Keys/VerifyKey\0/x", 24 }, { "\0", 1 }, { "/\0", 2 } };
	struct fixture *f = *state;
	char *longest = malloc(60000);
	size_t len;
	uint8_t *body = verify_request(f, &len);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		bool of_admin = strncmp(names[i], "fob.v1.Admin/", 13) == 0;

		assert_int_equal(
		    send_envelope(f->admin, names[i], strlen(names[i]), body, len, 0, NULL), UNIMPLEMENTED);
		assert_int_equal(send_envelope(f->verify, names[i], strlen(names[i]), body, len, 0, NULL),
		    of_admin ? PERMISSION_DENIED : UNIMPLEMENTED);
	}
	for (size_t i = 0; i < sizeof(with_nul) / sizeof(with_nul[0]); i++)
		assert_int_equal(
		    send_envelope(f->admin, with_nul[i].bytes, with_nul[i].len, NULL, 0, 0, NULL), UNIMPLEMENTED);
	for (int fill = 0; fill < 256; fill++) {
		memset(longest, fill, 60000);
		assert_int_equal(send_envelope(f->admin, longest, 60000, NULL, 0, 0, NULL), UNIMPLEMENTED);
		longest[1000] = '/';
		assert_int_equal(send_envelope(f->admin, longest, 60000, NULL, 0, 0, NULL), UNIMPLEMENTED);
	}
	works_on(f, f->admin);
	free(longest);
	free(body);
}

static void
a_verify_listener_serves_no_admin(void **state)
{
	struct fixture *f = *state;
	size_t len;
	uint8_t *bytes = revoke_request(&len);

	assert_int_equal(send_raw(f->verify, bytes, len), PERMISSION_DENIED);
	works_on(f, f->verify);
	assert_int_equal(send_raw(f->admin, bytes, len), OK);
	free(bytes);
	assert_int_equal(harness_verdict(f->verify, f->live.secret), FOB__V1__VERDICT__REVOKED);
	/* Whatever else is wrong with it, as PROTOCOL.md says. */
	assert_int_equal(send_method(f->verify, "fob.v1.Admin/Nothing"), PERMISSION_DENIED);
	assert_int_equal(send_method(f->verify, "fob.v1.Admin/"), PERMISSION_DENIED);
	assert_int_equal(send_method(f->admin, "fob.v1.Admin/Nothing"), UNIMPLEMENTED);
}

/* The agent is allowed nothing but to exchange transactions; and nobody else may do that, an administrator included. */
static void
a_cluster_listener_serves_the_agent(void **state)
{
	static const char *const refused[] = { "fob.v1.Keys/VerifyKey", "fob.v1.Keys/Nothing", "fob.v1.Admin/RevokeKey",
		"fob.v1.Admin/ClusterStatus", "fob.v1.Admin/Nothing", "fob.v1.Health/Nothing", "Nothing", "" };
	struct fixture *f = *state;
	struct harness_call *cluster = harness_call_new(f->h, ROLE_CLUSTER);
	size_t len;
	uint8_t *bytes = verify_request(f, &len);

	assert_int_equal(send_raw(cluster, bytes, len), PERMISSION_DENIED);
	free(bytes);
	bytes = revoke_request(&len);
	assert_int_equal(send_raw(cluster, bytes, len), PERMISSION_DENIED);
	free(bytes);
	works_on(f, f->verify);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(send_method(cluster, refused[i]), PERMISSION_DENIED);
	assert_int_equal(send_method(cluster, "fob.v1.Health/Check"), OK);
	assert_int_equal(send_method(cluster, "fob.v1.Cluster/Nothing"), UNIMPLEMENTED);
	/* This one reaches its handler, which misses the session. */
	assert_int_equal(send_method(cluster, "fob.v1.Cluster/Exchange"), INVALID_ARGUMENT);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(send_method(i == 0 ? f->admin : f->verify, "fob.v1.Cluster/Exchange"), PERMISSION_DENIED);
		assert_int_equal(send_method(i == 0 ? f->admin : f->verify, "fob.v1.Cluster/Nothing"), PERMISSION_DENIED);
	}
	harness_call_free(cluster);
}

static void
every_truncation(void **state)
{
	struct fixture *f = *state;
	size_t len;
	uint8_t *bytes = verify_request(f, &len), *copy;

	for (int i = 0; i < 2; i++) {
		for (size_t n = 0; n < len; n++) {
			/* In memory of exactly its length, so that a sanitizer notices a read behind its end. */
			copy = malloc(n + (n == 0));
			memcpy(copy, bytes, n);
			assert_int_not_equal(send_raw(f->admin, copy, n), OK);
			free(copy);
		}
		works_on(f, f->admin);
		free(bytes);
		bytes = revoke_request(&len);
	}
	free(bytes);
}

/* The envelope is right, its body cut. */
static void
every_truncation_of_a_body(void **state)
{
	struct fixture *f = *state;
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	struct harness_token token = harness_token();
	uint8_t body[256];
	size_t len;

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("acme");
	in.kind = FOB__V1__KEY_KIND__SECRET;
	in.generation = 1;
	len = fob__v1__revoke_key_request__pack(&in, body);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(
		    send_envelope(f->admin, "fob.v1.Admin/RevokeKey", 22, body, n, 0, NULL), INVALID_ARGUMENT);
	works_on(f, f->admin);
	assert_int_equal(send_envelope(f->admin, "fob.v1.Admin/RevokeKey", 22, body, len, 0, NULL), OK);
}

static void
random_bytes(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[600];

	for (int i = 0; i < 10000; i++) {
		size_t len = random_below(f, i % 10 == 0 ? sizeof(bytes) : 24);

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)random_below(f, 256);
		assert_int_not_equal(send_raw(f->admin, bytes, len), OK);
	}
	works_on(f, f->admin);
}

/* Decode with protobuf-c: is this still a VerifyKey request for the test's key? */
static bool
asks_for_our_key(struct fixture *f, const uint8_t *bytes, size_t len)
{
	Fob__Rpc__V1__Request *envelope = fob__rpc__v1__request__unpack(NULL, len, bytes);
	Fob__V1__VerifyKeyRequest *in = NULL;
	bool ours;

	if (envelope != NULL)
		in = fob__v1__verify_key_request__unpack(NULL, envelope->body.len, envelope->body.data);
	ours = in != NULL && in->credential_case == FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET &&
	    harness_is(&in->secret, f->live.secret) && harness_is(&envelope->method, "fob.v1.Keys/VerifyKey");
	if (in != NULL)
		fob__v1__verify_key_request__free_unpacked(in, NULL);
	if (envelope != NULL)
		fob__rpc__v1__request__free_unpacked(envelope, NULL);
	return ours;
}

static void
mutate(struct fixture *f, uint8_t *bytes, size_t *len)
{
	for (uint32_t n = 1 + random_below(f, 3); n > 0; n--) {
		uint32_t at = random_below(f, (uint32_t)*len);

		switch (random_below(f, 5)) {
		case 0:
			bytes[at] ^= (uint8_t)(1U << random_below(f, 8));
			break;
		case 1:
			bytes[at] = (uint8_t)random_below(f, 256);
			break;
		case 2:
			memmove(bytes + at, bytes + at + 1, *len - at - 1);
			*len -= *len > 1;
			break;
		case 3:
			memmove(bytes + at + 1, bytes + at, *len - at);
			bytes[at] = (uint8_t)random_below(f, 256);
			++*len;
			break;
		default:
			bytes[at] = 0xff;
		}
	}
}

static void
mutated_verifies(void **state)
{
	struct fixture *f = *state;
	size_t len, n;
	uint8_t *right = verify_request(f, &len), *bytes = malloc(len + 8);
	Fob__V1__VerifyKeyResponse *v;
	unsigned valid = 0;

	for (int i = 0; i < 10000; i++) {
		memcpy(bytes, right, len);
		n = len;
		mutate(f, bytes, &n);
		if (send_raw(f->verify, bytes, n) != OK || !memmem(bytes, n, "fob.v1.Keys/VerifyKey", 21) ||
		    memmem(bytes, n, "fob.v1.Keys/VerifyKeys", 22))
			continue;
		v = harness_body(f->verify, &fob__v1__verify_key_response__descriptor);
		assert_int_not_equal(v->verdict, FOB__V1__VERDICT__VERDICT_UNSPECIFIED);
		if (v->verdict == FOB__V1__VERDICT__VALID) {
			assert_true(asks_for_our_key(f, bytes, n));
			valid++;
		}
	}
	assert_in_range(valid, 0, 5000);
	works_on(f, f->verify);
	free(right);
	free(bytes);
}

/* All the other methods: a reply each, and no more than that is asked. */
static void
mutated_others(void **state)
{
	static const char *const names[] = { "fob.v1.Admin/CreateAccount", "fob.v1.Admin/RollKey",
		"fob.v1.Admin/RevokeKey", "fob.v1.Admin/SuspendAccount", "fob.v1.Admin/ResumeAccount",
		"fob.v1.Admin/ListKeys", "fob.v1.Admin/ListAccounts", "fob.v1.Admin/ListEvents", "fob.v1.Health/Check",
		"fob.v1.Health/Stats", "fob.v1.Keys/VerifyKeys", "fob.v1.Admin/ImportAccounts" };
	struct fixture *f = *state;
	uint8_t body[128], bytes[512];
	size_t len, body_len, n;

	for (int i = 0; i < 8000; i++) {
		const char *name = names[(size_t)i % (sizeof(names) / sizeof(names[0]))];
		Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
		struct harness_token token = harness_token();
		uint8_t *right;

		/* Fields 1 to 3 of this one are those of most of them. */
		in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
		in.environment = FOB__V1__ENVIRONMENT__LIVE;
		in.account = harness_text("acme");
		in.kind = FOB__V1__KEY_KIND__SECRET;
		body_len = fob__v1__roll_key_request__pack(&in, body);
		mutate(f, body, &body_len);
		right = harness_envelope(name, strlen(name), body, body_len, 0, NULL, &len);
		memcpy(bytes, right, len);
		free(right);
		n = len;
		if (i % 2 == 0)
			mutate(f, bytes, &n);
		send_raw(f->admin, bytes, n);
	}
	assert_int_equal(send_method(f->admin, "fob.v1.Health/Stats"), OK);
}

/* ---- more memory than a request may have ---- */

static void
bombs(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = malloc(LIMIT_REQUEST);
	const char *method = "fob.v1.Keys/VerifyKeys";
	size_t len;
	uint8_t *request;

	/* Unknown fields: tag 15, varint 0. In the envelope, then in a body, then as items. */
	for (size_t i = 0; i + 1 < LIMIT_REQUEST; i += 2) {
		bytes[i] = 0x78;
		bytes[i + 1] = 0;
	}
	assert_int_equal(send_raw(f->verify, bytes, LIMIT_REQUEST), RESOURCE_EXHAUSTED);
	works_on(f, f->verify);
	request = harness_envelope(method, strlen(method), bytes, LIMIT_REQUEST - 100, 0, NULL, &len);
	assert_int_equal(send_raw(f->verify, request, len), RESOURCE_EXHAUSTED);
	works_on(f, f->verify);
	free(request);
	for (size_t i = 0; i + 1 < LIMIT_REQUEST; i += 2) {
		bytes[i] = 0x0a;
		bytes[i + 1] = 0;
	}
	request = harness_envelope(method, strlen(method), bytes, LIMIT_REQUEST - 100, 0, NULL, &len);
	assert_int_equal(send_raw(f->verify, request, len), RESOURCE_EXHAUSTED);
	works_on(f, f->verify);
	free(request);
	/* As many as fit into the memory, but more than a batch holds. */
	request = harness_envelope(method, strlen(method), bytes, 2 * 257, 0, NULL, &len);
	assert_int_equal(send_raw(f->verify, request, len), INVALID_ARGUMENT);
	assert_non_null(strstr(f->verify->message, "256"));
	works_on(f, f->verify);
	free(request);
	free(bytes);
}

static void
a_few_unknown_fields_are_fine(void **state)
{
	struct fixture *f = *state;
	size_t len;
	uint8_t *bytes = verify_request(f, &len), *more = malloc(len + 4);

	memcpy(more, bytes, len);
	memcpy(more + len, "\x78\x01\x78\x02", 4);
	assert_int_equal(send_raw(f->verify, more, len + 4), OK);
	free(bytes);
	free(more);
}

/* A generation of 2^32 + 1 is not the first, nor a timeout of 2^32 the default. */
static void
numbers_that_do_not_fit(void **state)
{
	static const uint8_t generation[] = { 0x28, 0x81, 0x80, 0x80, 0x80, 0x10 };
	static const uint8_t timeout[] = { 0x18, 0x80, 0x80, 0x80, 0x80, 0x10 };
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	struct harness_token token = harness_token();
	struct fixture *f = *state;
	uint8_t body[256], *bytes, *longer;
	size_t len;

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("acme");
	in.kind = FOB__V1__KEY_KIND__SECRET;
	len = fob__v1__revoke_key_request__pack(&in, body);
	memcpy(body + len, generation, sizeof(generation));
	assert_int_equal(send_envelope(f->admin, "fob.v1.Admin/RevokeKey", 22, body, len + sizeof(generation), 0, NULL),
	    INVALID_ARGUMENT);
	works_on(f, f->admin);
	bytes = verify_request(f, &len);
	assert_non_null(longer = malloc(len + sizeof(timeout)));
	memcpy(longer, bytes, len);
	memcpy(longer + len, timeout, sizeof(timeout));
	assert_int_equal(send_raw(f->verify, longer, len), OK);
	assert_int_equal(send_raw(f->verify, longer, len + sizeof(timeout)), INVALID_ARGUMENT);
	free(longer);
	free(bytes);
}

static void
the_largest_request(void **state)
{
	struct fixture *f = *state;
	uint8_t *secret = malloc(65000);
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	Fob__V1__VerifyKeyResponse *v;

	memset(secret, 'x', 65000);
	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_bytes(secret, 65000);
	assert_int_equal(harness_ask(f->verify, "fob.v1.Keys/VerifyKey", &in.base), OK);
	v = harness_body(f->verify, &fob__v1__verify_key_response__descriptor);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	works_on(f, f->verify);
	free(secret);
}

/* ---- the envelope's other fields ---- */

static void
timeouts(void **state)
{
	struct fixture *f = *state;
	int64_t before, after;

	assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 60000, NULL), OK);
	assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 60001, NULL), INVALID_ARGUMENT);
	assert_int_equal(
	    send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, UINT32_MAX, NULL), INVALID_ARGUMENT);

	before = clock_boot_ms();
	assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 250, NULL), OK);
	after = clock_boot_ms();
	assert_in_range(f->verify->deadline_ms, before + 250, after + 250);
	f->h->config.timeout_ms = 1234;
	before = clock_boot_ms();
	assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 0, NULL), OK);
	assert_in_range(f->verify->deadline_ms, before + 1234, clock_boot_ms() + 1234);
}

static void
traceparents(void **state)
{
	static const char right[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	static const char *const wrong[] = { "", "00", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473\n-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-g1",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01" };
	struct fixture *f = *state;

	assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 0, right), OK);
	assert_string_equal(f->verify->traceparent, right);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 0, right), OK);
		assert_int_equal(send_envelope(f->verify, "fob.v1.Health/Check", 19, NULL, 0, 0, wrong[i]), OK);
		assert_string_equal(f->verify->traceparent, "");
	}
}

static void
refusing(void **state)
{
	struct fixture *f = *state;

	f->verify->sent++;
	dispatch_refuse(&f->verify->worker, &f->verify->origin, FAULT_RESOURCE_EXHAUSTED, "too many");
	assert_int_equal(harness_wait(f->verify), RESOURCE_EXHAUSTED);
	assert_string_equal(f->verify->message, "too many");
	works_on(f, f->verify);
}

/* The log line of a refusal has nothing of the request before it, whose worker it uses. */
static void
a_refusal_is_logged_by_itself(void **state)
{
	static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	struct fixture *f = *state;
	char text[4096] = "", *line;
	int saved = dup(STDERR_FILENO), file = memfd_create("log", MFD_CLOEXEC);

	assert_true(saved >= 0 && dup2(file, STDERR_FILENO) >= 0);
	log_setup(LOG_DEBUG, false);
	send_envelope(f->verify, "fob.v1.Keys/VerifyKey", 21, NULL, 0, 0, trace);
	harness_call_forget(f->verify);
	f->verify->sent++;
	dispatch_refuse(&f->verify->worker, &f->verify->origin, FAULT_RESOURCE_EXHAUSTED, "too many");
	harness_wait(f->verify);
	log_setup(LOG_ERROR, false);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	close(file);
	line = strchr(text, '\n');
	assert_non_null(line);
	*line++ = '\0';
	assert_non_null(strstr(text, "VerifyKey"));
	assert_non_null(strstr(text, trace));
	assert_non_null(strstr(text, "credential"));
	assert_non_null(strstr(line, "too many"));
	assert_null(strstr(line, "VerifyKey"));
	assert_null(strstr(line, trace));
	assert_null(strstr(line, "credential"));
}

/* ---- faults and their codes ---- */

static void
codes(void **state)
{
	static const struct {
		int fault, code;
	} table[] = { { FAULT_CANCELLED, 1 }, { FAULT_INVALID_ARGUMENT, 3 }, { FAULT_DEADLINE_EXCEEDED, 4 },
		{ FAULT_NOT_FOUND, 5 }, { FAULT_ALREADY_EXISTS, 6 }, { FAULT_PERMISSION_DENIED, 7 },
		{ FAULT_RESOURCE_EXHAUSTED, 8 }, { FAULT_FAILED_PRECONDITION, 9 }, { FAULT_ABORTED, 10 },
		{ FAULT_UNIMPLEMENTED, 12 }, { FAULT_INTERNAL, 13 }, { FAULT_UNAVAILABLE, 14 }, { FAULT_CORRUPT, 14 },
		{ FAULT_IO, 14 }, { FAULT_READERS, 14 }, { FAULT_FULL, 8 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(call_code(-table[i].fault), table[i].code);
		f->verify->worker.call.message[0] = '\0';
		if (table[i].fault >= FAULT_CORRUPT)
			assert_int_not_equal(call_message(&f->verify->worker.call, -table[i].fault)[0], '\0');
		assert_int_equal(call_fault(&f->verify->worker.call, (enum fault)table[i].fault, "%s %d", "why", 7),
		    -table[i].fault);
		assert_string_equal(call_message(&f->verify->worker.call, -table[i].fault), "why 7");
	}
	/* A message that is too long is cut, not written past its end. */
	call_fault(&f->verify->worker.call, FAULT_INTERNAL, "%0500d", 1);
	assert_int_equal(strlen(f->verify->worker.call.message), LIMIT_MESSAGE - 1);
}

/* A message never outlives its request. */
static void
a_message_is_told_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_method(f->verify, "fob.v1.Keys/VerifyKey"), INVALID_ARGUMENT);
	assert_non_null(strstr(f->verify->message, "credential"));
	works_on(f, f->verify);
	assert_string_equal(f->verify->message, "");
}

static void
environments(void **state)
{
	struct fixture *f = *state;
	struct call *call = &f->admin->worker.call;
	struct engine *test;
	int fault;

	for (int e = -1; e < 5; e++) {
		fault = 0;
		if (e == 1 || e == 2) {
			assert_ptr_equal(call_engine(call, e, &fault), f->h->service.engines[e - 1]);
			assert_int_equal(fault, 0);
		} else {
			assert_null(call_engine(call, e, &fault));
			assert_int_equal(fault, -FAULT_INVALID_ARGUMENT);
		}
	}
	test = f->h->service.engines[ENVIRONMENT_TEST];
	f->h->service.engines[ENVIRONMENT_TEST] = NULL;
	assert_null(call_engine(call, 2, &fault));
	assert_int_equal(fault, -FAULT_FAILED_PRECONDITION);
	f->h->service.engines[ENVIRONMENT_TEST] = test;
}

static void
every_reply_is_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t before[CODES], sum = 0;

	for (int i = 0; i < CODES; i++)
		before[i] = harness_answered(f->verify, i);
	works_on(f, f->verify);
	works_on(f, f->verify);
	send_method(f->verify, "x/y");
	send_method(f->verify, "fob.v1.Admin/RollKey");
	send_raw(f->verify, "\xff", 1);
	for (int i = 0; i < CODES; i++)
		sum += harness_answered(f->verify, i) - before[i];
	assert_int_equal(sum, 5);
	assert_int_equal(harness_answered(f->verify, OK) - before[OK], 2);
	assert_int_equal(harness_answered(f->verify, UNIMPLEMENTED) - before[UNIMPLEMENTED], 1);
	assert_int_equal(harness_answered(f->verify, PERMISSION_DENIED) - before[PERMISSION_DENIED], 1);
	assert_int_equal(harness_answered(f->verify, INVALID_ARGUMENT) - before[INVALID_ARGUMENT], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(descriptors_have_their_handlers),
		TEST(every_method_is_found),
		TEST(methods_that_are_not_there),
		TEST(a_verify_listener_serves_no_admin),
		TEST(a_cluster_listener_serves_the_agent),
		TEST(every_truncation),
		TEST(every_truncation_of_a_body),
		TEST(random_bytes),
		TEST(mutated_verifies),
		TEST(mutated_others),
		TEST(bombs),
		TEST(a_few_unknown_fields_are_fine),
		TEST(numbers_that_do_not_fit),
		TEST(the_largest_request),
		TEST(timeouts),
		TEST(traceparents),
		TEST(refusing),
		TEST(a_refusal_is_logged_by_itself),
		TEST(codes),
		TEST(a_message_is_told_once),
		TEST(environments),
		TEST(every_reply_is_counted),
	};

	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
