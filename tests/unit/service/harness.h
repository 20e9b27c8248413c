/*
 * harness.h - a whole service in one test program, without sockets: both environments on real storage in a new folder,
 * with clocks that stand still until the test sets them; calls whose reply goes to a buffer; and short functions for
 * the usual requests. Include it after <cmocka.h>. A failed check ends the test.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/cluster.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "service/base/sanitizer.h"
#include "service/rpc/dispatch.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/keys/secret.h"
#include "service/rpc/service.h"
#include "service/rpc/worker.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "tests/unit/service/fixture.h"

#define HARNESS_START_MS INT64_C(1800000000000)
#define HARNESS_DAY_MS INT64_C(86400000)
#define HARNESS_READERS 64
#define HARNESS_REPLY_MAX (1U << 20)

#define HARNESS_SANITIZED (SANITIZER_ADDRESS || SANITIZER_THREAD)

/* ---- the service ---- */

struct harness {
	char folder[FIXTURE_PATH];
	char paths[ENVIRONMENTS][2][600];
	struct fixture_clock clock; /* its times, for both environments */
	struct config config;
	struct service service;
	struct transport_ops transport;
};

static inline struct store_options
harness_store_options(const struct harness *h, enum environment environment)
{
	const struct config_environment *c = &h->config.environments[environment];

	return (struct store_options){ .environment = environment,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = HARNESS_READERS };
}

/* Like engine_open(), but with the test's clock, which the writer must have before it starts. */
static inline struct engine *
harness_engine_open(struct harness *h, enum environment environment)
{
	const struct config_environment *c = &h->config.environments[environment];
	struct store_options options = harness_store_options(h, environment);
	struct engine *engine = calloc(1, sizeof(*engine));
	char why[512] = "";

	assert_non_null(engine);
	engine->environment = environment;
	clock_init_with(&engine->clock, fixture_wall_ns, fixture_boot_ns, &h->clock);
	if (store_init(&options, why, sizeof(why)) != 0 ||
	    store_open(&options, &engine->store, why, sizeof(why)) != 0 ||
	    lastused_open(c->path, 0, &engine->lastused, why, sizeof(why)) != 0 ||
	    writer_start(engine->store, &engine->clock, engine->lastused,
		&(struct order_options){ .max_staleness_ms = 10000, .fresh_until_ms = &engine->fresh_until_ms },
		&engine->writer, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_non_null(engine->snapshot = snapshot_new(engine->store, &options));
	return engine;
}

static inline void
harness_open(struct harness *h)
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		if (h->config.environments[e].configured)
			h->service.engines[e] = harness_engine_open(h, (enum environment)e);
}

/* Calls that have read must have been freed. */
static inline void
harness_close(struct harness *h)
{
	for (int e = 0; e < ENVIRONMENTS; e++) {
		engine_close(h->service.engines[e]);
		h->service.engines[e] = NULL;
	}
}

static inline bool harness_admit(const struct origin *origin);
static inline void harness_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted);

/* A service that is not open yet, so that a test can change its settings. */
static inline struct harness *
harness_prepare(void)
{
	static char names[3][16] = { "tokenize", "tokens.create", "keys.roll" };
	struct harness *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_true(sodium_init() >= 0);
	log_setup(LOG_ERROR, false);
	fixture_folder(h->folder);
	h->clock.wall_ns = HARNESS_START_MS * 1000000;
	h->clock.boot_ns = INT64_C(1000000000);
	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct config_environment *c = &h->config.environments[e];

		snprintf(
		    h->paths[e][0], sizeof(h->paths[e][0]), "%s/%s", h->folder, environment_name((enum environment)e));
		snprintf(h->paths[e][1], sizeof(h->paths[e][1]), "%s/%s.pepper", h->folder,
		    environment_name((enum environment)e));
		*c = (struct config_environment){ .configured = true,
			.path = h->paths[e][0],
			.pepper = h->paths[e][1],
			.ceiling_bytes = 256U << 20,
			.events_kept = 1000000 };
	}
	h->config.publishable_operations[0] = names[0];
	h->config.publishable_operations[1] = names[1];
	h->config.n_publishable_operations = 2;
	h->config.roll_operations[0] = names[2];
	h->config.n_roll_operations = 1;
	h->config.timeout_ms = 60000;
	h->config.connections = 64;
	h->config.in_flight = LIMIT_IN_FLIGHT;
	h->config.drain_ms = 1000;
	h->service.config = &h->config;
	h->service.transport = &h->transport;
	h->transport = (struct transport_ops){ .admit = harness_admit, .reply = harness_reply };
	pthread_mutex_init(&h->service.mutex, NULL);
	h->service.start_ms = HARNESS_START_MS;
	return h;
}

