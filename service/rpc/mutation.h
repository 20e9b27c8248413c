/*
 * mutation.h - the way of a mutation to its environment's writer and back: what all handlers that change something
 * share.
 */
#ifndef MUTATION_H
#define MUTATION_H

#include "service/rpc/call.h"

struct mutation_plan {
	const char *method; /* goes into the request's digest, which is stored: it must never change */
	mutation_decide_cb decide;
	void (*log)(const struct call *call); /* once it is committed; NULL: the event is logged */
	unsigned weight;                      /* of struct mutation, as is the next one */
	bool is_local;
};

/*
 * mutation_submit(call, request, environment, token, plan):
 * Give the change that ${request} asks for to the writer. ${token} is the request's own field.
 * Returns: CALL_PENDING, or a negated fault with call->message set.
 */
int mutation_submit(struct call *call, const ProtobufCMessage *request, int environment, ProtobufCBinaryData *token,
    const struct mutation_plan *plan);

/* In plan->decide: encode the reply into the mutation, which keeps it under its token, and note the event for the log. */
void mutation_reply(struct mutation *mutation, const struct change *change, const ProtobufCMessage *response);

#endif
