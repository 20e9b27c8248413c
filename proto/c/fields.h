/*
 * fields.h - the fields of a protobuf message, read and written by hand, for the few messages that are so frequent that
 * protobuf-c's way through descriptors costs more than the work itself: https://protobuf.dev/programming-guides/encoding/
 *
 * What is read must have the usual form, which is what every protobuf library writes: the fields in the order of their
 * numbers, each at most once, each of its own type, and none that is unknown. A message of another form is `odd`, and is left
 * to protobuf-c. Tags are of one byte: field numbers to 15.
 */
#ifndef FIELDS_H
#define FIELDS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { FIELD_VARINT = 0, FIELD_FIXED64 = 1, FIELD_BYTES = 2 };

#define FIELD_TAG(number, type) ((number) << 3 | (type))
#define FIELD_NUMBER_MAX 11 /* bytes of a number with its tag */
#define FIELD_HEAD_MAX 6    /* bytes of a tag and a length of 32 bits */

/* ---- reading ---- */

struct fields {
	const uint8_t *p, *end;
	bool odd;
};

static inline struct fields
fields_of(const uint8_t *bytes, size_t len)
{
	/* Of an empty field ${bytes} may be NULL, to which nothing may be added. */
	return (struct fields){ .p = bytes, .end = len > 0 ? bytes + len : bytes };
}

/* Is a field with this tag next? Then its tag is passed. */
static inline bool
fields_next_is(struct fields *f, uint8_t tag)
{
	if (f->p == f->end || *f->p != tag)
		return false;
	f->p++;
	return true;
}

/* Of at most ${bytes} bytes; a longer one is odd. */
static inline uint64_t
fields_varint(struct fields *f, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 7 * bytes && f->p < f->end; shift += 7) {
		uint8_t byte = *f->p++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return v;
	}
	f->odd = true;
	return 0;
}

/* A number that fits 28 bits, as most do; and one of 63. */
static inline uint32_t
fields_number(struct fields *f)
{
	return (uint32_t)fields_varint(f, 4);
}

static inline int64_t
fields_number64(struct fields *f)
{
	return (int64_t)fields_varint(f, 9);
}

static inline uint64_t
fields_fixed64(struct fields *f)
{
	uint64_t v = 0;

	if (f->end - f->p < 8) {
		f->odd = true;
		return 0;
	}
	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)f->p[i] << 8 * i;
	f->p += 8;
	return v;
}

/* Borrows from the message. */
static inline ProtobufCBinaryData
fields_bytes(struct fields *f)
{
	size_t len = fields_number(f);
	/* protobuf-c's field is not const, but nobody writes to it. */
	ProtobufCBinaryData field = { .data = (uint8_t *)(uintptr_t)f->p, .len = len };

	if (f->odd || len > (size_t)(f->end - f->p)) {
		f->odd = true;
		return (ProtobufCBinaryData){ 0 };
	}
	f->p += len;
	return field;
}

/* All of it was read, and had the usual form. */
static inline bool
fields_are_usual(const struct fields *f)
{
	return !f->odd && f->p == f->end;
}

/* ---- writing: a field is left out when it is zero or empty. Each returns where the next one goes ---- */

static inline size_t
fields_varint_size(uint64_t v)
{
	size_t n = 1;

	while ((v >>= 7) != 0)
		n++;
	return n;
}

static inline uint8_t *
fields_put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* How many bytes a field of ${len} bytes takes. */
static inline size_t
fields_bytes_size(size_t len)
{
	return len == 0 ? 0 : 1 + fields_varint_size(len) + len;
}

/* What stands before ${len} bytes, also when there are none. */
static inline uint8_t *
fields_put_head(uint8_t *p, unsigned number, size_t len)
{
	*p++ = (uint8_t)FIELD_TAG(number, FIELD_BYTES);
	return fields_put_varint(p, len);
}

static inline uint8_t *
fields_put_number(uint8_t *p, unsigned number, uint64_t v)
{
	if (v == 0)
		return p;
	*p++ = (uint8_t)FIELD_TAG(number, FIELD_VARINT);
	return fields_put_varint(p, v);
}

static inline uint8_t *
fields_put_fixed64(uint8_t *p, unsigned number, uint64_t v)
{
	if (v == 0)
		return p;
	*p++ = (uint8_t)FIELD_TAG(number, FIELD_FIXED64);
	for (unsigned i = 0; i < 8; i++)
		*p++ = (uint8_t)(v >> 8 * i);
	return p;
}

static inline uint8_t *
fields_put_bytes(uint8_t *p, unsigned number, const ProtobufCBinaryData *field)
{
	if (field->len == 0)
		return p;
	p = fields_put_head(p, number, field->len);
	memcpy(p, field->data, field->len);
	return p + field->len;
}

#endif
