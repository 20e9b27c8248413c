/*
 * wire.c - the bytes of messages (see wire.h). A message that has not the usual form (see fields.h) is left to protobuf-c.
 */
#include "service/rpc/wire.h"

#include <string.h>
#include <sys/types.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/fields.h"
#include "proto/c/numbers.h"

/* ---- reading ---- */

static ProtobufCMessage *
unpack_any(const ProtobufCMessageDescriptor *type, struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	return numbers_fit(type, bytes, len) ? protobuf_c_message_unpack(type, &scratch->allocator, len, bytes) : NULL;
}

static bool
read_request(const uint8_t *bytes, size_t len, Fob__Rpc__V1__Request *out, struct position min[2])
{
	struct fields f = fields_of(bytes, len);

	if (fields_next_is(&f, FIELD_TAG(1, FIELD_BYTES)))
		out->method = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(2, FIELD_BYTES)))
		out->body = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(3, FIELD_VARINT)))
		out->timeout_ms = fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(4, FIELD_BYTES)))
		out->traceparent = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(5, FIELD_BYTES)))
		out->on_behalf_of = fields_bytes(&f);
	min[0].entry = min[1].entry = 0;
	if (f.p != f.end)
		positions_read(&f, 6, min);
	return fields_are_usual(&f);
}

static struct position
position_from(const Fob__Rpc__V1__Position *m)
{
	return m == NULL ? (struct position){ 0, 0 } : (struct position){ .cluster = m->cluster, .entry = m->entry };
}

bool
wire_request(struct scratch *scratch, const uint8_t *bytes, size_t len, Fob__Rpc__V1__Request *out, struct position min[2])
{
	ProtobufCMessage *unpacked;

	fob__rpc__v1__request__init(out);
	if (read_request(bytes, len, out, min))
		return true;
	if ((unpacked = unpack_any(&fob__rpc__v1__request__descriptor, scratch, bytes, len)) == NULL)
		return false;
	*out = *(Fob__Rpc__V1__Request *)unpacked;
	min[0] = position_from(out->min_live);
	min[1] = position_from(out->min_test);
	return true;
}

static bool
read_verify(const uint8_t *bytes, size_t len, Fob__V1__VerifyKeyRequest *out)
{
	struct fields f = fields_of(bytes, len);

	if (fields_next_is(&f, FIELD_TAG(1, FIELD_BYTES))) {
		out->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
		out->secret = fields_bytes(&f);
	} else if (fields_next_is(&f, FIELD_TAG(2, FIELD_BYTES))) {
		out->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION;
		out->authorization = fields_bytes(&f);
	}
	if (fields_next_is(&f, FIELD_TAG(3, FIELD_BYTES)))
		out->operation = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(4, FIELD_VARINT)))
		out->require_environment = (Fob__V1__Environment)fields_number(&f);
	return fields_are_usual(&f);
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
	struct fields f = fields_of(bytes, len);
	ssize_t n = 0;

	for (; fields_next_is(&f, FIELD_TAG(1, FIELD_BYTES)); n++)
		(void)fields_bytes(&f);
	return fields_are_usual(&f) ? n : -1;
}

