/*
 * server.c - evhttp's requests become ours (see server.h). A request is refused here before a handler sees it.
 */
#include "client/http/server_internal.h"

#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

static const char *
method_name(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_TRACE:
		return "TRACE";
	case EVHTTP_REQ_CONNECT:
		return "CONNECT";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	default:
		return "";
	}
}

/* ---- the request ---- */

/* Returns how many headers there are; the first HEADERS_MAX are at ${out}. */
static size_t
collect_headers(struct evhttp_request *evhttp, struct http_header *out)
{
	const struct evkeyval *pair;
	size_t n = 0;

	TAILQ_FOREACH(pair, evhttp_request_get_input_headers(evhttp), next)
	{
		if (n < HEADERS_MAX)
			out[n] = (struct http_header){ pair->key, pair->value };
		n++;
	}
	return n;
}

static const char *
refusal(const struct connection *c, const struct http_request *r)
{
	const char *why;

	if (c->scan.why != NULL)
		return c->scan.why;
	if (r->method[0] == '\0' || strcmp(r->method, "CONNECT") == 0)
		return "the method is not taken";
	if ((why = headers_check(r->headers, r->n_headers)) != NULL)
		return why;
	if (r->target == NULL || r->target[0] != '/')
		return "the target does not begin with /";
	return NULL;
}

/*
 * Where the next request begins is certain only if this one's body was read to its end and nothing is behind it. evhttp
 * reads no body of HEAD, TRACE and others, and would take it for a request.
 */
static bool
must_close(const struct connection *c, const struct http_request *r)
{
	const char *length;

	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		return true;
	if (headers_once(r->headers, r->n_headers, "Content-Length", &length) != 0)
		return true;
	return strtoull(length != NULL ? length : "0", NULL, 10) != r->body_len;
}

static const struct http_handler *
find_handler(const struct listener *listener, const char *target)
{
	size_t len = strcspn(target, "?");

	for (size_t i = 0; i < listener->n_handlers; i++) {
		const struct http_handler *h = &listener->handlers[i];
		size_t n = strlen(h->path);

		if (len >= n && memcmp(target, h->path, n) == 0 && (len == n || (h->below && target[n] == '/')))
			return h;
	}
	return NULL;
}

static void
dispatch(struct exchange *x, const char *why)
{
	const struct http_handler *h;

	if (why != NULL) {
		x->close = true;
		http_reply_error(&x->request, 400, "BAD_REQUEST", why);
		return;
	}
	if ((h = find_handler(x->connection->listener, x->request.target)) == NULL) {
		http_reply_error(&x->request, 404, "NO_SUCH_PATH", "there is nothing at this path");
		return;
	}
	x->close |= h->no_body && x->request.body_len > 0;
	h->handle(&x->request, h->arg);
}

static void
on_request(struct evhttp_request *evhttp, void *arg)
{
	struct http_header headers[HEADERS_MAX];
	struct listener *listener = arg;
	struct connection *c = connection_find(listener->server, evhttp_request_get_connection(evhttp));
	struct evbuffer *body = evhttp_request_get_input_buffer(evhttp);
	struct exchange *x = c != NULL ? calloc(1, sizeof(*x)) : NULL;
	const char *why;

	if (x == NULL) {
		evhttp_send_error(evhttp, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	*x = (struct exchange){ .connection = c, .evhttp = evhttp };
	x->request = (struct http_request){ .method = method_name(evhttp_request_get_command(evhttp)),
		.target = evhttp_request_get_uri(evhttp),
		.headers = headers,
		.n_headers = collect_headers(evhttp, headers),
		.body = (const char *)evbuffer_pullup(body, -1),
		.body_len = evbuffer_get_length(body),
		.peer = c->peer,
		.reply = server_send };
	c->exchange = x;
	connection_enter(c, CONNECTION_HANDLING);
	if (x->request.n_headers > HEADERS_MAX)
		why = "too many headers";
	else
		why = refusal(c, &x->request);
	x->close = why != NULL || must_close(c, &x->request);
	dispatch(x, why);
}

/* ---- the server ---- */

/* evhttp tells of what it does not like in a request. That is the peer's, and may quote it. */
static void
log_nothing(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

int
server_new(struct event_base *base, struct server_shared *shared, struct server **out)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return -1;
	event_set_log_callback(log_nothing);
	server->base = base;
	server->shared = shared;
	TAILQ_INIT(&server->listeners);
	TAILQ_INIT(&server->fresh);
	TAILQ_INIT(&server->quiet);
	TAILQ_INIT(&server->busy);
	TAILQ_INIT(&server->last);
	server->changed = event_new(base, -1, 0, connections_changed, server);
	server->sweep = event_new(base, -1, EV_PERSIST, connections_sweep, server);
	if (server->changed == NULL || server->sweep == NULL || event_add(server->sweep, &second) != 0) {
		server_free(server);
		return -1;
	}
	*out = server;
	return 0;
}

int
server_listen(struct server *server, int fd, const struct http_handler *handlers, size_t n)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -1;
	*l = (struct listener){ .server = server, .handlers = handlers, .n_handlers = n };
	if ((l->evhttp = evhttp_new(server->base)) == NULL) {
		free(l);
		return -1;
	}
	/*
	 * Every method, also those that evhttp does not know: it would answer them by itself, and go on with the body.
	 */
	evhttp_set_allowed_methods(l->evhttp, 0xffff);
	evhttp_set_max_headers_size(l->evhttp, SERVER_HEAD_MAX);
	evhttp_set_max_body_size(l->evhttp, SERVER_BODY_MAX);
	evhttp_set_timeout(l->evhttp, SERVER_IDLE_S + SERVER_REQUEST_S);
	evhttp_set_bevcb(l->evhttp, connection_make, l);
	evhttp_set_gencb(l->evhttp, on_request, l);
	if ((l->bound = evhttp_accept_socket_with_handle(l->evhttp, fd)) == NULL) {
		evhttp_free(l->evhttp);
		free(l);
		return -1;
	}
	TAILQ_INSERT_TAIL(&server->listeners, l, entry);
	return 0;
}

void
server_stop(struct server *server)
{
	struct listener *l;

	server->stopping = true;
	TAILQ_FOREACH(l, &server->listeners, entry)
	{
		if (l->bound != NULL)
			evhttp_del_accept_socket(l->evhttp, l->bound);
		l->bound = NULL;
	}
}

size_t
server_busy(const struct server *server)
{
	return server->n_busy;
}

void
server_free(struct server *server)
{
	struct listener *l;

	connections_changed(-1, 0, server);
	while (!TAILQ_EMPTY(&server->quiet))
		connection_close(TAILQ_FIRST(&server->quiet));
	while (!TAILQ_EMPTY(&server->busy))
		connection_close(TAILQ_FIRST(&server->busy));
	while ((l = TAILQ_FIRST(&server->listeners)) != NULL) {
		TAILQ_REMOVE(&server->listeners, l, entry);
		evhttp_free(l->evhttp);
		free(l);
	}
	if (server->changed != NULL)
		event_free(server->changed);
	if (server->sweep != NULL)
		event_free(server->sweep);
	free(server->by_fd);
	free(server);
}
