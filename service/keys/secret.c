/*
 * secret.c - parse, check and make secrets (see secret.h). Knows no pepper and no database, and keeps nothing.
 */
#include "service/keys/secret.h"

#include <assert.h>
#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <zlib.h>

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const struct {
	char prefix[SECRET_PREFIX_LEN + 1];
	struct secret_form form;
} prefixes[] = {
	{ "sk_live_", { ENVIRONMENT_LIVE, KIND_SECRET } },
	{ "pk_live_", { ENVIRONMENT_LIVE, KIND_PUBLISHABLE } },
	{ "sk_test_", { ENVIRONMENT_TEST, KIND_SECRET } },
	{ "pk_test_", { ENVIRONMENT_TEST, KIND_PUBLISHABLE } },
};
#define N_PREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

/* A table, because every verify looks at 36 characters. */
#define TEN 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define TWENTY_SIX TEN, TEN, 1, 1, 1, 1, 1, 1
static const uint8_t is_base62[UCHAR_MAX + 1] = { ['0'] = TEN, ['A'] = TWENTY_SIX, ['a'] = TWENTY_SIX };

static unsigned long
checksum(const char *secret)
{
	return crc32(0, (const unsigned char *)secret, SECRET_PREFIX_LEN + SECRET_RANDOM_LEN);
}

/* Whoever sends a key can compute its checksum: the comparison tells nothing by the time that it takes. */
static bool
checksum_fits(const char *secret)
{
	unsigned long crc = checksum(secret);

	for (size_t i = SECRET_LEN; i > SECRET_LEN - SECRET_CHECK_LEN; crc /= 62)
		if (secret[--i] != base62[crc % 62])
			return false;
	return true;
}

int
secret_parse(const void *data, size_t len, struct secret_form *form, const char **why)
{
	const char *secret = data;
	uint8_t all = 1;
	size_t i;

	for (i = 0; i < N_PREFIXES; i++)
		if (len >= SECRET_PREFIX_LEN && memcmp(secret, prefixes[i].prefix, SECRET_PREFIX_LEN) == 0)
			break;
	if (i == N_PREFIXES) {
		*why = len == 0 ? "the key is empty" : "a key starts with sk_live_, pk_live_, sk_test_ or pk_test_";
		return -1;
	}
	*form = prefixes[i].form;

	if (len != SECRET_LEN) {
		*why = len < SECRET_LEN ? "the key is too short: was it cut off?" : "the key is too long";
		return 1;
	}
#pragma GCC unroll 9
	for (i = SECRET_PREFIX_LEN; i < SECRET_LEN; i++)
		all &= is_base62[(unsigned char)secret[i]];
	if (!all) {
		*why = "after its prefix a key has only letters and digits";
		return 1;
	}
	if (!checksum_fits(secret)) {
		*why = "the key's checksum does not fit: is there a typo in it?";
		return 1;
	}
	return 0;
}

/*
 * Random base62 characters. Bytes of 248 and more are skipped, so that all 62 characters are equally likely; of 64 bytes,
 * 62 are used on average. randombytes_uniform() would make a system call for each character.
 */
static void
fill_random(char *out, size_t len)
{
	uint8_t bytes[64];
	size_t used = sizeof(bytes);

	for (size_t i = 0; i < len;) {
		if (used == sizeof(bytes)) {
			randombytes_buf(bytes, sizeof(bytes));
			used = 0;
		}
		if (bytes[used] < 4 * 62)
			out[i++] = base62[bytes[used] % 62];
		used++;
	}
	sodium_memzero(bytes, sizeof(bytes));
}

void
secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN])
{
	unsigned long crc;
	size_t i;

	for (i = 0; i < N_PREFIXES; i++)
		if (prefixes[i].form.environment == environment && prefixes[i].form.kind == kind)
			break;
	assert(i < N_PREFIXES);

	memcpy(out, prefixes[i].prefix, SECRET_PREFIX_LEN);
	fill_random(out + SECRET_PREFIX_LEN, SECRET_RANDOM_LEN);
	crc = checksum(out);
	for (i = SECRET_LEN; i > SECRET_LEN - SECRET_CHECK_LEN; crc /= 62)
		out[--i] = base62[crc % 62];
}
