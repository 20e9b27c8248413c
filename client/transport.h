/*
 * transport.h - calls to the servers of a client, each answered by its deadline, whatever becomes of the connections.
 *
 * A client has one connection to each of its servers: one server, or one for each environment. A call waits its turn in
 * a bounded queue, is on the wire, or rests for a moment before it asks a server again that said UNAVAILABLE. When the
 * connection is lost the same bytes are sent again on the next one: reads change nothing, and mutations carry their
 * token.
 *
 * Single verifies that have to wait travel together, in one VerifyKeys. Each keeps its own deadline, verdict and fault,
 * and a batch that the server refuses as a whole is sent again in parts, down to single calls.
 *
 * UNAVAILABLE from the server: it may be draining, with its successor about to listen, or the store of one environment
 * may have failed for good; the code is the same. So a call asks again, after 10 ms, 20 ms and so on up to 250 ms, for
 * at most TRANSPORT_RETRY_MS and its deadline. It does not occupy a place on the wire meanwhile, and no more messages
 * than there are places do so at once; the others hand the server's answer on immediately.
 *
 * Where a list has several servers, verifies and changes go to the next one first, at most once to each: a node of a
 * cluster that has lost touch says UNAVAILABLE, and others serve. The connection goes there with all calls, and no
 * further for TRANSPORT_MOVE_MS once it has been at each server, so that a cluster that is down is not asked in circles.
 *
 * Who does the work: a synchronous call is written and read by the threads that wait in transport_wait(). Asynchronous
 * calls are driven by one thread, started by the first of them or by a state callback; or, in loop mode, by
 * transport_dispatch() and nothing else.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/codec.h"
#include "client/fob.h"

#define TRANSPORT_RETRY_MS 2000
#define TRANSPORT_MOVE_MS 1000

struct transport;
struct link;

TAILQ_HEAD(call_list, call);

/* What goes over the wire: a call, or several verifies. The transport's. */
struct message {
	TAILQ_ENTRY(message) in_list; /* on the wire, or resting */
	struct call **calls;          /* ${n} of them; NULL: ended before the answer */
	unsigned n;
	uint32_t id; /* 0: not on the wire */
	uint8_t kind;
	int fault; /* of a reply to several */
	bool sent, answered, again;
	int64_t resume_at_ms; /* while it rests */
};

/* One call, embedded in the caller's own struct. The first part is the caller's, set before transport_submit(). */
struct call {
	const char *method;
	struct codec_body body;           /* stays as it is until the end */
	const char *traceparent;          /* NULL: none. Stays as it is until the end; so the next */
	const char *on_behalf_of;         /* NULL: nobody */
	enum fob_environment environment; /* whose server it is for; FOB_ENVIRONMENT_ANY: the first one */
	int64_t deadline_ms;              /* by transport_now_ms() */
	bool change;                      /* a mutation, of which a server takes a limited number at once */
	bool moves;                       /* may be asked of the next server, besides verifies: see above */
	/*
	 * Not NULL: this is a VerifyKey whose answer goes where ${item} says. It may travel with others. ${item} is
	 * borrowed until the end.
	 */
	const struct codec_item *item;
	/*
	 * Read a reply, which is wiped afterwards. True: the server says UNAVAILABLE; the call may be sent again. Not
	 * called for what travelled with others: then ${item} is filled.
	 */
	bool (*reply)(struct call *call, const uint8_t *reply, size_t len);
	/*
	 * Exactly once, after which ${call} is not touched. 0: the last reply stands, or what is at ${item}. Otherwise
	 * there is none, and ${error} says why: FOB_EDEADLINE_EXCEEDED, FOB_EUNAVAILABLE, FOB_ECANCELLED, FOB_EINTERNAL.
	 * NULL: the call is synchronous, and its thread is or will be in transport_wait().
	 */
	void (*end)(struct call *call, int fault);
	struct fob_error error; /* ${reply} may use it too */

	/*
	 * ${reply} returned true for a part of the answer only: where there is no other server to ask, the answer stands.
	 */
	bool elsewhere;