static inline struct harness *
harness_new(void)
{
	struct harness *h = harness_prepare();

	harness_open(h);
	return h;
}

static inline void
harness_free(struct harness *h)
{
	harness_close(h);
	call_free_spares(&h->service);
	pthread_mutex_destroy(&h->service.mutex);
	fixture_remove(h->folder);
	free(h);
}

static inline void
harness_advance(struct harness *h, int64_t ms)
{
	fixture_clock_pass(&h->clock, ms);
}

static inline int64_t
harness_now(struct harness *h, enum environment environment)
{
	return clock_now_ms(&h->service.engines[environment]->clock);
}

/*
 * Flip one bit, ${at} bytes into the value, in every copy of the record of ${digest} in the database file in ${folder}.
 * A store that has the file open sees it at once, as the file is mapped. Returns how many copies there are.
 */
static inline unsigned
harness_flip(const char *folder, const uint8_t digest[RECORD_DIGEST_LEN], size_t at, unsigned bit)
{
	char path[700];
	struct stat st;
	unsigned n = 0;
	uint8_t *map, *p;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(map, MAP_FAILED);
	for (p = map; (p = memmem(p, (size_t)(map + st.st_size - p), digest, RECORD_DIGEST_LEN)) != NULL; p++) {
		p[RECORD_DIGEST_LEN + at] ^= (uint8_t)(1U << bit);
		n++;
	}
	munmap(map, (size_t)st.st_size);
	return n;
}

/* ---- calls ---- */

/* What a transport is for requests: it takes the replies of one worker, and admits every change. */
struct harness_call {
	struct worker worker;
	struct origin origin;
	struct peer peer;
	const char *on_behalf_of; /* in the requests; NULL: nobody */
	pthread_mutex_t lock;
	pthread_cond_t answered;
	unsigned sent;
	unsigned replies;
	/* of the call that was answered last */
	int64_t deadline_ms;
	char traceparent[LIMIT_TRACEPARENT + 1];
	uint8_t request[PEPPER_DIGEST_LEN];
	void (*look)(const struct call *call); /* if not NULL: called as it is answered */
	Fob__Rpc__V1__Response *response;
	ProtobufCMessage *body;
	int code; /* of the last reply */
	char message[LIMIT_MESSAGE + 1];
	size_t len;
	uint8_t bytes[HARNESS_REPLY_MAX];
};

static inline bool
harness_admit(const struct origin *origin)
{
	(void)origin;
	return true;
}

static inline void
harness_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	struct harness_call *hc = origin->connection;
	const struct call *call =
	    (const struct call *)(const void *)((const char *)origin - offsetof(struct call, origin));

	(void)admitted;
	pthread_mutex_lock(&hc->lock);
	if (len <= sizeof(hc->bytes))
		memcpy(hc->bytes, bytes, len);
	hc->len = len;
	hc->deadline_ms = call->deadline_ms;
	memcpy(hc->traceparent, call->traceparent, sizeof(hc->traceparent));
	memcpy(hc->request, call->mutation.request, sizeof(hc->request));
	if (hc->look != NULL)
		hc->look(call);
	hc->replies++;
	pthread_cond_signal(&hc->answered);
	pthread_mutex_unlock(&hc->lock);
}

static inline struct harness_call *
harness_call_new(struct harness *h, enum role role)
{
	struct harness_call *hc = calloc(1, sizeof(*hc));

	assert_non_null(hc);
	pthread_mutex_init(&hc->lock, NULL);
	pthread_cond_init(&hc->answered, NULL);
	assert_int_equal(worker_init(&hc->worker, &h->service), 0);
	hc->origin = (struct origin){ .connection = hc, .role = role, .peer = &hc->peer };
	return hc;
}

static inline void
harness_call_forget(struct harness_call *hc)
{
	if (hc->body != NULL)
		protobuf_c_message_free_unpacked(hc->body, NULL);
	hc->body = NULL;
	if (hc->response != NULL)
		fob__rpc__v1__response__free_unpacked(hc->response, NULL);
	hc->response = NULL;
}

static inline void
harness_call_free(struct harness_call *hc)
{
	harness_call_forget(hc);
	assert_int_equal(hc->replies, hc->sent);
	worker_fini(&hc->worker);
	pthread_cond_destroy(&hc->answered);
	pthread_mutex_destroy(&hc->lock);
	free(hc);
}

