/*
 * listen_internal.h - what listen.c and its parts, the listen_*.c, share: a transport's listeners and their contexts,
 * and what the parts call of each other. For those files alone; everybody else sees listen.h.
 */
#ifndef LISTEN_INTERNAL_H
#define LISTEN_INTERNAL_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "service/net/arrivals.h"
#include "service/rpc/call.h"
#include "service/net/listen.h"
#include "service/net/orphans.h"
#include "service/net/pipes.h"

#define PROBE_MS 500

enum context_state { CONTEXT_RECEIVING, CONTEXT_WORKING, CONTEXT_SENDING };

struct listener;

struct context {
	struct listener *listener;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *msg; /* the request, whose memory becomes the reply's */
	nng_pipe pipe;
	struct pipe *counted;
	_Atomic enum context_state state;
	bool passed; /* listen_passed()'s */
	struct call call;
};

struct listener {
	struct transport *transport;
	const struct config_listener *config;          /* as the daemon was started */
	const struct config_listener *_Atomic current; /* of the last reload that had it: whose requests are answered */
	nng_socket socket;
	nng_listener listener;
	nng_tls_config *tls;     /* in use */
	nng_tls_config *old_tls; /* was in use, and may still be read: see swap_tls() */
	struct context *contexts;
	unsigned n_contexts;
	unsigned silent; /* guard rounds without an answer */
};

struct transport {
	struct service *service;
	const struct config *config;
	struct pipes *pipes;
	struct listener listeners[LIMIT_LISTENERS];
	size_t n_listeners;
	struct tally **tallies;
	unsigned guard_round, tell_round;
	struct orphans orphans;     /* the guard's */
	struct arrivals_stats told; /* as the log last had them */
	uint64_t accepted, crowd;   /* connections up to the last round; those since memory was given back */
	_Atomic uint64_t refused, dropped, restarts;
};

/*
 * listen_contexts_open(l): make ${l}'s contexts, on its open socket. None receives before listen_receive().
 * Returns: 0, or an error of nng's; what has been made is freed by listen_contexts_free().
 */
int listen_contexts_open(struct listener *l);
void listen_receive(struct context *c);
/* The first before ${l}'s socket is closed, the second after it. */
void listen_contexts_stop(struct listener *l);
void listen_contexts_free(struct listener *l);

/* Answer the users of ${current} from here on. It is borrowed as listen_reload() says. */
void listen_allow(struct listener *l, const struct config_listener *current);

/* What nng calls when a connection comes and goes. ${arg}: the transport. */
void listen_pipe_event(nng_pipe pipe, nng_pipe_ev event, void *arg);

/*
 * listen_start(l, why, why_len): listen at ${l}'s URL, for the first time or again after nng_listener_close().
 * Returns: 0; -1 with one line at ${why}, and nothing is open.
 */
int listen_start(struct listener *l, char *why, size_t why_len);

bool listen_is_tls(const struct config_listener *config);
/* Give ${l}, which has not started yet, its TLS files. Returns: 0; -1 with one line at ${why}. */
int listen_tls_set(struct listener *l, char *why, size_t why_len);
/* Free what ${l} had before the last reload, once nng cannot read it any more. Returns false while it still may. */
bool listen_tls_settle(struct listener *l);
/* NULL is fine. */
void listen_tls_free(nng_tls_config *tls);

#endif
