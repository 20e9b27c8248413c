/*
 * writer.c - the writer thread of one environment (see writer.h): queue, group commit, request tokens, sweeper. Called
 * by admin.c (submit) and engine.c (start, stop), and asked by health.c, reload.c and verify.c; calls decide.c, store.c,
 * and of its parts store_apply.c, store_rotate.c and store_time.c. Nothing is answered before the commit that holds it has
 * returned; nothing that the commit did not hold is answered with success.
 */
#include "service/engine/writer.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "service/base/log.h"
#include "service/base/names.h"
#include "service/store/apply.h"
#include "service/store/rotate.h"
#include "service/store/time.h"

/* The longest nap: after it the clock is looked at again, which may have been set in the meantime. */
#define NAP_MS 1000
#define SWEEP_MS 60000  /* between looks at old tokens and dead readers, and between commits of the time */
#define SWEEP_COMMITS 4 /* in a row, before waiting mutations have their turn */
#define SWEEP_APART 32  /* of one key each, in place of one of these */

struct writer {
	struct store *store;
	struct store_txn *txn;    /* writes */
	struct store_txn *reader; /* for a look between them */
	struct clock *clock;
	struct lastused *lastused;
	struct record_state state; /* as committed */
	int64_t next_expiry_ms;    /* INT64_MAX: none */
	int64_t next_upkeep_ms;    /* this and the next two by clock_boot_ms() */
	int64_t rest_until_ms;     /* after a sweep that left something undone */
	int64_t next_complaint_ms;
	int64_t next_rotation_ms; /* after a step of a pepper's rotation that could not be made */
	int64_t next_report_ms;   /* of how far it has come */
	struct pepper *read;      /* the pepper's file, which is to be looked at; NULL: none */
	struct store_due due[LIMIT_COMMIT];
	struct store_due swept; /* up to here; what is still due there is tried again once a minute */
	struct change change;   /* of the mutation at hand: too large for the stack, and it holds a sealed secret */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct mutation *head; /* these five under lock */
	struct mutation **tail;
	unsigned depth;
	bool stopping;
	struct pepper *offered; /* to become ${read} */

	_Atomic uint64_t mutations, replays, refused, commits, keys_expired;
	_Atomic uint32_t queue_depth;
};

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static const char *
environment_of(const struct writer *w)
{
	return environment_name(store_environment(w->store));
}

/* ---- one mutation, within the transaction ---- */

static int
set_why(struct mutation *m, int fault, const char *why)
{
	snprintf(m->why, sizeof(m->why), "%s", why);
	return fault;
}

/* A sentence for a fault of the storage. */
static const char *
fault_text(int fault)
{
	switch (-fault) {
	case FAULT_FULL:
		return "no room: the disk or the database is full. What was acknowledged is kept; try again when there is room";
	case FAULT_CORRUPT:
		return "a record of the database is damaged; nothing was changed";
	case FAULT_INTERNAL:
		return "the commit failed: what is on disk decides, after a restart, whether the change was made. Ask again with "
		       "the same request_token";
	default:
		return "the database has failed; fobd must be restarted";
	}
}

/*
 * Answer from the token's first use. Returns: 0: answered; -FAULT_NOT_FOUND: the token is new; another fault.
 * The request digest is bound into the seal, so a reply can only come out for the request that it was made for.
 */
static int
replay(struct writer *w, struct mutation *m, const uint8_t index[PEPPER_DIGEST_LEN])
{
	struct record_token token;
	int fault;

	if ((fault = store_token(w->txn, index, &token)) != 0)
		return fault == -FAULT_NOT_FOUND ? fault : set_why(m, fault, fault_text(fault));
	if (sodium_memcmp(token.request, m->request, sizeof(token.request)) != 0)
		return set_why(m, -FAULT_ALREADY_EXISTS, "request_token was used for another request: make a new one");
	if (token.sealed_len < PEPPER_SEAL_LEN || token.sealed_len - PEPPER_SEAL_LEN > sizeof(m->reply) ||
	    pepper_unseal(store_pepper(w->store), m->token, m->request, sizeof(m->request), token.sealed,
		token.sealed_len, m->reply) != 0)
		return set_why(m, -FAULT_CORRUPT, fault_text(-FAULT_CORRUPT));
	m->reply_len = token.sealed_len - PEPPER_SEAL_LEN;
	m->replayed = true;
	return 0;
}

