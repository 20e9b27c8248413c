/*
 * sp.h - SP request/reply as bytes: the greeting, the frames, and the request id that leads each payload.
 * Pure: no socket, no memory, no clock. fobd and libfob both speak the wire through this file.
 *
 * The rules are those of nng and nanomsg: sp-tcp-mapping-01, sp-ipc-mapping (nanomsg's rfc/ folder) and
 * sp-request-reply-01. proto/PROTOCOL.md, sections 1 and 2, has them for Fob, with the bytes of an exchange.
 */
#ifndef PROTO_SP_H
#define PROTO_SP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sp_protocol { SP_REQ = 0x0030, SP_REP = 0x0031 };

/* ipc has one byte more in front of a frame's length: 0x01, "a message in the stream". */
enum sp_framing { SP_TCP, SP_IPC };

#define SP_GREETING_LEN 8
#define SP_ID_LEN 4
#define SP_HEADER_MAX (1 + 8 + SP_ID_LEN) /* what sp_header() writes at most */
#define SP_ID_BIT UINT32_C(0x80000000)    /* set in every request id: it ends the stack of hops */

/* The 8 bytes that each end sends first. */
void sp_greeting(enum sp_protocol own, uint8_t out[SP_GREETING_LEN]);

/*
 * sp_greeting_ok(bytes, len, peer):
 * Returns: whether the first ${len} <= SP_GREETING_LEN bytes may be the beginning of the greeting of an end that speaks
 *          ${peer}. With all of them: whether they are it. With ${len} 0, ${bytes} may be NULL.
 */
bool sp_greeting_ok(const uint8_t *bytes, size_t len, enum sp_protocol peer);

/*
 * sp_header(framing, id, body_len, out):
 * Write what precedes ${body_len} bytes of body. ${id} has SP_ID_BIT set.
 * Returns: the number of bytes at ${out}: 12 for tcp, 13 for ipc.
 */
size_t sp_header(enum sp_framing framing, uint32_t id, size_t body_len, uint8_t out[SP_HEADER_MAX]);

enum sp_result {
	SP_INCOMPLETE, /* read more */
	SP_MESSAGE,
	SP_NO_ID, /* a whole frame whose payload does not begin with a request id: to be passed over without a reply */
	SP_BROKEN /* not SP, too long, or too short for an id: close the connection */
};

struct sp_frame {
	size_t size; /* the whole frame's, header included. 0 while it is not known */
	/* Of SP_MESSAGE only. */
	uint32_t id;         /* with SP_ID_BIT */
	const uint8_t *body; /* within the bytes that were given */
	size_t body_len;
};

/*
 * sp_parse(framing, payload_max, bytes, len, frame):
 * Read the frame at the beginning of ${bytes}. ${payload_max} is the most that a payload may have, its id included; a
 * longer one is SP_BROKEN as soon as its length is there. With ${len} 0, ${bytes} may be NULL.
 * Ownership: ${frame}->body borrows from ${bytes}.
 */
enum sp_result
sp_parse(enum sp_framing framing, size_t payload_max, const uint8_t *bytes, size_t len, struct sp_frame *frame);

#endif
