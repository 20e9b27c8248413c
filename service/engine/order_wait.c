/*
 * order_wait.c - the mutations that wait for a cluster (see internal.h): until an entry is effective on every node, or until
 * this node is known to be up to date, but never beyond their deadlines. Decides and proposes nothing.
 */
#include "service/engine/internal.h"

#include <stdio.h>

#include "service/store/cluster.h"

/* ---- lists and answers ---- */

static void
set_fault(struct mutation *m, int fault, const char *why)
{
	snprintf(m->why, sizeof(m->why), "%s", why);
	m->fault = fault;
}

void
order_append(struct mutation **list, struct mutation *more)
{
	while (*list != NULL)
		list = &(*list)->next;
	*list = more;
}

/* What it is answered from is no newer than what is committed now. Its own entry may not be applied yet. */
void
order_answer(struct writer *w, struct mutation *m)
{
	m->next = NULL;
	m->at = store_position_of(&w->order->cluster);
	if (m->at.entry < m->effective)
		m->at.entry = m->effective;
	commit_answer(w, m);
}

void
order_refuse(struct writer *w, struct mutation *m, int fault, const char *why)
{
	set_fault(m, fault, why);
	order_answer(w, m);
}

void
order_refuse_all(struct writer *w, struct mutation **list, int fault, const char *why)
{
	struct mutation *m;

	while ((m = *list) != NULL) {
		*list = m->next;
		order_refuse(w, m, fault, why);
	}
}

/* ---- those that wait ---- */

/* What can be said of ${m} now. Returns false: it has to wait on. With the lock. */
static bool
may_answer(struct order *o, struct mutation *m, int64_t now_ms, bool *again)
{
	uint64_t head;
	int64_t by_ms = 0;

	*again = false;
	if (m->confirm != 0) {
		if (fleet_confirmed(o->fleet, &head) >= m->confirm) {
			m->confirm = 0;
			m->confirmed = *again = true;
			m->confirmed_head = head;
			return true;
		}
	} else if (fleet_applied_to(o->fleet) >= m->effective && fleet_effective(o->fleet, m->effective, now_ms, &by_ms)) {
		m->fault = 0;
		return true;
	}
	if (now_ms < m->deadline_ms)
		return false;
	if (m->confirm != 0) {
		set_fault(m, -FAULT_DEADLINE_EXCEEDED,
		    "the deadline passed before this node knew that it is up to date: ask again with the same "
		    "request_token");
		return true;
	}
	m->fault = -FAULT_DEADLINE_EXCEEDED;
	if (by_ms == INT64_MAX || by_ms <= now_ms)
		snprintf(m->why, sizeof(m->why), "the change is made, but this node has not applied it yet: ask again "
						 "with the same request_token");
	else
		snprintf(m->why, sizeof(m->why),
		    "the change is made, as entry %llu, and effective on every node within %lld ms: ask again with the "
		    "same request_token",
		    (unsigned long long)m->effective, (long long)(by_ms - now_ms));
	return true;
}

void
order_settle(struct writer *w)
{
	struct order *o = w->order;
	struct mutation **list = &o->waiting, *confirmed = NULL, **end = &confirmed, *m;
	int64_t now_ms = clock_boot_ms();
	bool done, again;

	while ((m = *list) != NULL) {
		pthread_mutex_lock(&o->lock);
		done = may_answer(o, m, now_ms, &again);
		pthread_mutex_unlock(&o->lock);
		if (!done) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		if (!again) {
			order_answer(w, m);
			continue;
		}
		m->next = NULL;
		*end = m;
		end = &m->next;
	}
	order_append(&o->confirmed, confirmed);
}

void
order_drop_late(struct writer *w, struct mutation **list, const char *why)
{
	struct mutation *m;

	while ((m = *list) != NULL) {
		if (clock_boot_ms() < m->deadline_ms) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		order_refuse(w, m, -FAULT_DEADLINE_EXCEEDED, why);
	}
}

/* ---- for how long ---- */

static int64_t
earlier(int64_t a_ms, int64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

int64_t
order_wait_ms(struct writer *w)
{
	struct order *o = w->order;
	int64_t now_ms = clock_boot_ms(), at_ms = now_ms + RETRY_MS, by_ms;
	const uint8_t *bytes;
	size_t len;

	pthread_mutex_lock(&o->lock);
	/* This thread is the clock of the call that is held. */
	if (o->held != NULL)
		at_ms = earlier(fleet_wake_ms(o->fleet, now_ms), at_ms);
	at_ms = earlier(copy_wait_ms(o, now_ms), at_ms);
	at_ms = earlier(forward_wait_ms(o, now_ms), at_ms);
	if (now_ms >= o->retry_ms && !store_failed(w->store) &&
	    (fleet_entry(o->fleet, &bytes, &len) || fleet_has_proposal(o->fleet)))
		at_ms = now_ms;
	for (const struct mutation *m = o->waiting; m != NULL; m = m->next) {
		at_ms = earlier(m->deadline_ms, at_ms);
		if (m->confirm != 0)
			continue;
		by_ms = now_ms;
		if (!fleet_effective(o->fleet, m->effective, now_ms, &by_ms))
			at_ms = earlier(by_ms, at_ms);
		else
			at_ms = now_ms;
	}
	pthread_mutex_unlock(&o->lock);
	for (const struct mutation *m = o->proposed; m != NULL; m = m->next)
		at_ms = earlier(m->deadline_ms, at_ms);
	if (o->confirmed != NULL && order_may_propose(w))
		at_ms = now_ms;
	if (o->retry_ms > now_ms)
		at_ms = earlier(o->retry_ms, at_ms);
	return at_ms > now_ms ? at_ms - now_ms : 0;
}

/* ---- the end ---- */

void
order_give_up(struct writer *w)
{
	struct order *o = w->order;

	order_refuse_all(w, &o->waiting, -FAULT_UNAVAILABLE, "fobd ends: ask again with the same request_token");
	order_refuse_all(w, &o->proposed, -FAULT_UNAVAILABLE, "fobd ends: ask again with the same request_token");
	forward_give_up(w, -FAULT_UNAVAILABLE, "fobd ends: ask again with the same request_token");
	order_refuse_all(w, &o->confirmed, -FAULT_UNAVAILABLE, "fobd ends, and nothing was changed: ask again");
	pthread_mutex_lock(&o->lock);
	o->ended = true;
	pthread_mutex_unlock(&o->lock);
	order_kick(o);
}
