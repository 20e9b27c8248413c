/*
 * health.h - is fob-http alive? For the listener of metrics.
 */
#ifndef HTTP_HEALTH_H
#define HTTP_HEALTH_H

#include "client/http/request.h"

/* GET /livez: 200 while this thread's loop runs. An http_handler_fn; ${arg} is not looked at. */
void health_live(struct http_request *request, void *arg);

#endif
