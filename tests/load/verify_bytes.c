/*
 * verify_bytes.c - writes one request and reads one reply (see verify_bytes.h). Relies on the order in which fobd
 * writes fields; a reply in another order has no verdict, and the run fails.
 */
#include "tests/load/verify_bytes.h"

#include <string.h>

#include "client/fob.h"

#define METHOD "fob.v1.Keys/VerifyKey"
#define METHOD_LEN (sizeof(METHOD) - 1)

_Static_assert(2 + METHOD_LEN + 4 + FOB_SECRET_SIZE <= VERIFY_BYTES_MAX, "a request fits");
_Static_assert(FOB_SECRET_SIZE + 2 < 128, "each length takes one byte");

/* fob.rpc.v1.Request { method, body: VerifyKeyRequest { secret } } */
size_t
verify_encode(const char *secret, uint8_t out[VERIFY_BYTES_MAX])
{
	size_t len = strlen(secret);
	uint8_t *p = out;

	*p++ = 0x0a;
	*p++ = METHOD_LEN;
	memcpy(p, METHOD, METHOD_LEN);
	p += METHOD_LEN;
	*p++ = 0x12;
	*p++ = (uint8_t)(len + 2);
	*p++ = 0x0a;
	*p++ = (uint8_t)len;
	memcpy(p, secret, len);
	return (size_t)(p + len - out);
}

/* Response { body: VerifyKeyResponse { verdict, ... } }, as OK is left out; or Response { code, ... } */
int
verify_decode(const uint8_t *reply, size_t len, unsigned *verdict)
{
	*verdict = FOB_VERDICT_DENIED;
	if (len >= 2 && reply[0] == 0x08)
		return -(int)reply[1];
	if (len >= 4 && reply[0] == 0x1a && reply[2] == 0x08)
		*verdict = reply[3];
	return 0;
}
