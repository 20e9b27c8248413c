/* test_basic.c - the user name of an Authorization header: every kind of wrong header has its own error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/c/basic.h"

static const struct {
	const char *header, *secret, *why; /* a part of the sentence */
} cases[] = {
	{ "Basic c2tfbGl2ZV94Og==", "sk_live_x", NULL }, { "basic c2tfbGl2ZV94Og==", "sk_live_x", NULL },
	{ "BASIC    c2tfbGl2ZV94Og==", "sk_live_x", NULL }, { "", NULL, "no Authorization" },
	{ "Basic", NULL, "nothing follows" }, { "Basic ", NULL, "nothing follows" }, { "Bas", NULL, "not Basic" },
	{ "Basically c2tfbGl2ZV94Og==", NULL, "not Basic" }, { "Basic\tc2tfbGl2ZV94Og==", NULL, "not Basic" },
	{ "Bearer c2tfbGl2ZV94Og==", NULL, "not Basic" }, { " Basic c2tfbGl2ZV94Og==", NULL, "not Basic" },
	{ "Basic c2tfbGl2ZV94Og=", NULL, "base64" },   /* padding is short */
	{ "Basic c2tfbGl2ZV94Og", NULL, "base64" },    /* none */
	{ "Basic c2tfbGl2ZV94Og===", NULL, "base64" }, /* too much */
	{ "Basic c2tfbGl2ZV94Oh==", NULL, "base64" },  /* bits beyond the last byte */
	{ "Basic c2tfbGl2ZV94Og== ", NULL, "base64" }, { "Basic c2tf bGl2ZV94Og==", NULL, "base64" },
	{ "Basic c2tfbGl2ZV9_Og==", NULL, "base64" }, /* the URL alphabet */
	{ "Basic \xb3ktfbGl2ZV94Og==", NULL, "base64" }, { "Basic !", NULL, "base64" },
	{ "Basic c2tfbGl2ZV94", NULL, "no colon" },          /* sk_live_x */
	{ "Basic Og==", NULL, "is empty" },                  /* : */
	{ "Basic OnB3", NULL, "password is not empty" },     /* :pw */
	{ "Basic c2s6cHc=", NULL, "password is not empty" }, /* sk:pw */
	{ "Basic c2s6Og==", NULL, "password is not empty" }, /* sk:: */
	{ "Basic c2sAeDo=", NULL, "control character" },     /* sk\0x: */
	{ "Basic c2sKOg==", NULL, "control character" },     /* sk\n: */
	{ "Basic c2t/Og==", NULL, "control character" },     /* sk\x7f: */
	{ "Basic c2s6AA==", NULL, "control character" }      /* sk:\0 */
};

static void
test_table(void **state)
{
	char secret[BASIC_MAX];
	static const char zero[BASIC_MAX];
	const char *why;
	size_t i, len;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(secret, 'x', sizeof(secret));
		len = 99;
		rc = basic_parse(cases[i].header, strlen(cases[i].header), secret, &len, &why);
		if (cases[i].secret != NULL) {
			assert_int_equal(rc, 0);
			assert_null(why);
			assert_int_equal(len, strlen(cases[i].secret));
			assert_memory_equal(secret, cases[i].secret, len);
			continue;
		}
		assert_int_equal(rc, -1);
		assert_int_equal(len, 0);
		assert_memory_equal(secret, zero, sizeof(secret));
		if (strstr(why, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].header, why);
	}
}

static int
parse_user(size_t user_len, const char *after, char secret[BASIC_MAX], size_t *len, const char **why)
{
	char plain[20000], header[40000] = "Basic ";

	memset(plain, 'k', user_len);
	strcpy(plain + user_len, after);
	sodium_bin2base64(header + 6, sizeof(header) - 6, (const unsigned char *)plain, strlen(plain),
	    sodium_base64_VARIANT_ORIGINAL);
	return basic_parse(header, strlen(header), secret, len, why);
}

static void
test_lengths(void **state)
{
	char secret[BASIC_MAX];
	const char *why;
	size_t len;

	(void)state;
	assert_int_equal(parse_user(BASIC_MAX, ":", secret, &len, &why), 0);
	assert_int_equal(len, BASIC_MAX);
	assert_int_equal(parse_user(BASIC_MAX + 1, ":", secret, &len, &why), -1);
	assert_non_null(strstr(why, "longer than any key"));
	assert_int_equal(parse_user(10240, ":", secret, &len, &why), -1);
	assert_non_null(strstr(why, "longer than any key"));
	assert_int_equal(parse_user(4, ":0123456789", secret, &len, NULL), -1);
}

static void
test_bytes_that_are_no_text(void **state)
{
	char secret[BASIC_MAX];
	const char *why;
	size_t len;

	(void)state;
	assert_int_equal(basic_parse(NULL, 0, secret, &len, &why), -1);
	assert_int_equal(basic_parse("Basic c2tf\0bGl2ZV94Og==", 23, secret, &len, &why), -1);
	assert_non_null(strstr(why, "base64"));
	assert_int_equal(basic_parse("Basic\0c2tfbGl2ZV94Og==", 22, secret, &len, &why), -1);
	assert_non_null(strstr(why, "not Basic"));
	assert_int_equal(basic_parse("Basic \xff\xfe", 8, secret, &len, &why), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_bytes_that_are_no_text) };

	return cmocka_run_group_tests_name("client/basic", tests, NULL, NULL);
}
