/*
 * node_writer.c - what a node decides, proposes, applies and answers: service/engine/order_commit.c with a model's records. An
 * account can be revoked once; a token's change is made once. No node asks another one to make a change, as order_forward.c
 * does: that is a client's request that reaches one more node, which the clients here send to several nodes anyway.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/node_internal.h"
#include "tests/cluster/world.h"

#define LOOK_US INT64_C(100000)  /* at deadlines */
#define WAIT_SLACK_MS INT64_C(300)

static void
append(struct call **list, struct call *call)
{
	while (*list != NULL)
		list = &(*list)->next;
	call->next = NULL;
	*list = call;
}

static struct call *
take(struct call **list)
{
	struct call *call = *list;

	*list = call->next;
	return call;
}

static void
answer_all(struct node *n, struct call **list, enum answer answer)
{
	while (*list != NULL)
		client_answer(n, take(list), answer);
}

void
writer_drop(struct node *n, bool answer)
{
	struct call **lists[] = { &n->asked, &n->proposed, &n->waiting };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while (*lists[i] != NULL) {
			if (answer)
				client_answer(n, take(lists[i]), ANSWER_UNAVAILABLE);
			else
				free(take(lists[i]));
		}
}

bool
node_call(struct node *n, struct call *call)
{
	if (n->fleet == NULL || n->leaving)
		return false;
	append(&n->asked, call);
	node_step(n);
	return true;
}

/* ---- the log's entries ---- */

/* fobd learns of its own commit a little later than the readers of its database. */
static void
applied(struct world *w, void *arg, uint64_t process)
{
	struct node *n = arg;

	if (w == NULL || n->process != process)
		return;
	if (n->paused_until_us > world_now_us(w)) {
		events_add(&w->events, n->paused_until_us, applied, n, process);
		return;
	}
	n->applying = false;
	fleet_applied(n->fleet, n->applied, n->tag);
	node_publish(n);
	node_step(n);
}

static void
commit(struct world *w, void *arg, uint64_t process)
{
	struct node *n = arg;

	if (w == NULL || n->process != process)
		return;
	if (n->paused_until_us > world_now_us(w)) {
		events_add(&w->events, n->paused_until_us, commit, n, process);
		return;
	}
	n->applied = n->next.number;
	memcpy(n->tag, n->next.tag, sizeof(n->tag));
	checker_applied(&w->checker, world_now_us(w), n->index, &n->next);
	TRACE(w, "node %u has applied entry %llu", n->index, (unsigned long long)n->applied);
	events_add(&w->events, world_now_us(w) + world_between(w, 10, 100), applied, n, process);
}

/* Begin to apply the next entry. Returns whether there is one. */
static bool
apply_next(struct node *n)
{
	struct world *w = n->world;
	const uint8_t *bytes;
	size_t len;
	int64_t took_us;

	if (!fleet_entry(n->fleet, &bytes, &len))
		return false;
	memcpy(&n->next, bytes, len < sizeof(n->next) ? len : sizeof(n->next));
	if (len != sizeof(n->next) || !entry_fits(&n->next, n->applied + 1, n->tag)) {
		checker_violation(&w->checker, world_now_us(w), "node %u is given an entry that does not follow entry %llu",
		    n->index, (unsigned long long)n->applied);
		fleet_forged(n->fleet);
		return false;
	}
	n->applying = true;
	took_us = world_between(w, n->commit_us / 10, n->commit_us);
	if (took_us > LOOK_US / 10 && world_now_us(w) + took_us > n->held_until_us)
		n->held_until_us = world_now_us(w) + took_us;
	events_add(&w->events, world_now_us(w) + took_us, commit, n, n->process);
	return true;
}

/* ---- what has become of our proposal ---- */

static void
settle_proposal(struct node *n)
{
	struct call *call;

	switch (fleet_proposal(n->fleet)) {
	case FLEET_WON:
		TRACE(n->world, "node %u has won entry %llu", n->index, (unsigned long long)n->proposed_number);
		while (n->proposed != NULL) {
			call = take(&n->proposed);
			call->effective = n->proposed_number;
			call->won_us = world_now_us(n->world);
			append(&n->waiting, call);
		}
		break;
	case FLEET_LOST:
		while (n->proposed != NULL)
			append(&n->asked, take(&n->proposed));
		break;
	case FLEET_REFUSED:
	case FLEET_FULL:
		answer_all(n, &n->proposed, ANSWER_UNAVAILABLE);
		break;
	default:
		break;
	}
}

/* ---- those that wait ---- */

/*
 * However many nodes are gone, a change waits no longer than W, unless this node was held up itself, or there were more rows
 * than FLEET_NODES since the commit: a hundred nodes that start anew often may leave so many.
 */
static void
check_wait(struct node *n, const struct call *call)
{
	struct world *w = n->world;
	int64_t most_ms = (int64_t)w->options.staleness_ms * 105 / 100 + WAIT_SLACK_MS;

	if (call->won_us == 0 || n->held_until_us >= call->won_us)
		return;
	/* The commit came before its reply, by less than a transaction's timeout. */
	if (w->weather.crowded || w->weather.crowded_us >= call->won_us - FLEET_TIMEOUT_MS * INT64_C(1000)) {
		w->checker.crowded++;
		return;
	}
	w->checker.bounded++;
	if (world_now_us(w) - call->won_us > (int64_t)w->options.staleness_ms * 1000)
		w->checker.long_waits++;
	if (world_now_us(w) - call->won_us > most_ms * 1000)
		checker_violation(&w->checker, world_now_us(w), "node %u has let a change wait for %lld ms", n->index,
		    (long long)(world_now_us(w) - call->won_us) / 1000);
}

