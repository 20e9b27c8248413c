/*
 * test_log.c - the form of a line in both formats, escaping of a peer's bytes, the limit of 4 KiB, and that a full or
 * closed stderr neither blocks nor ends the process. stderr is a datagram socket here: one write(2) is one message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/log.h"

struct capture {
	int saved;
	int fd;
};

static void
capture_begin(struct capture *c)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	c->saved = dup(STDERR_FILENO);
	assert_true(c->saved >= 0);
	assert_true(dup2(pair[1], STDERR_FILENO) >= 0);
	close(pair[1]);
	c->fd = pair[0];
}

static void
capture_end(struct capture *c)
{
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	close(c->fd);
}

/* The next line, without its newline; "" when there is none. */
static const char *
capture_line(struct capture *c)
{
	static char line[8192];
	ssize_t n = recv(c->fd, line, sizeof(line) - 1, MSG_DONTWAIT);

	line[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		return "";
	if (n > 4096 || line[n - 1] != '\n')
		return "(not one line of at most 4096 bytes)";
	line[n - 1] = '\0';
	return line;
}

/* What follows the time and the level. */
static const char *
after_stamp(const char *line)
{
	const char *at = strstr(line, " msg=");

	if (at == NULL)
		at = strstr(line, ",\"msg\":");
	return at == NULL ? line : at + 1;
}

static bool
matches(const char *text, const char *pattern)
{
	regex_t r;
	bool yes;

	assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
	yes = regexec(&r, text, 0, NULL, 0) == 0;
	regfree(&r);
	return yes;
}

#define STAMP "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"

static void
form_of_a_line(void **state)
{
	struct capture c;
	const char *line;

	(void)state;
	capture_begin(&c);
	log_setup(LOG_INFO, false);
	LOG(LOG_WARN, "key rolled", LOG_S("account", "acct_1"), LOG_I("generation", 3), LOG_T("superseded", true),
	    LOG_I("least", INT64_MIN), LOG_B("some", "abcdef", 3), LOG_S("none", NULL), LOG_B("nothing", NULL, 0),
	    LOG_S("empty", ""));
	line = capture_line(&c);
	if (!matches(line,
		"^time=" STAMP " level=warn msg=\"key rolled\" account=acct_1 generation=3 superseded=true "
		"least=-9223372036854775808 some=abc empty=\"\"$"))
		fail_msg("%s", line);

	log_setup(LOG_INFO, true);
	LOG(LOG_ERROR, "key rolled", LOG_S("account", "acct_1"), LOG_I("generation", -3), LOG_T("superseded", false),
	    LOG_S("none", NULL));
	line = capture_line(&c);
	if (!matches(line,
		"^\\{\"time\":\"" STAMP "\",\"level\":\"error\",\"msg\":\"key rolled\","
		"\"account\":\"acct_1\",\"generation\":-3,\"superseded\":false\\}$"))
		fail_msg("%s", line);
	log_line(LOG_INFO, "bare", NULL, 0);
	assert_string_equal(after_stamp(capture_line(&c)), "\"msg\":\"bare\"}");
	capture_end(&c);
}

static void
the_journal_gets_priorities(void **state)
{
	static const char *const prefixes[] = { "<3>", "<4>", "<6>", "<7>" };
	char stream[64], pattern[128];
	struct capture c;
	struct stat st;

	(void)state;
	capture_begin(&c);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	for (int json = 0; json < 2; json++)
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			log_setup(LOG_DEBUG, json);
			log_line((enum log_level)level, "m", NULL, 0);
			snprintf(pattern, sizeof(pattern), "^%s%s" STAMP, prefixes[level], json ? "\\{\"time\":\"" : "time=");
			assert_true(matches(capture_line(&c), pattern));
		}
	/* As a child finds it whose stderr is another file. */
	assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_setup(LOG_INFO, false);
	log_line(LOG_ERROR, "m", NULL, 0);
	assert_true(matches(capture_line(&c), "^time=" STAMP));
	unsetenv("JOURNAL_STREAM");
	capture_end(&c);
}

