/*
 * cluster.c - Cluster/Exchange: hands the fleet's transactions to the agent, and what etcd answered to the fleet. Decides
 * nothing: see cluster/fleet.h.
 */
#include "service/rpc/handlers.h"

#include <stdio.h>
#include <string.h>

#include "fob/v1/cluster.pb-c.h"
#include "service/rpc/message.h"
#include "service/rpc/reply.h"

#define TRANSACTIONS_MAX 8 /* in one reply */
#define RESULTS_MAX 16
#define ASKS_MAX 8
#define AGAIN_MAX_MS 1000

/* ---- from the agent ---- */

static void
read_kvs(const Fob__V1__Result *in, struct fleet_kv *kvs)
{
	for (size_t i = 0; i < in->n_kvs; i++)
		kvs[i] = (struct fleet_kv){
			.key = in->kvs[i]->key.data,
			.key_len = in->kvs[i]->key.len,
			.value = in->kvs[i]->value.data,
			.len = in->kvs[i]->value.len,
			.create_revision = in->kvs[i]->create_revision,
			.version = in->kvs[i]->version,
		};
}

/* Returns 0, or a negated fault. */
static int
give_results(struct call *call, const Fob__V1__ExchangeRequest *in, struct fleet *fleet)
{
	struct fleet_result result;
	struct fleet_kv *kvs;

	for (size_t i = 0; i < in->n_results; i++) {
		const Fob__V1__Result *r = in->results[i];

		if ((kvs = scratch_alloc(&call->scratch, (r->n_kvs + 1) * sizeof(*kvs))) == NULL)
			return call_fault(
			    call, FAULT_RESOURCE_EXHAUSTED, "the results need more memory than a request may have");
		read_kvs(r, kvs);
		result = (struct fleet_result){
			.id = r->id,
			.outcome = (enum fleet_outcome)r->outcome,
			.succeeded = r->succeeded,
			.revision = r->revision,
			.kvs = kvs,
			.n_kvs = r->n_kvs,
			.more = r->more,
		};
		fleet_done(fleet, &result, clock_boot_ms());
	}
	if (in->changed)
		fleet_changed(fleet);
	return 0;
}

static void
give_answers(const Fob__V1__ExchangeRequest *in, struct order *order)
{
	char why[200];

	for (size_t i = 0; i < in->n_answers; i++) {
		const Fob__V1__Answer *a = in->answers[i];

		snprintf(why, sizeof(why), "%.*s", (int)a->why.len, a->why.len > 0 ? (const char *)a->why.data : "");
		order_ask_done(order, a->id, a->sealed.data, a->sealed.len, why);
	}
}

/* ---- to the agent ---- */

/* A copy, because the next transaction is made in the same memory. Returns false when scratch memory is used up. */
static bool
copy_text(struct call *call, ProtobufCBinaryData *out, const char *text)
{
	return message_copy(call, out, text, strlen(text));
}

static bool
fill_compares(struct call *call, const struct fleet_txn *txn, Fob__V1__Transaction *out)
{
	Fob__V1__Compare *items = scratch_alloc(&call->scratch, FLEET_COMPARES * sizeof(*items));
	bool fits = items != NULL;

	out->compares = scratch_alloc(&call->scratch, FLEET_COMPARES * sizeof(*out->compares));
	fits = fits && out->compares != NULL;
	for (unsigned i = 0; i < txn->n_compares && fits; i++) {
		const struct fleet_compare *c = &txn->compares[i];

		fob__v1__compare__init(&items[i]);
		items[i].target = (Fob__V1__Compare__Target)c->target;
		items[i].number = c->number;
		out->compares[out->n_compares++] = &items[i];
		fits = copy_text(call, &items[i].key, c->key) && message_copy(call, &items[i].value, c->value, c->len);
	}
	return fits;
}

static bool
fill_actions(struct call *call, const struct fleet_action *actions, unsigned n, Fob__V1__Action ***out, size_t *n_out)
{
	Fob__V1__Action *items = scratch_alloc(&call->scratch, FLEET_ACTIONS * sizeof(*items));
	bool fits = items != NULL;

	*out = scratch_alloc(&call->scratch, FLEET_ACTIONS * sizeof(**out));
	fits = fits && *out != NULL;
	for (unsigned i = 0; i < n && fits; i++) {
		const struct fleet_action *a = &actions[i];

		fob__v1__action__init(&items[i]);
		items[i].kind = (Fob__V1__Action__Kind)a->kind;
		items[i].limit = a->limit;
		(*out)[(*n_out)++] = &items[i];
		fits = copy_text(call, &items[i].key, a->key) && copy_text(call, &items[i].end, a->end) &&
		    message_copy(call, &items[i].value, a->value, a->len);
	}
	return fits;
}

