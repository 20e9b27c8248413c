/*
 * order.h - an environment whose changes are ordered by a cluster: the writer decides as ever, but instead of committing
 * it proposes an entry to the log, and commits what the log says, its own entries included. Here is what others see of it:
 * the agent's RPC exchanges transactions of the fleet, and a verify asks whether this node may answer.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdatomic.h>

#include "service/cluster/ask.h"
#include "service/cluster/fleet.h"
#include "service/store/open.h"

struct order;
struct writer;

#define ORDER_ASKS 64 /* as many as an agent carries at once */

enum ask_state { ASK_FREE, ASK_WANTED, ASK_SENT, ASK_ANSWERED, ASK_FAILED };

/* What this node asks of another one. */
struct ask {
	enum ask_state state;
	uint64_t id;
	uint8_t cluster[ASK_CLUSTER_LEN];
	char address[ROW_ADDRESS_MAX + 1];
	uint8_t nonce[ASK_NONCE_LEN];
	uint8_t *bytes; /* the request, sealed; ANSWERED: a fob.rpc.v1.Response */
	size_t len;
	uint32_t timeout_ms;
	int64_t until_ms; /* by clock_boot_ms() */
	char why[200];    /* FAILED */
};

struct order_options {
	char address[ROW_ADDRESS_MAX + 1]; /* of this node's peer listener; may be empty */
	uint32_t max_staleness_ms;
	const struct store_options *store; /* of the database, for the copy that may take its place; outlives the order */
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
/*
 * What the agent is to ask of another node: see order_ask.c. Borrowed until order_leave(); NULL: nothing. And the answer:
 * ${len} 0: there is none, because of ${why}. An id that is not under way is passed over. Between order_enter() and
 * order_leave().
 */
const struct ask *order_next_ask(struct order *order);
void order_ask_done(struct order *order, uint64_t id, const uint8_t *sealed, size_t len, const char *why);
bool order_has_ask(const struct order *order);
/* Nothing is to be held any more: fobd ends. */
bool order_has_ended(const struct order *order);

/*
 * A client has seen an entry that this node has not applied: look at the log, if that was not done just now. NULL is allowed.
 * Threads: any.
 */
void order_look(struct order *order);

/* ---- other nodes. Threads: any ---- */

/* The key with which their requests are sealed, and to what they are bound. */
const uint8_t *order_ask_key(struct order *order, struct ask_place *place);
/* Is this node one that others may ask? Not before it has joined, nor when it is closed. */
bool order_is_open(struct order *order);

/* Does it fetch a copy of another node's database, from one that it knows of? Is the copy ready to take the place? */
enum order_copy { ORDER_COPY_NONE, ORDER_COPY_FETCHED, ORDER_COPY_READY };
enum order_copy order_copy(struct order *order);

/* See fleet_forget(). Threads: any. */
bool order_forget(struct order *order, const uint8_t replica[FLEET_ID_LEN]);

/* ---- for Status ---- */

struct order_status {
	uint8_t cluster[FLEET_ID_LEN], replica[FLEET_ID_LEN];
	uint64_t applied, head;
	int64_t fresh_ms; /* left; 0: stale */
	bool connected;   /* to an agent */
	const char *closed; /* why this node cannot serve any more; NULL */
	size_t n_nodes;
	struct fleet_node nodes[FLEET_NODES];
};
void order_status(struct order *order, struct order_status *status);

#endif
