/*
 * envelope.h - the fob.rpc.v1.Request around a method's message, written around a body that goes between its two ends.
 */
#ifndef CLIENT_ENVELOPE_H
#define CLIENT_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/c/position.h"

/* All but the body. */
struct envelope {
	const char *method;
	uint32_t timeout_ms;
	const char *traceparent, *on_behalf_of; /* NULL: none */
	const struct position *min;             /* two: what the client has seen of live, and of test; NULL: nothing */
};

/* All of it, a body of ${body_len} bytes included. */
size_t envelope_size(const struct envelope *envelope, size_t body_len);
/* Returns: where the body goes. */
uint8_t *envelope_head(const struct envelope *envelope, size_t body_len, uint8_t *to);
/* ${to} is behind the body. Returns: the end. */
uint8_t *envelope_tail(const struct envelope *envelope, uint8_t *to);

#endif
