/*
 * health.c - /livez, /readyz and /metrics (see health.h). Each scrape asks fobd anew: nothing is kept.
 */
#include "client/http/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/http/metrics.h"

/* Returns false after a reply. */
static bool
is_read(struct http_request *request)
{
	static const struct http_header allow[] = { { "Allow", "GET, HEAD" } };
	const struct http_reply reply = { .status = 405, .headers = allow, .n_headers = 1 };

	if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0)
		return true;
	http_reply(request, &reply);
	return false;
}

static void
reply_text(struct http_request *request, int status, const char *type, const char *text, size_t len)
{
	const struct http_reply reply = { .status = status, .type = type, .body = text, .body_len = len };

	http_reply(request, &reply);
}

/* One line for people. */
static void
reply_line(struct http_request *request, int status, const char *what, const char *why)
{
	char line[320];

	snprintf(line, sizeof(line), "%s%s%s\n", what, why[0] != '\0' ? ": " : "", why);
	reply_text(request, status, "text/plain", line, strlen(line));
}

void
health_live(struct http_request *request, void *arg)
{
	(void)arg;
	if (is_read(request))
		reply_line(request, 200, "ok", "");
}

/* ---- /readyz ---- */

static void
on_health(void *arg, int fault, enum fob_health_status status, const struct fob_error *error)
{
	if (fault != 0)
		reply_line(arg, 503, fob_fault_name(fault), error->message);
	else
		reply_line(arg, status == FOB_HEALTH_STATUS_SERVING ? 200 : 503, fob_health_status_name(status), "");
}

void
health_ready(struct http_request *request, void *arg)
{
	const struct fob_health_request ask = { FOB_HEALTH_REQUEST_INIT };
	struct fob_error error;
	int fault;

	if (!is_read(request))
		return;
	backend_flush(arg);
	if ((fault = fob_health_async(backend_client(arg), &ask, on_health, request, NULL, &error)) != 0)
		on_health(request, fault, FOB_HEALTH_STATUS_UNKNOWN, &error);
}

/* ---- /metrics ---- */

static void
on_stats(void *arg, int fault, const struct fob_stats *stats, const struct fob_error *error)
{
	size_t len;
	char *text;

	(void)error;
	if ((text = metrics_text(fault == 0 ? stats : NULL, &len)) != NULL)
		reply_text(arg, 200, METRICS_TYPE, text, len);
	else
		reply_line(arg, 503, "out of memory", "");
	free(text);
}

void
health_metrics(struct http_request *request, void *arg)
{
	const struct fob_stats_request ask = { FOB_STATS_REQUEST_INIT };
	struct fob_error error;
	int fault;

	if (!is_read(request))
		return;
	backend_flush(arg);
	if ((fault = fob_stats_async(backend_client(arg), &ask, on_stats, request, NULL, &error)) != 0)
		on_stats(request, fault, NULL, &error);
}
