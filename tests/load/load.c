/*
 * load.c - the load itself (see load.h). Called by fob_load.c; calls libfob as any user of it would, and measure.c.
 * Prints nothing but progress, and keeps no lock while it calls libfob.
 *
 * A slot is one call at a time. In a closed loop it begins its next call from the callback of the last one, or from its
 * own thread; in an open loop a pacing thread takes free slots as the rate demands.
 */
#include "tests/load/load.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define IN_FLIGHT_MAX 64
#define BAD_KEYS 4096
#define RATE_MET 0.99

/* A slot of an account whose secret key is rolled. */
struct target {
	char account[FOB_ACCOUNT_SIZE];
	enum fob_environment environment;
	uint32_t generation; /* the newest that we have the secret of */
};

struct load;

struct slot {
	struct load *load;
	struct fob_client *client, *admin;
	struct rng rng;
	int64_t from_ns; /* when the call began, or should have */
	enum op op;
	size_t target;
	const char *ahead;                   /* the secret of the next verify; NULL: none is chosen yet */
	struct fob_verify_request *requests; /* ${batch} of them */
	struct fob_verification *results;    /* synchronous: likewise */
	int *faults;
	struct slot *next_free;
	pthread_t thread;
};

struct load {
	const struct load_config *config;
	struct keys *keys;
	struct keys bad;
	size_t n_targets; /* the first so many of the keys */
	struct target *targets;
	struct fob_client *clients[LOAD_SOCKETS_MAX], *admins[LOAD_SOCKETS_MAX];
	struct slot *slots;
	struct load_outcome *outcome;
	struct measure *measure;
	_Atomic uint64_t turn; /* open loop: the next call's number */
	_Atomic uint64_t sent_measured;
	_Atomic bool stopped;

	pthread_mutex_t mutex; /* of all below, and of what targets and their keys say */
	pthread_cond_t changed;
	struct slot *free;
	unsigned active; /* slots or threads that go on */
	bool rolled;
};

/* ---- what a call is ---- */

static const char *
choose_secret(struct slot *s)
{
	const struct load *l = s->load;
	const char *secret = l->keys->secrets[l->n_targets + rng_below(&s->rng, l->keys->n - l->n_targets)];

	__builtin_prefetch(secret);
	return secret;
}

/*
 * A service that verifies a key has just read it from its customer: it is in the processor's cache. One of a million in
 * a file is not, and waiting for it would be counted as Fob's. So each slot chooses one ahead.
 */
static const char *
pick_secret(struct slot *s)
{
	const char *secret;

	if (s->op == OP_BAD)
		return s->load->bad.secrets[rng_below(&s->rng, s->load->bad.n)];
	secret = s->ahead != NULL ? s->ahead : choose_secret(s);
	s->ahead = choose_secret(s);
	return secret;
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

	return (struct fob_roll_request){ FOB_ROLL_REQUEST_INIT, .environment = target->environment,
		.account = target->account, .kind = FOB_KIND_SECRET,
		.grace_s = s->load->config->roll_grace_s == 0 ? FOB_GRACE_NONE_S : s->load->config->roll_grace_s };
}

/* ---- what became of it ---- */

static bool
is_expected(const struct slot *s, const struct fob_verify_request *request, enum fob_verdict verdict)
{
	if (s->op == OP_BAD)
		return verdict == FOB_VERDICT_MALFORMED || verdict == FOB_VERDICT_NOT_FOUND;
	return verdict == FOB_VERDICT_VALID ||
	    (verdict == FOB_VERDICT_FORBIDDEN && request->operation != NULL && *(const char *)request->secret == 'p');
}

static void
count_fault(struct recorder *r, int fault, unsigned times)
{
	unsigned code = (unsigned)-fault;

	recorder_count(&r->faults[code < RECORDER_FAULTS ? code : (unsigned)-FOB_EUNKNOWN], times);
}

