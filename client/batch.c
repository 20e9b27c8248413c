/*
 * batch.c - batches of verifies: one request for each server that a batch concerns, and one answer for its caller.
 */
#include "client/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/error.h"
#include "client/sized.h"

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
	const struct terms terms = { FOB_ENVIRONMENT_ANY, request->timeout_ms, request->traceparent, NULL };
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
