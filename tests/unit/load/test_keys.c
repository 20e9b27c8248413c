/*
 * test_keys.c - keys.c: what goes to a file comes back, with mode 0600; what is no key is refused without being shown;
 * bad keys are bad in the two ways that they should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/load/keys.c"

#include "service/keys/secret.h"

#define GOOD "sk_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct place {
	char folder[256];
	char path[272];
};

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct place *p = calloc(1, sizeof(*p));

	if (p == NULL ||
	    (size_t)snprintf(p->folder, sizeof(p->folder), "%s/keys.XXXXXX", tmp != NULL ? tmp : "/tmp") >=
		sizeof(p->folder) ||
	    mkdtemp(p->folder) == NULL)
		return -1;
	snprintf(p->path, sizeof(p->path), "%s/k", p->folder);
	*state = p;
	return 0;
}

/* That it is empty but for the one file is a part of every test: nothing temporary is left. */
static int
teardown(void **state)
{
	struct place *p = *state;
	int rc;

	unlink(p->path);
	rc = rmdir(p->folder);
	free(p);
	return rc;
}

static void
write_text(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void
comes_back_from_a_file(void **state)
{
	struct place *p = *state;
	struct keys out = { 0 }, in;
	struct stat st;
	char why[256];
	size_t i;

	/* More than a buffer of the file, and than the first room in memory. */
	assert_int_equal(keys_add_bad(&out, 5000), 0);
	write_text(p->path, "old", 3);
	assert_int_equal(chmod(p->path, 0644), 0);
	assert_int_equal(keys_save(p->path, &out, why, sizeof(why)), 0);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 5000 * 45);
	assert_int_equal(keys_load(p->path, &in, why, sizeof(why)), 0);
	assert_int_equal(in.n, 5000);
	for (i = 0; i < in.n; i++)
		assert_string_equal(in.secrets[i], out.secrets[i]);
	keys_fini(&in);
	keys_fini(&out);
	assert_null(in.secrets);
}

static void
reads_what_people_write(void **state)
{
	struct place *p = *state;
	const char text[] = "# staging\n\n" GOOD "\r\nother_system_1\n" GOOD;
	struct keys keys;
	char why[256];

	write_text(p->path, text, sizeof(text) - 1);
	assert_int_equal(keys_load(p->path, &keys, why, sizeof(why)), 0);
	assert_int_equal(keys.n, 3);
	assert_string_equal(keys.secrets[0], GOOD);
	assert_string_equal(keys.secrets[1], "other_system_1");
	assert_string_equal(keys.secrets[2], GOOD);
	keys_fini(&keys);
}

static void
refuses_what_is_no_key(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} cases[] = {
		{ "", 0, "no key in it" },
		{ "# none\n", 7, "no key in it" },
		{ GOOD "\nsk_live_bb bb\n", sizeof(GOOD "\nsk_live_bb bb\n") - 1,
		    ":2: not a key: a character that no key has" },
		{ "sk_live_abc\n", 12, ":1: not a key: too short or too long" },
		{ GOOD "aaaa\n", sizeof(GOOD "aaaa\n") - 1, ":1: not a key: too short or too long" },
		{ "sk_live_aaaa\0aaaaaaa\n", 21, ":1: not a key: too short or too long" },
		{ "\n\n-----BEGIN\n", 13, ":3: not a key: a character that no key has" },
	};
	struct place *p = *state;
	struct keys keys;
	char why[256];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_text(p->path, cases[i].text, cases[i].len);
		assert_int_equal(keys_load(p->path, &keys, why, sizeof(why)), -1);
		assert_non_null(strstr(why, cases[i].why));
		assert_null(strstr(why, "aaaa"));
		assert_null(strstr(why, "bb"));
		assert_null(keys.secrets);
	}
	assert_int_equal(keys_load(p->folder, &keys, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "Is a directory"));
	unlink(p->path);
	assert_int_equal(keys_load(p->path, &keys, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "No such file or directory"));
}

static void
says_why_it_cannot_save(void **state)
{
	struct place *p = *state;
	struct keys keys = { 0 };
	char why[512], path[300];

	assert_int_equal(keys_add(&keys, GOOD, strlen(GOOD)), 0);
	snprintf(path, sizeof(path), "%s/absent/k", p->folder);
	assert_int_equal(keys_save(path, &keys, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "No such file or directory"));
	/* A folder is in the way: what was written meanwhile is removed again, as teardown sees. */
	assert_int_equal(mkdir(p->path, 0700), 0);
	assert_int_equal(keys_save(p->path, &keys, why, sizeof(why)), -1);
	assert_int_equal(rmdir(p->path), 0);
	keys_fini(&keys);
}

/* As the service itself sees it. */
static void
bad_keys_are_bad(void **state)
{
	struct keys keys = { 0 };
	struct secret_form form;
	const char *why;
	size_t i;

	(void)state;
	assert_int_equal(keys_add_bad(&keys, 400), 0);
	for (i = 0; i < keys.n; i++) {
		assert_int_equal(
		    secret_parse(keys.secrets[i], strlen(keys.secrets[i]), &form, &why), i % 2 == 0 ? 1 : 0);
		assert_int_equal(form.environment, i % 4 < 2 ? ENVIRONMENT_LIVE : ENVIRONMENT_TEST);
		assert_int_equal(form.kind, KIND_SECRET);
	}
	keys_fini(&keys);
}

/* All of the keys from the first on, and none before it. */
static void
chooses_among_keys(void **state)
{
	bool seen[8] = { false };
	struct keys keys = { 0 };
	struct keys_choice choice;
	char secret[] = GOOD;
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		secret[sizeof(secret) - 2] = (char)('0' + i);
		assert_int_equal(keys_add(&keys, secret, strlen(secret)), 0);
	}
	keys_choose(&choice, &keys, 3, 7);
	for (i = 0; i < 1000; i++)
		seen[keys_next(&choice)[sizeof(secret) - 2] - '0'] = true;
	for (i = 0; i < 8; i++)
		assert_int_equal(seen[i], i >= 3);
	keys_choose(&choice, &keys, 7, 7);
	assert_int_equal(keys_next(&choice)[sizeof(secret) - 2], '7');
	keys_fini(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back_from_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_what_people_write, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_is_no_key, setup, teardown),
		cmocka_unit_test_setup_teardown(says_why_it_cannot_save, setup, teardown),
		cmocka_unit_test(bad_keys_are_bad),
		cmocka_unit_test(chooses_among_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
