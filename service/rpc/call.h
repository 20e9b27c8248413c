/*
 * call.h - one request on its way through the service, and what its context keeps between requests. A context works on
 * one request at a time; its call is used again for the next one, without a malloc.
 */
#ifndef CALL_H
#define CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <sys/types.h>

#include "service/base/config.h"
#include "service/rpc/scratch.h"
#include "service/rpc/service.h"

#define CODES 17

/* Counted by one context, added up by Stats: no counter is shared on a request's way. */
struct tally {
	_Atomic uint64_t codes[CODES];
	_Atomic uint64_t verdicts[ENVIRONMENTS][VERDICTS];
	_Atomic uint64_t unrecognised; /* MALFORMED without a prefix that would tell an environment */
};

/* Who made the connection, as the kernel says; of a unix socket only. */
struct peer {
	bool known;
	uid_t uid;
	pid_t pid;
};

struct call;
struct method;

/*
 * Takes the reply's bytes, which are borrowed until it calls call_done(). Exactly once per dispatch(), on its thread or
 * the writer's. Once it has called call_done() the call may be dispatched again, on any thread.
 */
typedef void (*call_reply_cb)(struct call *call, const uint8_t *bytes, size_t len);

struct call {
	struct service *service;
	enum role role; /* of the listener */
	call_reply_cb reply;
	void *arg; /* the transport's */
	struct scratch scratch;
	struct store_txn *readers[ENVIRONMENTS]; /* made at the first use */
	struct tally tally;
	/* of the request at hand */
	struct peer peer; /* set by the transport, before dispatch() */
	const struct method *method;
	int64_t deadline_ms; /* by clock_boot_ms() */
	char traceparent[LIMIT_TRACEPARENT + 1];
	char message[LIMIT_MESSAGE]; /* of a fault */
	/* of a mutation, while the writer has it */
	struct mutation mutation;
	struct engine *engine;
	const ProtobufCMessage *request;
	struct record_event event;  /* what will have happened, for the log */
	struct import_work *import; /* of an ImportAccounts: in scratch memory, admin.c's */
};

/* Prepare a context's call; ${reply} and ${role} are set for good. Returns 0, or -1 when there is no memory. */
int call_init(struct call *call, struct service *service, enum role role, call_reply_cb reply, void *arg);
void call_fini(struct call *call);

/* Wipe what the request at hand has left: to be called by the transport as soon as it has copied the reply. */
void call_done(struct call *call);

/* Set the message of a fault and return it negated: return (call_fault(call, FAULT_X, "...")). */
int call_fault(struct call *call, enum fault fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* This context's read transaction on an engine. NULL when there is no memory. */
struct store_txn *call_reader(struct call *call, struct engine *engine);

/* The engine of a request's `environment` field; NULL with a fault set: unspecified, unknown, or not configured. */
struct engine *call_engine(struct call *call, int environment, int *fault);

static inline void
tally_add(_Atomic uint64_t *counter)
{
	/* One writer: a plain add, without a locked instruction. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

#endif
