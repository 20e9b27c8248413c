/*
 * fleet_txn.c - the transactions of a fleet: when each is due, what is in it, and what its result says (see fleet.h).
 */
#include "service/cluster/fleet_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "service/base/bytes.h"

#define PROOFS_IN_D 10    /* proofs sent in the time that one lasts */
#define TIMEOUTS_IN_D 3
#define LOOKS_IN_D 2      /* looks at the rows, at least */
#define JOIN_LOOK_MS 100  /* between looks of a node that needs a copy and knows no other node */
#define RETRY_MS 50       /* after a transaction that was lost */
#define NOTHING "nothing" /* a key that never exists */
#define HEAD "head"

/* ---- what a transaction is made of ---- */

/* "log/" and a number, so that they sort. */
static void
log_key(uint64_t number, char key[FLEET_KEY_MAX])
{
	snprintf(key, FLEET_KEY_MAX, "log/%016" PRIx64, number);
}

static void
compare(struct fleet_txn *t, enum fleet_target target, const char *folder, const char *name, int64_t number)
{
	struct fleet_compare *c = &t->compares[t->n_compares++];

	*c = (struct fleet_compare){ .target = target, .number = number };
	snprintf(c->key, sizeof(c->key), "%s%.80s", folder, name);
}

static void
compare_head(struct fleet_txn *t, const uint8_t head[HEAD_LEN])
{
	compare(t, FLEET_VALUE, HEAD, "", 0);
	t->compares[t->n_compares - 1].value = head;
	t->compares[t->n_compares - 1].len = HEAD_LEN;
}

/* Our row is there, and not marked. */
static void
compare_row(struct fleet_txn *t, const struct fleet *f)
{
	compare(t, FLEET_CREATE_REVISION, "nodes/", f->name, f->create_revision);
	compare(t, FLEET_VERSION, "mark/", f->name, 0);
}

static struct fleet_action *
add(struct fleet_action *actions, unsigned *n, enum fleet_kind kind, const char *folder, const char *name)
{
	struct fleet_action *a = &actions[(*n)++];

	*a = (struct fleet_action){ .kind = kind };
	snprintf(a->key, sizeof(a->key), "%s%.80s", folder, name);
	return a;
}

static struct fleet_action *
then(struct fleet_txn *t, enum fleet_kind kind, const char *folder, const char *name)
{
	return add(t->success, &t->n_success, kind, folder, name);
}

static struct fleet_action *
otherwise(struct fleet_txn *t, enum fleet_kind kind, const char *folder, const char *name)
{
	return add(t->failure, &t->n_failure, kind, folder, name);
}

static void
then_put(struct fleet_txn *t, const char *folder, const char *name, const uint8_t *value, size_t len)
{
	struct fleet_action *a = then(t, FLEET_PUT, folder, name);

	a->value = value;
	a->len = len;
}

/* All keys of a folder: '0' is the character after '/'. */
static void
then_get_all(struct fleet_txn *t, const char *folder, const char *end)
{
	struct fleet_action *a = then(t, FLEET_GET, folder, "");

	snprintf(a->end, sizeof(a->end), "%s", end);
	a->limit = FLEET_NODES + 1;
}

static void
make_row(struct fleet *f, int64_t wall_ms)
{
	struct row row = {
		.applied = f->applied,
		.max_staleness_ms = f->options.max_staleness_ms,
		.wall_ms = wall_ms,
		.pepper_lines = f->options.pepper_lines,
		.entry_version = f->options.entry_version,
	};

	memcpy(row.tag, f->tag, sizeof(row.tag));
	memcpy(row.boot, f->options.boot, sizeof(row.boot));
	snprintf(row.address, sizeof(row.address), "%s", f->options.address);
	f->row_len = row_put(f->options.row_key, f->options.cluster, f->name, &row, f->row);
}

/* ---- our row ---- */

