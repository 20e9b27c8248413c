/*
 * node.h - a node: a machine with a clock, a database that outlives its process, and a process with a real fleet, that decides,
 * proposes, applies and answers as service/engine and service/rpc do.
 */
#ifndef CLUSTER_NODE_H
#define CLUSTER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "service/cluster/fleet.h"
#include "tests/cluster/checker.h"

#define NODE_LEAVE_US INT64_C(3000000) /* what a clean stop may take */

struct world;

/* A client's call at a node. Owned by the node until it is answered by client_answer(). */
struct call {
	struct call *next;
	uint32_t client; /* its number */
	uint32_t token, account;
	int64_t deadline_us;
	/* as struct mutation has them */
	uint64_t effective, confirm, confirmed_head, found_at;
	bool confirmed;
	uint64_t must_see; /* what was acknowledged anywhere when the confirmation was asked for */
	int64_t won_us;
};

struct node {
	struct world *world;
	unsigned index;
	bool is_member; /* it is to be up, when there are no faults */

	/* the machine */
	int64_t drift_ppm, clock_base_us, booted_us;
	int64_t paused_until_us;
	int64_t held_until_us; /* for measuring: the last moment at which it may have been held up */
	int64_t commit_us;     /* what a commit takes at most */
	uint8_t replica[FLEET_ID_LEN], boot[ROW_BOOT_LEN];

	/* its link to etcd */
	bool requests_lost, replies_lost, refused; /* refused: it cannot connect */
	bool from_behind;                          /* its member has fallen behind */
	bool deaf;                                 /* its watch tells nothing */
	unsigned late_of_100, lost_of_100;         /* requests */
	unsigned long session;                     /* of its agent */
	bool doorbell;                             /* is ringing */

	/* the database */
	uint64_t applied;
	uint8_t tag[ROW_TAG_LEN];

	/* the process */
	uint64_t process; /* its number, so that what an earlier one waited for is passed over */
	uint64_t life;       /* its first */
	struct fleet *fleet; /* NULL: off */
	bool leaving, was_fresh; /* when it began to */
	int64_t fresh_until_ms; /* as published */
	bool applying;
	struct entry next;
	int64_t wake_us; /* the event that is next */
	struct call *asked, *proposed, *waiting;
	uint64_t proposed_number;
};

void node_init(struct node *node, struct world *world, unsigned index);
void node_start(struct node *node);
/* The process dies. Its calls are answered by nobody. */
void node_kill(struct node *node);
/* The machine starts anew: another boot id, and a boot clock from zero. */
void node_reboot(struct node *node);
/* A clean stop; the process ends when its row is gone, or after a while. */
void node_stop(struct node *node);
/* Nothing runs for a while but the clock. */
void node_pause(struct node *node, int64_t for_us);
int64_t node_boot_ms(const struct node *node);
/* When the node's clock is at ${boot_ms}. */
int64_t node_at_us(const struct node *node, int64_t boot_ms);
bool node_is_fresh(const struct node *node);

/* The agent: a result, its end and a change below the prefix. */
void node_result(struct node *node, const struct reply *reply, uint64_t id);
void node_disconnect(struct node *node);
void node_ring(struct node *node);

/* A change is asked for. False: nobody answers. */
bool node_call(struct node *node, struct call *call);
/* Look at what is to be done. */
void node_step(struct node *node);

#endif
