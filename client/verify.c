/*
 * verify.c - single verifies: the call that everything else is built around, so it allocates nothing when its thread waits.
 */
#include "client/request.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/error.h"
#include "client/sized.h"
#include "proto/c/basic.h"

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

enum fob_environment
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
	v->call.traceparent = request_traceparent(v->traceparent, request->traceparent);
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
	    (rc = request_deadline(c, request->timeout_ms, deadline_ms, error)) != 0)
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
