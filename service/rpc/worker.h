/*
 * worker.h - what a thread needs to answer one request after the other: scratch memory, a read transaction on each
 * environment, counters. One thread uses a worker at a time; the transport has one for each thread that answers.
 */
#ifndef WORKER_H
#define WORKER_H

#include "service/rpc/call.h"
#include "service/rpc/verify.h"

struct worker {
	struct service *service;
	struct call call;                        /* the request at hand */
	struct store_txn *readers[ENVIRONMENTS]; /* made at the first use */
	struct tally tally;
	int64_t began_ns;    /* when the bytes of the request at hand, and of those that are kept, were read */
	struct worker *next; /* in the service's list */
	struct kept kept;    /* VerifyKeys that have begun */
	struct verification batch[LIMIT_BATCH];
};

/* Returns: 0; -1 when there is no memory. From here on Stats adds up the worker's counters. */
int worker_init(struct worker *worker, struct service *service);
/* Threads: no other may be in Stats. */
void worker_fini(struct worker *worker);

/* This worker's read transaction on an engine. NULL when there is no memory. */
struct store_txn *worker_reader(struct worker *worker, struct engine *engine);
/* Let go of a database, which may then be closed. Threads: no request uses the worker's transaction on it. */
void worker_free_reader(struct worker *worker, enum environment environment);
void worker_free_readers(struct worker *worker);

#endif
