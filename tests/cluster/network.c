/*
 * network.c - each transaction is an event at etcd and one at the node (see network.h).
 */
#include "tests/cluster/network.h"

#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

#define MISSED_MAX 512 /* changes, before the member that may fall behind catches up, if it has not */

struct flight {
	struct node *node;
	uint64_t process;
	unsigned long session;
	int64_t timeout_us;
	struct request request;
	struct reply reply;
	bool has_reply;
};

static void
land(struct flight *f)
{
	request_fini(&f->request);
	if (f->has_reply)
		reply_fini(&f->reply);
	free(f);
}

/* From one machine to another: mostly some 100 us, now and then some ms, rarely much more. */
static int64_t
delay_us(struct world *w)
{
	unsigned kind = (unsigned)rng_below(&w->rng, 1000);

	return kind < 950 ? world_between(w, 50, 400) : kind < 999 ? world_between(w, 200, 5000) :
							   world_between(w, 1000, 200000);
}

static void
returns(struct world *w, void *arg, uint64_t number)
{
	struct flight *f = arg;
	struct node *n = f->node;

	(void)number;
	if (w != NULL && n->fleet != NULL && n->process == f->process && n->session == f->session) {
		/* The process stands still, and reads it afterwards. */
		if (n->paused_until_us > world_now_us(w)) {
			events_add(&w->events, n->paused_until_us, returns, f, 0);
			return;
		}
		node_result(n, &f->reply, f->request.id);
	}
	land(f);
}

/* The agent gives it up, and tells so. */
static void
give_up(struct world *w, struct flight *f)
{
	f->reply = (struct reply){ .outcome = FLEET_UNKNOWN };
	f->has_reply = true;
	events_add(&w->events, f->timeout_us, returns, f, 0);
}

static void
ring(struct world *w, void *arg, uint64_t number)
{
	struct node *n = arg;

	(void)number;
	if (w == NULL)
		return;
	if (n->paused_until_us > world_now_us(w)) {
		events_add(&w->events, n->paused_until_us, ring, n, 0);
		return;
	}
	n->doorbell = false;
	if (n->fleet != NULL)
		node_ring(n);
}

static void
ring_all(struct world *w)
{
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];

		if (n->fleet == NULL || n->doorbell || n->deaf || n->replies_lost || n->refused || n->from_behind)
			continue;
		n->doorbell = true;
		events_add(&w->events, world_now_us(w) + delay_us(w), ring, n, 0);
	}
}

static void
note_crowd(struct world *w)
{
	bool crowded = etcd_count(&w->etcd, "nodes/") > FLEET_NODES;

	if (crowded || w->weather.crowded)
		w->weather.crowded_us = world_now_us(w);
	w->weather.crowded = crowded;
}

static void
make(struct world *w, struct flight *f)
{
	static const char *const action_names[] = { "?", "get", "put", "delete" };
	bool changed;

	if (w->weather.frozen == 0 && w->etcd.n_missed > MISSED_MAX)
		etcd_catch_up(&w->etcd);
	changed = etcd_transact(&w->etcd, &f->request, f->node->from_behind, &f->reply);
	TRACE(w, "node %u's transaction %llu, first of \"%s\" and %s \"%s\", is made: outcome %d, succeeded %d, revision %lld",
	    f->node->index, (unsigned long long)f->request.id, f->request.n_compares > 0 ? f->request.compares[0].key : "",
	    action_names[f->request.success[0].kind], f->request.success[0].key, (int)f->reply.outcome,
	    f->reply.succeeded, (long long)f->reply.revision);
	if (changed) {
		note_crowd(w);
		ring_all(w);
	}
	f->has_reply = true;
}

static void
arrives(struct world *w, void *arg, uint64_t told)
{
	struct flight *f = arg;
	int64_t at_us;

	if (w == NULL) {
		land(f);
		return;
	}
	if (w->weather.down_until_us > world_now_us(w)) {
		if (world_chance(w, 1, 2)) {
			events_add(&w->events, w->weather.down_until_us + delay_us(w), arrives, f, told);
			return;
		}
		give_up(w, f);
		return;
	}
	make(w, f);
	at_us = world_now_us(w) + delay_us(w);
	if (f->node->replies_lost || at_us >= f->timeout_us) {
		reply_fini(&f->reply);
		give_up(w, f);
	} else {
		events_add(&w->events, at_us, returns, f, 0);
	}
}

/* It takes effect after the node was told that its outcome is unknown. */
static void
arrives_late(struct world *w, void *arg, uint64_t number)
{
	struct flight *f = arg;

	(void)number;
	if (w != NULL)
		make(w, f);
	land(f);
}

static void
tell_unknown(struct world *w, const struct flight *f)
{
	struct flight *told = sim_realloc(NULL, sizeof(*told));

	*told = *f;
	told->request.n_values = 0;
	give_up(w, told);
}

void
network_send(struct node *n, const struct fleet_txn *txn)
{
	struct world *w = n->world;
	struct flight *f = sim_realloc(NULL, sizeof(*f));
	int64_t now_us = world_now_us(w);

	f->node = n;
	f->process = n->process;
	f->session = n->session;
	f->timeout_us = now_us + fleet_timeout_ms(n->fleet) * INT64_C(1000);
	f->has_reply = false;
	request_init(&f->request, txn);
	if (n->refused) {
		f->reply = (struct reply){ .outcome = FLEET_NOT_SENT };
		f->has_reply = true;
		events_add(&w->events, now_us + delay_us(w), returns, f, 0);
	} else if (n->requests_lost || world_chance(w, n->lost_of_100, 100)) {
		give_up(w, f);
	} else if (world_chance(w, n->late_of_100, 100)) {
		tell_unknown(w, f);
		events_add(&w->events, f->timeout_us + world_between(w, 1000, (f->timeout_us - now_us) * 5), arrives_late, f, 0);
	} else {
		events_add(&w->events, now_us + delay_us(w), arrives, f, 0);
	}
}
