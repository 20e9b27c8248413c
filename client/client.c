/*
 * client.c - the calls of fob.h.
 *
 * Called by libfob's users. Calls codec.c for the bytes of each request and reply, transport.c for their way to the
 * server and back, coalesce.c for single verifies. Never touches a socket, and hands out nothing that the codec has not
 * checked.
 *
 * Every other call is a struct request: made, encoded, submitted, answered by request_reply(), ended by request_end().
 * A synchronous call is an asynchronous one whose caller waits.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/coalesce.h"
#include "client/codec.h"
#include "client/error.h"
#include "client/options.h"
#include "client/transport.h"

struct fob_client {
	struct transport *transport;
	struct coalescer *coalescer;
	uint32_t timeout_ms;
};

/* What a synchronous caller waits on, on its stack. */
struct waiter {
	pthread_mutex_t mutex;
	pthread_cond_t done_cond;
	bool done;
};

struct batch {
	size_t n;
	enum fob_environment *required;
	struct fob_verification *results;
	int *faults;
};

struct imported {
	size_t n;
	enum fob_import_outcome *outcomes; /* the request's */
};

union result {
	struct fob_created_account created;
	struct fob_rolled_key rolled;
	struct fob_key key;
	struct fob_account account;
	struct fob_stats stats;
	enum fob_health_status serving;
	struct imported imported;
	struct batch batch; /* its arrays are the request's */
	struct fob_key_page *keys;
	struct fob_account_page *accounts;
	struct fob_event_page *events;
};

struct request {
	struct call call; /* first: the transport hands it back */
	enum method method;
	uint32_t page_size;
	struct fob_cursor cursor;
	int fault;
	struct waiter *waiter; /* NULL: asynchronous */
	void (*callback)(struct request *);
	union {
		fob_verify_batch_cb batch;
		fob_created_account_cb created;
		fob_rolled_key_cb rolled;
		fob_key_cb key;
		fob_account_cb account;
		fob_import_cb import;
	} user;
	void *arg;
	union result result;
};

/* ---- one call, from start to end ---- */

static struct request *
request_new(enum method method, struct fob_error *error)
{
	struct request *r;

	error_clear(error);
	if ((r = calloc(1, sizeof(*r))) == NULL) {
		error_set(error, FOB_EINTERNAL, "out of memory");
		return NULL;
	}
	r->method = method;
	r->call.method = codec_method_name(method);
	return r;
}

/* Pages that were handed out are not in the result any more. */
static void
request_free(struct request *r)
{
	codec_body_free(&r->call.body);
	if (r->method == METHOD_VERIFY_KEYS) {
		free(r->result.batch.required);
		free(r->result.batch.results);
		free(r->result.batch.faults);
	} else if (r->method == METHOD_IMPORT_ACCOUNTS) {
		free(r->result.imported.outcomes);
	} else if (r->method == METHOD_LIST_KEYS) {
		free(r->result.keys);
	} else if (r->method == METHOD_LIST_ACCOUNTS) {
		free(r->result.accounts);
	} else if (r->method == METHOD_LIST_EVENTS) {
		free(r->result.events);
	}
	/* It may have held a new secret. */
	sodium_memzero(&r->result, sizeof(r->result));
	free(r);
}

static int
request_decode(struct request *r, const uint8_t *p, size_t len)
{
	struct fob_error *error = &r->call.error;
	struct batch *b = &r->result.batch;

	assert((unsigned)r->method <= METHOD_IMPORT_ACCOUNTS);
	switch (r->method) {
	case METHOD_VERIFY_KEY:
		break; /* coalesce.c's */
	case METHOD_VERIFY_KEYS:
		return codec_decode_verify_batch(p, len, b->required, b->n, b->results, b->faults, error);
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
		return codec_decode_keys(p, len, r->page_size, &r->cursor, &r->result.keys, error);
	case METHOD_LIST_ACCOUNTS:
		return codec_decode_accounts(p, len, r->page_size, &r->cursor, &r->result.accounts, error);
	case METHOD_LIST_EVENTS:
		return codec_decode_events(p, len, r->page_size, &r->cursor, &r->result.events, error);
	case METHOD_CHECK:
		return codec_decode_check(p, len, &r->result.serving, error);
	case METHOD_STATS:
		return codec_decode_stats(p, len, &r->result.stats, error);
	case METHOD_IMPORT_ACCOUNTS:
		return codec_decode_import(p, len, r->result.imported.n, r->result.imported.outcomes, error);
	}
	return FOB_EINTERNAL;
}

