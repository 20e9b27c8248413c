/*
 * census.c - counts keys by state, and the superseded keys that are in use (see internal.h), in small steps between
 * commits. Writes nothing to the database. A count that cannot be made is left out, and harms nothing else.
 *
 * Keys by state: all keys are read once after the start, in the order of their digests. What is changed meanwhile counts
 * at once where the walk has passed, and later where it has not; what is changed afterwards counts at once.
 *
 * Superseded keys in use: the keys in grace, by deadline, are read every minute, and soon after a Stats asked. A walk may
 * take a twentieth of the time.
 */
#include "service/engine/internal.h"

#include <string.h>

#include "service/store/apply.h"
#include "service/store/rotate.h"
#include "service/store/walk.h"

#define KEYS_STEP 256       /* read in one step */
#define IN_USE_SOON_MS 1000 /* after a walk, before one that was asked for */
#define IN_USE_SHARE 20     /* a walk may take one part in so many of the time */

/* ---- keys by state ---- */

/* Does what becomes of the key with this digest count now? The walk will come to those that are behind it. */
static bool
is_passed(const struct census *c, const uint8_t digest[RECORD_DIGEST_LEN])
{
	return c->counted || (c->begun && memcmp(digest, c->at, sizeof(c->at)) <= 0);
}

static void
publish(struct writer *w)
{
	for (int s = 0; s < WRITER_STATES; s++)
		atomic_store_explicit(&w->keys[s], (uint64_t)w->census.keys[s], memory_order_relaxed);
	atomic_store_explicit(&w->keys_counted, w->census.counted, memory_order_release);
}

int
census_apply(struct writer *w, struct record_state *next)
{
	struct census *c = &w->census;
	struct record_key before;

	for (unsigned i = 0; i < w->change.n_keys; i++) {
		const struct change_key *k = &w->change.keys[i];

		if (!is_passed(c, k->digest))
			continue;
		if (!k->is_new && store_key(w->txn, k->digest, &before) == 0)
			c->pending[before.state]--;
		c->pending[k->key.state]++;
	}
	return store_apply(w->txn, &w->change, next);
}

void
census_committed(struct writer *w)
{
	for (int s = 0; s < WRITER_STATES; s++)
		w->census.keys[s] += w->census.pending[s];
	census_forget(w);
	if (w->census.counted)
		publish(w);
}

void
census_forget(struct writer *w)
{
	memset(w->census.pending, 0, sizeof(w->census.pending));
}

static bool
visit(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key)
{
	struct census *c = arg;

	memcpy(c->at, digest, sizeof(c->at));
	c->begun = true;
	if (key != NULL)
		c->keys[key->state]++;
	return ++c->step < KEYS_STEP;
}

/* The keys have other digests afterwards, and so other places. */
void
census_restart(struct writer *w)
{
	if (w->census.counted)
		return;
	memset(w->census.keys, 0, sizeof(w->census.keys));
	w->census.begun = false;
}

static void
count_keys(struct writer *w)
{
	struct census *c = &w->census;
	int fault;

	if (store_is_rotating(w->store)) {
		c->next_ms = clock_boot_ms() + RETRY_MS;
		return;
	}
	c->step = 0;
	if ((fault = store_read(w->reader)) == 0) {
		fault = store_scan_keys(w->reader, c->begun ? c->at : NULL, visit, c);
		store_read_end(w->reader);
	}
	if (fault == 0 && c->step < KEYS_STEP) {
		c->counted = true;
		publish(w);
	}
	c->gave_up = fault == -FAULT_CORRUPT;
	c->next_ms = clock_boot_ms() + (fault == 0 ? 1 : RETRY_MS);
}

/* ---- superseded keys in use ---- */

/* Was this key in grace used in a later minute than that in which its successor was made? */
static bool
is_in_use(struct writer *w, const struct store_due *due)
{
	const struct pepper *pepper = store_txn_pepper(w->reader);
	struct record_key key, next;
	uint8_t digest[RECORD_DIGEST_LEN];

	if (store_key(w->reader, due->digest, &key) != 0 ||
	    store_slot(w->reader, key.account, key.kind, key.generation + 1, digest) != 0 ||
	    store_key(w->reader, digest, &next) != 0)
		return false;
	return lastused_get(w->lastused, pepper, key.serial, due->digest) > next.created_ms;
}

static void
end_walk(struct writer *w)
{
	struct census *c = &w->census;
	int64_t now_ms = clock_boot_ms(), rest_ms = (now_ms - c->walk_ms) * IN_USE_SHARE;

	atomic_store_explicit(&w->superseded_in_use, c->in_use, memory_order_relaxed);
	atomic_store_explicit(&w->superseded_in_use_end_ms, c->in_use_end_ms, memory_order_relaxed);
	c->walking = false;
	c->soon_ms = now_ms + (rest_ms > IN_USE_SOON_MS ? rest_ms : IN_USE_SOON_MS);
	c->walk_ms = now_ms + (rest_ms > UPKEEP_MS ? rest_ms : UPKEEP_MS);
}

/* A key whose grace has ended is not in use, even if the sweeper has not ended it yet. */
static void
walk_in_use(struct writer *w)
{
	struct census *c = &w->census;
	int64_t now_ms = clock_now_ms(w->clock);
	int n = 0;

	if (!c->walking) {
		c->walking = true;
		c->walk_ms = clock_boot_ms();
		c->in_use = 0;
		c->in_use_end_ms = 0;
		c->after = (struct store_due){ 0 };
		atomic_store(&w->census_asked, false);
	}
	if (store_read(w->reader) == 0) {
		n = store_due(w->reader, INT64_MAX, &c->after, CENSUS_STEP, c->due);
		for (int i = 0; i < n; i++) {
			if (c->due[i].expires_ms <= now_ms || !is_in_use(w, &c->due[i]))
				continue;
			if (c->in_use++ == 0)
				c->in_use_end_ms = c->due[i].expires_ms;
		}
		store_read_end(w->reader);
	}
	if (n == CENSUS_STEP)
		c->after = c->due[n - 1];
	else
		end_walk(w);
}

/* ---- when ---- */

static bool
keys_are_due(const struct writer *w, int64_t now_ms)
{
	return !w->census.counted && !w->census.gave_up && now_ms >= w->census.next_ms;
}

static bool
in_use_is_due(const struct writer *w, int64_t now_ms)
{
	const struct census *c = &w->census;

	return c->walking || now_ms >= c->walk_ms || (now_ms >= c->soon_ms && atomic_load(&w->census_asked));
}

int64_t
census_wait_ms(const struct writer *w)
{
	const struct census *c = &w->census;
	int64_t now_ms = clock_boot_ms();

	if (store_failed(w->store))
		return RETRY_MS;
	if (in_use_is_due(w, now_ms) || keys_are_due(w, now_ms))
		return 0;
	return c->counted || c->gave_up ? RETRY_MS : c->next_ms - now_ms;
}

void
census_run(struct writer *w)
{
	int64_t now_ms = clock_boot_ms();

	if (store_failed(w->store))
		return;
	if (keys_are_due(w, now_ms))
		count_keys(w);
	if (in_use_is_due(w, now_ms))
		walk_in_use(w);
}
