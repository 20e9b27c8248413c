/*
 * fleet.c - one node's place in its cluster, as its caller sees it: freshness, the log, proposals, confirmations (see
 * fleet.h). The transactions are in fleet_txn.c, the other nodes in fleet_rows.c.
 */
#include "service/cluster/fleet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/cluster/fleet_internal.h"

static void
name_life(struct fleet *f)
{
	char hex[FLEET_ID_LEN * 2 + 1];

	for (int i = 0; i < FLEET_ID_LEN; i++)
		snprintf(hex + i * 2, 3, "%02x", f->options.replica[i]);
	snprintf(f->name, sizeof(f->name), "%s.%016" PRIx64, hex, f->options.life);
}

struct fleet *
fleet_new(const struct fleet_options *options)
{
	struct fleet *f;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return NULL;
	f->options = *options;
	f->applied = f->head = options->applied;
	memcpy(f->tag, options->tag, sizeof(f->tag));
	/* The agent may still bring results of a fleet before. */
	f->next_id = (options->life % UINT32_MAX + 1) * SLOTS;
	f->next_confirm = 1;
	f->look_wanted = true;
	f->register_ms = options->again ? INT64_MAX : 0;
	if (memcmp(options->cluster, (const uint8_t[FLEET_ID_LEN]){ 0 }, FLEET_ID_LEN) == 0)
		f->closed = FLEET_JOINING;
	name_life(f);
	return f;
}

static void
drop_entries(struct fleet *f)
{
	for (unsigned i = 0; i < f->n_entries; i++)
		free(f->entries[i].data);
	f->n_entries = 0;
}

static void
drop_proposal(struct fleet *f)
{
	free(f->proposed.data);
	f->proposed = (struct bytes){ 0 };
	f->unsure = false;
	f->full_confirm = 0;
}

void
fleet_free(struct fleet *f)
{
	if (f == NULL)
		return;
	drop_entries(f);
	drop_proposal(f);
	free(f);
}

void
fleet_close(struct fleet *f, enum fleet_closed why)
{
	if (f->closed == FLEET_OPEN)
		f->closed = why;
	f->fresh_until_ms = 0;
	f->n_proofs = 0;
}

/* ---- freshness ---- */

int64_t
fleet_fresh_until_ms(const struct fleet *f)
{
	return f->fresh_until_ms;
}

void
fleet_rejoin(struct fleet *f)
{
	f->fresh_until_ms = 0;
	f->n_proofs = 0;
	f->registered = false;
	memcpy(f->old_name, f->name, sizeof(f->old_name));
	f->options.life++;
	name_life(f);
	/* A proof of the row before must not be taken for one of the new row. */
	if (f->sent[SLOT_PROVE].busy)
		fleet_lost(f, SLOT_PROVE, FLEET_UNKNOWN);
	f->look_wanted = true;
}

/* The confirmation that a proof is, if it is one. Returns false when there is no room to wait for its head. */
static bool
use_confirm(struct fleet *f, const struct proof *p)
{
	if (p->confirm == 0)
		return true;
	if (!fleet_wait(f, p->head, p->revision, p->learned_ms, FLEET_WAITS))
		return false;
	f->confirmed = p->confirm;
	f->confirmed_head = p->head;
	return true;
}

void
fleet_use_proofs(struct fleet *f)
{
	/* Freshness waits for no confirmation. */
	for (unsigned i = 0; i < f->n_proofs; i++) {
		const struct proof *p = &f->proofs[i];

		if (p->head <= f->applied && p->sent_ms + f->options.max_staleness_ms > f->fresh_until_ms)
			f->fresh_until_ms = p->sent_ms + f->options.max_staleness_ms;
	}
	while (f->n_proofs > 0 && f->proofs[0].head <= f->applied && use_confirm(f, &f->proofs[0]))
		memmove(&f->proofs[0], &f->proofs[1], --f->n_proofs * sizeof(f->proofs[0]));
}

