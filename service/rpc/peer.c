/*
 * peer.c - Peer/Ask: open what another node has sealed, have it answered, seal the answer (see peer.h). Knows no method.
 */
#include "service/rpc/peer.h"

#include <stdio.h>
#include <string.h>

#include "fob/v1/cluster.pb-c.h"
#include "service/rpc/dispatch.h"
#include "service/rpc/handlers.h"
#include "service/rpc/wire.h"

static void
copy_text(char *to, size_t size, const ProtobufCBinaryData *text)
{
	snprintf(to, size, "%.*s", (int)text->len, text->len > 0 ? (const char *)text->data : "");
}

/* The change that is asked for is its client's, and not the other node's. */
static void
take_by(struct call *call, const Fob__V1__AskedBy *by)
{
	struct peer *peer = &call->asked_by;

	*peer = (struct peer){ .known = by->known, .uid = by->uid, .pid = by->pid };
	copy_text(peer->address, sizeof(peer->address), &by->address);
	copy_text(peer->certificate, sizeof(peer->certificate), &by->certificate);
	call->origin.peer = peer;
}

/* ${text}: what the other node has sealed. */
static int
answer_asked(struct call *call, const uint8_t *text, size_t len)
{
	const Fob__V1__Asked *asked =
	    (const Fob__V1__Asked *)wire_unpack(&fob__v1__asked__descriptor, &call->scratch, text, len);

	if (asked == NULL)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "sealed: holds no request");
	if (asked->by != NULL)
		take_by(call, asked->by);
	dispatch_asked(call, asked->request.data, asked->request.len);
	return CALL_TAKEN;
}

int
peer_ask(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__AskRequest *in = (const Fob__V1__AskRequest *)request;
	struct ask_place place = { .request = NULL };
	const uint8_t *key;
	struct order *order;
	uint8_t *text;
	int fault;

	(void)response;
	if ((order = call_order(call, (int)in->environment, &fault)) == NULL)
		return fault;
	if (!order_is_open(order))
		return call_fault(call, FAULT_UNAVAILABLE, "this node is no member of its cluster at present: ask another one");
	if (in->sealed.len < ASK_SEAL_LEN)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "sealed: is not what a node has sealed");
	if ((text = scratch_alloc(&call->scratch, in->sealed.len)) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than it may have");
	key = order_ask_key(order, &place);
	if (ask_open(key, &place, in->sealed.data, in->sealed.len, text) != 0)
		return call_fault(call, FAULT_PERMISSION_DENIED,
		    "sealed: by a node of another cluster, or one with another pepper");
	call->asked_of = order;
	memcpy(call->asked_nonce, ask_nonce(in->sealed.data), sizeof(call->asked_nonce));
	return answer_asked(call, text, in->sealed.len - ASK_SEAL_LEN);
}

uint8_t *
peer_seal(struct call *call, const uint8_t *bytes, size_t len, size_t *sealed_len)
{
	struct ask_place place = { .request = call->asked_nonce };
	Fob__V1__AskResponse out = FOB__V1__ASK_RESPONSE__INIT;
	const uint8_t *key = order_ask_key(call->asked_of, &place);
	uint8_t *to;

	if ((out.sealed.data = scratch_alloc(&call->scratch, len + ASK_SEAL_LEN)) == NULL)
		return NULL;
	out.sealed.len = ask_seal(key, &place, bytes, len, out.sealed.data);
	if ((to = scratch_alloc(&call->scratch, WIRE_RESPONSE + wire_max(&out.base))) == NULL)
		return NULL;
	return wire_pack_response(&out.base, call->at, 0, to, sealed_len);
}
