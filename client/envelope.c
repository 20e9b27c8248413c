/*
 * envelope.c - the fob.rpc.v1.Request around a method's message (see envelope.h). By hand, as protobuf-c would want a
 * batch's body in one piece before it copies it.
 */
#include "client/envelope.h"

#include <string.h>

#include "proto/c/fields.h"

/* The fields of fob/rpc/v1/rpc.proto. */
enum { METHOD = 1, BODY = 2, TIMEOUT_MS = 3, TRACEPARENT = 4, ON_BEHALF_OF = 5, MIN_LIVE = 6, MIN_TEST = 7 };

static size_t
text_len(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

static uint8_t *
text_put(uint8_t *to, unsigned number, const char *text)
{
	size_t len = text_len(text);

	if (len == 0)
		return to;
	to = fields_put_head(to, number, len);
	memcpy(to, text, len);
	return to + len;
}

size_t
envelope_size(const struct envelope *e, size_t body_len)
{
	return fields_bytes_size(strlen(e->method)) + fields_bytes_size(body_len) +
	    (e->timeout_ms == 0 ? 0 : 1 + fields_varint_size(e->timeout_ms)) +
	    fields_bytes_size(text_len(e->traceparent)) + fields_bytes_size(text_len(e->on_behalf_of)) +
	    (e->min == NULL ? 0 : position_size(&e->min[0]) + position_size(&e->min[1]));
}

uint8_t *
envelope_head(const struct envelope *e, size_t body_len, uint8_t *to)
{
	to = text_put(to, METHOD, e->method);
	return body_len == 0 ? to : fields_put_head(to, BODY, body_len);
}

uint8_t *
envelope_tail(const struct envelope *e, uint8_t *to)
{
	to = fields_put_number(to, TIMEOUT_MS, e->timeout_ms);
	to = text_put(to, TRACEPARENT, e->traceparent);
	to = text_put(to, ON_BEHALF_OF, e->on_behalf_of);
	if (e->min == NULL)
		return to;
	to = position_put(to, MIN_LIVE, &e->min[0]);
	return position_put(to, MIN_TEST, &e->min[1]);
}
