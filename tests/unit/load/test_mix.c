/*
 * test_mix.c - mix.c: what a mix may say, and that operations come as often as it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/load/mix.c"

static void
reads_mixes(void **state)
{
	static const struct {
		const char *text;
		unsigned weights[OPS];
	} cases[] = {
		{ "verify", { 1, 0, 0 } },
		{ "roll", { 0, 1, 0 } },
		{ "verify=90,roll=5,bad=5", { 90, 5, 5 } },
		{ "bad=1000000,verify=0", { 0, 0, 1000000 } },
		{ "bad,roll,verify", { 1, 1, 1 } },
	};
	struct mix mix;
	char why[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(mix_parse(cases[i].text, &mix, why, sizeof(why)), 0);
		assert_memory_equal(mix.weights, cases[i].weights, sizeof(mix.weights));
		assert_int_equal(mix.sum, mix.weights[0] + mix.weights[1] + mix.weights[2]);
	}
}

static void
refuses_others(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "\"\" is no operation: verify, roll, bad" },
		{ "verify,", "\"\" is no operation: verify, roll, bad" },
		{ "verif", "\"verif\" is no operation: verify, roll, bad" },
		{ "verify =1", "\"verify \" is no operation: verify, roll, bad" },
		{ "roll=1,roll=2", "\"roll\" is given twice" },
		{ "verify=0", "all weights are 0" },
		{ "verify=", "the weight of \"verify\" is a number from 0 to 1000000" },
		{ "verify=-1", "the weight of \"verify\" is a number from 0 to 1000000" },
		{ "verify=1.5", "the weight of \"verify\" is a number from 0 to 1000000" },
		{ "bad=1000001", "the weight of \"bad\" is a number from 0 to 1000000" },
		{ "bad=99999999999999999999999", "the weight of \"bad\" is a number from 0 to 1000000" },
	};
	struct mix mix;
	char why[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(mix_parse(cases[i].text, &mix, why, sizeof(why)), -1);
		assert_string_equal(why, cases[i].why);
	}
}

static void
picks_as_often_as_said(void **state)
{
	struct rng rng = rng_new(3);
	unsigned seen[OPS] = { 0 }, i;
	struct mix mix;
	char why[128];

	(void)state;
	assert_int_equal(mix_parse("verify=90,bad=10", &mix, why, sizeof(why)), 0);
	for (i = 0; i < 100000; i++)
		seen[mix_pick(&mix, &rng)]++;
	assert_int_equal(seen[OP_ROLL], 0);
	assert_in_range(seen[OP_VERIFY], 89000, 91000);
	assert_int_equal(mix_parse("roll=7", &mix, why, sizeof(why)), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(mix_pick(&mix, &rng), OP_ROLL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_mixes),
		cmocka_unit_test(refuses_others),
		cmocka_unit_test(picks_as_often_as_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
