/*
 * health.c - Check and Stats: adds up what the workers, the writers and the transport have counted. Changes nothing.
 */
#include "service/rpc/handlers.h"

#include <string.h>

#include "fob/v1/health.pb-c.h"
#include "service/rpc/message.h"
#include "service/store/rotate.h"
#include "service/store/size.h"
#include "service/rpc/worker.h"

/* ---- Check ---- */

static bool
serving(const struct engine *engine)
{
	return engine != NULL && !store_failed(engine->store) && !store_readers_full(engine->store) &&
	    !order_is_stale(atomic_load(&engine->fresh_until_ms), clock_boot_ms());
}

/* Does every configured environment serve? */
static bool
all_serving(const struct service *service)
{
	for (int i = 0; i < ENVIRONMENTS; i++)
		if ((service->broken[i] || service->engines[i] != NULL) && !serving(service->engines[i]))
			return false;
	return true;
}

int
health_check(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__CheckRequest *in = (const Fob__V1__CheckRequest *)request;
	Fob__V1__CheckResponse *out = (Fob__V1__CheckResponse *)response;
	static const struct {
		const char *name;
		int environment; /* -1: all */
	} names[] = { { "", -1 }, { "fob.v1.Keys", -1 }, { "fob.v1.Admin", -1 }, { "live", ENVIRONMENT_LIVE },
		{ "test", ENVIRONMENT_TEST } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		bool ok;

		if (strlen(names[i].name) != in->service.len ||
		    (in->service.len > 0 && memcmp(names[i].name, in->service.data, in->service.len) != 0))
			continue;
		ok = names[i].environment < 0 ? all_serving(call->service) :
						serving(call->service->engines[names[i].environment]);
		out->status = ok ? FOB__V1__CHECK_RESPONSE__SERVING_STATUS__SERVING :
				   FOB__V1__CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
		return 0;
	}
	return call_fault(
	    call, FAULT_NOT_FOUND, "service: \"\", \"fob.v1.Keys\", \"fob.v1.Admin\", \"live\" or \"test\"");
}

/* ---- Stats ---- */

static uint64_t
load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

struct sums {
	uint64_t answered[CLASSES][ENVIRONMENTS + 1][CODES];
	uint64_t buckets[CLASSES_TIMED][DURATION_BUCKETS];
	uint64_t sum_ns[CLASSES_TIMED];
	uint64_t verdicts[ENVIRONMENTS][VERDICTS];
	uint64_t unrecognised;
};

static void
add(struct sums *sums, const struct tally *tally)
{
	for (int c = 0; c < CLASSES; c++)
		for (int e = 0; e <= ENVIRONMENTS; e++)
			for (int i = 0; i < CODES; i++)
				sums->answered[c][e][i] += load(&tally->answered[c][e][i]);
	for (int c = 0; c < CLASSES_TIMED; c++) {
		for (int i = 0; i < DURATION_BUCKETS; i++)
			sums->buckets[c][i] += load(&tally->durations[c].buckets[i]);
		sums->sum_ns[c] += load(&tally->durations[c].sum_ns);
	}
	for (int e = 0; e < ENVIRONMENTS; e++)
		for (int i = 0; i < VERDICTS; i++)
			sums->verdicts[e][i] += load(&tally->verdicts[e][i]);
	sums->unrecognised += load(&tally->unrecognised);
}

/* ${sums} is zeroed. */
static void
add_up(struct service *service, struct sums *sums)
{
	add(sums, &service->tally);
	pthread_mutex_lock(&service->mutex);
	for (const struct worker *w = service->workers; w != NULL; w = w->next)
		add(sums, &w->tally);
	pthread_mutex_unlock(&service->mutex);
}

