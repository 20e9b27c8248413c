/*
 * internal.h - what the files of this room share: the server, its listeners, their connections, and the memory in which
 * a thread works. Everybody else sees server.h.
 *
 * Locks: a connection's mutex, then the server's. Neither is held while a request is answered.
 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <nng/nng.h>
#include <pthread.h>

#include "proto/c/buffer.h"
#include "proto/c/sp.h"
#include "proto/c/tls.h"
#include "service/base/clock.h"
#include "service/net/server.h"
#include "service/rpc/worker.h"

/* Read into the connection itself: most requests fit, and an idle connection holds no more. */
#define FIRST_READ 1024

/* What one thread works in, for one wake-up after the other. */
struct workspace {
	struct worker worker;
	_Atomic bool busy;
	bool passed;       /* server_passed()'s */
	nng_aio *try_aio;  /* without a callback: see stream.h */
	struct buffer out; /* replies of the connection at hand */
	struct workspace *next, *next_idle;
	struct buffer plain;                 /* what TLS decrypted of it */
	uint8_t in[FIRST_READ + LIMIT_READ]; /* of the socket */
};

/* A list of connections, linked by one of their places. */
enum place { PLACE_ALL, PLACE_UNGREETED, PLACE_STALLED, PLACE_FLUSH, PLACES };

struct links {
	struct connection *next, *prev;
	bool listed;
};

struct list {
	struct connection *first, *last;
	size_t n;
};

/*
 * A connection: greeted, then read from, its requests answered, its replies sent. At any time one thread is its reader,
 * or a receive is under way, or it is paused until its replies have left.
 *
 * References: the reader's, the receive's or the pause's (one and the same); one of each change that is pending; of a send
 * that is under way; of a place in the list of those to be flushed.
 */
struct connection {
	struct listener *listener;
	nng_stream *stream;
	nng_aio *receive_aio;
	nng_aio *send_aio;       /* made when the socket is full for the first time */
	struct tls_session *tls; /* NULL without TLS; under the mutex */
	bool secured;            /* the TLS handshake is done */
	struct peer peer;
	struct budget budget;
	_Atomic unsigned refs;
	_Atomic unsigned changes; /* pending */
	struct links links[PLACES];
	size_t leaving; /* what its buffers held when it was closed */
	int64_t arrived_ms;
	_Atomic int64_t progress_ms; /* when the send that is under way began, or last got on */

	/* the reader's */
	struct workspace *ws; /* while it answers */
	bool greeted;
	bool more;        /* ${in} has frames that wait until replies have left */
	struct buffer in; /* what is left of the last turn: a part of a frame, or frames that wait for a pause to end */

	pthread_mutex_t mutex; /* of all below */
	bool closed;
	bool sending; /* ${sent} is under way */
	bool paused;
	struct buffer out;  /* to be sent next */
	struct buffer sent; /* being sent, from ${sent_at} on */
	size_t sent_at;

	uint8_t first[FIRST_READ]; /* what a receive reads into */
};

/* A log line that anybody can cause: at most one in a second, with how many were left out. */
struct rate_limit {
	_Atomic int64_t next_ms;
	_Atomic uint64_t left_out;
};

struct listener {
	struct server *server;
	const struct config_listener *config;          /* as the daemon was started */
	const struct config_listener *_Atomic current; /* of the last reload that had it: whose requests are answered */
	enum sp_framing framing;
	nng_stream_listener *stream_listener;
	nng_aio *accept_aio;
	SSL_CTX *tls; /* NULL without TLS. Replaced by a reload, under the server's mutex */
	/* under the server's mutex */
	struct list ungreeted; /* the oldest first */
	bool waiting;          /* no accept is under way: the sweep calls listener_resume() at ${retry_ms} */
	int64_t retry_ms;
	struct connection *newcomer; /* while ${waiting}: it was accepted, and waits for room */
	struct rate_limit handshakes, accepts, refusals;
};

struct server {
	struct service *service;
	const struct config *config;
	struct transport_ops ops;
	struct listener listeners[LIMIT_LISTENERS];
	size_t n_listeners;

	_Atomic uint32_t live;  /* connections that are open */
	struct budget budget;   /* of their buffers */
	_Atomic size_t leaving; /* the part of it of connections that are closed, which the sweep is about to free */
	_Atomic uint64_t refused, dropped;
	struct rate_limit relieved;

