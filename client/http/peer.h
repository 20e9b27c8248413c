/*
 * peer.h - who sent a request: this machine's unix socket, or an address; and blocks of addresses. Pure.
 */
#ifndef HTTP_PEER_H
#define HTTP_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct peer {
	bool is_unix;
	struct in6_addr address; /* of IPv4: mapped, ::ffff:a.b.c.d */
};

struct peer_block {
	struct in6_addr address;
	unsigned bits; /* 0 to 128 */
};

/* The peer with the socket address ${address}; any other family than IPv4, IPv6 and unix is the address ::. */
struct peer peer_of(const struct sockaddr_storage *address);

/* Is ${peer} on this machine: at a unix socket, or at a loopback address? */
bool peer_is_local(const struct peer *peer);

/* "unix", or the address without its port. */
#define PEER_TEXT_SIZE 46
void peer_format(const struct peer *peer, char out[PEER_TEXT_SIZE]);

/*
 * peer_block_parse(text, block):
 * Read an address, "10.1.2.3" or "::1", or a block, "10.0.0.0/8". Bits behind the block's length must be zero.
 * Returns: 0; -1 when ${text} is neither, ${block} untouched.
 */
int peer_block_parse(const char *text, struct peer_block *block);

/* Is ${peer} at a unix socket, or in one of the ${n} blocks? */
bool peer_is_trusted(const struct peer *peer, const struct peer_block *blocks, size_t n);

#endif