static void
add_token(struct writer *w, const struct mutation *m, const uint8_t index[PEPPER_DIGEST_LEN], struct change *change)
{
	change->has_token = true;
	memcpy(change->token_index, index, sizeof(change->token_index));
	memcpy(change->token_request, m->request, sizeof(change->token_request));
	pepper_seal(
	    store_pepper(w->store), m->token, m->request, sizeof(m->request), m->reply, m->reply_len, change->sealed);
	change->sealed_len = m->reply_len + PEPPER_SEAL_LEN;
}

/* Decide one change of ${m} and apply it. Returns: 0; MUTATION_MORE; a negative fault, which is m->fault as well. */
static int
step(struct writer *w, struct mutation *m, const struct view *view, const uint8_t index[PEPPER_DIGEST_LEN],
    struct record_state *next)
{
	int fault, more;

	if ((more = m->decide(m, view, &w->change)) < 0)
		return m->fault = more;
	if (more == 0)
		add_token(w, m, index, &w->change);
	if ((fault = store_apply(w->txn, &w->change, next)) == 0)
		fault = lastused_grow(w->lastused, next->next_serial);
	m->step++;
	m->fault = fault == 0 ? 0 : set_why(m, fault, fault_text(fault));
	return fault == 0 ? more : fault;
}

/*
 * Decide and apply one mutation on top of ${next}. Sets m->fault.
 * Returns: 0: the transaction is sound, whatever became of the mutation; a negative fault: it can only be aborted.
 */
static int
attempt(struct writer *w, struct mutation *m, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	uint8_t index[PEPPER_DIGEST_LEN];
	int more;

	m->step = 0;
	m->replayed = false;
	m->why[0] = '\0';
	if (clock_boot_ms() >= m->deadline_ms) {
		m->fault = set_why(m, -FAULT_DEADLINE_EXCEEDED, "the deadline passed before the change was made");
		return 0;
	}
	pepper_index(store_pepper(w->store), m->token, index);
	if ((m->fault = replay(w, m, index)) != -FAULT_NOT_FOUND)
		return 0;
	while ((more = step(w, m, &view, index, next)) == MUTATION_MORE)
		;
	/* Refused before anything was applied. */
	return m->step == 0 ? 0 : more;
}

/* ---- one commit ---- */

static void
report_rotation(const struct writer *w, enum log_level level, const char *what, const char *reason)
{
	const struct record_rotation *r = store_rotation(w->store);

	LOG(level, what, LOG_S("environment", environment_of(w)), LOG_I("keys_rotated", r->keys),
	    LOG_I("records_rotated", r->records), LOG_S("reason", reason));
}

/* Take ${next} for the truth, now that it is on disk. */
static void
committed(struct writer *w, const struct record_state *next)
{
	w->state = *next;
	clock_not_before(w->clock, next->newest_ms);
	if (store_is_rotating(w->store) && store_rotated(w->store))
		report_rotation(w, LOG_INFO, "pepper rotated", NULL);
	count(&w->commits, 1);
}

