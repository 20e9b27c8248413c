/*
 * test_secret.c - a secret that secret.c made is accepted, and one with a typo is refused. The golden keys' checksums are
 * from Python's zlib.crc32.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/fixture.h"

#include "service/keys/secret.h"

static const struct {
	const char *prefix;
	struct secret_form form;
	const char *golden;
} kinds[] = {
	{ "sk_live_", { ENVIRONMENT_LIVE, KIND_SECRET }, "sk_live_0123456789ABCDEFGHIJabcdefghij4HNuAd" },
	{ "pk_live_", { ENVIRONMENT_LIVE, KIND_PUBLISHABLE }, "pk_live_0123456789ABCDEFGHIJabcdefghij30a1Ay" },
	{ "sk_test_", { ENVIRONMENT_TEST, KIND_SECRET }, "sk_test_0123456789ABCDEFGHIJabcdefghij00vvsW" },
	{ "pk_test_", { ENVIRONMENT_TEST, KIND_PUBLISHABLE }, "pk_test_0123456789ABCDEFGHIJabcdefghij1PgaV5" },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Parse from a copy of exactly this length, so that a sanitizer sees a read behind it. */
static int
parse(const void *secret, size_t len, struct secret_form *form, const char **why)
{
	char *copy = malloc(len > 0 ? len : 1);
	int rc;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, secret, len);
	*why = NULL;
	rc = secret_parse(copy, len, form, why);
	free(copy);
	if (rc != 0)
		assert_true(*why != NULL && strlen(*why) > 10);
	return rc;
}

static int
parse_rc(const void *secret, size_t len)
{
	struct secret_form form;
	const char *why;

	return parse(secret, len, &form, &why);
}

static void
what_is_made_is_taken(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		for (int i = 0; i < 1000; i++) {
			struct secret_form form = { 0 };
			char secret[SECRET_LEN];
			const char *why;

			secret_generate(kinds[k].form.environment, kinds[k].form.kind, secret);
			assert_memory_equal(secret, kinds[k].prefix, SECRET_PREFIX_LEN);
			assert_int_equal(parse(secret, sizeof(secret), &form, &why), 0);
			assert_int_equal(form.environment, kinds[k].form.environment);
			assert_int_equal(form.kind, kinds[k].form.kind);
		}
	}
}

static void
golden(void **state)
{
	/* Checksums that begin with zeros, and one near the top: 6 digits hold every CRC. */
	static const char *const more[] = { "sk_live_00000000000000000000000000014800mS1u",
		"sk_live_0000000000000000000000005196134gfFAd" };

	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		struct secret_form form = { 0 };
		const char *why;

		assert_int_equal(strlen(kinds[k].golden), SECRET_LEN);
		assert_int_equal(parse(kinds[k].golden, SECRET_LEN, &form, &why), 0);
		assert_int_equal(form.environment, kinds[k].form.environment);
		assert_int_equal(form.kind, kinds[k].form.kind);
	}
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(parse_rc(more[i], SECRET_LEN), 0);
}

/* Of 30,000 base62 digits each appears about 484 times: none is missing, and none is twice as likely. */
static void
random_digits(void **state)
{
	unsigned seen[256] = { 0 };
	char a[SECRET_LEN], b[SECRET_LEN];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		secret_generate(ENVIRONMENT_LIVE, KIND_SECRET, a);
		for (int j = SECRET_PREFIX_LEN; j < SECRET_PREFIX_LEN + SECRET_RANDOM_LEN; j++)
			seen[(uint8_t)a[j]]++;
		secret_generate(ENVIRONMENT_LIVE, KIND_SECRET, b);
		assert_memory_not_equal(a, b, sizeof(a));
	}
	for (const char *p = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"; *p != '\0'; p++) {
		assert_in_range(seen[(uint8_t)*p], 300, 700);
		seen[(uint8_t)*p] = 0;
	}
	for (int i = 0; i < 256; i++)
		assert_int_equal(seen[i], 0);
}

static void
every_substitution_is_refused(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		for (int at = 0; at < SECRET_LEN; at++) {
			for (int c = 0; c < 256; c++) {
				char secret[SECRET_LEN];

				memcpy(secret, kinds[k].golden, sizeof(secret));
				if (secret[at] == (char)c)
					continue;
				secret[at] = (char)c;
				assert_int_not_equal(parse_rc(secret, sizeof(secret)), 0);
			}
		}
	}
}

