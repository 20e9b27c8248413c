/*
 * fuzz_http_headers.c - client/http/headers.c. Input: a request's head. The scan must read it the same in one piece and
 * in many, and what both the scan and the checks take must hold no header that is looked at twice, or under another
 * name.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/http/headers.h"
#include "tests/fuzz/fuzz.h"

static struct head_scan
scan(const uint8_t *data, size_t size)
{
	struct head_scan whole = { 0 }, parts = { 0 };
	char *copy = (char *)fuzz_copy(data, size);

	head_scan(&whole, copy, size);
	for (size_t at = 0, n = 1; at < size; at += n, n = n % 7 + 1)
		head_scan(&parts, copy + at, size - at < n ? size - at : n);
	FUZZ_CHECK(whole.why == parts.why && whole.ended == parts.ended, "in pieces it reads otherwise");
	free(copy);
	return whole;
}

/* As evhttp does: the name up to the colon, the value without blanks around it. Returns the number of headers. */
static size_t
cut(char *head, struct http_header *out)
{
	char *rest = head, *line;
	size_t n = 0;

	strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n")) != NULL && line[strspn(line, "\r")] != '\0' && n < HEADERS_MAX + 2) {
		char *value = line, *name = strsep(&value, ":");

		if (value == NULL)
			return 0;
		value[strcspn(value, "\r")] = '\0';
		value += strspn(value, " ");
		out[n++] = (struct http_header){ name, value };
	}
	return n;
}

static void
normalise(const char *name, char out[64])
{
	size_t i = 0;

	for (; i < 63 && name[i] != '\0'; i++)
		out[i] = name[i] == '_' || name[i] == '.' ? '-' : name[i];
	out[i] = '\0';
}

/* How many headers may be read as ${name}? */
static unsigned
count(const struct http_header *headers, size_t n, const char *name)
{
	unsigned found = 0;
	char normal[64];

	for (size_t i = 0; i < n; i++) {
		normalise(headers[i].name, normal);
		found += strcasecmp(normal, name) == 0;
	}
	return found;
}

static void
check_taken(const struct http_header *headers, size_t n)
{
	char normal[64];

	FUZZ_CHECK(n <= HEADERS_MAX, "too many headers were taken");
	FUZZ_CHECK(count(headers, n, "host") == 1, "not one Host");
	FUZZ_CHECK(count(headers, n, "authorization") <= 1, "two Authorizations");
	FUZZ_CHECK(count(headers, n, "content-length") <= 1, "two Content-Lengths");
	FUZZ_CHECK(count(headers, n, "transfer-encoding") == 0, "a Transfer-Encoding");
	for (size_t i = 0; i < n; i++) {
		normalise(headers[i].name, normal);
		FUZZ_CHECK(strncasecmp(normal, "x-fob-", 6) != 0 || strlen(headers[i].name) > 62 ||
			(strcmp(normal, headers[i].name) == 0 && count(headers, n, normal) == 1),
		    "an X-Fob- header twice, or under another name");
		FUZZ_CHECK(strpbrk(headers[i].name, " \t\r\n:") == NULL, "a name with a blank");
		FUZZ_CHECK(strpbrk(headers[i].value, "\r\n") == NULL, "a value of two lines");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_header headers[HEADERS_MAX + 2];
	struct head_scan seen = scan(data, size);
	char *text = malloc(size + 1);
	size_t n;

	FUZZ_CHECK(text != NULL, "out of memory");
	memcpy(text, data, size);
	text[size] = '\0';
	FUZZ_CHECK(!seen.ended || seen.why != NULL || strlen(text) >= strcspn(text, "\n"), "it has no line");
	n = cut(text, headers);
	if (headers_check(headers, n) == NULL)
		check_taken(headers, n);
	free(text);
	return 0;
}
