/*
 * replay.c - do again in a copy what one event says, by the rules of keys/decide.c, under the event's own time and
 * number (see restore_internal.h).
 *
 * A replayed roll makes a key of its generation with a random digest, as the secret that was given out is not known.
 * What counts is that the old key ends. Accounts and keys that were made or imported since are not made again: their
 * digests are not known, and a key that does not exist cannot become valid again.
 */
#include "service/offline/restore_internal.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/c/names.h"
#include "service/base/names.h"
#include "service/keys/decide.h"
#include "service/store/apply.h"

#define UNFIT_SHOWN 100

/* What an event is to the copy; in place of 0 and negative faults. */
enum { OF_LATER = 1, /* it is of an account or a key that was made after the copy */ UNFIT = 2 };

/* Of one event. */
struct replay {
	struct restore *r;
	const struct record_event *e;
	struct view view;
	struct record_account account; /* as the copy has it by now */
	struct change *change;
	why_text why;
};

static int unfit(struct replay *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int
unfit(struct replay *p, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(p->why, sizeof(p->why), format, ap);
	va_end(ap);
	return UNFIT;
}

/* ---- what was made since ---- */

static int
note_made(struct replay *p, bool is_new)
{
	struct made *made = &p->r->made;
	struct made_account *m = made_add(made, p->e->account);

	if (m == NULL)
		return -FAULT_INTERNAL;
	m->imported = m->imported || p->e->type == EVENT_ACCOUNT_IMPORTED;
	if (is_new) {
		m->is_new = true;
		made->accounts++;
	} else {
		m->keys[p->e->kind - 1] = true;
		made->keys++;
	}
	return OF_LATER;
}

/* An account, or a key that an account lacked, was made or imported. */
static int
take_made(struct replay *p, bool in_copy)
{
	const struct made_account *m = made_find(&p->r->made, p->e->account);

	if (p->e->type == EVENT_ACCOUNT_CREATED || p->e->kind == 0) {
		if (in_copy || (m != NULL && m->is_new))
			return unfit(p, "there is such an account before it");
		return note_made(p, true);
	}
	if (m != NULL && m->is_new)
		return OF_LATER;
	if (!in_copy)
		return unfit(p, "neither the copy nor an event before it has such an account");
	if (record_generation(&p->account, p->e->kind) != 0 || (m != NULL && m->keys[p->e->kind - 1]))
		return unfit(p, "the account has such a key before it");
	return note_made(p, false);
}

/* An event of what was made since: nothing is to be done, and what the operator must do again is noted. */
static int
note_later(struct replay *p, struct made_account *m)
{
	const struct record_event *e = p->e;

	if (e->type == EVENT_ACCOUNT_SUSPENDED || e->type == EVENT_ACCOUNT_RESUMED)
		m->suspended = e->type == EVENT_ACCOUNT_SUSPENDED;
	else
		m->last_ended = e->sequence;
	return OF_LATER;
}

/* ---- what changes the copy ---- */

/* The copy has no key of the event's generation. */
static int
no_such_key(struct replay *p)
{
	struct made_account *m = made_find(&p->r->made, p->e->account);

	if (m != NULL && m->keys[p->e->kind - 1])
		return note_later(p, m);
	return unfit(p, "its account's %s key is of generation %" PRIu32 " by then", kind_name(p->e->kind),
	    record_generation(&p->account, p->e->kind));
}

static int
take_rolled(struct replay *p)
{
	const struct record_event *e = p->e;
	struct roll roll = { .account = e->account };
	int fault;

	if (e->kind != KIND_SECRET || p->account.secret_generation + 1 != e->generation)
		return no_such_key(p);
	roll.grace_ms = e->expires_ms > e->time_ms ? e->expires_ms - e->time_ms : 0;
	randombytes_buf(roll.secret.digest, sizeof(roll.secret.digest));
	memcpy(roll.secret.last4, e->last4, sizeof(roll.secret.last4));
	fault = decide_roll(&p->view, &roll, p->change, p->why);
	/* The events have the end of a grace before the roll that took its place. */
	return fault == DECIDE_EXPIRY_FIRST ? -FAULT_RESOURCE_EXHAUSTED : fault;
}

/* A key has ended: it must be there, and be the same. */
static int
take_ended(struct replay *p)
{
	const struct record_event *e = p->e;
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_key key;
	int fault;

	if ((fault = store_slot(p->r->txn, e->account, e->kind, e->generation, digest)) != 0 ||
	    (fault = store_key(p->r->txn, digest, &key)) != 0)
		return fault == -FAULT_NOT_FOUND ? no_such_key(p) : fault;
	if (memcmp(key.last4, e->last4, sizeof(key.last4)) != 0)
		return unfit(p, "that key ends in %.4s", key.last4);
	if (e->type == EVENT_KEY_REVOKED)
		return decide_revoke(&p->view, e->account, e->kind, e->generation, p->change, p->why);
	if (key.state != KEY_GRACE || key.expires_ms > e->time_ms)
		return unfit(p, "that key has no grace that has ended by then");
	return decide_expire(&p->view, digest, p->change);
}

/* Returns: 0 with p->change made; OF_LATER; UNFIT with p->why; a negative fault. */
static int
decide_again(struct replay *p)
{
	const struct record_event *e = p->e;
	struct made_account *m;
	int fault;

	if (e->type == EVENT_RESTORED)
		return OF_LATER;
	if ((fault = store_account(p->r->txn, e->account, &p->account)) != 0 && fault != -FAULT_NOT_FOUND)
		return fault;
	if (e->type == EVENT_ACCOUNT_CREATED || e->type == EVENT_ACCOUNT_IMPORTED)
		return take_made(p, fault == 0);
	if (fault != 0) {
		if ((m = made_find(&p->r->made, e->account)) != NULL)
			return note_later(p, m);
		return unfit(p, "neither the copy nor an event before it has such an account");
	}
	if (e->type == EVENT_KEY_ROLLED)
		return take_rolled(p);
	if (e->type == EVENT_KEY_EXPIRED || e->type == EVENT_KEY_REVOKED)
		return take_ended(p);
	return decide_suspend(&p->view, e->account, e->type == EVENT_ACCOUNT_SUSPENDED, p->change, p->why);
}

/* Do the rules refuse it, or can the database not be used? */
static bool
is_refusal(int fault)
{
	return fault == -FAULT_NOT_FOUND || fault == -FAULT_FAILED_PRECONDITION || fault == -FAULT_RESOURCE_EXHAUSTED ||
	    fault == -FAULT_ABORTED || fault == -FAULT_ALREADY_EXISTS;
}

static void
tell_unfit(struct replay *p)
{
	const struct record_event *e = p->e;
	struct restore *r = p->r;

	if (r->unfit++ >= UNFIT_SHOWN)
		return;
	fprintf(r->out, "%s: events, line %" PRIu64 ": event %" PRIu64 ", %s of %s",
	    environment_name(r->options->environment), r->line, e->sequence, name_event_type(e->type), e->account);
	if (e->generation > 0)
		fprintf(r->out, ", %s key %" PRIu32 " (%.4s)", kind_name(e->kind), e->generation, e->last4);
	fprintf(r->out, ", fits nothing: %s\n", p->why);
}

int
replay_event(struct restore *r, const struct record_event *e)
{
	struct replay p = { .r = r, .e = e, .view = { .txn = r->txn, .state = &r->state, .now_ms = e->time_ms } };
	int fault;

	if ((p.change = calloc(1, sizeof(*p.change))) == NULL)
		return restore_refuse(r, "out of memory");
	snprintf(p.why, sizeof(p.why), "the database cannot be read");
	if ((fault = decide_again(&p)) == UNFIT || is_refusal(fault))
		tell_unfit(&p);
	r->replayed++;
	r->applied += fault == 0;
	if (fault >= 0 || is_refusal(fault)) {
		if (fault != 0)
			memset(p.change, 0, sizeof(*p.change));
		p.change->time_ms = e->time_ms;
		p.change->event = *e;
		fault = store_apply(r->txn, p.change, &r->state);
	}
	free(p.change);
	return fault == 0 ? 0 : restore_refuse(r, "event %" PRIu64 " cannot be applied: %s", e->sequence, p.why);
}
