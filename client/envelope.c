/*
 * envelope.c - the fob.rpc.v1.Request around a method's message (see envelope.h). By hand, as protobuf-c would want a
 * batch's body in one piece before it copies it.
 */
#include "client/envelope.h"

#include <string.h>

/* A field's number and wire type in front of its value: fob/rpc/v1/rpc.proto. */
enum { METHOD = 1 << 3 | 2, BODY = 2 << 3 | 2, TIMEOUT_MS = 3 << 3 | 0, TRACEPARENT = 4 << 3 | 2 };

static size_t
varint_size(size_t value)
{
	size_t n = 1;

	while ((value >>= 7) != 0)
		n++;
	return n;
}

static uint8_t *
varint_put(uint8_t *to, size_t value)
{
	for (; value >= 1 << 7; value >>= 7)
		*to++ = (uint8_t)(value & 0x7f) | 0x80;
	*to++ = (uint8_t)value;
	return to;
}

/* An empty field is left out. */
static size_t
bytes_size(size_t len)
{
	return len == 0 ? 0 : 1 + varint_size(len) + len;
}

static uint8_t *
head_put(uint8_t *to, uint8_t tag, size_t len)
{
	if (len == 0)
		return to;
	*to++ = tag;
	return varint_put(to, len);
}

static uint8_t *
text_put(uint8_t *to, uint8_t tag, const char *text)
{
	size_t len = strlen(text);

	to = head_put(to, tag, len);
	memcpy(to, text, len);
	return to + len;
}

size_t
envelope_size(const char *method, size_t body_len, uint32_t timeout_ms, const char *traceparent)
{
	return bytes_size(strlen(method)) + bytes_size(body_len) + (timeout_ms == 0 ? 0 : 1 + varint_size(timeout_ms)) +
	    (traceparent == NULL ? 0 : bytes_size(strlen(traceparent)));
}

uint8_t *
envelope_head(const char *method, size_t body_len, uint8_t *to)
{
	return head_put(text_put(to, METHOD, method), BODY, body_len);
}

uint8_t *
envelope_tail(uint32_t timeout_ms, const char *traceparent, uint8_t *to)
{
	if (timeout_ms != 0) {
		*to++ = TIMEOUT_MS;
		to = varint_put(to, timeout_ms);
	}
	return traceparent == NULL ? to : text_put(to, TRACEPARENT, traceparent);
}