static void
levels(void **state)
{
	struct capture c;

	(void)state;
	capture_begin(&c);
	for (int setup = LOG_ERROR; setup <= LOG_DEBUG; setup++)
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			log_setup((enum log_level)setup, false);
			assert_int_equal(log_enabled((enum log_level)level), level <= setup);
			log_line((enum log_level)level, "m", NULL, 0);
			assert_int_equal(capture_line(&c)[0] != '\0', level <= setup);
		}
	capture_end(&c);
}

static const struct escape {
	const char *bytes;
	size_t len;
	const char *logfmt;
	const char *json;
} escapes[] = {
#define B(text) text, sizeof(text) - 1
	{ B("plain-1.2_3"), "plain-1.2_3", "\"plain-1.2_3\"" }, { B("two words"), "\"two words\"", "\"two words\"" },
	{ B("a=b"), "\"a=b\"", "\"a=b\"" }, { B("say \"x\""), "\"say \\\"x\\\"\"", "\"say \\\"x\\\"\"" },
	{ B("\""), "\"\\\"\"", "\"\\\"\"" }, { B("back\\slash"), "\"back\\\\slash\"", "\"back\\\\slash\"" },
	{ B("a\nlevel=error"), "\"a\\x0Alevel=error\"", "\"a\\\\x0Alevel=error\"" },
	{ B("\r\t\x1b[2J"), "\"\\x0D\\x09\\x1B[2J\"", "\"\\\\x0D\\\\x09\\\\x1B[2J\"" },
	{ B("nul\0in"), "\"nul\\x00in\"", "\"nul\\\\x00in\"" }, { B("\x7f"), "\"\\x7F\"", "\"\\\\x7F\"" },
	{ B("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"", "\"gr\xc3\xbc\xc3\x9f\"" },
	{ B("\xf0\x9f\x94\x91"), "\"\xf0\x9f\x94\x91\"", "\"\xf0\x9f\x94\x91\"" },
	{ B("\xff"), "\"\\xFF\"", "\"\\\\xFF\"" }, { B("\xc3"), "\"\\xC3\"", "\"\\\\xC3\"" }, /* cut short */
	{ B("\xc3("), "\"\\xC3(\"", "\"\\\\xC3(\"" },                                         /* not continued */
	{ B("\x80"), "\"\\x80\"", "\"\\\\x80\"" },                                            /* a continuation alone */
	{ B("\xc0\xaf"), "\"\\xC0\\xAF\"", "\"\\\\xC0\\\\xAF\"" },                            /* overlong '/' */
	{ B("\xe0\x80\xaf"), "\"\\xE0\\x80\\xAF\"", "\"\\\\xE0\\\\x80\\\\xAF\"" },            /* likewise */
	{ B("\xed\xa0\x80"), "\"\\xED\\xA0\\x80\"", "\"\\\\xED\\\\xA0\\\\x80\"" },            /* a surrogate */
	{ B("\xf4\x90\x80\x80"), "\"\\xF4\\x90\\x80\\x80\"", "\"\\\\xF4\\\\x90\\\\x80\\\\x80\"" }, /* U+110000 */
	{ B("\xc2\x9b"), "\"\\xC2\\x9B\"", "\"\\\\xC2\\\\x9B\"" },                 /* CSI, what ESC [ is in 8 bits */
	{ B("\xe2\x80\xa8"), "\"\\xE2\\x80\\xA8\"", "\"\\\\xE2\\\\x80\\\\xA8\"" }, /* line separator */
	{ B("\xe2\x80\xae"), "\"\\xE2\\x80\\xAE\"", "\"\\\\xE2\\\\x80\\\\xAE\"" }, /* right-to-left override */
#undef B
};

static void
a_peers_bytes_are_escaped(void **state)
{
	struct capture c;
	char expected[256];

	(void)state;
	capture_begin(&c);
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		log_setup(LOG_INFO, false);
		LOG(LOG_INFO, "m", LOG_B("v", escapes[i].bytes, escapes[i].len));
		snprintf(expected, sizeof(expected), "msg=m v=%s", escapes[i].logfmt);
		assert_string_equal(after_stamp(capture_line(&c)), expected);
		log_setup(LOG_INFO, true);
		LOG(LOG_INFO, "m", LOG_B("v", escapes[i].bytes, escapes[i].len));
		snprintf(expected, sizeof(expected), "\"msg\":\"m\",\"v\":%s}", escapes[i].json);
		assert_string_equal(after_stamp(capture_line(&c)), expected);
	}
	capture_end(&c);
}

