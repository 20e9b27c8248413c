/*
 * address.c - where a server is (see address.h). Never opens a socket.
 */
#include "proto/c/address.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum address_scheme scheme;
} schemes[] = { { "ipc://", ADDRESS_IPC }, { "tcp://", ADDRESS_TCP }, { "tls+tcp://", ADDRESS_TLS } };

/* Returns: what comes behind the scheme; NULL when there is none that is known. */
static const char *
scheme_of(const char *text, enum address_scheme *scheme)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			*scheme = schemes[i].scheme;
			return text + strlen(schemes[i].prefix);
		}
	}
	return NULL;
}

/* ---- what it may be ---- */

static bool
path_is_good(const char *path)
{
	return *path != '\0' && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

static bool
port_is_good(const char *port)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*port))
		return false;
	errno = 0;
	n = strtoul(port, &end, 10);
	return errno == 0 && *end == '\0' && n >= 1 && n <= 65535;
}

/* HOST:PORT or [V6]:PORT. What the host's characters mean is the resolver's business; that there are any is ours. */
static bool
host_port_is_good(const char *s)
{
	const char *colon = strrchr(s, ':'), *p;

	if (colon == NULL || colon == s || !port_is_good(colon + 1))
		return false;
	for (p = s; p < colon; p++) {
		if (!isgraph((unsigned char)*p) || strchr("/?#@%*", *p) != NULL)
			return false;
	}
	if (*s == '[')
		return colon[-1] == ']' && colon - s > 2;
	return memchr(s, ':', (size_t)(colon - s)) == NULL;
}

bool
address_is_good(const char *text)
{
	enum address_scheme scheme;
	const char *rest;

	if (strlen(text) > ADDRESS_TEXT_MAX || (rest = scheme_of(text, &scheme)) == NULL)
		return false;
	return scheme == ADDRESS_IPC ? path_is_good(rest) : host_port_is_good(rest);
}

bool
address_is_tls(const char *text)
{
	enum address_scheme scheme;

	return scheme_of(text, &scheme) != NULL && scheme == ADDRESS_TLS;
}

/* ---- what it stands for ---- */

/* HOST:PORT or [V6]:PORT, each ended by a NUL. */
static void
host_port_split(struct address *a)
{
	char *colon = strrchr(a->host, ':');

	*colon = '\0';
	a->port = colon + 1;
	if (a->host[0] == '[') {
		colon[-1] = '\0';
		memmove(a->host, a->host + 1, strlen(a->host));
	}
}

int
address_init(struct address *a, const char *text)
{
	const char *rest;

	*a = (struct address){ 0 };
	rest = scheme_of(text, &a->scheme);
	a->text = strdup(text);
	a->host = rest != NULL ? strdup(rest) : NULL;
	if (a->text == NULL || a->host == NULL) {
		address_fini(a);
		return -1;
	}
	if (a->scheme != ADDRESS_IPC)
		host_port_split(a);
	return 0;
}

void
address_fini(struct address *a)
{
	free(a->text);
	free(a->host);
	*a = (struct address){ 0 };
}

static int
lookup(const struct address *a, int flags, struct addrinfo **list)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags
	};

	return getaddrinfo(a->host, a->port, &hints, list);
}

bool
address_is_numeric(const struct address *a)
{
	struct addrinfo *list;

	if (a->scheme == ADDRESS_IPC || lookup(a, AI_NUMERICHOST, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

bool
address_is_name(const struct address *a)
{
	return a->scheme != ADDRESS_IPC && !address_is_numeric(a);
}

static const char *
resolve_path(const char *path, struct endpoints *e)
{
	struct sockaddr_un *un = &e->list[0].un;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path));
	e->len[0] = sizeof(*un);
	e->n = 1;
	return NULL;
}

const char *
address_resolve(const struct address *a, struct endpoints *e)
{
	struct addrinfo *list, *i;
	int rv;

	e->n = 0;
	if (a->scheme == ADDRESS_IPC)
		return resolve_path(a->host, e);
	if ((rv = lookup(a, 0, &list)) != 0)
		return rv == EAI_MEMORY ? "out of memory" :
		    rv == EAI_AGAIN     ? "the name server does not answer" :
					  "the host is unknown";
	for (i = list; i != NULL && e->n < ADDRESS_ENDPOINTS_MAX; i = i->ai_next) {
		memcpy(&e->list[e->n].storage, i->ai_addr, i->ai_addrlen);
		e->len[e->n++] = i->ai_addrlen;
	}
	freeaddrinfo(list);
	return NULL;
}
