/*
 * admin.h - the Admin calls as JSON, for the role operator.
 *
 * A change carries its caller's request_token, so that it is made once however often it is sent: the same body
 * again gets the same reply again. A new secret is in that reply and nowhere else.
 */
#ifndef HTTP_ADMIN_H
#define HTTP_ADMIN_H

#include "client/http/backend.h"
#include "client/http/operator.h"
#include "client/http/server.h"

struct admin_call;

/* One path: its call, and what that needs. */
struct admin_path {
	const struct admin_call *call;
	struct operator_role *op;
	struct backend *backend;
};

#define ADMIN_PATHS 8

/*
 * admin_paths(op, backend, paths, handlers):
 * Fill ${paths}, and the ${handlers} that have them as their arguments. POST only:
 * /v1/accounts/create, /suspend, /resume, /list; /v1/keys/roll, /revoke, /list; /v1/events/list.
 * Statuses: 200; 400 with the member's name; 401, 403, 429 of operator_admit(); 405; and those of admin_http_status().
 * Ownership: all are borrowed by each other until the server is freed.
 */
void admin_paths(struct operator_role *op, struct backend *backend, struct admin_path paths[ADMIN_PATHS],
    struct http_handler handlers[ADMIN_PATHS]);

/*
 * admin_http_status(fault):
 * The status of a fault: 400 INVALID_ARGUMENT, OUT_OF_RANGE; 403 PERMISSION_DENIED; 404 NOT_FOUND; 409 ALREADY_EXISTS,
 * ABORTED, FAILED_PRECONDITION; 429 RESOURCE_EXHAUSTED; 501 UNIMPLEMENTED; 504 DEADLINE_EXCEEDED; 503 UNAVAILABLE and
 * CANCELLED; 500 for the rest, which a retry cannot help.
 */
int admin_http_status(int fault);

#endif
