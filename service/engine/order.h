/*
 * order.h - an environment whose changes are ordered by a cluster: the writer decides as ever, but instead of committing
 * it proposes an entry to the log, and commits what the log says, its own entries included. Here is what others see of it:
 * the agent's RPC exchanges transactions of the fleet, and a verify asks whether this node may answer.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdatomic.h>

#include "service/cluster/fleet.h"
#include "service/store/store.h"

struct order;
struct writer;

struct order_options {
	char address[ROW_ADDRESS_MAX + 1]; /* of this node's peer listener; may be empty */
	uint32_t max_staleness_ms;
	/*
	 * Where it is told until when a verify may be answered, by clock_boot_ms(): 0: always, this environment is in no
	 * cluster; ORDER_STALE: not now. A verify loads it, then takes its snapshot, then looks at the clock. In this order
	 * a snapshot is never older than the freshness that it is answered with.
	 */
	_Atomic int64_t *fresh_until_ms;
};

#define ORDER_STALE 1

static inline bool
order_is_stale(int64_t fresh_until_ms, int64_t boot_ms)
{
	return fresh_until_ms != 0 && boot_ms >= fresh_until_ms;
}

/* ---- the agent. Threads: any ---- */

#define ORDER_SESSION_LEN 16

/*
 * The fleet, until order_leave(). ${session}: of the agent; if it is not the one before, all that the one before was asked
 * to do is lost. NULL: it is not the agent who calls.
 */
struct fleet *order_enter(struct order *order, const uint8_t session[ORDER_SESSION_LEN]);
void order_leave(struct order *order);
/*
 * A call of the agent's that waits for transactions. Kept until order_take_held() returns it; NULL: there is none. Between
 * order_enter() and order_leave().
 */
void order_hold(struct order *order, void *call);
void *order_take_held(struct order *order);
/* What to call, outside order_enter(), when there may be transactions for the call that is held: ${work}(${order}). */
void order_on_work(struct order *order, void (*work)(void *order));
/* Nothing is to be held any more: fobd ends. */
bool order_has_ended(const struct order *order);

/*
 * A client has seen an entry that this node has not applied: look at the log, if that was not done just now. NULL is allowed.
 * Threads: any.
 */
void order_look(struct order *order);

/* See fleet_forget(). Threads: any. */
bool order_forget(struct order *order, const uint8_t replica[FLEET_ID_LEN]);

/* ---- for Status ---- */

struct order_status {
	uint8_t cluster[FLEET_ID_LEN], replica[FLEET_ID_LEN];
	uint64_t applied, head;
	int64_t fresh_ms; /* left; 0: stale */
	bool connected;   /* to an agent */
	bool registered;
	const char *closed; /* why this node cannot serve any more; NULL */
	size_t n_nodes;
	struct fleet_node nodes[FLEET_NODES];
};
void order_status(struct order *order, struct order_status *status);

#endif
