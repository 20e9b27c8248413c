/*
 * pipes.h - the connections that are there, by the transport's number for them, and how many requests each has under
 * way. Contexts look a connection up on every request, so that takes no lock; connections come and go under one.
 */
#ifndef PIPES_H
#define PIPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pipes;

struct pipe {
	_Atomic uint32_t id; /* 0: a free place */
	_Atomic uint32_t in_flight;
	_Atomic bool gone; /* the connection has closed; the place is free when nothing is in flight */
};

/* ${most}: connections at once. NULL when there is no memory. */
struct pipes *pipes_new(unsigned most);
void pipes_free(struct pipes *pipes);

/* Returns false when there are ${most} already: the connection is to be refused. Threads: any. */
bool pipes_add(struct pipes *pipes, uint32_t id);
/* A connection has closed. One that was refused is no news. */
void pipes_remove(struct pipes *pipes, uint32_t id);
unsigned pipes_count(struct pipes *pipes);

/*
 * pipes_enter(pipes, id, in_flight):
 * Count a request of connection ${id}; *${in_flight} is how many it has now, this one included.
 * Returns: the connection, for pipes_leave(); NULL when it has closed already, which is fine for both.
 */
struct pipe *pipes_enter(struct pipes *pipes, uint32_t id, uint32_t *in_flight);
void pipes_leave(struct pipes *pipes, struct pipe *pipe);

#endif
