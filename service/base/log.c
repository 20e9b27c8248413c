/*
 * log.c - format one line into a buffer on the stack and write it to stderr with one write(2).
 *
 * logfmt and JSON differ in punctuation only, so one writer serves both. JSON is written by hand because a
 * line must not allocate and must end at 4 KiB. Never waits for the reader of stderr: a line that cannot
 * be written at once is dropped, and a later line says how many were.
 */
#include "service/base/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/c/journal.h"
#include "proto/c/utf8.h"

#define LINE_SIZE 4096 /* PIPE_BUF: the kernel does not interleave shorter writes to a pipe */
#define TAIL_SIZE 24   /* kept free for the closing quote, "truncated" and the newline */

struct line {
	char buf[LINE_SIZE];
	size_t len;
	size_t start; /* of its text, behind the journal's priority */
	bool json;
	bool cut;
};

static atomic_int log_threshold = LOG_INFO;
static atomic_bool log_as_json;
static atomic_bool log_to_journal;

/* Held from poll() to write(): another thread must not use up the room that poll() reported. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t log_dropped;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

/* ---- one line ---- */

static bool
line_fits(const struct line *l, size_t n)
{
	return l->len + n <= LINE_SIZE - TAIL_SIZE;
}

static void
line_append(struct line *l, const char *text, size_t n)
{
	assert(l->len + n <= LINE_SIZE);
	memcpy(l->buf + l->len, text, n);
	l->len += n;
}

static void
line_puts(struct line *l, const char *text)
{
	line_append(l, text, strlen(text));
}

/* Control characters, line separators, and characters that change the direction of text. */
static bool
point_is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069);
}

/*
 * Write the character at ${s}, escaped, to ${out}; returns how many bytes of ${s} it takes. Harmful bytes
 * become \xNN each, in JSON "\\xNN": the value reads the same in both formats, and a byte that is not
 * UTF-8 cannot break the JSON.
 */
static size_t
escape_one(const unsigned char *s, size_t n, bool json, char out[24])
{
	uint32_t point = 0;
	size_t len = utf8_decode(s, n, &point);

	if (len == 1 && (s[0] == '"' || s[0] == '\\')) {
		out[0] = '\\';
		out[1] = (char)s[0];
		out[2] = '\0';
	} else if (len > 0 && !point_is_harmful(point)) {
		memcpy(out, s, len);
		out[len] = '\0';
	} else {
		if (len == 0)
			len = 1;
		for (size_t i = 0, at = 0; i < len; i++)
			at += (size_t)snprintf(out + at, 24 - at, "%s\\x%02X", json ? "\\" : "", s[i]);
	}
	return len;
}

static bool
value_is_plain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return n > 0;
}

static void
line_quote(struct line *l, const char *text, size_t n)
{
	char escaped[24];

	line_puts(l, "\"");
	for (size_t at = 0; at < n;) {
		at += escape_one((const unsigned char *)text + at, n - at, l->json, escaped);
		if (!line_fits(l, strlen(escaped))) {
			l->cut = true;
			break;
		}
		line_puts(l, escaped);
	}
	line_puts(l, "\"");
}

/* ${room}: the least that the value needs. Returns false when it does not fit; the line is cut here. */
static bool
line_name(struct line *l, const char *name, size_t room)
{
	if (l->cut || !line_fits(l, strlen(name) + 6 + room)) {
		l->cut = true;
		return false;
	}
	if (l->len > l->start)
		line_puts(l, l->json ? "," : " ");
	line_puts(l, l->json ? (l->len == l->start ? "{\"" : "\"") : "");
	line_puts(l, name);
	line_puts(l, l->json ? "\":" : "=");
	return true;
}

static void
line_string(struct line *l, const char *name, const char *text, size_t n)
{
	if (!line_name(l, name, 0))
		return;
	if (!l->json && line_fits(l, n) && value_is_plain(text, n))
		line_append(l, text, n);
	else
		line_quote(l, text, n);
}

/* A value that needs no quotes in either format: a number, true, false. */
static void
line_word(struct line *l, const char *name, const char *word)
{
	if (line_name(l, name, strlen(word)))
		line_puts(l, word);
}

static void
line_number(struct line *l, const char *name, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	line_word(l, name, text);
}

static void
line_field(struct line *l, const struct log_field *f)
{
	switch (f->type) {
	case LOG_FIELD_STRING:
		if (f->string != NULL)
			line_string(l, f->name, f->string, strlen(f->string));
		break;
	case LOG_FIELD_BYTES:
		if (f->string != NULL)
			line_string(l, f->name, f->string, f->len);
		break;
	case LOG_FIELD_INT:
		line_number(l, f->name, f->number);
		break;
	case LOG_FIELD_BOOL:
		line_word(l, f->name, f->number != 0 ? "true" : "false");
		break;
	}
}

static void
line_begin(struct line *l, enum log_level level, const char *message)
{
	char stamp[40];
	struct timespec now = { 0 };
	struct tm utc = { 0 };

	l->len = 0;
	l->cut = false;
	l->json = atomic_load_explicit(&log_as_json, memory_order_relaxed);
	if (atomic_load_explicit(&log_to_journal, memory_order_relaxed))
		line_puts(l, journal_prefix((int)level));
	l->start = l->len;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(stamp + strlen(stamp), sizeof(stamp) - strlen(stamp), ".%03dZ", (int)(now.tv_nsec / 1000000));
	line_string(l, "time", stamp, strlen(stamp));
	line_string(l, "level", level_names[level], strlen(level_names[level]));
	line_string(l, "msg", message, strlen(message));
}

/* Only this function uses the tail that line_fits() keeps free. */
static void
line_end(struct line *l)
{
	if (l->cut)
		line_puts(l, l->json ? ",\"truncated\":true" : " truncated=true");
	line_puts(l, l->json ? "}\n" : "\n");
}

/* ---- writing it ---- */

/* Returns false when a write to stderr would block; true when the line is written or stderr is gone. */
static bool
stderr_write(const struct line *l)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	/* The reader has left, or stderr was never open. A write would only raise SIGPIPE. */
	if (n > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
		return true;
	if (n <= 0 || (p.revents & POLLOUT) == 0)
		return false;
	do
		n = write(STDERR_FILENO, l->buf, l->len);
	while (n < 0 && errno == EINTR);
	return n >= 0 || errno != EAGAIN;
}

static bool
report_dropped(void)
{
	struct line l;

	line_begin(&l, LOG_WARN, "log lines dropped: stderr was full");
	line_number(&l, "dropped", (int64_t)log_dropped);
	line_end(&l);
	return stderr_write(&l);
}

void
log_setup(enum log_level level, bool json)
{
	atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
	atomic_store_explicit(&log_as_json, json, memory_order_relaxed);
	atomic_store_explicit(&log_to_journal, journal_is_fd(STDERR_FILENO), memory_order_relaxed);
}

bool
log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

void
log_line(enum log_level level, const char *message, const struct log_field *fields, size_t n)
{
	struct line l;

	assert(level >= LOG_ERROR && level <= LOG_DEBUG);
	if (!log_enabled(level))
		return;
	line_begin(&l, level, message);
	for (size_t i = 0; i < n; i++)
		line_field(&l, &fields[i]);
	line_end(&l);

	pthread_mutex_lock(&log_lock);
	if (log_dropped > 0 && report_dropped())
		log_dropped = 0;
	if (log_dropped > 0 || !stderr_write(&l))
		log_dropped++;
	pthread_mutex_unlock(&log_lock);
}
