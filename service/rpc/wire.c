/*
 * wire.c - the bytes of messages (see wire.h): https://protobuf.dev/programming-guides/encoding/
 *
 * The usual form of a message, which is what every protobuf library writes: its fields in the order of their numbers, each
 * at most once, each of its own type, and none that is unknown. A message of another form is left to protobuf-c.
 */
#include "service/rpc/wire.h"

#include <string.h>
#include <sys/types.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/numbers.h"

enum { VARINT = 0, BYTES = 2 };

#define TAG(number, type) ((number) << 3 | (type))

/* ---- reading ---- */

static ProtobufCMessage *
unpack_any(const ProtobufCMessageDescriptor *type, struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	return numbers_fit(type, bytes, len) ? protobuf_c_message_unpack(type, &scratch->allocator, len, bytes) : NULL;
}

struct cursor {
	const uint8_t *p, *end;
	bool odd; /* the message has not the usual form */
};

/* Is a field with this tag, of one byte, next? Then it is passed. */
static inline bool
next_is(struct cursor *c, uint8_t tag)
{
	if (c->p == c->end || *c->p != tag)
		return false;
	c->p++;
	return true;
}

/* Of at most four bytes; longer ones are not usual. */
static inline uint32_t
take_varint(struct cursor *c)
{
	uint32_t v = 0;

	for (unsigned shift = 0; shift < 28 && c->p < c->end; shift += 7) {
		uint8_t byte = *c->p++;

		v |= (uint32_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return v;
	}
	c->odd = true;
	return 0;
}

static inline ProtobufCBinaryData
take_bytes(struct cursor *c)
{
	uint32_t len = take_varint(c);
	/* protobuf-c's field is not const, but nobody writes to it. */
	ProtobufCBinaryData field = { .data = (uint8_t *)(uintptr_t)c->p, .len = len };

	if (len > (size_t)(c->end - c->p)) {
		c->odd = true;
		return (ProtobufCBinaryData){ 0 };
	}
	c->p += len;
	return field;
}

static inline bool
is_usual(const struct cursor *c)
{
	return !c->odd && c->p == c->end;
}

static bool
read_request(const uint8_t *bytes, size_t len, Fob__Rpc__V1__Request *out)
{
	struct cursor c = { .p = bytes, .end = bytes + len };

	if (next_is(&c, TAG(1, BYTES)))
		out->method = take_bytes(&c);
	if (next_is(&c, TAG(2, BYTES)))
		out->body = take_bytes(&c);
	if (next_is(&c, TAG(3, VARINT)))
		out->timeout_ms = take_varint(&c);
	if (next_is(&c, TAG(4, BYTES)))
		out->traceparent = take_bytes(&c);
	return is_usual(&c);
}

bool
wire_request(struct scratch *scratch, const uint8_t *bytes, size_t len, Fob__Rpc__V1__Request *out)
{
	ProtobufCMessage *unpacked;

	fob__rpc__v1__request__init(out);
	if (read_request(bytes, len, out))
		return true;
	if ((unpacked = unpack_any(&fob__rpc__v1__request__descriptor, scratch, bytes, len)) == NULL)
		return false;
	*out = *(Fob__Rpc__V1__Request *)unpacked;
	return true;
}

static bool
read_verify(const uint8_t *bytes, size_t len, Fob__V1__VerifyKeyRequest *out)
{
	struct cursor c = { .p = bytes, .end = bytes + len };

	if (next_is(&c, TAG(1, BYTES))) {
		out->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
		out->secret = take_bytes(&c);
	} else if (next_is(&c, TAG(2, BYTES))) {
		out->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION;
		out->authorization = take_bytes(&c);
	}
	if (next_is(&c, TAG(3, BYTES)))
		out->operation = take_bytes(&c);
	if (next_is(&c, TAG(4, VARINT)))
		out->require_environment = (Fob__V1__Environment)take_varint(&c);
	return is_usual(&c);
}

static ProtobufCMessage *
unpack_verify(struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	Fob__V1__VerifyKeyRequest *request = scratch_alloc(scratch, sizeof(*request));

	if (request == NULL)
		return NULL;
	fob__v1__verify_key_request__init(request);
	if (!read_verify(bytes, len, request))
		return unpack_any(&fob__v1__verify_key_request__descriptor, scratch, bytes, len);
	return &request->base;
}

/* Returns -1 when this is not a sequence of items. */
static ssize_t
count_items(const uint8_t *bytes, size_t len)
{
	struct cursor c = { .p = bytes, .end = bytes + len };
	ssize_t n = 0;

	for (; next_is(&c, TAG(1, BYTES)); n++)
		(void)take_bytes(&c);
	return is_usual(&c) ? n : -1;
}

static ProtobufCMessage *
unpack_batch(struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	Fob__V1__VerifyKeysRequest *batch = scratch_alloc(scratch, sizeof(*batch));
	struct cursor c = { .p = bytes, .end = bytes + len };
	Fob__V1__VerifyKeyRequest *items;
	ssize_t n = count_items(bytes, len);

	if (n < 0)
		return unpack_any(&fob__v1__verify_keys_request__descriptor, scratch, bytes, len);
	if (batch == NULL || (items = scratch_alloc(scratch, (size_t)n * sizeof(*items))) == NULL)
		return NULL;
	fob__v1__verify_keys_request__init(batch);
	if ((batch->items = scratch_alloc(scratch, (size_t)n * sizeof(*batch->items))) == NULL)
		return NULL;
	for (; next_is(&c, TAG(1, BYTES)); batch->n_items++) {
		Fob__V1__VerifyKeyRequest *item = &items[batch->n_items];
		ProtobufCBinaryData field = take_bytes(&c);

		fob__v1__verify_key_request__init(item);
		if (!read_verify(field.data, field.len, item))
			return unpack_any(&fob__v1__verify_keys_request__descriptor, scratch, bytes, len);
		batch->items[batch->n_items] = item;
	}
	return &batch->base;
}

ProtobufCMessage *
wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	if (descriptor == &fob__v1__verify_key_request__descriptor)
		return unpack_verify(scratch, bytes, len);
	if (descriptor == &fob__v1__verify_keys_request__descriptor)
		return unpack_batch(scratch, bytes, len);
	return unpack_any(descriptor, scratch, bytes, len);
}

