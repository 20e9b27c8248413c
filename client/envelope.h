/*
 * envelope.h - the fob.rpc.v1.Request around a method's message, written around a body that goes between its two ends.
 */
#ifndef CLIENT_ENVELOPE_H
#define CLIENT_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

/* All of it, a body of ${body_len} bytes included. ${traceparent} may be NULL. */
size_t envelope_size(const char *method, size_t body_len, uint32_t timeout_ms, const char *traceparent);
/* Returns: where the body goes. */
uint8_t *envelope_head(const char *method, size_t body_len, uint8_t *to);
/* ${to} is behind the body. Returns: the end. */
uint8_t *envelope_tail(uint32_t timeout_ms, const char *traceparent, uint8_t *to);

#endif