static int
commit(struct writer *w, const struct record_state *next)
{
	int fault;

	if ((fault = store_put_state(w->txn, next)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	if ((fault = store_commit(w->txn)) == 0) {
		committed(w, next);
		return 0;
	}
	/* Neither a yes nor a no, and so not UNAVAILABLE, which is one: the disk may have it. */
	if (fault == -FAULT_IO)
		fault = -FAULT_INTERNAL;
	LOG(LOG_ERROR, "commit failed", LOG_S("environment", environment_of(w)), LOG_S("reason", fault_text(fault)));
	return fault;
}

/*
 * The whole list in one transaction. Returns: 0: every m->fault is final; a negative fault: nothing was changed, and no
 * success may be told.
 */
static int
commit_batch(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct record_state next = w->state;
	int fault;

	if ((fault = store_write(w->txn)) != 0)
		return fault;
	for (struct mutation *m = batch; m != NULL; m = m->next) {
		if ((fault = attempt(w, m, now_ms, &next)) != 0) {
			store_abort(w->txn);
			return fault;
		}
	}
	if (next.revision == w->state.revision) {
		store_abort(w->txn);
		return 0;
	}
	return commit(w, &next);
}

/* Of all, the refused ones too: what those were refused for may have been the work of this very commit. */
static void
refuse_all(struct mutation *batch, int fault)
{
	for (struct mutation *m = batch; m != NULL; m = m->next)
		m->fault = set_why(m, fault, fault_text(fault));
}

/*
 * When a commit of many fails for want of room or for one damaged record, each has its own try: what still fits is done,
 * revocations above all.
 */
static void
commit_each(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct mutation *next;
	int fault;

	for (struct mutation *m = batch; m != NULL; m = next) {
		next = m->next;
		m->next = NULL;
		if ((fault = commit_batch(w, m, now_ms)) != 0)
			refuse_all(m, fault);
		m->next = next;
	}
}

static void
answer(struct writer *w, struct mutation *batch)
{
	struct mutation *next;

	for (struct mutation *m = batch; m != NULL; m = next) {
		next = m->next;
		count(m->fault != 0 ? &w->refused : m->replayed ? &w->replays : &w->mutations, 1);
		m->done(m, m->fault);
	}
}

/* The deadline to wake for; INT64_MAX: none. */
static int64_t
read_next_expiry(struct writer *w)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t at_ms;

	if (store_read(w->reader) != 0)
		return INT64_MAX;
	if (store_next_expiry(w->reader, &at_ms, digest) != 0)
		at_ms = INT64_MAX;
	store_read_end(w->reader);
	return at_ms;
}

static void
work(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	int fault;

	if ((fault = commit_batch(w, batch, now_ms)) != 0) {
		if (batch->next != NULL && !store_failed(w->store))
			commit_each(w, batch, now_ms);
		else
			refuse_all(batch, fault);
	}
	sodium_memzero(&w->change, sizeof(w->change));
	w->next_expiry_ms = read_next_expiry(w);
	answer(w, batch);
}

/* ---- the sweeper ---- */

/*
 * Apply the expiry of every key due by ${now_ms}, up to a commit's worth. A damaged record is passed over: its key verifies
 * as nothing, and must not keep the others from ending. A damaged page is met when it is written to, and then the
 * transaction can only be aborted: sweep_apart(). Returns how many, or a negative fault; *${due}: of how many.
 */
static int
apply_expiries(struct writer *w, int64_t now_ms, struct record_state *next, int *due)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	int fault, n = 0;

	if ((*due = store_due(w->txn, now_ms, &w->swept, LIMIT_COMMIT, w->due)) < 0)
		return *due;
	for (int i = 0; i < *due; i++) {
		if ((fault = decide_expire(&view, w->due[i].digest, &w->change)) == -FAULT_CORRUPT)
			continue;
		if (fault != 0 || (fault = store_apply(w->txn, &w->change, next)) != 0)
			return fault;
		n++;
	}
	return n;
}

/* What is left undone is tried again after a nap, not at once, and told once a minute. */
static void
rest(struct writer *w, int fault)
{
	w->rest_until_ms = clock_boot_ms() + NAP_MS;
	if (clock_boot_ms() < w->next_complaint_ms)
		return;
	w->next_complaint_ms = clock_boot_ms() + SWEEP_MS;
	LOG(LOG_ERROR, "the sweeper cannot commit; keys whose grace has ended verify as expired all the same",
	    LOG_S("environment", environment_of(w)), LOG_S("reason", fault_text(fault)));
}

/*
 * Time that was not committed is lost when the clock is set back over a restart, and a grace is longer by it. So while
 * a key is in grace the time is committed once a minute, if nothing else is.
 */
static bool
should_mark(const struct writer *w, int64_t now_ms)
{
	return w->next_expiry_ms != INT64_MAX && now_ms - w->state.newest_ms >= SWEEP_MS;
}

/* Carry the time into ${next}. Returns 1, or a negative fault. */
static int
mark(struct writer *w, int64_t now_ms, struct record_state *next)
{
	struct view view = { .txn = w->txn, .state = next, .now_ms = now_ms };
	int fault;

	decide_nothing(&view, &w->change);
	return (fault = store_apply(w->txn, &w->change, next)) == 0 ? 1 : fault;
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
	count(&w->keys_expired, (uint64_t)n);
	if (n > 0)
		LOG(LOG_INFO, "keys expired", LOG_S("environment", environment_of(w)), LOG_I("keys", n));
}

/*
 * One commit of expiries and forgotten tokens, or of the time.
 * Returns: 1: there may be more; 0: there is none; a negative fault.
 */