void
fleet_proved(struct fleet *f, const struct proof *proof)
{
	if (f->leaving || f->closed != FLEET_OPEN)
		return;
	if (f->n_proofs == PROOFS) {
		f->n_proofs--;
		/* What it was to confirm, this one or a later one has to. */
		if (f->proofs[f->n_proofs].confirm != 0 && proof->confirm == 0)
			f->confirm_wanted = true;
	}
	f->proofs[f->n_proofs++] = *proof;
	fleet_use_proofs(f);
}

bool
fleet_saw_head(struct fleet *f, const struct fleet_kv *kv, uint64_t known)
{
	uint64_t head;

	if (kv == NULL || kv->len != HEAD_LEN || memcmp(kv->value, f->options.cluster, FLEET_ID_LEN) != 0) {
		fleet_close(f, kv == NULL ? FLEET_HEAD_BEHIND : FLEET_OTHER_CLUSTER);
		return false;
	}
	if ((head = bytes_get64(kv->value + FLEET_ID_LEN)) < known) {
		fleet_close(f, FLEET_HEAD_BEHIND);
		return false;
	}
	if (head == f->applied && memcmp(kv->value + FLEET_ID_LEN + 8, f->tag, ROW_TAG_LEN) != 0) {
		fleet_close(f, FLEET_HEAD_BEHIND);
		return false;
	}
	if (head > f->head)
		f->head = head;
	return true;
}

/* ---- the log ---- */

void
fleet_saw_entry(struct fleet *f, uint64_t number, const uint8_t *bytes, size_t len)
{
	struct bytes *e;

	if (f->n_entries == FLEET_LOG_LIMIT || number != f->applied + f->n_entries + 1)
		return;
	e = &f->entries[f->n_entries];
	if ((e->data = malloc(len > 0 ? len : 1)) == NULL)
		return;
	memcpy(e->data, bytes, len);
	e->len = len;
	f->n_entries++;
	if (number > f->head)
		f->head = number;
}

bool
fleet_entry(const struct fleet *f, const uint8_t **bytes, size_t *len)
{
	if (f->n_entries == 0 || f->closed != FLEET_OPEN)
		return false;
	*bytes = f->entries[0].data;
	*len = f->entries[0].len;
	return true;
}

/* The node that has appended last cuts the log, so that not all do. */
static void
count_step(struct fleet *f, uint64_t number, size_t len)
{
	unsigned kept = FLEET_LOG_KEPT / LOG_STEP;
	size_t step = f->options.log_step != 0 ? f->options.log_step : LOG_STEP;

	f->step_bytes += len;
	if (f->n_steps == 0 || f->step_bytes >= step) {
		if (f->n_steps == LOG_STEPS)
			memmove(&f->steps[0], &f->steps[1], --f->n_steps * sizeof(f->steps[0]));
		f->steps[f->n_steps++] = number;
		f->step_bytes = 0;
	}
	if (number != f->proposed_number || f->n_steps <= kept)
		return;
	if (fleet_all_have(f, f->steps[f->n_steps - kept]))
		f->cut_to = f->steps[f->n_steps - kept];
	else if (f->n_steps == LOG_STEPS)
		f->cut_to = f->steps[0];
}

void
fleet_applied(struct fleet *f, uint64_t number, const uint8_t tag[ROW_TAG_LEN])
{
	assert(number == f->applied + 1 && f->n_entries > 0);
	count_step(f, number, f->entries[0].len);
	free(f->entries[0].data);
	memmove(&f->entries[0], &f->entries[1], --f->n_entries * sizeof(f->entries[0]));
	f->applied = number;
	memcpy(f->tag, tag, sizeof(f->tag));
	/* Nobody waits for us to acknowledge what we have proposed ourselves: the next proof is soon enough. */
	if (number != f->proposed_number)
		f->ack_wanted = true;
	fleet_use_proofs(f);
}

uint64_t
fleet_head(const struct fleet *f)
{
	return f->head;
}

