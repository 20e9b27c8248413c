/*
 * fleet.h - what one node knows of its cluster: whether it may answer verifies, which entries of the log come next,
 * whether an entry is effective on every node, and who is a member. It speaks to etcd in transactions, which others carry
 * out. All arithmetic that keeps a stale answer from being given is in fleet.c.
 *
 * Pure: it reads no clock, makes no system call and knows no record. ${now_ms} is CLOCK_BOOTTIME, which never runs
 * backwards. So tests/cluster/ runs a hundred of them in virtual time.
 * Threads: one at a time; the caller has a lock.
 *
 * etcd's keys, below the environment's prefix:
 *
 *	head                  the cluster's id 16, the newest entry's number 8, its tag 16
 *	log/NUMBER            one entry, sealed: see entry.h
 *	nodes/REPLICA.LIFE    a row: one life of one replica. See row.h
 *	mark/REPLICA.LIFE     that row is being removed
 *
 * What is proved, with D = max_staleness of a node, W = 101/99 of it: clocks may run 1 % fast and 1 % slow:
 *
 *  - A node proves every D/10, by a transaction through etcd's consensus, that its row is there, is not marked, and what
 *    the head is. When it has applied that head, it may answer until D after the proof was *sent*.
 *  - An entry that was committed is effective everywhere when each row that was there at its commit has acknowledged it,
 *    or is gone, or W has passed since its proposer *learned* of the commit. A proof that does not show the entry was sent
 *    before the commit, so it ends before then.
 *  - A row is removed W after its mark was seen. From the mark on, no proof of that row succeeds.
 */
#ifndef FLEET_H
#define FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/cluster/row.h"

#define FLEET_ID_LEN 16
#define FLEET_NODES 128      /* rows that a node keeps track of */
#define FLEET_KEY_MAX 96     /* of etcd's keys, without the prefix */
#define FLEET_COMPARES 3
#define FLEET_ACTIONS 8
#define FLEET_LOG_LIMIT 16   /* entries asked for at once */
#define FLEET_WAITS 64       /* entries that wait to become effective. At the limit none is proposed */
#define FLEET_TIMEOUT_MS 3000 /* of a transaction, at most: see fleet_timeout_ms() */
/*
 * The log in etcd is cut behind so many bytes of entries that every node has; behind the second number, without waiting for
 * a node that is slow: it has to join anew. Counted since a process's start, so a restart keeps some more.
 */
#define FLEET_LOG_KEPT (256U << 20)
#define FLEET_LOG_CEILING (512U << 20)
#define FLEET_MARK_MS 1000    /* a row that keeps an entry waiting for longer is marked, and removed W later */

struct fleet_options {
	uint8_t cluster[FLEET_ID_LEN];
	uint8_t replica[FLEET_ID_LEN];
	uint64_t life;            /* random: no two lives of a replica have the same. fleet.c counts on from it */
	uint8_t boot[ROW_BOOT_LEN]; /* of the machine's start and the database's folder; a row of the same replica and the
	                             * same boot is of a process that has ended */
	uint8_t row_key[ROW_KEY_LEN];
	char address[ROW_ADDRESS_MAX + 1]; /* of its peer listener; may be empty */
	uint8_t pepper_lines;
	uint8_t entry_version;     /* for the row: the newest that entry.c reads */
	uint32_t max_staleness_ms; /* D */
	uint32_t log_step;         /* for tests: 1/64 of FLEET_LOG_KEPT; 0: that of FLEET_LOG_KEPT */
	/*
	 * There was another cluster before, whose nodes may still answer: no change is made before W has passed since its log
	 * was seen to be gone.
	 */
	bool again;
	uint64_t applied;          /* the newest entry that the database has, and its tag */
	uint8_t tag[ROW_TAG_LEN];
};

/* ---- transactions ---- */

enum fleet_target { FLEET_CREATE_REVISION = 1, FLEET_VERSION = 2, FLEET_VALUE = 3 };
enum fleet_kind { FLEET_GET = 1, FLEET_PUT = 2, FLEET_DELETE = 3 };

struct fleet_compare {
	enum fleet_target target;
	char key[FLEET_KEY_MAX];
	int64_t number;
	const uint8_t *value; /* this and those below: borrowed from the fleet, until it is called again */
	size_t len;
};

