/*
 * json.h - JSON bodies: how they are read and sent; and those of verify calls, VerifyKey's fields as
 * proto/fob/v1/keys.proto names them. Knows no socket.
 */
#ifndef HTTP_JSON_H
#define HTTP_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "client/fob.h"
#include "client/http/request.h"

/*
 * json_read(text, len, out, why):
 * Read one JSON object and nothing behind it.
 * Ownership: *${out} is the caller's, to be released with json_decref(); what json_to_verify() reads borrows from it.
 * Returns:   0; -1 with a static text at *${why}.
 */
int json_read(const char *text, size_t len, json_t **out, const char **why);

/*
 * json_reply(request, shape, body):
 * Answer ${request} with ${body} as JSON, and with the status and headers of ${shape}. NULL for ${body}: out of
 * memory, so the answer is 503.
 * Ownership: ${body} is released, and the memory that it was written to is wiped if wipe_begin() was called.
 */
void json_reply(struct http_request *request, const struct http_reply *shape, json_t *body);

/* Read "live" or "test". Returns: 0; -1 for anything else, and ${out} is untouched. */
int json_to_environment(const json_t *value, enum fob_environment *out);

/*
 * json_to_verify(object, out, why):
 * Read {"secret" or "authorization": "...", "operation": "...", "require_environment": "live" or "test"}; the last two
 * may be left out. An unknown member is an error.
 * Returns: 0; -1 with a static text at *${why}.
 */
int json_to_verify(const json_t *object, struct fob_verify_request *out, const char **why);

/*
 * json_to_verify_batch(object, out, n, why):
 * Read {"items": [...]}, 1 to FOB_BATCH_MAX of them, to ${out}.
 * Returns: 0 with their number at *${n}; -1 with a static text at *${why}.
 */
int
json_to_verify_batch(const json_t *object, struct fob_verify_request out[FOB_BATCH_MAX], size_t *n, const char **why);

/* The members of VerifyKeyResponse. NULL: out of memory. */
json_t *json_from_verification(const struct fob_verification *v);

/* {"items": [{"code", "message", "result"}]}: "result" where the code is OK. NULL: out of memory. */
json_t *json_from_batch(const struct fob_verification *results, const int *faults, size_t n);

#endif
