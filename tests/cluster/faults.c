/*
 * faults.c - what goes wrong (see faults.h).
 */
#include "tests/cluster/faults.h"

#include <stddef.h>

#include "tests/cluster/world.h"

const char *const fault_names[FAULTS] = { "drift", "pause", "commit", "cut", "one-way", "agent", "restart", "reboot",
	"stop", "join", "late", "stale", "full", "election", "deaf" };

static bool
is_on(const struct world *w, enum fault fault)
{
	return (w->options.faults >> fault & 1) != 0;
}

/* From a tenth of D to two of it. */
static int64_t
for_us(struct world *w)
{
	return world_between(w, 100, 2000) * w->options.staleness_ms;
}

static struct node *
any_node(struct world *w)
{
	return &w->nodes[rng_below(&w->rng, w->n_nodes)];
}

/* ---- ends ---- */

static void
mend_link(struct world *w, void *arg, uint64_t number)
{
	struct node *n = arg;

	(void)number;
	if (w == NULL)
		return;
	n->requests_lost = n->replies_lost = n->refused = n->deaf = false;
	n->late_of_100 = n->lost_of_100 = 0;
	n->commit_us = 1500;
	if (n->from_behind && --w->weather.frozen == 0)
		etcd_catch_up(&w->etcd);
	n->from_behind = false;
}

static void
start(struct world *w, void *arg, uint64_t number)
{
	struct node *n = arg;

	(void)number;
	if (w != NULL && n->is_member)
		node_start(n);
}

static void
mend_space(struct world *w, void *arg, uint64_t number)
{
	(void)arg, (void)number;
	if (w != NULL)
		w->etcd.full = false;
}

/* ---- nodes that come and go ---- */

static void
forget(struct world *w, const uint8_t replica[FLEET_ID_LEN])
{
	struct node *n = any_node(w);

	if (n->fleet != NULL && n->paused_until_us <= world_now_us(w)) {
		fleet_forget(n->fleet, replica);
		node_step(n);
	}
}

/* Its machine is off for good: after a clean stop, or not, and perhaps an operator says so. */
static void
retire(struct world *w, struct node *n)
{
	n->is_member = false;
	if (world_chance(w, 1, 2)) {
		node_stop(n);
	} else {
		node_kill(n);
		if (world_chance(w, 1, 2))
			forget(w, n->replica);
	}
}

static void
join(struct world *w)
{
	struct node *from = any_node(w), *n = NULL;

	for (unsigned i = 0; i < w->n_nodes && n == NULL; i++)
		if (!w->nodes[i].is_member && w->nodes[i].fleet == NULL)
			n = &w->nodes[i];
	if (n == NULL && w->n_nodes < NODES_MAX)
		n = &w->nodes[w->n_nodes++];
	if (n == NULL)
		return;
	mend_link(w, n, 0);
	node_init(n, w, (unsigned)(n - w->nodes));
	if (is_on(w, FAULT_DRIFT))
		n->drift_ppm = world_between(w, -10000, 10000);
	n->applied = from->applied;
	for (int i = 0; i < ROW_TAG_LEN; i++)
		n->tag[i] = from->tag[i];
	node_start(n);
	n = any_node(w);
	if (n->is_member)
		retire(w, n);
}

/* ---- beginnings ---- */

static void
cut(struct world *w, struct node *n)
{
	if (world_chance(w, 1, 3))
		n->refused = true;
	else
		n->requests_lost = n->replies_lost = true;
	/* Often the same node soon again, when it has just come back. */
	if (world_chance(w, 1, 2))
		events_add(&w->events, world_now_us(w) + for_us(w), mend_link, n, 0);
}

static void
fall_behind(struct world *w, struct node *n)
{
	if (n->from_behind)
		return;
	if (w->weather.frozen++ == 0)
		etcd_catch_up(&w->etcd);
	n->from_behind = true;
}

static void
begin(struct world *w, enum fault fault)
{
	struct node *n = any_node(w);
	int64_t until_us = world_now_us(w) + for_us(w);

	TRACE(w, "fault: %s, node %u, until %.3f s", fault_names[fault], n->index, (double)until_us / 1e6);
	switch (fault) {
	case FAULT_PAUSE:
		node_pause(n, until_us - world_now_us(w));
		return;
	case FAULT_COMMIT:
		n->commit_us = (until_us - world_now_us(w)) / 2;
		break;
	case FAULT_CUT:
		cut(w, n);
		break;
	case FAULT_ONE_WAY:
		n->replies_lost = true;
		break;
	case FAULT_AGENT:
		node_disconnect(n);
		return;
	case FAULT_RESTART:
	case FAULT_REBOOT:
		if (fault == FAULT_RESTART)
			node_kill(n);
		else
			node_reboot(n);
		events_add(&w->events, world_chance(w, 1, 2) ? world_now_us(w) + 1000 : until_us, start, n, 0);
		return;
	case FAULT_STOP:
		node_stop(n);
		events_add(&w->events, world_now_us(w) + for_us(w), start, n, 0);
		return;
	case FAULT_JOIN:
		join(w);
		return;
	case FAULT_LATE:
		n->late_of_100 = (unsigned)rng_below(&w->rng, 40);
		n->lost_of_100 = (unsigned)rng_below(&w->rng, 40);
		break;
	case FAULT_STALE:
		fall_behind(w, n);
		break;
	case FAULT_FULL:
		w->etcd.full = true;
		events_add(&w->events, until_us, mend_space, NULL, 0);
		return;
	case FAULT_ELECTION:
		w->weather.down_until_us = world_now_us(w) + (until_us - world_now_us(w)) / (world_chance(w, 3, 4) ? 4 : 1);
		return;
	case FAULT_DEAF:
		n->deaf = true;
		break;
	default:
		return;
	}
	events_add(&w->events, until_us, mend_link, n, 0);
}

static void
next(struct world *w, void *arg, uint64_t number)
{
	enum fault fault;

	(void)arg, (void)number;
	if (w == NULL || w->weather.over)
		return;
	do
		fault = (enum fault)rng_below(&w->rng, FAULTS);
	while (!is_on(w, fault) || fault == FAULT_DRIFT);
	/* What stops all nodes comes less often. */
	if ((fault != FAULT_FULL && fault != FAULT_ELECTION) || world_chance(w, 1, 4))
		begin(w, fault);
	events_add(&w->events, world_now_us(w) + world_between(w, 0, w->weather.mean_us * 2), next, NULL, 0);
}

void
faults_begin(struct world *w)
{
	bool apart = world_chance(w, 1, 2); /* as far as can be: each second one at the other limit */

	for (unsigned i = 0; i < w->n_nodes && is_on(w, FAULT_DRIFT); i++)
		w->nodes[i].drift_ppm = !apart ? world_between(w, -10000, 10000) : i % 2 == 0 ? 10000 : -10000;
	if ((w->options.faults & ~(1U << FAULT_DRIFT)) != 0)
		events_add(&w->events, world_now_us(w), next, NULL, 0);
}

void
faults_end(struct world *w)
{
	w->weather.over = true;
	w->weather.over_us = world_now_us(w);
	w->weather.down_until_us = 0;
	w->etcd.full = false;
	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];

		mend_link(w, n, 0);
		if (n->paused_until_us > world_now_us(w))
			n->paused_until_us = world_now_us(w);
		start(w, n, 0);
		node_step(n);
		/* One that is leaving has an end yet to come. */
		events_add(&w->events, world_now_us(w) + NODE_LEAVE_US + 1000, start, n, 0);
	}
}