static bool
request_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct request *r = (struct request *)call;

	r->fault = request_decode(r, p, len);
	return r->fault == FOB_EUNAVAILABLE;
}

static bool
is_mutation(enum method method)
{
	return method == METHOD_CREATE_ACCOUNT || method == METHOD_ROLL_KEY || method == METHOD_REVOKE_KEY ||
	    method == METHOD_SUSPEND_ACCOUNT || method == METHOD_RESUME_ACCOUNT || method == METHOD_IMPORT_ACCOUNTS;
}

/*
 * A refusal to even look at a change says nothing of an earlier attempt, whose reply was lost with its connection: that
 * one may have been applied. So it is told as a deadline is, which leaves it open. A refusal that comes from the rules
 * was made with the token at hand, and stands.
 */
static void
leave_open(struct request *r)
{
	char why[sizeof(r->call.error.message)];

	if (!r->call.unanswered || !is_mutation(r->method) ||
	    (r->fault != FOB_EUNAVAILABLE && r->fault != FOB_ERESOURCE_EXHAUSTED))
		return;
	snprintf(why, sizeof(why), "%s", r->call.error.message);
	r->fault = error_set(&r->call.error, FOB_EDEADLINE_EXCEEDED,
	    "it is not known whether it was applied: the connection was lost before the reply, and then: %s", why);
}

/* A call that got no answer has only ever seen replies that were faults, so its result is zero already. */
static void
request_end(struct call *call, int fault)
{
	struct request *r = (struct request *)call;
	struct waiter *w = r->waiter;
	size_t i;

	if (fault != 0) {
		r->fault = fault;
		for (i = 0; r->method == METHOD_VERIFY_KEYS && i < r->result.batch.n; i++)
			r->result.batch.faults[i] = fault;
	}
	leave_open(r);
	if (w == NULL) {
		r->callback(r);
		request_free(r);
		return;
	}
	pthread_mutex_lock(&w->mutex);
	w->done = true;
	pthread_cond_signal(&w->done_cond);
	pthread_mutex_unlock(&w->mutex);
}

static int
deadline_make(const struct fob_client *c, uint32_t timeout_ms, int64_t *deadline_ms, struct fob_error *error)
{
	*deadline_ms = 0;
	if (timeout_ms > FOB_TIMEOUT_MAX_MS)
		return error_set(error, FOB_EINVALID_ARGUMENT, "a timeout is at most %d ms", FOB_TIMEOUT_MAX_MS);
	*deadline_ms = transport_now_ms() + (timeout_ms == 0 ? c->timeout_ms : timeout_ms);
	return 0;
}

static int
request_submit(struct fob_client *c, struct request *r, uint32_t timeout_ms)
{
	int rc;

	if ((rc = deadline_make(c, timeout_ms, &r->call.deadline_ms, &r->call.error)) != 0)
		return rc;
	r->call.reply = request_reply;
	r->call.end = request_end;
	return transport_submit(c->transport, &r->call);
}

/* Submits and waits. The request is the caller's again. */
static int
request_run(struct fob_client *c, struct request *r, uint32_t timeout_ms, struct fob_error *error)
{
	struct waiter w = { .done = false };
	int rc;

	pthread_mutex_init(&w.mutex, NULL);
	pthread_cond_init(&w.done_cond, NULL);
	r->waiter = &w;
	if ((rc = request_submit(c, r, timeout_ms)) == 0) {
		pthread_mutex_lock(&w.mutex);
		while (!w.done)
			pthread_cond_wait(&w.done_cond, &w.mutex);
		pthread_mutex_unlock(&w.mutex);
		rc = r->fault;
	}
	pthread_cond_destroy(&w.done_cond);
	pthread_mutex_destroy(&w.mutex);
	if (rc != 0 && error != NULL)
		*error = r->call.error;
	return rc;
}

/* Submits what was encoded, if it was; frees it if it was not taken. */
static int
request_launch(struct fob_client *c, struct request *r, int encoded, uint32_t timeout_ms)
{
	int rc = encoded;

	if (rc == 0 && (rc = request_submit(c, r, timeout_ms)) == 0)
		return 0;
	request_free(r);
	return rc;
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
	if ((rc = transport_new(options, &c->transport, error)) != 0 ||
	    (rc = coalescer_new(options, c->transport, &c->coalescer, error)) != 0) {
		transport_free(c->transport);
		free(c);
		return rc;
	}
	*client = c;
	return 0;
}

void
fob_client_free(struct fob_client *client)
{
	if (client == NULL)
		return;
	coalescer_stop(client->coalescer);
	transport_free(client->transport);
	coalescer_free(client->coalescer);
	free(client);
}