uint64_t
fleet_applied_to(const struct fleet *f)
{
	return f->applied;
}

void
fleet_forged(struct fleet *f)
{
	fleet_close(f, FLEET_FORGED);
}

/* ---- our proposal ---- */

bool
fleet_may_propose(const struct fleet *f)
{
	return f->registered && !f->leaving && f->closed == FLEET_OPEN && f->proposal == FLEET_IDLE &&
	    f->applied == f->head && f->n_waits < FLEET_WAITS;
}

void
fleet_put_head(const struct fleet *f, uint64_t number, const uint8_t tag[ROW_TAG_LEN], uint8_t head[HEAD_LEN])
{
	memcpy(head, f->options.cluster, FLEET_ID_LEN);
	bytes_put64(head + FLEET_ID_LEN, number);
	memcpy(head + FLEET_ID_LEN + 8, tag, ROW_TAG_LEN);
}

bool
fleet_propose(struct fleet *f, const uint8_t *entry, size_t len, const uint8_t tag[ROW_TAG_LEN])
{
	assert(f->proposal == FLEET_IDLE && f->n_entries == 0);
	drop_proposal(f);
	if ((f->proposed.data = malloc(len)) == NULL)
		return false;
	memcpy(f->proposed.data, entry, len);
	f->proposed.len = len;
	f->proposed_number = f->applied + 1;
	fleet_put_head(f, f->applied, f->tag, f->head_before);
	fleet_put_head(f, f->applied + 1, tag, f->head_after);
	f->proposal = FLEET_PROPOSING;
	return true;
}

void
fleet_end_proposal(struct fleet *f, enum fleet_proposal end, int64_t revision, int64_t now_ms)
{
	bool room;

	if (end == FLEET_WON) {
		/* fleet_may_propose() has seen to it, and confirmations leave one place free. */
		room = fleet_wait(f, f->proposed_number, revision, now_ms, FLEET_WAITS + 1);
		assert(room);
		(void)room;
		fleet_saw_entry(f, f->proposed_number, f->proposed.data, f->proposed.len);
	} else {
		f->look_wanted = true;
	}
	drop_proposal(f);
	/* A look may have told before the reply came, which must not be taken for one to the next proposal. */
	f->sent[SLOT_PROPOSE].busy = false;
	f->proposal = end;
}

enum fleet_proposal
fleet_proposal(struct fleet *f)
{
	enum fleet_proposal now = f->proposal;

	if (now != FLEET_PROPOSING)
		f->proposal = FLEET_IDLE;
	return now;
}

bool
fleet_has_proposal(const struct fleet *f)
{
	return f->proposal != FLEET_IDLE && f->proposal != FLEET_PROPOSING;
}

/* ---- confirmations ---- */

uint64_t
fleet_confirm(struct fleet *f)
{
	f->confirm_wanted = true;
	return f->next_confirm;
}

uint64_t
fleet_confirmed(const struct fleet *f, uint64_t *head)
{
	*head = f->confirmed_head;
	return f->confirmed;
}

void
fleet_set_pepper_lines(struct fleet *f, uint8_t lines)
{
	if (f->options.pepper_lines == lines)
		return;
	f->options.pepper_lines = lines;
	f->row_wanted = true;
}

/* ---- the way down ---- */

void
fleet_leave(struct fleet *f)
{
	f->leaving = true;
	f->fresh_until_ms = 0;
	f->n_proofs = 0;
	if (!f->registered || f->closed != FLEET_OPEN)
		f->left = true;
}

bool
fleet_has_left(const struct fleet *f)
{
	return f->left;
}

enum fleet_closed
fleet_closed(const struct fleet *f)
{
	return f->closed;
}

bool
fleet_wants_copy(const struct fleet *f)
{
	return f->closed == FLEET_JOINING || f->closed == FLEET_LOG_GONE || f->closed == FLEET_DAMAGED;
}

void
fleet_damaged(struct fleet *f)
{
	fleet_close(f, FLEET_DAMAGED);
}
