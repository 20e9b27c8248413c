/*
 * load.c - a load from its clients to its end (see load.h). Prints nothing but progress.
 */
#include "tests/load/load_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define IN_FLIGHT_MAX 64
#define BAD_KEYS 4096

/* ---- the end of a call, the end of a slot ---- */

void
load_retire_one(struct load *l)
{
	pthread_mutex_lock(&l->mutex);
	if (--l->active == 0)
		l->stopped = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
}

void
slot_ended(struct slot *s, int64_t now_ns)
{
	struct load *l = s->load;

	if (l->config->rate > 0) {
		give_free(s);
	} else if (measure_is_over(l->measure, now_ns)) {
		load_retire_one(l);
	} else {
		s->from_ns = now_ns;
		slot_begin(s);
	}
}

/* ---- the threads ---- */

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

static int
load_loop(struct load *l, char *why, size_t why_len)
{
	const struct load_config *config = l->config;
	struct recorder *sum;
	int rc = 0;

	measure_start(l->measure, config->run.warmup_s, config->run.duration_s, config->run.quiet);
	measure_count_switches(l->measure, config->server);
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
		if (l->keys->n > l->n_targets)
			keys_choose(&s->choice, l->keys, l->n_targets, (uint64_t)measure_now_ns() + i);
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
