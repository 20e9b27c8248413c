/*
 * sign_in.c - /v1/session (see sign_in.h). A session's id leaves in a cookie only.
 */
#include "client/http/sign_in.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "client/http/csrf.h"
#include "client/http/json.h"

#define COOKIE_SIZE 160

/* ---- replies ---- */

/* ${id}: NULL tells the browser to forget the cookie. */
static void
make_cookie(const struct operator_role *op, const struct http_request *request, const char *id, char out[COOKIE_SIZE])
{
	bool secure = operator_secure(op, request);

	snprintf(out, COOKIE_SIZE, "%s=%s; Path=/; HttpOnly; SameSite=Strict%s%s", operator_cookie_name(secure),
	    id != NULL ? id : "", secure ? "; Secure" : "", id != NULL ? "" : "; Max-Age=0");
}

/* ${cookie}: NULL sets none. */
static void
reply_session(struct operator_role *op, struct http_request *request, const struct session *session, const char *id,
    const char *cookie)
{
	const struct http_header headers[] = { { "Set-Cookie", cookie } };
	const struct http_reply shape = { .status = 200, .headers = headers, .n_headers = cookie != NULL };
	char csrf[SESSION_TEXT_SIZE];

	session_csrf(id, csrf);
	json_reply(request, &shape,
	    json_pack("{s:s?, s:s, s:I}", "user", session->user[0] != '\0' ? session->user : NULL, "csrf_token", csrf,
		"left_ms", (json_int_t)session_left_ms(&op->sessions, session, operator_now_ms())));
	sodium_memzero(csrf, sizeof(csrf));
}

/* ---- sign in ---- */

/* Does the body, and the token in it if that is the way, let somebody in? Returns -1 after a reply. */
static int
check_body(struct operator_role *op, struct http_request *request)
{
	bool by_token = op->settings->token_file != NULL;
	json_t *object;
	const char *why;
	int rc = -1;

	if (json_read(request->body, request->body_len, &object, &why) != 0) {
		operator_refuse(request, 400, "INVALID_ARGUMENT", why);
		return -1;
	}
	if (by_token && (json_object_size(object) != 1 || !json_is_string(json_object_get(object, "token"))))
		operator_refuse(
		    request, 400, "INVALID_ARGUMENT", "token: give {\"token\": \"...\"}, what is in the token's file");
	else if (!by_token && json_object_size(object) != 0)
		operator_refuse(request, 400, "INVALID_ARGUMENT", "give {}: the proxy names the user");
	else
		rc = by_token ? operator_check_token(op, request, json_string_value(json_object_get(object, "token"))) :
				0;
	json_decref(object);
	return rc;
}

static void
sign_in(struct operator_role *op, struct http_request *request)
{
	char user[SESSION_USER_SIZE], id[SESSION_TEXT_SIZE], cookie[COOKIE_SIZE], peer[PEER_TEXT_SIZE];

	if (!csrf_origin_ok(request->headers, request->n_headers, op->settings->origin, false)) {
		operator_refuse(request, 403, "CSRF", "this request is another site's");
		return;
	}
	if (operator_user(op, request, user) != 0 || check_body(op, request) != 0)
		return;
	session_end(operator_session(op, request, id, user));
	session_begin(&op->sessions, user, operator_now_ms(), id);
	peer_format(&request->peer, peer);
	log_line(LOG_INFO, "signed in", "user", user[0] != '\0' ? user : "by the token", "peer", peer, NULL);
	make_cookie(op, request, id, cookie);
	reply_session(op, request, session_find(&op->sessions, id, operator_now_ms()), id, cookie);
	sodium_memzero(id, sizeof(id));
	sodium_memzero(cookie, sizeof(cookie));
}

/* ---- look, and sign out ---- */

static void
sign_out(struct operator_role *op, struct http_request *request, struct session *session, const char *id)
{
	char cookie[COOKIE_SIZE];
	const struct http_header headers[] = { { "Set-Cookie", cookie } };
	const struct http_reply shape = { .status = 200, .headers = headers, .n_headers = 1 };

	if (!operator_csrf_ok(op, request, id)) {
		operator_refuse(request, 403, "CSRF", "send X-CSRF-Token, as GET " SIGN_IN_PATH " tells it");
		return;
	}
	log_line(LOG_INFO, "signed out", "user", session->user[0] != '\0' ? session->user : "by the token", NULL);
	session_end(session);
	make_cookie(op, request, NULL, cookie);
	json_reply(request, &shape, json_object());
}

static void
with_session(struct operator_role *op, struct http_request *request)
{
	char user[SESSION_USER_SIZE], id[SESSION_TEXT_SIZE];
	struct session *session;

	if (operator_user(op, request, user) != 0)
		return;
	if ((session = operator_session(op, request, id, user)) == NULL)
		operator_refuse(request, 401, "UNAUTHENTICATED", "not signed in, or the session has ended");
	else if (strcmp(request->method, "GET") == 0)
		reply_session(op, request, session, id, NULL);
	else
		sign_out(op, request, session, id);
	sodium_memzero(id, sizeof(id));
}

void
sign_in_handle(struct http_request *request, void *arg)
{
	static const struct http_header allow[] = { { "Allow", "GET, POST, DELETE" } };
	const struct http_reply reply = { .status = 405, .headers = allow, .n_headers = 1 };

	if (strcmp(request->method, "POST") == 0)
		sign_in(arg, request);
	else if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "DELETE") == 0)
		with_session(arg, request);
	else
		http_reply(request, &reply);
}
