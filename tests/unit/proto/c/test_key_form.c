/*
 * test_key_form.c - what may be a key is found, and names that only begin like one are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/c/key_form.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
keys_are_found(void **state)
{
	static const char *const texts[] = { "sk_live_0123456789abcdefghijklmnopqrst000000", "pk_live_0123456789ab",
		"sk_test_abcdefghijkL", "pk_test_ABCDEFGHIJKLMNOP", "--secret-file=sk_live_a1b2c3d4e5f6",
		"xsk_live_a1b2c3d4e5f6-and-more", "Basic c2tfbGl2ZV8wMTIzNDU2Nzg5YWJjZGVm", "cGtfbGl2ZV8wMTIzNDU2Nzg5",
		"c2tfdGVzdF8wMTIzNDU2Nzg5", "cGtfdGVzdF8wMTIzNDU2Nzg5", "sk_live_sk_live_a1b2c3d4e5f6" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		if (!key_form_in(texts[i], strlen(texts[i])))
			fail_msg("not found: %s", texts[i]);
}

static void
names_are_not(void **state)
{
	static const char *const texts[] = { "", "sk", "sk_live", "sk_live_", "acct_42", "Basic", "--environment=live",
		"sk_live_acct_1.txt", "disk_live_01", "task_live_run", "/srv/mask_test_env/file", "sk_live_production",
		"sk_live_integrationtests", "sk-live-0123456789abcdef", "sk_live_0123456789a",
		"sk_live_0123-456789abcdef", "c2tfbGl2ZV", "c2tfbGl2ZV8wMTIzNDU" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		if (key_form_in(texts[i], strlen(texts[i])))
			fail_msg("found: %s", texts[i]);
	assert_false(key_form_in("sk_live_0123456789ab", 19));
	assert_false(key_form_in("sk_live_012345\0789abcd", 21));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(keys_are_found), cmocka_unit_test(names_are_not) };

	return cmocka_run_group_tests_name("key_form", tests, NULL, NULL);
}