static int
sweep_once(struct writer *w, int64_t now_ms, bool tokens)
{
	struct record_state next = w->state;
	int expired, forgotten = 0, marked = 0, due, fault;

	if ((fault = store_write(w->txn)) != 0)
		return fault;
	expired = apply_expiries(w, now_ms, &next, &due);
	if (expired >= 0 && tokens)
		forgotten = forget_tokens(w, now_ms);
	if (expired == 0 && forgotten >= 0 && should_mark(w, now_ms))
		marked = mark(w, now_ms, &next);
	if (expired < 0 || forgotten < 0 || marked < 0) {
		store_abort(w->txn);
		return expired < 0 ? expired : forgotten < 0 ? forgotten : marked;
	}
	if (expired + forgotten + marked == 0)
		store_abort(w->txn);
	else if ((fault = commit(w, &next)) != 0)
		return fault;
	if (due > 0)
		w->swept = w->due[due - 1];
	count_expired(w, expired);
	return due == LIMIT_COMMIT || forgotten == LIMIT_COMMIT;
}

/* ---- the sweeper, on damaged pages ---- */

enum part { EXPIRE, FORGET, MARK };

/* A commit of one part of a sweep; EXPIRE: of one key, ${digest}. Returns how much was done, or a negative fault. */
static int
sweep_part(struct writer *w, int64_t now_ms, enum part part, const uint8_t *digest)
{
	struct record_state next = w->state;
	struct view view = { .txn = w->txn, .state = &next, .now_ms = now_ms };
	int fault, done;

	if ((fault = store_write(w->txn)) != 0)
		return fault;
	if (part == EXPIRE)
		done = decide_expire(&view, digest, &w->change);
	else
		done = part == FORGET ? forget_tokens(w, now_ms) : mark(w, now_ms, &next);
	if (part == EXPIRE && done == 0)
		done = (fault = store_apply(w->txn, &w->change, &next)) == 0 ? 1 : fault;
	if (done <= 0) {
		store_abort(w->txn);
		return done;
	}
	return (fault = commit(w, &next)) == 0 ? done : fault;
}

static int
read_due(struct writer *w, int64_t now_ms)
{
	int due;

	if ((due = store_read(w->reader)) != 0)
		return due;
	due = store_due(w->reader, now_ms, &w->swept, SWEEP_APART, w->due);
	store_read_end(w->reader);
	return due;
}

/*
 * When a sweep has met a damaged page: a commit for each key that is due, so that those end which can. One that cannot
 * is passed over until the next minute. What stands for its end is the time, which is committed in its place, so that
 * a clock that is set back over a restart does not bring it to life. Returns as sweep_once().
 */
static int
sweep_apart(struct writer *w, int64_t now_ms, bool tokens)
{
	int due, fault = 0, expired = 0, forgotten = 0;
	int64_t left_ms = 0;

	due = read_due(w, now_ms);
	for (int i = 0; i < due; i++) {
		if ((fault = sweep_part(w, now_ms, EXPIRE, w->due[i].digest)) > 0)
			expired++;
		else if (fault == -FAULT_CORRUPT && !store_failed(w->store))
			left_ms = w->due[i].expires_ms;
		else
			break;
		w->swept = w->due[i];
	}
	count_expired(w, expired);
	if (fault < 0 && fault != -FAULT_CORRUPT)
		return fault;
	if (tokens && (forgotten = sweep_part(w, now_ms, FORGET, NULL)) < 0 && forgotten != -FAULT_CORRUPT)
		return forgotten;
	if ((left_ms > w->state.newest_ms || should_mark(w, now_ms)) && (fault = sweep_part(w, now_ms, MARK, NULL)) < 0)
		return fault;
	return due < 0 ? due : due == SWEEP_APART || forgotten == LIMIT_COMMIT ? 1 : forgotten < 0 ? forgotten : 0;
}

static void
sweep(struct writer *w, int64_t now_ms)
{
	bool upkeep = clock_boot_ms() >= w->next_upkeep_ms;
	int more = 1;

	if (store_failed(w->store) || clock_boot_ms() < w->rest_until_ms ||
	    (now_ms < w->next_expiry_ms && !upkeep && !should_mark(w, now_ms)))
		return;
	for (int i = 0; i < SWEEP_COMMITS && more > 0; i++) {
		more = sweep_once(w, now_ms, upkeep);
		if (more == -FAULT_CORRUPT && !store_failed(w->store))
			more = sweep_apart(w, now_ms, upkeep);
	}
	w->next_expiry_ms = read_next_expiry(w);
	if (more < 0)
		rest(w, more);
	else if (w->next_expiry_ms <= now_ms && more == 0)
		rest(w, -FAULT_CORRUPT);
	if (upkeep && more <= 0) {
		store_upkeep(w->store);
		w->next_upkeep_ms = clock_boot_ms() + SWEEP_MS;
		w->swept = (struct store_due){ 0 };
	}
}

