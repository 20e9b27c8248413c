/*
 * reply.c - encode the Response and hand it to the transport (see reply.h). Looks at no key and no database.
 */
#include "service/rpc/reply.h"

#include <sodium.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "service/base/log.h"
#include "service/rpc/peer.h"
#include "service/rpc/wire.h"
#include "service/rpc/worker.h"

#define SMALL 512 /* a reply that needs no scratch memory; each fault is one */

static inline void
count(struct call *call, int code)
{
	enum operation_class class = call->method != NULL ? call->method->class : CLASS_OTHER;
	struct worker *worker = call->worker;

	if (worker != NULL)
		tally_add(&worker->tally.answered[class][call->environment][code], 1, false);
	else
		tally_add(&call->service->tally.answered[class][call->environment][code], 1, true);
}

static void
log_reply(const struct call *call, int code)
{
	LOG(LOG_DEBUG, "answered", LOG_S("method", call->method != NULL ? call->method->name : NULL),
	    LOG_I("code", code), LOG_S("message", call->message[0] != '\0' ? call->message : NULL),
	    LOG_S("traceparent", call->traceparent[0] != '\0' ? call->traceparent : NULL));
}

static void
end(struct call *call)
{
	struct service *service = call->service;

	if (call->worker != NULL) {
		call_reset(call);
		return;
	}
	call_release(call);
	/* Last: whoever waits for the count may free the spare calls then. */
	atomic_fetch_sub(&service->changes, 1);
}

/* Calls send() again, once: this reply fits into its own small buffer. */
static void
tell_too_large(struct call *call) // NOLINT(misc-no-recursion)
{
	reply_fault(call, call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the reply is too large: ask for less"));
}

/* The answer to another node is sealed. Returns false when the call was ended by a fault instead. */
static bool
wrap(struct call *call, uint8_t **bytes, size_t *size) // NOLINT(misc-no-recursion)
{
	if (call->asked_of == NULL)
		return true;
	if ((*bytes = peer_seal(call, *bytes, *size, size)) != NULL)
		return true;
	call->asked_of = NULL;
	tell_too_large(call);
	return false;
}

/* Hand the ${size} bytes at ${bytes} to the transport. */
static void
give(struct call *call, int code, uint8_t *bytes, size_t size)
{
	count(call, code);
	if (log_enabled(LOG_DEBUG))
		log_reply(call, code);
	call->service->transport->reply(&call->origin, bytes, size, call->admitted);
}

/* A fault must be told even when the request has used up its scratch memory. */
static uint8_t *
room(struct call *call, uint8_t small[SMALL], size_t size)
{
	return size <= SMALL ? small : scratch_alloc(&call->scratch, size);
}

/* In ${response}, which borrows ${live} and ${test}. */
static void
tell_positions(const struct call *call, Fob__Rpc__V1__Response *response, Fob__Rpc__V1__Position *live,
    Fob__Rpc__V1__Position *test)
{
	Fob__Rpc__V1__Position *const to[ENVIRONMENTS] = { live, test };

	for (int e = 0; e < ENVIRONMENTS; e++) {
		fob__rpc__v1__position__init(to[e]);
		to[e]->cluster = call->at[e].cluster;
		to[e]->entry = call->at[e].entry;
	}
	response->live = call->tells & 1U << ENVIRONMENT_LIVE ? live : NULL;
	response->test = call->tells & 1U << ENVIRONMENT_TEST ? test : NULL;
}

static void
send(struct call *call, int code, const char *message, const uint8_t *body, size_t len) // NOLINT(misc-no-recursion)
{
	Fob__Rpc__V1__Response response = FOB__RPC__V1__RESPONSE__INIT;
	Fob__Rpc__V1__Position live, test;
	uint8_t small[SMALL], *bytes;
	size_t size;

	response.code = (Fob__Rpc__V1__Code)code;
	response.message.data = (uint8_t *)(uintptr_t)message;
	response.message.len = strlen(message);
	response.body.data = (uint8_t *)(uintptr_t)body;
	response.body.len = len;
	if (call->tells != 0)
		tell_positions(call, &response, &live, &test);
	size = fob__rpc__v1__response__get_packed_size(&response);
	if ((bytes = room(call, small, size)) == NULL) {
		tell_too_large(call);
		return;
	}
	fob__rpc__v1__response__pack(&response, bytes);
	if (!wrap(call, &bytes, &size))
		return;
	give(call, code, bytes, size);
	sodium_memzero(small, bytes == small ? size : 0);
	end(call);
}

void
reply_fault(struct call *call, int fault) // NOLINT(misc-no-recursion)
{
	send(call, call_code(fault), call_message(call, fault), NULL, 0);
}

void
reply_message(struct call *call, const ProtobufCMessage *message)
{
	uint8_t small[SMALL], *to, *bytes;
	size_t len;

	if ((to = room(call, small, WIRE_RESPONSE + wire_max(message))) == NULL) {
		tell_too_large(call);
		return;
	}
	bytes = wire_pack_response(message, call->at, call->tells, to, &len);
	if (to != small)
		scratch_trim(&call->scratch, bytes + len);
	if (!wrap(call, &bytes, &len))
		return;
	give(call, FOB__RPC__V1__CODE__OK, bytes, len);
	end(call);
}

void
reply_change(struct call *call, int fault, const uint8_t *body, size_t len)
{
	if (fault != 0)
		reply_fault(call, fault);
	else
		send(call, FOB__RPC__V1__CODE__OK, "", body, len);
}