static void
record_verdicts(const struct slot *s, const struct fob_verification *v, const int *faults, unsigned n, int64_t now_ns)
{
	const struct measure *m = s->load->measure;
	struct recorder *r = recorder_mine();
	unsigned i;

	for (i = 0; i < n; i++) {
		measure_record(m, r, s->op, s->from_ns, now_ns, faults[i] != 0, 1);
		if (faults[i] != 0) {
			if (measure_covers(m, s->from_ns))
				count_fault(r, faults[i], 1);
			continue;
		}
		if (measure_covers(m, s->from_ns))
			recorder_count(
			    &r->verdicts[(unsigned)v[i].verdict < RECORDER_VERDICTS ? (unsigned)v[i].verdict : 0], 1);
		if (!is_expected(s, &s->requests[i], v[i].verdict))
			recorder_count(&r->unexpected, 1);
	}
}

/* A call that has no verdicts: a roll, or one that was not answered or not even taken. */
static void
record_end(const struct slot *s, int fault, int64_t now_ns)
{
	unsigned n = s->op == OP_ROLL ? 1 : s->load->config->batch;
	struct recorder *r = recorder_mine();

	measure_record(s->load->measure, r, s->op, s->from_ns, now_ns, fault != 0, n);
	if (fault != 0 && measure_covers(s->load->measure, s->from_ns))
		count_fault(r, fault, n);
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
		memcpy(l->keys->secrets[s->target], key->new_key->secret, sizeof(l->keys->secrets[0]));
		l->rolled = true;
	}
	pthread_mutex_unlock(&l->mutex);
}

/* ---- asynchronous calls ---- */

static void
load_retire_one(struct load *l)
{
	pthread_mutex_lock(&l->mutex);
	if (--l->active == 0)
		l->stopped = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
}

static void slot_begin(struct slot *);

static void
slot_ended(struct slot *s, int64_t now_ns)
{
	struct load *l = s->load;

	if (l->config->rate > 0) {
		pthread_mutex_lock(&l->mutex);
		s->next_free = l->free;
		l->free = s;
		pthread_cond_signal(&l->changed);
		pthread_mutex_unlock(&l->mutex);
	} else if (measure_is_over(l->measure, now_ns)) {
		load_retire_one(l);
	} else {
		s->from_ns = now_ns;
		slot_begin(s);
	}
}

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	int64_t now_ns = measure_now_ns();
	struct slot *s = arg;

	(void)error;
	record_verdicts(s, v, &fault, 1, now_ns);
	slot_ended(s, now_ns);
}

static void
verified_batch(void *arg, int fault, const struct fob_verification *results, const int *faults, size_t n,
    const struct fob_error *error)
{
	int64_t now_ns = measure_now_ns();
	struct slot *s = arg;

	(void)error;
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

	(void)error;
	record_end(s, fault, now_ns);
	if (fault == 0)
		record_rolled(s, key);
	slot_ended(s, now_ns);
}

static int
slot_submit(struct slot *s)
{
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = s->requests,
		.n = s->load->config->batch };
	struct fob_roll_request roll;

	if (s->op == OP_ROLL) {
		roll = slot_roll(s);
		return fob_roll_key_async(s->admin, &roll, rolled, s, NULL, NULL);
	}
	if (s->load->config->batch > 1)
		return fob_verify_batch_async(s->client, &batch, verified_batch, s, NULL, NULL);
	return fob_verify_async(s->client, s->requests, verified, s, NULL, NULL);
}

/*
 * A call that libfob does not take is a fault. In a closed loop its slot then rests for ever: what is refused on the
 * spot would be refused again at once, and never end.
 */
static void
slot_begin(struct slot *s)
{
	struct load *l = s->load;
	int64_t now_ns;
	int rc;

	slot_pick(s);
	if ((rc = slot_submit(s)) == 0)
		return;
	now_ns = measure_now_ns();
	record_end(s, rc, now_ns);
	if (l->config->rate > 0)
		slot_ended(s, now_ns);
	else
		load_retire_one(l);
}

