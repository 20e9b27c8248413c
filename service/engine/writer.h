/*
 * writer.h - one environment's only writer: a thread that takes the waiting mutations, decides and applies all of them in
 * one transaction, commits once, and only then answers them. The same thread is the sweeper, which turns the end of a
 * grace into a committed fact, and makes the steps of a pepper's rotation.
 */
#ifndef WRITER_H
#define WRITER_H

#include "proto/c/position.h"
#include "service/base/clock.h"
#include "service/keys/decide.h"
#include "service/engine/lastused.h"
#include "service/store/store.h"

struct writer;
struct mutation;
struct order;
struct order_options;

/*
 * Make ${change} out of the mutation, and its reply: the bytes of the method's response message. May be called again
 * after a rollback. Threads: the writer's. Returns: 0, or a negative fault with a sentence at mutation->why.
 *
 * A mutation that needs several changes returns MUTATION_MORE with each but the last. The change is then applied, and the
 * callback is called again, with mutation->step counted up from 0 and a view that includes what was applied. All changes
 * are in one transaction. The last one holds the reply and the token. Everything but a fault of the storage that can refuse
 * the mutation must be checked at step 0, before a change is applied.
 */
#define MUTATION_MORE 1
typedef int (*mutation_decide_cb)(struct mutation *mutation, const struct view *view, struct change *change);

/*
 * The end. ${fault} is 0: mutation->reply is committed, or is the reply to the token's first use; or a negative fault with
 * mutation->why. The mutation is the caller's again, and has to be wiped. Threads: the writer's, which must not be blocked.
 */
typedef void (*mutation_done_cb)(struct mutation *mutation, int fault);

/* Belongs to the caller, but is the writer's between writer_submit() and done. */
struct mutation {
	mutation_decide_cb decide;
	mutation_done_cb done;
	void *arg;
	int64_t deadline_ms; /* by clock_boot_ms(): checked before the work */
	unsigned weight;     /* how many ordinary mutations it counts for in a commit; 0 is 1 */
	bool is_local; /* in a cluster, too, it is of this node alone: committed here, and not ordered by the log */
	unsigned step;       /* how many of its changes have been applied in this transaction */
	struct peer by;      /* who asks, and for whom: for the events of its changes */
	char on_behalf_of[LIMIT_ON_BEHALF_OF + 1];
	uint8_t token[LIMIT_TOKEN];
	uint8_t request[PEPPER_DIGEST_LEN]; /* pepper_request() of the method and its request, without the token */
	uint8_t reply[RECORD_REPLY_MAX];
	size_t reply_len;
	bool replayed; /* the reply is the one to the token's first use */
	why_text why;
	struct position at; /* what the answer was decided on: the newest entry of the cluster's log; none in no cluster */
	/*
	 * The request itself, token included, for another node of a cluster that may be asked to make the change in this
	 * node's place. Borrowed until done. ${method}: with its service; NULL: this node makes it.
	 */
	const char *method;
	const uint8_t *body;
	size_t body_len;
	const char *traceparent;
	/* the writer's */
	struct mutation *next;
	int fault;
	/* In a cluster: what it waits for, and whether it was decided on a state that was confirmed (see fleet_confirm()). */
	uint64_t confirm;   /* this confirmation; 0: none */
	uint64_t effective; /* this entry to be effective everywhere; 0: none */
	bool confirmed;
	uint64_t confirmed_head; /* see fleet_confirmed() */
	uint64_t found_at;       /* the newest entry that was applied when its token was found; 0: it was not */
	bool forwarded;          /* another node was asked once */
	struct ask *ask;         /* while it is */
	int64_t forwarded_until_ms;
};

#define WRITER_GROUPS 10 /* commits of 1, 2, up to 4 and so on to 512 changes: see buckets.h */
#define WRITER_STATES (KEY_REVOKED + 1)

struct writer_counters {
	uint64_t mutations, replays, refused, commits, keys_expired;
	uint64_t groups[WRITER_GROUPS]; /* commits by the mutations in them */
	uint32_t queue_depth;
	bool keys_counted;            /* false: ${keys} are not known yet */
	uint64_t keys[WRITER_STATES]; /* by their state, as committed */
	/* Superseded keys that were used in a later minute than that of their roll; and the soonest end of one, or 0. */
	uint64_t superseded_in_use;
	int64_t superseded_in_use_end_ms;
};

/*
 * writer_start(store, clock, lastused, order, writer, why, why_len):
 * Bring ${clock} up to the newest committed time, and start the thread. All three outlive the writer. ${order}: for a
 * database that is in a cluster, or will be; copied.
 * Returns: 0; -FAULT_CORRUPT, -FAULT_DISK or another negative fault with a line at ${why}.
 */
int writer_start(struct store *store, struct clock *clock, struct lastused *lastused,
    const struct order_options *order, struct writer **writer, char *why, size_t why_len);
/* Finish what is queued, then end. Nothing may be submitted from here on. */
void writer_stop(struct writer *writer);

/*
 * writer_submit(writer, mutation):
 * Queue ${mutation}. Returns: 0: done will be called once; -FAULT_RESOURCE_EXHAUSTED: the queue is full, and it will not.
 * Threads: any. Never blocks for longer than another submit.
 */
int writer_submit(struct writer *writer, struct mutation *mutation);

/*
 * writer_offer_pepper(writer, file):
 * The pepper's file was read anew. If it has more lines than before, the writer begins a rotation as soon as no other is
 * under way. If it lacks a line, it is refused, and the log says so. This returns without waiting for either.
 * Ownership: taken. Threads: any.
 */
void writer_offer_pepper(struct writer *writer, struct pepper *file);

/*
 * writer_expire_soon(writer):
 * A verify has answered EXPIRED for a key whose state is still grace: commit its end now. The sweeper wakes by itself at
 * deadlines, but up to a second late when the wall clock was set forward.
 * Threads: any. Takes a lock only when it is the first call since the sweeper's last run.
 */
void writer_expire_soon(struct writer *writer);

/* NULL: this environment is in no cluster. Once there is one, it stays until writer_stop(). Threads: any. */
struct order *writer_order(struct writer *writer);
/*
 * The database was put into a cluster by the mutation whose done is running: from now on the cluster orders the changes.
 * Threads: the writer's.
 */
void writer_join_cluster(struct writer *writer);
/*
 * The daemon ends: take this node out of its cluster, and answer what waits for other nodes. Waits up to ${wait_ms} for
 * etcd. Does nothing where there is no cluster. Threads: any.
 */
void writer_leave_cluster(struct writer *writer, int64_t wait_ms);

/* Also asks for a newer count of the superseded keys in use, for the next time. Threads: any. */
void writer_count(struct writer *writer, struct writer_counters *counters);

#endif