static void
every_transposition_is_refused(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		char secret[SECRET_LEN], swapped[SECRET_LEN];

		secret_generate((enum environment)(i % 2), i % 4 < 2 ? KIND_SECRET : KIND_PUBLISHABLE, secret);
		for (int at = 0; at + 1 < SECRET_LEN; at++) {
			if (secret[at] == secret[at + 1])
				continue;
			memcpy(swapped, secret, sizeof(swapped));
			swapped[at] = secret[at + 1];
			swapped[at + 1] = secret[at];
			assert_int_not_equal(parse_rc(swapped, sizeof(swapped)), 0);
		}
	}
}

static void
every_other_length_is_refused(void **state)
{
	char *secret = malloc(10000);

	(void)state;
	assert_non_null(secret);
	for (size_t len = 0; len <= 10000; len++) {
		struct secret_form form;
		const char *why;
		int rc;

		if (len == SECRET_LEN)
			continue;
		for (size_t i = 0; i < len; i++)
			secret[i] = kinds[0].golden[i % SECRET_LEN];
		rc = parse(secret, len, &form, &why);
		assert_int_equal(rc, len < SECRET_PREFIX_LEN ? -1 : 1);
		if (len == 0)
			assert_string_equal(why, "the key is empty");
		else if (rc == 1)
			assert_non_null(strstr(why, len < SECRET_LEN ? "too short" : "too long"));
	}
	free(secret);
	/* Nothing at all is allowed to be nowhere. */
	{
		struct secret_form form;
		const char *why;

		assert_int_equal(secret_parse(NULL, 0, &form, &why), -1);
	}
}

static void
a_known_prefix_says_what_it_promises(void **state)
{
	static const char *const rests[] = { "", "x", "0123456789ABCDEFGHIJabcdefghij000000",
		"0123456789ABCDEFGHIJabcdefghi_4HNuAd", "0123456789ABCDEFGHIJabcdefghij4HNuAd0" };

	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
			struct secret_form form = { .environment = (enum environment)1, .kind = (enum kind)3 };
			const char *why;
			char secret[128];

			snprintf(secret, sizeof(secret), "%s%s", kinds[k].prefix, rests[i]);
			assert_int_equal(parse(secret, strlen(secret), &form, &why), 1);
			assert_int_equal(form.environment, kinds[k].form.environment);
			assert_int_equal(form.kind, kinds[k].form.kind);
		}
	}
}

static void
other_prefixes(void **state)
{
	static const char *const prefixes[] = { "SK_LIVE_", "sk-live-", "rk_live_", "sk_prod_", "sk_live ", "\0k_live_",
		" sk_live", "sk__live", "sk_liveX", "skxlive_" };

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		char secret[SECRET_LEN];

		memcpy(secret, kinds[0].golden, sizeof(secret));
		memcpy(secret, prefixes[i], SECRET_PREFIX_LEN);
		assert_int_equal(parse_rc(secret, sizeof(secret)), -1);
	}
}

static void
each_reason_is_its_own(void **state)
{
	struct secret_form form;
	char secret[SECRET_LEN];
	const char *why;

	(void)state;
	assert_int_equal(parse("what?", 5, &form, &why), -1);
	assert_non_null(strstr(why, "starts with sk_live_"));
	memcpy(secret, kinds[0].golden, sizeof(secret));
	secret[20] = '-';
	assert_int_equal(parse(secret, sizeof(secret), &form, &why), 1);
	assert_non_null(strstr(why, "letters and digits"));
	secret[20] = '\0';
	assert_int_equal(parse(secret, sizeof(secret), &form, &why), 1);
	secret[20] = '0';
	assert_int_equal(parse(secret, sizeof(secret), &form, &why), 1);
	assert_non_null(strstr(why, "checksum"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_taken),
		cmocka_unit_test(golden),
		cmocka_unit_test(random_digits),
		cmocka_unit_test(every_substitution_is_refused),
		cmocka_unit_test(every_transposition_is_refused),
		cmocka_unit_test(every_other_length_is_refused),
		cmocka_unit_test(a_known_prefix_says_what_it_promises),
		cmocka_unit_test(other_prefixes),
		cmocka_unit_test(each_reason_is_its_own),
	};

	return cmocka_run_group_tests_name("secret", tests, fixture_begin, NULL);
}