/* ---- a pepper's rotation ---- */

/* Some records in a commit of their own. Returns 0, or a negative fault. */
static int
rotate_once(struct writer *w)
{
	int fault;

	if ((fault = store_write(w->txn)) != 0)
		return fault;
	if ((fault = store_rotate(w->txn)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	return commit(w, &w->state);
}

static int
begin_rotation(struct writer *w)
{
	int fault;

	if ((fault = store_begin_rotation(w->txn)) != 0)
		return fault;
	LOG(LOG_INFO, "pepper rotation begins", LOG_S("environment", environment_of(w)),
	    LOG_I("lines", pepper_newest(store_pepper(w->store))));
	return 0;
}

static bool
should_rotate(const struct writer *w)
{
	return (store_is_rotating(w->store) || store_may_rotate(w->store)) && !store_failed(w->store) &&
	    clock_boot_ms() >= w->next_rotation_ms;
}

/*
 * One step between two commits of mutations, told once a minute. One that cannot be made is tried again after a nap: until
 * then all goes on under the pepper or peppers that are in use.
 */
static void
move(struct writer *w)
{
	bool report = clock_boot_ms() >= w->next_report_ms, begins = store_may_rotate(w->store);
	int fault;

	if (!should_rotate(w))
		return;
	if ((fault = begins ? begin_rotation(w) : rotate_once(w)) != 0)
		w->next_rotation_ms = clock_boot_ms() + NAP_MS;
	if (!report || (fault == 0 && !store_is_rotating(w->store)))
		return;
	w->next_report_ms = clock_boot_ms() + SWEEP_MS;
	if (fault != 0)
		report_rotation(w, LOG_ERROR, begins ? "pepper rotation cannot begin" : "pepper rotation cannot go on",
		    fault_text(fault));
	else if (!begins)
		report_rotation(w, LOG_INFO, "pepper rotation", NULL);
}

/*
 * The pepper's file was read anew. A line that comes while a rotation is under way waits for its end, and no longer: what is
 * queued is under no line but the first, so a rotation begins between any two commits.
 */
static void
look_at_pepper(struct writer *w)
{
	struct pepper *read = w->read;
	int added;

	w->read = NULL;
	if (read == NULL || (added = store_offer_pepper(w->store, read)) == 0)
		return;
	if (added < 0) {
		LOG(LOG_ERROR, "the pepper's file is refused; fobd goes on with the pepper that it has",
		    LOG_S("environment", environment_of(w)),
		    LOG_S("reason",
			"a line that it had is not there as it was: put the file back; a new line goes behind the others"));
		return;
	}
	if (store_is_rotating(w->store))
		LOG(LOG_INFO, "the next pepper rotation begins at the end of this one",
		    LOG_S("environment", environment_of(w)));
	w->next_report_ms = 0;
}

/* ---- the thread and its queue ---- */

static void
nap_until(struct writer *w)
{
	int64_t wait_ms = w->next_expiry_ms == INT64_MAX ? NAP_MS : w->next_expiry_ms - clock_now_ms(w->clock);
	int64_t rest_ms = store_failed(w->store) ? NAP_MS : w->rest_until_ms - clock_boot_ms();
	struct timespec at;

	if (wait_ms < rest_ms)
		wait_ms = rest_ms;
	if (wait_ms > NAP_MS)
		wait_ms = NAP_MS;
	if (wait_ms < 1)
		wait_ms = 1;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += wait_ms % 1000 * 1000000;
	at.tv_sec += wait_ms / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&w->wake, &w->lock, &at);
}

/* Up to a commit's worth of what is waiting; NULL when nothing came within a nap. Sets *${more}: false at the end. */
static struct mutation *
take(struct writer *w, bool *more)
{
	struct mutation *batch, **end;
	unsigned n, weight = 0;

	pthread_mutex_lock(&w->lock);
	if (w->head == NULL && !w->stopping && w->offered == NULL && !should_rotate(w))
		nap_until(w);
	w->read = w->offered;
	w->offered = NULL;
	batch = w->head;
	for (end = &w->head, n = 0; *end != NULL && weight < LIMIT_COMMIT; n++) {
		weight += (*end)->weight > 1 ? (*end)->weight : 1;
		end = &(*end)->next;
	}
	w->head = *end;
	*end = NULL;
	if (w->head == NULL)
		w->tail = &w->head;
	w->depth -= n;
	atomic_store_explicit(&w->queue_depth, w->depth, memory_order_relaxed);
	*more = batch != NULL || !w->stopping;
	pthread_mutex_unlock(&w->lock);
	return batch;
}

static void *
run(void *arg)
{
	struct writer *w = arg;
	struct mutation *batch;
	int64_t now_ms;
	bool more = true;

	while (more) {
		batch = take(w, &more);
		now_ms = clock_now_ms(w->clock);
		sweep(w, now_ms);
		if (batch != NULL)
			work(w, batch, now_ms);
		look_at_pepper(w);
		move(w);
	}
	return NULL;
}

static void
rotated_key(void *arg, const struct pepper *pepper, uint32_t serial, const uint8_t old[RECORD_DIGEST_LEN],
    const uint8_t digest[RECORD_DIGEST_LEN])
{
	lastused_rotate(arg, pepper, serial, old, digest);
}

static int
read_state(struct writer *w)
{
	int fault;

	if ((fault = store_read(w->reader)) != 0)
		return fault;
	fault = store_state(w->reader, &w->state);
	store_read_end(w->reader);
	return fault;
}

int
writer_start(
    struct store *store, struct clock *clock, struct lastused *lastused, struct writer **out, char *why, size_t why_len)
{
	pthread_condattr_t attr;
	int fault = -FAULT_INTERNAL;
	struct writer *w;

	if ((w = calloc(1, sizeof(*w))) == NULL || (w->txn = store_txn_new(store)) == NULL ||
	    (w->reader = store_txn_new(store)) == NULL) {
		snprintf(why, why_len, "out of memory");
		goto err1;
	}
	w->store = store;
	w->clock = clock;
	w->lastused = lastused;
	w->tail = &w->head;
	if ((fault = read_state(w)) != 0) {
		snprintf(why, why_len,
		    fault == -FAULT_CORRUPT      ? "%s: the database's state is damaged: restore it from a backup" :
			fault == -FAULT_INTERNAL ? "%s: out of memory" :
						   "%s: the database cannot be read",
		    store_path(store));
		fault = fault == -FAULT_IO ? -FAULT_DISK : fault;
		goto err1;
	}
	if (lastused_grow(lastused, w->state.next_serial) != 0)
		LOG(LOG_WARN, "no disk space for last-used times", LOG_S("environment", environment_of(w)));
	clock_not_before(clock, w->state.newest_ms);
	w->next_expiry_ms = read_next_expiry(w);
	store_on_rotated_key(store, rotated_key, lastused);

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		fault = -FAULT_INTERNAL;
		snprintf(why, why_len, "cannot start the writer's thread");
		goto err2;
	}
	*out = w;
	return 0;

err2:
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
err1:
	if (w != NULL) {
		store_txn_free(w->reader);
		store_txn_free(w->txn);
	}
	free(w);
	return fault;
}

