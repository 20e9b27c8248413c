/*
 * server.h - HTTP connections of one thread, over libevent's evhttp. Only server*.c know evhttp.
 *
 * evhttp takes much of what it should refuse; service/NOTES.md has what was found. So this server refuses by itself,
 * and closes a connection whenever it cannot be sure where the next request begins: it answers one request at a time,
 * and a request with bytes behind it is the connection's last.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "client/http/request.h"

#define SERVER_HEAD_MAX 16384
#define SERVER_BODY_MAX 131072
#define SERVER_REQUEST_S 10 /* from a request's first byte to its last, and from a reply to its being taken */
#define SERVER_IDLE_S 75    /* between requests */

struct http_handler {
	const char *path; /* of the request's target, without its query */
	bool below;       /* and every path below it */
	bool no_body;     /* a request with a body is its connection's last */
	http_handler_fn handle;
	void *arg;
};

/* What the servers of all threads share. */
struct server_shared {
	atomic_uint open; /* connections */
	atomic_uint most; /* of them, since memory was given back */
	unsigned
	    connections; /* the most of them; one more closes the one of its thread that has been quiet for longest */
};

struct server;

/*
 * server_new(base, shared, server):
 * Returns: 0; -1 when out of memory.
 */
int server_new(struct event_base *base, struct server_shared *shared, struct server **server);

/*
 * server_listen(server, fd, handlers, n):
 * Answer requests of connections that come in at ${fd}, a socket that listens: each by the first of ${n} ${handlers}
 * whose path it has, or by 404.
 * Ownership: ${fd} is the server's; ${handlers} are borrowed until server_free().
 * Returns:   0; -1 when out of memory, and ${fd} is still the caller's.
 */
int server_listen(struct server *server, int fd, const struct http_handler *handlers, size_t n);

/* Take no more connections, and close each after its next reply. Those that stay quiet are closed by server_free(). */
void server_stop(struct server *server);
/* How many requests wait for their reply, or replies to be taken. */
size_t server_busy(const struct server *server);

/* Close all connections. A request that waits for its reply can still be answered: the reply goes nowhere. */
void server_free(struct server *server);

#endif
