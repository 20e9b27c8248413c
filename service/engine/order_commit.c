/*
 * order_commit.c - changes that a cluster orders (see internal.h). Mutations are decided in a transaction that is then
 * aborted; their changes become an entry, which is proposed; and what the log says is committed, by one code path, whoever
 * has proposed it. A mutation is answered with success when its entry is effective on every node.
 *
 * A refusal, or the reply to a token's first use, is given only from a database that was confirmed to be as new as the
 * newest acknowledged change. Else a node that lags behind could refuse what was done under that very token.
 */
#include "service/engine/internal.h"

#include <sodium.h>
#include <string.h>

#include "service/base/log.h"
#include "service/store/apply.h"
#include "service/store/cluster.h"
#include "service/store/rotate.h"
#include "service/store/time.h"

#define EXPIRE_MAX 64           /* keys whose end is proposed in one entry */
#define EXPIRE_OTHERS_MS 2000   /* after a deadline, before a node that has not proposed last proposes the key's end */
#define ENTRY_RETRY_MS 1000

static void
report(struct writer *w, const char *what, const char *reason)
{
	struct order *o = w->order;

	o->retry_ms = clock_boot_ms() + ENTRY_RETRY_MS;
	if (clock_boot_ms() < o->next_report_ms)
		return;
	o->next_report_ms = clock_boot_ms() + UPKEEP_MS;
	LOG(LOG_ERROR, what, LOG_S("environment", writer_environment(w)), LOG_I("entry", o->cluster.number + 1),
	    LOG_S("reason", reason));
}

/* ---- the log's entries ---- */

static void
place_next(const struct writer *w, struct entry_place *place)
{
	const struct record_cluster *c = &w->order->cluster;

	*place = (struct entry_place){ .environment = store_environment(w->store), .number = c->number + 1 };
	memcpy(place->cluster, c->cluster, sizeof(place->cluster));
	memcpy(place->before, c->tag, sizeof(place->before));
}

/* Apply all changes of the entry in a transaction that was begun. Returns 0, or a negative fault. */
static int
apply_changes(struct writer *w, struct record_state *next)
{
	int fault;

	while ((fault = entry_next(w->order->entry, &w->change)) == 1) {
		if (w->change.rotate_lines != 0 &&
		    (fault = store_prepare_rotation(w->txn, w->change.rotate_lines, w->change.rotate_fingerprint)) != 0)
			return fault;
		if ((fault = store_resolve(w->txn, &w->change)) != 0 || (fault = census_apply(w, next)) != 0)
			return fault;
	}
	return fault;
}

static int
commit_entry(struct writer *w, const uint8_t *tag)
{
	struct record_cluster cluster = w->order->cluster;
	struct record_state next = w->state;
	int fault;

	cluster.number++;
	memcpy(cluster.tag, tag, sizeof(cluster.tag));
	if ((fault = commit_begin(w)) != 0)
		return fault;
	if ((fault = apply_changes(w, &next)) != 0 || (fault = store_put_cluster(w->txn, &cluster)) != 0) {
		store_abort(w->txn);
		store_drop_rotation(w->store);
		return fault;
	}
	if ((fault = commit_state(w, &next)) != 0) {
		store_drop_rotation(w->store);
		return fault;
	}
	if (store_rotation_is_prepared(w->store))
		rotation_begun(w);
	w->order->cluster = cluster;
	/* Last-used times are this node's own: without room for them the entry stands all the same. */
	(void)lastused_grow(w->lastused, next.next_serial);
	return 0;
}

/* Returns whether there was an entry, and it was applied. */
static bool
apply_next(struct writer *w)
{
	struct order *o = w->order;
	struct entry_place place;
	const uint8_t *bytes;
	uint8_t tag[ENTRY_TAG_LEN];
	size_t len;
	int fault;

	pthread_mutex_lock(&o->lock);
	place_next(w, &place);
	if (!fleet_entry(o->fleet, &bytes, &len)) {
		pthread_mutex_unlock(&o->lock);
		return false;
	}
	if ((fault = entry_open(o->entry, store_pepper(w->store), &place, bytes, len)) != 0) {
		if (fault == -FAULT_CORRUPT)
			fleet_forged(o->fleet);
		order_publish(o);
		pthread_mutex_unlock(&o->lock);
		report(w, "an entry of the cluster's log cannot be read; not serving",
		    fault == -FAULT_CORRUPT ? "it was not made with this environment's pepper, or was changed" :
					      "it is of a newer fobd: upgrade this one");
		return false;
	}
	memcpy(tag, bytes + len - ENTRY_TAG_LEN, sizeof(tag));
	pthread_mutex_unlock(&o->lock);

	if ((fault = commit_entry(w, tag)) == 0)
		forward_applied(o, entry_proposer(o->entry));
	entry_clear(o->entry);
	sodium_memzero(&w->change, sizeof(w->change));
	if (fault == -FAULT_CORRUPT) {
		pthread_mutex_lock(&o->lock);
		fleet_damaged(o->fleet);
		order_publish(o);
		pthread_mutex_unlock(&o->lock);
	}
	if (fault != 0) {
		report(w, "an entry of the cluster's log cannot be applied",
		    fault == -FAULT_FAILED_PRECONDITION ?
			"the other nodes rotate to a pepper that this node's file does not have: put their file in its place, and "
			"restart fobd" :
			commit_fault_text(fault));
		return false;
	}
	pthread_mutex_lock(&o->lock);
	fleet_applied(o->fleet, o->cluster.number, tag);
	order_publish(o);
	pthread_mutex_unlock(&o->lock);
	return true;
}

