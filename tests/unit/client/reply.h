/*
 * reply.h - for the tests of what is read of a reply: a whole one, as fobd would send it. Include it after <cmocka.h>.
 */
#ifndef REPLY_H
#define REPLY_H

#include <stdlib.h>

#include "fob/rpc/v1/rpc.pb-c.h"

#define TEXT(s) ((ProtobufCBinaryData){ .len = sizeof(s) - 1, .data = (uint8_t *)(uintptr_t)(s) })

/* A whole reply, in a block of exactly its size, so that a sanitizer sees the first byte too many. */
static inline uint8_t *
reply_make(int code, ProtobufCBinaryData message, const ProtobufCMessage *inner, size_t *len)
{
	Fob__Rpc__V1__Response m = FOB__RPC__V1__RESPONSE__INIT;
	uint8_t *body = NULL, *all;

	m.code = (Fob__Rpc__V1__Code)code;
	m.message = message;
	if (inner != NULL) {
		assert_non_null(body = malloc(protobuf_c_message_get_packed_size(inner) + 1));
		m.body.len = protobuf_c_message_pack(inner, body);
		m.body.data = body;
	}
	*len = fob__rpc__v1__response__get_packed_size(&m);
	assert_non_null(all = malloc(*len == 0 ? 1 : *len));
	fob__rpc__v1__response__pack(&m, all);
	free(body);
	return all;
}

#endif