struct fleet_action {
	enum fleet_kind kind;
	char key[FLEET_KEY_MAX];
	char end[FLEET_KEY_MAX]; /* empty: the one key */
	const uint8_t *value;
	size_t len;
	uint32_t limit;
};

struct fleet_txn {
	uint64_t id;
	unsigned n_compares, n_success, n_failure;
	struct fleet_compare compares[FLEET_COMPARES];
	struct fleet_action success[FLEET_ACTIONS], failure[FLEET_ACTIONS];
};

enum fleet_outcome { FLEET_UNKNOWN = 0, FLEET_DONE = 1, FLEET_NOT_SENT = 2, FLEET_NO_SPACE = 3 };

struct fleet_kv {
	const uint8_t *key, *value; /* borrowed by fleet_done() while it runs */
	size_t key_len, len;
	int64_t create_revision, version;
};

struct fleet_result {
	uint64_t id;
	enum fleet_outcome outcome;
	bool succeeded;
	int64_t revision;
	const struct fleet_kv *kvs;
	size_t n_kvs;
	bool more;
};

/* ---- the fleet ---- */

struct fleet;

/* NULL without memory. */
struct fleet *fleet_new(const struct fleet_options *options);
void fleet_free(struct fleet *fleet);

/*
 * fleet_next(fleet, now_ms, wall_ms, txn):
 * The next transaction that is to be made now, if there is one. It counts as sent at ${now_ms}; it must not have been sent
 * before. ${wall_ms}: the wall clock, for the row.
 */
bool fleet_next(struct fleet *fleet, int64_t now_ms, int64_t wall_ms, struct fleet_txn *txn);
/*
 * After so long the agent tells that a transaction's outcome is unknown. It is at most D/3, so that a node which has lost two
 * proofs in a row sends a third one while the one before them lasts.
 */
uint32_t fleet_timeout_ms(const struct fleet *fleet);
/* What became of a transaction. An id that is not under way is passed over. */
void fleet_done(struct fleet *fleet, const struct fleet_result *result, int64_t now_ms);
/* The agent is gone: what became of all transactions that are under way is not known. */
void fleet_disconnected(struct fleet *fleet);
/* Something has changed below the prefix: look at it. A hint, without which all is found at the next proof. */
void fleet_changed(struct fleet *fleet);
/* When fleet_next() may have something to do, and when one of the answers below may change by time alone. */
int64_t fleet_wake_ms(const struct fleet *fleet, int64_t now_ms);

/* ---- verifies ---- */

/* The node may answer while its clock is before this. */
int64_t fleet_fresh_until_ms(const struct fleet *fleet);

/* ---- the log ---- */

/* The entry to be applied next, if it was read; borrowed until the next call but this one. */
bool fleet_entry(const struct fleet *fleet, const uint8_t **bytes, size_t *len);
/* The database has committed the entry of this number, which is the one after the one before. */
void fleet_applied(struct fleet *fleet, uint64_t number, const uint8_t tag[ROW_TAG_LEN]);
uint64_t fleet_head(const struct fleet *fleet); /* the newest entry that was heard of */
uint64_t fleet_applied_to(const struct fleet *fleet);

/* ---- changes ---- */

enum fleet_proposal {
	FLEET_IDLE,      /* none is under way */
	FLEET_PROPOSING, /* wait */
	FLEET_WON,       /* it is in the log, as the entry after the newest that is applied: apply it, from fleet_entry() */
	FLEET_LOST,      /* another one has its number: apply that, and decide again */
	FLEET_REFUSED,   /* it is not in the log and will never be; this node has no row. Decide again later */
	FLEET_FULL       /* likewise: etcd has no space */
};

/*
 * fleet_propose(fleet, entry, len, tag):
 * Begin to append ${entry} behind the newest that was applied; copied, as is its ${tag}. fleet_may_propose() must have said
 * so.
 * Returns: false without memory.
 */
bool fleet_propose(struct fleet *fleet, const uint8_t *entry, size_t len, const uint8_t tag[ROW_TAG_LEN]);
/*
 * What became of it. WON, LOST, REFUSED and FULL are told once, and are FLEET_IDLE afterwards. While its outcome is not
 * known, it is FLEET_PROPOSING: the log is read until it is found, or another one.
 */
enum fleet_proposal fleet_proposal(struct fleet *fleet);
/* Would it tell of an end? */
bool fleet_has_proposal(const struct fleet *fleet);

