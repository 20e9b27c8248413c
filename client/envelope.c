/*
 * envelope.c - the fob.rpc.v1.Request around a method's message (see envelope.h). By hand, as protobuf-c would want a
 * batch's body in one piece before it copies it.
 */
#include "client/envelope.h"

#include <string.h>

#include "proto/c/fields.h"

/* The fields of fob/rpc/v1/rpc.proto. */
enum { METHOD = 1, BODY = 2, TIMEOUT_MS = 3, TRACEPARENT = 4 };

static uint8_t *
text_put(uint8_t *to, unsigned number, const char *text)
{
	size_t len = strlen(text);

	if (len == 0)
		return to;
	to = fields_put_head(to, number, len);
	memcpy(to, text, len);
	return to + len;
}

size_t
envelope_size(const char *method, size_t body_len, uint32_t timeout_ms, const char *traceparent)
{
	return fields_bytes_size(strlen(method)) + fields_bytes_size(body_len) +
	    (timeout_ms == 0 ? 0 : 1 + fields_varint_size(timeout_ms)) +
	    (traceparent == NULL ? 0 : fields_bytes_size(strlen(traceparent)));
}

uint8_t *
envelope_head(const char *method, size_t body_len, uint8_t *to)
{
	to = text_put(to, METHOD, method);
	return body_len == 0 ? to : fields_put_head(to, BODY, body_len);
}

uint8_t *
envelope_tail(uint32_t timeout_ms, const char *traceparent, uint8_t *to)
{
	to = fields_put_number(to, TIMEOUT_MS, timeout_ms);
	return traceparent == NULL ? to : text_put(to, TRACEPARENT, traceparent);
}