/* ---- synchronous calls ---- */

static void
slot_call(struct slot *s)
{
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = s->requests,
		.n = s->load->config->batch };
	struct fob_rolled_key *key;
	struct fob_roll_request roll;
	int64_t now_ns;
	int rc;

	slot_pick(s);
	if (s->op == OP_ROLL) {
		roll = slot_roll(s);
		rc = fob_roll_key(s->admin, &roll, &key, NULL);
		record_end(s, rc, measure_now_ns());
		if (rc == 0)
			record_rolled(s, key);
		fob_rolled_key_free(key);
		return;
	}
	if (s->load->config->batch > 1)
		rc = fob_verify_batch(s->client, &batch, s->results, s->faults, NULL);
	else
		s->faults[0] = rc = fob_verify(s->client, s->requests, s->results, NULL);
	now_ns = measure_now_ns();
	if (rc != 0)
		record_end(s, rc, now_ns);
	else
		record_verdicts(s, s->results, s->faults, s->load->config->batch, now_ns);
}

/* ---- pacing ---- */

static void
sleep_until(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		continue;
}

/*
 * Waits for the moment of the next call, and says which that is in *${from_ns}. False: the end comes first. What the
 * warm-up could not send is dropped when it ends: the measured time begins without a backlog.
 */
static bool
pace(struct load *l, int64_t *from_ns)
{
	int64_t now_ns;

	do {
		*from_ns = l->measure->start_ns + (int64_t)((double)l->turn++ * 1e9 / l->config->rate);
		if (measure_is_over(l->measure, *from_ns))
			return false;
		now_ns = measure_now_ns();
	} while (*from_ns < l->measure->begin_ns && now_ns >= l->measure->begin_ns);
	if (*from_ns > now_ns)
		sleep_until(*from_ns);
	/* Late, and the end has passed meanwhile; or it was made to come earlier. */
	return !measure_is_over(l->measure, measure_now_ns());
}

static void
pace_record(struct load *l, int64_t from_ns)
{
	int64_t lag_ns = measure_now_ns() - from_ns;

	if (!measure_covers(l->measure, from_ns))
		return;
	l->sent_measured++;
	hist_record(&recorder_mine()->lag, lag_ns > 0 ? (uint64_t)lag_ns : 0, 1);
}

/* A free slot, waited for until the end; NULL then. */
static struct slot *
take_free(struct load *l)
{
	struct timespec wait;
	struct slot *s;

	pthread_mutex_lock(&l->mutex);
	while ((s = l->free) == NULL && !measure_is_over(l->measure, measure_now_ns())) {
		clock_gettime(CLOCK_REALTIME, &wait);
		wait.tv_nsec += 50000000;
		wait.tv_sec += wait.tv_nsec / 1000000000;
		wait.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&l->changed, &l->mutex, &wait);
	}
	if (s != NULL)
		l->free = s->next_free;
	pthread_mutex_unlock(&l->mutex);
	return s;
}

static void *
pacer_main(void *arg)
{
	struct load *l = arg;
	struct slot *s;
	int64_t from_ns;

	/* The kernel's habit of letting timers run 50 us late would be charged to the server. */
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	while (pace(l, &from_ns) && (s = take_free(l)) != NULL) {
		s->from_ns = from_ns;
		pace_record(l, from_ns);
		slot_begin(s);
	}
	load_retire_one(l);
	return NULL;
}

static void *
thread_main(void *arg)
{
	struct slot *s = arg;
	struct load *l = s->load;

	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	for (;;) {
		if (l->config->rate > 0) {
			if (!pace(l, &s->from_ns))
				break;
			pace_record(l, s->from_ns);
		} else if (measure_is_over(l->measure, s->from_ns = measure_now_ns())) {
			break;
		}
		slot_call(s);
	}
	load_retire_one(l);
	return NULL;
}

