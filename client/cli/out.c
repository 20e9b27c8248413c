/*
 * out.c - what the command line writes: words to stderr, tables and JSON to stdout. Owns the one buffer that answers
 * pass through, secrets included: it is wiped, and every failed write is remembered. Never allocates except through
 * jansson, whose memory is wiped when it is freed.
 */
#include "client/cli/out.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/out_internal.h"
#include "client/cli/text.h"
#include "client/fob.h"

#define LINE_SIZE 1024
#define PAIR_WIDTH 28
#define TERMINAL_WIDTH 80 /* of one that does not tell */
#define READY_BYTES 4096 /* more than four keys need, as JSON */

static bool json_wanted;
static bool terminal; /* stdout is one: relative times */
static bool colours;

static char buffer[16384];
static size_t buffered;
static int failure; /* errno of the first write that failed */

static bool comma; /* JSON: what comes next follows something at its level */

/* ---- bytes ---- */

static void
write_out(void)
{
	size_t done = 0;

	while (done < buffered && failure == 0) {
		ssize_t n = write(STDOUT_FILENO, buffer + done, buffered - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			(void)poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
		else if (errno != EINTR)
			failure = errno;
	}
	fob_wipe(buffer, buffered);
	buffered = 0;
}

static void
put(const char *bytes, size_t len)
{
	while (len > 0) {
		size_t n = len < sizeof(buffer) - buffered ? len : sizeof(buffer) - buffered;

		memcpy(buffer + buffered, bytes, n);
		buffered += n;
		bytes += n;
		len -= n;
		if (buffered == sizeof(buffer))
			write_out();
	}
}

static void
put_text(const char *text)
{
	put(text, strlen(text));
}

/* A regular file: whether it may and can grow. Returns 0 or an errno. */
static int
file_ready(void)
{
	off_t at = (fcntl(STDOUT_FILENO, F_GETFL) & O_APPEND) != 0 ? lseek(STDOUT_FILENO, 0, SEEK_END) :
								     lseek(STDOUT_FILENO, 0, SEEK_CUR);
	struct rlimit limit;

	if (at < 0)
		return errno;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && (rlim_t)at + READY_BYTES > limit.rlim_cur)
		return EFBIG;
	/* Some file systems cannot do this, which says nothing of their space. */
	if (fallocate(STDOUT_FILENO, FALLOC_FL_KEEP_SIZE, at, READY_BYTES) != 0 &&
	    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return errno;
	return 0;
}

int
out_ready(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
	struct stat st;

	if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return EBADF;
	if (poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0)
		return EPIPE;
	if (fstat(STDOUT_FILENO, &st) != 0)
		return errno;
	/* A device may refuse even nothing, as /dev/full does. */
	if (S_ISCHR(st.st_mode) && write(STDOUT_FILENO, "", 0) < 0)
		return errno;
	return S_ISREG(st.st_mode) ? file_ready() : 0;
}

int
out_flush(void)
{
	write_out();
	return failure;
}

void
out_fini(void)
{
	fob_wipe(buffer, sizeof(buffer));
	out_table_fini();
}

/* ---- jansson's memory ---- */

union block {
	size_t size;
	max_align_t align;
};

static void *
forgetful_malloc(size_t size)
{
	union block *b;

	if (size > SIZE_MAX - sizeof(*b) || (b = malloc(sizeof(*b) + size)) == NULL)
		return NULL;
	b->size = size;
	return b + 1;
}

static void
forgetful_free(void *memory)
{
	union block *b = memory;

	if (b == NULL)
		return;
	b--;
	fob_wipe(b + 1, b->size);
	free(b);
}

void
out_setup(bool json, bool colour)
{
	json_wanted = json;
	terminal = isatty(STDOUT_FILENO) == 1;
	colours = colour && terminal;
	json_set_alloc_funcs(forgetful_malloc, forgetful_free);
}

bool
out_is_json(void)
{
	return json_wanted;
}

/* ---- words ---- */

static void __attribute__((format(printf, 3, 0)))
say(const char *before, const char *after, const char *fmt, va_list args)
{
	char raw[LINE_SIZE], line[LINE_SIZE];

	vsnprintf(raw, sizeof(raw), fmt, args);
	text_escape(raw, line, sizeof(line));
	fprintf(stderr, "%s%s%s", before, line, after);
	fflush(stderr);
}

void
out_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("fob: ", "\n", fmt, args);
	va_end(args);
}

/* The terminal's "erase to the end of the line", with which a shorter line leaves nothing of a longer one. */
#define ERASE "\033[K"

