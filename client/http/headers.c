/*
 * headers.c - checks of a request's head (see headers.h). Where two programs in a row could read a header differently,
 * a request can be smuggled past the first, or an identity forged; so it is refused, not mended.
 */
#include "client/http/headers.h"

#include <string.h>
#include <strings.h>

#define FOB_PREFIX "x-fob-"

/* ---- names and values ---- */

/* https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
static bool
is_token(const char *text)
{
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');

		if (!letter && !(*text >= '0' && *text <= '9') && strchr("!#$%&'*+-.^_`|~", *text) == NULL)
			return false;
	}
	return true;
}

static bool
has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return true;
	return false;
}

/* As a server sees it that takes "_" and "." for "-": a CGI variable's name cannot tell them apart. */
static char
folded(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c == '_' || c == '.' ? '-' : c;
}

/* Are the first ${n} characters, or up to the end of both, the same when folded? */
static bool
same_folded(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (folded(a[i]) != folded(b[i]))
			return false;
		if (a[i] == '\0')
			return true;
	}
	return true;
}

int
headers_once(const struct http_header *headers, size_t n, const char *name, const char **value)
{
	*value = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!same_folded(headers[i].name, name, (size_t)-1))
			continue;
		if (*value != NULL || strcasecmp(headers[i].name, name) != 0)
			return -1;
		*value = headers[i].value;
	}
	return 0;
}

const char *
headers_bearer(const char *authorization)
{
	static const char scheme[] = "bearer ";

	if (strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	authorization += sizeof(scheme) - 1;
	return authorization + strspn(authorization, " ");
}

/* ---- the whole ---- */

/* Is each X-Fob-* there at most once, and under its own name? */
static bool
fob_headers_ok(const struct http_header *headers, size_t n)
{
	const char *value;

	for (size_t i = 0; i < n; i++) {
		if (!same_folded(headers[i].name, FOB_PREFIX, sizeof(FOB_PREFIX) - 1))
			continue;
		if (strpbrk(headers[i].name, "_.") != NULL || headers_once(headers, n, headers[i].name, &value) != 0)
			return false;
	}
	return true;
}

static const char *
check_body_headers(const struct http_header *headers, size_t n)
{
	const char *value;

	if (headers_once(headers, n, "Transfer-Encoding", &value) != 0 || value != NULL)
		return "Transfer-Encoding is not taken";
	if (headers_once(headers, n, "Content-Length", &value) != 0)
		return "more than one Content-Length, or an alias of it";
	if (value != NULL && (value[0] == '\0' || strspn(value, "0123456789") != strlen(value) || strlen(value) > 18))
		return "Content-Length is no number";
	return NULL;
}

const char *
headers_check(const struct http_header *headers, size_t n)
{
	const char *why, *value;

	if (n > HEADERS_MAX)
		return "too many headers";
	for (size_t i = 0; i < n; i++) {
		if (!is_token(headers[i].name))
			return "a header's name holds a character that none may";
		if (has_control(headers[i].value))
			return "a header holds a control character";
	}
	if ((why = check_body_headers(headers, n)) != NULL)
		return why;
	if (headers_once(headers, n, "Host", &value) != 0)
		return "more than one Host, or an alias of it";
	if (value == NULL || value[0] == '\0')
		return "no Host";
	if (headers_once(headers, n, "Authorization", &value) != 0)
		return "more than one Authorization, or an alias of it";
	if (!fob_headers_ok(headers, n))
		return "an X-Fob- header is there twice, or an alias of one";
	return NULL;
}

/* ---- the head as it came ---- */

static void
end_request_line(struct head_scan *scan)
{
	if (scan->spaces != 2)
		scan->why = "the request line has not two blanks";
	else if (memcmp(scan->last, "HTTP/1.1", 8) != 0 && memcmp(scan->last, "HTTP/1.0", 8) != 0)
		scan->why = "neither HTTP/1.0 nor HTTP/1.1";
	scan->line_two = true;
}

static void
end_line(struct head_scan *scan)
{
	if (scan->before != '\r') {
		scan->why = "a line does not end in CR LF";
		return;
	}
	/* The column counts the CR, too. */
	if (scan->column == 1)
		scan->ended = true;
	else if (!scan->line_two)
		end_request_line(scan);
	scan->column = 0;
	scan->before = '\n';
}

static void
scan_byte(struct head_scan *scan, char c)
{
	if (c == '\n') {
		end_line(scan);
		return;
	}
	if (c == '\0' || scan->before == '\r')
		scan->why = "a NUL, or a CR without LF";
	else if (scan->column == 0 && (c == ' ' || c == '\t'))
		scan->why = "a folded header";
	if (!scan->line_two && c != '\r') {
		scan->spaces += c == ' ';
		memmove(scan->last, scan->last + 1, sizeof(scan->last) - 1);
		scan->last[sizeof(scan->last) - 1] = c;
	}
	scan->before = c;
	scan->column++;
}

/* Most of a head is plain text within a header's line: how much of it? */
static size_t
plain_length(const struct head_scan *scan, const char *bytes, size_t n)
{
	size_t i = 0;

	if (!scan->line_two || scan->column == 0 || scan->before == '\r')
		return 0;
	while (i < n && (unsigned char)bytes[i] >= 0x20)
		i++;
	return i;
}

void
head_scan(struct head_scan *scan, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && !scan->ended && scan->why == NULL;) {
		size_t plain = plain_length(scan, bytes + i, n - i);

		if (plain > 0) {
			scan->before = ' ';
			scan->column += plain;
			i += plain;
		} else
			scan_byte(scan, bytes[i++]);
	}
}
