/*
 * test_pepper.c - pepper.c, pepper_file.c, pepper_text.c: the file is made once, and refused if anything about it is wrong
 * that an editor does not do; a kill leaves one file at most; the derived keys are
 * independent; the seal needs both pepper and token. The golden values are from an implementation in Python (hashlib's
 * BLAKE2b; SipHash-2-4-128 checked against its authors' vector).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/service/fixture.h"

#define DIGITS "0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526"
#define BARE "fob-pepper-v1 " DIGITS
#define LINE BARE "\n"

static void
assert_hex(const void *bytes, size_t len, const char *hex)
{
	char got[1024];

	assert_true(len * 2 < sizeof(got));
	assert_string_equal(sodium_bin2hex(got, sizeof(got), bytes, len), hex);
}

/* ---- the file ---- */

static void
is_made_once(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "", first[128] = "", second[128] = "";
	struct pepper *pepper;
	struct stat st;
	FILE *f;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	assert_int_equal(pepper_create(path, why, sizeof(why)), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, strlen(LINE));
	assert_non_null(f = fopen(path, "r"));
	assert_non_null(fgets(first, sizeof(first), f));
	fclose(f);

	assert_int_equal(pepper_create(path, why, sizeof(why)), 1);
	assert_non_null(f = fopen(path, "r"));
	assert_non_null(fgets(second, sizeof(second), f));
	fclose(f);
	assert_string_equal(first, second);
	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
	pepper_free(pepper);

	/* Another one is another one. */
	fixture_path(folder, "other", path);
	assert_int_equal(pepper_create(path, why, sizeof(why)), 0);
	assert_non_null(f = fopen(path, "r"));
	assert_non_null(fgets(second, sizeof(second), f));
	fclose(f);
	assert_string_not_equal(first, second);
	/* Nothing is left beside them. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unlink(fixture_path(folder, "pepper", path)), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void
nothing_is_replaced_by_it(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], target[FIXTURE_PATH], why[512] = "";
	struct stat st;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "empty", path);
	fixture_write_file(path, "", 0, 0600);
	assert_int_equal(pepper_create(path, why, sizeof(why)), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);

	/* A link is not followed: it may lead to where an attacker wants a file. */
	fixture_path(folder, "target", target);
	fixture_path(folder, "link", path);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(pepper_create(path, why, sizeof(why)), 1);
	assert_int_equal(access(target, F_OK), -1);

	fixture_path(folder, "no/such/folder", path);
	assert_int_equal(pepper_create(path, why, sizeof(why)), -1);
	assert_non_null(strstr(why, path));
	assert_non_null(strstr(why, "cannot make the pepper file: No such file"));
	fixture_remove(folder);
}

/* A pepper in a folder that cannot be written to is found. In a child process, which is not root. */
static void
one_that_is_there_needs_no_writing(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	int status;
	pid_t pid;

	(void)state;
	fixture_folder(folder);
	fixture_write_file(fixture_path(folder, "pepper", path), LINE, strlen(LINE), 0600);
	assert_int_equal(chmod(folder, 0555), 0);
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		char other[FIXTURE_PATH + 1];

		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(2);
		if (pepper_create(path, why, sizeof(why)) != 1)
			_exit(3);
		snprintf(other, sizeof(other), "%s2", path);
		_exit(pepper_create(other, why, sizeof(why)) == -1 ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(chmod(folder, 0700), 0);
	fixture_remove(folder);
}

/* The disk is full while the pepper is written: no part of it is left under its name. */
static void
no_half_of_one(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	int status;
	pid_t pid;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		struct rlimit limit = { 20, 20 };

		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
			_exit(2);
		_exit(
		    pepper_create(path, why, sizeof(why)) == -1 && strstr(why, "cannot write the pepper file") != NULL ?
			0 :
			3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* Loading what is at ${path} must fail, with this in its line. */
static void
refused(const char *path, const char *reason)
{
	struct pepper *pepper = NULL;
	char why[512] = "";

	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), -1);
	assert_null(pepper);
	assert_ptr_equal(strstr(why, path), why);
	if (strstr(why, reason) == NULL)
		fail_msg("not \"%s\", but: %s", reason, why);
	assert_null(strchr(why, '\n'));
	/* Nothing of its content. */
	assert_null(strstr(why, "0708090a"));
}

static void
modes(void **state)
{
	static const mode_t bad[] = { 0604, 0660, 0666, 0610, 0601, 0620, 0602, 0644 };
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	struct pepper *pepper;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fixture_write_file(path, LINE, strlen(LINE), bad[i]);
		refused(path, "others may read it: chmod 0600");
	}
	fixture_write_file(path, LINE, strlen(LINE), 0400);
	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
	pepper_free(pepper);
	fixture_write_file(path, LINE, strlen(LINE), 0600);
	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
	pepper_free(pepper);
	fixture_remove(folder);
}