/* ---- verify ---- */

static int
verify_prepare(
    struct fob_client *c, const struct fob_verify_request *request, struct verify **verify, struct fob_error *error)
{
	int64_t deadline_ms;
	int rc;

	if ((rc = deadline_make(c, request->timeout_ms, &deadline_ms, error)) != 0)
		return rc;
	return verify_new(request, deadline_ms, verify, error);
}

int
fob_verify(
    struct fob_client *c, const struct fob_verify_request *request, struct fob_verification *v, struct fob_error *error)
{
	struct verify *verify;
	int rc;

	memset(v, 0, sizeof(*v));
	error_clear(error);
	if ((rc = verify_prepare(c, request, &verify, error)) != 0)
		return rc;
	sem_init(&verify->ended, 0, 0);
	if ((rc = coalescer_submit(c->coalescer, verify)) == 0) {
		while (sem_wait(&verify->ended) != 0)
			continue;
		rc = verify->fault;
	}
	if (rc == 0)
		*v = verify->result;
	else if (error != NULL)
		*error = verify->call.error;
	sem_destroy(&verify->ended);
	verify_free(verify);
	return rc;
}

int
fob_verify_async(struct fob_client *c, const struct fob_verify_request *request, fob_verify_cb cb, void *arg)
{
	struct verify *verify;
	int rc;

	if ((rc = verify_prepare(c, request, &verify, NULL)) != 0)
		return rc;
	verify->callback = cb;
	verify->arg = arg;
	if ((rc = coalescer_submit(c->coalescer, verify)) != 0)
		verify_free(verify);
	return rc;
}

