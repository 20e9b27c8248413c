/*
 * operator.c - who may use the role operator (see operator.h). Every way out of operator_admit() but the last denies.
 */
#include "client/http/operator.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/http/csrf.h"
#include "client/http/headers.h"

/*
 * The second one a browser takes over TLS only, for this host only: https://www.rfc-
 * editor.org/rfc/rfc6265bis#section-4.1.3
 */
#define COOKIE "fob-session"
#define COOKIE_SECURE "__Host-fob-session"

int
operator_init(struct operator_role *op, struct settings *settings, char *why, size_t why_len)
{
	memset(op, 0, sizeof(*op));
	if (sodium_init() < 0) {
		snprintf(why, why_len, "libsodium finds no source of randomness");
		return -1;
	}
	if (settings->token_file != NULL && token_file_make(settings->token_file, op->token, why, why_len) != 0)
		return -1;
	sessions_init(&op->sessions, (int64_t)settings->session_idle_s * 1000);
	op->settings = settings_ref(settings);
	return 0;
}

void
operator_fini(struct operator_role *op)
{
	if (op->settings->token_file != NULL)
		unlink(op->settings->token_file);
	settings_unref(op->settings);
	sessions_fini(&op->sessions);
	sodium_memzero(op, sizeof(*op));
}

int64_t
operator_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- refusals ---- */

void
operator_refuse(struct http_request *request, int status, const char *code, const char *message)
{
	/* Required with a 401. For this scheme a browser asks nobody for a password. */
	static const struct http_header challenge[] = { { "WWW-Authenticate", "Bearer" } };
	char body[HTTP_ERROR_SIZE];
	struct http_reply reply = { .status = status, .type = "application/json", .body = body, .headers = challenge };

	reply.n_headers = status == 401;
	reply.body_len = http_error_body(code, message, body);
	http_reply(request, &reply);
}

static void
refuse_attempt(struct http_request *request, unsigned wait_s)
{
	char body[HTTP_ERROR_SIZE], seconds[16];
	const struct http_header retry[] = { { "Retry-After", seconds } };
	struct http_reply reply = {
		.status = 429, .type = "application/json", .body = body, .headers = retry, .n_headers = 1
	};

	snprintf(seconds, sizeof(seconds), "%u", wait_s);
	reply.body_len = http_error_body("TOO_MANY_ATTEMPTS", "too many wrong tokens; wait as Retry-After says", body);
	http_reply(request, &reply);
}

/* ---- the token ---- */

int
operator_check_token(struct operator_role *op, struct http_request *request, const char *token)
{
	int64_t now = operator_now_ms();
	unsigned wait_s = attempts_wait_s(&op->attempts, &request->peer, now);
	char peer[PEER_TEXT_SIZE];

	if (op->settings->token_file == NULL) {
		operator_refuse(
		    request, 401, "UNAUTHENTICATED", "there is no sign-in token here; sign in through the proxy");
		return -1;
	}
	if (wait_s > 0) {
		refuse_attempt(request, wait_s);
		return -1;
	}
	if (token_is(token, op->token))
		return 0;
	attempts_failed(&op->attempts, &request->peer, now);
	peer_format(&request->peer, peer);
	log_line(LOG_WARN, "sign-in refused: a wrong token", "peer", peer, NULL);
	operator_refuse(request, 401, "UNAUTHENTICATED", "this is not the sign-in token, which each start makes anew");
	return -1;
}

/* ---- the user of a trusted proxy ---- */

/* As fobd takes it, for its events (on_behalf_of), but without blanks. */
static bool
is_name(const char *text)
{
	if (text == NULL || text[0] == '\0' || strlen(text) >= SESSION_USER_SIZE)
		return false;
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	return true;
}

int
operator_user(const struct operator_role *op, struct http_request *request, char user[SESSION_USER_SIZE])
{
	const struct settings *s = op->settings;
	const char *name;

	user[0] = '\0';
	if (s->user_header == NULL)
		return 0;
	if (!peer_is_trusted(&request->peer, s->trusted, s->n_trusted)) {
		operator_refuse(request, 403, "UNTRUSTED", "this peer is not trusted to name the user");
		return -1;
	}
	if (headers_once(request->headers, request->n_headers, s->user_header, &name) != 0 || !is_name(name)) {
		operator_refuse(request, 401, "UNAUTHENTICATED",
		    "the proxy names no user, or not as 1 to 64 printable ASCII characters without blanks, double "
		    "quotes and backslashes");
		return -1;
	}
	snprintf(user, SESSION_USER_SIZE, "%s", name);
	return 0;
}

/* ---- the session ---- */

bool
operator_secure(const struct operator_role *op, const struct http_request *request)
{
	if (op->settings->origin != NULL)
		return strncmp(op->settings->origin, "https://", 8) == 0;
	return !peer_is_local(&request->peer);
}

const char *
operator_cookie_name(bool secure)
{
	return secure ? COOKIE_SECURE : COOKIE;
}

struct session *
operator_session(
    struct operator_role *op, const struct http_request *request, char id[SESSION_TEXT_SIZE], const char *user)
{
	const char *name = operator_cookie_name(operator_secure(op, request));
	struct session *s;

	if (cookie_find(request->headers, request->n_headers, name, SESSION_TEXT_SIZE, id) != 0)
		return NULL;
	s = session_find(&op->sessions, id, operator_now_ms());
	return s != NULL && strcmp(s->user, user) == 0 ? s : NULL;
}

bool
operator_csrf_ok(const struct operator_role *op, const struct http_request *request, const char *id)
{
	const char *token;

	return headers_once(request->headers, request->n_headers, "X-CSRF-Token", &token) == 0 &&
	    session_csrf_ok(id, token) &&
	    csrf_origin_ok(request->headers, request->n_headers, op->settings->origin, true);
}

int
operator_admit(struct operator_role *op, struct http_request *request, char user[SESSION_USER_SIZE])
{
	char id[SESSION_TEXT_SIZE];
	struct session *session;
	const char *authorization;
	int rc = -1;

	if (headers_once(request->headers, request->n_headers, "Authorization", &authorization) == 0 &&
	    authorization != NULL && headers_bearer(authorization) != NULL) {
		user[0] = '\0';
		return operator_check_token(op, request, headers_bearer(authorization));
	}
	if (operator_user(op, request, user) != 0)
		return -1;
	if ((session = operator_session(op, request, id, user)) == NULL)
		operator_refuse(request, 401, "UNAUTHENTICATED", "not signed in, or the session has ended; sign in");
	else if (!operator_csrf_ok(op, request, id))
		operator_refuse(request, 403, "CSRF",
		    "this request is not one of this page; send X-CSRF-Token, as GET /v1/session tells it");
	else {
		session_use(session, operator_now_ms());
		rc = 0;
	}
	sodium_memzero(id, sizeof(id));
	return rc;
}