static void
make_register(struct fleet *f, struct fleet_txn *t, int64_t wall_ms)
{
	const struct member *before = fleet_predecessor(f);

	make_row(f, wall_ms);
	compare(t, FLEET_VERSION, "nodes/", f->name, 0);
	then_put(t, "nodes/", f->name, f->row, f->row_len);
	then(t, FLEET_GET, HEAD, "");
	/* These rows are of nobody who answers: fleet_rejoin() has seen to the one, and the other's process has ended. */
	if (f->old_name[0] != '\0') {
		then(t, FLEET_DELETE, "nodes/", f->old_name);
		then(t, FLEET_DELETE, "mark/", f->old_name);
	}
	if (before != NULL) {
		then(t, FLEET_DELETE, "nodes/", before->name);
		then(t, FLEET_DELETE, "mark/", before->name);
	}
	otherwise(t, FLEET_GET, "nodes/", f->name);
}

static const struct fleet_kv *
find_key(const struct fleet_result *r, const char *folder, const char *name)
{
	size_t n = strlen(folder), len = n + strlen(name);

	for (size_t i = 0; i < r->n_kvs; i++)
		if (r->kvs[i].key_len == len && memcmp(r->kvs[i].key, folder, n) == 0 &&
		    memcmp(r->kvs[i].key + n, name, len - n) == 0)
			return &r->kvs[i];
	return NULL;
}

static void
registered(struct fleet *f, const struct sent *s, const struct fleet_result *r)
{
	const struct fleet_kv *kv;

	if (r->succeeded) {
		if (!fleet_saw_head(f, find_key(r, HEAD, ""), s->known))
			return;
		f->create_revision = r->revision;
	} else {
		/* It was made by a registration of this life whose outcome was not known. */
		if ((kv = find_key(r, "nodes/", f->name)) == NULL)
			return;
		f->create_revision = kv->create_revision;
	}
	f->registered = true;
	f->old_name[0] = '\0';
	f->acked = 0;
	f->next_proof_ms = 0;
	/* At the rows, too: ours is among them now. */
	f->looked_ms = 0;
	f->look_wanted = true;
}

/* ---- proofs ---- */

/*
 * Between two acknowledgements of ours: one puts a row, which all nodes that wait read. 20 ms with 100 rows, none with
 * fewer than 5.
 */
static int64_t
ack_pause_ms(const struct fleet *f)
{
	return f->n_members / 5;
}

/*
 * Through etcd's consensus, because it writes or deletes: a read alone may be answered by a member that has lost touch
 * (https://github.com/etcd-io/etcd/issues/20418). The delete is of a key that does not exist, so it takes no space, and
 * is made also where etcd has none left.
 */
static void
make_proof(struct fleet *f, struct fleet_txn *t, int64_t now_ms, int64_t wall_ms)
{
	struct sent *s = &f->sent[SLOT_PROVE];
	bool ack = f->row_wanted ||
	    (f->applied > f->acked && now_ms >= f->no_ack_ms && now_ms >= f->last_ack_ms + ack_pause_ms(f) &&
		(f->ack_wanted || !f->confirm_wanted));

	compare_row(t, f);
	if (ack) {
		make_row(f, wall_ms);
		then_put(t, "nodes/", f->name, f->row, f->row_len);
		f->last_ack_ms = now_ms;
		f->ack_wanted = f->row_wanted = false;
	} else {
		then(t, FLEET_DELETE, NOTHING, "");
	}
	then(t, FLEET_GET, HEAD, "");
	s->applied = ack ? f->applied : 0;
	s->confirm = f->confirm_wanted ? f->next_confirm++ : 0;
	if ((s->rows = f->confirm_wanted)) {
		then_get_all(t, "nodes/", "nodes0");
		then_get_all(t, "mark/", "mark0");
	}
	f->confirm_wanted = false;
	f->next_proof_ms = now_ms + f->options.max_staleness_ms / PROOFS_IN_D;
	otherwise(t, FLEET_GET, HEAD, "");
}

/*
 * etcd answers "no space" also to the transaction that has used up the last of it, which is made. What a proof that was sent
 * afterwards does not show was not made, and will not be.
 */
