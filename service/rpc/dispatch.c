/*
 * dispatch.c - decode the envelope, find the method by its descriptor, check role and deadline, decode the body, call
 * the handler (see dispatch.h). The generated `invoke` is not used: its closure has no status, and an unset handler
 * would crash.
 */
#include "service/rpc/dispatch.h"

#include <assert.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/cluster.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "proto/c/key_form.h"
#include "service/rpc/handlers.h"
#include "service/rpc/reply.h"
#include "service/rpc/verify.h"
#include "service/rpc/wire.h"

#define METHODS_MAX 16
#define NS_PER_MS 1000000

enum served { SERVED_EVERYWHERE, SERVED_TO_ADMIN, SERVED_TO_CLUSTER, SERVED_TO_PEER };

/* In the order of the .proto files; dispatch_check() holds them against the descriptors. */
static const struct {
	const ProtobufCServiceDescriptor *descriptor;
	enum served served;
	struct method methods[METHODS_MAX];
} services[] = {
	{ &fob__v1__keys__descriptor, SERVED_EVERYWHERE,
	    {
		{ "VerifyKey", verify_key, CLASS_VERIFY },
		{ "VerifyKeys", verify_keys, CLASS_VERIFY_BATCH },
	    } },
	{ &fob__v1__admin__descriptor, SERVED_TO_ADMIN,
	    {
		{ "CreateAccount", admin_create_account, CLASS_CHANGE },
		{ "RollKey", admin_roll_key, CLASS_CHANGE },
		{ "RevokeKey", admin_revoke_key, CLASS_CHANGE },
		{ "SuspendAccount", admin_suspend_account, CLASS_CHANGE },
		{ "ResumeAccount", admin_resume_account, CLASS_CHANGE },
		{ "ListKeys", list_keys, CLASS_LIST },
		{ "ListAccounts", list_accounts, CLASS_LIST },
		{ "ListEvents", list_events, CLASS_LIST },
		{ "ImportAccounts", import_accounts, CLASS_CHANGE },
		{ "ReadBackup", backup_read, CLASS_BACKUP },
		{ "InitCluster", admin_init_cluster, CLASS_CHANGE },
		{ "ForgetNode", admin_forget_node, CLASS_LIST },
		{ "ClusterStatus", admin_cluster_status, CLASS_LIST },
	    } },
	{ &fob__v1__health__descriptor, SERVED_EVERYWHERE,
	    {
		{ "Check", health_check, CLASS_HEALTH },
		{ "Stats", health_stats, CLASS_HEALTH },
	    } },
	{ &fob__v1__cluster__descriptor, SERVED_TO_CLUSTER,
	    {
		{ "Exchange", cluster_exchange, CLASS_CLUSTER },
	    } },
	{ &fob__v1__peer__descriptor, SERVED_TO_PEER,
	    {
		{ "Ask", peer_ask, CLASS_CLUSTER },
	    } },
};
#define N_SERVICES (sizeof(services) / sizeof(services[0]))

void
dispatch_check(void)
{
	for (size_t i = 0; i < N_SERVICES; i++) {
		assert(services[i].descriptor->n_methods <= METHODS_MAX);
		for (unsigned j = 0; j < services[i].descriptor->n_methods; j++)
			assert(services[i].methods[j].handler != NULL &&
			    strcmp(services[i].methods[j].name, services[i].descriptor->methods[j].name) == 0);
	}
}

/* ---- the request ---- */

struct route {
	const struct method *method;
	const ProtobufCMethodDescriptor *descriptor;
	enum served served;
};

/* Is ${text} at ${bytes}, which has ${len} bytes, and nothing else? */
static bool
is_name(const char *text, const uint8_t *bytes, size_t len)
{
	return strlen(text) == len && memcmp(text, bytes, len) == 0;
}

/*
 * "fob.v1.Keys/VerifyKey". ${route}->served is set by the service's name alone, also when the method is not found.
 */
static bool
find_method(const ProtobufCBinaryData *name, struct route *route)
{
	const uint8_t *slash;
	size_t service_len, method_len;

	if (name->len == 0 || (slash = memchr(name->data, '/', name->len)) == NULL)
		return false;
	service_len = (size_t)(slash - name->data);
	method_len = name->len - service_len - 1;
	for (size_t i = 0; i < N_SERVICES; i++) {
		const ProtobufCServiceDescriptor *d = services[i].descriptor;

		if (!is_name(d->name, name->data, service_len))
			continue;
		route->served = services[i].served;
		for (unsigned j = 0; j < d->n_methods; j++)
			if (is_name(d->methods[j].name, slash + 1, method_len)) {
				route->descriptor = &d->methods[j];
				route->method = &services[i].methods[j];
				return true;
			}
	}
	return false;
}