static void
check_end(const char *line, bool json, size_t value_len)
{
	static const char *const whole[] = { " after=z", ",\"after\":\"z\"}" };
	static const char *const cut[] = { " truncated=true", ",\"truncated\":true}" };
	const char *end = (strstr(line, "truncated") != NULL ? cut : whole)[json];

	assert_true(strlen(line) > strlen(end));
	assert_string_equal(line + strlen(line) - strlen(end), end);
	if (end == whole[json])
		assert_true(value_len < 4096);
	else
		assert_true(strlen(line) > 4040 && strstr(line, "after") == NULL);
	/* Quotes in pairs: the value was closed where it was cut. */
	if (json)
		assert_true(matches(line, "^\\{(\"[a-z]+\":(\"([^\"\\]|\\\\.)*\"|true),?)+\\}$"));
	else
		assert_true(matches(line, "^([a-z]+=([^ \"]+|\"([^\"\\]|\\\\.)*\") ?)+$"));
}

/* Values of every length around the limit, of bytes that take 1, 2, 4 or 5 in the line: none is torn, all are closed. */
static void
a_long_line_is_cut_and_says_so(void **state)
{
	static const size_t in_line[2][4] = { { 1, 2, 4, 1 }, { 1, 2, 5, 1 } };
	static char value[5000];
	struct capture c;

	(void)state;
	capture_begin(&c);
	for (int format = 0; format < 2; format++)
		for (int kind = 0; kind < 4; kind++)
			for (size_t len = 1; len < sizeof(value); len++) {
				if (len * in_line[format][kind] < 3950 ||
				    (len > 850 && len % 512 < 500 && len * in_line[format][kind] > 4050))
					continue;
				log_setup(LOG_INFO, format == 1);
				memset(value, "a\"\xff="[kind], len);
				LOG(LOG_INFO, "m", LOG_B("v", value, len), LOG_S("after", "z"));
				check_end(capture_line(&c), format == 1, len);
			}
	capture_end(&c);
}

static void
many_fields_are_cut_between_two(void **state)
{
	struct log_field fields[600];
	struct capture c;
	const char *line;

	(void)state;
	for (size_t i = 0; i < 600; i++)
		fields[i] = i % 2 == 0 ? LOG_I("number", 1234567890123) : LOG_T("truth", true);
	capture_begin(&c);
	log_setup(LOG_INFO, false);
	log_line(LOG_INFO, "m", fields, 600);
	line = capture_line(&c);
	assert_true(matches(line, " (number=1234567890123|truth=true) truncated=true$"));
	log_setup(LOG_INFO, true);
	log_line(LOG_INFO, "m", fields, 600);
	line = capture_line(&c);
	assert_true(matches(line, ",\"(number\":1234567890123|truth\":true),\"truncated\":true\\}$"));
	capture_end(&c);
}

