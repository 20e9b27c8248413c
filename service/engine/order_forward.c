/*
 * order_forward.c - changes that another node is asked to make (see internal.h). Where several nodes propose at once, all but
 * one of them lose each entry and decide again; so they agree on one that proposes, and ask it. Who that is follows from the
 * log: of the nodes whose entries came within the last second, the one with the smallest id. It is a hint and no more: nodes
 * that disagree make changes all the same, each once, by etcd's compare and the request's token.
 *
 * What has no answer, or one that the rules for keys did not give, is decided here, under the same token.
 */
#include "service/engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "service/base/log.h"

#define LEADS_MS 1000      /* after its last entry */
#define ANSWER_MS 1000     /* for another node's answer */
#define CONTENDED_MS 10000 /* after a proposal that was lost. A node that has lost none makes its changes itself */
#define PAUSE_MS 10000     /* after a node that could not be reached */
/* So a copy of another node's database is never without an ask. */
#define FORWARDED_MAX (ORDER_ASKS - COPY_PARTS)

/* ---- whom to ask ---- */

void
forward_applied(struct order *o, const uint8_t proposer[FLEET_ID_LEN])
{
	struct forward *f = &o->forward;
	int64_t now_ms = clock_boot_ms();
	int order = memcmp(proposer, f->leader, sizeof(f->leader));

	if (order > 0 && now_ms < f->led_ms + LEADS_MS)
		return;
	memcpy(f->leader, proposer, sizeof(f->leader));
	f->led_ms = now_ms;
}

void
forward_lost(struct order *o)
{
	o->forward.contended_until_ms = clock_boot_ms() + CONTENDED_MS;
	LOG(LOG_DEBUG, "proposal lost", LOG_S("environment", writer_environment(o->writer)),
	    LOG_I("entry", o->proposed_number));
}

/* Returns false: this node makes its changes itself. */
static bool
find_leader(struct order *o, char address[ROW_ADDRESS_MAX + 1])
{
	const struct forward *f = &o->forward;
	int64_t now_ms = clock_boot_ms();
	bool found;

	if (now_ms >= f->contended_until_ms || now_ms >= f->led_ms + LEADS_MS || now_ms < f->paused_until_ms ||
	    memcmp(f->leader, o->cluster.replica, sizeof(f->leader)) == 0)
		return false;
	pthread_mutex_lock(&o->lock);
	found = fleet_address(o->fleet, f->leader, address);
	pthread_mutex_unlock(&o->lock);
	return found;
}

/* ---- asking ---- */

static bool
ask_leader(struct order *o, struct mutation *m, const char *address)
{
	struct ask_request ask = { .address = address, .method = m->method, .body = m->body, .len = m->body_len };
	int64_t left_ms = m->deadline_ms - clock_boot_ms();

	if (o->forward.n == FORWARDED_MAX || left_ms <= 0)
		return false;
	ask.timeout_ms = left_ms < ANSWER_MS ? (uint32_t)left_ms : ANSWER_MS;
	ask.traceparent = m->traceparent;
	ask.on_behalf_of = m->on_behalf_of;
	ask.by = &m->by;
	memcpy(ask.cluster, o->cluster.cluster, sizeof(ask.cluster));
	pthread_mutex_lock(&o->lock);
	/* An agent that is late is not waited for, as this node can make the change as well. */
	if ((m->ask = ask_begin(o, &ask)) != NULL)
		m->ask->until_ms = clock_boot_ms() + ask.timeout_ms;
	pthread_mutex_unlock(&o->lock);
	return m->ask != NULL;
}

static void
forward(struct order *o)
{
	struct mutation **list = &o->confirmed, *m;
	char address[ROW_ADDRESS_MAX + 1];

	if (o->confirmed == NULL || !find_leader(o, address))
		return;
	while ((m = *list) != NULL) {
		/* One that was confirmed has its answer here. */
		if (m->method == NULL || m->forwarded || m->confirmed || !ask_leader(o, m, address)) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		m->forwarded = true;
		m->next = o->forward.list;
		o->forward.list = m;
		o->forward.n++;
	}
}

/* ---- the answers ---- */

