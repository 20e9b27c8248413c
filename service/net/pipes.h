/*
 * pipes.h - the connections that are there, by the transport's number for them, and how many requests each has under
 * way. Contexts look a connection up on every request, so that takes no lock; connections come and go under one.
 */
#ifndef PIPES_H
#define PIPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "service/rpc/call.h"

struct pipes;

struct pipe {
	_Atomic uint32_t id;        /* 0: a free place */
	_Atomic uint32_t working;   /* requests without a reply yet: what the peer can know of */
	_Atomic uint32_t in_flight; /* those, and replies that the transport has not taken yet */
	_Atomic bool dropped;       /* closed by us, for not taking its replies */
	struct peer peer;           /* set before the first request, and read by requests only */
	_Atomic bool gone;          /* the connection has closed; the place is free when nothing is in flight */
};

/* ${most}: connections at once. NULL when there is no memory. */
struct pipes *pipes_new(unsigned most);
void pipes_free(struct pipes *pipes);

/*
 * Count a connection, before its first request; ${peer}, if not NULL, is who made it. Returns false when there are
 * ${most} already: the connection is to be refused. Threads: any.
 */
bool pipes_add(struct pipes *pipes, uint32_t id, const struct peer *peer);
/* A connection has closed. One that was refused is no news. */
void pipes_remove(struct pipes *pipes, uint32_t id);
unsigned pipes_count(struct pipes *pipes);

/*
 * pipes_enter(pipes, id, load):
 * Count a request of connection ${id}; *${load} is what the connection has now, this request included.
 * Returns: the connection, for pipes_replied() and then pipes_leave(); NULL when it has closed already, which is fine
 * for both.
 */
struct pipe_load {
	uint32_t working;
	uint32_t in_flight;
};
struct pipe *pipes_enter(struct pipes *pipes, uint32_t id, struct pipe_load *load);
/* Its reply is about to be sent. Before, not after: the peer may have it, and send its next request, at once. */
void pipes_replied(struct pipe *pipe);
void pipes_leave(struct pipes *pipes, struct pipe *pipe);

/* Say that the connection is being closed. Returns true to the first who says so, and false for NULL. */
bool pipes_drop(struct pipe *pipe);

#endif
