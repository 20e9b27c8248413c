/*
 * server.h - the sockets: connections are accepted, requests read from them and answered. The only room that knows nng
 * and OpenSSL; it knows nothing of keys.
 */
#ifndef SERVER_H
#define SERVER_H

#include "service/rpc/service.h"

struct server;

/* Threads that answer at once, at most: what an engine needs as many readers for. nng has 16 task threads at most. */
#define SERVER_WORKERS 24

/*
 * server_open(service, config, server, why, why_len):
 * Open every listener; requests are answered from here on. A path that is there and no socket is refused, and so is one
 * that another program listens on.
 * Ownership: both are borrowed until server_close(). ${service}->transport is set.
 * Returns:   0; -1 with one line at ${why}.
 */
int
server_open(struct service *service, const struct config *config, struct server **server, char *why, size_t why_len);

/*
 * server_reload(server, config, why, why_len):
 * Have each tls+tcp listener show and ask for what the files that ${config} names for it hold now, and each unix
 * listener answer the users whom ${config} allows. Connections that are open stay so. A listener that ${config} does not
 * have stays as it is.
 * Ownership: ${config} is borrowed while server_uses() says so, and until server_passed() after that.
 * Returns: 0; -1 with one line at ${why}: a file cannot be used, no listener has changed, and nothing is borrowed.
 */
int server_reload(struct server *server, const struct config *config, char *why, size_t why_len);
/* Is ${config} the last that had one of the listeners? */
bool server_uses(const struct server *server, const struct config *config);

/* Has every worker been seen without a request since the last server_mark()? Both are the main thread's. */
void server_mark(struct server *server);
bool server_passed(struct server *server);

/*
 * Free every worker's read transaction on the database of ${environment}. Its engine has been taken away from the service,
 * and server_passed() is true since. The main thread's.
 */
void server_free_readers(struct server *server, enum environment environment);

/*
 * server_drain(server, drain_ms):
 * From here on requests are answered with UNAVAILABLE. Waits until no earlier one is under way, and lets go of the
 * databases, which may then be closed. Returns: 0; -1 when ${drain_ms} passed before that.
 */
int server_drain(struct server *server, uint32_t drain_ms);

/* Give the last replies time to leave, close everything, free. NULL is fine. */
void server_close(struct server *server);

#endif
