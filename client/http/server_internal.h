/*
 * server_internal.h - what server.c (requests), server_reply.c (replies), server_connection.c (connections) and
 * server_memory.c (their memory) share.
 */
#ifndef HTTP_SERVER_INTERNAL_H
#define HTTP_SERVER_INTERNAL_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

#include "client/http/headers.h"
#include "client/http/reply.h"
#include "client/http/server.h"

enum connection_state {
	CONNECTION_NEW,      /* evhttp has not finished making it */
	CONNECTION_IDLE,     /* between requests */
	CONNECTION_READING,  /* a part of a request is here */
	CONNECTION_HANDLING, /* a handler has the request */
	CONNECTION_WRITING,  /* a reply is on its way */
	CONNECTION_LAST      /* its last reply has left */
};

struct listener {
	TAILQ_ENTRY(listener) entry;
	struct server *server;
	struct evhttp *evhttp;
	struct evhttp_bound_socket *bound; /* NULL: stopped */
	const struct http_handler *handlers;
	size_t n_handlers;
	unsigned n_fresh; /* accepted in this turn of the loop */
};

/* A request that a handler has. Its first member is what the handler sees. */
struct exchange {
	struct http_request request;
	struct connection *connection; /* NULL: it was closed meanwhile */
	struct evhttp_request *evhttp;
	bool close;
};

struct connection {
	TAILQ_ENTRY(connection) entry;
	struct listener *listener;
	struct bufferevent *bev;
	struct event *readable; /* see on_readable() */
	unsigned early;         /* how often that was called while a request was handled or answered */
	struct evhttp_connection *evhttp;
	struct exchange *exchange; /* while HANDLING */
	struct peer peer;
	enum connection_state state;
	bool close;       /* after the reply that is on its way */
	int64_t since_ms; /* it is in this state */
	struct head_scan scan;
};

TAILQ_HEAD(connections, connection);

struct server {
	struct event_base *base;
	struct server_shared *shared;
	struct event *changed, *sweep;
	TAILQ_HEAD(, listener) listeners;
	struct connections fresh; /* NEW */
	struct connections quiet; /* IDLE and READING, the one that has been so for longest first */
	struct connections busy;  /* HANDLING and WRITING */
	struct connections last;  /* LAST */
	size_t n_busy;
	struct connection **by_fd;
	size_t n_by_fd;
	bool stopping;
	time_t date_s;
	char date[REPLY_DATE_SIZE]; /* of that second */
};

/* A handler's reply: see struct http_request. */
void server_send(struct http_request *request, const struct http_reply *reply);

/* For evhttp_set_bevcb(): makes the bufferevent of a connection that was accepted. ${arg}: the listener. */
struct bufferevent *connection_make(struct event_base *base, void *arg);
/* Remember the connection at ${fd}. Returns: 0; -1 when out of memory. */
int server_remember(struct server *server, struct connection *connection, int fd);
void server_forget(struct server *server, const struct connection *connection);
/* One connection more is open. */
void server_count(struct server_shared *shared);
/* Give the memory of a crowd of connections back to the system when half of them have left. For each sweep. */
void server_trim(struct server_shared *shared);
/* The connection of a request; NULL: it is not known here. */
struct connection *connection_find(const struct server *server, struct evhttp_connection *evhttp);
/* Move it to another state, from now. */
void connection_enter(struct connection *connection, enum connection_state state);
/* Have evhttp close it. Not from within one of its own callbacks. */
void connection_close(struct connection *connection);

/* Events: ${arg} is the server. */
void connections_changed(evutil_socket_t fd, short what, void *arg);
void connections_sweep(evutil_socket_t fd, short what, void *arg);

#endif
