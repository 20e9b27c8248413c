/*
 * call.h - one request on its way through the service. A question's call is its worker's, and is used again for the
 * next one. A change's call is its own until the writer has answered it.
 */
#ifndef CALL_H
#define CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/c/position.h"
#include "service/base/config.h"
#include "service/rpc/scratch.h"
#include "service/rpc/service.h"

struct method;

struct call {
	struct service *service;
	struct worker *worker; /* NULL: a change's own call */
	struct scratch scratch;
	/* of the request at hand */
	struct origin origin;
	bool admitted; /* by the transport, which counts it until its reply */
	const struct method *method;
	unsigned environment; /* that it names, or that its key is of, as on the wire; 0: none, or not known yet */
	int64_t deadline_ms;  /* by clock_boot_ms(); not of a VerifyKey */
	struct position min[ENVIRONMENTS]; /* what is answered from may not be older; not of a change */
	/* What it is answered from, as far as the bits of ${tells} say that the reply tells it: 1 << environment. */
	struct position at[ENVIRONMENTS];
	unsigned tells;
	char traceparent[LIMIT_TRACEPARENT + 1];
	char on_behalf_of[LIMIT_ON_BEHALF_OF + 1]; /* of an Admin call */
	char message[LIMIT_MESSAGE];               /* of a fault */
	struct order *asked_of; /* another node has sealed it, of this environment: see peer.h. NULL: nobody has */
	uint8_t asked_nonce[ASK_NONCE_LEN];
	struct peer asked_by; /* whose request that node forwards; ${origin}.peer points here */
	/* of a change, while the writer has it */
	struct mutation mutation;
	int64_t began_ns; /* when the request's bytes were read, by clock_boot_ns() */
	struct engine *engine;
	const ProtobufCMessage *request;
	struct record_event event;            /* what will have happened, for the log */
	void (*log)(const struct call *call); /* once it is committed; NULL: ${event} is logged */
	struct import_work *import;           /* of an ImportAccounts: import.c's, in scratch memory */
	struct call *next;                    /* in the service's list of spare calls */
};

/* What a handler returns beside 0 and negated faults: the writer has the change, and answers it by reply_change(). */
#define CALL_PENDING 1
/* Likewise: a VerifyKey, which verify.c answers itself, now or in verify_kept(). */
#define CALL_TAKEN 2

/*
 * A handler fills ${response}, which is initialised, from ${request}, which is decoded; both live in call->scratch. VerifyKey
 * has a response of its own, and gets NULL.
 * Returns: 0; a negated fault with call->message set; CALL_PENDING; CALL_TAKEN.
 */
typedef int (*handler_cb)(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

struct method {
	const char *name;
	handler_cb handler;
	enum operation_class class; /* CLASS_CHANGE: handed to the writer */
};

/* ${worker} is NULL for a change's call. Returns: 0; -1 when there is no memory. */
int call_init(struct call *call, struct service *service, struct worker *worker);
void call_fini(struct call *call);
/* Wipe what the request at hand has left; its scratch memory only when the worker keeps no other request in it. */
void call_reset(struct call *call);

/* A change's call: a spare one, or a new one. NULL when there is no memory. Given back with call_release(), wiped. */
struct call *call_take(struct service *service);
void call_release(struct call *call);
/* Free the spare calls. No change may be pending. */
void call_free_spares(struct service *service);

/*
 * Count how long the call took, if durations are kept of its method's class. To be called once, before the reply. A
 * VerifyKey's duration is counted in verify.c.
 */
void call_time(const struct call *call);

/* Set the message of a fault and return it negated: return (call_fault(call, FAULT_X, "...")). */
int call_fault(struct call *call, enum fault fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The code and the message by which a negated fault is told; the message is call->message, or the fault's own. */
int call_code(int fault);
const char *call_message(const struct call *call, int fault);

/* The engine of a request's `environment` field; NULL with a fault set: unspecified, unknown, or not configured. */
struct engine *call_engine(struct call *call, int environment, int *fault);
/* Of the cluster that it is in; NULL with a fault set, also where it is in none. */
struct order *call_order(struct call *call, int environment, int *fault);

/*
 * A read transaction of ${engine} was begun, after *${fresh_until_ms} was loaded (see order.h): note which entry of the log
 * its snapshot has applied; none where the environment is in no cluster. Returns: 0, or a negative fault.
 */
int call_read_position(struct call *call, enum environment environment, struct store_txn *txn);
static inline int
call_position(struct call *call, const struct engine *engine, int64_t fresh_until_ms, struct store_txn *txn)
{
	call->at[engine->environment].entry = 0;
	return fresh_until_ms == 0 ? 0 : call_read_position(call, engine->environment, txn);
}
/* The reply tells of that state, and so also its position. */
static inline void
call_tell_position(struct call *call, enum environment environment)
{
	if (call->at[environment].entry != 0)
		call->tells |= 1U << environment;
}

/* The pairs of a log line that say who is at the other end of a connection. */
#define LOG_PEER(p) \
	LOG_I_IF((p)->known, "uid", (p)->uid), LOG_I_IF((p)->known, "pid", (p)->pid), \
	    LOG_S("peer", (p)->address[0] != '\0' ? (p)->address : NULL), \
	    LOG_S("certificate", (p)->certificate[0] != '\0' ? (p)->certificate : NULL)
/* And those that say who sent an Admin call, and for whom. */
#define LOG_ASKED_BY(c) \
	LOG_PEER((c)->origin.peer), LOG_S("on_behalf_of", (c)->on_behalf_of[0] != '\0' ? (c)->on_behalf_of : NULL), \
	    LOG_S("traceparent", (c)->traceparent[0] != '\0' ? (c)->traceparent : NULL)

#endif