static void
another_owner(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH];

	(void)state;
	if (geteuid() != 0)
		skip();
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	fixture_write_file(path, LINE, strlen(LINE), 0600);
	/* The error names the file's owner, as the user to run fobd as. */
	assert_int_equal(chown(path, 65534, 65534), 0);
	refused(path, "belongs to another user, nobody, and this runs as root: run it as nobody");
	assert_int_equal(chown(path, 4000000000U, 65534), 0);
	refused(path, "belongs to another user, 4000000000, and this runs as root: run it as 4000000000");
	fixture_remove(folder);
}

static void
no_file(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH];

	(void)state;
	fixture_folder(folder);
	refused(fixture_path(folder, "none", path), "`fobd --init`");
	fixture_path(folder, "folder", path);
	assert_int_equal(mkdir(path, 0700), 0);
	refused(path, "not a regular file");
	/* Opening a FIFO without a writer must not block. */
	fixture_path(folder, "fifo", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	refused(path, "not a regular file");
	alarm(0);
	fixture_remove(folder);
}

/* What editors and secret stores make of a file: the same pepper. */
static void
accepted_content(void **state)
{
	static const char bare[] = BARE;
	static const struct {
		const char *name, *before, *after;
	} cases[] = { { "no newline", "", "" }, { "CRLF", "", "\r\n" }, { "blanks at the end", "", " \t \n" },
		{ "blanks at the beginning", "  \t", "\n" }, { "a byte order mark", "\xef\xbb\xbf", "\n" },
		{ "all of it", "\xef\xbb\xbf\r\n \r\n  ", "  \r\n\r\n\n" } };
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], text[256], why[512] = "";
	struct pepper *pepper, *same = fixture_pepper(7);

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int len = snprintf(text, sizeof(text), "%s%s%s", cases[i].before, bare, cases[i].after);

		fixture_write_file(path, text, (size_t)len, 0600);
		if (pepper_load(path, &pepper, why, sizeof(why)) != 0)
			fail_msg("%s: %s", cases[i].name, why);
		assert_int_equal(pepper_lines(pepper), 1);
		assert_int_equal(pepper_added(pepper, same), 0);
		pepper_free(pepper);
		/* A line that is added to it leaves the first as it is, and the file as fobd writes it. */
		assert_int_equal(pepper_append(path, why, sizeof(why)), 0);
		assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
		assert_int_equal(pepper_added(pepper, same), 1);
		pepper_free(pepper);
	}
	pepper_free(same);
	fixture_remove(folder);
}

static void
other_content(void **state)
{
	static const struct {
		const char *name, *text;
		size_t len; /* 0: strlen() */
		const char *why;
	} cases[] = {
		{ "blank", "\n \n", 0, "it is empty" },
		{ "half", "fob-pepper-v1 0708090a0b0c0d0e0f10", 0, "line 1 has 20 characters after" },
		{ "a digit too many", BARE "a\n", 0, "line 1 has 65 characters" },
		{ "another magic", "Fob-pepper-v1 0708090a\n", 0, "line 1 does not begin with \"fob-pepper-v1\"" },
		{ "another version", "fob-pepper-v2 0708090a\n", 0, "line 1 does not begin with" },
		{ "the digits alone", DIGITS "\n", 0, "line 1 does not begin with" },
		{ "no space", "fob-pepper-v1" DIGITS "\n", 0, "and a space" },
		{ "not hex", "fob-pepper-v1 g708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526\n", 0,
		    "line 1 has a character among its 64 digits" },
		{ "a space in the hex",
		    "fob-pepper-v1 0708090a 0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252\n", 0,
		    "line 1 has a character among" },
		{ "a NUL in the hex",
		    "fob-pepper-v1 0708090a0b\0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526\n", 79,
		    "line 1 has a" },
		{ "something behind it", BARE "\n\nmore\n", 0, "line 3 does not begin with" },
		{ "the same twice", BARE "\r\n" BARE, 0, "line 2 repeats an earlier line" },
		{ "UTF-16",
		    "\xff\xfe"
		    "f\0o\0b\0",
		    8, "it is UTF-16" },
	};
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], text[5000];

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture_write_file(path, cases[i].text, cases[i].len != 0 ? cases[i].len : strlen(cases[i].text), 0600);
		refused(path, "not a pepper file: ");
		refused(path, cases[i].why);
	}
	fixture_write_file(path, "", 0, 0600);
	refused(path, "it is empty");
	memset(text, ' ', sizeof(text));
	fixture_write_file(path, text, sizeof(text), 0600);
	refused(path, "it is too long");
	fixture_remove(folder);
}

