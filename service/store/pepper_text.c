/*
 * pepper_text.c - the lines of a pepper file, read and written (see pepper_internal.h). An error names a line and what is
 * wrong with it, and never quotes it.
 */
#include "service/store/pepper_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MAGIC_LEN (sizeof(PEPPER_MAGIC) - 1)
#define HEX_LEN 64

struct line {
	const char *p;
	size_t len;
	unsigned number;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Without the blanks at both ends. */
static void
trim(struct line *line)
{
	while (line->len > 0 && is_blank(line->p[0])) {
		line->p++;
		line->len--;
	}
	while (line->len > 0 && is_blank(line->p[line->len - 1]))
		line->len--;
}

static int
refuse(char *why, size_t why_len, unsigned line, const char *what)
{
	snprintf(why, why_len, "line %u %s", line, what);
	return -1;
}

/* The digits of a line. Returns 0, or -1 with a reason. */
static int
read_digits(struct line digits, uint8_t master[32], char *why, size_t why_len)
{
	char what[80];
	size_t n = 0;

	if (digits.len != HEX_LEN) {
		snprintf(what, sizeof(what), "has %zu characters after \"" PEPPER_MAGIC "\", not %d hex digits",
		    digits.len, HEX_LEN);
		return refuse(why, why_len, digits.number, what);
	}
	if (sodium_hex2bin(master, 32, digits.p, digits.len, NULL, &n, NULL) != 0 || n != 32)
		return refuse(why, why_len, digits.number, "has a character among its 64 digits that is no hex digit");
	return 0;
}

/* Returns the number of the line before, counted from 1, that ${masters}'s newest repeats; 0: none. */
static unsigned
find_repeated(const struct pepper_masters *masters)
{
	for (unsigned i = 0; i + 1 < masters->n; i++)
		if (sodium_memcmp(masters->bytes[i], masters->bytes[masters->n - 1], 32) == 0)
			return i + 1;
	return 0;
}

static int
read_line(struct line line, struct pepper_masters *masters, char *why, size_t why_len)
{
	struct line digits = line;

	if (masters->n == PEPPER_LINES_MAX) {
		snprintf(why, why_len, "it has more than %d lines", PEPPER_LINES_MAX);
		return -1;
	}
	if (line.len < MAGIC_LEN || memcmp(line.p, PEPPER_MAGIC, MAGIC_LEN) != 0)
		return refuse(why, why_len, line.number, "does not begin with \"" PEPPER_MAGIC "\"");
	digits.p += MAGIC_LEN;
	digits.len -= MAGIC_LEN;
	if (digits.len > 0 && !is_blank(digits.p[0]))
		return refuse(why, why_len, line.number, "does not begin with \"" PEPPER_MAGIC "\" and a space");
	trim(&digits);
	if (read_digits(digits, masters->bytes[masters->n], why, why_len) != 0)
		return -1;
	masters->n++;
	return find_repeated(masters) == 0 ? 0 : refuse(why, why_len, line.number, "repeats an earlier line");
}

int
pepper_text_read(const char *text, size_t len, struct pepper_masters *masters, char *why, size_t why_len)
{
	const char *end = text + len, *newline;
	struct line line = { .number = 1 };

	masters->n = 0;
	if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
		snprintf(why, why_len, "it is UTF-16: save it as plain text");
		return -1;
	}
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	for (; text < end; text = newline + 1, line.number++) {
		if ((newline = memchr(text, '\n', (size_t)(end - text))) == NULL)
			newline = end;
		line.p = text;
		line.len = (size_t)(newline - text);
		trim(&line);
		if (line.len > 0 && read_line(line, masters, why, why_len) != 0)
			return -1;
	}
	if (masters->n > 0)
		return 0;
	snprintf(why, why_len, "it is empty");
	return -1;
}

size_t
pepper_text_write(const struct pepper_masters *masters, char text[PEPPER_LINES_MAX * PEPPER_LINE_LEN])
{
	char *at = text;

	for (unsigned i = 0; i < masters->n; i++, at += PEPPER_LINE_LEN) {
		char digits[HEX_LEN + 1];

		memcpy(at, PEPPER_MAGIC " ", MAGIC_LEN + 1);
		sodium_bin2hex(digits, sizeof(digits), masters->bytes[i], 32);
		memcpy(at + MAGIC_LEN + 1, digits, HEX_LEN);
		at[PEPPER_LINE_LEN - 1] = '\n';
		sodium_memzero(digits, sizeof(digits));
	}
	return (size_t)(at - text);
}
