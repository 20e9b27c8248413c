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

#include "service/cluster/entry.h"
#include "service/engine/order.h"
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

#define COPY_PARTS 4 /* asked for at once */
#define COPY_UNFINISHED "copy.unfinished"
#define COPY_READY "copy.ready"

struct copy_part {
	struct ask *ask; /* NULL: none is under way */
	uint64_t offset;
	int64_t again_ms; /* of the first: not before; the other node is making the copy */
};

/* Of another node's database: see order_copy.c. */
struct copy {
	bool under_way;
	int fd; /* 0: none */
	uint8_t id[16], cluster[FLEET_ID_LEN], sha256[32];
	char address[ROW_ADDRESS_MAX + 1];
	unsigned tried; /* nodes, in vain */
	uint64_t size, written, next_offset, step;
	int64_t next_ms, wait_ms; /* until the next attempt */
	struct copy_part parts[COPY_PARTS];
	char why[200];
};

/* Changes that another node is asked to make: see order_forward.c. */
struct forward {
	struct mutation *list; /* under way */
	unsigned n;
	uint8_t leader[FLEET_ID_LEN]; /* who makes changes, and when its last entry was applied */
	int64_t led_ms;
	int64_t contended_until_ms, paused_until_ms;
};

/* Changes that are ordered by a cluster. Times by clock_boot_ms(). */
struct order {
	struct writer *writer;
	struct order_options options;
	struct record_cluster cluster; /* as committed. The writer's, as is all up to ${lock} */
	struct entry *entry;           /* under construction, or being applied */
	uint8_t *sealed;               /* ENTRY_MAX bytes */
	bool full;                     /* a change did not fit into ${entry} */
	struct mutation *proposed;     /* those whose changes are in the entry that is proposed */
	struct mutation *waiting;      /* for a confirmation, or until an entry is effective everywhere */
	struct mutation *confirmed;    /* to be decided once more */
	int64_t retry_ms;              /* after an entry that could not be applied or proposed */
	int64_t next_report_ms;
	int64_t begun_ms;
	int64_t expire_ms;             /* when to propose the end of keys whose grace has ended */
	uint64_t proposed_number;
	bool proposed_last;            /* the last entry was ours */
	struct copy copy;
	struct forward forward;
	uint8_t ask_key[ASK_KEY_LEN]; /* set once; any thread's */

	pthread_mutex_t lock; /* of the rest */
	struct fleet *fleet;
	uint8_t session[ORDER_SESSION_LEN];
	bool copy_ready;
	struct ask asks[ORDER_ASKS];
	uint64_t last_ask;
	void *held;
	void (*work)(void *order);
	bool ended;
	int64_t heard_ms;    /* of the agent */
	int64_t look_ms;     /* when order_look() looks again */
	bool told, was_fresh; /* what the log says of us */
	bool told_closed;
};