static void
apply_all(struct writer *w)
{
	bool applied = false;

	if (store_failed(w->store) || clock_boot_ms() < w->order->retry_ms)
		return;
	while (apply_next(w))
		applied = true;
	if (applied)
		sweeper_look_ahead(w);
}

/* ---- what has become of our proposal ---- */

static enum fleet_proposal
proposal(struct order *o)
{
	enum fleet_proposal now;

	pthread_mutex_lock(&o->lock);
	now = fleet_proposal(o->fleet);
	pthread_mutex_unlock(&o->lock);
	return now;
}

static void
decide_again(struct order *o)
{
	order_append(&o->confirmed, o->proposed);
	o->proposed = NULL;
}

/* The entry is in the log and, as apply_all() comes first and afterwards, in the database as soon as it can be. */
static void
won(struct order *o, uint64_t number)
{
	for (struct mutation *m = o->proposed; m != NULL; m = m->next)
		m->effective = number;
	order_append(&o->waiting, o->proposed);
	o->proposed = NULL;
	o->proposed_last = true;
}

static void
settle_proposal(struct writer *w)
{
	struct order *o = w->order;

	switch (proposal(o)) {
	case FLEET_WON:
		won(o, o->proposed_number);
		break;
	case FLEET_LOST:
		o->proposed_last = false;
		forward_lost(o);
		decide_again(o);
		break;
	case FLEET_REFUSED:
		order_refuse_all(w, &o->proposed, -FAULT_UNAVAILABLE,
		    "etcd cannot be reached, so nothing was changed: ask again, perhaps another node");
		o->retry_ms = clock_boot_ms() + ENTRY_RETRY_MS / 20;
		break;
	case FLEET_FULL:
		order_refuse_all(w, &o->proposed, -FAULT_RESOURCE_EXHAUSTED,
		    "etcd's space is used up, so nothing was changed: compact and defragment it, then disarm its alarm");
		report(w, "etcd's space is used up: no key can be changed",
		    "compact and defragment etcd, then disarm its alarm");
		break;
	default:
		break;
	}
}

/* ---- deciding and proposing ---- */

int
order_collect(struct writer *w)
{
	struct order *o = w->order;
	int fault;

	if ((fault = entry_add(o->entry, &w->change)) != 0)
		o->full = true;
	return fault;
}

/* Is this an answer that a node which lags behind could give wrongly? */
static bool
needs_confirmation(const struct mutation *m)
{
	if (m->fault == 0)
		return m->replayed;
	switch (-m->fault) {
	case FAULT_DEADLINE_EXCEEDED:
	case FAULT_CORRUPT:
	case FAULT_IO:
	case FAULT_FULL:
	case FAULT_INTERNAL:
		return false;
	default:
		return true;
	}
}

/*
 * Is the answer of a database that was confirmed? That of a token's first use has to be confirmed after the token was found:
 * then the entry that holds it is among those that are effective with the confirmed head. And an answer that may depend on
 * changes of the entry under construction is none, as that entry may not come into the log.
 */
static bool
is_confirmed(const struct order *o, const struct mutation *m)
{
	if (entry_changes(o->entry) > 0)
		return false;
	return m->confirmed && (!m->replayed || m->confirmed_head >= m->found_at);
}

static void
wait_on(struct order *o, struct mutation *m)
{
	m->next = o->waiting;
	o->waiting = m;
}

/* A mutation that was decided, and has no change in the entry: a refusal, or the reply to a token's first use. */
static void
settle_decided(struct writer *w, struct mutation *m)
{
	struct order *o = w->order;

	/* Behind its token's first use in the same batch it was not found yet: that entry has no place in the log. */
	if (m->fault == 0 && m->replayed && m->found_at == 0 && entry_changes(o->entry) == 0)
		m->found_at = o->cluster.number;
	if (needs_confirmation(m) && !is_confirmed(o, m)) {
		pthread_mutex_lock(&o->lock);
		m->confirm = fleet_confirm(o->fleet);
		pthread_mutex_unlock(&o->lock);
		wait_on(o, m);
	} else if (m->fault == 0) {
		m->effective = m->confirmed_head;
		wait_on(o, m);
	} else {
		order_answer(w, m);
	}
}

