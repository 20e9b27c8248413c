/*
 * verify.c - VerifyKey and VerifyKeys over JSON (see verify.h).
 */
#include "client/http/verify.h"

#include <string.h>

#include "client/http/headers.h"
#include "client/http/json.h"

/* ---- replies ---- */

static void
reply_fault(struct http_request *request, int fault, const char *message)
{
	if (fault == FOB_EINVALID_ARGUMENT)
		http_reply_error(request, 400, fob_fault_name(fault), message);
	else
		http_reply_error(request, 503, fob_fault_name(fault), "the key could not be checked; try again");
}

static void
reply_json(struct http_request *request, json_t *json)
{
	json_reply(request, &(const struct http_reply){ .status = 200 }, json);
}

static void
on_verdict(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	if (fault != 0)
		reply_fault(arg, fault, error->message);
	else
		reply_json(arg, json_from_verification(v));
}

static void
on_verdicts(void *arg, int fault, const struct fob_verification *results, const int *faults, size_t n,
    const struct fob_error *error)
{
	if (fault != 0)
		reply_fault(arg, fault, error->message);
	else
		reply_json(arg, json_from_batch(results, faults, n));
}

/* ---- requests ---- */

/* The body's object; NULL after a reply. */
static json_t *
read_body(struct http_request *request)
{
	static const struct http_header allow[] = { { "Allow", "POST" } };
	const struct http_reply reply = { .status = 405, .headers = allow, .n_headers = 1 };
	json_t *object = NULL;
	const char *why;

	if (strcmp(request->method, "POST") != 0)
		http_reply(request, &reply);
	else if (json_read(request->body, request->body_len, &object, &why) != 0)
		http_reply_error(request, 400, "INVALID_ARGUMENT", why);
	return object;
}

/* Borrowed from the request; NULL when there is none, or two. */
static const char *
traceparent(const struct http_request *request)
{
	const char *value;

	return headers_once(request->headers, request->n_headers, "traceparent", &value) == 0 ? value : NULL;
}

void
verify_handle(struct http_request *request, void *arg)
{
	json_t *object = read_body(request);
	struct fob_verify_request verify;
	struct fob_error error;
	const char *why;
	int fault;

	if (object == NULL)
		return;
	if (json_to_verify(object, &verify, &why) != 0)
		http_reply_error(request, 400, "INVALID_ARGUMENT", why);
	else {
		verify.traceparent = traceparent(request);
		if ((fault = backend_verify(arg, &verify, on_verdict, request, &error)) != 0)
			reply_fault(request, fault, error.message);
	}
	json_decref(object);
}

void
verify_batch_handle(struct http_request *request, void *arg)
{
	struct fob_verify_request items[FOB_BATCH_MAX];
	struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = items };
	json_t *object = read_body(request);
	struct fob_error error;
	const char *why;
	int fault;

	if (object == NULL)
		return;
	if (json_to_verify_batch(object, items, &batch.n, &why) != 0)
		http_reply_error(request, 400, "INVALID_ARGUMENT", why);
	else {
		batch.traceparent = traceparent(request);
		if ((fault = backend_verify_batch(arg, &batch, on_verdicts, request, &error)) != 0)
			reply_fault(request, fault, error.message);
	}
	json_decref(object);
}