struct writer {
	struct store *store;
	struct order *_Atomic order; /* NULL: this environment is in no cluster. Set once, by the writer's thread */
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
	bool leaving; /* the cluster: nothing may wait for it any more */
	struct order_options order_options;
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

/*
 * Decide and apply one mutation on top of ${next}. Sets m->fault. Returns: 0: the transaction is sound, whether the
 * mutation was applied or refused; a negative fault: the transaction can only be aborted.
 */
int commit_attempt(struct writer *w, struct mutation *m, int64_t now_ms, struct record_state *next);

/* Answer the list ${batch}. */
void commit_answer(struct writer *w, struct mutation *batch);

/* Begin a transaction of w->txn. Returns 0, or a negative fault. */
int commit_begin(struct writer *w);

/* Decide, apply and commit ${batch}, in as few transactions as possible. It is not answered yet. */
void commit_settle(struct writer *w, struct mutation *batch, int64_t now_ms);
/* Likewise, and answer each of its mutations. */
void commit_batch(struct writer *w, struct mutation *batch, int64_t now_ms);

/*
 * Commit the transaction of w->txn with ${next}, which becomes w->state. A failure is logged. Returns 0, or a negative
 * fault; -FAULT_INTERNAL: the disk may or may not have it.
 */
int commit_state(struct writer *w, const struct record_state *next);

/* A sentence for a fault of the storage. */
const char *commit_fault_text(int fault);

/* ---- order.c ---- */

/* If the database is in a cluster, so is the writer from here on. Returns 0, or a negative fault. */
int order_begin(struct writer *w);
void order_free(struct order *order);
/* The database may be in another cluster: if so, be a node of that. Returns 1: it is; 0: it is not; a negative fault. */
int order_restart(struct order *order);
/* Have the agent look for transactions. */
void order_kick(struct order *order);
/* Tell verifies until when they may be answered, as the fleet says now; with ${lock}. */
void order_publish(struct order *order);

/* ---- order_commit.c ---- */

/* A change was decided and applied: add it to the entry. Returns 0, or -FAULT_RESOURCE_EXHAUSTED: it does not fit. */
int order_collect(struct writer *w);
/* Apply what the log has, answer what may be answered; then propose ${batch}, if order_may_take(). */
void order_run(struct writer *w, struct mutation *batch, int64_t now_ms);
/* May a batch be taken from the queue now, to be proposed, or to be refused because this node is out of touch? */
bool order_may_take(struct writer *w);
/* May an entry be proposed now, as far as the log and etcd are concerned? */
bool order_may_propose(struct writer *w);

/* ---- order_wait.c ---- */

#define ORDER_NOT_KNOWN \
	"the deadline passed, and it is not known yet whether the change was made: ask again with the same request_token"

/* Put ${more} behind ${list}. */
void order_append(struct mutation **list, struct mutation *more);
/* Answer one that is in no list any more. */
void order_answer(struct writer *w, struct mutation *m);
void order_refuse(struct writer *w, struct mutation *m, int fault, const char *why);
/* All of ${list}, which is empty then; those whose deadline has passed. */
void order_refuse_all(struct writer *w, struct mutation **list, int fault, const char *why);
void order_drop_late(struct writer *w, struct mutation **list, const char *why);
/* Answer those of order->waiting that can be answered; those that are confirmed go to order->confirmed. */
void order_settle(struct writer *w);
/* How long until there is something to do; 0: now. With the writer's lock, so that no wake-up is lost. */
int64_t order_wait_ms(struct writer *w);
/* Answer all: fobd ends. */
void order_give_up(struct writer *w);

/* ---- order_ask.c; with ${lock} ---- */

struct ask_request {
	uint8_t cluster[FLEET_ID_LEN];
	const char *address, *method;
	const uint8_t *body;
	size_t len;
	uint32_t timeout_ms;
	const char *traceparent, *on_behalf_of; /* NULL: none */
	const struct peer *by;                  /* whose request this node forwards; NULL: it asks for itself */
};
/* Ask another node; copied. NULL: too many are under way, or no memory. ask_end() frees and wipes it. */
struct ask *ask_begin(struct order *order, const struct ask_request *request);
void ask_end(struct ask *ask);
/* Is it answered, or has it failed? */
bool ask_is_over(struct ask *ask);
/* The same, without ${lock}. */
bool order_ask_is_over(struct order *order, struct ask *ask);
void order_end_ask(struct order *order, struct ask *ask);
/* The agent that was asked is gone. */
void asks_lost(struct order *order);

/* ---- order_forward.c ---- */

/* The log's next entry, which ${proposer} has proposed, was applied. A proposal of this node was lost. */
void forward_applied(struct order *order, const uint8_t proposer[FLEET_ID_LEN]);
void forward_lost(struct order *order);
/* Take the answers of other nodes. Then ask for those of order->confirmed that another node is to make. */
void forward_run(struct writer *w);
/* When there is an answer to take, by clock_boot_ms(); INT64_MAX: that is not known. With ${lock}. */
int64_t forward_wait_ms(struct order *order, int64_t now_ms);
void forward_give_up(struct writer *w, int fault, const char *why);

/* ---- order_copy.c ---- */

/* Fetch a copy, if this node needs one. */
void copy_run(struct writer *w);
/* When it has something to do, by clock_boot_ms(); INT64_MAX: that is not known. With ${lock}. */
int64_t copy_wait_ms(struct order *order, int64_t now_ms);
/* Drop what was fetched. */
void copy_free(struct writer *w);

/* ---- sweeper.c ---- */

/* Make the end of every grace that has ended a committed fact, and forget old tokens; no more than a few commits. */
void sweeper_run(struct writer *w, int64_t now_ms);

/* Is a key in grace, and has no time been committed for a minute? */
bool sweeper_time_is_due(const struct writer *w, int64_t now_ms);

/* Read the deadline to wake for. To be called after each commit of changes. */
void sweeper_look_ahead(struct writer *w);

/* ---- rotation.c ---- */

/* Is there a step to do now? */
bool rotation_is_due(const struct writer *w);

/* One step of a rotation, if one is due: its beginning, or some records in a commit of their own. */
void rotation_run(struct writer *w);

/* A rotation that was prepared within a commit is committed: use it. */
void rotation_begun(struct writer *w);

/* To be called when the rotation's last records may have been committed. */
void rotation_committed(struct writer *w);

/* Keep last-used times readable while keys get new digests. To be called once, before the thread starts. */
void rotation_init(struct writer *w);

#endif
