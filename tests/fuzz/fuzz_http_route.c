/*
 * fuzz_http_route.c - client/http/route.c. Input: routes, a line each, up to an empty line; then a method and a target,
 * a line each. A path that is taken must lead nowhere else once it is decoded, and a route must match as a second,
 * simpler reading of it says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/http/route.h"
#include "tests/fuzz/fuzz.h"

/* Returns the next line of *${rest}, cut off there; NULL at the end. */
static char *
next_line(char **rest)
{
	return *rest != NULL ? strsep(rest, "\n") : NULL;
}

/* ---- what a taken path may be ---- */

static size_t
decode(const char *path, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned value;

		if (path[i] == '%') {
			FUZZ_CHECK(
			    i + 2 < len && sscanf(path + i + 1, "%2x", &value) == 1, "a bad percent code was taken");
			out[n++] = (char)value;
			i += 2;
		} else
			out[n++] = path[i];
	}
	out[n] = '\0';
	return n;
}

static unsigned
slashes(const char *text, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '/';
	return n;
}

static void
check_path(const char *path, size_t len)
{
	char *plain = malloc(len + 3), *framed = NULL;
	size_t n;

	FUZZ_CHECK(plain != NULL, "out of memory");
	n = decode(path, len, plain);
	FUZZ_CHECK(plain[0] == '/' && strlen(plain) == n, "it does not begin with /, or holds a NUL");
	FUZZ_CHECK(slashes(path, len) == slashes(plain, n), "a slash came out of a percent code");
	FUZZ_CHECK(
	    strpbrk(plain, ";\\%?#\r\n") == NULL || memchr(path, '%', len) != NULL, "a character that is not taken");
	FUZZ_CHECK(strpbrk(plain, ";\\%\r\n") == NULL, "a character that is not taken, decoded");
	FUZZ_CHECK(strstr(plain, "//") == NULL, "two slashes");
	FUZZ_CHECK(asprintf(&framed, "%s/", plain) > 0, "out of memory");
	FUZZ_CHECK(strstr(framed, "/../") == NULL && strstr(framed, "/./") == NULL, "dots");
	free(framed);
	free(plain);
}

/* ---- what a route may match: the pattern and the path, both cut at slashes ---- */

static bool
reads_the_same(const char *pattern, const char *path, size_t len)
{
	char *p = strdup(pattern + 1), *t = strndup(path + 1, len - 1), *prest = p, *trest = t;
	bool same = true;

	FUZZ_CHECK(p != NULL && t != NULL, "out of memory");
	for (;;) {
		char *want = strsep(&prest, "/"), *have = strsep(&trest, "/");

		if (want != NULL && strcmp(want, "*") == 0 && have != NULL)
			break;
		if (want == NULL || have == NULL) {
			same = want == have;
			break;
		}
		if (strlen(want) > 2 && want[0] == '{' ? have[0] == '\0' : strcmp(want, have) != 0) {
			same = false;
			break;
		}
	}
	free(p);
	free(t);
	return same;
}

static void
check_found(const struct route_table *table, const char *method, const char *path, size_t len)
{
	const char *found = route_find(table, method, path, len), *expected = NULL;

	for (size_t i = 0; i < table->n && expected == NULL; i++)
		if (strcmp(table->routes[i].method, method) == 0 && reads_the_same(table->routes[i].path, path, len))
			expected = table->routes[i].operation;
	FUZZ_CHECK(
	    found == expected, "%s, not %s", found != NULL ? found : "none", expected != NULL ? expected : "none");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, *line, *method, *target;
	struct route_table table = { 0 };
	const char *why;
	size_t len;

	FUZZ_CHECK(text != NULL, "out of memory");
	memcpy(text, data, size);
	text[size] = '\0';
	while ((line = next_line(&rest)) != NULL && line[0] != '\0')
		FUZZ_CHECK(route_add(&table, line, &why) == 0 || why != NULL, "no reason");
	method = next_line(&rest);
	target = next_line(&rest);
	if (target != NULL) {
		char *copy = (char *)fuzz_copy(target, strlen(target) + 1);

		if (route_path(copy, &len, &why) == 0) {
			FUZZ_CHECK(len == strcspn(copy, "?"), "the path is not all before the query");
			check_path(copy, len);
			check_found(&table, method, copy, len);
		} else
			FUZZ_CHECK(why != NULL, "no reason");
		free(copy);
	}
	route_table_fini(&table);
	free(text);
	return 0;
}