/* ---- writing: a field is left out when it is zero or empty ---- */

#define NUMBER_MAX 11 /* tag and varint */
#define LEN_MAX 6     /* tag and length of a field */
#define VERIFIED_MAX (9 * NUMBER_MAX + 3 * LEN_MAX)
#define ITEM_MAX (LEN_MAX + NUMBER_MAX + LEN_MAX + LEN_MAX + VERIFIED_MAX)

static inline uint8_t *
put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *
put_number(uint8_t *p, unsigned number, uint64_t v)
{
	if (v == 0)
		return p;
	*p++ = (uint8_t)TAG(number, VARINT);
	return put_varint(p, v);
}

static inline uint8_t *
put_bytes(uint8_t *p, unsigned number, const ProtobufCBinaryData *field)
{
	if (field->len == 0)
		return p;
	*p++ = (uint8_t)TAG(number, BYTES);
	p = put_varint(p, field->len);
	memcpy(p, field->data, field->len);
	return p + field->len;
}

/*
 * A message within a message comes behind its length, which is known when it is written: room is left for a length of one
 * byte, and a longer message is moved.
 */
static inline uint8_t *
begin_message(uint8_t *p, unsigned number)
{
	*p = (uint8_t)TAG(number, BYTES);
	return p + 2;
}

static inline uint8_t *
end_message(uint8_t *message, uint8_t *end)
{
	size_t len = (size_t)(end - message), len_len = 1;
	uint8_t bytes[LEN_MAX];

	if (len >= 0x80) {
		len_len = (size_t)(put_varint(bytes, len) - bytes);
		memmove(message - 1 + len_len, message, len);
	}
	put_varint(message - 1, len);
	return message - 1 + len_len + len;
}

/* An enum of ours is never negative. */
static uint8_t *
put_verified(uint8_t *p, const Fob__V1__VerifyKeyResponse *m)
{
	p = put_number(p, 1, m->verdict);
	p = put_bytes(p, 2, &m->detail);
	p = put_bytes(p, 3, &m->account);
	p = put_number(p, 4, m->environment);
	p = put_number(p, 5, m->livemode != 0);
	p = put_number(p, 6, m->kind);
	p = put_number(p, 7, m->generation);
	p = put_number(p, 8, m->current_generation);
	p = put_number(p, 9, m->superseded != 0);
	p = put_number(p, 10, (uint64_t)m->created_ms);
	p = put_number(p, 11, (uint64_t)m->expires_ms);
	return put_bytes(p, 12, &m->last4);
}

static size_t
verified_max(const Fob__V1__VerifyKeyResponse *m)
{
	return VERIFIED_MAX + m->detail.len + m->account.len + m->last4.len;
}

static uint8_t *
put_batch(uint8_t *p, const Fob__V1__VerifyKeysResponse *m)
{
	for (size_t i = 0; i < m->n_items; i++) {
		const Fob__V1__VerifyKeysItem *item = m->items[i];
		uint8_t *begin = begin_message(p, 1), *result;

		p = put_number(begin, 1, item->code);
		p = put_bytes(p, 2, &item->message);
		/* It is there even if it is empty. */
		if (item->result != NULL) {
			result = begin_message(p, 3);
			p = end_message(result, put_verified(result, item->result));
		}
		p = end_message(begin, p);
	}
	return p;
}

static size_t
batch_max(const Fob__V1__VerifyKeysResponse *m)
{
	size_t max = 0;

	for (size_t i = 0; i < m->n_items; i++)
		max += ITEM_MAX + m->items[i]->message.len +
		    (m->items[i]->result != NULL ? verified_max(m->items[i]->result) - VERIFIED_MAX : 0);
	return max;
}

size_t
wire_max(const ProtobufCMessage *message)
{
	if (message->descriptor == &fob__v1__verify_key_response__descriptor)
		return verified_max((const Fob__V1__VerifyKeyResponse *)message);
	if (message->descriptor == &fob__v1__verify_keys_response__descriptor)
		return batch_max((const Fob__V1__VerifyKeysResponse *)message);
	return protobuf_c_message_get_packed_size(message);
}

size_t
wire_pack(const ProtobufCMessage *message, uint8_t *out)
{
	if (message->descriptor == &fob__v1__verify_key_response__descriptor)
		return (size_t)(put_verified(out, (const Fob__V1__VerifyKeyResponse *)message) - out);
	if (message->descriptor == &fob__v1__verify_keys_response__descriptor)
		return (size_t)(put_batch(out, (const Fob__V1__VerifyKeysResponse *)message) - out);
	return protobuf_c_message_pack(message, out);
}

uint8_t *
wire_pack_response(const ProtobufCMessage *message, uint8_t *out, size_t *len)
{
	uint8_t *body = out + WIRE_RESPONSE, header[LEN_MAX];
	size_t body_len = wire_pack(message, body), header_len;

	if (body_len == 0) {
		*len = 0;
		return body;
	}
	header[0] = (uint8_t)TAG(3, BYTES);
	header_len = (size_t)(put_varint(header + 1, body_len) - header);
	memcpy(body - header_len, header, header_len);
	*len = header_len + body_len;
	return body - header_len;
}
