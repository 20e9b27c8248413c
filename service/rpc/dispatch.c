/*
 * dispatch.c - decode the envelope, find the method by its descriptor, check role and deadline, decode the body, call
 * the handler, encode (see dispatch.h). Called by listen_context.c and, for mutations, from the writer's thread; by
 * listen.c, which has it check itself; and by the handlers, which it calls. The generated `invoke` is not used: its
 * closure has no status, and an unset handler would crash.
 */
#include "service/rpc/dispatch.h"

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "service/rpc/handlers.h"
#include "service/base/log.h"
#include "service/base/names.h"

#define METHODS_MAX 16

struct method {
	const char *name;
	handler_cb handler;
};

/* In the order of the .proto files; dispatch_check() holds them against the descriptors. */
static const struct {
	const ProtobufCServiceDescriptor *descriptor;
	bool admin_only;
	struct method methods[METHODS_MAX];
} services[] = {
	{ &fob__v1__keys__descriptor, false,
	    {
		{ "VerifyKey", verify_key },
		{ "VerifyKeys", verify_keys },
	    } },
	{ &fob__v1__admin__descriptor, true,
	    {
		{ "CreateAccount", admin_create_account },
		{ "RollKey", admin_roll_key },
		{ "RevokeKey", admin_revoke_key },
		{ "SuspendAccount", admin_suspend_account },
		{ "ResumeAccount", admin_resume_account },
		{ "ListKeys", list_keys },
		{ "ListAccounts", list_accounts },
		{ "ListEvents", list_events },
		{ "ImportAccounts", admin_import_accounts },
	    } },
	{ &fob__v1__health__descriptor, false,
	    {
		{ "Check", health_check },
		{ "Stats", health_stats },
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

/* ---- calls ---- */

int
call_init(struct call *call, struct service *service, enum role role, call_reply_cb reply, void *arg)
{
	memset(call, 0, sizeof(*call));
	call->service = service;
	call->role = role;
	call->reply = reply;
	call->arg = arg;
	return scratch_init(&call->scratch);
}

void
call_fini(struct call *call)
{
	for (int i = 0; i < ENVIRONMENTS; i++)
		store_txn_free(call->readers[i]);
	scratch_fini(&call->scratch);
	sodium_memzero(&call->mutation, sizeof(call->mutation));
}

void
call_done(struct call *call)
{
	scratch_reset(&call->scratch);
	if (call->mutation.decide != NULL)
		sodium_memzero(&call->mutation, sizeof(call->mutation));
}

int
call_fault(struct call *call, enum fault fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(call->message, sizeof(call->message), format, args);
	va_end(args);
	return -(int)fault;
}

struct store_txn *
call_reader(struct call *call, struct engine *engine)
{
	struct store_txn **reader = &call->readers[engine->environment];

	if (*reader == NULL)
		*reader = store_txn_new(engine->store);
	return *reader;
}

struct engine *
call_engine(struct call *call, int environment, int *fault)
{
	struct engine *engine;

	if (environment != FOB__V1__ENVIRONMENT__LIVE && environment != FOB__V1__ENVIRONMENT__TEST) {
		*fault = call_fault(call, FAULT_INVALID_ARGUMENT, "environment: must be LIVE (1) or TEST (2)");
		return NULL;
	}
	engine = call->service->engines[environment - 1];
	if (engine == NULL && call->service->broken[environment - 1])
		*fault = call_fault(call, FAULT_UNAVAILABLE, "the database of this environment could not be opened");
	else if (engine == NULL)
		*fault = call_fault(call, FAULT_FAILED_PRECONDITION, "this server does not serve the %s environment",
		    environment_name((enum environment)(environment - 1)));
	return engine;
}

/* ---- the reply ---- */

/* Storage faults have no code of their own: the service could not answer. */
int
dispatch_code(int fault)
{
	switch (-fault) {
	case FAULT_FULL:
		return FOB__RPC__V1__CODE__RESOURCE_EXHAUSTED;
	case FAULT_CORRUPT:
	case FAULT_IO:
	case FAULT_DISK:
		return FOB__RPC__V1__CODE__UNAVAILABLE;
	default:
		return -fault;
	}
}

const char *
dispatch_message(const struct call *call, int fault)
{
	if (call->message[0] != '\0')
		return call->message;
	switch (-fault) {
	case FAULT_CORRUPT:
		return "a record of the database is damaged";
	case FAULT_IO:
		return "the database has failed; fobd must be restarted";
	case FAULT_FULL:
		return "no room";
	default:
		return "";
	}
}

static void
log_reply(const struct call *call, int code)
{
	LOG(LOG_DEBUG, "answered", LOG_S("method", call->method != NULL ? call->method->name : NULL),
	    LOG_I("code", code), LOG_S("message", call->message[0] != '\0' ? call->message : NULL),
	    LOG_S("traceparent", call->traceparent[0] != '\0' ? call->traceparent : NULL));
}

static void
send_response(struct call *call, int code, const char *message, const uint8_t *body, size_t len)
{
	Fob__Rpc__V1__Response response = FOB__RPC__V1__RESPONSE__INIT;
	uint8_t small[512], *bytes = small;
	size_t size;

	response.code = (Fob__Rpc__V1__Code)code;
	response.message.data = (uint8_t *)(uintptr_t)message;
	response.message.len = strlen(message);
	response.body.data = (uint8_t *)(uintptr_t)body;
	response.body.len = len;
	size = fob__rpc__v1__response__get_packed_size(&response);
	/* A fault must be told even when the request has used up its scratch memory. */
	if (size > sizeof(small) && (bytes = scratch_alloc(&call->scratch, size)) == NULL) {
		send_response(
		    call, FOB__RPC__V1__CODE__RESOURCE_EXHAUSTED, "the reply is too large: ask for less", NULL, 0);
		return;
	}
	fob__rpc__v1__response__pack(&response, bytes);
	tally_add(&call->tally.codes[code]);
	if (log_enabled(LOG_DEBUG))
		log_reply(call, code);
	call->reply(call, bytes, size);
	/* The call may be another request's by now; the bytes on our stack are still ours. */
	sodium_memzero(small, size <= sizeof(small) ? size : 0);
}

static void
send_fault(struct call *call, int fault)
{
	send_response(call, dispatch_code(fault), dispatch_message(call, fault), NULL, 0);
}

static void
send_message(struct call *call, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *body;

	if ((body = scratch_alloc(&call->scratch, len)) == NULL) {
		call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the reply is too large: ask for less");
		send_fault(call, -FAULT_RESOURCE_EXHAUSTED);
		return;
	}
	protobuf_c_message_pack(message, body);
	send_response(call, FOB__RPC__V1__CODE__OK, "", body, len);
}

/* ---- the request ---- */

struct route {
	const struct method *method;
	const ProtobufCMethodDescriptor *descriptor;
	bool admin_only;
};

/* "fob.v1.Keys/VerifyKey": looked up by name in the descriptors. */
static bool
find_method(const ProtobufCBinaryData *name, struct route *route)
{
	const uint8_t *slash;
	char method[64];
	size_t service_len, method_len;

	if (name->len == 0 || (slash = memchr(name->data, '/', name->len)) == NULL)
		return false;
	service_len = (size_t)(slash - name->data);
	method_len = name->len - service_len - 1;
	if (method_len >= sizeof(method) || memchr(slash + 1, '\0', method_len) != NULL)
		return false;
	memcpy(method, slash + 1, method_len);
	method[method_len] = '\0';
	for (size_t i = 0; i < N_SERVICES; i++) {
		const ProtobufCServiceDescriptor *d = services[i].descriptor;

		if (strlen(d->name) != service_len || memcmp(d->name, name->data, service_len) != 0)
			continue;
		if ((route->descriptor = protobuf_c_service_descriptor_get_method_by_name(d, method)) == NULL)
			return false;
		route->method = &services[i].methods[route->descriptor - d->methods];
		route->admin_only = services[i].admin_only;
		return true;
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

static int
check_request(struct call *call, const Fob__Rpc__V1__Request *request, int64_t now_ms, struct route *route)
{
	uint32_t timeout_ms = request->timeout_ms;

	keep_traceparent(call, &request->traceparent);
	if (!find_method(&request->method, route))
		return call_fault(
		    call, FAULT_UNIMPLEMENTED, "no such method; methods are named like fob.v1.Keys/VerifyKey");
	if (route->admin_only && call->role != ROLE_ADMIN)
		return call_fault(call, FAULT_PERMISSION_DENIED, "this listener does not serve fob.v1.Admin");
	if (timeout_ms > LIMIT_TIMEOUT_MS)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "timeout_ms: at most %d", LIMIT_TIMEOUT_MS);
	call->deadline_ms = now_ms + (timeout_ms != 0 ? timeout_ms : atomic_load(&call->service->config)->timeout_ms);
	if (atomic_load(&call->service->draining))
		return call_fault(call, FAULT_UNAVAILABLE, "the server is shutting down");
	return 0;
}

static int
decode_fault(struct call *call, const char *what)
{
	if (call->scratch.exhausted)
		return call_fault(
		    call, FAULT_RESOURCE_EXHAUSTED, "the %s needs more memory than a request may have", what);
	return call_fault(call, FAULT_INVALID_ARGUMENT, "the %s is not a valid protobuf message", what);
}

static void
answer(struct call *call, const uint8_t *bytes, size_t len, int64_t now_ms)
{
	Fob__Rpc__V1__Request *envelope;
	ProtobufCMessage *request, *response;
	struct route route = { 0 };
	int fault;

	if ((envelope = fob__rpc__v1__request__unpack(&call->scratch.allocator, len, bytes)) == NULL) {
		send_fault(call, decode_fault(call, "request"));
		return;
	}
	if ((fault = check_request(call, envelope, now_ms, &route)) != 0) {
		send_fault(call, fault);
		return;
	}
	request = protobuf_c_message_unpack(
	    route.descriptor->input, &call->scratch.allocator, envelope->body.len, envelope->body.data);
	response = scratch_alloc(&call->scratch, route.descriptor->output->sizeof_message);
	if (request == NULL || response == NULL) {
		send_fault(call, decode_fault(call, "request's body"));
		return;
	}
	protobuf_c_message_init(route.descriptor->output, response);
	call->method = route.method;
	fault = route.method->handler(call, request, response);
	/* A pending call is the writer's: it may have been answered, and used again, by now. */
	if (fault == CALL_PENDING)
		return;
	if (fault != 0)
		send_fault(call, fault);
	else
		send_message(call, response);
}

void
dispatch(struct call *call, const uint8_t *bytes, size_t len, int64_t now_ms)
{
	call->message[0] = '\0';
	call->traceparent[0] = '\0';
	call->method = NULL;
	answer(call, bytes, len, now_ms);
}

void
dispatch_refuse(struct call *call, enum fault fault, const char *message)
{
	send_response(call, dispatch_code(-(int)fault), message, NULL, 0);
}

void
dispatch_mutated(struct call *call, int fault, const uint8_t *body, size_t len)
{
	if (fault != 0)
		send_fault(call, fault);
	else
		send_response(call, FOB__RPC__V1__CODE__OK, "", body, len);
}