/*
 * The end of keys whose grace is over. The node that has proposed last does it at once, and the others only if it has not:
 * else all would, and all but one in vain.
 */
static int
collect_expiries(struct writer *w, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	struct store_due from = { 0 };
	int due, fault;

	if (now_ms < w->sweeper.next_expiry_ms || clock_boot_ms() < w->order->expire_ms)
		return 0;
	if ((due = store_due(w->txn, now_ms, &from, EXPIRE_MAX, w->sweeper.due)) < 0)
		return due;
	for (int i = 0; i < due; i++) {
		if ((fault = decide_expire(&view, w->sweeper.due[i].digest, &w->change)) == -FAULT_CORRUPT)
			continue;
		if (fault != 0 || (fault = census_apply(w, next)) != 0)
			return fault;
		if (entry_add(w->order->entry, &w->change) != 0)
			break;
	}
	return 0;
}

/* While a key is in grace, the time is recorded once a minute: see sweeper.c. By whoever has proposed last, as above. */
static bool
time_is_due(const struct writer *w, int64_t now_ms)
{
	return sweeper_time_is_due(w, now_ms - (w->order->proposed_last ? 0 : EXPIRE_OTHERS_MS));
}

static int
collect_time(struct writer *w, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	int fault;

	if (entry_changes(w->order->entry) > 0 || !time_is_due(w, now_ms))
		return 0;
	decide_nothing(&view, &w->change);
	if ((fault = census_apply(w, next)) != 0)
		return fault;
	return entry_add(w->order->entry, &w->change);
}

/* Have all nodes read the pepper's new lines, and is none moving to others? Then an entry of its own begins the rotation. */
static bool
rotation_is_wanted(struct writer *w)
{
	struct order *o = w->order;
	bool all;

	if (!store_may_rotate(w->store))
		return false;
	pthread_mutex_lock(&o->lock);
	all = fleet_have_pepper_lines(o->fleet, (uint8_t)store_file_lines(w->store));
	pthread_mutex_unlock(&o->lock);
	return all;
}

static int
collect_rotation(struct writer *w, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };

	decide_nothing(&view, &w->change);
	store_next_fingerprint(w->store, w->change.rotate_fingerprint);
	w->change.rotate_lines = (uint8_t)store_file_lines(w->store);
	return entry_add(w->order->entry, &w->change);
}

/*
 * Decide mutations of ${list} into the entry, until it is full or one has spoilt the transaction; *${list}: those that are
 * left. Returns 0, or a negative fault of the first one.
 */
static int
collect_mutations(struct writer *w, struct mutation **list, int64_t now_ms, struct record_state *next)
{
	struct order *o = w->order;
	struct mutation *m, **end = &o->proposed;
	size_t before;
	int fault;

	while ((m = *list) != NULL) {
		before = entry_changes(o->entry);
		entry_mark(o->entry);
		o->full = false;
		fault = commit_attempt(w, m, now_ms, next);
		if (fault != 0 || o->full) {
			entry_back(o->entry);
			return before > 0 ? 0 : fault;
		}
		*list = m->next;
		m->next = NULL;
		if (entry_changes(o->entry) > before) {
			*end = m;
			end = &m->next;
		} else {
			settle_decided(w, m);
		}
	}
	return 0;
}

static bool
propose(struct writer *w)
{
	struct order *o = w->order;
	struct entry_place place;
	const uint8_t *tag;
	size_t len;
	bool done;

	place_next(w, &place);
	len = entry_seal(o->entry, store_pepper(w->store), &place, o->cluster.replica, o->sealed);
	tag = o->sealed + len - ENTRY_TAG_LEN;
	pthread_mutex_lock(&o->lock);
	/* While it was decided, the agent may have brought another node's entry. */
	done = fleet_may_propose(o->fleet) && fleet_propose(o->fleet, o->sealed, len, tag);
	pthread_mutex_unlock(&o->lock);
	o->proposed_number = place.number;
	return done;
}

static int
collect(struct writer *w, struct mutation **list, int64_t now_ms)
{
	struct record_state next = w->state;
	int fault;

	entry_clear(w->order->entry);
	if ((fault = commit_begin(w)) != 0)
		return fault;
	if (rotation_is_wanted(w))
		fault = collect_rotation(w, now_ms, &next);
	else if ((fault = collect_expiries(w, now_ms, &next)) == 0 && (fault = collect_time(w, now_ms, &next)) == 0)
		fault = collect_mutations(w, list, now_ms, &next);
	store_abort(w->txn);
	census_forget(w);
	sodium_memzero(&w->change, sizeof(w->change));
	return fault;
}

