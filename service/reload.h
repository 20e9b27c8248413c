/*
 * reload.h - new settings, and new lines of peppers, for a running daemon: what SIGHUP changes, and when the old settings may
 * be freed.
 */
#ifndef RELOAD_H
#define RELOAD_H

#include "service/net/server.h"

struct retired;

/* Threads: the main thread's, all of it. */
struct reload {
	struct service *service;
	struct server *server;
	const struct config *start; /* what the daemon was started with: what cannot be reloaded is as it says */
	struct retired *current;    /* NULL: ${start} */
	struct retired *retired;    /* replaced, and perhaps still read by a request */
};

/* ${start} is borrowed until reload_fini(), and is what ${service} uses until the first reload. */
void
reload_init(struct reload *reload, struct service *service, struct server *server, const struct config *start);
/* No request may be under way. */
void reload_fini(struct reload *reload);

/*
 * reload_apply(reload, config, why, why_len):
 * Have ${config} answer requests from here on, as far as it can: operations, timeout, in_flight, drain, the log, and of
 * each listener the TLS files and allow_users. What else is not as the daemon was started is named in a warning, each time.
 * Ownership: ${config} is moved from and left empty; untouched on failure.
 * Returns:   0; -1 with one line at ${why}, and nothing has changed.
 */
int reload_apply(struct reload *reload, struct config *config, char *why, size_t why_len);

/*
 * Read the pepper's file of each environment anew, at the path that the daemon was started with. A new line begins a rotation (see
 * writer_offer_pepper()); a file that cannot be used is told in the log, and changes nothing.
 */
void reload_peppers(struct reload *reload);

/* To be called now and then: free what no request can still use. */
void reload_tidy(struct reload *reload);

#endif
