/*
 * coalesce.h - single verifies on their way to the transport: alone when nothing is under way, together in one
 * VerifyKeys when they had to wait.
 *
 * A lane here is a message with verifies that has been sent and not been answered. While one is free a call goes at
 * once, alone. Otherwise it waits, and the next message that is answered takes those that wait along, the oldest first,
 * at most FOB_BATCH_MAX and what fits one request. Nothing waits for company: only for a lane.
 *
 * What a caller sees is what it would see alone. It has its own deadline, on the wire too. A reply that refuses a batch
 * as a whole says nothing about its items: they are sent again in quarters, down to single ones, so that one that the
 * server refuses ends alone. Only UNAVAILABLE, which the transport has asked for again already, is everybody's.
 */
#ifndef CLIENT_COALESCE_H
#define CLIENT_COALESCE_H

#include <semaphore.h>

#include "client/transport.h"

struct coalescer;

/* One verify. Made by verify_new(); then the caller's of coalescer_submit() until it has ended. */
struct verify {
	struct call call; /* first: the transport hands it back. Its error is the verify's, whichever way it goes */
	enum fob_environment required;
	int fault;
	struct fob_verification result;
	fob_verify_cb callback; /* NULL: a thread waits at ${ended} */
	void *arg;
	sem_t ended;

	/* The coalescer's. */
	struct coalescer *coalescer;
	struct verify *next;
	unsigned company; /* the most items of a message that it may travel in */
	bool sent;        /* in a message that was refused */
	bool released;    /* its lane was given up before its end */
	size_t len;
	uint8_t bytes[]; /* the request's inner message */
};

/*
 * verify_new(request, deadline_ms, verify, error):
 * Check and encode ${request}. Freed with verify_free(); coalescer_submit() frees it after its callback, if it has one.
 * Returns: 0; FOB_EINVALID_ARGUMENT; FOB_EINTERNAL.
 */
int verify_new(
    const struct fob_verify_request *request, int64_t deadline_ms, struct verify **verify, struct fob_error *error);
void verify_free(struct verify *verify);

/* Returns: 0 or FOB_EINTERNAL. The transport outlives coalescer_stop(), and the coalescer the transport. */
int coalescer_new(const struct fob_options *options, struct transport *transport, struct coalescer **coalescer,
    struct fob_error *error);

/*
 * coalescer_submit(coalescer, verify):
 * Take ${verify}; it ends exactly once, never from within this function: its callback is called and it is freed, or
 * ${ended} is posted and it is the waiting thread's again.
 * Returns: 0; otherwise it was not taken, and its error is filled, as by transport_submit().
 */
int coalescer_submit(struct coalescer *coalescer, struct verify *verify);

/* Ends what waits with FOB_ECANCELLED, takes nothing more. What is on the wire ends with the transport. */
void coalescer_stop(struct coalescer *coalescer);
void coalescer_free(struct coalescer *coalescer);

#endif
