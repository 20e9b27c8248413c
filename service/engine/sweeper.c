/*
 * sweeper.c - turns the end of a grace into a committed fact, so that a clock that is set back does not bring a key back
 * to life, and forgets old tokens (see internal.h). It never decides whether a key is valid: a verify compares the
 * deadline itself.
 */
#include "service/engine/internal.h"

#include "service/base/log.h"
#include "service/store/time.h"

#define COMMITS_MAX 4 /* in a row, before waiting mutations are handled */
#define APART_MAX 32  /* commits of one key each, in place of one of these */

void
sweeper_look_ahead(struct writer *w)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t at_ms;

	w->sweeper.next_expiry_ms = INT64_MAX;
	if (store_read(w->reader) != 0)
		return;
	if (store_next_expiry(w->reader, &at_ms, digest) == 0)
		w->sweeper.next_expiry_ms = at_ms;
	store_read_end(w->reader);
}

/*
 * Apply the expiry of every key that is due by ${now_ms}, at most LIMIT_COMMIT of them. A damaged record is passed over:
 * its key verifies as a fault, and must not keep the others from ending. Damage to a page shows when the page is written
 * to, and the transaction can then only be aborted: see sweep_apart(). Returns how many keys were ended, or a negative
 * fault; *${due}: how many were due.
 */
static int
apply_expiries(struct writer *w, int64_t now_ms, struct record_state *next, int *due)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	int fault, n = 0;

	if ((*due = store_due(w->txn, now_ms, &w->sweeper.swept, LIMIT_COMMIT, w->sweeper.due)) < 0)
		return *due;
	for (int i = 0; i < *due; i++) {
		if ((fault = decide_expire(&view, w->sweeper.due[i].digest, &w->change)) == -FAULT_CORRUPT)
			continue;
		if (fault != 0 || (fault = census_apply(w, next)) != 0)
			return fault;
		n++;
	}
	return n;
}

/* Something was left undone. Trying again at once would spin. */
static void
retry_later(struct writer *w, int fault)
{
	w->sweeper.retry_ms = clock_boot_ms() + RETRY_MS;
	if (clock_boot_ms() < w->sweeper.next_report_ms)
		return;
	w->sweeper.next_report_ms = clock_boot_ms() + UPKEEP_MS;
	LOG(LOG_ERROR, "the sweeper cannot commit; keys whose grace has ended verify as EXPIRED nevertheless",
	    LOG_S("environment", writer_environment(w)), LOG_S("reason", commit_fault_text(fault)));
}

/*
 * If the clock is set back during a restart, a grace is longer by the time since the newest committed time. So while a
 * key is in grace the time is committed once a minute, if nothing else is.
 */
bool
sweeper_time_is_due(const struct writer *w, int64_t now_ms)
{
	return w->sweeper.next_expiry_ms != INT64_MAX && now_ms - w->state.newest_ms >= UPKEEP_MS;
}

/* A change of nothing but the newest time. Returns 1, or a negative fault. */
static int
apply_time(struct writer *w, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	int fault;

	decide_nothing(&view, &w->change);
	return (fault = census_apply(w, next)) == 0 ? 1 : fault;
}

static int
forget_tokens(struct writer *w, int64_t now_ms)
{
	int64_t oldest_ms;

	return store_forget_tokens(w->txn, now_ms - LIMIT_TOKEN_KEPT_MS, LIMIT_COMMIT, &oldest_ms);
}

static void
count_expired(struct writer *w, int n)
{
	writer_add(&w->keys_expired, (uint64_t)n);
	if (n > 0)
		LOG(LOG_INFO, "keys expired", LOG_S("environment", writer_environment(w)), LOG_I("keys", n));
}

/*
 * One commit of expiries and forgotten tokens, or of the time.
 * Returns: 1: there may be more; 0: there is none; a negative fault.
 */
static int
sweep_once(struct writer *w, int64_t now_ms, bool tokens)
{
	struct record_state next = w->state;
	int expired, forgotten = 0, timed = 0, due, fault;

	if ((fault = commit_begin(w)) != 0)
		return fault;
	expired = apply_expiries(w, now_ms, &next, &due);
	if (expired >= 0 && tokens)
		forgotten = forget_tokens(w, now_ms);
	if (expired == 0 && forgotten >= 0 && sweeper_time_is_due(w, now_ms))
		timed = apply_time(w, now_ms, &next);
	if (expired < 0 || forgotten < 0 || timed < 0) {
		store_abort(w->txn);
		return expired < 0 ? expired : forgotten < 0 ? forgotten : timed;
	}
	if (expired + forgotten + timed == 0)
		store_abort(w->txn);
	else if ((fault = commit_state(w, &next)) != 0)
		return fault;
	if (due > 0)
		w->sweeper.swept = w->sweeper.due[due - 1];
	count_expired(w, expired);
	return due == LIMIT_COMMIT || forgotten == LIMIT_COMMIT;
}

