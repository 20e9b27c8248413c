/* SP's greeting, frames and request ids: the document's bytes, both framings, every split, the limits, and what is not
 * SP. Each parse has a copy of exactly its bytes, so that a sanitizer sees a read behind their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/c/sp.h"

#define DOCUMENT "proto/PROTOCOL.md" /* tests are run in the tree's root */
#define MAX 262144
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the document ---- */

/* The bytes of the block "```hex NAME". Returns how many. */
static size_t
golden(const char *name, uint8_t *out, size_t max)
{
	char line[512], wanted[64];
	FILE *f = fopen(DOCUMENT, "r");
	bool inside = false;
	size_t len = 0;

	assert_non_null(f);
	snprintf(wanted, sizeof(wanted), "```hex %s\n", name);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (!inside) {
			inside = strcmp(line, wanted) == 0;
			continue;
		}
		if (strncmp(line, "```", 3) == 0)
			break;
		line[strcspn(line, "#\n")] = '\0';
		for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
			assert_true(len < max);
			out[len++] = (uint8_t)strtoul(word, NULL, 16);
		}
	}
	fclose(f);
	if (len == 0)
		fail_msg("%s has no block %s", DOCUMENT, name);
	return len;
}

static enum sp_result
parse(enum sp_framing framing, size_t max, const void *bytes, size_t len, struct sp_frame *frame)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	enum sp_result result;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(frame, 0xa5, sizeof(*frame));
	result = sp_parse(framing, max, copy, len, frame);
	if (frame->body != NULL) /* within ${bytes}, for the caller */
		frame->body = (const uint8_t *)bytes + (frame->body - copy);
	free(copy);
	return result;
}

static void
test_the_documents_greetings(void **state)
{
	uint8_t client[64], server[64], made[SP_GREETING_LEN];

	(void)state;
	assert_int_equal(golden("handshake-client", client, sizeof(client)), SP_GREETING_LEN);
	assert_int_equal(golden("handshake-server", server, sizeof(server)), SP_GREETING_LEN);
	sp_greeting(SP_REQ, made);
	assert_memory_equal(made, client, sizeof(made));
	sp_greeting(SP_REP, made);
	assert_memory_equal(made, server, sizeof(made));
	for (size_t len = 0; len <= SP_GREETING_LEN; len++) {
		assert_true(sp_greeting_ok(client, len, SP_REQ));
		assert_true(sp_greeting_ok(server, len, SP_REP));
		/* They differ in the sixth byte. */
		assert_int_equal(sp_greeting_ok(client, len, SP_REP), len < 6);
		assert_int_equal(sp_greeting_ok(server, len, SP_REQ), len < 6);
	}
	assert_true(sp_greeting_ok(NULL, 0, SP_REQ)); /* nothing was read yet, nor a buffer made */
}

static void
test_each_byte_of_a_greeting_counts(void **state)
{
	uint8_t bytes[SP_GREETING_LEN];

	(void)state;
	for (size_t at = 0; at < sizeof(bytes); at++)
		for (unsigned other = 1; other < 256; other++) {
			sp_greeting(SP_REQ, bytes);
			bytes[at] ^= (uint8_t)other;
			for (size_t len = 0; len <= sizeof(bytes); len++)
				assert_int_equal(sp_greeting_ok(bytes, len, SP_REQ), len <= at);
		}
}

/* A frame of tcp as one of ipc. */
static size_t
as_ipc(const uint8_t *tcp, size_t len, uint8_t *ipc)
{
	ipc[0] = 1;
	memcpy(ipc + 1, tcp, len);
	return len + 1;
}

/* ${bytes} is one frame and nothing else: what each part of it, all of it, and all and more give. */
static void
whole_and_in_parts(enum sp_framing framing, uint8_t *bytes, size_t len, uint32_t id)
{
	size_t head = framing == SP_IPC ? 9 : 8;
	uint8_t made[SP_HEADER_MAX];
	struct sp_frame frame;

	for (size_t part = 0; part < len; part++) {
		assert_int_equal(parse(framing, MAX, bytes, part, &frame), SP_INCOMPLETE);
		assert_int_equal(frame.size, part < head ? 0 : len);
		assert_null(frame.body);
	}
	for (size_t more = 0; more < 16; more++) {
		memset(bytes + len, 0xff, more);
		assert_int_equal(parse(framing, MAX, bytes, len + more, &frame), SP_MESSAGE);
		assert_int_equal(frame.size, len);
		assert_int_equal(frame.id, id);
		assert_ptr_equal(frame.body, bytes + head + SP_ID_LEN);
		assert_int_equal(frame.body_len, len - head - SP_ID_LEN);
	}
	assert_int_equal(sp_header(framing, id, frame.body_len, made), head + SP_ID_LEN);
	assert_memory_equal(made, bytes, head + SP_ID_LEN);
}

