/*
 * client.c - clients (see client.h). After each acknowledgement some nodes are asked to verify at once, because a stale answer
 * is likeliest then.
 */
#include "tests/cluster/client.h"

#include <stdlib.h>

#include "tests/cluster/verify.h"
#include "tests/cluster/world.h"

#define CALL_US INT64_C(2000000)    /* a call's deadline, or three times D */
#define PATIENCE_US INT64_C(500000) /* after which a client may ask another node, too */
#define EAGER 6                     /* verifies after an acknowledgement */

static struct node *
any_node(struct world *w)
{
	return &w->nodes[rng_below(&w->rng, w->n_nodes)];
}

/* ---- changes ---- */

static void ask(struct world *w, void *arg, uint64_t client);

/* A reply did not come, or was no verdict. Not if that was a former try. */
static void
ask_again(struct world *w, void *arg, uint64_t try)
{
	uint32_t number = (uint32_t)try;

	if (w != NULL && !w->clients.all[number].done && w->clients.all[number].tries == try >> 32)
		ask(w, arg, number);
}

static void
ask_again_at(struct world *w, uint32_t number, int64_t at_us)
{
	events_add(&w->events, at_us, ask_again, NULL, (uint64_t)w->clients.all[number].tries << 32 | number);
}

static void
ask(struct world *w, void *arg, uint64_t number)
{
	struct client *c;
	struct call *call;
	int64_t now_us, call_us;

	(void)arg;
	if (w == NULL)
		return;
	call_us = world_chance(w, 1, 2) ? CALL_US : (int64_t)w->options.staleness_ms * 3000;
	c = &w->clients.all[number];
	now_us = world_now_us(w);
	c->tries++;
	call = sim_realloc(NULL, sizeof(*call));
	*call = (struct call){
		.client = (uint32_t)number, .token = c->token, .account = c->account, .deadline_us = now_us + call_us
	};
	/* A paused node or one that dies answers nothing. */
	ask_again_at(w, (uint32_t)number,
	    now_us + (world_chance(w, 1, 10) ? world_between(w, 0, PATIENCE_US) : call_us + world_between(w, 0, CALL_US)));
	if (!node_call(any_node(w), call)) {
		free(call);
		ask_again_at(w, (uint32_t)number, now_us + world_between(w, 1000, 50000));
	}
}

void
client_answer(struct node *n, struct call *call, enum answer answer)
{
	struct world *w = n->world;
	struct client *c = &w->clients.all[call->client];
	uint32_t number = call->client;

	free(call);
	if (answer == ANSWER_UNAVAILABLE) {
		ask_again_at(w, number, world_now_us(w) + world_between(w, 1000, 50000));
		return;
	}
	c->done = true;
	if (answer == ANSWER_REFUSED)
		return;
	checker_acknowledged(&w->checker, world_now_us(w), c->since_us, n->index, c->token, n->applied);
	TRACE(w, "node %u acknowledges token %u, of entry %llu", n->index, c->token,
	    (unsigned long long)w->checker.token_at[c->token]);
	for (unsigned i = 0; i < EAGER && w->options.verifies_per_s > 0; i++)
		verify_begin(any_node(w));
}

static void
want_change(struct world *w, void *arg, uint64_t number)
{
	struct clients *cs;
	struct client *c;

	(void)arg, (void)number;
	if (w == NULL || w->clients.ended)
		return;
	cs = &w->clients;
	if (cs->n == cs->room) {
		cs->room = cs->room * 2 + 256;
		cs->all = sim_realloc(cs->all, cs->room * sizeof(*cs->all));
	}
	c = &cs->all[cs->n++];
	/* Some accounts are revoked by several, of whom one wins. */
	*c = (struct client){ .token = cs->n, .since_us = world_now_us(w) };
	c->account = cs->accounts > 0 && world_chance(w, 1, 5) ?
			 cs->accounts - (uint32_t)rng_below(&w->rng, cs->accounts < 10 ? cs->accounts : 10) :
			 ++cs->accounts;
	ask(w, NULL, cs->n - 1);
	/* With the same token, at once, perhaps through the same node. */
	if (world_chance(w, 1, 10))
		ask(w, NULL, cs->n - 1);
	events_add(&w->events, world_now_us(w) + world_between(w, 0, 2000000 / w->options.changes_per_s), want_change,
	    NULL, 0);
}

/* ---- verifies ---- */

static void
want_verify(struct world *w, void *arg, uint64_t number)
{
	struct node *n = arg;

	(void)number;
	if (w == NULL)
		return;
	if (n->is_member || n->fleet != NULL)
		verify_begin(n);
	events_add(&w->events, world_now_us(w) + world_between(w, 0, 2000000 / w->options.verifies_per_s), want_verify, n,
	    0);
}

void
clients_begin(struct world *w)
{
	events_add(&w->events, 0, want_change, NULL, 0);
	for (unsigned i = 0; i < NODES_MAX && w->options.verifies_per_s > 0; i++)
		events_add(&w->events, 0, want_verify, &w->nodes[i], 0);
}

void
clients_fini(struct clients *cs)
{
	free(cs->all);
}
