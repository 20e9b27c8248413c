/*
 * verify_bytes.h - VerifyKey as bytes, for clients that have no libfob: as little work as a client can do for it. The
 * messages are in proto/fob/; proto/PROTOCOL.md shows their bytes.
 */
#ifndef LOAD_VERIFY_BYTES_H
#define LOAD_VERIFY_BYTES_H

#include <stddef.h>
#include <stdint.h>

#define VERIFY_BYTES_MAX 128

/* Write the request for ${secret}, which has less than FOB_SECRET_SIZE bytes. Returns the number of bytes at ${out}. */
size_t verify_encode(const char *secret, uint8_t out[VERIFY_BYTES_MAX]);

/* Returns: 0 and the verdict at ${verdict}; or the reply's code, negative as libfob's faults. */
int verify_decode(const uint8_t *reply, size_t len, unsigned *verdict);

#endif
