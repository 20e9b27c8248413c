/*
 * wire.c - mutations after which a protobuf message is still one (see fuzz.h): a field is changed, removed, repeated or
 * renumbered, and the lengths around it are corrected. Knows no .proto: bytes that parse as a message are taken for one.
 * https://protobuf.dev/programming-guides/encoding/
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define FIELDS_MAX 128
#define DEPTH_MAX 4
#define PIECE_MAX 65536

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };

struct field {
	size_t at, len; /* all of it */
	size_t head;    /* its bytes before the payload: the tag and, of WIRE_LEN, the length */
	uint64_t number;
	enum wire_type type;
};

uint32_t
fuzz_below(struct fuzz_random *r, uint32_t n)
{
	/* splitmix64, https://prng.di.unimi.it/splitmix64.c */
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static size_t
get_varint(const uint8_t *p, size_t left, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < left && i < 10; i++) {
		*out |= (uint64_t)(p[i] & 0x7f) << (7 * i);
		if (p[i] < 0x80)
			return i + 1;
	}
	return 0;
}

static size_t
put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)v | 0x80;
	p[n++] = (uint8_t)v;
	return n;
}

/* Returns false when there is no complete field at ${at}. */
static bool
read_field(const uint8_t *p, size_t len, size_t at, struct field *f)
{
	uint64_t tag, payload;
	size_t n;

	if ((n = get_varint(p + at, len - at, &tag)) == 0 || tag >> 3 == 0)
		return false;
	*f = (struct field){ .at = at, .head = n, .number = tag >> 3, .type = (enum wire_type)(tag & 7) };
	switch (f->type) {
	case WIRE_VARINT:
		payload = get_varint(p + at + n, len - at - n, &tag);
		break;
	case WIRE_64:
		payload = 8;
		break;
	case WIRE_32:
		payload = 4;
		break;
	case WIRE_LEN:
		n = get_varint(p + at + n, len - at - n, &payload);
		f->head += n;
		if (n == 0)
			return false;
		break;
	default:
		return false;
	}
	if ((payload == 0 && f->type != WIRE_LEN) || payload > len - at - f->head)
		return false;
	f->len = f->head + payload;
	return true;
}

static size_t
read_fields(const uint8_t *p, size_t len, struct field fields[FIELDS_MAX])
{
	size_t n = 0;

	for (size_t at = 0; at < len && n < FIELDS_MAX; at += fields[n++].len)
		if (!read_field(p, len, at, &fields[n]))
			return 0;
	return n;
}

/* Replace ${old_len} bytes at ${at} by ${new_len} others. Does nothing if the result would not fit. */
static size_t
splice(uint8_t *p, size_t len, size_t max, size_t at, size_t old_len, const uint8_t *new, size_t new_len)
{
	if (len - old_len + new_len > max)
		return len;
	memmove(p + at + new_len, p + at + old_len, len - at - old_len);
	memcpy(p + at, new, new_len);
	return len - old_len + new_len;
}

static size_t
put_field(uint8_t *to, uint64_t number, enum wire_type type, const uint8_t *payload, size_t len)
{
	size_t n = put_varint(to, number << 3 | type);

	if (type == WIRE_LEN)
		n += put_varint(to + n, len);
	memcpy(to + n, payload, len);
	return n + len;
}

static uint64_t
a_number(struct fuzz_random *r)
{
	static const uint64_t edges[] = { 0, 1, 2, 3, 4, 7, 8, 9, 64, 65, 100, 256, 1000, 1001, 60000, 60001, 86400,
		86401, INT32_MAX, (uint64_t)INT32_MAX + 1, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX };

	return fuzz_below(r, 4) == 0 ? fuzz_below(r, 1000) : edges[fuzz_below(r, sizeof(edges) / sizeof(edges[0]))];
}

static size_t mutate(uint8_t *p, size_t len, size_t max, unsigned depth, struct fuzz_random *r);

static size_t
change_field(uint8_t *p, size_t len, size_t max, const struct field *f, unsigned depth, struct fuzz_random *r)
{
	static uint8_t pieces[DEPTH_MAX + 1][2][PIECE_MAX + 32];
	uint8_t *piece = pieces[depth][0], *whole = pieces[depth][1];
	size_t n = f->len - f->head, room = max - len + n;
	struct field inner[FIELDS_MAX];

	if (n > PIECE_MAX)
		return len;
	memcpy(piece, p + f->at + f->head, n);
	if (f->type == WIRE_VARINT)
		n = put_varint(piece, a_number(r));
	else if (f->type != WIRE_LEN)
		piece[fuzz_below(r, (uint32_t)n)] ^= (uint8_t)(1U << fuzz_below(r, 8));
	else if (depth < DEPTH_MAX && n > 0 && read_fields(piece, n, inner) > 0 && fuzz_below(r, 4) != 0)
		n = mutate(piece, n, room < PIECE_MAX ? room : PIECE_MAX, depth + 1, r);
	else
		n = LLVMFuzzerMutate(piece, n, room < PIECE_MAX ? room : PIECE_MAX);
	n = put_field(whole, f->number, f->type, piece, n);
	return splice(p, len, max, f->at, f->len, whole, n);
}

static size_t
mutate(uint8_t *p, size_t len, size_t max, unsigned depth, struct fuzz_random *r)
{
	static uint8_t copy[PIECE_MAX + 32];
	struct field fields[FIELDS_MAX], *f;
	size_t n = read_fields(p, len, fields);

	if (n == 0 || fuzz_below(r, 16) == 0)
		return max > 0 ? LLVMFuzzerMutate(p, len, max) : len;
	f = &fields[fuzz_below(r, (uint32_t)n)];
	switch (fuzz_below(r, 10)) {
	case 0:
		return splice(p, len, max, f->at, f->len, copy, 0);
	case 1:
		if (f->len > sizeof(copy))
			return len;
		memcpy(copy, p + f->at, f->len);
		return splice(p, len, max, fields[fuzz_below(r, (uint32_t)n)].at, 0, copy, f->len);
	case 2:
		if (f->len > PIECE_MAX)
			return len;
		n = put_field(copy, 1 + fuzz_below(r, 18), f->type, p + f->at + f->head, f->len - f->head);
		return splice(p, len, max, f->at, f->len, copy, n);
	case 3:
		n = put_varint(copy, (1 + fuzz_below(r, 18)) << 3 | WIRE_VARINT);
		n += put_varint(copy + n, a_number(r));
		return splice(p, len, max, f->at, 0, copy, n);
	default:
		return change_field(p, len, max, f, depth, r);
	}
}

size_t
wire_mutate(uint8_t *message, size_t len, size_t max, struct fuzz_random *r)
{
	return mutate(message, len, max, 0, r);
}
