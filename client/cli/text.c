/*
 * text.c - arguments into values and values into words, for the command line. Never reads a clock, never prints, never
 * keeps a pointer, so that it can be tested by itself.
 */
#include "client/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_PER_S 1000LL
#define MS_PER_M (60 * MS_PER_S)
#define MS_PER_H (60 * MS_PER_M)
#define MS_PER_D (24 * MS_PER_H)
#define DURATION_MAX_MS (1000 * MS_PER_D)

/* The end of the year 9999, after which ISO 8601 would need an agreement between us and the reader. */
#define TIME_MAX_MS 253402300799999LL

static const char ellipsis[] = "\xe2\x80\xa6";

size_t
text_trim(const char *text, size_t len, size_t *from)
{
	static const char blanks[] = " \t\r\n";

	*from = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	while (len > *from && memchr(blanks, text[len - 1], sizeof(blanks) - 1) != NULL)
		len--;
	while (len > *from && memchr(blanks, text[*from], sizeof(blanks) - 1) != NULL)
		++*from;
	return len - *from;
}

bool
text_is_utf16(const char *text, size_t len)
{
	return len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}

bool
text_is_account(const char *s)
{
	size_t len = strlen(s);

	return len >= 1 && len <= 64 &&
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* The unit at *${s}, which is moved past it; 0 when there is none. "ms" before "m": the longer name wins. */
static int64_t
duration_unit(const char **s)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", MS_PER_S }, { "m", MS_PER_M }, { "h", MS_PER_H }, { "d", MS_PER_D } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strncmp(*s, units[i].name, strlen(units[i].name)) == 0) {
			*s += strlen(units[i].name);
			return units[i].ms;
		}
	}
	return 0;
}

int
text_duration_ms(const char *s, int64_t *ms)
{
	int64_t total = 0;

	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return 0;
	}
	do {
		int64_t n = 0, unit;

		if (*s < '0' || *s > '9')
			return -1;
		for (; *s >= '0' && *s <= '9'; s++) {
			n = n * 10 + (*s - '0');
			if (n > DURATION_MAX_MS)
				return -1;
		}
		if ((unit = duration_unit(&s)) == 0 || n > (DURATION_MAX_MS - total) / unit)
			return -1;
		total += n * unit;
	} while (*s != '\0');
	*ms = total;
	return 0;
}

int
text_number(const char *s, uint32_t min, uint32_t max, uint32_t *n)
{
	uint64_t value = 0;

	if (*s == '\0')
		return -1;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		value = value * 10 + (uint64_t)(*s - '0');
		if (value > max)
			return -1;
	}
	if (value < min)
		return -1;
	*n = (uint32_t)value;
	return 0;
}

void
text_time(int64_t ms, bool milliseconds, char out[TEXT_TIME_SIZE])
{
	time_t seconds = (time_t)(ms / MS_PER_S);
	struct tm tm;
	size_t len;

	if (ms <= 0 || ms > TIME_MAX_MS || gmtime_r(&seconds, &tm) == NULL) {
		snprintf(out, TEXT_TIME_SIZE, ms == 0 ? "-" : "%" PRId64 "ms", ms);
		return;
	}
	len = strftime(out, TEXT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	if (milliseconds)
		snprintf(out + len, TEXT_TIME_SIZE - len, ".%03dZ", (int)(ms % MS_PER_S));
	else
		snprintf(out + len, TEXT_TIME_SIZE - len, "Z");
}

void
text_relative(int64_t ms, int64_t now_ms, char out[TEXT_TIME_SIZE])
{
	/* Unsigned, because the distance between two hostile numbers need not fit. */
	uint64_t distance = ms > now_ms ? (uint64_t)ms - (uint64_t)now_ms : (uint64_t)now_ms - (uint64_t)ms;
	uint64_t s = distance / MS_PER_S;
	char span[24];

	if (s == 0) {
		snprintf(out, TEXT_TIME_SIZE, "now");
		return;
	}
	if (s < 60)
		snprintf(span, sizeof(span), "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(span, sizeof(span), "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(span, sizeof(span), "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(span, sizeof(span), "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	snprintf(out, TEXT_TIME_SIZE, ms > now_ms ? "in %s" : "%s ago", span);
}

void
text_escape(const char *in, char *out, size_t size)
{
	size_t n = 0;

	while (*in != '\0') {
		char piece[5];
		size_t len;

		if (strncmp(in, ellipsis, sizeof(ellipsis) - 1) == 0)
			len = (size_t)snprintf(piece, sizeof(piece), "%s", ellipsis);
		else if (*in == '\\')
			len = (size_t)snprintf(piece, sizeof(piece), "\\\\");
		else if (*in < ' ' || *in > '~')
			len = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", (unsigned)(unsigned char)*in);
		else
			len = (size_t)snprintf(piece, sizeof(piece), "%c", *in);
		if (len >= size - n)
			break;
		memcpy(out + n, piece, len);
		n += len;
		in += piece[0] == ellipsis[0] ? sizeof(ellipsis) - 1 : 1;
	}
	out[n] = '\0';
}
