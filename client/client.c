/*
 * client.c - the calls of fob.h. Never touches a socket, and hands out nothing that the codec has not checked.
 *
 * Single verifies are a struct verify; every other call is a struct request: made, encoded, submitted, answered by
 * request_reply(), ended by request_end(). A batch is one request for each server that it concerns.
 */
#include "client/fob.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/codec.h"
#include "client/error.h"
#include "client/options.h"
#include "client/sized.h"
#include "client/transport.h"
#include "proto/c/basic.h"

#define ENVIRONMENTS 3 /* FOB_ENVIRONMENT_ANY is one: whose server is not known */

struct fob_client {
	struct transport *transport;
	uint32_t timeout_ms;
	bool split; /* environments have servers of their own */

	pthread_mutex_t mutex; /* of the batches that are under way in several messages, which fob_cancel() must find */
	struct batch *batches;
};

/* What every request says, whatever its type. */
struct terms {
	enum fob_environment environment;
	uint32_t timeout_ms;
	const char *traceparent;
};
#define TERMS(request) \
	(struct terms) \
	{ \
		(request).environment, (request).timeout_ms, (request).traceparent \
	}

union result {
	struct fob_created_account *created;
	struct fob_rolled_key *rolled;
	struct fob_key key;
	struct fob_account account;
	struct fob_stats *stats;
	enum fob_health_status health;
	union codec_page *page;
	enum fob_import_outcome *outcomes;
	struct codec_item *items; /* of a batch */
};

/* What a user's callback is called with, by method. */
union callback {
	fob_created_account_cb created;
	fob_rolled_key_cb rolled;
	fob_key_cb key;
	fob_account_cb account;
	fob_import_cb import;
	fob_key_page_cb keys;
	fob_account_page_cb accounts;
	fob_event_page_cb events;
	fob_health_cb health;
	fob_stats_cb stats;
};

struct request {
	struct call call; /* first: the transport hands it back */
	enum method method;
	int fault;
	size_t n; /* outcomes or items */
	uint32_t page_size;
	struct fob_cursor cursor;
	char traceparent[FOB_TRACEPARENT_LEN + 1];
	union callback callback;
	void *arg;
	struct batch *batch; /* whose part this is */
	union result result;
};

/* ---- one call, from start to end ---- */

static int
deadline_make(const struct fob_client *c, uint32_t timeout_ms, int64_t *deadline_ms, struct fob_error *error)
{
	*deadline_ms = 0;
	if (timeout_ms > FOB_TIMEOUT_MAX_MS)
		return error_set(error, FOB_EINVALID_ARGUMENT, "a timeout is at most %d ms", FOB_TIMEOUT_MAX_MS);
	*deadline_ms = transport_now_ms() + (timeout_ms == 0 ? c->timeout_ms : timeout_ms);
	return 0;
}

/*
 * Returns ${to}, or NULL: there is none. It is often passed on from a peer, so one that is not of the form is left out
 * rather than refused.
 */
static const char *
traceparent_take(char to[FOB_TRACEPARENT_LEN + 1], const char *from)
{
	if (from == NULL || strnlen(from, FOB_TRACEPARENT_LEN + 1) != FOB_TRACEPARENT_LEN ||
	    strspn(from, "0123456789abcdef-") != FOB_TRACEPARENT_LEN)
		return NULL;
	memcpy(to, from, FOB_TRACEPARENT_LEN + 1);
	return to;
}

static bool
is_change(enum method method)
{
	return method == METHOD_CREATE_ACCOUNT || method == METHOD_ROLL_KEY || method == METHOD_REVOKE_KEY ||
	    method == METHOD_SUSPEND_ACCOUNT || method == METHOD_RESUME_ACCOUNT || method == METHOD_IMPORT_ACCOUNTS;
}

static int
request_new(
    struct fob_client *c, enum method method, struct terms terms, struct request **request, struct fob_error *error)
{
	struct request *r;
	int64_t deadline_ms;
	int rc;

	*request = NULL;
	if ((unsigned)terms.environment >= ENVIRONMENTS)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the environment is none of ANY, LIVE, TEST");
	if ((rc = deadline_make(c, terms.timeout_ms, &deadline_ms, error)) != 0)
		return rc;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	r->method = method;
	r->call.method = codec_method_name(method);
	r->call.environment = terms.environment;
	r->call.deadline_ms = deadline_ms;
	r->call.change = is_change(method);
	r->call.traceparent = traceparent_take(r->traceparent, terms.traceparent);
	*request = r;
	return 0;
}

