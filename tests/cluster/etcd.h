/*
 * etcd.h - a model of etcd: one linearizable key-value store with revisions and compare-and-write transactions, and a member
 * that has fallen behind. Reads that go through no consensus may be answered from that member's state, with the revision of
 * that state (https://github.com/etcd-io/etcd/issues/20418).
 */
#ifndef CLUSTER_ETCD_H
#define CLUSTER_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/cluster/fleet.h"

/* Bytes that do not change, shared by all who hold them. */
struct blob {
	unsigned refs;
	uint32_t len;
	uint8_t bytes[];
};

struct blob *blob_new(const void *bytes, size_t len);
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);

/* A fleet's transaction, with all that it borrowed. */
struct request {
	uint64_t id;
	unsigned n_compares, n_success, n_failure;
	struct fleet_compare compares[FLEET_COMPARES];
	struct fleet_action success[FLEET_ACTIONS], failure[FLEET_ACTIONS];
	struct blob *values[FLEET_COMPARES + 2 * FLEET_ACTIONS];
	unsigned n_values;
};

void request_init(struct request *request, const struct fleet_txn *txn);
void request_fini(struct request *request);

struct item {
	struct blob *key, *value;
	int64_t create_revision, version;
};

struct reply {
	enum fleet_outcome outcome;
	bool succeeded, more;
	int64_t revision;
	struct item *items; /* that the GETs have returned */
	size_t n, room;
};

void reply_fini(struct reply *reply);

struct state {
	struct item *items; /* sorted */
	size_t n, room;
	int64_t revision;
};

/* A change that the member which has fallen behind has yet to make. */
struct missed {
	struct blob *key, *value; /* NULL: deleted */
	int64_t revision;
};

struct etcd {
	struct state now;
	struct state behind;
	struct missed *missed;
	size_t n_missed, room;
	bool full; /* of space: refuses each transaction with a put */
};

void etcd_init(struct etcd *etcd);
void etcd_fini(struct etcd *etcd);
/*
 * Make a transaction. ${from_behind}: if it has neither a put nor a delete, answer it from the member that has fallen behind.
 * Returns whether the store was changed.
 */
bool etcd_transact(struct etcd *etcd, const struct request *request, bool from_behind, struct reply *reply);
/* The member that has fallen behind catches up. */
void etcd_catch_up(struct etcd *etcd);
/* How many keys begin with ${prefix}. */
size_t etcd_count(const struct etcd *etcd, const char *prefix);

#endif