static bool
fill_transaction(struct call *call, const struct fleet_txn *txn, uint32_t timeout_ms, Fob__V1__Transaction *out)
{
	fob__v1__transaction__init(out);
	out->id = txn->id;
	out->timeout_ms = timeout_ms;
	return fill_compares(call, txn, out) &&
	    fill_actions(call, txn->success, txn->n_success, &out->success, &out->n_success) &&
	    fill_actions(call, txn->failure, txn->n_failure, &out->failure, &out->n_failure);
}

static bool
fill_ask(struct call *call, const struct ask *ask, Fob__V1__Ask *out)
{
	fob__v1__ask__init(out);
	out->id = ask->id;
	out->timeout_ms = ask->timeout_ms;
	return copy_text(call, &out->address, ask->address) && message_copy(call, &out->sealed, ask->bytes, ask->len);
}

/* What does not fit is lost, likewise. */
static void
fill_asks(struct call *call, struct order *order, Fob__V1__ExchangeResponse *out, Fob__V1__Ask items[ASKS_MAX])
{
	const struct ask *ask;

	while (out->n_asks < ASKS_MAX && (ask = order_next_ask(order)) != NULL) {
		if (!fill_ask(call, ask, &items[out->n_asks]))
			break;
		out->asks[out->n_asks] = &items[out->n_asks];
		out->n_asks++;
	}
}

/*
 * All transactions and asks that are due, encoded into ${call}'s scratch memory. Returns false when there are none. What does not
 * fit there any more is lost, which the fleet finds out in time.
 */
static bool
fill(struct call *call, struct order *order, struct fleet *fleet, uint8_t **body, size_t *len)
{
	Fob__V1__ExchangeResponse out = FOB__V1__EXCHANGE_RESPONSE__INIT;
	Fob__V1__Transaction items[TRANSACTIONS_MAX], *pointers[TRANSACTIONS_MAX];
	Fob__V1__Ask asks[ASKS_MAX], *ask_pointers[ASKS_MAX];
	int64_t now_ms = clock_boot_ms(), wake_ms;
	struct fleet_txn txn;

	out.transactions = pointers;
	while (out.n_transactions < TRANSACTIONS_MAX && fleet_next(fleet, now_ms, clock_wall_ms(), &txn)) {
		if (!fill_transaction(call, &txn, fleet_timeout_ms(fleet), &items[out.n_transactions]))
			break;
		pointers[out.n_transactions] = &items[out.n_transactions];
		out.n_transactions++;
	}
	out.asks = ask_pointers;
	fill_asks(call, order, &out, asks);
	wake_ms = fleet_wake_ms(fleet, now_ms) - now_ms;
	out.again_ms = wake_ms < 1 ? 1 : wake_ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : (uint32_t)wake_ms;
	*len = fob__v1__exchange_response__get_packed_size(&out);
	if ((*body = scratch_alloc(&call->scratch, *len)) == NULL)
		return false;
	fob__v1__exchange_response__pack(&out, *body);
	return out.n_transactions > 0 || out.n_asks > 0;
}

/* ---- the call that waits ---- */

/* There may be transactions for the call that is held. Threads: any. */
static void
work(void *arg)
{
	struct order *order = arg;
	struct fleet *fleet = order_enter(order, NULL);
	struct call *call = order_take_held(order);
	uint8_t *body = NULL;
	size_t len = 0;
	bool answer = false;

	if (call != NULL) {
		answer = fill(call, order, fleet, &body, &len) || order_has_ended(order);
		if (!answer)
			order_hold(order, call);
	}
	order_leave(order);
	if (answer)
		reply_change(call, 0, body, len);
}

int
cluster_exchange(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ExchangeRequest *in = (const Fob__V1__ExchangeRequest *)request;
	struct order *order;
	struct engine *engine;
	struct fleet *fleet;
	struct call *before;
	uint8_t *body = NULL;
	size_t len = 0;
	bool answer;
	int fault;

	(void)response;
	if ((engine = call_engine(call, (int)in->environment, &fault)) == NULL)
		return fault;
	if ((order = writer_order(engine->writer)) == NULL)
		return call_fault(call, FAULT_FAILED_PRECONDITION,
		    "this environment's database is in no cluster: see fob cluster init");
	if (in->session.len != ORDER_SESSION_LEN)
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "session: must be exactly %d random bytes", ORDER_SESSION_LEN);
	if (in->n_results > RESULTS_MAX)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "results: at most %d", RESULTS_MAX);

	order_on_work(order, work);
	fleet = order_enter(order, in->session.data);
	before = order_take_held(order);
	fault = give_results(call, in, fleet);
	give_answers(in, order);
	answer = fault == 0 && (fill(call, order, fleet, &body, &len) || order_has_ended(order));
	if (fault == 0 && !answer)
		order_hold(order, call);
	order_leave(order);
	if (before != NULL)
		reply_change(before, 0, NULL, 0);
	if (answer)
		reply_change(call, 0, body, len);
	return fault != 0 ? fault : CALL_PENDING;
}