void
writer_stop(struct writer *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	assert(w->head == NULL);
	pepper_free(w->offered);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	store_txn_free(w->reader);
	store_txn_free(w->txn);
	free(w);
}

int
writer_submit(struct writer *w, struct mutation *m)
{
	int fault = 0;

	m->next = NULL;
	m->fault = 0;
	pthread_mutex_lock(&w->lock);
	if (w->depth >= LIMIT_QUEUE) {
		fault = -FAULT_RESOURCE_EXHAUSTED;
	} else {
		*w->tail = m;
		w->tail = &m->next;
		w->depth++;
		atomic_store_explicit(&w->queue_depth, w->depth, memory_order_relaxed);
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return fault;
}

void
writer_offer_pepper(struct writer *w, struct pepper *file)
{
	struct pepper *before;

	pthread_mutex_lock(&w->lock);
	before = w->offered;
	w->offered = file;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pepper_free(before);
}

void
writer_count(struct writer *w, struct writer_counters *c)
{
	*c = (struct writer_counters){
		.mutations = atomic_load_explicit(&w->mutations, memory_order_relaxed),
		.replays = atomic_load_explicit(&w->replays, memory_order_relaxed),
		.refused = atomic_load_explicit(&w->refused, memory_order_relaxed),
		.commits = atomic_load_explicit(&w->commits, memory_order_relaxed),
		.keys_expired = atomic_load_explicit(&w->keys_expired, memory_order_relaxed),
		.queue_depth = atomic_load_explicit(&w->queue_depth, memory_order_relaxed),
	};
}