/* ---- with a damaged page ---- */

enum part { EXPIRE, FORGET, TIME };

/* Commit one part of a sweep; EXPIRE: of one key, ${digest}. Returns how much was done, or a negative fault. */
static int
sweep_part(struct writer *w, int64_t now_ms, enum part part, const uint8_t *digest)
{
	struct record_state next = w->state;
	struct view view = { .txn = w->txn, .state = &next, .now_ms = now_ms };
	int fault, done;

	if ((fault = commit_begin(w)) != 0)
		return fault;
	if (part == EXPIRE)
		done = decide_expire(&view, digest, &w->change);
	else
		done = part == FORGET ? forget_tokens(w, now_ms) : apply_time(w, now_ms, &next);
	if (part == EXPIRE && done == 0)
		done = (fault = census_apply(w, &next)) == 0 ? 1 : fault;
	if (done <= 0) {
		store_abort(w->txn);
		return done;
	}
	return (fault = commit_state(w, &next)) == 0 ? done : fault;
}

static int
read_due(struct writer *w, int64_t now_ms)
{
	int due;

	if ((due = store_read(w->reader)) != 0)
		return due;
	due = store_due(w->reader, now_ms, &w->sweeper.swept, APART_MAX, w->sweeper.due);
	store_read_end(w->reader);
	return due;
}

/*
 * After a sweep that met a damaged page: a commit for each key that is due, so that every key ends that can. The others
 * are tried again at the next upkeep. For them the time is committed instead, so that a clock that is set back during a
 * restart does not bring them back to life. Returns as sweep_once().
 */
static int
sweep_apart(struct writer *w, int64_t now_ms, bool tokens)
{
	int due, fault = 0, expired = 0, forgotten = 0;
	int64_t left_ms = 0;

	due = read_due(w, now_ms);
	for (int i = 0; i < due; i++) {
		if ((fault = sweep_part(w, now_ms, EXPIRE, w->sweeper.due[i].digest)) > 0)
			expired++;
		else if (fault == -FAULT_CORRUPT && !store_failed(w->store))
			left_ms = w->sweeper.due[i].expires_ms;
		else
			break;
		w->sweeper.swept = w->sweeper.due[i];
	}
	count_expired(w, expired);
	if (fault < 0 && fault != -FAULT_CORRUPT)
		return fault;
	if (tokens && (forgotten = sweep_part(w, now_ms, FORGET, NULL)) < 0 && forgotten != -FAULT_CORRUPT)
		return forgotten;
	if ((left_ms > w->state.newest_ms || sweeper_time_is_due(w, now_ms)) &&
	    (fault = sweep_part(w, now_ms, TIME, NULL)) < 0)
		return fault;
	return due < 0 ? due : due == APART_MAX || forgotten == LIMIT_COMMIT ? 1 : forgotten < 0 ? forgotten : 0;
}

/* In a cluster the end of a grace and the time are entries of its log: see order_commit.c. */
static void
sweep_ordered(struct writer *w, int64_t now_ms)
{
	int done;

	if ((done = sweep_part(w, now_ms, FORGET, NULL)) < 0)
		retry_later(w, done);
	if (done == LIMIT_COMMIT)
		return;
	store_upkeep(w->store);
	w->sweeper.next_upkeep_ms = clock_boot_ms() + UPKEEP_MS;
}

void
sweeper_run(struct writer *w, int64_t now_ms)
{
	bool upkeep = clock_boot_ms() >= w->sweeper.next_upkeep_ms;
	int more = 1;

	if (store_failed(w->store) || clock_boot_ms() < w->sweeper.retry_ms)
		return;
	atomic_store(&w->expiry_asked, false);
	if (w->order != NULL) {
		if (upkeep)
			sweep_ordered(w, now_ms);
		return;
	}
	if (now_ms < w->sweeper.next_expiry_ms && !upkeep && !sweeper_time_is_due(w, now_ms))
		return;
	for (int i = 0; i < COMMITS_MAX && more > 0; i++) {
		more = sweep_once(w, now_ms, upkeep);
		if (more == -FAULT_CORRUPT && !store_failed(w->store))
			more = sweep_apart(w, now_ms, upkeep);
	}
	sweeper_look_ahead(w);
	if (more < 0)
		retry_later(w, more);
	else if (w->sweeper.next_expiry_ms <= now_ms && more == 0)
		retry_later(w, -FAULT_CORRUPT);
	if (upkeep && more <= 0) {
		store_upkeep(w->store);
		w->sweeper.next_upkeep_ms = clock_boot_ms() + UPKEEP_MS;
		w->sweeper.swept = (struct store_due){ 0 };
	}
}