/* In a child process: a write that blocks ends by SIGALRM, and a SIGPIPE is noticed. */
static int
in_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(10);
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
log_to_a_full_pipe(void)
{
	static char drained[1 << 20];
	int p[2];
	ssize_t n;

	if (pipe(p) != 0 || dup2(p[1], STDERR_FILENO) < 0)
		_exit(2);
	log_setup(LOG_INFO, false);
	for (int i = 0; i < 5000; i++)
		LOG(LOG_INFO, "filling", LOG_I("i", i));
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	while ((n = read(p[0], drained, sizeof(drained))) > 0)
		;
	LOG(LOG_INFO, "room again", LOG_I("i", 1));
	n = read(p[0], drained, sizeof(drained) - 1);
	if (n <= 0)
		_exit(3);
	drained[n] = '\0';
	if (!strstr(drained, "level=warn msg=\"log lines dropped: stderr was full\" dropped="))
		_exit(4);
	if (strstr(drained, "room again") < strstr(drained, "dropped="))
		_exit(5);
	LOG(LOG_INFO, "once", LOG_I("i", 2));
	n = read(p[0], drained, sizeof(drained) - 1);
	drained[n > 0 ? n : 0] = '\0';
	if (strstr(drained, "dropped") != NULL || strstr(drained, "msg=once i=2\n") == NULL)
		_exit(6);
}

static void
log_to_a_left_pipe(void)
{
	int p[2];

	signal(SIGPIPE, SIG_DFL);
	if (pipe(p) != 0 || dup2(p[1], STDERR_FILENO) < 0)
		_exit(2);
	close(p[0]);
	LOG(LOG_ERROR, "nobody reads this", LOG_I("i", 1));
}

static void
log_to_nothing(void)
{
	close(STDERR_FILENO);
	LOG(LOG_ERROR, "nobody reads this", LOG_I("i", 1));
}

static void
nonblocking_and_full(void)
{
	int p[2];

	if (pipe2(p, O_NONBLOCK) != 0 || dup2(p[1], STDERR_FILENO) < 0)
		_exit(2);
	for (int i = 0; i < 5000; i++)
		LOG(LOG_ERROR, "filling", LOG_I("i", i));
}

static void
a_bad_stderr_stops_nothing(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_to_a_full_pipe), 0);
	assert_int_equal(in_child(log_to_a_left_pipe), 0);
	assert_int_equal(in_child(log_to_nothing), 0);
	assert_int_equal(in_child(nonblocking_and_full), 0);
}

enum { THREADS = 4, LINES = 300 };

static void *
write_lines(void *arg)
{
	static const char filler[300] = { 1 };

	for (int i = 0; i < LINES; i++)
		LOG(LOG_INFO, "m", LOG_B("filler", filler, sizeof(filler)), LOG_S("by", arg), LOG_S("end", "here"));
	return NULL;
}

static void
threads_do_not_mix_their_lines(void **state)
{
	static char names[THREADS][4] = { "one", "two", "thr", "fou" };
	pthread_t threads[THREADS];
	FILE *file = tmpfile();
	char line[8192];
	unsigned seen = 0;
	int saved = dup(STDERR_FILENO);

	(void)state;
	assert_non_null(file);
	assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	log_setup(LOG_INFO, false);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
	for (int i = 0; i < LINES; i++)
		log_setup(LOG_INFO, false);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	for (; fgets(line, sizeof(line), file) != NULL; seen++)
		if (!matches(line,
			"^time=" STAMP " level=info msg=m filler=\"[^\"]*\" by=(one|two|thr|fou) "
			"end=here\n$"))
			fail_msg("%s", line);
	assert_int_equal(seen, THREADS * LINES);
	fclose(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(form_of_a_line),
		cmocka_unit_test(the_journal_gets_priorities),
		cmocka_unit_test(levels),
		cmocka_unit_test(a_peers_bytes_are_escaped),
		cmocka_unit_test(a_long_line_is_cut_and_says_so),
		cmocka_unit_test(many_fields_are_cut_between_two),
		cmocka_unit_test(a_bad_stderr_stops_nothing),
		cmocka_unit_test(threads_do_not_mix_their_lines),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