static bool progress_shown;

void
out_progress(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("\rfob: ", ERASE, fmt, args);
	va_end(args);
	progress_shown = true;
}

void
out_progress_clear(void)
{
	if (progress_shown)
		fputs("\r" ERASE, stderr);
	progress_shown = false;
}

void
out_ask(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("", "", fmt, args);
	va_end(args);
}

void
out_text(const char *text)
{
	put_text(text);
}

/* ---- single things ---- */

void
out_coloured(enum out_colour colour, const char *text)
{
	static const char *const codes[] = { [OUT_PLAIN] = NULL,
		[OUT_GOOD] = "\033[32m",
		[OUT_WARN] = "\033[33m",
		[OUT_BAD] = "\033[31m",
		[OUT_DIM] = "\033[2m" };

	if (!colours || codes[colour] == NULL) {
		put_text(text);
		return;
	}
	put_text(codes[colour]);
	put_text(text);
	put_text("\033[0m");
}

/* Escaped text is ASCII, but for the ellipsis, which no cell holds: bytes are columns. */
void
out_padded(enum out_colour colour, const char *text, size_t width)
{
	out_coloured(colour, text);
	for (size_t len = strlen(text); len < width + 2; len++)
		put(" ", 1);
}

void
out_describe_time(int64_t ms, enum out_times times, char *out, size_t size)
{
	char at[TEXT_TIME_SIZE], away[TEXT_TIME_SIZE];
	struct timespec now;

	text_time(ms, false, at);
	if (ms == 0 || times == OUT_TIMES_AT || clock_gettime(CLOCK_REALTIME, &now) != 0) {
		snprintf(out, size, "%s", at);
		return;
	}
	text_relative(ms, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, away);
	snprintf(out, size, times == OUT_TIMES_AWAY ? "%s%s" : "%s (%s)", times == OUT_TIMES_AWAY ? "" : at, away);
}

size_t
out_terminal_width(void)
{
	struct winsize size;

	if (!terminal)
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : TERMINAL_WIDTH;
}

void
out_pair(enum out_colour colour, const char *name, const char *fmt, ...)
{
	char raw[LINE_SIZE], line[LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	text_escape(raw, line, sizeof(line));
	out_padded(OUT_DIM, name, PAIR_WIDTH);
	out_coloured(colour, line);
	put_text("\n");
	fob_wipe(raw, sizeof(raw));
	fob_wipe(line, sizeof(line));
}

void
out_pair_time(const char *name, int64_t ms)
{
	char at[2 * TEXT_TIME_SIZE];

	out_describe_time(ms, terminal ? OUT_TIMES_BOTH : OUT_TIMES_AT, at, sizeof(at));
	out_pair(OUT_PLAIN, name, "%s", at);
}

void
out_gap(void)
{
	put_text("\n");
}

/* ---- JSON ---- */

static int
put_json(const char *bytes, size_t len, void *arg)
{
	(void)arg;
	put(bytes, len);
	return 0;
}

static void
dump(json_t *value)
{
	if (value == NULL || json_dump_callback(value, put_json, NULL, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) != 0)
		failure = failure == 0 ? ENOMEM : failure;
	json_decref(value);
}

void
out_json(json_t *object)
{
	dump(object);
	put_text("\n");
}

static void
separate(const char *with)
{
	put_text(comma ? with : "");
	comma = true;
}

void
out_open(void)
{
	put_text("{");
	comma = false;
}

void
out_member(const char *name, json_t *value)
{
	separate(", ");
	put_text("\"");
	put_text(name);
	put_text("\": ");
	dump(value);
}

void
out_array(const char *name)
{
	separate(", ");
	put_text("\"");
	put_text(name);
	put_text("\": [");
	comma = false;
}

void
out_item(json_t *value)
{
	separate(",");
	put_text("\n  ");
	dump(value);
}

void
out_array_end(void)
{
	put_text(comma ? "\n]" : "]");
	comma = true;
}

void
out_close(void)
{
	put_text("}\n");
}

void
out_json_time(json_t *object, const char *name, int64_t ms)
{
	char member[40], at[TEXT_TIME_SIZE];

	text_time(ms, true, at);
	snprintf(member, sizeof(member), "%s_ms", name);
	if (json_object_set_new(object, member, json_integer(ms)) != 0 ||
	    json_object_set_new(object, name, ms == 0 ? json_null() : json_string(at)) != 0)
		failure = failure == 0 ? ENOMEM : failure;
}