/* An array of ${n} messages of ${size} bytes and of pointers to them, in scratch memory; NULL when that is used up. */
static void *
new_messages(struct call *call, size_t n, size_t size, void ***pointers)
{
	uint8_t *items = scratch_alloc(&call->scratch, n * size);
	void **p = scratch_alloc(&call->scratch, n * sizeof(*p));

	if (items == NULL || p == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		p[i] = items + i * size;
	*pointers = p;
	return items;
}

static bool
fill_codes(struct call *call, const struct sums *sums, Fob__V1__StatsResponse *out)
{
	Fob__V1__CodeCount *counts;
	void **pointers;

	if ((counts = new_messages(call, CODES, sizeof(*counts), &pointers)) == NULL)
		return false;
	out->codes = (Fob__V1__CodeCount **)pointers;
	for (int i = 0; i < CODES; i++) {
		uint64_t n = 0;

		for (int j = 0; j < CLASSES * (ENVIRONMENTS + 1); j++)
			n += sums->answered[j / (ENVIRONMENTS + 1)][j % (ENVIRONMENTS + 1)][i];
		out->requests += n;
		if (n == 0)
			continue;
		fob__v1__code_count__init(&counts[out->n_codes]);
		counts[out->n_codes].code = (Fob__Rpc__V1__Code)i;
		counts[out->n_codes++].count = n;
	}
	return true;
}

static bool
fill_answered(struct call *call, const struct sums *sums, Fob__V1__StatsResponse *out)
{
	Fob__V1__AnsweredCount *counts;
	void **pointers;

	if ((counts = new_messages(call, (size_t)CLASSES * (ENVIRONMENTS + 1) * CODES, sizeof(*counts), &pointers)) ==
	    NULL)
		return false;
	out->answered = (Fob__V1__AnsweredCount **)pointers;
	for (int c = 0; c < CLASSES; c++)
		for (int e = 0; e <= ENVIRONMENTS; e++)
			for (int i = 0; i < CODES; i++) {
				if (sums->answered[c][e][i] == 0)
					continue;
				fob__v1__answered_count__init(&counts[out->n_answered]);
				counts[out->n_answered].class_ = (Fob__V1__OperationClass)c;
				counts[out->n_answered].environment = (Fob__V1__Environment)e;
				counts[out->n_answered].code = (Fob__Rpc__V1__Code)i;
				counts[out->n_answered++].count = sums->answered[c][e][i];
			}
	return true;
}

/* ${sums} outlives the reply. */
static bool
fill_durations(struct call *call, struct sums *sums, Fob__V1__StatsResponse *out)
{
	Fob__V1__Durations *durations;
	void **pointers;

	if ((durations = new_messages(call, CLASSES_TIMED, sizeof(*durations), &pointers)) == NULL)
		return false;
	out->durations = (Fob__V1__Durations **)pointers;
	for (int c = CLASS_VERIFY; c < CLASSES_TIMED; c++) {
		Fob__V1__Durations *d = &durations[out->n_durations++];

		fob__v1__durations__init(d);
		d->class_ = (Fob__V1__OperationClass)c;
		d->n_buckets = DURATION_BUCKETS;
		d->buckets = sums->buckets[c];
		d->sum_ns = sums->sum_ns[c];
	}
	return true;
}

static bool
fill_verdicts(struct call *call, const uint64_t sums[VERDICTS], Fob__V1__EnvironmentStats *out)
{
	Fob__V1__VerdictCount *counts;
	void **pointers;

	if ((counts = new_messages(call, VERDICTS, sizeof(*counts), &pointers)) == NULL)
		return false;
	out->verdicts = (Fob__V1__VerdictCount **)pointers;
	for (int i = 0; i < VERDICTS; i++) {
		if (sums[i] == 0)
			continue;
		fob__v1__verdict_count__init(&counts[out->n_verdicts]);
		counts[out->n_verdicts].verdict = (Fob__V1__Verdict)i;
		counts[out->n_verdicts++].count = sums[i];
	}
	return true;
}

static void
fill_database(struct call *call, struct engine *engine, Fob__V1__EnvironmentStats *out)
{
	struct store_rotation_progress progress;
	struct record_state state;
	struct store_txn *txn;
	struct store_size size;

	/* An environment that cannot be read has zeros here, and is shown as not serving by its caller. */
	if ((txn = worker_reader(call->worker, engine)) == NULL || store_read(txn) != 0)
		return;
	store_size(txn, &size);
	out->pepper_lines = pepper_newest(store_txn_pepper(txn));
	out->rotating = store_rotation_progress(txn, &progress);
	out->rotation_keys = progress.keys;
	out->rotation_records = progress.records;
	out->rotation_of_records = progress.of_records;
	out->accounts = size.accounts;
	out->keys = size.keys;
	out->used_bytes = size.used_bytes;
	out->ceiling_bytes = size.ceiling_bytes;
	if (store_state(txn, &state) == 0) {
		out->revision = state.revision;
		out->event_sequence = state.event_sequence;
	}
	store_read_end(txn);
}

static bool
fill_writer(struct call *call, const struct writer_counters *w, Fob__V1__EnvironmentStats *out)
{
	Fob__V1__KeyStateCount *counts;
	void **pointers;

	out->mutations = w->mutations;
	out->replays = w->replays;
	out->refused = w->refused;
	out->commits = w->commits;
	out->queue_depth = w->queue_depth;
	out->keys_expired = w->keys_expired;
	out->superseded_in_use = w->superseded_in_use;
	out->superseded_in_use_end_ms = w->superseded_in_use_end_ms;
	out->n_group_sizes = WRITER_GROUPS;
	if ((out->group_sizes = scratch_alloc(&call->scratch, sizeof(w->groups))) == NULL ||
	    (counts = new_messages(call, WRITER_STATES, sizeof(*counts), &pointers)) == NULL)
		return false;
	memcpy(out->group_sizes, w->groups, sizeof(w->groups));
	out->key_states = (Fob__V1__KeyStateCount **)pointers;
	for (int s = KEY_CURRENT; s < WRITER_STATES && w->keys_counted; s++) {
		fob__v1__key_state_count__init(&counts[out->n_key_states]);
		counts[out->n_key_states].state = (Fob__V1__KeyState)s;
		counts[out->n_key_states++].count = w->keys[s];
	}
	return true;
}

/* Of no cluster nothing is said. */
static bool
fill_cluster(struct call *call, struct engine *engine, Fob__V1__EnvironmentStats *out)
{
	struct order *order = writer_order(engine->writer);
	struct order_status *status;

	if (order == NULL)
		return true;
	if ((status = scratch_alloc(&call->scratch, sizeof(*status))) == NULL ||
	    (out->cluster = scratch_alloc(&call->scratch, sizeof(*out->cluster))) == NULL)
		return false;
	order_status(order, status);
	fob__v1__cluster_stats__init(out->cluster);
	out->cluster->applied = status->applied;
	out->cluster->head = status->head;
	out->cluster->fresh_ms = status->fresh_ms;
	out->cluster->agent_connected = status->connected;
	out->cluster->nodes = (uint32_t)status->n_nodes;
	out->cluster->closed = status->closed != NULL;
	return true;
}

static bool
fill_environment(
    struct call *call, struct engine *engine, const uint64_t verdicts[VERDICTS], Fob__V1__EnvironmentStats *out)
{
	struct writer_counters w;

	writer_count(engine->writer, &w);
	out->serving = serving(engine);
	out->corrupt_records = store_corrupt_records(engine->store);
	fill_database(call, engine, out);
	return fill_writer(call, &w, out) && fill_verdicts(call, verdicts, out) && fill_cluster(call, engine, out);
}

static void
fill_transport(const struct service *service, Fob__V1__StatsResponse *out)
{
	struct transport_counters t;

	if (service->transport->count == NULL)
		return;
	service->transport->count(service->transport->count_arg, &t);
	out->connections = t.connections;
	out->connections_refused = t.connections_refused;
	out->connections_dropped = t.connections_dropped;
	out->open_descriptors = t.open_descriptors;
	out->in_flight = t.in_flight;
}

static bool
fill_environments(struct call *call, const struct sums *sums, Fob__V1__StatsResponse *out)
{
	struct service *service = call->service;
	Fob__V1__EnvironmentStats *environments;
	struct engine *engine;
	void **pointers;
	bool fits = true;

	if ((environments = new_messages(call, ENVIRONMENTS, sizeof(*environments), &pointers)) == NULL)
		return false;
	out->environments = (Fob__V1__EnvironmentStats **)pointers;
	for (int i = 0; i < ENVIRONMENTS && fits; i++) {
		Fob__V1__EnvironmentStats *e = &environments[out->n_environments];

		if (service->engines[i] == NULL && !service->broken[i])
			continue;
		out->n_environments++;
		fob__v1__environment_stats__init(e);
		e->environment = (Fob__V1__Environment)(i + 1);
		e->failures = load(&service->failures[i]);
		if ((engine = service->engines[i]) != NULL)
			fits = fill_environment(call, engine, sums->verdicts[i], e);
	}
	return fits;
}

int
health_stats(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__StatsResponse *out = (Fob__V1__StatsResponse *)response;
	struct sums *sums;

	(void)request;
	message_text(&out->version, FOBD_VERSION);
	out->start_ms = call->service->start_ms;
	fill_transport(call->service, out);
	if ((sums = scratch_alloc(&call->scratch, sizeof(*sums))) == NULL)
		goto err0;
	add_up(call->service, sums);
	out->unrecognised = sums->unrecognised;
	if (!fill_codes(call, sums, out) || !fill_answered(call, sums, out) || !fill_durations(call, sums, out) ||
	    !fill_environments(call, sums, out))
		goto err0;
	return 0;

err0:
	return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the reply needs more memory than a request may have");
}
