/*
 * verify.h - POST /v1/verify and /v1/verify-batch: VerifyKey for programs in any language. The bodies are json.h's.
 */
#ifndef HTTP_VERIFY_H
#define HTTP_VERIFY_H

#include "client/http/backend.h"
#include "client/http/request.h"

/*
 * 200 with the verdict, whatever it is: a key that is denied was checked. 400 for a body that is not right, 405 for
 * another method, 503 when nothing is known of the key. Each is an http_handler_fn; ${arg} is the thread's struct
 * backend.
 */
void verify_handle(struct http_request *request, void *arg);
void verify_batch_handle(struct http_request *request, void *arg);

#endif