static void
settle_full(struct fleet *f, const struct sent *s, uint64_t head, int64_t now_ms)
{
	if (f->full_confirm == 0 || s->confirm < f->full_confirm)
		return;
	f->full_confirm = 0;
	if (f->proposal == FLEET_PROPOSING && head < f->proposed_number)
		fleet_end_proposal(f, FLEET_FULL, 0, now_ms);
	else
		f->unsure = f->look_wanted = true;
}

static void
proved(struct fleet *f, const struct sent *s, const struct fleet_result *r, int64_t now_ms)
{
	const struct fleet_kv *kv = find_key(r, HEAD, "");
	struct proof proof = {
		.sent_ms = s->at_ms, .learned_ms = now_ms, .revision = r->revision, .confirm = s->confirm
	};

	if (!fleet_saw_head(f, kv, s->known))
		return;
	if (!r->succeeded) {
		fleet_rejoin(f);
		f->confirm_wanted = f->confirm_wanted || s->confirm != 0;
		return;
	}
	if (s->applied > f->acked)
		f->acked = s->applied;
	settle_full(f, s, bytes_get64(kv->value + FLEET_ID_LEN), now_ms);
	proof.head = bytes_get64(kv->value + FLEET_ID_LEN);
	/* A confirmation needs the rows of this moment; see fleet_wait(). */
	if (proof.confirm != 0 && f->rows_revision < r->revision) {
		proof.confirm = 0;
		f->confirm_wanted = true;
	}
	fleet_proved(f, &proof);
}

/* ---- an entry ---- */

static void
make_proposal(struct fleet *f, struct fleet_txn *t)
{
	char key[FLEET_KEY_MAX];

	log_key(f->proposed_number, key);
	compare_row(t, f);
	compare_head(t, f->head_before);
	then_put(t, key, "", f->proposed.data, f->proposed.len);
	then_put(t, HEAD, "", f->head_after, sizeof(f->head_after));
	then_get_all(t, "nodes/", "nodes0");
	f->sent[SLOT_PROPOSE].rows = true;
	otherwise(t, FLEET_GET, HEAD, "");
	otherwise(t, FLEET_GET, "nodes/", f->name);
	otherwise(t, FLEET_GET, "mark/", f->name);
	otherwise(t, FLEET_GET, key, "");
}

/* Is this the entry that we have proposed? */
static bool
is_ours(const struct fleet *f, const struct fleet_kv *kv)
{
	return kv->len == f->proposed.len && memcmp(kv->value, f->proposed.data, kv->len) == 0;
}

static void
proposed(struct fleet *f, const struct sent *s, const struct fleet_result *r, int64_t now_ms)
{
	const struct fleet_kv *entry;
	char key[FLEET_KEY_MAX];

	if (f->proposal != FLEET_PROPOSING)
		return;
	if (r->succeeded) {
		if (f->rows_revision >= r->revision) {
			fleet_end_proposal(f, FLEET_WON, r->revision, now_ms);
		} else {
			/* It is in the log, but not all rows of that moment came with it: look. */
			f->unsure = true;
			f->look_wanted = true;
		}
		return;
	}
	if (!fleet_saw_head(f, find_key(r, HEAD, ""), s->known))
		return;
	log_key(f->proposed_number, key);
	if ((entry = find_key(r, key, "")) != NULL) {
		/* Ours, if a former attempt was made after all. Then a look gives the rows, too. */
		if (is_ours(f, entry))
			f->unsure = f->look_wanted = true;
		else
			fleet_end_proposal(f, FLEET_LOST, 0, now_ms);
		return;
	}
	if (f->head >= f->proposed_number) {
		/* In the log and truncated already: this node was away for very long. */
		fleet_end_proposal(f, FLEET_LOST, 0, now_ms);
		return;
	}
	/* Our row is gone or marked. A former attempt, which compared the same row, cannot be made any more. */
	if (f->registered && s->life == f->options.life &&
	    (find_key(r, "nodes/", f->name) == NULL || find_key(r, "mark/", f->name) != NULL))
		fleet_rejoin(f);
	fleet_end_proposal(f, FLEET_REFUSED, 0, now_ms);
}

/* ---- looking ---- */

