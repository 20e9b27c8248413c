/*
 * auth.c - forward auth (see auth.h). Every way out that is not a verdict VALID denies.
 */
#include "client/http/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/http/headers.h"

#define EXPIRES_MAX_MS 253402300799999 /* the end of the year 9999 */

/* What is asked of fobd, and who asked. */
struct question {
	struct auth *auth;
	struct http_request *request;
};

/* ---- replies ---- */

static void
deny(const struct auth *auth, struct http_request *request, int status, const char *code, const char *message)
{
	char body[HTTP_ERROR_SIZE], challenge[160];
	struct http_header headers[] = { { "WWW-Authenticate", challenge } };
	struct http_reply reply = { .status = status, .headers = headers, .close = status == 400 };

	if (status == 401) {
		snprintf(challenge, sizeof(challenge), "Basic realm=\"%s\"", auth->settings->realm);
		reply.n_headers = 1;
	}
	if (auth->settings->error_body || (status != 401 && status != 403)) {
		reply.type = "application/json";
		reply.body_len = http_error_body(code, message, body);
		reply.body = body;
	}
	http_reply(request, &reply);
}

static void
fail(const struct auth *auth, struct http_request *request)
{
	deny(auth, request, 503, "UNAVAILABLE", "the key could not be checked; try again");
}

/* "2026-01-31T23:59:59.123Z", or "never". Returns -1 for a time that RFC 3339 cannot write. */
static int
format_expires(int64_t ms, char *out, size_t size)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm utc;
	size_t n;

	if (ms == 0) {
		snprintf(out, size, "never");
		return 0;
	}
	if (ms < 0 || ms > EXPIRES_MAX_MS || gmtime_r(&seconds, &utc) == NULL ||
	    (n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc)) == 0)
		return -1;
	snprintf(out + n, size - n, ".%03dZ", (int)(ms % 1000));
	return 0;
}

/* A VALID that lacks what a header is to say is none. */
static void
allow(const struct auth *auth, struct http_request *request, const struct fob_verification *v)
{
	char generation[16], expires[40];
	bool live = v->environment == FOB_ENVIRONMENT_LIVE, secret = v->kind == FOB_KIND_SECRET;
	const struct http_header headers[] = { { "X-Fob-Account", v->account },
		{ "X-Fob-Environment", live ? "live" : "test" }, { "X-Fob-Livemode", v->livemode ? "true" : "false" },
		{ "X-Fob-Kind", secret ? "secret" : "publishable" }, { "X-Fob-Generation", generation },
		{ "X-Fob-Superseded", v->superseded ? "true" : "false" }, { "X-Fob-Expires", expires } };
	const struct http_reply reply = {
		.status = 200, .headers = headers, .n_headers = sizeof(headers) / sizeof(headers[0])
	};

	if (!http_account_ok(v->account) || (!live && v->environment != FOB_ENVIRONMENT_TEST) || v->livemode != live ||
	    (!secret && v->kind != FOB_KIND_PUBLISHABLE) || v->generation == 0 ||
	    format_expires(v->expires_ms, expires, sizeof(expires)) != 0) {
		log_line(LOG_ERROR, "fobd said VALID, but not of what", NULL);
		fail(auth, request);
		return;
	}
	snprintf(generation, sizeof(generation), "%u", (unsigned)v->generation);
	http_reply(request, &reply);
}

static void
on_verdict(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct question *q = arg;
	int status = fob_http_status(fault, v->verdict);

	if (fault != 0) {
		log_line(LOG_DEBUG, "no verdict", "fault", fob_fault_name(fault), "reason", error->message, NULL);
		fail(q->auth, q->request);
	} else if (fob_allows(v))
		allow(q->auth, q->request, v);
	else
		deny(q->auth, q->request, status == 403 ? 403 : 401, fob_verdict_name(v->verdict), v->detail);
	free(q);
}

/* ---- the original request ---- */

struct original_request {
	const char *method, *uri;
};

/* Returns 0; -1 after a reply. */
static int
find_in_headers(const struct auth *auth, struct http_request *r, struct original_request *out)
{
	const struct settings *s = auth->settings;

	if (!peer_is_trusted(&r->peer, s->trusted, s->n_trusted)) {
		deny(auth, r, 403, "UNTRUSTED", "this peer is not trusted to name the original request");
		return -1;
	}
	if (headers_once(r->headers, r->n_headers, s->original_method, &out->method) != 0 ||
	    headers_once(r->headers, r->n_headers, s->original_uri, &out->uri) != 0) {
		deny(auth, r, 400, "BAD_REQUEST",
		    "more than one header with the original method or URI, or an alias of one");
		return -1;
	}
	if (out->method == NULL || out->uri == NULL) {
		deny(auth, r, 403, "NO_ORIGINAL", "the original request's method or URI is missing");
		return -1;
	}
	return 0;
}

static int
find_original(const struct auth *auth, struct http_request *r, struct original_request *out)
{
	if (auth->settings->original == ORIGINAL_HEADERS)
		return find_in_headers(auth, r, out);
	out->method = r->method;
	out->uri = r->target + strlen(AUTH_PATH);
	return 0;
}

/* The operation of the original request; NULL after a reply. */
static const char *
find_operation(const struct auth *auth, struct http_request *r)
{
	struct original_request original;
	const char *why, *operation;
	size_t len;

	if (find_original(auth, r, &original) != 0)
		return NULL;
	if (route_path(original.uri, &len, &why) != 0) {
		deny(auth, r, 403, "PATH_REFUSED", why);
		return NULL;
	}
	if ((operation = route_find(&auth->settings->routes, original.method, original.uri, len)) == NULL)
		deny(auth, r, 403, "UNKNOWN_ROUTE", "no route has this method and path");
	return operation;
}

/* ---- the question ---- */

static void
ask(struct auth *auth, struct http_request *r, const char *authorization, const char *operation)
{
	struct fob_verify_request verify = { FOB_VERIFY_REQUEST_INIT, .operation = operation };
	struct question *q = malloc(sizeof(*q));
	const char *token = auth->settings->bearer ? headers_bearer(authorization) : NULL;
	struct fob_error error;

	verify.secret = token;
	verify.secret_len = token != NULL ? strlen(token) : 0;
	verify.authorization = token == NULL ? authorization : NULL;
	verify.authorization_len = token == NULL ? strlen(authorization) : 0;
	/* Twice there it is nobody's. */
	if (headers_once(r->headers, r->n_headers, "traceparent", &verify.traceparent) != 0)
		verify.traceparent = NULL;
	if (q == NULL) {
		fail(auth, r);
		return;
	}
	*q = (struct question){ .auth = auth, .request = r };
	if (backend_verify(auth->backend, &verify, on_verdict, q, &error) != 0) {
		log_line(LOG_DEBUG, "not asked", "reason", error.message, NULL);
		free(q);
		fail(auth, r);
	}
}

void
auth_handle(struct http_request *r, void *arg)
{
	struct auth *auth = arg;
	const char *operation = find_operation(auth, r), *authorization = NULL;

	if (operation == NULL)
		return;
	if (headers_once(r->headers, r->n_headers, "Authorization", &authorization) != 0 || authorization == NULL ||
	    authorization[0] == '\0')
		deny(auth, r, 401, "NO_CREDENTIALS", "give the API key as the user name of HTTP Basic");
	else
		ask(auth, r, authorization, operation);
}