/* W3C Trace Context, version 00: 00-<32 hex>-<16 hex>-<2 hex>. What does not fit is ignored, as it asks. */
static void
keep_traceparent(struct call *call, const ProtobufCBinaryData *value)
{
	static const char form[] = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

	call->traceparent[0] = '\0';
	if (value->len != LIMIT_TRACEPARENT)
		return;
	for (size_t i = 0; i < LIMIT_TRACEPARENT; i++) {
		uint8_t c = value->data[i];

		if (form[i] == 'h' ? !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) : c != (uint8_t)form[i])
			return;
	}
	/* An id of all zeros is no id. */
	if (memcmp(value->data + 3, "00000000000000000000000000000000", 32) == 0 ||
	    memcmp(value->data + 36, "0000000000000000", 16) == 0)
		return;
	memcpy(call->traceparent, value->data, LIMIT_TRACEPARENT);
	call->traceparent[LIMIT_TRACEPARENT] = '\0';
}

/* It is stored, logged and shown in the clear, as an account's id is. */
static int
keep_on_behalf_of(struct call *call, const ProtobufCBinaryData *name)
{
	if (!record_on_behalf_of_ok(name->data, name->len))
		return call_fault(call, FAULT_INVALID_ARGUMENT,
		    "on_behalf_of: must be at most %d printable ASCII characters without double quotes and backslashes",
		    LIMIT_ON_BEHALF_OF);
	if (key_form_in(name->data, name->len))
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "on_behalf_of: holds what looks like a key: give a person's name");
	if (name->len > 0)
		memcpy(call->on_behalf_of, name->data, name->len);
	call->on_behalf_of[name->len] = '\0';
	return 0;
}

/* What only Admin has. */
static int
check_admin(struct call *call, const Fob__Rpc__V1__Request *request)
{
	if (call->origin.role != ROLE_ADMIN)
		return call_fault(call, FAULT_PERMISSION_DENIED, "this listener does not serve fob.v1.Admin");
	return keep_on_behalf_of(call, &request->on_behalf_of);
}

/* A listener of role cluster serves the agent, one of role peer other nodes' agents, and both beside it Health. */
static int
check_agent(struct call *call, const struct route *route)
{
	enum role role = call->origin.role;

	if (route->served == (role == ROLE_CLUSTER ? SERVED_TO_CLUSTER : SERVED_TO_PEER) ||
	    (route->method != NULL && route->method->class == CLASS_HEALTH))
		return 0;
	return call_fault(call, FAULT_PERMISSION_DENIED, "this listener serves fob.v1.%s and fob.v1.Health only",
	    role == ROLE_CLUSTER ? "Cluster" : "Peer");
}

static int
check_role(struct call *call, const Fob__Rpc__V1__Request *request, const struct route *route)
{
	if (call->asked_of != NULL && route->served != SERVED_TO_ADMIN)
		return call_fault(call, FAULT_PERMISSION_DENIED, "another node may ask for fob.v1.Admin only");
	if (call->origin.role == ROLE_CLUSTER || call->origin.role == ROLE_PEER)
		return check_agent(call, route);
	switch (route->served) {
	case SERVED_TO_ADMIN:
		return check_admin(call, request);
	case SERVED_TO_CLUSTER:
		return call_fault(call, FAULT_PERMISSION_DENIED, "this listener does not serve fob.v1.Cluster");
	case SERVED_TO_PEER:
		return call_fault(call, FAULT_PERMISSION_DENIED, "this listener does not serve fob.v1.Peer");
	default:
		return 0;
	}
}

static int
check_request(struct call *call, const Fob__Rpc__V1__Request *request, struct route *route)
{
	uint32_t timeout_ms = request->timeout_ms;
	bool found = find_method(&request->method, route);
	int fault;

	call->method = route->method;
	keep_traceparent(call, &request->traceparent);
	if ((fault = check_role(call, request, route)) != 0)
		return fault;
	if (!found)
		return call_fault(
		    call, FAULT_UNIMPLEMENTED, "no such method; methods are named like fob.v1.Keys/VerifyKey");
	if (timeout_ms > LIMIT_TIMEOUT_MS)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "timeout_ms: at most %d", LIMIT_TIMEOUT_MS);
	/* A VerifyKey never waits. */
	if (route->method->class != CLASS_VERIFY)
		call->deadline_ms = call->worker->began_ns / NS_PER_MS +
		    (timeout_ms != 0 ? timeout_ms : atomic_load(&call->service->config)->timeout_ms);
	return 0;
}

