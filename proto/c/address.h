/*
 * address.h - where a server is: ipc:///PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT, and the socket addresses that
 * it stands for.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_TEXT_MAX 300     /* a host name of 253 characters, its scheme and port */
#define ADDRESS_ENDPOINTS_MAX 16 /* socket addresses of one name that are tried */

enum address_scheme { ADDRESS_IPC, ADDRESS_TCP, ADDRESS_TLS };

struct address {
	enum address_scheme scheme;
	char *text; /* as it was given */
	char *host; /* without brackets; the path of ADDRESS_IPC */
	const char *port;
};

union address_socket {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

struct endpoints {
	unsigned n;
	union address_socket list[ADDRESS_ENDPOINTS_MAX];
	socklen_t len[ADDRESS_ENDPOINTS_MAX];
};

/* Whether ${text} is an address. */
bool address_is_good(const char *text);
/* Whether ${text}, which is an address, is one for TLS. */
bool address_is_tls(const char *text);

/* ${text} is an address. Returns: 0; -1 out of memory. */
int address_init(struct address *address, const char *text);
void address_fini(struct address *address);

/* Whether its endpoints must be asked for of a resolver, which takes its time. */
bool address_is_name(const struct address *address);
/* Whether the host is a numeric address. */
bool address_is_numeric(const struct address *address);

/*
 * address_resolve(address, endpoints):
 * All endpoints of ${address}, in the order in which they are to be tried. Takes no time unless address_is_name().
 * Returns: NULL; a static sentence that says why there are none.
 */
const char *address_resolve(const struct address *address, struct endpoints *endpoints);

#endif