/* What was handed out is not in the result any more. */
static void
request_free(struct request *r)
{
	if (r == NULL)
		return;
	codec_body_free(&r->call.body);
	switch (r->method) {
	case METHOD_CREATE_ACCOUNT:
		codec_created_free(r->result.created);
		break;
	case METHOD_ROLL_KEY:
		codec_rolled_free(r->result.rolled);
		break;
	case METHOD_IMPORT_ACCOUNTS:
		free(r->result.outcomes);
		break;
	case METHOD_VERIFY_KEYS:
		free(r->result.items);
		break;
	case METHOD_LIST_KEYS:
	case METHOD_LIST_ACCOUNTS:
	case METHOD_LIST_EVENTS:
		free(r->result.page);
		break;
	case METHOD_STATS:
		free(r->result.stats);
		break;
	default:
		break;
	}
	free(r);
}

static int
request_decode(struct request *r, const uint8_t *p, size_t len)
{
	struct fob_error *error = &r->call.error;

	switch (r->method) {
	case METHOD_VERIFY_KEY:
		break; /* verify_reply()'s */
	case METHOD_VERIFY_KEYS:
		return codec_decode_verify_items(p, len, r->result.items, r->n, error);
	case METHOD_CREATE_ACCOUNT:
		return codec_decode_created(p, len, &r->result.created, error);
	case METHOD_ROLL_KEY:
		return codec_decode_rolled(p, len, &r->result.rolled, error);
	case METHOD_REVOKE_KEY:
		return codec_decode_key(p, len, &r->result.key, error);
	case METHOD_SUSPEND_ACCOUNT:
	case METHOD_RESUME_ACCOUNT:
		return codec_decode_account(r->method, p, len, &r->result.account, error);
	case METHOD_LIST_KEYS:
	case METHOD_LIST_ACCOUNTS:
	case METHOD_LIST_EVENTS:
		return codec_decode_page(r->method, p, len, r->page_size, &r->cursor, &r->result.page, error);
	case METHOD_HEALTH:
		return codec_decode_health(p, len, &r->result.health, error);
	case METHOD_STATS:
		return codec_decode_stats(p, len, &r->result.stats, error);
	case METHOD_IMPORT_ACCOUNTS:
		return codec_decode_import(p, len, r->n, r->result.outcomes, error);
	}
	return error_set(error, FOB_EINTERNAL, "no such method");
}

static bool
request_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct request *r = (struct request *)call;

	r->fault = request_decode(r, p, len);
	return r->fault == FOB_EUNAVAILABLE;
}

/*
 * The server may refuse to look at a change after an earlier attempt lost its reply with the connection. That attempt
 * may have been applied, so the call ends as a missed deadline does, which leaves it open. A refusal by the rules was
 * made with the token at hand, and stands.
 */
static void
leave_open(struct request *r)
{
	char why[sizeof(r->call.error.message)];

	if (!r->call.unanswered || !r->call.change ||
	    (r->fault != FOB_EUNAVAILABLE && r->fault != FOB_ERESOURCE_EXHAUSTED))
		return;
	memcpy(why, r->call.error.message, sizeof(why));
	r->fault = error_set(&r->call.error, FOB_EDEADLINE_EXCEEDED,
	    "it is not known whether it was applied: the connection was lost before the reply, and then: %s", why);
}

/* A call that got no answer has only ever seen replies that were faults, so its result is zero already. */
static void
request_settle(struct request *r, int fault)
{
	if (fault != 0)
		r->fault = fault;
	leave_open(r);
}

/* Run what was made and encoded (${made} is 0) and wait for it. The request stays the caller's. */
static int
request_run(struct fob_client *c, struct request *r, int made, struct fob_error *error)
{
	if (made != 0)
		return made;
	r->call.reply = request_reply;
	request_settle(r, transport_run(c->transport, &r->call));
	if (r->fault != 0 && error != NULL)
		*error = r->call.error;
	return r->fault;
}

static void request_end(struct call *call, int fault);

/* Submit what was made and encoded (${made} is 0). The request is freed by its end, or here when it was not taken. */
static int
request_launch(struct fob_client *c, struct request *r, int made, union callback callback, void *arg, uint64_t *number,
    struct fob_error *error)
{
	int rc = made;

	if (number != NULL)
		*number = 0;
	if (rc == 0) {
		r->callback = callback;
		r->arg = arg;
		r->call.reply = request_reply;
		r->call.end = request_end;
		if ((rc = transport_submit(c->transport, &r->call, number)) == 0)
			return 0;
		if (error != NULL)
			*error = r->call.error;
		if (number != NULL)
			*number = 0;
	}
	request_free(r);
	return rc;
}

