/*
 * reply.h - the way out: a Response is encoded and handed to the transport, once for each request.
 */
#ifndef REPLY_H
#define REPLY_H

#include "service/rpc/call.h"

/* Each ends the call: it is wiped, and a change's call is given back. */
void reply_fault(struct call *call, int fault);
void reply_message(struct call *call, const ProtobufCMessage *message);
/* The end of a pending change: ${body} is the encoded response message. Threads: the writer's. */
void reply_change(struct call *call, int fault, const uint8_t *body, size_t len);

#endif