static inline void
harness_send_bytes(struct harness_call *hc, const void *bytes, size_t len)
{
	harness_call_forget(hc);
	assert_int_equal(hc->replies, hc->sent);
	hc->sent++;
	dispatch(&hc->worker, &hc->origin, bytes, len, clock_boot_ns());
	dispatch_end(&hc->worker);
}

/* How many requests this worker has answered with ${code}. */
static inline uint64_t
harness_answered(const struct harness_call *hc, int code)
{
	uint64_t n = 0;

	for (int c = 0; c < CLASSES; c++)
		for (int e = 0; e <= ENVIRONMENTS; e++)
			n += hc->worker.tally.answered[c][e][code];
	return n;
}

/* An envelope, packed: to be freed. */
static inline uint8_t *
harness_envelope(const char *method, size_t method_len, const void *body, size_t body_len, uint32_t timeout_ms,
    const char *traceparent, size_t *len)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	uint8_t *bytes;

	request.method = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)method, .len = method_len };
	request.body = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)body, .len = body_len };
	request.timeout_ms = timeout_ms;
	if (traceparent != NULL)
		request.traceparent =
		    (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)traceparent, .len = strlen(traceparent) };
	*len = fob__rpc__v1__request__get_packed_size(&request);
	assert_non_null(bytes = malloc(*len + 1));
	assert_int_equal(fob__rpc__v1__request__pack(&request, bytes), *len);
	return bytes;
}

static inline uint8_t *
harness_request(const char *method, const ProtobufCMessage *in, uint32_t timeout_ms, size_t *len)
{
	size_t body_len = protobuf_c_message_get_packed_size(in);
	uint8_t *body = malloc(body_len + 1), *bytes;

	assert_non_null(body);
	protobuf_c_message_pack(in, body);
	bytes = harness_envelope(method, strlen(method), body, body_len, timeout_ms, NULL, len);
	free(body);
	return bytes;
}

static inline void
harness_start(struct harness_call *hc, const char *method, const ProtobufCMessage *in)
{
	size_t len;
	uint8_t *bytes = harness_request(method, in, 0, &len);

	/* It is the envelope's last field. */
	if (hc->on_behalf_of != NULL) {
		assert_non_null(bytes = realloc(bytes, len + 2 + strlen(hc->on_behalf_of)));
		bytes[len++] = 5 << 3 | 2;
		bytes[len++] = (uint8_t)strlen(hc->on_behalf_of);
		memcpy(bytes + len, hc->on_behalf_of, strlen(hc->on_behalf_of));
		len += strlen(hc->on_behalf_of);
	}
	harness_send_bytes(hc, bytes, len);
	free(bytes);
}

/* Wait for the one reply, and no longer than ${s}. Returns true when it is there, and only it. Allocates nothing. */
static inline bool
harness_await(struct harness_call *hc, unsigned s)
{
	struct timespec at;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += s;
	pthread_mutex_lock(&hc->lock);
	while (hc->replies < hc->sent && rc == 0)
		rc = pthread_cond_timedwait(&hc->answered, &hc->lock, &at);
	pthread_mutex_unlock(&hc->lock);
	return rc == 0 && hc->replies == hc->sent;
}

/* Wait until every change has been given back: the writer does that after the reply. */
static inline void
harness_settle(struct harness *h)
{
	while (atomic_load(&h->service.changes) > 0)
		sched_yield();
}

/* Wait for the one reply, and decode it. Returns its code. */
static inline int
harness_wait(struct harness_call *hc)
{
	assert_true(harness_await(hc, 60));
	assert_in_range(hc->len, 0, sizeof(hc->bytes));
	assert_non_null(hc->response = fob__rpc__v1__response__unpack(NULL, hc->len, hc->bytes));
	hc->code = (int)hc->response->code;
	assert_in_range(hc->response->message.len, 0, LIMIT_MESSAGE);
	snprintf(hc->message, sizeof(hc->message), "%.*s", (int)hc->response->message.len,
	    hc->response->message.len > 0 ? (const char *)hc->response->message.data : "");
	if (hc->code != 0) {
		assert_int_equal(hc->response->body.len, 0);
		assert_int_not_equal(hc->response->message.len, 0);
	}
	return hc->code;
}

static inline void *
harness_body(struct harness_call *hc, const ProtobufCMessageDescriptor *of)
{
	assert_int_equal(hc->code, 0);
	assert_null(hc->body);
	hc->body = protobuf_c_message_unpack(of, NULL, hc->response->body.len, hc->response->body.data);
	assert_non_null(hc->body);
	return hc->body;
}

static inline int
harness_ask(struct harness_call *hc, const char *method, const ProtobufCMessage *in)
{
	harness_start(hc, method, in);
	return harness_wait(hc);
}

