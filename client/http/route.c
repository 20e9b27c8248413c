/*
 * route.c - the route table, and the checks of a path before it (see route.h). A path is compared as it came: what is
 * not exactly a route is unknown, and an unknown route denies.
 */
#include "client/http/route.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- a path ---- */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the percent code at ${p} stands for; -1 when it is none. The path may end within it. */
static int
percent_value(const char *p)
{
	int high = hex_value(p[1]), low = high < 0 ? -1 : hex_value(p[2]);

	return low < 0 ? -1 : high * 16 + low;
}

/* Is the segment at ${p} of ${n} bytes "." or "..", written in any way? */
static bool
is_dots(const char *p, size_t n)
{
	unsigned dots = 0;

	for (size_t i = 0; i < n; dots++) {
		if (p[i] == '.')
			i++;
		else if (p[i] == '%' && percent_value(p + i) == '.')
			i += 3;
		else
			return false;
	}
	return dots == 1 || dots == 2;
}

static const char *
check_percent(const char *p)
{
	int value = percent_value(p);

	if (value < 0)
		return "the path holds a bad percent code";
	if (value < 0x20 || value == 0x7f || strchr("/\\;%", value) != NULL)
		return "the path holds a percent code that is not taken: / \\ ; % or a control character";
	return NULL;
}

static const char *
check_characters(const char *path, size_t len)
{
	const char *why;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)path[i];

		if (c <= 0x20 || c >= 0x7f || c == ';' || c == '\\')
			return "the path holds a character that is not taken";
		if (c == '%' && (why = check_percent(path + i)) != NULL)
			return why;
	}
	return NULL;
}

static const char *
check_segments(const char *path, size_t len)
{
	for (size_t at = 1, n; at <= len; at += n + 1) {
		const char *slash = memchr(path + at, '/', len - at);

		n = slash != NULL ? (size_t)(slash - path) - at : len - at;
		if (n == 0 && slash != NULL)
			return "the path holds //";
		if (is_dots(path + at, n))
			return "the path holds . or ..";
	}
	return NULL;
}

int
route_path(const char *target, size_t *path_len, const char **why)
{
	size_t len = strcspn(target, "?#");

	*why = NULL;
	if (target[0] != '/')
		*why = "the path does not begin with /";
	else if (strchr(target, '#') != NULL)
		*why = "the target holds #";
	else if ((*why = check_characters(target, len)) == NULL)
		*why = check_segments(target, len);
	*path_len = len;
	return *why == NULL ? 0 : -1;
}

/* ---- a match ---- */

static bool
is_variable(const char *segment, size_t n)
{
	return n > 2 && segment[0] == '{' && segment[n - 1] == '}';
}

/* Does the route's ${pattern} stand for the path? Both begin with a slash. */
static bool
matches(const char *pattern, const char *path, size_t len)
{
	const char *end = path + len;

	for (;;) {
		size_t np, n;

		pattern++;
		path++;
		if (strcmp(pattern, "*") == 0)
			return true;
		np = strcspn(pattern, "/");
		n = 0;
		while (path + n < end && path[n] != '/')
			n++;
		if (is_variable(pattern, np) ? n == 0 : np != n || memcmp(pattern, path, n) != 0)
			return false;
		pattern += np;
		path += n;
		if (*pattern == '\0' || path == end)
			return *pattern == '\0' && path == end;
	}
}

const char *
route_find(const struct route_table *table, const char *method, const char *path, size_t path_len)
{
	for (size_t i = 0; i < table->n; i++)
		if (strcmp(table->routes[i].method, method) == 0 && matches(table->routes[i].path, path, path_len))
			return table->routes[i].operation;
	return NULL;
}

/* ---- the table ---- */

static const char *
check_method(const char *method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(method, known[i]) == 0)
			return NULL;
	return "the method is not GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS";
}

static const char *
check_operation(const char *operation)
{
	size_t n = strlen(operation);

	if (n >= 1 && n <= ROUTE_OPERATION_MAX &&
	    strspn(operation, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-") == n)
		return NULL;
	return "the operation is not 1 to 64 of A-Z a-z 0-9 . _ : / -";
}

static const char *
check_pattern(const char *path)
{
	const char *why, *star = strchr(path, '*'), *brace = path;
	size_t len;

	if (route_path(path, &len, &why) != 0)
		return why;
	if (path[len] != '\0')
		return "the path holds a query";
	if (star != NULL && (star[1] != '\0' || star[-1] != '/'))
		return "* stands for all that is below, and only as the last segment";
	while ((brace = strpbrk(brace, "{}")) != NULL) {
		size_t n = strcspn(brace, "/");

		if (brace[-1] != '/' || !is_variable(brace, n) || strcspn(brace + 1, "{}") != n - 2)
			return "{name} stands for a whole segment";
		brace += n;
	}
	return NULL;
}

/* Cut "METHOD /path = operation" into its three words. */
static int
split(char *text, struct route *out)
{
	char *rest = NULL, *words[4];
	size_t n = 0;

	for (char *word = strtok_r(text, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
		if (n == 4)
			return -1;
		words[n++] = word;
	}
	if (n != 4 || strcmp(words[2], "=") != 0)
		return -1;
	out->method = words[0];
	out->path = words[1];
	out->operation = words[3];
	return 0;
}

static const char *
check_route(const struct route_table *table, struct route *route)
{
	const char *why;

	if (split(route->text, route) != 0)
		return "it is not of the form METHOD /path = operation";
	if ((why = check_method(route->method)) != NULL || (why = check_pattern(route->path)) != NULL ||
	    (why = check_operation(route->operation)) != NULL)
		return why;
	if (route_find(table, route->method, route->path, strlen(route->path)) != NULL)
		return "a route before it stands for all of its requests";
	return NULL;
}

int
route_add(struct route_table *table, const char *text, const char **why)
{
	struct route route = { 0 }, *grown;

	*why = "out of memory";
	if (table->n == ROUTES_MAX) {
		*why = "there are more than 1,024 routes";
		return -1;
	}
	if ((grown = realloc(table->routes, (table->n + 1) * sizeof(*grown))) == NULL)
		return -1;
	table->routes = grown;
	if ((route.text = strdup(text)) == NULL)
		return -1;
	if ((*why = check_route(table, &route)) != NULL) {
		free(route.text);
		return -1;
	}
	table->routes[table->n++] = route;
	return 0;
}

void
route_table_fini(struct route_table *table)
{
	for (size_t i = 0; i < table->n; i++)
		free(table->routes[i].text);
	free(table->routes);
	*table = (struct route_table){ 0 };
}