static void
test_the_documents_frames(void **state)
{
	static const struct {
		const char *name;
		uint32_t id;
	} frames[] = { { "verify-unknown-request", 0x80000001 }, { "verify-unknown-reply", 0x80000001 },
		{ "roll-request", 0x80000002 }, { "roll-reply", 0x80000002 }, { "verify-old-request", 0x80000003 },
		{ "verify-old-reply", 0x80000003 }, { "error-request", 0x80000004 }, { "error-reply", 0x80000004 } };
	uint8_t tcp[512], ipc[512];
	size_t len;

	(void)state;
	for (size_t i = 0; i < LENGTH(frames); i++) {
		len = golden(frames[i].name, tcp, sizeof(tcp) - 16);
		whole_and_in_parts(SP_IPC, ipc, as_ipc(tcp, len, ipc), frames[i].id);
		whole_and_in_parts(SP_TCP, tcp, len, frames[i].id);
	}
}

/* Many frames in one stream are the same frames wherever it is cut. */
static void
test_a_stream_cut_anywhere(void **state)
{
	static const char *const names[] = { "verify-unknown-request", "roll-request", "verify-old-request",
		"error-request" };
	uint8_t stream[1024], tcp[512];
	size_t len = 0, sizes[LENGTH(names)];
	struct sp_frame frame;

	(void)state;
	for (size_t i = 0; i < LENGTH(names); i++) {
		sizes[i] = as_ipc(tcp, golden(names[i], tcp, sizeof(tcp)), stream + len);
		len += sizes[i];
	}
	for (size_t cut = 0; cut <= len; cut++) {
		size_t at = 0, seen = 0, there = cut;

		for (int part = 0; part < 2; part++, there = len)
			while (parse(SP_IPC, MAX, stream + at, there - at, &frame) == SP_MESSAGE) {
				assert_true(seen < LENGTH(names));
				assert_int_equal(frame.size, sizes[seen]);
				assert_int_equal(frame.id, 0x80000001 + seen);
				at += frame.size;
				seen++;
			}
		assert_int_equal(seen, LENGTH(names));
		assert_int_equal(at, len);
	}
}

/* ---- lengths, ids, and what is not SP ---- */

#define ID "\x80\x00\x00\x01"

static const struct {
	const char *bytes;
	size_t len, max;
	enum sp_result result;
	size_t size, body_len;
} cases[] = {
	/* tcp's; for ipc the same with a byte in front */
	{ "", 0, MAX, SP_INCOMPLETE, 0, 0 },
	{ "\0\0\0\0\0\0\0", 7, MAX, SP_INCOMPLETE, 0, 0 },
	/* Too short for an id: broken as soon as the length is there. */
	{ "\0\0\0\0\0\0\0\0", 8, MAX, SP_BROKEN, 0, 0 },
	{ "\0\0\0\0\0\0\0\1", 8, MAX, SP_BROKEN, 0, 0 },
	{ "\0\0\0\0\0\0\0\3\x80\0\0", 11, MAX, SP_BROKEN, 0, 0 },
	/* An id alone is a message of no bytes. */
	{ "\0\0\0\0\0\0\0\4" ID, 12, MAX, SP_MESSAGE, 12, 0 },
	{ "\0\0\0\0\0\0\0\4\xff\xff\xff\xff", 12, MAX, SP_MESSAGE, 12, 0 },
	{ "\0\0\0\0\0\0\0\4\x80\0\0\0", 12, MAX, SP_MESSAGE, 12, 0 },
	{ "\0\0\0\0\0\0\0\5" ID "x", 13, MAX, SP_MESSAGE, 13, 1 },
	{ "\0\0\0\0\0\0\0\5" ID, 12, MAX, SP_INCOMPLETE, 13, 0 },
	/* No id: the frame is passed over, and its size is known. */
	{ "\0\0\0\0\0\0\0\4\x7f\xff\xff\xff", 12, MAX, SP_NO_ID, 12, 0 },
	{ "\0\0\0\0\0\0\0\4\0\0\0\0", 12, MAX, SP_NO_ID, 12, 0 },
	{ "\0\0\0\0\0\0\0\x8\0\0\0\1" ID, 16, MAX, SP_NO_ID, 16, 0 },
	{ "\0\0\0\0\0\0\0\x8\0\0\0\1" ID, 15, MAX, SP_INCOMPLETE, 16, 0 },
	/* At the limit and beyond it, from the length alone. */
	{ "\0\0\0\0\0\x4\0\0", 8, MAX, SP_INCOMPLETE, MAX + 8, 0 },
	{ "\0\0\0\0\0\x4\0\1", 8, MAX, SP_BROKEN, 0, 0 },
	{ "\0\0\0\0\0\0\0\4" ID, 12, 4, SP_MESSAGE, 12, 0 },
	{ "\0\0\0\0\0\0\0\5", 8, 4, SP_BROKEN, 0, 0 },
	/* Lengths that would overflow a sum, or a signed number. */
	{ "\0\0\0\1\0\0\0\4" ID, 12, MAX, SP_BROKEN, 0, 0 },
	{ "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, MAX, SP_BROKEN, 0, 0 },
	{ "\x80\0\0\0\0\0\0\4" ID, 12, MAX, SP_BROKEN, 0, 0 },
	{ "\xff\xff\xff\xff\xff\xff\xff\xf8", 8, MAX, SP_BROKEN, 0, 0 },
	{ "\xff\xff\xff\xff\xff\xff\xff\xff" ID, 12, MAX, SP_BROKEN, 0, 0 },
	/* What other protocols say. */
	{ "GET / HTTP/1.1\r\n\r\n", 18, MAX, SP_BROKEN, 0, 0 },
	{ "\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03", 11, MAX, SP_BROKEN, 0, 0 },
	{ "PRI * HTTP/2.0", 14, MAX, SP_BROKEN, 0, 0 },
};

static void
check_case(size_t i, enum sp_framing framing, const uint8_t *bytes, size_t len)
{
	size_t more = framing == SP_IPC ? 1 : 0, body_at = 8 + more + SP_ID_LEN;
	enum sp_result result;
	struct sp_frame frame;

	result = parse(framing, cases[i].max, bytes, len, &frame);
	if (result != cases[i].result)
		fail_msg("case %zu, framing %d: %d", i, framing, result);
	assert_int_equal(frame.size, cases[i].size > 0 ? cases[i].size + more : 0);
	assert_int_equal(frame.body_len, cases[i].body_len);
	if (result != SP_MESSAGE) {
		assert_null(frame.body);
		return;
	}
	assert_ptr_equal(frame.body, bytes + body_at);
	assert_int_equal(frame.id & SP_ID_BIT, SP_ID_BIT);
}

static void
test_lengths_and_ids(void **state)
{
	uint8_t ipc[64];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const uint8_t *tcp = (const uint8_t *)cases[i].bytes;

		check_case(i, SP_TCP, tcp, cases[i].len);
		check_case(i, SP_IPC, ipc, as_ipc(tcp, cases[i].len, ipc));
	}
}