static int
decode_fault(struct call *call, const char *what)
{
	if (call->scratch.exhausted)
		return call_fault(
		    call, FAULT_RESOURCE_EXHAUSTED, "the %s needs more memory than a request may have", what);
	return call_fault(call, FAULT_INVALID_ARGUMENT,
	    "the %s is not a valid protobuf message, or a number in it does not fit its field", what);
}

/* A change, and what the agent asks, is decoded into a call of its own, as the writer answers it later. */
static struct call *
take_change(struct call *asked)
{
	struct service *service = asked->service;
	struct call *call;

	if (!service->transport->admit(&asked->origin)) {
		reply_fault(asked,
		    call_fault(asked, FAULT_RESOURCE_EXHAUSTED, "too many changes of this connection are under way"));
		return NULL;
	}
	asked->admitted = true;
	if ((call = call_take(service)) == NULL) {
		reply_fault(asked, call_fault(asked, FAULT_INTERNAL, "out of memory"));
		return NULL;
	}
	atomic_fetch_add(&service->changes, 1);
	call->origin = asked->origin;
	call->admitted = true;
	call->began_ns = asked->worker->began_ns;
	call->deadline_ms = asked->deadline_ms;
	call->asked_of = asked->asked_of;
	memcpy(call->asked_nonce, asked->asked_nonce, sizeof(call->asked_nonce));
	if (asked->origin.peer == &asked->asked_by) {
		call->asked_by = asked->asked_by;
		call->origin.peer = &call->asked_by;
	}
	memcpy(call->traceparent, asked->traceparent, sizeof(call->traceparent));
	memcpy(call->on_behalf_of, asked->on_behalf_of, sizeof(call->on_behalf_of));
	return call;
}

static void
handle(struct call *call, const struct route *route, const ProtobufCBinaryData *body) // NOLINT(misc-no-recursion)
{
	ProtobufCMessage *request, *response = NULL;
	int fault;

	request = wire_unpack(route->descriptor->input, &call->scratch, body->data, body->len);
	if (request != NULL && route->method->handler != verify_key)
		response = scratch_alloc(&call->scratch, route->descriptor->output->sizeof_message);
	if (request == NULL || call->scratch.exhausted) {
		reply_fault(call, decode_fault(call, "request's body"));
		return;
	}
	if (response != NULL)
		protobuf_c_message_init(route->descriptor->output, response);
	call->method = route->method;
	fault = route->method->handler(call, request, response);
	/* A pending call is the writer's, and may have been answered by now. */
	if (fault == CALL_PENDING || fault == CALL_TAKEN)
		return;
	call_time(call);
	if (fault != 0)
		reply_fault(call, fault);
	else
		reply_message(call, response);
}

/* Of ${call}, the worker's. */
static void
answer(struct call *call, const uint8_t *bytes, size_t len) // NOLINT(misc-no-recursion): see dispatch_asked()
{
	Fob__Rpc__V1__Request envelope;
	struct route route = { 0 };
	struct call *change;
	int fault;

	if (!wire_request(&call->scratch, bytes, len, &envelope, call->min)) {
		reply_fault(call, decode_fault(call, "request"));
		return;
	}
	if ((fault = check_request(call, &envelope, &route)) != 0) {
		reply_fault(call, fault);
		return;
	}
	if (route.method->class != CLASS_CHANGE && route.method->handler != cluster_exchange) {
		handle(call, &route, &envelope.body);
		return;
	}
	if ((change = take_change(call)) == NULL)
		return;
	handle(change, &route, &envelope.body);
	call_reset(call);
}

void
dispatch(struct worker *worker, const struct origin *origin, const uint8_t *bytes, size_t len, int64_t now_ns)
{
	if (worker->kept.n == VERIFY_PASS || worker->call.scratch.used > SCRATCH_KEPT)
		verify_kept(worker);
	worker->began_ns = now_ns;
	worker->call.origin = *origin;
	scratch_begin(&worker->call.scratch);
	answer(&worker->call, bytes, len);
}

void
dispatch_asked(struct call *call, const uint8_t *bytes, size_t len) // NOLINT(misc-no-recursion): Admin has no Ask
{
	call->origin.role = ROLE_ADMIN;
	answer(call, bytes, len);
}

void
dispatch_end(struct worker *worker)
{
	verify_kept(worker);
}

void
dispatch_refuse(struct worker *worker, const struct origin *origin, enum fault fault, const char *message)
{
	struct call *call = &worker->call;

	call->origin = *origin;
	reply_fault(call, call_fault(call, fault, "%s", message));
}