	pthread_mutex_t mutex; /* of all below */
	pthread_cond_t work;   /* for the sweep */
	bool closing;          /* no connection is begun any more */
	bool stop;             /* the sweep ends when no connection is left */
	struct list all, stalled, flush;
	struct connection *dead; /* to be freed, linked by next of PLACE_ALL */
	unsigned exist;          /* connections that are not freed yet */
	unsigned descriptors;    /* that were open at the last count */
	unsigned accepted;       /* since then */
	int64_t counted_ms;
	int64_t full_since_ms; /* when the first newcomer found no room since the last one that did; 0: none */
	uint64_t late, crowded; /* connections closed as they had not greeted; as too many had not */
	uint64_t late_told, crowded_told;
	int64_t tell_ms;
	size_t most_held;    /* since memory was given back */
	unsigned most_exist; /* likewise */

	pthread_mutex_t idle_mutex; /* of these two, and of each ${passed} */
	struct workspace *workspaces, *idle;

	pthread_t sweep;
	bool sweep_started;
	struct workspace *sweep_workspace;
};

/* ---- connection.c ---- */

/* A connection that was accepted. ${stream} is taken in any case. NULL: out of memory. */
struct connection *connection_new(struct listener *listener, nng_stream *stream);
/*
 * connection_begin(c, ws): send the greeting and begin to receive, or free ${c} if it is refused.
 * Returns false, and leaves ${c} to the caller, if there is no room now but may be soon: try again.
 */
bool connection_begin(struct connection *c, struct workspace *ws);
/* Close, for good. Returns: whether it was open. Threads: any; the caller has a reference. */
bool connection_close(struct connection *c);
/* The same for a caller that has the mutex. */
bool connection_close_locked(struct connection *c);
void connection_ref(struct connection *c);
void connection_unref(struct connection *c);
void connection_free(struct connection *c);

/* ---- reader.c ---- */

/* The first receive. The caller was the reader, and is not any more. */
void reader_begin(struct connection *c);
/*
 * The reader's work: ${n} bytes were received into ${first}; 0: a pause has ended. The caller is not the reader any more
 * when this returns.
 */
void reader_turn(struct connection *c, struct workspace *ws, size_t n);
/* What nng calls when a receive has ended. */
void reader_received(void *arg);

/* ---- receive.c ---- */

/*
 * receive_bytes(c, ws, n, look, more, bytes, len):
 * All bytes that are there to be looked at, ${n} of which were received into ${first}, and *${more} are received now: if
 * ${first} is full, or ${look} says so. They are in ${c}->in when that held some already, else in ${c} or ${ws}.
 * Returns false when the connection is to be closed.
 */
bool receive_bytes(struct connection *c, struct workspace *ws, size_t n, bool look, size_t *more, const uint8_t **bytes,
    size_t *len);

/* ---- send.c ---- */

/* Under the mutex. Send ${bytes} as they are, behind what waits already; copied only if the socket does not take them. */
void send_bytes(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len);
/* The same, encrypted where there is TLS; with whatever else the session has for the peer. */
void send_plain(struct connection *c, nng_aio *try_aio, const uint8_t *bytes, size_t len);
/* Send ${ws}->out. Returns whether all has left, so that the next request may be looked at. */
bool send_replies(struct connection *c, struct workspace *ws);
/* Send what changes have answered since the last time. */
void send_flush(struct connection *c, struct workspace *ws);

/* The transport's part of a request: see service.h. */
bool send_admit(const struct origin *origin);
void send_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted);

/* ---- listener.c ---- */

/* Returns: 0; -1 with one line at ${why}; what was begun is undone by listener_close() and _free(). */
int listener_open(struct listener *l, char *why, size_t why_len);
/* Accept the next connection, or have the sweep do it later. */
void listener_accept(struct listener *l);
/* For the sweep, when the wait is over: begin with the newcomer, if any, and accept the next connection. */
void listener_resume(struct listener *l, struct workspace *ws);
/* No accept is under way, and none begins, when this returns. */
void listener_close(struct listener *l);
void listener_free(struct listener *l);

/* ---- sweep.c ---- */

int sweep_start(struct server *server);
/* Returns when the sweep has freed every connection. */
void sweep_stop(struct server *server);

/* ---- server.c ---- */

/* NULL when there is no memory for one more. */
struct workspace *workspace_take(struct server *server);
/* NULL is fine. */
void workspace_give(struct server *server, struct workspace *ws);
/* It answers no request now, though it is not given back. */
void workspace_rest(struct workspace *ws);

/* Under the server's mutex. */
void list_add(struct list *list, struct connection *c, enum place place);
void list_remove(struct list *list, struct connection *c, enum place place);

/* Is it time for another line? *${left_out}: how many were not written since the last. */
bool rate_limit_pass(struct rate_limit *limit, uint64_t *left_out);

/* How many descriptors this process has open. */
unsigned descriptors_count(void);

/* All buffers together hold more than they may, those that are about to be freed not counted. */
bool server_holds_too_much(const struct server *server);
/* Then: close the connection that holds the most. */
void server_relieve(struct server *server);

#endif