static void
test_ipcs_first_byte(void **state)
{
	struct sp_frame frame;
	uint8_t byte;

	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		byte = (uint8_t)first;
		assert_int_equal(parse(SP_IPC, MAX, &byte, 1, &frame), first == 1 ? SP_INCOMPLETE : SP_BROKEN);
		assert_int_equal(parse(SP_TCP, MAX, &byte, 1, &frame), SP_INCOMPLETE);
	}
	assert_int_equal(sp_parse(SP_IPC, MAX, NULL, 0, &frame), SP_INCOMPLETE);
	assert_int_equal(sp_parse(SP_TCP, MAX, NULL, 0, &frame), SP_INCOMPLETE);
}

static void
test_what_is_written_is_read(void **state)
{
	static const size_t lengths[] = { 0, 1, 3, 4, 255, 256, 8192, 65535, 65536, MAX - SP_ID_LEN };
	static const uint32_t ids[] = { 0x80000000, 0x80000001, 0xdeadbeef, 0xffffffff };
	uint8_t *bytes = calloc(1, SP_HEADER_MAX + MAX);
	struct sp_frame frame;

	(void)state;
	assert_non_null(bytes);
	for (int framing = SP_TCP; framing <= SP_IPC; framing++)
		for (size_t i = 0; i < LENGTH(lengths); i++)
			for (size_t j = 0; j < LENGTH(ids); j++) {
				size_t head = sp_header((enum sp_framing)framing, ids[j], lengths[i], bytes);

				assert_int_equal(head, framing == SP_IPC ? 13 : 12);
				assert_int_equal(
				    parse((enum sp_framing)framing, MAX, bytes, head + lengths[i], &frame), SP_MESSAGE);
				assert_int_equal(frame.id, ids[j]);
				assert_int_equal(frame.body_len, lengths[i]);
				assert_int_equal(frame.size, head + lengths[i]);
				assert_int_equal(
				    parse((enum sp_framing)framing, lengths[i] + SP_ID_LEN - 1, bytes, head, &frame),
				    SP_BROKEN);
			}
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_the_documents_greetings),
		cmocka_unit_test(test_each_byte_of_a_greeting_counts), cmocka_unit_test(test_the_documents_frames),
		cmocka_unit_test(test_a_stream_cut_anywhere), cmocka_unit_test(test_lengths_and_ids),
		cmocka_unit_test(test_ipcs_first_byte), cmocka_unit_test(test_what_is_written_is_read) };

	return cmocka_run_group_tests_name("proto/c/sp", tests, NULL, NULL);
}