/* A container's secret, or systemd's: root's, and readable to a group that is root's or our own. */
static void
a_group_that_may_read(void **state)
{
	static const struct {
		gid_t group;
		mode_t mode;
		bool taken;
	} cases[] = { { 0, 0440, true }, { 0, 0640, true }, { 4711, 0440, true }, { 4712, 0440, false },
		{ 0, 0444, false }, { 4711, 0460, false }, { 4711, 0450, false } };
	static const gid_t groups[] = { 4711 };
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	struct pepper *pepper;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	fixture_folder(folder);
	assert_int_equal(chmod(folder, 0755), 0);
	fixture_path(folder, "pepper", path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture_write_file(path, LINE, strlen(LINE), cases[i].mode);
		assert_int_equal(chown(path, 0, cases[i].group), 0);
		assert_true((pid = fork()) >= 0);
		if (pid == 0) {
			/* Root's group may not be ours; the right to read it then comes from a list that the test has not. */
			gid_t gid = cases[i].group == 0 ? 0 : 65534;

			if (setgroups(1, groups) != 0 || setgid(gid) != 0 || setuid(65534) != 0)
				_exit(2);
			if (pepper_load(path, &pepper, why, sizeof(why)) == 0)
				_exit(0);
			_exit(strstr(why, "others may read it") != NULL || strstr(why, "Permission denied") != NULL ?
				1 :
				3);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), cases[i].taken ? 0 : 1);
	}
	fixture_remove(folder);
}

/* ---- a kill on the way ---- */

static unsigned
count_files(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(folder);

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 2;
}

static int killed_at; /* the call, counted from 1; 0: none */

/* rename(2) and link(2) in place of libc's: killed before it, or behind it. */
static int
with_kills(int (*call)(const char *, const char *), const char *from, const char *to)
{
	int rc;

	if (killed_at == 1)
		raise(SIGKILL);
	rc = call(from, to);
	if (killed_at == 2)
		raise(SIGKILL);
	return rc;
}