static void
make_look(struct fleet *f, struct fleet_txn *t, int64_t now_ms)
{
	struct sent *s = &f->sent[SLOT_LOOK];
	struct fleet_action *a;
	char key[FLEET_KEY_MAX];

	then(t, FLEET_GET, HEAD, "");
	s->rows = !f->rows_known || f->n_waits > 0 || f->proposal == FLEET_PROPOSING ||
	    now_ms >= f->looked_ms + f->options.max_staleness_ms / LOOKS_IN_D;
	if (s->rows) {
		then_get_all(t, "nodes/", "nodes0");
		then_get_all(t, "mark/", "mark0");
		f->looked_ms = now_ms;
	}
	s->from = 0;
	/* Last, because what does not fit into a message is left out from the end. */
	if (f->closed != FLEET_OPEN) {
		f->look_wanted = false;
		return;
	}
	if (f->n_entries == 0 || f->proposal == FLEET_PROPOSING) {
		s->from = f->proposal == FLEET_PROPOSING ? f->proposed_number : f->applied + 1;
		log_key(s->from, key);
		a = then(t, FLEET_GET, key, "");
		snprintf(a->end, sizeof(a->end), "log0");
		a->limit = FLEET_LOG_LIMIT;
	}
	f->look_wanted = false;
}

