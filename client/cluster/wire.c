/*
 * wire.c - SP's asking end and the envelope, as bytes (see wire.h). Knows no socket, and not what is in an envelope.
 */
#include "client/cluster/wire.h"

#include <string.h>

int
wire_begin(struct wire *w)
{
	uint8_t greeting[SP_GREETING_LEN];

	wire_end(w);
	sp_greeting(SP_REQ, greeting);
	return buffer_append(&w->out, greeting, sizeof(greeting));
}

void
wire_end(struct wire *w)
{
	w->up = false;
	buffer_consume(&w->in, w->in.len, 0);
	buffer_consume(&w->out, w->out.len, 0);
}

void
wire_fini(struct wire *w)
{
	buffer_free(&w->in);
	buffer_free(&w->out);
}

int
wire_request(struct wire *w, const char *method, uint32_t timeout_ms, const uint8_t *body, size_t len, uint32_t *id)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	uint32_t own = SP_ID_BIT | (w->next_id++ & ~SP_ID_BIT);
	uint8_t header[SP_HEADER_MAX], *to;
	size_t size, header_len;

	request.method.data = (uint8_t *)(uintptr_t)method;
	request.method.len = strlen(method);
	request.timeout_ms = timeout_ms;
	request.body.data = (uint8_t *)(uintptr_t)body;
	request.body.len = len;
	size = fob__rpc__v1__request__get_packed_size(&request);
	header_len = sp_header(w->framing, own, size, header);
	if ((to = buffer_reserve(&w->out, header_len + size)) == NULL)
		return -1;
	memcpy(to, header, header_len);
	fob__rpc__v1__request__pack(&request, to + header_len);
	buffer_add(&w->out, header_len + size);
	if (id != NULL)
		*id = own;
	return 0;
}

static enum wire_event
greet(struct wire *w)
{
	size_t len = w->in.len < SP_GREETING_LEN ? w->in.len : SP_GREETING_LEN;

	if (!sp_greeting_ok(w->in.p, len, SP_REP))
		return WIRE_BROKEN;
	if (len < SP_GREETING_LEN)
		return WIRE_NOTHING;
	buffer_consume(&w->in, SP_GREETING_LEN, WIRE_KEPT);
	w->up = true;
	return WIRE_UP;
}

enum wire_event
wire_next(struct wire *w, uint32_t *id, Fob__Rpc__V1__Response **reply)
{
	struct sp_frame frame;
	enum sp_result result;

	if (!w->up)
		return greet(w);
	while ((result = sp_parse(w->framing, w->payload_max, w->in.p, w->in.len, &frame)) == SP_NO_ID)
		buffer_consume(&w->in, frame.size, WIRE_KEPT);
	if (result == SP_INCOMPLETE)
		return WIRE_NOTHING;
	if (result != SP_MESSAGE || (*reply = fob__rpc__v1__response__unpack(NULL, frame.body_len, frame.body)) == NULL)
		return WIRE_BROKEN;
	*id = frame.id;
	buffer_consume(&w->in, frame.size, WIRE_KEPT);
	return WIRE_REPLY;
}
