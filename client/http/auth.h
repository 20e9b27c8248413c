/*
 * auth.h - forward auth: a proxy asks, for each request of its own, whether that may go on. The key is in the proxy's
 * copy of the Authorization header, the original method and URI are where the settings say.
 */
#ifndef HTTP_AUTH_H
#define HTTP_AUTH_H

#include "client/http/backend.h"
#include "client/http/request.h"
#include "client/http/settings.h"

#define AUTH_PATH "/v1/auth"

/* Of one thread. The settings may be replaced between requests. */
struct auth {
	struct backend *backend;
	const struct settings *settings;
};

/*
 * auth_handle(request, auth):
 * Answer ${request} at AUTH_PATH or below, whatever its method and body:
 * 200, with all of X-Fob-Account, -Environment, -Livemode, -Kind, -Generation, -Superseded and -Expires, none of them
 *     empty: a header that the client forged is always replaced;
 * 401 for a key that does not authenticate, or none, with WWW-Authenticate;
 * 403 for a key that may not do this, an unknown route, a path that is refused, an original request that is not told of
 *     by a trusted peer;
 * 400 for headers of the pair that are there twice;
 * 503 when nothing is known of the key, whatever the reason.
 * It is an http_handler_fn; ${arg} is a struct auth.
 */
void auth_handle(struct http_request *request, void *arg);

#endif
