/*
 * basic.c - the user name of an HTTP Basic Authorization header (see basic.h). Decodes in constant time
 * (libsodium's base64), and never leaves a decoded byte on the stack.
 */
#include "proto/c/basic.h"

#include <string.h>
#include <strings.h>

#include <sodium.h>

static const char scheme[] = "Basic";
#define SCHEME_LEN (sizeof(scheme) - 1)

/* A key, its colon, and base64's four characters for every three of them. */
#define DECODED_MAX (BASIC_MAX + 1)
#define ENCODED_MAX ((DECODED_MAX + 2) / 3 * 4)

static const char *
credentials_find(const char *header, size_t len, const char **encoded, size_t *encoded_len)
{
	size_t at = SCHEME_LEN;

	if (header == NULL || len == 0)
		return "there is no Authorization value";
	if (len < SCHEME_LEN || strncasecmp(header, scheme, SCHEME_LEN) != 0 || (len > at && header[at] != ' '))
		return "the Authorization scheme is not Basic";
	while (at < len && header[at] == ' ')
		at++;
	if (at == len)
		return "nothing follows the scheme in the Basic Authorization value";
	if (len - at > ENCODED_MAX)
		return "the Basic credentials are longer than any key";
	/* libsodium 1.0.18 decodes some bytes from 0x80 on as digits: the same key would have several headers. */
	for (size_t i = at; i < len; i++) {
		if ((unsigned char)header[i] >= 0x80)
			return "the Basic credentials are not base64 with its padding";
	}
	*encoded = header + at;
	*encoded_len = len - at;
	return NULL;
}

/* Returns what is wrong; NULL, and the length of the user name, when nothing is. */
static const char *
credentials_check(const unsigned char *decoded, size_t len, size_t *user_len)
{
	const unsigned char *colon;
	size_t i;

	/* RFC 7617, section 2: "The user-id and password MUST NOT contain any control characters". */
	for (i = 0; i < len; i++) {
		if (decoded[i] < 0x20 || decoded[i] == 0x7f)
			return "the Basic credentials hold a control character";
	}
	if ((colon = memchr(decoded, ':', len)) == NULL)
		return "the Basic credentials have no colon: give the key as the user name, then a colon";
	*user_len = (size_t)(colon - decoded);
	if (*user_len + 1 != len)
		return "the Basic password is not empty: give the key as the user name alone";
	if (*user_len == 0)
		return "the Basic user name is empty: give the key as the user name";
	if (*user_len > BASIC_MAX)
		return "the Basic credentials are longer than any key";
	return NULL;
}

int
basic_parse(const char *header, size_t len, char secret[BASIC_MAX], size_t *secret_len, const char **why)
{
	unsigned char decoded[ENCODED_MAX / 4 * 3];
	const char *wrong, *encoded = NULL;
	size_t encoded_len = 0, decoded_len = 0, user_len = 0;

	*secret_len = 0;
	sodium_memzero(secret, BASIC_MAX);

	if ((wrong = credentials_find(header, len, &encoded, &encoded_len)) != NULL)
		goto out;
	if (sodium_base642bin(decoded, sizeof(decoded), encoded, encoded_len, NULL, &decoded_len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0) {
		wrong = "the Basic credentials are not base64 with its padding";
		goto out;
	}
	if ((wrong = credentials_check(decoded, decoded_len, &user_len)) != NULL)
		goto out;
	memcpy(secret, decoded, user_len);
	*secret_len = user_len;
out:
	sodium_memzero(decoded, sizeof(decoded));
	if (why != NULL)
		*why = wrong;
	return wrong == NULL ? 0 : -1;
}
