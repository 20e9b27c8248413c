/*
 * checker.h - what must hold in every run, and what is counted. It has the log as the nodes have applied it, which tokens and
 * accounts each entry has, and up to which entry changes were acknowledged to clients.
 */
#ifndef CLUSTER_CHECKER_H
#define CLUSTER_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/cluster/etcd.h"

#define ENTRY_CHANGES 8

/* An entry of the model's log: changes, and the chain. */
struct change_of {
	uint32_t token, account;
};
struct entry {
	uint64_t number;
	uint8_t before[ROW_TAG_LEN];
	uint64_t nonce;
	uint32_t n;
	struct change_of changes[ENTRY_CHANGES];
	uint8_t tag[ROW_TAG_LEN]; /* of all that is before it */
};

struct checker {
	struct entry *log; /* number 1 first */
	uint64_t n, room;
	uint64_t *token_at, *account_at; /* the entry's number; 0: none */
	bool *acked;                     /* by token */
	uint32_t tokens, accounts;       /* how many there are room for */
	uint64_t acked_to;               /* the newest entry of an acknowledged change */

	unsigned violations;
	char first[256]; /* of them */
	uint64_t verifies, answered, stale, unavailable;
	uint64_t changes, refusals, replays;
	uint64_t bounded;    /* changes whose wait was compared with W */
	uint64_t long_waits; /* of these: for D or longer, for a node that was gone */
	uint64_t crowded;    /* changes whose wait was not, as there were too many rows */
	int64_t *took_us; /* from a change's first call to its acknowledgement */
	size_t n_took, took_room;
};

void checker_init(struct checker *checker);
void checker_fini(struct checker *checker);
/* Something that must never happen. */
void checker_violation(struct checker *checker, int64_t now_us, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void entry_seal_of(struct entry *entry);
/* Is it the entry after one with ${before}? */
bool entry_fits(const struct entry *entry, uint64_t number, const uint8_t before[ROW_TAG_LEN]);

/* A node has applied ${entry}: all nodes must apply the same. */
void checker_applied(struct checker *checker, int64_t now_us, unsigned node, const struct entry *entry);
/* Is the change of this token, or of this account, in a database that has applied entries up to ${applied}? */
bool checker_has_token(const struct checker *checker, uint32_t token, uint64_t applied);
bool checker_is_revoked(const struct checker *checker, uint32_t account, uint64_t applied);
/* A client was told by a node with ${applied} that its change is made; ${since_us}: since when it waits. */
void checker_acknowledged(struct checker *checker, int64_t now_us, int64_t since_us, unsigned node, uint32_t token,
    uint64_t applied);
/* A client was refused by a node with ${applied}. All that was acknowledged when it asked, up to ${must_see}, must be known. */
void checker_refused(struct checker *checker, int64_t now_us, unsigned node, uint32_t token, uint64_t must_see,
    uint64_t applied);
/* A verify that began when ${must_see} was acknowledged was answered from a snapshot of ${applied}. */
void checker_answered(struct checker *checker, int64_t now_us, unsigned node, uint64_t must_see, uint64_t applied);
/* At the end: etcd's log must be that of the nodes. */
void checker_compare(struct checker *checker, int64_t now_us, const struct etcd *etcd);

#endif
