/*
 * csrf.c - what a browser says of a request: its origin, its cookies (see csrf.h).
 */
#include "client/http/csrf.h"

#include <string.h>
#include <strings.h>

#include "client/http/headers.h"

static bool
is_own_origin(const char *value, const char *origin, const char *host)
{
	if (origin != NULL)
		return strcmp(value, origin) == 0;
	if (host == NULL)
		return false;
	if (strncmp(value, "http://", 7) == 0)
		return strcasecmp(value + 7, host) == 0;
	return strncmp(value, "https://", 8) == 0 && strcasecmp(value + 8, host) == 0;
}

bool
csrf_origin_ok(const struct http_header *headers, size_t n, const char *origin, bool required)
{
	const char *site, *from, *host;

	if (headers_once(headers, n, "Sec-Fetch-Site", &site) != 0 || headers_once(headers, n, "Origin", &from) != 0 ||
	    headers_once(headers, n, "Host", &host) != 0)
		return false;
	if (site == NULL && from == NULL)
		return !required;
	if (site != NULL && strcmp(site, "same-origin") != 0)
		return false;
	return from == NULL || is_own_origin(from, origin, host);
}

/* Is the pair at ${pair}, of ${len} bytes, one of ${name}? Returns its value; NULL: no. */
static const char *
value_of(const char *pair, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && memcmp(pair, name, n) == 0 && pair[n] == '=' ? pair + n + 1 : NULL;
}

/* https://www.rfc-editor.org/rfc/rfc6265#section-4.2.1 */
int
cookie_find(const struct http_header *headers, size_t n, const char *name, size_t size, char *value)
{
	const char *at, *found = NULL;
	size_t found_len = 0, times = 0;

	value[0] = '\0';
	if (headers_once(headers, n, "Cookie", &at) != 0 || at == NULL)
		return -1;
	while (*at != '\0') {
		size_t len = strcspn(at, ";");
		const char *v = value_of(at, len, name);

		if (v != NULL) {
			found = v;
			found_len = len - (size_t)(v - at);
			times++;
		}
		at += len + strspn(at + len, "; ");
	}
	if (times != 1 || found_len >= size)
		return -1;
	memcpy(value, found, found_len);
	value[found_len] = '\0';
	return 0;
}