static int
link_of_libc(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int
rename_of_libc(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

__attribute__((visibility("default"))) int
link(const char *from, const char *to)
{
	return with_kills(link_of_libc, from, to);
}

__attribute__((visibility("default"))) int
rename(const char *from, const char *to)
{
	return with_kills(rename_of_libc, from, to);
}

/* However often it is killed, at most one file is left over, and the next one that is not killed removes it. */
static void
killed_on_the_way(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	struct pepper *pepper;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	for (int i = 0; i < 12; i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			killed_at = i % 4 < 3 ? 1 : 2;
			_exit(access(path, F_OK) == 0 ? pepper_append(path, why, sizeof(why)) :
							pepper_create(path, why, sizeof(why)));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_in_range(count_files(folder), 1, 2);
	}
	/* Made by the fourth, and rotated by the eighth and the twelfth. */
	assert_int_equal(pepper_append(path, why, sizeof(why)), 0);
	assert_int_equal(count_files(folder), 1);
	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
	assert_int_equal(pepper_lines(pepper), 4);
	pepper_free(pepper);
	fixture_remove(folder);
}

/* Rotations at once: each adds its line to the lines of those before it. */
static void
two_at_once(void **state)
{
	enum { N = 3 };
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	struct pepper *pepper;
	pid_t pids[N];
	int status;

	(void)state;
	fixture_folder(folder);
	fixture_write_file(fixture_path(folder, "pepper", path), LINE, strlen(LINE), 0600);
	for (int i = 0; i < N; i++) {
		assert_true((pids[i] = fork()) >= 0);
		if (pids[i] == 0)
			_exit(pepper_append(path, why, sizeof(why)) == 0 ? 0 : 1);
	}
	for (int i = 0; i < N; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	assert_int_equal(pepper_load(path, &pepper, why, sizeof(why)), 0);
	assert_int_equal(pepper_lines(pepper), N + 1);
	pepper_free(pepper);
	assert_int_equal(count_files(folder), 1);
	fixture_remove(folder);
}

/* ---- the keys ---- */

static uint8_t token[LIMIT_TOKEN];

static void
golden(void **state)
{
	static const char secret[] = "sk_live_0123456789ABCDEFGHIJabcdefghij4HNuAd";
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], why[512] = "";
	uint8_t id[PEPPER_ID_LEN], out[32];
	struct pepper *peppers[2];

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	fixture_write_file(path, LINE, strlen(LINE), 0600);
	assert_int_equal(pepper_load(path, &peppers[0], why, sizeof(why)), 0);
	peppers[1] = fixture_pepper(7);
	for (size_t i = 0; i < sizeof(token); i++)
		token[i] = (uint8_t)(100 + i);
	for (uint8_t i = 0; i < sizeof(id); i++)
		id[i] = i + 1;
	/* The same from the file as from the bytes. */
	for (int i = 0; i < 2; i++) {
		pepper_digest(peppers[i], secret, strlen(secret), out);
		assert_hex(out, 32, "cbd9015884c681416f179a635a68694f2cad776aa344e5445fbff195b2981545");
		pepper_index(peppers[i], token, out);
		assert_hex(out, 32, "ab2e31f67c64d145090b8df367c6899fe38ed4f083b6fce7c6192a08714d0cb5");
		pepper_request(peppers[i], "a request", 9, out);
		assert_hex(out, 32, "73b131117b3ce60efde90316725982134d2a456af9917e7d6f0ca34995396e34");
		pepper_fingerprint(peppers[i], id, ENVIRONMENT_LIVE, out);
		assert_hex(out, 32, "6024294aaf54297102476285aefa2ace783d7cda14d0c13ff3d926b5da1de13c");
		pepper_fingerprint(peppers[i], id, ENVIRONMENT_TEST, out);
		assert_hex(out, 32, "8921812ac092504d670385f56abc8e32f2739e7cd2f59529aeb8bc5fb596c748");
		pepper_tag(peppers[i], "a record", 8, out);
		assert_hex(out, 16, "9161e33ddb7898b046baf9b5ff6e4d2a");
		pepper_free(peppers[i]);
	}
	fixture_remove(folder);
}

/* The same input through every function of a pepper: no two results agree, with one pepper or with two. */
static void
keys_have_nothing_in_common(void **state)
{
	enum { EACH = 5 };
	uint8_t results[2 * EACH][32] = { { 0 } };
	struct pepper *peppers[2];

	(void)state;
	peppers[0] = fixture_pepper(1);
	peppers[1] = fixture_pepper(2);
	memset(token, 7, sizeof(token));
	for (int i = 0; i < 2; i++) {
		pepper_digest(peppers[i], token, 32, results[i * EACH]);
		pepper_index(peppers[i], token, results[i * EACH + 1]);
		pepper_request(peppers[i], token, 32, results[i * EACH + 2]);
		pepper_fingerprint(peppers[i], token, ENVIRONMENT_LIVE, results[i * EACH + 3]);
		pepper_tag(peppers[i], token, 32, results[i * EACH + 4]);
		pepper_free(peppers[i]);
	}
	for (int i = 0; i < 2 * EACH; i++)
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(results[i], results[j], 16);
}

/* ---- the seal ---- */

static const char text[] = "sk_live_0123456789ABCDEFGHIJabcdefghij4HNuAd";
static const char bound[] = "this request";

static void
opens_for_pepper_and_token(void **state)
{
	struct pepper *pepper = fixture_pepper(7), *other = fixture_pepper(8);
	uint8_t sealed[sizeof(text) + PEPPER_SEAL_LEN], again[sizeof(sealed)], other_token[LIMIT_TOKEN];
	char out[sizeof(text)];

	(void)state;
	memset(token, 1, sizeof(token));
	pepper_seal(pepper, token, bound, sizeof(bound), text, sizeof(text), sealed);
	assert_int_equal(pepper_unseal(pepper, token, bound, sizeof(bound), sealed, sizeof(sealed), out), 0);
	assert_memory_equal(out, text, sizeof(text));
	/* Twice is not the same bytes: a nonce is never used again. */
	pepper_seal(pepper, token, bound, sizeof(bound), text, sizeof(text), again);
	assert_memory_not_equal(sealed, again, PEPPER_NONCE_LEN);
	assert_memory_not_equal(sealed + PEPPER_NONCE_LEN, again + PEPPER_NONCE_LEN, sizeof(text));

	/* The token alone, the pepper alone, and another request. */
	assert_int_equal(pepper_unseal(other, token, bound, sizeof(bound), sealed, sizeof(sealed), out), -1);
	for (size_t bit = 0; bit < 8 * sizeof(token); bit++) {
		memcpy(other_token, token, sizeof(token));
		other_token[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(
		    pepper_unseal(pepper, other_token, bound, sizeof(bound), sealed, sizeof(sealed), out), -1);
	}
	assert_int_equal(pepper_unseal(pepper, token, bound, sizeof(bound) - 1, sealed, sizeof(sealed), out), -1);
	assert_int_equal(pepper_unseal(pepper, token, "That request", sizeof(bound), sealed, sizeof(sealed), out), -1);
	assert_int_equal(pepper_unseal(pepper, token, NULL, 0, sealed, sizeof(sealed), out), -1);
	pepper_free(other);
	pepper_free(pepper);
}

static void
every_flip_and_length_is_noticed(void **state)
{
	struct pepper *pepper = fixture_pepper(7);
	uint8_t sealed[sizeof(text) + PEPPER_SEAL_LEN + 1] = { 0 };
	char out[sizeof(text) + 1];

	(void)state;
	memset(token, 1, sizeof(token));
	pepper_seal(pepper, token, bound, sizeof(bound), text, sizeof(text), sealed);
	for (size_t bit = 0; bit < 8 * (sizeof(sealed) - 1); bit++) {
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(
		    pepper_unseal(pepper, token, bound, sizeof(bound), sealed, sizeof(sealed) - 1, out), -1);
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t len = 0; len <= sizeof(sealed); len++)
		assert_int_equal(pepper_unseal(pepper, token, bound, sizeof(bound), sealed, len, out),
		    len == sizeof(sealed) - 1 ? 0 : -1);

	/* An empty reply is one too. */
	pepper_seal(pepper, token, bound, sizeof(bound), NULL, 0, sealed);
	assert_int_equal(pepper_unseal(pepper, token, bound, sizeof(bound), sealed, PEPPER_SEAL_LEN, out), 0);
	pepper_free(pepper);
}

/* Sealed by an XChaCha20-Poly1305 in Python: what a database holds must open for ever. */
static void
imported_keys_have_digests_of_their_own(void **state)
{
	struct pepper *pepper = fixture_pepper(1);
	uint8_t sha256[32] = { 1 }, secret[32], publishable[32], plain[32], data[33];

	(void)state;
	pepper_imported(pepper, KIND_SECRET, sha256, secret);
	pepper_imported(pepper, KIND_PUBLISHABLE, sha256, publishable);
	assert_memory_not_equal(secret, publishable, 32);
	/* Knowing an imported key's SHA-256 is not enough: given as a key it has another digest. */
	pepper_digest(pepper, sha256, 32, plain);
	assert_memory_not_equal(secret, plain, 32);
	data[0] = KIND_SECRET;
	memcpy(data + 1, sha256, 32);
	pepper_digest(pepper, data, 33, plain);
	assert_memory_not_equal(secret, plain, 32);
	pepper_free(pepper);
}

static void
golden_seal(void **state)
{
	static const char hex[] = "000102030405060708090a0b0c0d0e0f1011121314151617d0684c530cda068ac92609ac0cb09979"
				  "5a8c9a36b196554454822ed4";
	struct pepper *pepper = fixture_pepper(7);
	uint8_t sealed[12 + PEPPER_SEAL_LEN];
	char out[12];
	size_t len;

	(void)state;
	memset(token, 1, sizeof(token));
	assert_int_equal(sodium_hex2bin(sealed, sizeof(sealed), hex, strlen(hex), NULL, &len, NULL), 0);
	assert_int_equal(len, sizeof(sealed));
	assert_int_equal(pepper_unseal(pepper, token, bound, sizeof(bound), sealed, len, out), 0);
	assert_memory_equal(out, "a golden one", 12);
	pepper_free(pepper);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_made_once),
		cmocka_unit_test(nothing_is_replaced_by_it),
		cmocka_unit_test(one_that_is_there_needs_no_writing),
		cmocka_unit_test(no_half_of_one),
		cmocka_unit_test(modes),
		cmocka_unit_test(another_owner),
		cmocka_unit_test(no_file),
		cmocka_unit_test(accepted_content),
		cmocka_unit_test(other_content),
		cmocka_unit_test(a_group_that_may_read),
		cmocka_unit_test(killed_on_the_way),
		cmocka_unit_test(two_at_once),
		cmocka_unit_test(golden),
		cmocka_unit_test(keys_have_nothing_in_common),
		cmocka_unit_test(opens_for_pepper_and_token),
		cmocka_unit_test(every_flip_and_length_is_noticed),
		cmocka_unit_test(golden_seal),
		cmocka_unit_test(imported_keys_have_digests_of_their_own),
	};

	return cmocka_run_group_tests_name("pepper", tests, fixture_begin, NULL);
}
