/*
 * writer.c - the writer's thread and its queue (see writer.h). In each round the thread sweeps, commits a batch of
 * mutations, and makes a step of a rotation and one of the census.
 */
#include "service/engine/writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "service/base/log.h"
#include "service/base/names.h"
#include "service/engine/internal.h"

const char *
writer_environment(const struct writer *w)
{
	return environment_name(store_environment(w->store));
}

/* ---- the thread ---- */

/* How long until the sweeper has something to do, as far as the deadlines tell. */
static int64_t
until_next_expiry_ms(struct writer *w)
{
	if (atomic_load(&w->expiry_asked))
		return 0;
	return w->sweeper.next_expiry_ms == INT64_MAX ? RETRY_MS : w->sweeper.next_expiry_ms - clock_now_ms(w->clock);
}

/* Until there is something to do, or a key's deadline comes, but not longer than RETRY_MS. */
static void
wait_for_work(struct writer *w, int64_t order_ms)
{
	const struct sweeper *s = &w->sweeper;
	int64_t wait_ms = until_next_expiry_ms(w);
	int64_t retry_ms = store_failed(w->store) ? RETRY_MS : s->retry_ms - clock_boot_ms();
	struct timespec at;

	if (wait_ms < retry_ms)
		wait_ms = retry_ms;
	if (wait_ms > RETRY_MS)
		wait_ms = RETRY_MS;
	if (wait_ms > census_wait_ms(w))
		wait_ms = census_wait_ms(w);
	if (wait_ms > order_ms)
		wait_ms = order_ms;
	if (wait_ms < 1)
		wait_ms = 1;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += wait_ms % 1000 * 1000000;
	at.tv_sec += wait_ms / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&w->wake, &w->lock, &at);
}

/* Is there nothing to do at once? ${order_ms}: as order_wait_ms(). With the lock. */
static bool
is_idle(struct writer *w, int64_t order_ms)
{
	if (w->stopping || w->leaving || w->offered != NULL || rotation_is_due(w) || census_wait_ms(w) <= 0)
		return false;
	if (w->order == NULL)
		return w->head == NULL;
	return order_ms > 0 && (w->head == NULL || !order_may_take(w));
}

/*
 * Take the mutations for one commit; NULL when none came while waiting, or when the cluster has to order others first.
 * *${more}: false when the thread is to end.
 */
static struct mutation *
take(struct writer *w, bool *more, bool *ends)
{
	struct mutation *batch = NULL, **end;
	unsigned n, weight = 0;
	int64_t order_ms;

	pthread_mutex_lock(&w->lock);
	order_ms = w->order != NULL ? order_wait_ms(w) : RETRY_MS;
	if (is_idle(w, order_ms))
		wait_for_work(w, order_ms);
	w->rotation.file = w->offered;
	w->offered = NULL;
	if (w->order == NULL || w->stopping || w->leaving || order_may_take(w)) {
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
	}
	*ends = w->leaving || w->stopping;
	w->leaving = false;
	*more = batch != NULL || !w->stopping;
	pthread_mutex_unlock(&w->lock);
	return batch;
}

/*
 * Once a second: is the database's file still in its place, and do its readers have room? If the file is not, the store
 * has failed, which is told by whoever opens it anew.
 */
static void
look_after_store(struct writer *w)
{
	bool full;

	if (clock_boot_ms() < w->next_look_ms)
		return;
	w->next_look_ms = clock_boot_ms() + RETRY_MS;
	store_look(w->store);
	if ((full = store_readers_full(w->store)) == w->readers_full)
		return;
	w->readers_full = full;
	if (full)
		LOG(LOG_ERROR, "every slot for readers is taken by other processes; verifies may be UNAVAILABLE",
		    LOG_S("environment", writer_environment(w)));
	else
		LOG(LOG_INFO, "there are slots for readers again", LOG_S("environment", writer_environment(w)));
}

static void
flush_last_used(struct writer *w)
{
	if (clock_boot_ms() < w->next_flush_ms)
		return;
	w->next_flush_ms = clock_boot_ms() + FLUSH_MS;
	lastused_flush(w->lastused);
}

static void *
run(void *arg)
{
	struct writer *w = arg;
	struct mutation *batch;
	int64_t now_ms;
	bool more = true, ends;

	while (more) {
		batch = take(w, &more, &ends);
		now_ms = clock_now_ms(w->clock);
		sweeper_run(w, now_ms);
		if (w->order != NULL)
			order_run(w, batch, now_ms);
		else if (batch != NULL)
			commit_batch(w, batch, now_ms);
		if (w->order != NULL && ends)
			order_give_up(w);
		rotation_run(w);
		look_after_store(w);
		flush_last_used(w);
		census_run(w);
	}
	return NULL;
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
writer_start(struct store *store, struct clock *clock, struct lastused *lastused, const struct order_options *order,
    struct writer **out, char *why, size_t why_len)
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
	w->order_options = *order;
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
		LOG(LOG_WARN, "no disk space for last-used times", LOG_S("environment", writer_environment(w)));
	clock_not_before(clock, w->state.newest_ms);
	sweeper_look_ahead(w);
	rotation_init(w);

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	if ((fault = order_begin(w)) != 0) {
		snprintf(why, why_len, "%s: what it says of its cluster cannot be read", store_path(store));
		goto err2;
	}
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		fault = -FAULT_INTERNAL;
		snprintf(why, why_len, "cannot start the writer's thread");
		goto err2;
	}
	*out = w;
	return 0;

err2:
	order_free(w->order);
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
	order_free(w->order);
	pepper_free(w->offered);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	store_txn_free(w->reader);
	store_txn_free(w->txn);
	free(w);
}

/* ---- what others ask of it ---- */

int
writer_submit(struct writer *w, struct mutation *m)
{
	int fault = 0;

	m->next = NULL;
	m->fault = 0;
	m->confirm = m->effective = m->confirmed_head = m->found_at = 0;
	m->confirmed = m->forwarded = false;
	m->at = (struct position){ 0, 0 };
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
writer_expire_soon(struct writer *w)
{
	if (w == NULL || atomic_exchange(&w->expiry_asked, true))
		return;
	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
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
		.keys_counted = atomic_load_explicit(&w->keys_counted, memory_order_acquire),
		.superseded_in_use = atomic_load_explicit(&w->superseded_in_use, memory_order_relaxed),
		.superseded_in_use_end_ms = atomic_load_explicit(&w->superseded_in_use_end_ms, memory_order_relaxed),
	};
	for (int i = 0; i < WRITER_GROUPS; i++)
		c->groups[i] = atomic_load_explicit(&w->groups[i], memory_order_relaxed);
	for (int i = 0; i < WRITER_STATES; i++)
		c->keys[i] = atomic_load_explicit(&w->keys[i], memory_order_relaxed);
	atomic_store(&w->census_asked, true);
}
