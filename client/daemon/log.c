/*
 * log.c - one line with one write(2) (see log.h). Allocates nothing.
 */
#include "client/daemon/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/c/journal.h"

#define LINE_SIZE 2048
#define TAIL_SIZE 4 /* kept free for the closing quote, brace and newline */

struct line {
	char buf[LINE_SIZE];
	size_t len;
	size_t start; /* of its text, behind the journal's priority */
	bool json;
};

static atomic_int threshold = LOG_INFO;
static atomic_bool as_json;
static atomic_bool to_journal;
/* Held from poll() to write(): another thread must not use up the room that poll() reported. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
put(struct line *l, const char *text)
{
	for (; *text != '\0' && l->len < LINE_SIZE - TAIL_SIZE; text++)
		l->buf[l->len++] = *text;
}

static bool
is_plain(const char *text)
{
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text >= 0x7f || *text == '"' || *text == '\\' || *text == '=')
			return false;
	return true;
}

/* The value reads the same in both formats: a byte that is not printable is \xNN, in JSON \\xNN. */
static void
put_escaped(struct line *l, const char *text)
{
	char piece[8];

	for (; *text != '\0' && l->len + sizeof(piece) < LINE_SIZE - TAIL_SIZE; text++) {
		if (*text == '"' || *text == '\\')
			snprintf(piece, sizeof(piece), "\\%c", *text);
		else if (*text >= ' ' && *text < 0x7f)
			snprintf(piece, sizeof(piece), "%c", *text);
		else
			snprintf(piece, sizeof(piece), "%s\\x%02X", l->json ? "\\" : "", (unsigned char)*text);
		put(l, piece);
	}
}

static void
put_field(struct line *l, const char *name, const char *value)
{
	bool quoted = l->json || !is_plain(value);

	if (l->len + strlen(name) + 8 > LINE_SIZE - TAIL_SIZE)
		return;
	put(l, l->json ? (l->len == l->start ? "{\"" : ",\"") : (l->len == l->start ? "" : " "));
	put(l, name);
	put(l, l->json ? "\":\"" : quoted ? "=\"" : "=");
	put_escaped(l, value);
	if (quoted)
		l->buf[l->len++] = '"';
}

static void
put_time(struct line *l)
{
	char stamp[64];
	struct timespec now = { 0 };
	struct tm utc = { 0 };
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(stamp + n, sizeof(stamp) - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
	put_field(l, "time", stamp);
}

static void
write_line(const struct line *l)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	pthread_mutex_lock(&lock);
	/* A reader that has left would only raise EPIPE. */
	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0 &&
	    write(STDERR_FILENO, l->buf, l->len) < 0)
		p.revents = 0; /* nobody is left who could be told */
	pthread_mutex_unlock(&lock);
}

void
log_setup(enum log_level level, bool json)
{
	atomic_store(&threshold, (int)level);
	atomic_store(&as_json, json);
	atomic_store(&to_journal, journal_is_fd(STDERR_FILENO));
}

void
log_line(enum log_level level, const char *message, ...)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	struct line l = { .len = 0, .json = atomic_load(&as_json) };
	const char *name, *value;
	va_list ap;

	if ((int)level > atomic_load(&threshold))
		return;
	if (atomic_load(&to_journal))
		put(&l, journal_prefix((int)level));
	l.start = l.len;
	put_time(&l);
	put_field(&l, "level", names[level]);
	put_field(&l, "msg", message);
	va_start(ap, message);
	while ((name = va_arg(ap, const char *)) != NULL && (value = va_arg(ap, const char *)) != NULL)
		put_field(&l, name, value);
	va_end(ap);
	if (l.json)
		l.buf[l.len++] = '}';
	l.buf[l.len++] = '\n';
	write_line(&l);
}
