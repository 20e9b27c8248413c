/*
 * fleet_internal.h - the inside of a fleet: fleet.c has what its caller sees, fleet_txn.c the transactions and their
 * results, fleet_rows.c the other nodes. Nobody else includes it.
 */
#ifndef FLEET_INTERNAL_H
#define FLEET_INTERNAL_H

#include "service/base/limits.h"
#include "service/cluster/fleet.h"

#define HEAD_LEN (FLEET_ID_LEN + 8 + ROW_TAG_LEN)
/* W of a row that nobody can read: no node may be configured with more. */
#define STALENESS_MAX_MS LIMIT_STALENESS_MAX_MS

/* What a transaction is for. At most one of each is under way. */
enum slot {
	SLOT_REGISTER, /* our row */
	SLOT_PROVE,    /* that our row is there, and what the head is; perhaps an acknowledgement */
	SLOT_PROPOSE,  /* an entry */
	SLOT_LOOK,     /* at the head, the rows, the marks, the log; outside consensus, so perhaps at an older state */
	SLOT_FOUND,    /* a head, where there is none */
	SLOT_MEND,     /* mark or remove another's row, or our own when we leave; or truncate the log */
	SLOTS
};

struct sent {
	bool busy;
	uint64_t id;
	int64_t at_ms;
	int64_t again_ms; /* after one that was lost: not before */
	uint64_t life;    /* of the row that it speaks of */
	uint64_t known;   /* the newest entry that was applied: no head that it finds is older */
	int64_t revision; /* the newest that was seen: no transaction through consensus has an older one */
	bool rows;        /* it asks for all rows */
	bool leaving;     /* it was sent on the way down */
	uint64_t confirm; /* of a proof: the confirmation that it is */
	uint64_t applied; /* of a proof: what it acknowledges; 0: nothing */
	uint64_t from;    /* of a look: the first entry that it asks for; 0: none */
};

/* A proof that succeeded, and whose head is not applied yet. */
struct proof {
	int64_t sent_ms;
	int64_t learned_ms;
	int64_t revision;
	uint64_t head;
	uint64_t confirm; /* 0: it is not one */
};
#define PROOFS 2

/* Another's row, or our own. */
struct member {
	char name[FLEET_KEY_MAX]; /* REPLICA.LIFE */
	int64_t create_revision;
	uint64_t applied; /* acknowledged */
	int64_t wait_ms;  /* W */
	bool valid;
	struct row row;
	bool marked;
	int64_t mark_seen_ms;
	bool forgotten; /* an operator says that its node is off */
};

/* An entry that waits to be effective everywhere: for the rows that were created up to ${revision}. */
struct wait {
	uint64_t number;
	int64_t revision;
	int64_t learned_ms;
};

/* Where in the log each so many bytes begin. */
#define LOG_STEP (4U << 20)
#define LOG_STEPS (FLEET_LOG_CEILING / LOG_STEP)

struct bytes {
	uint8_t *data;
	size_t len;
};

struct fleet {
	struct fleet_options options;
	enum fleet_closed closed;
	struct sent sent[SLOTS];
	uint64_t next_id;

	/* our row */
	char name[FLEET_KEY_MAX];
	char old_name[FLEET_KEY_MAX]; /* of the life before, which the registration removes; empty: none */
	bool registered, leaving, left;
	int64_t create_revision;
	uint8_t row[ROW_MAX];
	size_t row_len;

	/* freshness */
	int64_t fresh_until_ms;
	int64_t next_proof_ms;
	struct proof proofs[PROOFS]; /* the oldest that waits, and the newest */
	unsigned n_proofs;
	uint64_t next_confirm, confirmed, confirmed_head;
	bool confirm_wanted;