/*
 * Is the entry ${number}, which this node has proposed and applied, effective on every node that serves? If not,
 * *${by_ms} is when it will be at the latest.
 */
bool fleet_effective(const struct fleet *fleet, uint64_t number, int64_t now_ms, int64_t *by_ms);
bool fleet_may_propose(const struct fleet *fleet); /* is there room for one more that waits, and a row? */

/*
 * A confirmation: what this node has in its database now is as new as the newest acknowledged change anywhere. Needed for
 * what is answered from the database without a change: refusals, replays, lists. fleet_confirm() asks for one, and returns
 * its number. It is there when fleet_confirmed() has reached that number. *${head} is then an entry, applied here, for
 * which fleet_effective() tells when all that was confirmed is effective on every other node, too.
 */
uint64_t fleet_confirm(struct fleet *fleet);
uint64_t fleet_confirmed(const struct fleet *fleet, uint64_t *head);

/* How many lines of the pepper this node could rotate to now: told to the others in its row. */
void fleet_set_pepper_lines(struct fleet *fleet, uint8_t lines);
/* Could all nodes, as far as is known, rotate to that many? */
bool fleet_have_pepper_lines(const struct fleet *fleet, uint8_t lines);

/*
 * An operator says that this replica is off and will not come back: remove its rows now. Returns false: no other node has
 * that id.
 */
bool fleet_forget(struct fleet *fleet, const uint8_t replica[FLEET_ID_LEN]);

/* ---- the way down ---- */

/* Serve no more: fleet_fresh_until_ms() is 0 from here on, and the row is taken out of etcd. */
void fleet_leave(struct fleet *fleet);
bool fleet_has_left(const struct fleet *fleet);

/* ---- what is wrong ---- */

/*
 * Why this node can never serve again without being made anew. It is closed: it gives out no more transactions, or only
 * looks at the other nodes, of which it needs a copy:
 *
 *	FLEET_HEAD_BEHIND  etcd is in a state from before one that this node has seen. The head is older than what was applied,
 *	                or of another entry of that number; or etcd's revision has gone back, and then nodes that have lagged
 *	                behind close, too, though they miss nothing
 *	FLEET_JOINING   its database was made to join a cluster, and is empty: options.cluster is all zeros
 *	FLEET_LOG_GONE  the log's next entry was removed
 *	FLEET_DAMAGED   its database cannot take the log's next entry
 */
enum fleet_closed {
	FLEET_OPEN,
	FLEET_OTHER_CLUSTER,
	FLEET_HEAD_BEHIND,
	FLEET_FORGED,
	FLEET_JOINING,
	FLEET_LOG_GONE,
	FLEET_DAMAGED
};
enum fleet_closed fleet_closed(const struct fleet *fleet);
bool fleet_wants_copy(const struct fleet *fleet);
/* The database is damaged. */
void fleet_damaged(struct fleet *fleet);
/*
 * fleet_source(fleet, tried, cluster, address):
 * A node that a copy may be asked of: one with an address, which has not fallen behind this one. ${tried}: how many have been
 * tried before; after the last one it begins with the first again. ${cluster}: that the copy has to be of.
 * Returns: false: there is none, as far as is known.
 */
bool fleet_has_source(const struct fleet *fleet);
bool fleet_source(const struct fleet *fleet, unsigned tried, uint8_t cluster[FLEET_ID_LEN],
    char address[ROW_ADDRESS_MAX + 1]);
/* Where to reach the node ${replica}, another one. Returns false: it is none, is being removed, or has no address. */
bool fleet_address(const struct fleet *fleet, const uint8_t replica[FLEET_ID_LEN], char address[ROW_ADDRESS_MAX + 1]);
/* The entry that fleet_entry() gave is not one: closed as FLEET_FORGED. */
void fleet_forged(struct fleet *fleet);

/* ---- for Status ---- */

struct fleet_node {
	uint8_t replica[FLEET_ID_LEN];
	uint64_t life;
	bool is_self, is_marked, is_valid; /* invalid: its row is not of a node with our pepper */
	struct row row;
};
/* Copies up to ${most} rows. Returns how many there are. */
size_t fleet_nodes(const struct fleet *fleet, struct fleet_node *nodes, size_t most);

#endif
