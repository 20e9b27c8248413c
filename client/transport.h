/*
 * transport.h - bytes to a server and bytes back, each call by its deadline, whatever becomes of the connection.
 * transport.c is the only client file that includes nng's headers, and says why each call has a connection of its own.
 *
 * A call is on the wire, or waits its turn in a bounded queue, or rests for a moment before it asks a server again that
 * said UNAVAILABLE. When the connection is lost the same body is sent again: reads change nothing, and mutations carry
 * their token. nng itself never resends.
 *
 * UNAVAILABLE from the server: it may be draining, with its successor about to listen, or the store of one environment
 * may have failed for good; the code is the same. So a call asks again, after 10 ms, 20 ms and so on up to 250 ms, for
 * at most TRANSPORT_RETRY_MS and its deadline. It does not occupy a place on the wire meanwhile, and no more calls than
 * there are places do so at once; the others hand the server's answer on immediately. So a failed environment costs the
 * other one nothing, and a restart is not noticed.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/codec.h"
#include "client/fob.h"

#define TRANSPORT_RETRY_MS 2000

struct transport;

/* One call, embedded in the caller's own struct. The first part is the caller's, set before transport_submit(). */
struct call {
	const char *method;
	struct codec_body body; /* stays as it is until ${end} */
	int64_t deadline_ms;    /* by transport_now_ms() */
	bool accepted;          /* counted by its sender: however many wait, it is taken */
	/* Read a reply, which is wiped afterwards. True: the server says UNAVAILABLE; the call may be sent again. */
	bool (*reply)(struct call *call, const uint8_t *reply, size_t len);
	/*
	 * Exactly once, after which ${call} is not touched. 0: the last reply stands. FOB_EDEADLINE_EXCEEDED,
	 * FOB_EUNAVAILABLE, FOB_ECANCELLED or FOB_EINTERNAL: there is none, and ${error} says why.
	 */
	void (*end)(struct call *call, int fault);
	struct fob_error error; /* ${reply} may use it too */

	/* The transport's. */
	struct call *next;
	int64_t resume_at_ms;   /* when it has rested */
	int64_t retry_until_ms; /* 0: the server has not said UNAVAILABLE yet */
	uint32_t rest_ms;
	_Atomic bool sent; /* wholly handed to a connection, at least once */
	bool unanswered;   /* an attempt was sent, and lost before its reply: what became of it is not known */
};

/* The monotonic clock that deadlines are on. */
int64_t transport_now_ms(void);

/*
 * transport_new(options, transport, error):
 * Start connecting to the server that ${options}, which have been checked, name.
 * Returns: 0; FOB_EINVALID_ARGUMENT for TLS files or an address that nng refuses; FOB_EINTERNAL.
 */
int transport_new(const struct fob_options *options, struct transport **transport, struct fob_error *error);

/*
 * transport_check_size(call):
 * Whether the message with ${call}'s method and body is small enough to be sent with any timeout; transport_submit()
 * asks this, too.
 * Returns: 0, or FOB_EINVALID_ARGUMENT, and ${call}'s error is filled.
 */
int transport_check_size(struct call *call);

/*
 * transport_submit(transport, call):
 * Take ${call}. ${call}->end is then called exactly once, on a thread of nng or of the transport, or from within
 * transport_free(), and never from within this function.
 * Threads:   any, ${reply} and ${end} included.
 * Returns:   0; otherwise ${call} was not taken and its error is filled: FOB_ERESOURCE_EXHAUSTED, the queue is full;
 *            FOB_EINVALID_ARGUMENT, the message is too large; FOB_EINTERNAL, out of memory; FOB_ECANCELLED; or the
 *            deadline has passed already.
 */
int transport_submit(struct transport *transport, struct call *call);

/*
 * transport_too_late(transport, sent, error):
 * What a call is told whose deadline has passed, ${sent} or not.
 * Returns: FOB_EDEADLINE_EXCEEDED, or FOB_EUNAVAILABLE for one that was not sent as there is no connection.
 */
int transport_too_late(struct transport *transport, bool sent, struct fob_error *error);

/*
 * transport_free(transport):
 * End every call with FOB_ECANCELLED, wait until the last ${end} has returned, close.
 * Threads:   none may be in transport_submit(); not from within ${end}.
 */
void transport_free(struct transport *transport);

#endif