static void
request_callback(struct request *r)
{
	const struct fob_error *error = &r->call.error;
	const union callback *cb = &r->callback;
	const bool ok = r->fault == 0;

	switch (r->method) {
	case METHOD_CREATE_ACCOUNT:
		cb->created(r->arg, r->fault, r->result.created, error);
		break;
	case METHOD_ROLL_KEY:
		cb->rolled(r->arg, r->fault, r->result.rolled, error);
		break;
	case METHOD_REVOKE_KEY:
		cb->key(r->arg, r->fault, ok ? &r->result.key : NULL, error);
		break;
	case METHOD_SUSPEND_ACCOUNT:
	case METHOD_RESUME_ACCOUNT:
		cb->account(r->arg, r->fault, ok ? &r->result.account : NULL, error);
		break;
	case METHOD_IMPORT_ACCOUNTS:
		cb->import(r->arg, r->fault, r->result.outcomes, r->n, error);
		break;
	case METHOD_LIST_KEYS:
		cb->keys(r->arg, r->fault, ok ? &r->result.page->keys : NULL, &r->cursor, error);
		break;
	case METHOD_LIST_ACCOUNTS:
		cb->accounts(r->arg, r->fault, ok ? &r->result.page->accounts : NULL, &r->cursor, error);
		break;
	case METHOD_LIST_EVENTS:
		cb->events(r->arg, r->fault, ok ? &r->result.page->events : NULL, &r->cursor, error);
		break;
	case METHOD_HEALTH:
		cb->health(r->arg, r->fault, r->result.health, error);
		break;
	case METHOD_STATS:
		cb->stats(r->arg, r->fault, r->result.stats, error);
		break;
	case METHOD_VERIFY_KEY:
	case METHOD_VERIFY_KEYS:
		break;
	}
}

static void
request_end(struct call *call, int fault)
{
	struct request *r = (struct request *)call;

	request_settle(r, fault);
	request_callback(r);
	request_free(r);
}

/* ---- the client ---- */

