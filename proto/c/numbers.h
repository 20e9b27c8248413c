/*
 * numbers.h - the numbers of a message as they are on the wire, before protobuf-c cuts them to 32 bits: a verdict of
 * 2^32 + 1 would read as 1.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/*
 * numbers_fit(type, bytes, len):
 * Whether each number of ${bytes}, a message of ${type}, fits its field: 32 bits, signed in an enum or an int32. Other
 * messages within it are looked at, too. Bytes that hold no large number are not decoded.
 * Ownership: ${bytes} borrowed. Threads: any.
 * Returns:   true; false also for bytes that are no message.
 */
bool numbers_fit(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);

#endif
