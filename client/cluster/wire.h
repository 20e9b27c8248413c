/*
 * wire.h - the asking end of SP with Fob's envelope, as bytes: requests on their way out, replies on their way in, in any
 * order. For the connection to fobd and for those to other nodes. Pure.
 */
#ifndef CLUSTER_WIRE_H
#define CLUSTER_WIRE_H

#include <stdbool.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "proto/c/buffer.h"
#include "proto/c/sp.h"

#define WIRE_KEPT 65536 /* of a buffer that is empty */

struct wire {
	enum sp_framing framing;
	size_t payload_max; /* of a reply, with its id */
	bool up;            /* the other end has greeted */
	uint32_t next_id;
	/* Unframed bytes that have come, and bytes to send: the caller fills the one and empties the other. */
	struct buffer in, out;
};

/* Of a new connection: ${out} has the greeting. Returns: 0; -1 when out of memory. */
int wire_begin(struct wire *wire);
/* The connection is gone, and with it all bytes. */
void wire_end(struct wire *wire);
/* The same, and give all memory back. */
void wire_fini(struct wire *wire);

/*
 * wire_request(wire, method, timeout_ms, body, len, id):
 * Append a request to what is to be sent. It may go behind the greeting, without waiting for the other end's.
 * Returns: 0, with the id that the reply will have at *${id}, which may be NULL; -1 when out of memory.
 */
int
wire_request(struct wire *wire, const char *method, uint32_t timeout_ms, const uint8_t *body, size_t len, uint32_t *id);

enum wire_event {
	WIRE_NOTHING, /* until more has come */
	WIRE_UP,      /* the other end has greeted */
	WIRE_REPLY,
	WIRE_BROKEN /* what has come is no SP, or memory is out: close the connection */
};

/*
 * wire_next(wire, id, reply):
 * Take the next event from what has come.
 * Ownership: *${reply}, set with WIRE_REPLY alone, is the caller's: free it as an unpacked message.
 */
enum wire_event wire_next(struct wire *wire, uint32_t *id, Fob__Rpc__V1__Response **reply);

#endif
