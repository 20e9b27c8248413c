/*
 * operator.h - who may use the role operator: people with a session, programs with the sign-in token.
 *
 * A session begins at POST /v1/session (see sign_in.h) and is named by a cookie. A program sends the sign-in token
 * with each request, as Authorization: Bearer, and needs neither a session nor a CSRF token: no browser sends that
 * header by itself.
 *
 * Threads: one. The role operator has one thread, so that sessions and failed attempts are counted once.
 */
#ifndef HTTP_OPERATOR_H
#define HTTP_OPERATOR_H

#include "client/http/attempts.h"
#include "client/http/request.h"
#include "client/http/session.h"
#include "client/http/settings.h"
#include "client/http/token_file.h"

struct operator_role {
	struct settings *settings; /* those of the start: what is read again does not change how people sign in */
	struct sessions sessions;
	struct attempts attempts;
	uint8_t token[TOKEN_DIGEST_LEN]; /* its digest; nothing without token_file */
};

/*
 * operator_init(op, settings, why, why_len):
 * Make the sign-in token, if the settings have a file for it.
 * Returns: 0; -1 with one line at ${why}: ${op} needs no operator_fini().
 */
int operator_init(struct operator_role *op, struct settings *settings, char *why, size_t why_len);
/* Removes the token's file. */
void operator_fini(struct operator_role *op);

/*
 * operator_admit(op, request, user):
 * May who sent ${request} use the role operator? The session, if there is one, was used now. ${user} is the name
 * that the trusted proxy gave, or "" when somebody signed in by the token.
 * Returns: 0; -1 after a reply with 401 (not signed in), 403 (CSRF, or an untrusted peer) or 429 (too many attempts).
 */
int operator_admit(struct operator_role *op, struct http_request *request, char user[SESSION_USER_SIZE]);

/* ---- for sign_in.c ---- */

/*
 * operator_check_token(op, request, token):
 * Returns: 0: it is the sign-in token; -1 after a reply.
 */
int operator_check_token(struct operator_role *op, struct http_request *request, const char *token);

/*
 * operator_user(op, request, user):
 * The user that a trusted proxy names; "" in the mode of the token.
 * Returns: 0; -1 after a reply: the peer is not trusted, the header is missing, there twice, or no name.
 */
int operator_user(const struct operator_role *op, struct http_request *request, char user[SESSION_USER_SIZE]);

/*
 * operator_session(op, request, id, user):
 * The session that the request's cookie names, if it is ${user}'s.
 * Ownership: ${id}, the session's, is a secret: the caller wipes it.
 * Returns:   NULL when there is none.
 */
struct session *operator_session(
    struct operator_role *op, const struct http_request *request, char id[SESSION_TEXT_SIZE], const char *user);

/* Has the request the session's CSRF token, and our origin? */
bool operator_csrf_ok(const struct operator_role *op, const struct http_request *request, const char *id);

/* May the session's cookie travel over TLS only? Not from and to this machine, unless the settings' origin has TLS. */
bool operator_secure(const struct operator_role *op, const struct http_request *request);
const char *operator_cookie_name(bool secure);

void operator_refuse(struct http_request *request, int status, const char *code, const char *message);
int64_t operator_now_ms(void);

#endif