int
fob_client_new(const struct fob_options *options, struct fob_client **client, struct fob_error *error)
{
	struct fob_client *c;
	int rc;

	*client = NULL;
	error_clear(error);
	if ((rc = options_check(options, error)) != 0)
		return rc;
	if (sodium_init() < 0 || (c = calloc(1, sizeof(*c))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	c->timeout_ms = options->timeout_ms;
	if ((rc = transport_new(options, &c->transport, error)) != 0) {
		free(c);
		return rc;
	}
	c->split = transport_is_split(c->transport, FOB_ENVIRONMENT_ANY, FOB_ENVIRONMENT_LIVE) ||
	    transport_is_split(c->transport, FOB_ENVIRONMENT_ANY, FOB_ENVIRONMENT_TEST);
	pthread_mutex_init(&c->mutex, NULL);
	*client = c;
	return 0;
}

void
fob_client_free(struct fob_client *client)
{
	if (client == NULL)
		return;
	transport_free(client->transport);
	assert(client->batches == NULL);
	pthread_mutex_destroy(&client->mutex);
	free(client);
}

int
fob_client_fd(const struct fob_client *client)
{
	int fd = transport_fd(client->transport);

	return fd >= 0 ? fd : FOB_EFAILED_PRECONDITION;
}

int
fob_client_dispatch(struct fob_client *client)
{
	return transport_dispatch(client->transport);
}

/* ---- verify ---- */

/* The environment that the prefix of a key names; ANY when there is none. */
static enum fob_environment
prefix_environment(const char *secret, size_t len)
{
	if (len < 8 || (secret[0] != 's' && secret[0] != 'p') || secret[1] != 'k')
		return FOB_ENVIRONMENT_ANY;
	if (memcmp(secret + 2, "_live_", 6) == 0)
		return FOB_ENVIRONMENT_LIVE;
	return memcmp(secret + 2, "_test_", 6) == 0 ? FOB_ENVIRONMENT_TEST : FOB_ENVIRONMENT_ANY;
}

static enum fob_environment
verify_route(const struct fob_client *c, const struct fob_verify_request *request)
{
	enum fob_environment environment = FOB_ENVIRONMENT_ANY;
	char secret[FOB_BASIC_MAX];
	size_t len;

	if (!c->split)
		return FOB_ENVIRONMENT_ANY;
	if (request->secret != NULL)
		return prefix_environment(request->secret, request->secret_len);
	if (request->authorization != NULL &&
	    basic_parse(request->authorization, request->authorization_len, secret, &len, NULL) == 0) {
		environment = prefix_environment(secret, len);
		sodium_memzero(secret, len);
	}
	return environment;
}

struct verify {
	struct call call; /* first: the transport hands it back */
	struct codec_item item;
	struct fob_verification result;
	int fault;
	fob_verify_cb callback;
	void *arg;
	char traceparent[FOB_TRACEPARENT_LEN + 1];
	uint8_t bytes[]; /* the request's inner message */
};

/* For a caller that waits: what an ordinary request takes, on its stack. */
#define VERIFY_BYTES 512

static bool
verify_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct verify *v = (struct verify *)call;

	v->fault = codec_decode_verify(p, len, v->item.required, &v->result, &call->error);
	return v->fault == FOB_EUNAVAILABLE;
}

static void
verify_settle(struct verify *v, int fault)
{
	if (fault == 0)
		fault = v->fault;
	if (fault != 0)
		v->result = (struct fob_verification){ FOB_VERIFICATION_INIT };
	v->fault = fault;
	sodium_memzero(v->bytes, v->call.body.len);
}

static void
verify_end(struct call *call, int fault)
{
	struct verify *v = (struct verify *)call;

	verify_settle(v, fault);
	v->callback(v->arg, v->fault, &v->result, &v->call.error);
	free(v);
}

/* ${request} is of this version's size, and its inner message takes ${len} bytes. */
static void
verify_fill(
    struct fob_client *c, const struct fob_verify_request *request, size_t len, int64_t deadline_ms, struct verify *v)
{
	memset(v, 0, sizeof(*v));
	v->call.method = codec_method_name(METHOD_VERIFY_KEY);
	v->call.body = (struct codec_body){ .p = v->bytes, .len = len };
	v->call.traceparent = traceparent_take(v->traceparent, request->traceparent);
	v->call.environment = verify_route(c, request);
	v->call.deadline_ms = deadline_ms;
	v->call.item = &v->item;
	v->call.reply = verify_reply;
	v->item = (struct codec_item){ .required = request->require_environment,
		.result = &v->result,
		.fault = &v->fault,
		.error = &v->call.error };
	codec_verify_write(request, v->bytes);
}

static int
verify_prepare(struct fob_client *c, const struct fob_verify_request *given, struct fob_verify_request *request,
    size_t *len, int64_t *deadline_ms, struct fob_error *error)
{
	int rc;

	if ((rc = SIZED_TAKE(request, given, "fob_verify_request", error)) != 0 ||
	    (rc = deadline_make(c, request->timeout_ms, deadline_ms, error)) != 0)
		return rc;
	return codec_verify_size(request, len, error);
}

int
fob_verify(
    struct fob_client *c, const struct fob_verify_request *given, struct fob_verification *out, struct fob_error *error)
{
	union {
		struct verify v;
		uint8_t room[sizeof(struct verify) + VERIFY_BYTES];
	} local;
	struct fob_verify_request request;
	struct verify *v = &local.v;
	int64_t deadline_ms;
	size_t len;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_verification", error)) != 0 ||
	    (rc = verify_prepare(c, given, &request, &len, &deadline_ms, error)) != 0)
		return rc;
	if (len > VERIFY_BYTES && (v = malloc(sizeof(*v) + len)) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	verify_fill(c, &request, len, deadline_ms, v);
	verify_settle(v, transport_run(c->transport, &v->call));
	if ((rc = v->fault) == 0)
		sized_give(out, &v->result, sizeof(v->result));
	else if (error != NULL)
		*error = v->call.error;
	if (v != &local.v)
		free(v);
	return rc;
}

int
fob_verify_async(struct fob_client *c, const struct fob_verify_request *given, fob_verify_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct fob_verify_request request;
	struct verify *v;
	int64_t deadline_ms;
	size_t len;
	int rc;

	error_clear(error);
	if (number != NULL)
		*number = 0;
	if ((rc = verify_prepare(c, given, &request, &len, &deadline_ms, error)) != 0)
		return rc;
	if ((v = malloc(sizeof(*v) + len)) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	verify_fill(c, &request, len, deadline_ms, v);
	v->callback = cb;
	v->arg = arg;
	v->call.end = verify_end;
	if ((rc = transport_submit(c->transport, &v->call, number)) == 0)
		return 0;
	if (error != NULL)
		*error = v->call.error;
	if (number != NULL)
		*number = 0;
	sodium_memzero(v->bytes, len);
	free(v);
	return rc;
}

/* ---- batches ---- */

/* One batch and its parts, a request for each server. A part is NULL when the batch has nothing for that server. */
struct batch {
	struct fob_client *client;
	struct request *parts[ENVIRONMENTS];
	uint64_t numbers[ENVIRONMENTS];
	size_t n;
	size_t stride;      /* of the results, while they are decoded: the larger of ours and the caller's */
	size_t result_size; /* the caller's */
	unsigned char *results;
	int *faults;
	struct fob_error error; /* why the first part that failed has failed */
	int fault;              /* of that part */
	bool answered;          /* a part was */
	unsigned left;          /* parts that have been submitted and not ended */
	fob_verify_batch_cb callback;
	void *arg;
	uint64_t number; /* what fob_cancel() knows it by: its first part's */
	struct batch *next, **before;
};

static void
batch_free(struct batch *b)
{
	size_t i;

	if (b == NULL)
		return;
	for (i = 0; i < ENVIRONMENTS; i++)
		request_free(b->parts[i]);
	free(b->results);
	free(b->faults);
	free(b);
}

/* The servers that ${environments} are for, as indexes: environments that share one get the lowest. */
static void
routes_merge(const struct fob_client *c, enum fob_environment *route, size_t n)
{
	size_t i;
	unsigned e;

	for (i = 0; i < n; i++) {
		for (e = 0; e < (unsigned)route[i]; e++) {
			if (!transport_is_split(c->transport, (enum fob_environment)e, route[i])) {
				route[i] = (enum fob_environment)e;
				break;
			}
		}
	}
}

/* The part for ${environment}: those of ${requests} that ${route} sends there. */
static int
part_make(struct batch *b, struct terms terms, const struct fob_verify_request *requests,
    const enum fob_environment *route, enum fob_environment environment, struct fob_error *error)
{
	const struct fob_verify_request *own[FOB_BATCH_MAX];
	struct codec_item *items;
	struct request *r;
	size_t i, n = 0;
	int rc;

	terms.environment = environment;
	if ((rc = request_new(b->client, METHOD_VERIFY_KEYS, terms, &r, error)) != 0)
		return rc;
	b->parts[environment] = r;
	r->batch = b;
	if ((items = calloc(b->n, sizeof(*items))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	r->result.items = items;
	for (i = 0; i < b->n; i++) {
		if (route[i] != environment)
			continue;
		own[n] = &requests[i];
		items[n++] = (struct codec_item){ .required = requests[i].require_environment,
			.result = (struct fob_verification *)(void *)(b->results + i * b->stride),
			.fault = &b->faults[i] };
	}
	r->n = n;
	return codec_encode_verify_batch(own, n, &r->call.body, error);
}

static int
parts_make(struct batch *b, struct terms terms, const struct fob_verify_request *requests, struct fob_error *error)
{
	enum fob_environment route[FOB_BATCH_MAX];
	size_t i;
	int rc;

	for (i = 0; i < b->n; i++)
		route[i] = verify_route(b->client, &requests[i]);
	routes_merge(b->client, route, b->n);
	for (i = 0; i < b->n; i++) {
		if (b->parts[route[i]] == NULL && (rc = part_make(b, terms, requests, route, route[i], error)) != 0)
			return rc;
	}
	return 0;
}

/* ${request} is of this version's size. */
static int
batch_make(struct batch *b, const struct fob_verify_batch_request *request, struct fob_error *error)
{
	const struct terms terms = { FOB_ENVIRONMENT_ANY, request->timeout_ms, request->traceparent };
	const size_t own = sizeof(struct fob_verification);
	struct fob_verify_request *requests;
	size_t i;
	int rc = 0;

	b->n = request->n;
	b->result_size = request->result_size;
	b->stride = b->result_size > own ? b->result_size : own;
	b->results = calloc(b->n, b->stride);
	b->faults = calloc(b->n, sizeof(b->faults[0]));
	requests = calloc(b->n, sizeof(*requests));
	if (b->results == NULL || b->faults == NULL || requests == NULL)
		rc = error_set(error, FOB_EINTERNAL, "out of memory");
	for (i = 0; rc == 0 && i < b->n; i++)
		rc = sized_take(&requests[i], sizeof(requests[i]),
		    SIZED_AT(request->requests, i, request->request_size), "struct fob_verify_request", error);
	if (rc == 0)
		rc = parts_make(b, terms, requests, error);
	free(requests);
	return rc;
}

static int
batch_new(
    struct fob_client *c, const struct fob_verify_batch_request *request, struct batch **batch, struct fob_error *error)
{
	struct batch *b;
	int rc;

	*batch = NULL;
	if ((rc = sized_check_stride(request->request_size, "struct fob_verify_request", error)) != 0 ||
	    (rc = sized_check_stride(request->result_size, "struct fob_verification", error)) != 0)
		return rc;
	if (request->n < 1 || request->n > FOB_BATCH_MAX)
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "a batch has 1 to %d items, not %zu", FOB_BATCH_MAX, request->n);
	if ((b = calloc(1, sizeof(*b))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	b->client = c;
	if ((rc = batch_make(b, request, error)) != 0) {
		batch_free(b);
		return rc;
	}
	*batch = b;
	return 0;
}

/* Called once for each part, by one thread at a time. */
static void
part_settle(struct request *r, int fault)
{
	struct batch *b = r->batch;
	size_t i;

	request_settle(r, fault);
	if (r->fault == 0) {
		b->answered = true;
		return;
	}
	b->fault = r->fault;
	b->error = r->call.error;
	for (i = 0; i < r->n; i++)
		*r->result.items[i].fault = r->fault;
}

/* To what its user sees: results of the user's size, and a fault of the whole only when no part was answered. */
static void
batch_settle(struct batch *b)
{
	size_t i;

	for (i = 0; i < b->n; i++) {
		unsigned char *from = b->results + i * b->stride, *to = b->results + i * b->result_size;

		if (b->faults[i] != 0)
			memset(from, 0, b->stride);
		if (from != to)
			memmove(to, from, b->result_size);
		memcpy(to, &b->result_size, sizeof(b->result_size));
	}
	if (b->answered) {
		b->fault = 0;
		error_clear(&b->error);
	}
}

/* ${results} and ${faults} are ${request}'s outputs: none of them was answered. */
static int
batch_refuse(const struct fob_verify_batch_request *request, struct fob_verification *results, int *faults, int fault)
{
	size_t i;

	for (i = 0; i < request->n; i++)
		faults[i] = fault;
	if (sized_check_stride(request->result_size, "", NULL) == 0)
		memset(results, 0, request->n * request->result_size);
	return fault;
}

static void
batch_run(struct batch *b)
{
	struct transport *t = b->client->transport;
	bool taken[ENVIRONMENTS] = { false };
	struct request *r;
	size_t i;
	int rc;

	for (i = 0; i < ENVIRONMENTS; i++) {
		if ((r = b->parts[i]) == NULL)
			continue;
		r->call.reply = request_reply;
		taken[i] = (rc = transport_submit(t, &r->call, NULL)) == 0;
		if (!taken[i])
			part_settle(r, rc);
	}
	for (i = 0; i < ENVIRONMENTS; i++) {
		if (taken[i])
			part_settle(b->parts[i], transport_wait(t, &b->parts[i]->call));
	}
	batch_settle(b);
}

int
fob_verify_batch(struct fob_client *c, const struct fob_verify_batch_request *given, struct fob_verification *results,
    int *faults, struct fob_error *error)
{
	struct fob_verify_batch_request request;
	struct batch *b;
	int rc;

	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_verify_batch_request", error)) != 0)
		return rc;
	if ((rc = batch_new(c, &request, &b, error)) != 0)
		return batch_refuse(&request, results, faults, rc);
	batch_run(b);
	memcpy(results, b->results, b->n * b->result_size);
	memcpy(faults, b->faults, b->n * sizeof(faults[0]));
	rc = b->fault;
	if (error != NULL)
		*error = b->error;
	batch_free(b);
	return rc;
}

static void
part_end(struct call *call, int fault)
{
	struct request *r = (struct request *)call;
	struct batch *b = r->batch;
	bool last;

	pthread_mutex_lock(&b->client->mutex);
	part_settle(r, fault);
	last = --b->left == 0;
	if (last && b->before != NULL) {
		if ((*b->before = b->next) != NULL)
			b->next->before = b->before;
	}
	pthread_mutex_unlock(&b->client->mutex);
	if (!last)
		return;
	batch_settle(b);
	b->callback(
	    b->arg, b->fault, (const struct fob_verification *)(const void *)b->results, b->faults, b->n, &b->error);
	batch_free(b);
}

/*
 * The mutex keeps parts from ending before all have been submitted: the end of the last one calls the callback, and a
 * part that is refused here has no end.
 * Returns: whether a part was taken. Then ${b} is its parts', and *${number} is what fob_cancel() takes.
 */
static bool
batch_submit(struct batch *b, uint64_t *number)
{
	struct fob_client *c = b->client;
	struct request *r;
	bool taken;
	size_t i;
	int rc;

	pthread_mutex_lock(&c->mutex);
	for (i = 0; i < ENVIRONMENTS; i++) {
		if ((r = b->parts[i]) == NULL)
			continue;
		r->call.reply = request_reply;
		r->call.end = part_end;
		if ((rc = transport_submit(c->transport, &r->call, &b->numbers[i])) != 0) {
			b->numbers[i] = 0;
			part_settle(r, rc);
			continue;
		}
		b->left++;
		*number = *number == 0 ? b->numbers[i] : *number;
	}
	if (b->left > 1) {
		b->number = *number;
		b->before = &c->batches;
		if ((b->next = c->batches) != NULL)
			b->next->before = &b->next;
		c->batches = b;
	}
	taken = b->left > 0;
	pthread_mutex_unlock(&c->mutex);
	return taken;
}

int
fob_verify_batch_async(struct fob_client *c, const struct fob_verify_batch_request *given, fob_verify_batch_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct fob_verify_batch_request request;
	uint64_t own_number;
	struct batch *b;
	int rc;

	error_clear(error);
	if (number == NULL)
		number = &own_number;
	*number = 0;
	if ((rc = SIZED_TAKE(&request, given, "fob_verify_batch_request", error)) != 0 ||
	    (rc = batch_new(c, &request, &b, error)) != 0)
		return rc;
	b->callback = cb;
	b->arg = arg;
	if (batch_submit(b, number))
		return 0;
	rc = b->fault;
	if (error != NULL)
		*error = b->error;
	batch_free(b);
	return rc;
}

/* ---- cancelling ---- */

int
fob_cancel(struct fob_client *c, uint64_t number)
{
	bool cancelled = false;
	struct batch *b;
	size_t i;

	pthread_mutex_lock(&c->mutex);
	for (b = c->batches; b != NULL && b->number != number; b = b->next)
		continue;
	for (i = 0; b != NULL && i < ENVIRONMENTS; i++)
		cancelled = (b->numbers[i] != 0 && transport_cancel(c->transport, b->numbers[i])) || cancelled;
	pthread_mutex_unlock(&c->mutex);
	if (b == NULL)
		cancelled = transport_cancel(c->transport, number);
	return cancelled ? 0 : FOB_ENOT_FOUND;
}

/* ---- changes ---- */

/* The caller's token, or one of our own: in any case the same for every resend, being part of the encoded body. */
static void
token_take(const void *given, uint8_t token[FOB_TOKEN_LEN])
{
	if (given != NULL)
		memcpy(token, given, FOB_TOKEN_LEN);
	else
		randombytes_buf(token, FOB_TOKEN_LEN);
}

/*
 * Each ..._make() takes the caller's request and makes a struct request of it, which is the caller's to free, also after
 * a fault.
 */
static int
account_make(struct fob_client *c, enum method method, const struct fob_account_request *given, struct request **r,
    struct fob_error *error)
{
	struct fob_account_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_account_request", error)) != 0 ||
	    (rc = request_new(c, method, TERMS(request), r, error)) != 0)
		return rc;
	token_take(request.token, token);
	rc = codec_encode_account(method, &request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
roll_make(struct fob_client *c, const struct fob_roll_request *given, struct request **r, struct fob_error *error)
{
	struct fob_roll_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_roll_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_ROLL_KEY, TERMS(request), r, error)) != 0)
		return rc;
	token_take(request.token, token);
	rc = codec_encode_roll(&request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
revoke_make(struct fob_client *c, const struct fob_revoke_request *given, struct request **r, struct fob_error *error)
{
	struct fob_revoke_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_revoke_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_REVOKE_KEY, TERMS(request), r, error)) != 0)
		return rc;
	token_take(request.token, token);
	rc = codec_encode_revoke(&request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
import_make(struct fob_client *c, const struct fob_import_request *request, struct request **r, struct fob_error *error)
{
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	if ((rc = request_new(c, METHOD_IMPORT_ACCOUNTS, TERMS(*request), r, error)) != 0)
		return rc;
	token_take(request->token, token);
	rc = codec_encode_import(request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	if (rc != 0)
		return rc;
	(*r)->n = request->n;
	if (((*r)->result.outcomes = calloc(request->n, sizeof((*r)->result.outcomes[0]))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	return 0;
}

int
fob_create_account(struct fob_client *c, const struct fob_account_request *given, struct fob_created_account **out,
    struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_CREATE_ACCOUNT, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.created;
		r->result.created = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_create_account_async(struct fob_client *c, const struct fob_account_request *given, fob_created_account_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_CREATE_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .created = cb }, arg, number, error);
}

void
fob_created_account_free(struct fob_created_account *created)
{
	codec_created_free(created);
}

int
fob_roll_key(
    struct fob_client *c, const struct fob_roll_request *given, struct fob_rolled_key **out, struct fob_error *error)
{
	struct request *r;
	int rc = roll_make(c, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.rolled;
		r->result.rolled = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_roll_key_async(struct fob_client *c, const struct fob_roll_request *given, fob_rolled_key_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = roll_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .rolled = cb }, arg, number, error);
}

void
fob_rolled_key_free(struct fob_rolled_key *rolled)
{
	codec_rolled_free(rolled);
}

int
fob_revoke_key(
    struct fob_client *c, const struct fob_revoke_request *given, struct fob_key *out, struct fob_error *error)
{
	struct request *r = NULL;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_key", error)) == 0)
		rc = revoke_make(c, given, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		sized_give(out, &r->result.key, sizeof(r->result.key));
	request_free(r);
	return rc;
}

int
fob_revoke_key_async(struct fob_client *c, const struct fob_revoke_request *given, fob_key_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = revoke_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .key = cb }, arg, number, error);
}

static int
account_run(struct fob_client *c, enum method method, const struct fob_account_request *given, struct fob_account *out,
    struct fob_error *error)
{
	struct request *r = NULL;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_account", error)) == 0)
		rc = account_make(c, method, given, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		sized_give(out, &r->result.account, sizeof(r->result.account));
	request_free(r);
	return rc;
}

int
fob_suspend_account(
    struct fob_client *c, const struct fob_account_request *given, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_SUSPEND_ACCOUNT, given, out, error);
}

int
fob_resume_account(
    struct fob_client *c, const struct fob_account_request *given, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_RESUME_ACCOUNT, given, out, error);
}

int
fob_suspend_account_async(struct fob_client *c, const struct fob_account_request *given, fob_account_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_SUSPEND_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .account = cb }, arg, number, error);
}

int
fob_resume_account_async(struct fob_client *c, const struct fob_account_request *given, fob_account_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_RESUME_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .account = cb }, arg, number, error);
}

