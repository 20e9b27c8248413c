/*
 * fuzz_sp.c - sp_parse() and sp_greeting_ok() on any bytes. The first byte chooses the framing and the longest payload;
 * the rest is a stream. Fed by libFuzzer or replay.c; calls proto/c/sp.c. Touches nothing outside of memory.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/c/sp.h"
#include "tests/fuzz/fuzz.h"

#define PARTS_MAX 512 /* cuts of one frame that are tried one by one */

static const size_t payload_max[] = { 262144, 4, 5, 64, 65540, 1000, 1U << 20, SIZE_MAX / 2 };

/* Exactly ${len} bytes, so that a read behind them is seen. The body is then relative to ${bytes}. */
static enum sp_result
parse(enum sp_framing framing, size_t max, const uint8_t *bytes, size_t len, struct sp_frame *frame)
{
	uint8_t *copy = fuzz_copy(bytes, len);
	enum sp_result result;

	memset(frame, 0xa5, sizeof(*frame));
	result = sp_parse(framing, max, copy, len, frame);
	if (frame->body != NULL)
		frame->body = bytes + (frame->body - copy);
	free(copy);
	return result;
}

static void
check_message(enum sp_framing framing, const uint8_t *bytes, size_t len, const struct sp_frame *frame)
{
	uint8_t header[SP_HEADER_MAX];
	size_t head = sp_header(framing, frame->id, frame->body_len, header);

	FUZZ_CHECK((frame->id & SP_ID_BIT) != 0, "a message whose id ends no stack: %x", frame->id);
	FUZZ_CHECK(frame->size == head + frame->body_len && frame->size <= len,
	    "a frame of %zu bytes, a body of %zu, of %zu", frame->size, frame->body_len, len);
	FUZZ_CHECK(frame->body == bytes + head, "the body is not behind the header");
	FUZZ_CHECK(memcmp(bytes, header, head) == 0, "sp_header() writes another header than was read");
}

/* What the first frame is says its end alone: each shorter part is incomplete, or is already what the whole is. */
static void
check_parts(enum sp_framing framing, size_t max, const uint8_t *bytes, size_t len)
{
	struct sp_frame whole, part;
	enum sp_result result = parse(framing, max, bytes, len, &whole), before = SP_INCOMPLETE, now;
	size_t end = result == SP_MESSAGE || result == SP_NO_ID ? whole.size : len, size = 0;

	for (size_t i = 0; i <= end; i += end - i > PARTS_MAX ? (end - i) / 2 : 1) {
		now = parse(framing, max, bytes, i, &part);
		FUZZ_CHECK(
		    before == SP_INCOMPLETE || now == before, "%d with fewer bytes, %d with %zu", before, now, i);
		FUZZ_CHECK(size == 0 || part.size == size, "the size was %zu, and is %zu", size, part.size);
		FUZZ_CHECK(
		    now != SP_INCOMPLETE || part.size == 0 || part.size > i, "all %zu bytes are there", part.size);
		FUZZ_CHECK((now != SP_MESSAGE && now != SP_NO_ID) || i == end, "a frame of %zu bytes is whole with %zu",
		    end, i);
		FUZZ_CHECK(now != SP_BROKEN || part.size == 0, "broken, and has a size");
		before = now;
		size = part.size;
	}
	FUZZ_CHECK(before == result, "%d in parts, %d at once", before, result);
}

static void
walk(enum sp_framing framing, size_t max, const uint8_t *bytes, size_t len)
{
	struct sp_frame frame;
	enum sp_result result;

	for (;;) {
		check_parts(framing, max, bytes, len);
		result = parse(framing, max, bytes, len, &frame);
		if (result == SP_MESSAGE)
			check_message(framing, bytes, len, &frame);
		else
			FUZZ_CHECK(frame.body == NULL && frame.body_len == 0, "no message, and it has a body");
		if (result == SP_INCOMPLETE || result == SP_BROKEN)
			return;
		FUZZ_CHECK(
		    frame.size >= 8 + SP_ID_LEN && frame.size <= len, "a frame of %zu bytes, of %zu", frame.size, len);
		bytes += frame.size;
		len -= frame.size;
	}
}

static void
check_greeting(const uint8_t *bytes, size_t len, enum sp_protocol peer)
{
	uint8_t greeting[SP_GREETING_LEN];
	size_t same = 0;

	sp_greeting(peer, greeting);
	while (same < len && same < SP_GREETING_LEN && bytes[same] == greeting[same])
		same++;
	for (size_t i = 0; i <= len && i <= SP_GREETING_LEN; i++) {
		uint8_t *copy = fuzz_copy(bytes, i);

		FUZZ_CHECK(sp_greeting_ok(copy, i, peer) == (i <= same), "%zu bytes of a greeting that is one for %zu",
		    i, same);
		free(copy);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[1];
	enum sp_framing framing = size > 0 && (data[0] & 1) != 0 ? SP_IPC : SP_TCP;
	size_t max = payload_max[size > 0 ? data[0] >> 1 & 7 : 0];

	data = size > 0 ? data + 1 : none;
	size -= size > 0;
	check_greeting(data, size, SP_REQ);
	check_greeting(data, size, SP_REP);
	walk(framing, max, data, size);
	return 0;
}