/* ---- requests ---- */

struct harness_token {
	uint8_t bytes[LIMIT_TOKEN];
};

static inline struct harness_token
harness_token(void)
{
	struct harness_token t;

	randombytes_buf(t.bytes, sizeof(t.bytes));
	return t;
}

static inline ProtobufCBinaryData
harness_bytes(const void *data, size_t len)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)data, .len = len };
}

static inline ProtobufCBinaryData
harness_text(const char *text)
{
	return harness_bytes(text, strlen(text));
}

static inline bool
harness_is(const ProtobufCBinaryData *field, const char *text)
{
	return field->len == strlen(text) && (field->len == 0 || memcmp(field->data, text, field->len) == 0);
}

#define HARNESS_ENVIRONMENT(e) ((Fob__V1__Environment)((e) + 1))

/* The secrets that a call returned, as strings. */
struct harness_secrets {
	char secret[SECRET_LEN + 1];
	char publishable[SECRET_LEN + 1];
};

static inline void
harness_take_secret(const Fob__V1__NewKey *key, char out[SECRET_LEN + 1])
{
	assert_non_null(key);
	assert_int_equal(key->secret.len, SECRET_LEN);
	memcpy(out, key->secret.data, SECRET_LEN);
	out[SECRET_LEN] = '\0';
}

static inline Fob__V1__CreateAccountResponse *
harness_create(struct harness_call *hc, enum environment environment, const char *account, struct harness_secrets *out)
{
	Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
	struct harness_token token = harness_token();
	Fob__V1__CreateAccountResponse *response;

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = HARNESS_ENVIRONMENT(environment);
	in.account = harness_text(account);
	if (harness_ask(hc, "fob.v1.Admin/CreateAccount", &in.base) != 0)
		return NULL;
	response = harness_body(hc, &fob__v1__create_account_response__descriptor);
	if (out != NULL) {
		harness_take_secret(response->secret_key, out->secret);
		harness_take_secret(response->publishable_key, out->publishable);
	}
	return response;
}

static inline Fob__V1__RollKeyResponse *
harness_roll(struct harness_call *hc, enum environment environment, const char *account, uint32_t grace_s,
    char out[SECRET_LEN + 1])
{
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;
	struct harness_token token = harness_token();
	Fob__V1__RollKeyResponse *response;

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = HARNESS_ENVIRONMENT(environment);
	in.account = harness_text(account);
	grace.seconds = grace_s;
	in.grace = &grace;
	if (harness_ask(hc, "fob.v1.Admin/RollKey", &in.base) != 0)
		return NULL;
	response = harness_body(hc, &fob__v1__roll_key_response__descriptor);
	if (out != NULL)
		harness_take_secret(response->new_key, out);
	return response;
}

static inline int
harness_revoke(struct harness_call *hc, enum environment environment, const char *account, Fob__V1__KeyKind kind,
    uint32_t generation)
{
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	struct harness_token token = harness_token();

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = HARNESS_ENVIRONMENT(environment);
	in.account = harness_text(account);
	in.kind = kind;
	in.generation = generation;
	return harness_ask(hc, "fob.v1.Admin/RevokeKey", &in.base);
}

static inline int
harness_suspend(struct harness_call *hc, enum environment environment, const char *account, bool suspend)
{
	Fob__V1__SuspendAccountRequest in = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;
	Fob__V1__ResumeAccountRequest re = FOB__V1__RESUME_ACCOUNT_REQUEST__INIT;
	struct harness_token token = harness_token();

	in.request_token = re.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = re.environment = HARNESS_ENVIRONMENT(environment);
	in.account = re.account = harness_text(account);
	return suspend ? harness_ask(hc, "fob.v1.Admin/SuspendAccount", &in.base) :
			 harness_ask(hc, "fob.v1.Admin/ResumeAccount", &re.base);
}

/* Returns NULL after a fault, whose code is in hc->code. */
static inline Fob__V1__VerifyKeyResponse *
harness_verify(struct harness_call *hc, const char *secret, const char *operation, Fob__V1__Environment require)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_text(secret);
	in.operation = harness_text(operation);
	in.require_environment = require;
	if (harness_ask(hc, "fob.v1.Keys/VerifyKey", &in.base) != 0)
		return NULL;
	return harness_body(hc, &fob__v1__verify_key_response__descriptor);
}

/* Returns the verdict only; a fault fails the test. */
static inline int
harness_verdict(struct harness_call *hc, const char *secret)
{
	Fob__V1__VerifyKeyResponse *v = harness_verify(hc, secret, "", FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED);

	assert_non_null(v);
	return (int)v->verdict;
}

#endif