int
fob_import_accounts(struct fob_client *c, const struct fob_import_request *given, enum fob_import_outcome *outcomes,
    struct fob_error *error)
{
	struct fob_import_request request;
	struct request *r;
	int rc;

	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_import_request", error)) != 0)
		return rc;
	memset(outcomes, 0, request.n * sizeof(*outcomes));
	rc = import_make(c, &request, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		memcpy(outcomes, r->result.outcomes, r->n * sizeof(*outcomes));
	request_free(r);
	return rc;
}

int
fob_import_accounts_async(struct fob_client *c, const struct fob_import_request *given, fob_import_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct fob_import_request request;
	struct request *r = NULL;
	int rc;

	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_import_request", error)) == 0)
		rc = import_make(c, &request, &r, error);
	return request_launch(c, r, rc, (union callback){ .import = cb }, arg, number, error);
}

/* ---- lists ---- */

static int
list_make(struct fob_client *c, enum method method, const struct fob_list_request *given,
    const struct fob_cursor *cursor, struct request **r, struct fob_error *error)
{
	const struct fob_cursor start = { .done = false };
	struct fob_list_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_list_request", error)) != 0 ||
	    (rc = request_new(c, method, TERMS(request), r, error)) != 0)
		return rc;
	(*r)->page_size = request.page_size;
	(*r)->cursor = cursor != NULL ? *cursor : start;
	return codec_encode_list(method, &request, &(*r)->cursor, &(*r)->call.body, error);
}

