/*
 * test_journal.c - a descriptor is the journal's stream if JOURNAL_STREAM names its device and inode, and not otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/c/journal.h"

/* JOURNAL_STREAM has the numbers of ${fd}, and ${texts} before, between and behind them. */
static void
name_stream(int fd, const char *const texts[3], unsigned more_device, unsigned more_inode)
{
	char text[128];
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(text, sizeof(text), "%s%llu%s%llu%s", texts[0], (unsigned long long)st.st_dev + more_device, texts[1],
	    (unsigned long long)st.st_ino + more_inode, texts[2]);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static const char *const right[3] = { "", ":", "" };

static void
the_stream_is_known_by_device_and_inode(void **state)
{
	int pair[2], copy;

	(void)state;
	/* The journal's stream is a unix socket. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	copy = dup(pair[0]);
	name_stream(pair[0], right, 0, 0);
	assert_true(journal_is_fd(pair[0]));
	assert_true(journal_is_fd(copy));
	assert_false(journal_is_fd(pair[1])); /* another socket: only the inode differs */
	name_stream(pair[0], right, 1, 0);
	assert_false(journal_is_fd(pair[0]));
	name_stream(pair[0], right, 0, 1);
	assert_false(journal_is_fd(pair[0]));
	unsetenv("JOURNAL_STREAM");
	assert_false(journal_is_fd(pair[0]));
	name_stream(pair[0], right, 0, 0);
	close(pair[0]);
	assert_false(journal_is_fd(pair[0])); /* closed */
	close(copy);
	close(pair[1]);
}

static void
other_texts_name_no_stream(void **state)
{
	static const char *const texts[][3] = { { "", "", "" }, { "", ".", "" }, { "", ":", ":" }, { "", ":", " " },
		{ "", ":", "\n" }, { "", ": ", "" }, { "", ":+", "" }, { "", ":-", "" }, { " ", ":", "" }, { "+", ":", "" },
		{ "x", ":", "" }, { "0x", ":0x", "" }, { "18446744073709551616", ":", "" } };
	static const char *const others[] = { "", ":", "1", "1:", ":1" };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		name_stream(pair[0], texts[i], 0, 0);
		if (journal_is_fd(pair[0]))
			fail_msg("\"%s\" names a stream", getenv("JOURNAL_STREAM"));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		setenv("JOURNAL_STREAM", others[i], 1);
		assert_false(journal_is_fd(pair[0]));
	}
	unsetenv("JOURNAL_STREAM");
	close(pair[0]);
	close(pair[1]);
}

static void
priorities_are_syslogs(void **state)
{
	(void)state;
	assert_string_equal(journal_prefix(0), "<3>");
	assert_string_equal(journal_prefix(1), "<4>");
	assert_string_equal(journal_prefix(2), "<6>");
	assert_string_equal(journal_prefix(3), "<7>");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_stream_is_known_by_device_and_inode),
		cmocka_unit_test(other_texts_name_no_stream),
		cmocka_unit_test(priorities_are_syslogs),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
