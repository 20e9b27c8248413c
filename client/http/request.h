/*
 * request.h - an HTTP request as a handler sees it, and the reply to it. Bytes in, bytes out: a handler knows no
 * socket, so it is tested and fuzzed without one.
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "client/http/peer.h"

struct http_header {
	const char *name, *value;
};

struct http_reply {
	int status;
	const struct http_header *headers; /* besides Content-Type, Content-Length, Cache-Control and Connection */
	size_t n_headers;
	const char *type; /* of the body; NULL: there is none */
	const void *body;
	size_t body_len;
	bool close; /* close the connection after this reply */
};

/* All but ${peer} and ${reply} is borrowed until the handler returns. */
struct http_request {
	const char *method; /* "GET"; "" for one that is none of RFC 9110's or PATCH */
	const char *target; /* the request line's: a path that begins with "/", with its query */
	const struct http_header *headers;
	size_t n_headers;
	const char *body;
	size_t body_len;
	struct peer peer;
	void (*reply)(struct http_request *, const struct http_reply *); /* the server's, or a test's */
};

/* Called once for each request. It replies once, before it returns or later, on the same thread. */
typedef void (*http_handler_fn)(struct http_request *, void *arg);

/*
 * http_reply(request, reply):
 * Answer ${request}. Its peer may have left meanwhile: then nothing is sent.
 * Ownership: ${reply} and what it points to are borrowed; ${request} is gone.
 */
void http_reply(struct http_request *request, const struct http_reply *reply);

/*
 * http_reply_error(request, status, code, message):
 * Answer with the JSON body {"error":{"code":...,"message":...}}.
 */
void http_reply_error(struct http_request *request, int status, const char *code, const char *message);

/* Whether ${text} is an account's id: 1 to 64 of A-Z a-z 0-9 . _ - */
bool http_account_ok(const char *text);

/*
 * http_error_body(code, message, out):
 * Write that body to ${out}. A message that does not fit is cut. Characters that JSON would have to escape are
 * replaced.
 * Returns: its length.
 */
#define HTTP_ERROR_SIZE 384
size_t http_error_body(const char *code, const char *message, char out[HTTP_ERROR_SIZE]);

#endif