/* Returns the page, which is the caller's, or NULL: then *${fault} says why not. */
static union codec_page *
list_run(struct fob_client *c, enum method method, const struct fob_list_request *given, struct fob_cursor *cursor,
    int *fault, struct fob_error *error)
{
	union codec_page *page = NULL;
	struct request *r;
	int rc = list_make(c, method, given, cursor, &r, error);

	if ((rc = request_run(c, r, rc, error)) == 0) {
		*cursor = r->cursor;
		page = r->result.page;
		r->result.page = NULL;
	}
	request_free(r);
	*fault = rc;
	return page;
}

int
fob_list_keys(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_key_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_KEYS, given, cursor, &fault, error);

	*out = page != NULL ? &page->keys : NULL;
	return fault;
}

int
fob_list_accounts(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_account_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_ACCOUNTS, given, cursor, &fault, error);

	*out = page != NULL ? &page->accounts : NULL;
	return fault;
}

int
fob_list_events(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_event_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_EVENTS, given, cursor, &fault, error);

	*out = page != NULL ? &page->events : NULL;
	return fault;
}

int
fob_list_keys_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_key_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_KEYS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .keys = cb }, arg, number, error);
}

int
fob_list_accounts_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_account_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_ACCOUNTS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .accounts = cb }, arg, number, error);
}