/* ---- the three kinds of loop ---- */

static void
run_closed(struct load *l)
{
	unsigned i;

	l->active = l->config->callers;
	for (i = 0; i < l->config->callers; i++) {
		l->slots[i].from_ns = measure_now_ns();
		slot_begin(&l->slots[i]);
	}
	measure_watch(l->measure, &l->stopped);
	pthread_mutex_lock(&l->mutex);
	while (l->active > 0)
		pthread_cond_wait(&l->changed, &l->mutex);
	pthread_mutex_unlock(&l->mutex);
}

static int
run_threads(struct load *l, char *why, size_t why_len)
{
	unsigned i, n;
	int rc = 0;

	l->active = l->config->callers;
	for (n = 0; n < l->config->callers; n++) {
		if ((rc = pthread_create(&l->slots[n].thread, NULL, thread_main, &l->slots[n])) != 0)
			break;
	}
	if (rc == 0)
		measure_watch(l->measure, &l->stopped);
	else
		snprintf(why, why_len, "thread %u of %u: %s", n + 1, l->config->callers, strerror(rc));
	if (rc != 0)
		l->measure->end_ns = measure_now_ns();
	for (i = 0; i < n; i++)
		pthread_join(l->slots[i].thread, NULL);
	return rc == 0 ? 0 : -1;
}

static int
run_paced(struct load *l, char *why, size_t why_len)
{
	struct slot *s;
	pthread_t pacer;
	unsigned i, back = 0;
	int rc;

	l->active = 1;
	for (i = 0; i < l->config->callers; i++) {
		l->slots[i].next_free = l->free;
		l->free = &l->slots[i];
	}
	if ((rc = pthread_create(&pacer, NULL, pacer_main, l)) != 0) {
		snprintf(why, why_len, "a thread: %s", strerror(rc));
		return -1;
	}
	measure_watch(l->measure, &l->stopped);
	pthread_join(pacer, NULL);
	pthread_mutex_lock(&l->mutex);
	while (back < l->config->callers) {
		for (back = 0, s = l->free; s != NULL; s = s->next_free)
			back++;
		if (back < l->config->callers)
			pthread_cond_wait(&l->changed, &l->mutex);
	}
	pthread_mutex_unlock(&l->mutex);
	return 0;
}

/* Was the rate kept, from the sending to the answering? One call may be on its way when the end comes. */
static void
judge_rate(const struct load *l, struct load_outcome *outcome, const struct recorder *sum)
{
	double wanted = l->config->rate * measure_duration_s(l->measure);
	double done = 0;
	unsigned op;

	for (op = 0; op < OPS; op++)
		done += (double)sum->done_within[op];
	if (wanted > (double)l->sent_measured + 1)
		outcome->not_sent = (uint64_t)(wanted - (double)l->sent_measured);
	outcome->rate_met =
	    done + 1 >= RATE_MET * wanted * l->config->batch && (double)outcome->not_sent <= (1 - RATE_MET) * wanted;
}