	/* the log */
	uint64_t head, applied;
	uint8_t tag[ROW_TAG_LEN];
	struct bytes entries[FLEET_LOG_LIMIT]; /* applied + 1 and so on */
	unsigned n_entries;
	bool look_wanted;
	bool no_head; /* the last look has seen none */
	int64_t revision;    /* of etcd, the newest that was seen */
	int64_t register_ms; /* not before; INT64_MAX: not before a head is seen */
	int64_t looked_ms; /* at the rows, when last sent */
	uint64_t acked;    /* by our row, as far as known */
	bool ack_wanted;
	bool row_wanted; /* what the row says of this node has changed */
	int64_t last_ack_ms;
	int64_t no_ack_ms; /* etcd has no space: until then proofs write nothing */

	uint64_t steps[LOG_STEPS]; /* the entries at which the last so many steps begin, the oldest first */
	unsigned n_steps;
	size_t step_bytes; /* of entries since the last one */
	uint64_t cut_to;   /* entries before this one are to be removed; 0: none */

	/* our proposal */
	enum fleet_proposal proposal;
	struct bytes proposed;
	uint64_t proposed_number;
	bool unsure; /* it may have been made, or may yet be: it is proposed again, the same bytes */
	uint64_t full_confirm; /* etcd has answered that it has no space: the confirmation that tells; 0: it has not */
	uint8_t head_before[HEAD_LEN], head_after[HEAD_LEN];

	/* the others */
	struct member members[FLEET_NODES];
	unsigned n_members;
	int64_t rows_revision;
	bool rows_known;
	bool too_many; /* rows, for members[] */
	struct wait waits[FLEET_WAITS + 1];
	unsigned n_waits;
	uint64_t effective_to;
};

/* ---- fleet.c ---- */

/* Our row is gone or marked: serve no more until a new one is there and proved. */
void fleet_rejoin(struct fleet *f);
/* A proof that was sent at ${proof}->sent_ms shows ${proof}->head. */
void fleet_proved(struct fleet *f, const struct proof *proof);
/* Use what proofs show whose head is applied by now. */
void fleet_use_proofs(struct fleet *f);
void fleet_close(struct fleet *f, enum fleet_closed why);
/*
 * The head, as a transaction through consensus has shown it that was sent when ${known} was applied; NULL: there is none.
 * More may be applied by now. Returns false: the fleet is closed.
 */
bool fleet_saw_head(struct fleet *f, const struct fleet_kv *kv, uint64_t known);
void fleet_put_head(const struct fleet *f, uint64_t number, const uint8_t tag[ROW_TAG_LEN], uint8_t head[HEAD_LEN]);
void fleet_saw_entry(struct fleet *f, uint64_t number, const uint8_t *bytes, size_t len);
void fleet_end_proposal(struct fleet *f, enum fleet_proposal end, int64_t revision, int64_t now_ms);

/* ---- fleet_rows.c ---- */

/* W of a node with this D. */
int64_t fleet_wait_of(uint32_t max_staleness_ms);

/*
 * All rows and marks, as they were at ${revision}; ${complete}: none was left out. An older state than the one that is
 * known adds no row and takes none away.
 */
void fleet_saw_rows(struct fleet *f, const struct fleet_result *result, bool complete, int64_t now_ms);
/* Begin to wait for ${number}, if fewer than ${most} are waited for. Returns false when there is no room. */
bool fleet_wait(struct fleet *f, uint64_t number, int64_t revision, int64_t learned_ms, unsigned most);
/* Drop the waits that have ended. */
void fleet_tidy_waits(struct fleet *f, int64_t now_ms);
/* A row to be marked or removed now; NULL: none. *${remove}: which of both. */
const struct member *fleet_member_to_mend(const struct fleet *f, int64_t now_ms, bool *remove);
int64_t fleet_mend_ms(const struct fleet *f);
/* Has every other node acknowledged ${number}, as far as is known? */
bool fleet_all_have(const struct fleet *f, uint64_t number);
/* A row that a former process of this replica has left; NULL: none. */
const struct member *fleet_predecessor(const struct fleet *f);

/* ---- fleet_txn.c ---- */

/* A transaction of ours is lost, or its outcome is: ${outcome} is not FLEET_DONE. */
void fleet_lost(struct fleet *f, enum slot slot, enum fleet_outcome outcome);

#endif
