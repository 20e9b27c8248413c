/*
 * commit.c - group commit: the changes of many mutations in one transaction, each with its request token (see
 * internal.h). A mutation is answered only after the commit that holds it has returned, and with success only if that
 * commit holds it.
 */
#include "service/engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "service/base/buckets.h"
#include "service/base/log.h"
#include "service/store/apply.h"
#include "service/store/rotate.h"
#include "service/store/size.h"

const char *
commit_fault_text(int fault)
{
	switch (-fault) {
	case FAULT_FULL:
		return "the disk or the database is full. Nothing that was acknowledged is lost. Make room on the disk, or raise the "
		       "setting ceiling";
	case FAULT_CORRUPT:
		return "a record of the database is damaged; nothing was changed";
	case FAULT_INTERNAL:
		return "the commit failed, and it is not known yet whether the change was made. Ask again with the same "
		       "request_token";
	default:
		return "the database has failed; fobd opens it anew by itself, as soon as it can";
	}
}

/* ---- one mutation, within the transaction ---- */

static int
set_why(struct mutation *m, int fault, const char *why)
{
	snprintf(m->why, sizeof(m->why), "%s", why);
	return fault;
}

/*
 * Answer from the token's first use. The request's digest is bound into the seal, so a reply is only ever given for the
 * request that it was made for. Returns: 0: answered; -FAULT_NOT_FOUND: the token is new; another fault.
 */
static int
replay(struct writer *w, struct mutation *m, const uint8_t index[PEPPER_DIGEST_LEN])
{
	struct record_token token;
	int fault;

	if ((fault = store_token(w->txn, index, &token)) != 0)
		return fault == -FAULT_NOT_FOUND ? fault : set_why(m, fault, commit_fault_text(fault));
	if (sodium_memcmp(token.request, m->request, sizeof(token.request)) != 0)
		return set_why(m, -FAULT_ALREADY_EXISTS, "request_token was used for another request: make a new one");
	if (token.sealed_len < PEPPER_SEAL_LEN || token.sealed_len - PEPPER_SEAL_LEN > sizeof(m->reply) ||
	    pepper_unseal(store_pepper(w->store), m->token, m->request, sizeof(m->request), token.sealed,
		token.sealed_len, m->reply) != 0)
		return set_why(m, -FAULT_CORRUPT, commit_fault_text(-FAULT_CORRUPT));
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
	/* A grace ends by itself, also when a roll needs its place. */
	if (w->change.event.type != EVENT_NONE && w->change.event.type != EVENT_KEY_EXPIRED) {
		w->change.event.by = m->by;
		memcpy(w->change.event.on_behalf_of, m->on_behalf_of, sizeof(m->on_behalf_of));
	}
	if (more == 0)
		add_token(w, m, index, &w->change);
	if ((fault = census_apply(w, next)) == 0 && (fault = lastused_grow(w->lastused, next->next_serial)) == 0 &&
	    w->order != NULL)
		fault = order_collect(w);
	m->step++;
	m->fault = fault == 0 ? 0 : set_why(m, fault, commit_fault_text(fault));
	return fault == 0 ? more : fault;
}

int
commit_attempt(struct writer *w, struct mutation *m, int64_t now_ms, struct record_state *next)
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
	/* At step 0 it was refused before anything was applied. */
	return m->step == 0 ? 0 : more;
}

/* ---- one commit ---- */

int
commit_begin(struct writer *w)
{
	census_forget(w);
	return store_write(w->txn);
}

int
commit_state(struct writer *w, const struct record_state *next)
{
	int fault;

	if ((fault = store_put_state(w->txn, next)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	/* A cell that fits the new digest is believed before the commit, too; one that fits the old digest not after it. */
	if (store_is_rotating(w->store))
		lastused_flush(w->lastused);
	if ((fault = store_commit(w->txn)) == 0) {
		w->state = *next;
		clock_not_before(w->clock, next->newest_ms);
		rotation_committed(w);
		census_committed(w);
		writer_add(&w->commits, 1);
		return 0;
	}
	/* UNAVAILABLE would say that nothing was changed, but the disk may have the commit. */
	if (fault == -FAULT_IO)
		fault = -FAULT_INTERNAL;
	LOG(LOG_ERROR, "commit failed", LOG_S("environment", writer_environment(w)),
	    LOG_S("reason", commit_fault_text(fault)));
	return fault;
}

static void
count_group(struct writer *w, const struct mutation *batch)
{
	uint64_t n = 0;

	for (const struct mutation *m = batch; m != NULL; m = m->next)
		n += m->fault == 0 && !m->replayed;
	writer_add(&w->groups[bucket_of(n, WRITER_GROUPS)], 1);
}

/*
 * Commit the whole list in one transaction. Returns: 0: every m->fault is final; a negative fault: nothing was changed,
 * and no mutation may be answered with success.
 */
static int
commit_together(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct record_state next = w->state;
	int fault;

	if ((fault = commit_begin(w)) != 0)
		return fault;
	for (struct mutation *m = batch; m != NULL; m = m->next) {
		if ((fault = commit_attempt(w, m, now_ms, &next)) != 0) {
			store_abort(w->txn);
			return fault;
		}
	}
	if (next.revision == w->state.revision) {
		store_abort(w->txn);
		return 0;
	}
	if ((fault = store_room_to_commit(w->txn)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	if ((fault = commit_state(w, &next)) == 0)
		count_group(w, batch);
	return fault;
}

/* Refuse all, including those that were refused already: their reason may be a change of this commit, which failed. */
static void
refuse_all(struct mutation *batch, int fault)
{
	for (struct mutation *m = batch; m != NULL; m = m->next)
		m->fault = set_why(m, fault, commit_fault_text(fault));
}

/* A commit for each, so that those which fit, revocations above all, are done when all together did not fit. */
static void
commit_each(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	struct mutation *next;
	int fault;

	for (struct mutation *m = batch; m != NULL; m = next) {
		next = m->next;
		m->next = NULL;
		if ((fault = commit_together(w, m, now_ms)) != 0)
			refuse_all(m, fault);
		m->next = next;
	}
}

void
commit_answer(struct writer *w, struct mutation *batch)
{
	struct mutation *next;

	for (struct mutation *m = batch; m != NULL; m = next) {
		next = m->next;
		writer_add(m->fault != 0 ? &w->refused : m->replayed ? &w->replays : &w->mutations, 1);
		m->done(m, m->fault);
	}
}

void
commit_settle(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	int fault;

	if ((fault = commit_together(w, batch, now_ms)) != 0) {
		if (batch->next != NULL && !store_failed(w->store))
			commit_each(w, batch, now_ms);
		else
			refuse_all(batch, fault);
	}
	sodium_memzero(&w->change, sizeof(w->change));
	sweeper_look_ahead(w);
}

void
commit_batch(struct writer *w, struct mutation *batch, int64_t now_ms)
{
	commit_settle(w, batch, now_ms);
	commit_answer(w, batch);
}
