/*
 * fuzz_basic.c - basic_parse() on any bytes, and on headers that are made from them by RFC 7617.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/c/basic.h"
#include "tests/fuzz/fuzz.h"

/* An accepted user name, encoded again, must be the header's end. */
static void
check_accepted(const uint8_t *header, size_t len, const char *secret, size_t secret_len)
{
	unsigned char plain[BASIC_MAX + 1];
	char encoded[sodium_base64_ENCODED_LEN(BASIC_MAX + 1, sodium_base64_VARIANT_ORIGINAL)];
	size_t n, spaces = 5;

	FUZZ_CHECK(secret_len >= 1 && secret_len <= BASIC_MAX, "a key of %zu bytes", secret_len);
	for (size_t i = 0; i < secret_len; i++)
		FUZZ_CHECK((unsigned char)secret[i] >= 0x20 && secret[i] != 0x7f && secret[i] != ':',
		    "the key holds a character that it cannot");
	memcpy(plain, secret, secret_len);
	plain[secret_len] = ':';
	sodium_bin2base64(encoded, sizeof(encoded), plain, secret_len + 1, sodium_base64_VARIANT_ORIGINAL);
	n = strlen(encoded);
	FUZZ_CHECK(len > 5 + n && strncasecmp((const char *)header, "Basic", 5) == 0 &&
		memcmp(header + len - n, encoded, n) == 0,
	    "accepted, but it is not what the header says");
	while (spaces < len && header[spaces] == ' ')
		spaces++;
	FUZZ_CHECK(spaces == len - n, "accepted with something before the credentials");
}

/* Returns what basic_parse() returned. */
static int
parse(const uint8_t *header, size_t len, char secret[BASIC_MAX], size_t *secret_len)
{
	uint8_t *copy = fuzz_copy(header, len);
	const char *why = "";
	int rc;

	memset(secret, 'x', BASIC_MAX);
	rc = basic_parse((const char *)copy, len, secret, secret_len, &why);
	if (rc == 0) {
		FUZZ_CHECK(why == NULL, "accepted with a reason: %s", why);
		check_accepted(header, len, secret, *secret_len);
	} else {
		FUZZ_CHECK(rc == -1 && why != NULL && why[0] != '\0', "no reason");
		FUZZ_CHECK(*secret_len == 0 && sodium_is_zero((const unsigned char *)secret, BASIC_MAX),
		    "refused, but bytes are left");
	}
	free(copy);
	return rc;
}

static bool
fits(const uint8_t *user, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (user[i] < 0x20 || user[i] == 0x7f || user[i] == ':')
			return false;
	return len >= 1 && len <= BASIC_MAX;
}

/* The header with ${user} must be accepted if and only if ${user} is a valid user name. */
static void
parse_made(const uint8_t *user, size_t len)
{
	unsigned char plain[256];
	char header[512], secret[BASIC_MAX];
	size_t n, secret_len;
	int rc;

	if (len >= sizeof(plain))
		return;
	memcpy(plain, user, len);
	plain[len] = ':';
	n = (size_t)snprintf(header, sizeof(header), "bAsIc ");
	sodium_bin2base64(header + n, sizeof(header) - n, plain, len + 1, sodium_base64_VARIANT_ORIGINAL);
	rc = parse((const uint8_t *)header, strlen(header), secret, &secret_len);
	FUZZ_CHECK((rc == 0) == fits(user, len), "a header that was made right: %d", rc);
	FUZZ_CHECK(rc != 0 || (secret_len == len && memcmp(secret, user, len) == 0), "another key than was sent");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char secret[BASIC_MAX];
	size_t secret_len;

	parse(data, size, secret, &secret_len);
	parse_made(data, size);
	return 0;
}
