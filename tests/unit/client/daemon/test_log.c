/*
 * test_log.c - the form of fob-http's lines in both formats, and their priority where stderr is the journal's stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/daemon/log.h"

/* stderr is ${read_end}'s other end meanwhile. */
static int saved, read_end;

static int
begin(void **state)
{
	int p[2];

	(void)state;
	saved = dup(STDERR_FILENO);
	if (saved < 0 || pipe2(p, O_CLOEXEC) != 0 || dup2(p[1], STDERR_FILENO) < 0)
		return -1;
	close(p[1]);
	read_end = p[0];
	return 0;
}

static int
end(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(read_end);
	return unsetenv("JOURNAL_STREAM");
}

/* What was written since. */
static const char *
said(void)
{
	static char text[8192];
	ssize_t n;

	fcntl(read_end, F_SETFL, O_NONBLOCK);
	n = read(read_end, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
be_the_journal(void)
{
	char text[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static void
check(const char *begins, const char *ends)
{
	const char *line = said();

	if (strncmp(line, begins, strlen(begins)) != 0 || strlen(line) < strlen(ends) ||
	    strcmp(line + strlen(line) - strlen(ends), ends) != 0)
		fail_msg("not %s...%s but %s", begins, ends, line);
}

static void
form_of_a_line(void **state)
{
	(void)state;
	log_setup(LOG_INFO, false);
	log_line(LOG_WARN, "two words", "name", "a=b\n", "empty", "", NULL);
	check("time=2", "Z level=warn msg=\"two words\" name=\"a=b\\x0A\" empty=\"\"\n");
	log_line(LOG_DEBUG, "below the level", NULL);
	assert_string_equal(said(), "");
	log_setup(LOG_DEBUG, true);
	log_line(LOG_DEBUG, "m", "name", "a\"\x7f", NULL);
	check("{\"time\":\"2", "Z\",\"level\":\"debug\",\"msg\":\"m\",\"name\":\"a\\\"\\\\x7F\"}\n");
}

static void
the_journal_gets_priorities(void **state)
{
	static const char *const prefixes[] = { "<3>", "<4>", "<6>", "<7>" };
	char begins[32];

	(void)state;
	be_the_journal();
	for (int json = 0; json < 2; json++)
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			log_setup(LOG_DEBUG, json);
			log_line((enum log_level)level, "m", NULL);
			snprintf(begins, sizeof(begins), "%s%s2", prefixes[level], json ? "{\"time\":\"" : "time=");
			check(begins, json ? "\"msg\":\"m\"}\n" : " msg=m\n");
		}
	/* As a child finds it whose stderr is another file. */
	assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_setup(LOG_INFO, false);
	log_line(LOG_ERROR, "m", NULL);
	check("time=2", " level=error msg=m\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(form_of_a_line, begin, end),
		cmocka_unit_test_setup_teardown(the_journal_gets_priorities, begin, end),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
