/*
 * fuzz_secret.c - secret_parse() on any bytes, and on keys that are made from them with this file's own checksum.
 */
#include <stdlib.h>
#include <string.h>

#include "service/keys/secret.h"
#include "tests/fuzz/fuzz.h"

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char *const prefixes[] = { "sk_live_", "pk_live_", "sk_test_", "pk_test_" };
static const struct secret_form forms[] = { { ENVIRONMENT_LIVE, KIND_SECRET }, { ENVIRONMENT_LIVE, KIND_PUBLISHABLE },
	{ ENVIRONMENT_TEST, KIND_SECRET }, { ENVIRONMENT_TEST, KIND_PUBLISHABLE } };

/* CRC-32 bit by bit, from the polynomial: independent of the code under test. */
static void
checksum(const uint8_t *p, size_t len, char out[SECRET_CHECK_LEN])
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	crc = ~crc;
	for (int i = SECRET_CHECK_LEN - 1; i >= 0; i--, crc /= 62)
		out[i] = digits[crc % 62];
}

/* The prefix's number, or -1. */
static int
prefix_of(const uint8_t *p, size_t len)
{
	for (int i = 0; i < 4; i++)
		if (len >= SECRET_PREFIX_LEN && memcmp(p, prefixes[i], SECRET_PREFIX_LEN) == 0)
			return i;
	return -1;
}

/* The result that secret.h specifies for these bytes. */
static int
expected(const uint8_t *p, size_t len)
{
	char check[SECRET_CHECK_LEN];

	if (prefix_of(p, len) < 0)
		return -1;
	if (len != SECRET_LEN)
		return 1;
	for (size_t i = SECRET_PREFIX_LEN; i < len; i++)
		if (p[i] == '\0' || strchr(digits, p[i]) == NULL)
			return 1;
	checksum(p, SECRET_LEN - SECRET_CHECK_LEN, check);
	return memcmp(check, p + SECRET_LEN - SECRET_CHECK_LEN, SECRET_CHECK_LEN) == 0 ? 0 : 1;
}

static void
parse(const uint8_t *p, size_t len)
{
	uint8_t *copy = fuzz_copy(p, len);
	struct secret_form form;
	const char *why = NULL;
	int rc = secret_parse(copy, len, &form, &why), prefix = prefix_of(p, len);

	FUZZ_CHECK(rc == expected(p, len), "secret_parse says %d, not %d", rc, expected(p, len));
	if (rc >= 0)
		FUZZ_CHECK(form.environment == forms[prefix].environment && form.kind == forms[prefix].kind,
		    "the form is not the prefix's");
	if (rc != 0)
		FUZZ_CHECK(why != NULL && why[0] != '\0', "no reason");
	/* The reason is a static text, which may name the prefixes but nothing of the secret. */
	for (size_t i = 0; rc != 0 && len > 12 && i + 12 <= len; i++)
		FUZZ_CHECK(prefix < 0 || memmem(why, strlen(why), p + i, 12) == NULL || i + 12 > SECRET_LEN,
		    "the reason holds a part of the key");
	free(copy);
}

/* A valid key, made from any bytes; then the same with one byte changed, which a CRC always detects. */
static void
parse_right(const uint8_t *data, size_t size)
{
	uint8_t key[SECRET_LEN];
	uint8_t at = data[0] % SECRET_LEN, with = data[1];

	memcpy(key, prefixes[data[1] % 4], SECRET_PREFIX_LEN);
	for (size_t i = 0; i < SECRET_RANDOM_LEN; i++)
		key[SECRET_PREFIX_LEN + i] = (uint8_t)digits[data[i % size] % 62];
	checksum(key, SECRET_LEN - SECRET_CHECK_LEN, (char *)key + SECRET_LEN - SECRET_CHECK_LEN);
	FUZZ_CHECK(expected(key, sizeof(key)) == 0, "a right key is not expected to be one");
	parse(key, sizeof(key));
	if (key[at] == with)
		return;
	key[at] = with;
	FUZZ_CHECK(expected(key, sizeof(key)) != 0, "a changed key is expected to be one");
	parse(key, sizeof(key));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(data, size);
	if (size >= 2)
		parse_right(data, size);
	return 0;
}
