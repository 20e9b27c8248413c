/*
 * mutation.c - hand a mutation to its environment's writer, and answer it when the writer has committed it (see
 * mutation.h).
 */
#include "service/rpc/mutation.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "service/base/log.h"
#include "service/base/names.h"
#include "service/rpc/reply.h"

/* ---- the way in ---- */

/*
 * A resent request is recognised by its method and all its fields but the token. The decoded fields are encoded again for
 * it, because two clients may encode one message in two ways.
 */
static int
digest_request(struct call *call, const char *method, const ProtobufCMessage *request, ProtobufCBinaryData *token)
{
	ProtobufCBinaryData kept = *token;
	size_t method_len = strlen(method) + 1, len;
	uint8_t *bytes;

	token->len = 0;
	len = protobuf_c_message_get_packed_size(request);
	if ((bytes = scratch_alloc(&call->scratch, method_len + len)) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than it may have");
	memcpy(bytes, method, method_len);
	protobuf_c_message_pack(request, bytes + method_len);
	pepper_request(store_pepper(call->engine->store), bytes, method_len + len, call->mutation.request);
	*token = kept;
	return 0;
}

#define FORWARD_MAX 4096 /* bytes of a request. A large import is made by the node that was asked */
#define SERVICE "fob.v1.Admin/"

/*
 * Another node of the cluster may be asked to make it. Not one that another node has asked for: two nodes that take each other
 * for the leader would send it to and fro.
 */
static void
allow_forward(struct call *call, const ProtobufCMessage *request, const struct mutation_plan *plan)
{
	struct mutation *m = &call->mutation;
	size_t len = protobuf_c_message_get_packed_size(request), name = sizeof(SERVICE) + strlen(plan->method);
	char *method;
	uint8_t *body;

	if (plan->is_local || call->asked_of != NULL || writer_order(call->engine->writer) == NULL || len > FORWARD_MAX ||
	    (method = scratch_alloc(&call->scratch, name)) == NULL ||
	    (body = scratch_alloc(&call->scratch, len)) == NULL)
		return;
	snprintf(method, name, SERVICE "%s", plan->method);
	protobuf_c_message_pack(request, body);
	m->method = method;
	m->body = body;
	m->body_len = len;
	m->traceparent = call->traceparent;
}

static void done(struct mutation *mutation, int fault);

int
mutation_submit(struct call *call, const ProtobufCMessage *request, int environment, ProtobufCBinaryData *token,
    const struct mutation_plan *plan)
{
	struct mutation *m = &call->mutation;
	int fault;

	if (token->len != LIMIT_TOKEN)
		return call_fault(call, FAULT_INVALID_ARGUMENT,
		    "request_token: must be exactly %d random bytes, but has %zu", LIMIT_TOKEN, token->len);
	if ((call->engine = call_engine(call, environment, &fault)) == NULL)
		return fault;
	m->decide = plan->decide;
	m->done = done;
	m->arg = call;
	m->deadline_ms = call->deadline_ms;
	m->weight = plan->weight;
	m->is_local = plan->is_local;
	m->by = *call->origin.peer;
	memcpy(m->on_behalf_of, call->on_behalf_of, sizeof(m->on_behalf_of));
	memcpy(m->token, token->data, LIMIT_TOKEN);
	call->request = request;
	call->log = plan->log;
	if ((fault = digest_request(call, plan->method, request, token)) != 0)
		return fault;
	allow_forward(call, request, plan);
	if ((fault = writer_submit(call->engine->writer, m)) != 0)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED,
		    "%d mutations are waiting, which is the limit: try again later", LIMIT_QUEUE);
	return CALL_PENDING;
}

/* ---- the way out ---- */

static void
log_event(const struct call *call)
{
	static const char *const names[] = {
		[EVENT_ACCOUNT_CREATED] = "account created",
		[EVENT_KEY_ROLLED] = "key rolled",
		[EVENT_KEY_REVOKED] = "key revoked",
		[EVENT_ACCOUNT_SUSPENDED] = "account suspended",
		[EVENT_ACCOUNT_RESUMED] = "account resumed",
	};
	const struct record_event *e = &call->event;
	const char *environment = environment_name(call->engine->environment);

	if (e->type == EVENT_NONE)
		return;
	if (e->kind == 0)
		LOG(LOG_INFO, names[e->type], LOG_S("environment", environment), LOG_S("account", e->account),
		    LOG_ASKED_BY(call));
	else
		LOG(LOG_INFO, names[e->type], LOG_S("environment", environment), LOG_S("account", e->account),
		    LOG_S("kind", kind_name(e->kind)), LOG_I("generation", e->generation), LOG_B("last4", e->last4, 4),
		    LOG_I("expires_ms", e->expires_ms), LOG_ASKED_BY(call));
}

/* Called by the writer when the mutation is committed or refused. */
static void
done(struct mutation *m, int fault)
{
	struct call *call = m->arg;

	if (fault == 0 && !m->replayed)
		(call->log != NULL ? call->log : log_event)(call);
	if (fault != 0)
		snprintf(call->message, sizeof(call->message), "%s", m->why);
	call->at[call->engine->environment] = m->at;
	call_tell_position(call, call->engine->environment);
	call_time(call);
	reply_change(call, fault, m->reply, m->reply_len);
}

void
mutation_reply(struct mutation *m, const struct change *change, const ProtobufCMessage *response)
{
	struct call *call = m->arg;

	m->reply_len = protobuf_c_message_get_packed_size(response);
	/* The sizes of replies are bounded by the length of an account id; a unit test has the table of them. */
	assert(m->reply_len <= sizeof(m->reply));
	protobuf_c_message_pack(response, m->reply);
	call->event = change->event;
}
