/*
 * dispatch.h - bytes to bytes: the envelope, the method, the deadline. Knows no socket, and no clock but the time that
 * it is given, so that the whole way of a request can be tested, fuzzed and measured by itself.
 */
#ifndef DISPATCH_H
#define DISPATCH_H

#include "service/rpc/call.h"

/*
 * What a handler returns beside 0 and negated faults: the writer has the mutation, whose end goes to
 * dispatch_mutated().
 */
#define CALL_PENDING 1

/*
 * A handler fills ${response}, which is initialised, from ${request}, which is decoded; both live in call->scratch.
 * Returns: 0; a negated fault with call->message set; CALL_PENDING.
 */
typedef int (*handler_cb)(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

/*
 * dispatch(call, bytes, len, now_ms):
 * Answer one request: call->reply is called exactly once, now or later, whatever the bytes are. ${now_ms} is
 * clock_boot_ms(). ${bytes} are borrowed until then.
 */
void dispatch(struct call *call, const uint8_t *bytes, size_t len, int64_t now_ms);

/* Answer without looking at the request: for a transport that refuses it. */
void dispatch_refuse(struct call *call, enum fault fault, const char *message);

/* The end of a pending call: ${body} is the encoded response message. Threads: the writer's. */
void dispatch_mutated(struct call *call, int fault, const uint8_t *body, size_t len);

/* The code and the message by which a negated fault is told; the message is call->message, or the fault's own. */
int dispatch_code(int fault);
const char *dispatch_message(const struct call *call, int fault);

/* Assert that every method of every service has its handler. At start. */
void dispatch_check(void);

#endif
