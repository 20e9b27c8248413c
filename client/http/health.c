/*
 * health.c - is fob-http alive (see health.h)? Asks nobody.
 */
#include "client/http/health.h"

void
health_live(struct http_request *request, void *arg)
{
	const struct http_reply reply = { .status = 200, .type = "text/plain", .body = "ok\n", .body_len = 3 };

	(void)arg;
	http_reply(request, &reply);
}