static int
batch_encode(struct request *r, const struct fob_verify_request *requests, size_t n, struct fob_error *error)
{
	struct batch *b = &r->result.batch;
	size_t i;
	int rc;

	if ((rc = codec_encode_verify_batch(requests, n, &r->call.body, error)) != 0)
		return rc;
	b->required = calloc(n, sizeof(b->required[0]));
	b->results = calloc(n, sizeof(b->results[0]));
	b->faults = calloc(n, sizeof(b->faults[0]));
	if (b->required == NULL || b->results == NULL || b->faults == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	b->n = n;
	for (i = 0; i < n; i++)
		b->required[i] = requests[i].require_environment;
	return 0;
}

int
fob_verify_batch(struct fob_client *c, const struct fob_verify_request *requests, size_t n, uint32_t timeout_ms,
    struct fob_verification *results, int *faults, struct fob_error *error)
{
	struct request *r;
	size_t i;
	int rc = FOB_EINTERNAL;

	if ((r = request_new(METHOD_VERIFY_KEYS, error)) != NULL && (rc = batch_encode(r, requests, n, error)) == 0)
		rc = request_run(c, r, timeout_ms, error);
	for (i = 0; i < n; i++) {
		faults[i] = rc;
		if (rc == 0) {
			faults[i] = r->result.batch.faults[i];
			results[i] = r->result.batch.results[i];
		} else {
			memset(&results[i], 0, sizeof(results[i]));
		}
	}
	if (r != NULL)
		request_free(r);
	return rc;
}

static void
batch_callback(struct request *r)
{
	const struct batch *b = &r->result.batch;

	r->user.batch(r->arg, r->fault, b->results, b->faults, b->n, &r->call.error);
}

int
fob_verify_batch_async(struct fob_client *c, const struct fob_verify_request *requests, size_t n, uint32_t timeout_ms,
    fob_verify_batch_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(METHOD_VERIFY_KEYS, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = batch_callback;
	r->user.batch = cb;
	r->arg = arg;
	return request_launch(c, r, batch_encode(r, requests, n, NULL), timeout_ms);
}

/* ---- administration ---- */

/* The caller's token, or one of our own: in any case the same for every resend, being part of the encoded body. */
static void
token_take(const struct fob_mutation *m, uint8_t token[FOB_TOKEN_LEN])
{
	if (m->token != NULL)
		memcpy(token, m->token, FOB_TOKEN_LEN);
	else
		randombytes_buf(token, FOB_TOKEN_LEN);
}

static int
mutation_encode(struct request *r, const struct fob_mutation *m, struct fob_error *error)
{
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	token_take(m, token);
	rc = codec_encode_mutation(r->method, m, token, &r->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
roll_encode(struct request *r, const struct fob_roll *roll, struct fob_error *error)
{
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	token_take(&roll->mutation, token);
	rc = codec_encode_roll(roll, token, &r->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
revoke_encode(struct request *r, const struct fob_revoke *revoke, struct fob_error *error)
{
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	token_take(&revoke->mutation, token);
	rc = codec_encode_revoke(revoke, token, &r->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

int
fob_create_account(
    struct fob_client *c, const struct fob_mutation *m, struct fob_created_account *out, struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(out, 0, sizeof(*out));
	if ((r = request_new(METHOD_CREATE_ACCOUNT, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = mutation_encode(r, m, error)) == 0 && (rc = request_run(c, r, m->timeout_ms, error)) == 0)
		*out = r->result.created;
	request_free(r);
	return rc;
}

static void
created_callback(struct request *r)
{
	r->user.created(r->arg, r->fault, &r->result.created, &r->call.error);
}

int
fob_create_account_async(struct fob_client *c, const struct fob_mutation *m, fob_created_account_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(METHOD_CREATE_ACCOUNT, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = created_callback;
	r->user.created = cb;
	r->arg = arg;
	return request_launch(c, r, mutation_encode(r, m, NULL), m->timeout_ms);
}

int
fob_roll_key(struct fob_client *c, const struct fob_roll *roll, struct fob_rolled_key *out, struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(out, 0, sizeof(*out));
	if ((r = request_new(METHOD_ROLL_KEY, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = roll_encode(r, roll, error)) == 0 && (rc = request_run(c, r, roll->mutation.timeout_ms, error)) == 0)
		*out = r->result.rolled;
	request_free(r);
	return rc;
}

static void
rolled_callback(struct request *r)
{
	r->user.rolled(r->arg, r->fault, &r->result.rolled, &r->call.error);
}

int
fob_roll_key_async(struct fob_client *c, const struct fob_roll *roll, fob_rolled_key_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(METHOD_ROLL_KEY, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = rolled_callback;
	r->user.rolled = cb;
	r->arg = arg;
	return request_launch(c, r, roll_encode(r, roll, NULL), roll->mutation.timeout_ms);
}

int
fob_revoke_key(struct fob_client *c, const struct fob_revoke *revoke, struct fob_key *out, struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(out, 0, sizeof(*out));
	if ((r = request_new(METHOD_REVOKE_KEY, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = revoke_encode(r, revoke, error)) == 0 &&
	    (rc = request_run(c, r, revoke->mutation.timeout_ms, error)) == 0)
		*out = r->result.key;
	request_free(r);
	return rc;
}

static void
key_callback(struct request *r)
{
	r->user.key(r->arg, r->fault, &r->result.key, &r->call.error);
}

int
fob_revoke_key_async(struct fob_client *c, const struct fob_revoke *revoke, fob_key_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(METHOD_REVOKE_KEY, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = key_callback;
	r->user.key = cb;
	r->arg = arg;
	return request_launch(c, r, revoke_encode(r, revoke, NULL), revoke->mutation.timeout_ms);
}

static int
account_run(struct fob_client *c, enum method method, const struct fob_mutation *m, struct fob_account *out,
    struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(out, 0, sizeof(*out));
	if ((r = request_new(method, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = mutation_encode(r, m, error)) == 0 && (rc = request_run(c, r, m->timeout_ms, error)) == 0)
		*out = r->result.account;
	request_free(r);
	return rc;
}

static void
account_callback(struct request *r)
{
	r->user.account(r->arg, r->fault, &r->result.account, &r->call.error);
}

static int
account_launch(struct fob_client *c, enum method method, const struct fob_mutation *m, fob_account_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(method, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = account_callback;
	r->user.account = cb;
	r->arg = arg;
	return request_launch(c, r, mutation_encode(r, m, NULL), m->timeout_ms);
}

int
fob_suspend_account(
    struct fob_client *c, const struct fob_mutation *m, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_SUSPEND_ACCOUNT, m, out, error);
}

int
fob_resume_account(struct fob_client *c, const struct fob_mutation *m, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_RESUME_ACCOUNT, m, out, error);
}

int
fob_suspend_account_async(struct fob_client *c, const struct fob_mutation *m, fob_account_cb cb, void *arg)
{
	return account_launch(c, METHOD_SUSPEND_ACCOUNT, m, cb, arg);
}

int
fob_resume_account_async(struct fob_client *c, const struct fob_mutation *m, fob_account_cb cb, void *arg)
{
	return account_launch(c, METHOD_RESUME_ACCOUNT, m, cb, arg);
}

static int
import_encode(struct request *r, const struct fob_import *import, struct fob_error *error)
{
	const struct fob_mutation m = { .token = import->token };
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	token_take(&m, token);
	rc = codec_encode_import(import, token, &r->call.body, error);
	sodium_memzero(token, sizeof(token));
	if (rc != 0)
		return rc;
	if ((r->result.imported.outcomes = calloc(import->n, sizeof(r->result.imported.outcomes[0]))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	r->result.imported.n = import->n;
	return 0;
}

int
fob_import_accounts(
    struct fob_client *c, const struct fob_import *import, enum fob_import_outcome *outcomes, struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(outcomes, 0, import->n * sizeof(*outcomes));
	if ((r = request_new(METHOD_IMPORT_ACCOUNTS, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = import_encode(r, import, error)) == 0 && (rc = request_run(c, r, import->timeout_ms, error)) == 0)
		memcpy(outcomes, r->result.imported.outcomes, import->n * sizeof(*outcomes));
	request_free(r);
	return rc;
}

static void
import_callback(struct request *r)
{
	r->user.import(r->arg, r->fault, r->result.imported.outcomes, r->result.imported.n, &r->call.error);
}

int
fob_import_accounts_async(struct fob_client *c, const struct fob_import *import, fob_import_cb cb, void *arg)
{
	struct request *r;

	if ((r = request_new(METHOD_IMPORT_ACCOUNTS, NULL)) == NULL)
		return FOB_EINTERNAL;
	r->callback = import_callback;
	r->user.import = cb;
	r->arg = arg;
	return request_launch(c, r, import_encode(r, import, NULL), import->timeout_ms);
}

/* ---- lists ---- */

/* On success the page is in the result and the cursor has been moved on. */
static int
list_run(struct fob_client *c, struct request *r, enum fob_environment environment, const char *account,
    uint32_t page_size, struct fob_cursor *cursor, struct fob_error *error)
{
	int rc;

	r->page_size = page_size;
	r->cursor = *cursor;
	if ((rc = codec_encode_list(r->method, environment, account, page_size, cursor, &r->call.body, error)) == 0 &&
	    (rc = request_run(c, r, 0, error)) == 0)
		*cursor = r->cursor;
	return rc;
}

int
fob_list_keys(struct fob_client *c, enum fob_environment environment, const char *account, uint32_t page_size,
    struct fob_cursor *cursor, struct fob_key_page **page, struct fob_error *error)
{
	struct request *r;
	int rc;

	*page = NULL;
	if ((r = request_new(METHOD_LIST_KEYS, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = list_run(c, r, environment, account, page_size, cursor, error)) == 0) {
		*page = r->result.keys;
		r->result.keys = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_list_accounts(struct fob_client *c, enum fob_environment environment, uint32_t page_size, struct fob_cursor *cursor,
    struct fob_account_page **page, struct fob_error *error)
{
	struct request *r;
	int rc;

	*page = NULL;
	if ((r = request_new(METHOD_LIST_ACCOUNTS, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = list_run(c, r, environment, NULL, page_size, cursor, error)) == 0) {
		*page = r->result.accounts;
		r->result.accounts = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_list_events(struct fob_client *c, enum fob_environment environment, const char *account, uint32_t page_size,
    struct fob_cursor *cursor, struct fob_event_page **page, struct fob_error *error)
{
	struct request *r;
	int rc;

	*page = NULL;
	if ((r = request_new(METHOD_LIST_EVENTS, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = list_run(c, r, environment, account, page_size, cursor, error)) == 0) {
		*page = r->result.events;
		r->result.events = NULL;
	}
	request_free(r);
	return rc;
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

int
fob_check(struct fob_client *c, const char *service, uint32_t timeout_ms, enum fob_health_status *serving,
    struct fob_error *error)
{
	struct request *r;
	int rc;

	*serving = FOB_HEALTH_STATUS_UNKNOWN;
	if ((r = request_new(METHOD_CHECK, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = codec_encode_check(service, &r->call.body, error)) == 0 &&
	    (rc = request_run(c, r, timeout_ms, error)) == 0)
		*serving = r->result.serving;
	request_free(r);
	return rc;
}

int
fob_stats(struct fob_client *c, uint32_t timeout_ms, struct fob_stats *stats, struct fob_error *error)
{
	struct request *r;
	int rc;

	memset(stats, 0, sizeof(*stats));
	if ((r = request_new(METHOD_STATS, error)) == NULL)
		return FOB_EINTERNAL;
	if ((rc = codec_encode_stats(&r->call.body, error)) == 0 && (rc = request_run(c, r, timeout_ms, error)) == 0)
		*stats = r->result.stats;
	request_free(r);
	return rc;
}
