/*
 * sp.c - SP's greeting, frames and request ids (see sp.h). Bytes in, bytes out.
 */
#include "proto/c/sp.h"

#include <string.h>

#define IPC_MESSAGE 0x01
#define LENGTH_LEN 8

static void
put_be(uint8_t *to, size_t n, uint64_t value)
{
	for (size_t i = n; i-- > 0; value >>= 8)
		to[i] = (uint8_t)value;
}

static uint64_t
get_be(const uint8_t *from, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | from[i];
	return value;
}

static size_t
prefix_len(enum sp_framing framing)
{
	return framing == SP_IPC ? 1 : 0;
}

void
sp_greeting(enum sp_protocol own, uint8_t out[SP_GREETING_LEN])
{
	const uint8_t bytes[SP_GREETING_LEN] = { 0, 'S', 'P', 0, (uint8_t)(own >> 8), (uint8_t)own, 0, 0 };

	memcpy(out, bytes, sizeof(bytes));
}

bool
sp_greeting_ok(const uint8_t *bytes, size_t len, enum sp_protocol peer)
{
	uint8_t expected[SP_GREETING_LEN];

	sp_greeting(peer, expected);
	return len == 0 || memcmp(bytes, expected, len) == 0; /* memcmp() may not be given a NULL, even for 0 bytes */
}

size_t
sp_header(enum sp_framing framing, uint32_t id, size_t body_len, uint8_t out[SP_HEADER_MAX])
{
	size_t at = prefix_len(framing);

	if (framing == SP_IPC)
		out[0] = IPC_MESSAGE;
	put_be(out + at, LENGTH_LEN, (uint64_t)body_len + SP_ID_LEN);
	put_be(out + at + LENGTH_LEN, SP_ID_LEN, id);
	return at + LENGTH_LEN + SP_ID_LEN;
}

enum sp_result
sp_parse(enum sp_framing framing, size_t payload_max, const uint8_t *bytes, size_t len, struct sp_frame *frame)
{
	size_t header = prefix_len(framing) + LENGTH_LEN;
	const uint8_t *payload;
	uint64_t payload_len;

	*frame = (struct sp_frame){ 0 };
	if (framing == SP_IPC && len > 0 && bytes[0] != IPC_MESSAGE)
		return SP_BROKEN;
	if (len < header)
		return SP_INCOMPLETE;
	payload = bytes + header;
	payload_len = get_be(payload - LENGTH_LEN, LENGTH_LEN);
	if (payload_len > payload_max || payload_len < SP_ID_LEN)
		return SP_BROKEN;
	frame->size = header + (size_t)payload_len;
	if (len < frame->size)
		return SP_INCOMPLETE;
	frame->id = (uint32_t)get_be(payload, SP_ID_LEN);
	if ((frame->id & SP_ID_BIT) == 0)
		return SP_NO_ID;
	frame->body = payload + SP_ID_LEN;
	frame->body_len = (size_t)payload_len - SP_ID_LEN;
	return SP_MESSAGE;
}
