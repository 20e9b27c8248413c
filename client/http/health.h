/*
 * health.h - the listener of metrics: is fob-http alive, does fobd serve, and what has fobd counted?
 */
#ifndef HTTP_HEALTH_H
#define HTTP_HEALTH_H

#include "client/http/backend.h"
#include "client/http/request.h"

/*
 * http_handler_fns for GET and HEAD; ${arg} is the thread's struct backend.
 * /livez:   200 while this thread's loop runs.
 * /readyz:  200 when fobd answers that every environment is SERVING; else 503 with the reason.
 * /metrics: 200 and the text of metrics.h, also when fobd does not answer.
 */
void health_live(struct http_request *request, void *arg);
void health_ready(struct http_request *request, void *arg);
void health_metrics(struct http_request *request, void *arg);

#endif
