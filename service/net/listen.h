/*
 * listen.h - the sockets: receive, have it answered, send. listen.c, its parts listen_*.c and nng_quirks.c are the
 * only files of the daemon that know nng.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include "service/rpc/service.h"

struct transport;

/*
 * listen_open(service, config, transport, why, why_len):
 * Make the contexts and open every listener; requests are answered from here on. A path that is there and no socket is
 * refused, and so is one that another program listens on.
 * Returns: 0; -1 with one line at ${why}.
 */
int listen_open(
    struct service *service, const struct config *config, struct transport **transport, char *why, size_t why_len);

/*
 * listen_guard(transport, interrupted):
 * To be called every second. Asks each listener as a client would; one that does not answer any more is closed and
 * opened again. Looks now and then whether connections stay open that their peers have left. ${interrupted} is asked
 * between listeners, each of which may take half a second: when it says true the rest is left.
 * Returns: 0; -1 when only a restart helps: descriptors leak.
 */
int listen_guard(struct transport *transport, bool (*interrupted)(void));

/*
 * listen_reload(transport, config, why, why_len):
 * Have each tls+tcp listener show and ask for what the files that ${config} names for it hold now, and each unix listener
 * answer the users whom ${config} allows. Connections that are open stay so. A listener that ${config} does not have stays
 * as it is, too.
 * Ownership: ${config} is borrowed while listen_uses() says so, and until listen_passed() after that.
 * Returns: 0; -1 with one line at ${why}: a file cannot be used, no listener has changed, and nothing is borrowed.
 */
int listen_reload(struct transport *transport, const struct config *config, char *why, size_t why_len);
/* Is ${config} the last that had one of the listeners? */
bool listen_uses(const struct transport *transport, const struct config *config);

/* Has every context been seen without a request since the last listen_mark()? Both are the main thread's. */
void listen_mark(struct transport *transport);
bool listen_passed(struct transport *transport);

/*
 * listen_drain(transport, drain_ms):
 * From here on requests are answered with UNAVAILABLE. Waits until no earlier one is under way, and lets go of the
 * databases, which may then be closed. Returns: 0; -1 when ${drain_ms} passed before that.
 */
int listen_drain(struct transport *transport, uint32_t drain_ms);

/* Give the last replies time to leave, close everything, free. */
void listen_close(struct transport *transport);

#endif
