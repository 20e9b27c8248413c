/*
 * verify.h - a verify between its two halves, and those that a worker keeps (see verify.c).
 */
#ifndef VERIFY_H
#define VERIFY_H

#include "fob/v1/keys.pb-c.h"
#include "proto/c/position.h"
#include "service/keys/lookup.h"
#include "service/rpc/service.h"

#define VERIFY_PASS STORE_PASS /* lookups at once */

struct verification {
	const Fob__V1__VerifyKeyRequest *in;
	Fob__V1__VerifyKeyResponse out; /* borrows from ${found} */
	struct engine *engine;
	const char *why; /* NULL, or what is wrong with the form of a key that is valid only if it was imported */
	struct lookup found;
	struct position min; /* what its client has seen of the environment */
	/* of a batch's item: borrows ${out} */
	Fob__V1__VerifyKeysItem item;
	/* of a single VerifyKey: what its reply and the log need */
	struct origin origin;
	const struct method *method;
	char traceparent[LIMIT_TRACEPARENT + 1];
};

/* VerifyKeys whose requests are in the transport's bytes, or in the worker's scratch memory. */
struct kept {
	size_t n;
	struct verification verifications[VERIFY_PASS];
};

/* Look up and answer all that ${worker} keeps. */
void verify_kept(struct worker *worker);

#endif
