/*
 * numbers.c - numbers that do not fit their fields (see numbers.h). Allocates nothing. Types that contain themselves
 * would let a peer choose the depth of its recursion; there are none.
 */
#include "proto/c/numbers.h"

#include <string.h>

#define VARINT_MAX 10 /* bytes */
#define RUN_MIN 4     /* bytes with their high bit set, before a varint's last one: it is 2^28 or more */
#define HIGH_BITS UINT64_C(0x8080808080808080)

/* False when no varint in ${bytes}, whatever they mean, is so large that it may not fit. */
static bool
may_hold_large(const uint8_t *bytes, size_t len)
{
	unsigned run = 0;
	uint64_t word;

	for (size_t i = 0; i < len; i++) {
		if (run == 0 && len - i >= sizeof(word)) {
			memcpy(&word, bytes + i, sizeof(word));
			if ((word & HIGH_BITS) == 0) {
				i += sizeof(word) - 1;
				continue;
			}
		}
		run = bytes[i] >= 0x80 ? run + 1 : 0;
		if (run == RUN_MIN)
			return true;
	}
	return false;
}

struct cursor {
	const uint8_t *at, *end;
};

/* Returns false when there is no whole varint, or one of more than 64 bits. */
static bool
varint_take(struct cursor *c, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < VARINT_MAX && c->at < c->end; i++) {
		uint8_t byte = *c->at++;

		if (i == VARINT_MAX - 1 && byte > 1)
			return false;
		*value |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (byte < 0x80)
			return true;
	}
	return false;
}

static bool
is_narrow(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_ENUM || type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_UINT32 ||
	    type == PROTOBUF_C_TYPE_SINT32;
}

static bool
number_fits(ProtobufCType type, uint64_t value)
{
	if (!is_narrow(type))
		return true;
	if (type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_SINT32)
		return value <= UINT32_MAX;
	/* A negative number is sent as 64 bits. */
	return value <= INT32_MAX || value >= (uint64_t)INT32_MIN;
}

/*
 * What is in a field that has a length: a message, numbers that are packed, or text. The recursion is as deep as the .proto
 * files nest messages, since no message of theirs holds itself.
 */
static bool
content_fits(const ProtobufCFieldDescriptor *field, const uint8_t *bytes, size_t len) // NOLINT(misc-no-recursion)
{
	struct cursor c = { bytes, bytes + len };
	uint64_t value;

	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return numbers_fit(field->descriptor, bytes, len);
	while (is_narrow(field->type) && c.at < c.end)
		if (!varint_take(&c, &value) || !number_fits(field->type, value))
			return false;
	return true;
}

bool
numbers_fit(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len) // NOLINT(misc-no-recursion)
{
	const ProtobufCFieldDescriptor *field;
	uint64_t tag, value;
	struct cursor c;
	size_t skip;

	if (!may_hold_large(bytes, len))
		return true;
	c = (struct cursor){ bytes, bytes + len };
	while (c.at < c.end) {
		if (!varint_take(&c, &tag) || tag > UINT32_MAX)
			return false;
		field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
		skip = 0;
		switch (tag & 7) {
		case 0:
			if (!varint_take(&c, &value) || (field != NULL && !number_fits(field->type, value)))
				return false;
			break;
		case 1:
			skip = 8;
			break;
		case 2:
			if (!varint_take(&c, &value) || value > (size_t)(c.end - c.at) ||
			    (field != NULL && !content_fits(field, c.at, (size_t)value)))
				return false;
			skip = (size_t)value;
			break;
		case 5:
			skip = 4;
			break;
		default:
			return false;
		}
		if (skip > (size_t)(c.end - c.at))
			return false;
		c.at += skip;
	}
	return true;
}