static bool
entry_number(const struct fleet_kv *kv, uint64_t *number)
{
	*number = 0;
	if (kv->key_len != 4 + 16 || memcmp(kv->key, "log/", 4) != 0)
		return false;
	for (size_t i = 4; i < kv->key_len; i++) {
		uint8_t c = kv->key[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		*number = *number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return true;
}

/* The entries that a look has brought; perhaps ours is among them. */
static void
looked_at_log(struct fleet *f, const struct fleet_result *r, uint64_t from, int64_t now_ms)
{
	bool rows = f->rows_revision >= r->revision;
	uint64_t number;

	for (size_t i = 0; i < r->n_kvs; i++) {
		if (!entry_number(&r->kvs[i], &number) || number < from)
			continue;
		if (f->proposal == FLEET_PROPOSING && number == f->proposed_number) {
			if (!is_ours(f, &r->kvs[i]))
				fleet_end_proposal(f, FLEET_LOST, 0, now_ms);
			else if (rows)
				fleet_end_proposal(f, FLEET_WON, r->revision, now_ms);
		}
		fleet_saw_entry(f, number, r->kvs[i].value, r->kvs[i].len);
	}
}

/* Another cluster's head: the registration closes this node, if that head is there for long. */
static void
looked_again(struct fleet *f, bool head, bool ours, int64_t now_ms)
{
	if (!head)
		f->register_ms = INT64_MAX;
	else if (ours || f->register_ms == INT64_MAX)
		f->register_ms = now_ms + fleet_wait_of(f->options.max_staleness_ms);
	f->options.again = !ours;
}

/*
 * It may show an older state, so that a head that is missing, behind or another cluster's is left to a transaction through
 * consensus. A log that has lost its next entry has lost it for good.
 */
static void
looked(struct fleet *f, const struct sent *s, const struct fleet_result *r, int64_t now_ms)
{
	const struct fleet_kv *kv = find_key(r, HEAD, "");
	uint64_t head, number, first = 0;
	bool ours = kv != NULL && kv->len == HEAD_LEN && memcmp(kv->value, f->options.cluster, FLEET_ID_LEN) == 0;

	if (f->closed != FLEET_OPEN)
		return;
	f->no_head = kv == NULL;
	if (f->options.again)
		looked_again(f, kv != NULL, ours, now_ms);
	if (!ours)
		return;
	head = bytes_get64(kv->value + FLEET_ID_LEN);
	for (size_t i = 0; i < r->n_kvs && first == 0; i++)
		if (entry_number(&r->kvs[i], &number))
			first = number;
	if (s->from != 0 && s->from > f->applied && head >= s->from && (first == 0 ? !r->more : first > s->from)) {
		fleet_close(f, FLEET_LOG_GONE);
		return;
	}
	if (head > f->head)
		f->head = head;
	if (s->from != 0)
		looked_at_log(f, r, s->from, now_ms);
}

/* ---- a new cluster; leaving; other nodes' rows ---- */

/* Where nothing was appended yet, whoever comes first makes the head. Anywhere else its absence closes this node. */
static void
make_found(struct fleet *f, struct fleet_txn *t)
{
	fleet_put_head(f, 0, f->tag, f->head_before);
	compare(t, FLEET_VERSION, HEAD, "", 0);
	if (f->applied == 0)
		then_put(t, HEAD, "", f->head_before, HEAD_LEN);
	else
		then(t, FLEET_DELETE, NOTHING, "");
	otherwise(t, FLEET_DELETE, NOTHING, "");
	otherwise(t, FLEET_GET, HEAD, "");
}

static void
founded(struct fleet *f, const struct sent *s, const struct fleet_result *r)
{
	if (r->succeeded && f->applied > 0)
		fleet_close(f, FLEET_HEAD_BEHIND);
	else if (!r->succeeded && !fleet_saw_head(f, find_key(r, HEAD, ""), s->known))
		return;
	f->no_head = false;
}

static void
make_cut(struct fleet *f, struct fleet_txn *t)
{
	char key[FLEET_KEY_MAX];

	log_key(0, key);
	then(t, FLEET_DELETE, key, "");
	log_key(f->cut_to, t->success[0].end);
	f->cut_to = 0;
}

static void
make_mend(struct fleet *f, struct fleet_txn *t, int64_t now_ms)
{
	const struct member *m;
	bool remove;

	if (f->leaving) {
		compare(t, FLEET_CREATE_REVISION, "nodes/", f->name, f->create_revision);
		then(t, FLEET_DELETE, "nodes/", f->name);
		then(t, FLEET_DELETE, "mark/", f->name);
		return;
	}
	if ((m = fleet_member_to_mend(f, now_ms, &remove)) == NULL) {
		make_cut(f, t);
		return;
	}
	compare(t, FLEET_CREATE_REVISION, "nodes/", m->name, m->create_revision);
	if (remove) {
		then(t, FLEET_DELETE, "nodes/", m->name);
		then(t, FLEET_DELETE, "mark/", m->name);
	} else {
		then_put(t, "mark/", m->name, (const uint8_t *)f->name, strlen(f->name));
	}
}

/* ---- when ---- */

/* While entries wait for acknowledgements: as often as these may come, and less often where there are many rows. */
static int64_t
look_pause_ms(const struct fleet *f)
{
	return 1 + f->n_members / 8;
}

static int64_t
look_due_ms(const struct fleet *f)
{
	const struct sent *s = &f->sent[SLOT_LOOK];
	int64_t at_ms = f->looked_ms + f->options.max_staleness_ms / LOOKS_IN_D;

	if (f->closed != FLEET_OPEN)
		return f->rows_known && !f->look_wanted ? at_ms : s->at_ms + JOIN_LOOK_MS;
	if (f->look_wanted || !f->rows_known || (f->head > f->applied && f->n_entries == 0))
		return s->at_ms + 1;
	if (f->n_waits > 0 && s->at_ms + look_pause_ms(f) < at_ms)
		at_ms = s->at_ms + look_pause_ms(f);
	return at_ms;
}

static int64_t
proof_due_ms(const struct fleet *f)
{
	int64_t at_ms = f->confirm_wanted ? 0 : f->next_proof_ms, ack_ms = f->last_ack_ms + ack_pause_ms(f);

	if (f->ack_wanted && f->applied > f->acked && f->no_ack_ms > ack_ms)
		ack_ms = f->no_ack_ms;
	if (f->ack_wanted && f->applied > f->acked && ack_ms < at_ms)
		at_ms = ack_ms;
	return at_ms;
}

/* INT64_MAX: not now. */
static int64_t
wanted_ms(const struct fleet *f, enum slot slot)
{
	if (f->leaving)
		return slot == SLOT_MEND && f->registered && !f->left ? 0 : INT64_MAX;
	switch (slot) {
	case SLOT_REGISTER:
		return !f->registered && f->rows_known && !f->no_head ? f->register_ms : INT64_MAX;
	case SLOT_PROVE:
		return f->registered ? proof_due_ms(f) : INT64_MAX;
	case SLOT_PROPOSE:
		return f->registered && f->proposal == FLEET_PROPOSING && f->full_confirm == 0 ? 0 : INT64_MAX;
	case SLOT_LOOK:
		return look_due_ms(f);
	case SLOT_FOUND:
		return f->no_head ? 0 : INT64_MAX;
	default:
		return f->registered ? (f->cut_to != 0 ? 0 : fleet_mend_ms(f)) : INT64_MAX;
	}
}

static int64_t
due_ms(const struct fleet *f, enum slot slot)
{
	int64_t at_ms = wanted_ms(f, slot);

	return at_ms > f->sent[slot].again_ms ? at_ms : f->sent[slot].again_ms;
}

/* A node that needs a copy looks for the others, and does nothing else. */
static bool
is_open(const struct fleet *f, enum slot slot)
{
	return f->closed == FLEET_OPEN || (slot == SLOT_LOOK && fleet_wants_copy(f));
}

static bool
is_due(const struct fleet *f, enum slot slot, int64_t now_ms)
{
	bool remove;

	if (f->sent[slot].busy || !is_open(f, slot) || now_ms < due_ms(f, slot))
		return false;
	return slot != SLOT_MEND || f->leaving || f->cut_to != 0 || fleet_member_to_mend(f, now_ms, &remove) != NULL;
}

uint32_t
fleet_timeout_ms(const struct fleet *f)
{
	uint32_t part_ms = f->options.max_staleness_ms / TIMEOUTS_IN_D;

	return part_ms < FLEET_TIMEOUT_MS ? part_ms : FLEET_TIMEOUT_MS;
}

/* When no result of one comes any more: the agent is hung or gone. */
static int64_t
given_up_ms(const struct fleet *f, const struct sent *s)
{
	return s->at_ms + (int64_t)fleet_timeout_ms(f) * 2;
}

int64_t
fleet_wake_ms(const struct fleet *f, int64_t now_ms)
{
	int64_t at_ms = now_ms + f->options.max_staleness_ms / PROOFS_IN_D, t;

	for (int s = 0; s < SLOTS; s++) {
		if (!is_open(f, (enum slot)s))
			continue;
		t = f->sent[s].busy ? given_up_ms(f, &f->sent[s]) : due_ms(f, (enum slot)s);
		at_ms = t < at_ms ? t : at_ms;
	}
	return at_ms > now_ms ? at_ms : now_ms;
}

/* ---- out and in ---- */

static void
make(struct fleet *f, enum slot slot, int64_t now_ms, int64_t wall_ms, struct fleet_txn *t)
{
	struct sent *s = &f->sent[slot];

	s->busy = true;
	s->at_ms = now_ms;
	s->id = f->next_id + slot;
	s->life = f->options.life;
	s->known = f->applied;
	s->revision = f->revision;
	s->leaving = f->leaving;
	s->again_ms = slot == SLOT_MEND || slot == SLOT_FOUND || slot == SLOT_REGISTER ? now_ms + RETRY_MS : 0;
	f->next_id += SLOTS;
	s->rows = false;
	memset(t, 0, sizeof(*t));
	t->id = s->id;
	switch (slot) {
	case SLOT_REGISTER:
		make_register(f, t, wall_ms);
		break;
	case SLOT_PROVE:
		make_proof(f, t, now_ms, wall_ms);
		break;
	case SLOT_PROPOSE:
		make_proposal(f, t);
		break;
	case SLOT_LOOK:
		make_look(f, t, now_ms);
		break;
	case SLOT_FOUND:
		make_found(f, t);
		break;
	default:
		make_mend(f, t, now_ms);
	}
}

bool
fleet_next(struct fleet *f, int64_t now_ms, int64_t wall_ms, struct fleet_txn *t)
{
	fleet_tidy_waits(f, now_ms);
	for (int s = 0; s < SLOTS; s++)
		if (f->sent[s].busy && now_ms >= given_up_ms(f, &f->sent[s]))
			fleet_lost(f, (enum slot)s, FLEET_UNKNOWN);
	for (int s = 0; s < SLOTS; s++) {
		if (!is_due(f, (enum slot)s, now_ms))
			continue;
		make(f, (enum slot)s, now_ms, wall_ms, t);
		return true;
	}
	return false;
}

void
fleet_lost(struct fleet *f, enum slot slot, enum fleet_outcome outcome)
{
	struct sent *s = &f->sent[slot];

	s->busy = false;
	s->again_ms = s->at_ms + RETRY_MS;
	if (slot == SLOT_PROVE) {
		f->confirm_wanted = f->confirm_wanted || s->confirm != 0;
		f->ack_wanted = f->ack_wanted || s->applied != 0;
		f->next_proof_ms = 0;
		/* A proof that writes nothing is made also where there is no space. */
		if (outcome == FLEET_NO_SPACE) {
			f->no_ack_ms = s->at_ms + f->options.max_staleness_ms / 2;
			s->again_ms = 0;
		}
	} else if (slot == SLOT_LOOK) {
		f->look_wanted = true;
	} else if (slot == SLOT_PROPOSE && f->proposal == FLEET_PROPOSING) {
		if (outcome == FLEET_UNKNOWN || f->unsure)
			f->unsure = f->look_wanted = true;
		else if (outcome == FLEET_NO_SPACE)
			f->full_confirm = fleet_confirm(f);
		else
			fleet_end_proposal(f, FLEET_REFUSED, 0, s->at_ms);
	}
}

/* Whoever answers for etcd may lie; but rows of a cluster that no node with our pepper is in are not valid ones. */
static void
learn_cluster(struct fleet *f, const struct fleet_kv *kv)
{
	if (kv == NULL || kv->len != HEAD_LEN || memcmp(kv->value, f->options.cluster, FLEET_ID_LEN) == 0)
		return;
	memcpy(f->options.cluster, kv->value, FLEET_ID_LEN);
	f->n_members = 0;
}

static void
done(struct fleet *f, enum slot slot, const struct fleet_result *r, int64_t now_ms)
{
	struct sent *s = &f->sent[slot];
	uint64_t number;
	bool complete = !r->more;

	s->busy = false;
	if (slot != SLOT_LOOK && r->revision < s->revision) {
		fleet_close(f, FLEET_HEAD_BEHIND);
		return;
	}
	f->revision = r->revision > f->revision ? r->revision : f->revision;
	if (f->closed == FLEET_JOINING)
		learn_cluster(f, find_key(r, HEAD, ""));
	if (s->rows && (r->succeeded || slot == SLOT_LOOK)) {
		/* What was left out is behind everything that is there. */
		if (slot == SLOT_LOOK && r->n_kvs > 0 && entry_number(&r->kvs[r->n_kvs - 1], &number))
			complete = true;
		fleet_saw_rows(f, r, complete, now_ms);
	}
	switch (slot) {
	case SLOT_REGISTER:
		registered(f, s, r);
		break;
	case SLOT_PROVE:
		proved(f, s, r, now_ms);
		break;
	case SLOT_PROPOSE:
		proposed(f, s, r, now_ms);
		break;
	case SLOT_LOOK:
		looked(f, s, r, now_ms);
		break;
	case SLOT_FOUND:
		founded(f, s, r);
		break;
	default:
		/* One that was sent before we left was of another row, or of the log. */
		f->left = f->leaving && s->leaving;
		f->look_wanted = true;
	}
}

void
fleet_done(struct fleet *f, const struct fleet_result *r, int64_t now_ms)
{
	enum slot slot = (enum slot)(r->id % SLOTS);

	if (!f->sent[slot].busy || f->sent[slot].id != r->id)
		return;
	if (r->outcome == FLEET_DONE)
		done(f, slot, r, now_ms);
	else
		fleet_lost(f, slot, r->outcome);
	fleet_tidy_waits(f, now_ms);
}

void
fleet_disconnected(struct fleet *f)
{
	for (int s = 0; s < SLOTS; s++)
		if (f->sent[s].busy)
			fleet_lost(f, (enum slot)s, FLEET_UNKNOWN);
	f->look_wanted = true;
}

void
fleet_changed(struct fleet *f)
{
	f->look_wanted = true;
}