/* Have the rules for keys refused it? The other node has confirmed that before it answered. */
static bool
is_refusal(Fob__Rpc__V1__Code code)
{
	return code == FOB__RPC__V1__CODE__NOT_FOUND || code == FOB__RPC__V1__CODE__ALREADY_EXISTS ||
	    code == FOB__RPC__V1__CODE__FAILED_PRECONDITION || code == FOB__RPC__V1__CODE__ABORTED;
}

/* The entry that the other node has answered from; 0: it says none. */
static uint64_t
entry_of(const struct writer *w, const Fob__Rpc__V1__Response *r)
{
	const Fob__Rpc__V1__Position *at = store_environment(w->store) == ENVIRONMENT_LIVE ? r->live : r->test;

	return at != NULL ? at->entry : 0;
}

/* Returns whether it is an answer to the client. */
static bool
take_response(struct writer *w, struct mutation *m, const Fob__Rpc__V1__Response *r)
{
	if (r->code == FOB__RPC__V1__CODE__OK && r->body.len <= sizeof(m->reply)) {
		memcpy(m->reply, r->body.data, r->body.len);
		m->reply_len = r->body.len;
		m->fault = 0;
		m->effective = entry_of(w, r);
		/* The other node logs it, and counts it. */
		m->replayed = true;
		return true;
	}
	if (!is_refusal(r->code))
		return false;
	snprintf(m->why, sizeof(m->why), "%.*s", (int)r->message.len, (const char *)r->message.data);
	m->fault = -(int)r->code;
	m->effective = entry_of(w, r);
	return true;
}

static bool
take_answer(struct writer *w, struct mutation *m)
{
	Fob__Rpc__V1__Response *r;
	bool taken;

	if (m->ask->state != ASK_ANSWERED ||
	    (r = fob__rpc__v1__response__unpack(NULL, m->ask->len, m->ask->bytes)) == NULL)
		return false;
	taken = take_response(w, m, r);
	LOG(LOG_DEBUG, "another node has answered a change", LOG_S("environment", writer_environment(w)),
	    LOG_S("address", m->ask->address), LOG_I("code", r->code), LOG_T("taken", taken));
	if (r->body.data != NULL)
		sodium_memzero(r->body.data, r->body.len);
	fob__rpc__v1__response__free_unpacked(r, NULL);
	return taken;
}

static void
end_ask(struct order *o, struct mutation *m)
{
	order_end_ask(o, m->ask);
	m->ask = NULL;
	o->forward.n--;
}

/* It is in no list any more: answered, or decided here. */
static void
settle(struct writer *w, struct mutation *m)
{
	struct order *o = w->order;
	bool reached = m->ask->state == ASK_ANSWERED, taken = take_answer(w, m);

	if (!reached) {
		LOG(LOG_DEBUG, "another node has not answered a change", LOG_S("environment", writer_environment(w)),
		    LOG_S("address", m->ask->address), LOG_S("reason", m->ask->why));
		o->forward.paused_until_ms = clock_boot_ms() + PAUSE_MS;
	}
	end_ask(o, m);
	m->next = NULL;
	if (taken)
		order_answer(w, m);
	else if (clock_boot_ms() >= m->deadline_ms)
		order_refuse(w, m, -FAULT_DEADLINE_EXCEEDED, ORDER_NOT_KNOWN);
	else
		order_append(&o->confirmed, m);
}

void
forward_run(struct writer *w)
{
	struct order *o = w->order;
	struct mutation **list = &o->forward.list, *m;

	while ((m = *list) != NULL) {
		if (!order_ask_is_over(o, m->ask)) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		settle(w, m);
	}
	forward(o);
}

int64_t
forward_wait_ms(struct order *o, int64_t now_ms)
{
	int64_t at_ms = INT64_MAX;

	for (const struct mutation *m = o->forward.list; m != NULL; m = m->next) {
		if (ask_is_over(m->ask))
			return now_ms;
		at_ms = m->ask->until_ms < at_ms ? m->ask->until_ms : at_ms;
	}
	return at_ms;
}

void
forward_give_up(struct writer *w, int fault, const char *why)
{
	struct mutation *m;

	while ((m = w->order->forward.list) != NULL) {
		w->order->forward.list = m->next;
		end_ask(w->order, m);
		order_refuse(w, m, fault, why);
	}
}