static ProtobufCMessage *
unpack_batch(struct scratch *scratch, const uint8_t *bytes, size_t len)
{
	Fob__V1__VerifyKeysRequest *batch = scratch_alloc(scratch, sizeof(*batch));
	struct fields f = fields_of(bytes, len);
	Fob__V1__VerifyKeyRequest *items;
	ssize_t n = count_items(bytes, len);

	if (n < 0)
		return unpack_any(&fob__v1__verify_keys_request__descriptor, scratch, bytes, len);
	if (batch == NULL || (items = scratch_alloc(scratch, (size_t)n * sizeof(*items))) == NULL)
		return NULL;
	fob__v1__verify_keys_request__init(batch);
	if ((batch->items = scratch_alloc(scratch, (size_t)n * sizeof(*batch->items))) == NULL)
		return NULL;
	for (; fields_next_is(&f, FIELD_TAG(1, FIELD_BYTES)); batch->n_items++) {
		Fob__V1__VerifyKeyRequest *item = &items[batch->n_items];
		ProtobufCBinaryData field = fields_bytes(&f);

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

/* ---- writing ---- */

#define VERIFIED_MAX (9 * FIELD_NUMBER_MAX + 3 * FIELD_HEAD_MAX)
#define ITEM_MAX (3 * FIELD_HEAD_MAX + FIELD_NUMBER_MAX + VERIFIED_MAX)

/*
 * A message within a message comes behind its length, which is known when it is written: room is left for a length of one
 * byte, and a longer message is moved.
 */
static inline uint8_t *
begin_message(uint8_t *p, unsigned number)
{
	*p = (uint8_t)FIELD_TAG(number, FIELD_BYTES);
	return p + 2;
}

static inline uint8_t *
end_message(uint8_t *message, uint8_t *end)
{
	size_t len = (size_t)(end - message), len_len = fields_varint_size(len);

	if (len_len > 1)
		memmove(message - 1 + len_len, message, len);
	fields_put_varint(message - 1, len);
	return message - 1 + len_len + len;
}

/* An enum of ours is never negative. */
static uint8_t *
put_verified(uint8_t *p, const Fob__V1__VerifyKeyResponse *m)
{
	p = fields_put_number(p, 1, m->verdict);
	p = fields_put_bytes(p, 2, &m->detail);
	p = fields_put_bytes(p, 3, &m->account);
	p = fields_put_number(p, 4, m->environment);
	p = fields_put_number(p, 5, m->livemode != 0);
	p = fields_put_number(p, 6, m->kind);
	p = fields_put_number(p, 7, m->generation);
	p = fields_put_number(p, 8, m->current_generation);
	p = fields_put_number(p, 9, m->superseded != 0);
	p = fields_put_number(p, 10, (uint64_t)m->created_ms);
	p = fields_put_number(p, 11, (uint64_t)m->expires_ms);
	return fields_put_bytes(p, 12, &m->last4);
}

static size_t
verified_bytes(const Fob__V1__VerifyKeyResponse *m)
{
	return m->detail.len + m->account.len + m->last4.len;
}

static uint8_t *
put_batch(uint8_t *p, const Fob__V1__VerifyKeysResponse *m)
{
	for (size_t i = 0; i < m->n_items; i++) {
		const Fob__V1__VerifyKeysItem *item = m->items[i];
		uint8_t *begin = begin_message(p, 1), *result;

		p = fields_put_number(begin, 1, item->code);
		p = fields_put_bytes(p, 2, &item->message);
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
	size_t max = m->n_items * ITEM_MAX;

	for (size_t i = 0; i < m->n_items; i++)
		max += m->items[i]->message.len +
		    (m->items[i]->result != NULL ? verified_bytes(m->items[i]->result) : 0);
	return max;
}

size_t
wire_max(const ProtobufCMessage *message)
{
	if (message->descriptor == &fob__v1__verify_key_response__descriptor)
		return VERIFIED_MAX + verified_bytes((const Fob__V1__VerifyKeyResponse *)message);
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

static uint8_t *
put_positions(uint8_t *p, const struct position at[2], unsigned tells)
{
	for (unsigned e = 0; e < 2; e++)
		if (tells >> e & 1U)
			p = position_put(p, 4 + e, &at[e]);
	return p;
}

uint8_t *
wire_pack_response(
    const ProtobufCMessage *message, const struct position at[2], unsigned tells, uint8_t *out, size_t *len)
{
	uint8_t *body = out + FIELD_HEAD_MAX, *begin = body, *end, header[FIELD_HEAD_MAX];
	size_t body_len = wire_pack(message, body), header_len;

	end = body + body_len;
	if (body_len > 0) {
		header_len = (size_t)(fields_put_head(header, 3, body_len) - header);
		begin = body - header_len;
		memcpy(begin, header, header_len);
	}
	if (tells != 0)
		end = put_positions(end, at, tells);
	*len = (size_t)(end - begin);
	return begin;
}
