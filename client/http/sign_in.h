/*
 * sign_in.h - /v1/session: sign in, look, sign out.
 */
#ifndef HTTP_SIGN_IN_H
#define HTTP_SIGN_IN_H

#include "client/http/operator.h"

#define SIGN_IN_PATH "/v1/session"

/*
 * sign_in_handle(request, op):
 * POST with {"token": "..."}, or {} where a proxy names the user: begin a session, and end the one that the cookie
 * named.
 * GET: the session's user, CSRF token and time left, which asking does not prolong. DELETE, with the CSRF token:
 * end it.
 * POST and GET reply with {"user", "csrf_token", "left_ms"}.
 * It is an http_handler_fn; ${arg} is a struct operator_role.
 */
void sign_in_handle(struct http_request *request, void *arg);

#endif
