/*
 * address.c - where a server is (see address.h). Never opens a socket.
 */
#include "client/address.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum address_scheme scheme;
} schemes[] = { { "ipc://", ADDRESS_IPC }, { "tcp://", ADDRESS_TCP }, { "tls+tcp://", ADDRESS_TLS } };

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
	size_t i, len = 0;

	*a = (struct address){ 0 };
	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			a->scheme = schemes[i].scheme;
			len = strlen(schemes[i].prefix);
		}
	}
	a->text = strdup(text);
	a->host = strdup(text + len);
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