int
fob_list_events_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_event_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_EVENTS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .events = cb }, arg, number, error);
}

void
fob_key_page_free(struct fob_key_page *page)
{
	free(page);
}

void
fob_account_page_free(struct fob_account_page *page)
{
	free(page);
}

void
fob_event_page_free(struct fob_event_page *page)
{
	free(page);
}

/* ---- health ---- */

static int
health_make(struct fob_client *c, const struct fob_health_request *given, struct request **r, struct fob_error *error)
{
	struct fob_health_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_health_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_HEALTH, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_health(request.service, &(*r)->call.body, error);
}

int
fob_health(
    struct fob_client *c, const struct fob_health_request *given, enum fob_health_status *out, struct fob_error *error)
{
	struct request *r;
	int rc = health_make(c, given, &r, error);

	*out = FOB_HEALTH_STATUS_UNKNOWN;
	if ((rc = request_run(c, r, rc, error)) == 0)
		*out = r->result.health;
	request_free(r);
	return rc;
}

int
fob_health_async(struct fob_client *c, const struct fob_health_request *given, fob_health_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = health_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .health = cb }, arg, number, error);
}

static int
stats_make(struct fob_client *c, const struct fob_stats_request *given, struct request **r, struct fob_error *error)
{
	struct fob_stats_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_stats_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_STATS, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_stats(&(*r)->call.body, error);
}

int
fob_stats(struct fob_client *c, const struct fob_stats_request *given, struct fob_stats **out, struct fob_error *error)
{
	struct request *r;
	int rc = stats_make(c, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.stats;
		r->result.stats = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_stats_async(struct fob_client *c, const struct fob_stats_request *given, fob_stats_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = stats_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .stats = cb }, arg, number, error);
}

void
fob_stats_free(struct fob_stats *stats)
{
	free(stats);
}