/* Decide what of order->confirmed fits into an entry, and propose it. The rest is decided afterwards. */
static void
decide_and_propose(struct writer *w, int64_t now_ms)
{
	struct order *o = w->order;
	struct mutation *list = o->confirmed, *m;
	int fault;

	o->confirmed = NULL;
	fault = collect(w, &list, now_ms);
	if (fault != 0 && (m = list) != NULL) {
		list = m->next;
		order_refuse(w, m, fault, commit_fault_text(fault));
	}
	o->confirmed = list;
	if (entry_changes(o->entry) > 0 && !propose(w))
		decide_again(o);
	entry_clear(o->entry);
}

/* ---- one round ---- */

/* Out of touch: what is asked for is refused at once. */
static bool
refuses(struct writer *w)
{
	struct order *o = w->order;
	bool fresh;

	pthread_mutex_lock(&o->lock);
	fresh = fleet_fresh_until_ms(o->fleet) > clock_boot_ms();
	pthread_mutex_unlock(&o->lock);
	return !fresh || store_failed(w->store);
}

bool
order_may_propose(struct writer *w)
{
	struct order *o = w->order;
	bool may;

	pthread_mutex_lock(&o->lock);
	may = fleet_may_propose(o->fleet);
	pthread_mutex_unlock(&o->lock);
	return may && !refuses(w) && clock_boot_ms() >= o->retry_ms;
}

bool
order_may_take(struct writer *w)
{
	return refuses(w) || (w->order->confirmed == NULL && w->order->proposed == NULL && order_may_propose(w));
}

static bool
has_due(struct writer *w, int64_t now_ms)
{
	struct order *o = w->order;

	if (now_ms < w->sweeper.next_expiry_ms)
		o->expire_ms = 0;
	else if (o->expire_ms == 0)
		o->expire_ms = clock_boot_ms() + (o->proposed_last ? 0 : EXPIRE_OTHERS_MS + randombytes_uniform(1000));
	if ((o->expire_ms != 0 && clock_boot_ms() >= o->expire_ms) || rotation_is_wanted(w))
		return true;
	return time_is_due(w, now_ms);
}

static void
tell_pepper_lines(struct writer *w)
{
	struct order *o = w->order;
	unsigned lines =
	    store_may_rotate(w->store) ? store_file_lines(w->store) : pepper_newest(store_pepper(w->store));

	pthread_mutex_lock(&o->lock);
	fleet_set_pepper_lines(o->fleet, (uint8_t)(store_is_rotating(w->store) ? lines - 1 : lines));
	pthread_mutex_unlock(&o->lock);
}

/* Refuse all that is under way; the outcome of some is not known. */
static void
drop_all(struct writer *w, const char *why)
{
	struct order *o = w->order;

	order_refuse_all(w, &o->waiting, -FAULT_UNAVAILABLE, why);
	order_refuse_all(w, &o->proposed, -FAULT_UNAVAILABLE, why);
	forward_give_up(w, -FAULT_UNAVAILABLE, why);
	order_refuse_all(w, &o->confirmed, -FAULT_UNAVAILABLE, why);
}

/* Changes of this node alone are committed at once. Today that is InitCluster with again. */
static struct mutation *
commit_local(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct mutation **list = &batch, *m;
	int restarted;

	while ((m = *list) != NULL) {
		if (!m->is_local) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		m->next = NULL;
		commit_settle(w, m, now_ms);
		if ((restarted = order_restart(w->order)) > 0)
			drop_all(w, "this node has left the cluster in which that was asked for");
		else if (restarted < 0)
			report(w, "this node is in its new cluster after its next start only",
			    commit_fault_text(restarted));
		order_answer(w, m);
	}
	return batch;
}

void
order_run(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct order *o = w->order;

	batch = commit_local(w, batch, now_ms);
	copy_run(w);
	tell_pepper_lines(w);
	apply_all(w);
	settle_proposal(w);
	apply_all(w);
	order_settle(w);
	order_drop_late(w, &o->proposed, ORDER_NOT_KNOWN);
	order_append(&o->confirmed, batch);
	if (refuses(w))
		order_refuse_all(w, &o->confirmed, -FAULT_UNAVAILABLE,
		    order_is_open(o) ? "this node has lost touch with its cluster: ask another node, or again" :
				       "this node is closed, see fob cluster status: ask another node");
	order_drop_late(w, &o->confirmed, "the deadline passed before the change was made");
	forward_run(w);
	if (o->proposed == NULL && order_may_propose(w) && (o->confirmed != NULL || has_due(w, now_ms)))
		decide_and_propose(w, now_ms);
	order_kick(o);
}
