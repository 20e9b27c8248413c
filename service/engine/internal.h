/*
 * internal.h - the inside of a writer, which the files of this room share: writer.c has the thread and its queue,
 * commit.c the changes, sweeper.c the deadlines, rotation.c the pepper. No other room includes it.
 *
 * Threads: the writer's, for all functions in here and for every field that is not marked otherwise.
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "service/engine/writer.h"
#include "service/store/change.h"
#include "service/store/time.h"

/* Times by clock_boot_ms(), unless they are deadlines of keys. */

#define RETRY_MS 1000 /* after this pause a step that failed is tried again, and the clock, which may be set, is read */
#define FLUSH_MS 10000  /* between writes of last-used times: so many may be missing after a crash */
#define UPKEEP_MS 60000 /* between looks at old tokens and dead readers, between commits of the time, between reports */

struct sweeper {
	int64_t next_expiry_ms; /* the next deadline of a key; INT64_MAX: none */
	int64_t next_upkeep_ms;
	int64_t retry_ms; /* after a sweep that left something undone */
	int64_t next_report_ms;
	struct store_due due[LIMIT_COMMIT];
	struct store_due swept; /* up to here; what is still due there is tried again at the next upkeep */
};

struct rotation {
	struct pepper *file; /* the pepper's file, which was read anew and is to be offered to the store; NULL: none */
	int64_t retry_ms;
	int64_t next_report_ms;
};

struct writer {
	struct store *store;
	struct store_txn *txn;    /* for writing */
	struct store_txn *reader; /* for reading between commits */
	struct clock *clock;
	struct lastused *lastused;
	struct record_state state; /* as committed */
	struct change change;      /* the change at hand: too large for the stack, and it holds a sealed secret */
	struct sweeper sweeper;
	struct rotation rotation;
	int64_t next_look_ms;  /* at the database's file and its readers */
	bool readers_full;     /* and the log says so */
	int64_t next_flush_ms; /* of last-used times */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct mutation *head; /* under lock: this and the next four */
	struct mutation **tail;
	unsigned depth;
	bool stopping;
	struct pepper *offered; /* becomes rotation.file */

	_Atomic uint64_t mutations, replays, refused, commits, keys_expired; /* read by any thread */
	_Atomic uint32_t queue_depth;
};

static inline void
writer_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* For log lines. */
const char *writer_environment(const struct writer *w);

/* ---- commit.c ---- */

/* Decide, apply and commit ${batch}, in as few transactions as possible, and answer each of its mutations. */
void commit_batch(struct writer *w, struct mutation *batch, int64_t now_ms);

/*
 * Commit the transaction of w->txn with ${next}, which becomes w->state. A failure is logged. Returns 0, or a negative
 * fault; -FAULT_INTERNAL: the disk may or may not have it.
 */
int commit_state(struct writer *w, const struct record_state *next);

/* A sentence for a fault of the storage. */
const char *commit_fault_text(int fault);

/* ---- sweeper.c ---- */

/* Make the end of every grace that has ended a committed fact, and forget old tokens; no more than a few commits. */
void sweeper_run(struct writer *w, int64_t now_ms);

/* Read the deadline to wake for. To be called after each commit of changes. */
void sweeper_look_ahead(struct writer *w);

/* ---- rotation.c ---- */

/* Is there a step to do now? */
bool rotation_is_due(const struct writer *w);

/* One step of a rotation, if one is due: its beginning, or some records in a commit of their own. */
void rotation_run(struct writer *w);

/* To be called when the rotation's last records may have been committed. */
void rotation_committed(struct writer *w);

/* Keep last-used times readable while keys get new digests. To be called once, before the thread starts. */
void rotation_init(struct writer *w);

#endif