	bool unanswered; /* an attempt was sent, and lost before its reply: what became of it is not known */

	/* The transport's. */
	bool sent; /* at least once */
	bool ended, waits;
	unsigned company; /* the most calls of a message that it may travel in */
	unsigned index;   /* in its message */
	unsigned tried;   /* servers that it was moved away from */
	uint32_t rest_ms;
	int64_t retry_until_ms; /* 0: the server has not said UNAVAILABLE yet */
	int64_t connect_by_ms;
	uint64_t number;
	int fault;
	struct link *link;
	struct message *message;    /* NULL: it waits in the queue */
	TAILQ_ENTRY(call) in_queue; /* or among those that have ended */
	TAILQ_ENTRY(call) in_live;
	TAILQ_ENTRY(call) in_waiters; /* or among those to be woken */
	uint32_t promised;            /* bits of ${wake} that somebody is about to set */
	uint32_t slot;                /* of the words that threads sleep on */
	_Atomic uint32_t wake;
	struct message own; /* when it travels alone */
	struct call *self;
};

/* The monotonic clock that deadlines are on. */
int64_t transport_now_ms(void);

/*
 * transport_new(options, transport, error):
 * Start connecting to the servers that ${options}, which have been checked, name.
 * Returns: 0; FOB_EINVALID_ARGUMENT for TLS files that cannot be used; FOB_EINTERNAL.
 */
int transport_new(const struct fob_options *options, struct transport **transport, struct fob_error *error);

/* Whether ${a} and ${b} have servers of their own, so that a batch must be split between them. */
bool transport_is_split(const struct transport *transport, enum fob_environment a, enum fob_environment b);

/*
 * transport_submit(transport, call, number):
 * Take ${call}. If it is asynchronous, ${call}->end is called exactly once: on the transport's thread, in
 * transport_dispatch(), or in transport_free(), and never from within this function. If it is synchronous,
 * transport_wait() must follow.
 * *${number}, if not NULL, is what transport_cancel() takes; it is written before ${call} can end.
 * Threads:   any, ${reply} and ${end} included.
 * Returns:   0; otherwise ${call} was not taken and its error is filled: FOB_ERESOURCE_EXHAUSTED, the queue is full;
 *            FOB_EINVALID_ARGUMENT, the message is too large; FOB_EINTERNAL, out of memory or no thread;
 *            FOB_EUNAVAILABLE, not connected and told to fail fast; FOB_EDEADLINE_EXCEEDED, the deadline has passed;
 *            FOB_EFAILED_PRECONDITION, synchronous in a callback or in loop mode; FOB_ECANCELLED.
 */
int transport_submit(struct transport *transport, struct call *call, uint64_t *number);

/*
 * transport_wait(transport, call):
 * Wait until ${call}, a synchronous one that was taken, has ended; write and read for it and for others meanwhile.
 * Returns: what ${call}->end would have been given. The call is the caller's again.
 */
int transport_wait(struct transport *transport, struct call *call);

/* transport_submit() and transport_wait(). */
int transport_run(struct transport *transport, struct call *call);

/*
 * transport_cancel(transport, number):
 * End the call with that number with FOB_ECANCELLED, unless it has ended or its answer is being read. Its ${end} is
 * called where it always is, not from here.
 * Returns: whether it will end with FOB_ECANCELLED.
 */
bool transport_cancel(struct transport *transport, uint64_t number);

/*
 * Loop mode. transport_fd() is readable when transport_dispatch() has something to do, deadlines included; it is -1
 * without loop mode. transport_dispatch() does what can be done without waiting, and calls ${end}s and the state
 * callback from within.
 * Threads: one at a time in transport_dispatch(); not from within a callback.
 * Returns: how many callbacks were called; FOB_EFAILED_PRECONDITION without loop mode or within a callback.
 */
int transport_fd(const struct transport *transport);
int transport_dispatch(struct transport *transport);

/*
 * transport_free(transport):
 * End every call with FOB_ECANCELLED, wait until the last ${end} has returned, close.
 * Threads: none may be in another function of this transport; not from within ${end}.
 */
void transport_free(struct transport *transport);

#endif