static int
load_loop(struct load *l, char *why, size_t why_len)
{
	const struct load_config *config = l->config;
	struct recorder *sum;
	int rc = 0;

	measure_start(l->measure, config->warmup_s, config->duration_s, config->quiet);
	if (config->synchronous)
		rc = run_threads(l, why, why_len);
	else if (config->rate > 0)
		rc = run_paced(l, why, why_len);
	else
		run_closed(l);
	if (rc != 0 || config->rate <= 0)
		return rc;
	if ((sum = calloc(1, sizeof(*sum))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	recorder_sum(sum);
	judge_rate(l, l->outcome, sum);
	free(sum);
	return 0;
}

/* ---- before and after ---- */

int
load_client(const struct load_config *config, const char *address, unsigned in_flight, struct fob_client **client,
    char *why, size_t why_len)
{
	struct fob_options *o = fob_options_new();
	struct fob_error error = { 0 };
	int rc;

	if (o == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if ((rc = fob_options_set_address(o, address)) != 0)
		snprintf(error.message, sizeof(error.message),
		    "%s: not ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT", address);
	else if ((rc = fob_options_set_timeout_ms(o, config->timeout_ms)) != 0 ||
	    (rc = fob_options_set_in_flight(o, in_flight)) != 0 ||
	    (rc = fob_options_set_queue(o, LOAD_CALLERS_MAX)) != 0 ||
	    (config->tls_ca != NULL && (rc = fob_options_set_tls_ca(o, config->tls_ca)) != 0) ||
	    (config->tls_cert != NULL &&
		(rc = fob_options_set_tls_certificate(o, config->tls_cert, config->tls_key)) != 0))
		snprintf(error.message, sizeof(error.message), "libfob does not take these settings");
	else
		rc = fob_client_new(o, client, &error);
	fob_options_free(o);
	if (rc != 0)
		snprintf(why, why_len, "%s", error.message);
	return rc == 0 ? 0 : -1;
}

static int
open_clients(struct load *l, char *why, size_t why_len)
{
	const struct load_config *config = l->config;
	unsigned i, share = (config->callers + config->sockets - 1) / config->sockets;

	if (config->in_flight != 0)
		share = config->in_flight;
	else if (share > IN_FLIGHT_MAX)
		share = IN_FLIGHT_MAX;
	for (i = 0; i < config->sockets; i++) {
		if (config->mix.weights[OP_VERIFY] + config->mix.weights[OP_BAD] > 0 &&
		    load_client(config, config->address, share, &l->clients[i], why, why_len) != 0)
			return -1;
		if (config->mix.weights[OP_ROLL] > 0 &&
		    load_client(config, config->admin_address, share, &l->admins[i], why, why_len) != 0)
			return -1;
	}
	return 0;
}

static void
swap_keys(struct keys *keys, size_t a, size_t b)
{
	char t[FOB_SECRET_SIZE];

	memcpy(t, keys->secrets[a], sizeof(t));
	memcpy(keys->secrets[a], keys->secrets[b], sizeof(t));
	memcpy(keys->secrets[b], t, sizeof(t));
	fob_wipe(t, sizeof(t));
}

/* Of ${n} keys from ${from} on, those that are current secret keys become targets, and go to the front of the keys. */
static int
find_targets_in(struct load *l, size_t from, size_t n, size_t wanted, char *why, size_t why_len)
{
	struct fob_verify_request requests[FOB_BATCH_MAX];
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = requests, .n = n };
	struct fob_verification found[FOB_BATCH_MAX];
	int faults[FOB_BATCH_MAX], rc;
	struct fob_error error;
	size_t i;

	for (i = 0; i < n; i++) {
		requests[i] = (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT,
			.secret = l->keys->secrets[from + i], .secret_len = strlen(l->keys->secrets[from + i]) };
	}
	if ((rc = fob_verify_batch(l->admins[0], &batch, found, faults, &error)) != 0) {
		snprintf(why, why_len, "%s: %s (%s)", l->config->admin_address, error.message, fob_fault_name(rc));
		return -1;
	}
	for (i = 0; i < n && l->n_targets < wanted; i++) {
		if (faults[i] != 0 || !fob_allows(&found[i]) || found[i].kind != FOB_KIND_SECRET || found[i].superseded)
			continue;
		l->targets[l->n_targets].environment = found[i].environment;
		l->targets[l->n_targets].generation = found[i].generation;
		memcpy(l->targets[l->n_targets].account, found[i].account, sizeof(found[i].account));
		swap_keys(l->keys, l->n_targets++, from + i);
	}
	return 0;
}

/* Whose keys are to be rolled: fobd is asked, since a file of secrets does not say. */
static int
find_targets(struct load *l, char *why, size_t why_len)
{
	size_t from, n, wanted = l->config->roll_keys;

	if (wanted > (l->keys->n + 1) / 2)
		wanted = (l->keys->n + 1) / 2;
	if ((l->targets = calloc(wanted, sizeof(l->targets[0]))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	for (from = 0; from < l->keys->n && l->n_targets < wanted; from += n) {
		n = l->keys->n - from < FOB_BATCH_MAX ? l->keys->n - from : FOB_BATCH_MAX;
		if (find_targets_in(l, from, n, wanted, why, why_len) != 0)
			return -1;
	}
	if (l->n_targets > 0)
		return 0;
	snprintf(why, why_len, "none of the keys is a current secret key, to be rolled");
	return -1;
}

static int
make_slots(struct load *l)
{
	const struct load_config *config = l->config;
	struct slot *s;
	unsigned i, j;

	if ((l->slots = calloc(config->callers, sizeof(l->slots[0]))) == NULL)
		return -1;
	for (i = 0; i < config->callers; i++) {
		s = &l->slots[i];
		s->load = l;
		s->client = l->clients[i % config->sockets];
		s->admin = l->admins[i % config->sockets];
		s->rng = rng_new((uint64_t)measure_now_ns() + i);
		s->requests = calloc(config->batch, sizeof(s->requests[0]));
		s->results = calloc(config->batch, sizeof(s->results[0]));
		s->faults = calloc(config->batch, sizeof(s->faults[0]));
		if (s->requests == NULL || s->results == NULL || s->faults == NULL)
			return -1;
		for (j = 0; j < config->batch; j++)
			s->requests[j] =
			    (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT, .operation = config->operation };
		for (j = 0; j < config->batch; j++)
			s->results[j].size = sizeof(s->results[j]);
	}
	return 0;
}

static int
load_prepare(struct load *l, char *why, size_t why_len)
{
	const struct mix *mix = &l->config->mix;

	if (open_clients(l, why, why_len) != 0 || (mix->weights[OP_ROLL] > 0 && find_targets(l, why, why_len) != 0))
		return -1;
	if (mix->weights[OP_VERIFY] > 0 && l->keys->n == l->n_targets) {
		snprintf(why, why_len, "no key is left to verify beside the one that is rolled: give more keys");
		return -1;
	}
	if (make_slots(l) != 0 || (mix->weights[OP_BAD] > 0 && keys_add_bad(&l->bad, BAD_KEYS) != 0)) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	return 0;
}

static void
load_fini(struct load *l)
{
	unsigned i;

	for (i = 0; i < l->config->sockets; i++) {
		fob_client_free(l->clients[i]);
		fob_client_free(l->admins[i]);
	}
	for (i = 0; l->slots != NULL && i < l->config->callers; i++) {
		free(l->slots[i].requests);
		free(l->slots[i].results);
		free(l->slots[i].faults);
	}
	free(l->slots);
	free(l->targets);
	keys_fini(&l->bad);
}

int
load_run(const struct load_config *config, struct keys *keys, struct load_outcome *outcome, char *why, size_t why_len)
{
	struct load *l;
	int rc;

	assert(
	    config->callers >= 1 && config->callers <= LOAD_CALLERS_MAX && config->batch >= 1 && config->mix.sum > 0);
	assert(config->sockets >= 1 && config->sockets <= LOAD_SOCKETS_MAX && config->roll_keys >= 1);
	memset(outcome, 0, sizeof(*outcome));
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	l->config = config;
	l->keys = keys;
	l->outcome = outcome;
	l->measure = &outcome->measure;
	pthread_mutex_init(&l->mutex, NULL);
	pthread_cond_init(&l->changed, NULL);
	if ((rc = load_prepare(l, why, why_len)) == 0)
		rc = load_loop(l, why, why_len);
	load_fini(l);
	outcome->rolled = l->rolled;
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->mutex);
	free(l);
	return rc;
}