/* Returns whether ${call} waits no more. */
static bool
settle(struct node *n, struct call *call, int64_t now_ms)
{
	uint64_t head;
	int64_t by_ms;

	if (call->confirm != 0) {
		if (fleet_confirmed(n->fleet, &head) < call->confirm)
			return false;
		call->confirm = 0;
		call->confirmed = true;
		call->confirmed_head = head;
		append(&n->asked, call);
		return true;
	}
	if (fleet_applied_to(n->fleet) < call->effective || !fleet_effective(n->fleet, call->effective, now_ms, &by_ms))
		return false;
	check_wait(n, call);
	client_answer(n, call, ANSWER_DONE);
	return true;
}

static void
settle_waiting(struct node *n)
{
	struct call *list = n->waiting, *call;
	int64_t now_ms = node_boot_ms(n);

	n->waiting = NULL;
	while (list != NULL) {
		call = take(&list);
		if (settle(n, call, now_ms))
			continue;
		if (world_now_us(n->world) >= call->deadline_us)
			client_answer(n, call, ANSWER_UNAVAILABLE);
		else
			append(&n->waiting, call);
	}
}

static void
drop_late(struct node *n, struct call **list)
{
	while (*list != NULL) {
		if (world_now_us(n->world) >= (*list)->deadline_us)
			client_answer(n, take(list), ANSWER_UNAVAILABLE);
		else
			list = &(*list)->next;
	}
}

/* ---- deciding and proposing ---- */

/* Does the entry under construction hold this token's change, or one of the same account? */
static bool
is_in(const struct entry *e, const struct call *call, bool *token)
{
	bool account = false;

	*token = false;
	for (uint32_t i = 0; i < e->n; i++) {
		*token = *token || e->changes[i].token == call->token;
		account = account || e->changes[i].account == call->account;
	}
	return *token || account;
}

/* The token's first use or a refusal: said only of a database that was confirmed, without the entry under construction. */
static void
settle_decided(struct node *n, const struct entry *e, struct call *call, bool replay)
{
	struct world *w = n->world;

	if (replay && call->found_at == 0 && e->n == 0)
		call->found_at = n->applied;
	if (e->n > 0 || !call->confirmed || (replay && call->confirmed_head < call->found_at)) {
		call->must_see = w->checker.acked_to;
		call->confirm = fleet_confirm(n->fleet);
		append(&n->waiting, call);
	} else if (replay) {
		w->checker.replays++;
		call->effective = call->confirmed_head;
		call->won_us = 0;
		append(&n->waiting, call);
	} else {
		checker_refused(&w->checker, world_now_us(w), n->index, call->token, call->must_see, n->applied);
		client_answer(n, call, ANSWER_REFUSED);
	}
}

static void
decide(struct node *n, struct entry *e, struct call *call)
{
	const struct checker *c = &n->world->checker;
	bool replay = checker_has_token(c, call->token, n->applied);

	if (replay || checker_is_revoked(c, call->account, n->applied) || is_in(e, call, &replay)) {
		settle_decided(n, e, call, replay);
	} else {
		e->changes[e->n++] = (struct change_of){ .token = call->token, .account = call->account };
		append(&n->proposed, call);
	}
}

static void
decide_and_propose(struct node *n)
{
	struct entry e;
	struct call *list = n->asked;

	memset(&e, 0, sizeof(e));
	e.number = n->applied + 1;
	memcpy(e.before, n->tag, sizeof(e.before));
	e.nonce = rng_next(&n->world->rng);
	n->asked = NULL;
	while (list != NULL && e.n < ENTRY_CHANGES)
		decide(n, &e, take(&list));
	while (list != NULL)
		append(&n->asked, take(&list));
	if (e.n == 0)
		return;
	entry_seal_of(&e);
	n->proposed_number = e.number;
	if (!fleet_propose(n->fleet, (const uint8_t *)&e, sizeof(e), e.tag))
		abort();
}

void
writer_run(struct node *n)
{
	bool fresh;

	if (n->applying)
		return;
	settle_proposal(n);
	if (apply_next(n))
		return;
	settle_waiting(n);
	drop_late(n, &n->proposed);
	drop_late(n, &n->asked);
	fresh = fleet_fresh_until_ms(n->fleet) > node_boot_ms(n);
	if (!fresh)
		answer_all(n, &n->asked, ANSWER_UNAVAILABLE);
	if (n->asked != NULL && n->proposed == NULL && fleet_may_propose(n->fleet))
		decide_and_propose(n);
}

int64_t
writer_wake_us(const struct node *n)
{
	int64_t at_us = INT64_MAX, by_us, by_ms, now_ms = node_boot_ms(n);

	if (n->asked != NULL || n->proposed != NULL || n->waiting != NULL)
		at_us = world_now_us(n->world) + LOOK_US;
	for (const struct call *call = n->waiting; call != NULL && !n->applying; call = call->next) {
		if (call->confirm != 0 || fleet_effective(n->fleet, call->effective, now_ms, &by_ms) || by_ms == INT64_MAX)
			continue;
		by_us = node_at_us(n, by_ms);
		at_us = by_us < at_us ? by_us : at_us;
	}
	return at_us;
}
