/*
 * wire.h - messages from bytes and to bytes. The messages of a verify are read and written by hand when they have their
 * usual form, for which protobuf-c takes a third of a verify's instructions; everything else is protobuf-c's. Both give the
 * same (tests/unit/service/rpc/test_wire.c).
 */
#ifndef WIRE_H
#define WIRE_H

#include "fob/rpc/v1/rpc.pb-c.h"
#include "proto/c/position.h"
#include "service/rpc/scratch.h"

/*
 * wire_request(scratch, bytes, len, request, min), wire_unpack(descriptor, scratch, bytes, len):
 * Decode an envelope, or a message. Of an envelope, the positions are in ${min} only, by environment.
 * Ownership: the message is in ${scratch} and may borrow from ${bytes}.
 * Returns:   false or NULL: not a valid message, or, with scratch->exhausted, one that needs too much memory.
 */
bool wire_request(struct scratch *scratch, const uint8_t *bytes, size_t len, Fob__Rpc__V1__Request *request,
    struct position min[2]);
ProtobufCMessage *
wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct scratch *scratch, const uint8_t *bytes, size_t len);

/*
 * wire_max(message):          how many bytes ${message} takes, or a little more.
 * wire_pack(message, out):    write it to ${out}, which has wire_max() bytes. Returns how many it took.
 *
 * wire_pack_response(message, at, tells, out, len):
 * Write a Response whose code is OK and whose body is ${message}, and those positions of ${at}, by environment, whose bits are
 * set in ${tells}. ${out} has WIRE_RESPONSE + wire_max() bytes; *${len} gets the response's. Returns where in ${out} it begins.
 */
#define WIRE_RESPONSE (6 + 2 * POSITION_FIELD_MAX)
size_t wire_max(const ProtobufCMessage *message);
size_t wire_pack(const ProtobufCMessage *message, uint8_t *out);
uint8_t *wire_pack_response(
    const ProtobufCMessage *message, const struct position at[2], unsigned tells, uint8_t *out, size_t *len);

#endif
