/*
 * wire.c - the bytes of messages (see wire.h): https://protobuf.dev/programming-guides/encoding/
 *
 * The usual form of a message, which is what every protobuf library writes: its fields in the order of their numbers, each
 * at most once, each of its own type, and none that is unknown. A message of another form is left to protobuf-c.
 */
#include "service/rpc/wire.h"

#include <string.h>

#include "fob/v1/keys.pb-c.h"

enum { VARINT = 0, BYTES = 2 };

#define TAG(number, type) ((number) << 3 | (type))

/* ---- reading ---- */

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
	Fob__Rpc__V1__Request *unpacked;

	fob__rpc__v1__request__init(out);
	if (read_request(bytes, len, out))
		return true;
	if ((unpacked = fob__rpc__v1__request__unpack(&scratch->allocator, len, bytes)) == NULL)
		return false;
	*out = *unpacked;
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
		return protobuf_c_message_unpack(
		    &fob__v1__verify_key_request__descriptor, &scratch->allocator, len, bytes);
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
		return protobuf_c_message_unpack(
		    &fob__v1__verify_keys_request__descriptor, &scratch->allocator, len, bytes);
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
			return protobuf_c_message_unpack(
			    &fob__v1__verify_keys_request__descriptor, &scratch->allocator, len, bytes);
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
	return protobuf_c_message_unpack(descriptor, &scratch->allocator, len, bytes);
}

/* ---- writing: a field is left out when it is zero or empty ---- */

static inline size_t
varint_size(uint64_t v)
{
	return v == 0 ? 1 : (size_t)(70 - __builtin_clzll(v)) / 7;
}

static inline size_t
number_size(uint64_t v)
{
	return v == 0 ? 0 : 1 + varint_size(v);
}

static inline size_t
bytes_size(size_t len)
{
	return len == 0 ? 0 : 1 + varint_size(len) + len;
}

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

/* An enum is a number of 32 bits, written as one of 64: none of ours is negative. */
static size_t
verified_size(const Fob__V1__VerifyKeyResponse *m)
{
	return number_size(m->verdict) + bytes_size(m->detail.len) + bytes_size(m->account.len) +
	    number_size(m->environment) + number_size(m->livemode != 0) + number_size(m->kind) +
	    number_size(m->generation) + number_size(m->current_generation) + number_size(m->superseded != 0) +
	    number_size((uint64_t)m->created_ms) + number_size((uint64_t)m->expires_ms) + bytes_size(m->last4.len);
}

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

/* A message within a message is there even if it is empty. */
static size_t
item_size(const Fob__V1__VerifyKeysItem *m)
{
	size_t len = m->result != NULL ? verified_size(m->result) : 0;

	return number_size(m->code) + bytes_size(m->message.len) +
	    (m->result != NULL ? 1 + varint_size(len) + len : 0);
}

static uint8_t *
put_item(uint8_t *p, const Fob__V1__VerifyKeysItem *m)
{
	p = put_number(p, 1, m->code);
	p = put_bytes(p, 2, &m->message);
	if (m->result == NULL)
		return p;
	*p++ = (uint8_t)TAG(3, BYTES);
	return put_verified(put_varint(p, verified_size(m->result)), m->result);
}

static size_t
batch_size(const Fob__V1__VerifyKeysResponse *m)
{
	size_t size = 0, len;

	for (size_t i = 0; i < m->n_items; i++) {
		len = item_size(m->items[i]);
		size += 1 + varint_size(len) + len;
	}
	return size;
}

static uint8_t *
put_batch(uint8_t *p, const Fob__V1__VerifyKeysResponse *m)
{
	for (size_t i = 0; i < m->n_items; i++) {
		*p++ = (uint8_t)TAG(1, BYTES);
		p = put_item(put_varint(p, item_size(m->items[i])), m->items[i]);
	}
	return p;
}

size_t
wire_size(const ProtobufCMessage *message)
{
	if (message->descriptor == &fob__v1__verify_key_response__descriptor)
		return verified_size((const Fob__V1__VerifyKeyResponse *)message);
	if (message->descriptor == &fob__v1__verify_keys_response__descriptor)
		return batch_size((const Fob__V1__VerifyKeysResponse *)message);
	return protobuf_c_message_get_packed_size(message);
}

void
wire_pack(const ProtobufCMessage *message, uint8_t *out)
{
	if (message->descriptor == &fob__v1__verify_key_response__descriptor)
		put_verified(out, (const Fob__V1__VerifyKeyResponse *)message);
	else if (message->descriptor == &fob__v1__verify_keys_response__descriptor)
		put_batch(out, (const Fob__V1__VerifyKeysResponse *)message);
	else
		protobuf_c_message_pack(message, out);
}

size_t
wire_response_size(size_t len)
{
	return bytes_size(len);
}

void
wire_pack_response(const ProtobufCMessage *message, size_t len, uint8_t *out)
{
	if (len == 0)
		return;
	*out++ = (uint8_t)TAG(3, BYTES);
	wire_pack(message, put_varint(out, len));
}
