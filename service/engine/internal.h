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

#define CENSUS_STEP 32

struct census {
	/* keys by state */
	bool begun, counted;
	bool gave_up;                                        /* a page is damaged */
	uint8_t at[RECORD_DIGEST_LEN];                       /* once begun: the last key that was read */
	unsigned step;                                       /* keys that this step has read */
	int64_t keys[WRITER_STATES], pending[WRITER_STATES]; /* pending: of the transaction at hand */
	int64_t next_ms;
	/* superseded keys in use */
	bool walking;
	struct store_due after, due[CENSUS_STEP];
	uint64_t in_use;
	int64_t in_use_end_ms;
	int64_t walk_ms; /* when this walk has begun, or when the next one begins */
	int64_t soon_ms; /* when one begins that was asked for */
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
	struct census census;
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

	_Atomic bool expiry_asked; /* writer_expire_soon(), until the sweeper has run; set by any thread */

	_Atomic uint64_t mutations, replays, refused, commits, keys_expired; /* read by any thread */
	_Atomic uint64_t groups[WRITER_GROUPS];
	_Atomic uint32_t queue_depth;
	/* What the census has counted. */
	_Atomic bool keys_counted;
	_Atomic uint64_t keys[WRITER_STATES];
	_Atomic uint64_t superseded_in_use;
	_Atomic int64_t superseded_in_use_end_ms;
	_Atomic bool census_asked; /* set by any thread */
};

static inline void
writer_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* For log lines. */
const char *writer_environment(const struct writer *w);

/* ---- census.c ---- */

/* Apply w->change, and note what becomes of the keys in it. Returns what store_apply() returns. */
int census_apply(struct writer *w, struct record_state *next);
/* What was noted since census_forget() is committed; it is not. */
void census_committed(struct writer *w);
void census_forget(struct writer *w);

/* How long until there is a step to make; 0: now. */
int64_t census_wait_ms(const struct writer *w);
/* One step, if one is due. */
void census_run(struct writer *w);
/* A rotation begins: what is not counted to the end is counted from the beginning. */
void census_restart(struct writer *w);

/* ---- commit.c ---- */

/* Begin a transaction of w->txn. Returns 0, or a negative fault. */
int commit_begin(struct writer *w);

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
