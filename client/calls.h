/*
 * calls.h - the calls to one server, from when they are taken until they have ended: which wait, which are on the wire
 * and under what id, which rest. No socket, no lock, no clock: the caller holds the lock and says what time it is.
 *
 * Verifies that wait are put into messages together. What is said in transport.h of batches and rests is done here.
 */
#ifndef CLIENT_CALLS_H
#define CLIENT_CALLS_H

#include "proto/c/buffer.h"
#include "client/positions.h"
#include "client/transport.h"
#include "proto/c/sp.h"

enum calls_kind { CALLS_VERIFY, CALLS_OTHER, CALLS_CHANGE, CALLS_KINDS };

#define CALLS_SLOTS 256 /* messages on the wire: more than OPTIONS_IN_FLIGHT_MAX of each kind */

TAILQ_HEAD(message_list, message);

struct calls {
	unsigned in_flight; /* messages of each kind on the wire */
	unsigned queue_max; /* calls of each kind that wait, beyond those that there is room for on the wire */
	bool wait_for_more; /* whoever uses this is about to add calls: verifies need not go before them */

	struct call_list waiting[CALLS_KINDS]; /* the oldest first */
	unsigned n_waiting[CALLS_KINDS];
	struct message_list wire; /* the oldest first */
	unsigned on_wire[CALLS_KINDS];
	unsigned verifies; /* in the messages of CALLS_VERIFY that are on the wire */
	struct message_list resting;
	unsigned n_resting;
	struct message *slots[CALLS_SLOTS];
	uint8_t free_slots[CALLS_SLOTS];
	unsigned n_free_slots;
	uint32_t turn;         /* makes an id differ from the slot's last one */
	struct call_list live; /* asynchronous calls that have not ended */
	unsigned n_live;
	int64_t expire_at_ms; /* not later than what calls_expire() will find next */
	int64_t resume_at_ms; /* not later than the end of the next rest */

	struct positions *positions; /* what requests tell of them; NULL: nothing, unless it is set after calls_init() */

	unsigned servers; /* that there are; 1 unless it is set after calls_init() */
	bool move;        /* calls wait for the next server: its user goes there, and clears this */
	unsigned moves;   /* since ${moves_since_ms} */
	int64_t moves_since_ms;
};

void calls_init(struct calls *calls, unsigned in_flight, unsigned queue_max);

/* Whether the message with ${call}'s method and body is small enough. Returns: 0, or FOB_EINVALID_ARGUMENT. */
int calls_check_size(struct call *call);

/* Have ${call} wait for its turn. Returns: 0; FOB_ERESOURCE_EXHAUSTED, and its error is filled. */
int calls_add(struct calls *calls, struct call *call);

/*
 * calls_take(calls, framing, now_ms, out):
 * Append the frames of what is to go on the wire now.
 * Returns: how many of them are of verifies; -1 when out of memory, with what was appended before.
 */
int calls_take(struct calls *calls, enum sp_framing framing, int64_t now_ms, struct buffer *out);

/* What was appended has been handed to the connection, at least in part. */
void calls_sent(struct calls *calls);

/*
 * calls_answered(calls, id):
 * Take the message with that id off the wire. Its calls can end by calls_settle() only.
 * Returns: NULL: there is none, or nobody waits for it any more.
 */
struct message *calls_answered(struct calls *calls, uint32_t id);

/* Read its reply. Without the lock: the message is the caller's between these two. */
void calls_read(struct message *message, const uint8_t *reply, size_t len);

/*
 * calls_settle(calls, message, now_ms, ended):
 * The reply was read: append the calls that have ended to ${ended}, with ${fault} set; the others rest, or wait to be
 * sent again apart.
 */
void calls_settle(struct calls *calls, struct message *message, int64_t now_ms, struct call_list *ended);

/* The connection is lost: what was on the wire waits again, before the others, and all for a connection. */
void calls_lost(struct calls *calls, int64_t connect_by_ms);

/* Those whose rest is over by ${now_ms} wait for their turn again. */
void calls_resume(struct calls *calls, int64_t now_ms);

/*
 * calls_expire(calls, connected, now_ms, late):
 * Take out the asynchronous calls whose deadline has passed, and of all that wait those that do so for a connection for
 * too long, and append them to ${late}.
 */
void calls_expire(struct calls *calls, bool connected, int64_t now_ms, struct call_list *late);

/* Take out every call that waits, or all that have not ended and whose reply is not being read. */
void calls_take_waiting(struct calls *calls, struct call_list *out);
void calls_take_all(struct calls *calls, struct call_list *out);

/* Take ${call} out. Returns: false when its reply is being read. */
bool calls_remove(struct calls *calls, struct call *call);

/* Bookkeeping of ${call}'s end, which the caller does. */
void calls_ended(struct calls *calls, struct call *call);

#endif
