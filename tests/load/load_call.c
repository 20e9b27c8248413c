/*
 * load_call.c - one call of a slot: what it asks, how it is sent, what its answer is counted as (see load_internal.h).
 * Calls libfob as any user of it would.
 */
#include "tests/load/load_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- what a call is ---- */

static const char *
pick_secret(struct slot *s)
{
	if (s->op == OP_BAD)
		return s->load->bad.secrets[rng_below(&s->rng, s->load->bad.n)];
	return keys_next(&s->choice);
}

static void
slot_pick(struct slot *s)
{
	const struct load_config *config = s->load->config;
	unsigned i;

	s->op = mix_pick(&config->mix, &s->rng);
	if (s->op == OP_ROLL) {
		s->target = rng_below(&s->rng, s->load->n_targets);
		return;
	}
	for (i = 0; i < config->batch; i++)
		s->requests[i].secret = pick_secret(s);
	for (i = 0; i < config->batch; i++)
		s->requests[i].secret_len = strlen(s->requests[i].secret);
}

static struct fob_roll_request
slot_roll(const struct slot *s)
{
	const struct target *target = &s->load->targets[s->target];
	uint32_t grace_s = s->load->config->roll_grace_s;

	return (struct fob_roll_request){ FOB_ROLL_REQUEST_INIT, .environment = target->environment,
		.account = target->account, .kind = FOB_KIND_SECRET,
		.grace_s = grace_s == 0 ? FOB_GRACE_NONE_S : grace_s };
}

/* The keys of a slot that verifies several at once. */
static struct fob_verify_batch_request
slot_batch(const struct slot *s)
{
	return (struct fob_verify_batch_request){ FOB_VERIFY_BATCH_REQUEST_INIT, .requests = s->requests,
		.n = s->load->config->batch };
}

/* ---- what became of it ---- */

static bool
is_expected(const struct slot *s, const struct fob_verify_request *request, enum fob_verdict verdict)
{
	/* WRONG_ENVIRONMENT: half of the bad keys are of an environment that this fobd may not serve. */
	if (s->op == OP_BAD)
		return verdict == FOB_VERDICT_MALFORMED || verdict == FOB_VERDICT_NOT_FOUND ||
		    verdict == FOB_VERDICT_WRONG_ENVIRONMENT;
	return verdict == FOB_VERDICT_VALID ||
	    (verdict == FOB_VERDICT_FORBIDDEN && request->operation != NULL && *(const char *)request->secret == 'p');
}

static void
record_verdicts(const struct slot *s, const struct fob_verification *v, const int *faults, unsigned n, int64_t now_ns)
{
	const struct measure *m = s->load->measure;
	struct recorder *r = recorder_mine();
	unsigned i;

	for (i = 0; i < n; i++) {
		if (faults[i] != 0)
			measure_fault(m, r, s->op, s->from_ns, now_ns, faults[i], 1);
		else
			measure_verdict(m, r, s->op, s->from_ns, now_ns, (unsigned)v[i].verdict,
			    is_expected(s, &s->requests[i], v[i].verdict));
	}
}

static void
note(int fault, const struct fob_error *error)
{
	if (fault != 0)
		recorder_note_reason(error->message);
}

/* A call that has no verdicts: a roll, or one that was not answered or not even taken. */
static void
record_end(const struct slot *s, int fault, int64_t now_ns)
{
	measure_fault(s->load->measure, recorder_mine(), s->op, s->from_ns, now_ns, fault,
	    s->op == OP_ROLL ? 1 : s->load->config->batch);
}

/* Two rolls of one key may be answered in either order: the newer secret stays. */
static void
record_rolled(const struct slot *s, const struct fob_rolled_key *key)
{
	struct load *l = s->load;
	struct target *target = &l->targets[s->target];

	pthread_mutex_lock(&l->mutex);
	if (key->new_key->key->generation > target->generation) {
		target->generation = key->new_key->key->generation;
		snprintf(l->keys->secrets[s->target], sizeof(l->keys->secrets[0]), "%s", key->new_key->secret);
		l->rolled = true;
	}
	pthread_mutex_unlock(&l->mutex);
}

/* ---- asynchronous calls ---- */

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	int64_t now_ns = measure_now_ns();
	struct slot *s = arg;

	note(fault, error);
	record_verdicts(s, v, &fault, 1, now_ns);
	slot_ended(s, now_ns);
}

static void
verified_batch(void *arg, int fault, const struct fob_verification *results, const int *faults, size_t n,
    const struct fob_error *error)
{
	int64_t now_ns = measure_now_ns();
	struct slot *s = arg;

	note(fault, error);
	if (fault != 0)
		record_end(s, fault, now_ns);
	else
		record_verdicts(s, results, faults, (unsigned)n, now_ns);
	slot_ended(s, now_ns);
}

static void
rolled(void *arg, int fault, const struct fob_rolled_key *key, const struct fob_error *error)
{
	int64_t now_ns = measure_now_ns();
	struct slot *s = arg;

	note(fault, error);
	record_end(s, fault, now_ns);
	if (fault == 0)
		record_rolled(s, key);
	slot_ended(s, now_ns);
}

static int
slot_submit(struct slot *s, struct fob_error *error)
{
	struct fob_verify_batch_request batch;
	struct fob_roll_request roll;

	if (s->op == OP_ROLL) {
		roll = slot_roll(s);
		return fob_roll_key_async(s->admin, &roll, rolled, s, NULL, error);
	}
	if (s->load->config->batch > 1) {
		batch = slot_batch(s);
		return fob_verify_batch_async(s->client, &batch, verified_batch, s, NULL, error);
	}
	return fob_verify_async(s->client, s->requests, verified, s, NULL, error);
}

/*
 * A call that libfob does not take is a fault. In a closed loop its slot then rests for ever: what is refused on the
 * spot would be refused again at once, and never end.
 */
void
slot_begin(struct slot *s)
{
	struct load *l = s->load;
	struct fob_error error;
	int64_t now_ns;
	int rc;

	slot_pick(s);
	if ((rc = slot_submit(s, &error)) == 0)
		return;
	note(rc, &error);
	now_ns = measure_now_ns();
	record_end(s, rc, now_ns);
	if (l->config->rate > 0)
		slot_ended(s, now_ns);
	else
		load_retire_one(l);
}

/* ---- synchronous calls ---- */

void
slot_call(struct slot *s)
{
	struct fob_verify_batch_request batch;
	struct fob_roll_request roll;
	struct fob_rolled_key *key;
	struct fob_error error;
	int64_t now_ns;
	int rc;

	slot_pick(s);
	if (s->op == OP_ROLL) {
		roll = slot_roll(s);
		rc = fob_roll_key(s->admin, &roll, &key, &error);
		note(rc, &error);
		record_end(s, rc, measure_now_ns());
		if (rc == 0)
			record_rolled(s, key);
		fob_rolled_key_free(key);
		return;
	}
	if (s->load->config->batch > 1) {
		batch = slot_batch(s);
		rc = fob_verify_batch(s->client, &batch, s->results, s->faults, &error);
	} else {
		s->faults[0] = rc = fob_verify(s->client, s->requests, s->results, &error);
	}
	now_ns = measure_now_ns();
	note(rc, &error);
	if (rc != 0)
		record_end(s, rc, now_ns);
	else
		record_verdicts(s, s->results, s->faults, s->load->config->batch, now_ns);
}
