/*
 * peer.c - addresses and blocks of them (see peer.h). Resolves no name.
 */
#include "client/http/peer.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* of ::ffff:0:0, where IPv4 begins */

static struct in6_addr
mapped(const struct in_addr *v4)
{
	struct in6_addr out = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(&out.s6_addr[12], v4, 4);
	return out;
}

struct peer
peer_of(const struct sockaddr_storage *address)
{
	struct peer peer = { .is_unix = address->ss_family == AF_UNIX };

	if (address->ss_family == AF_INET)
		peer.address = mapped(&((const struct sockaddr_in *)address)->sin_addr);
	else if (address->ss_family == AF_INET6)
		peer.address = ((const struct sockaddr_in6 *)address)->sin6_addr;
	return peer;
}

bool
peer_is_local(const struct peer *peer)
{
	const struct in6_addr *a = &peer->address;

	return peer->is_unix || IN6_IS_ADDR_LOOPBACK(a) ||
	    (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == IN_LOOPBACKNET);
}

void
peer_format(const struct peer *peer, char out[PEER_TEXT_SIZE])
{
	const struct in6_addr *a = &peer->address;

	if (peer->is_unix)
		memcpy(out, "unix", sizeof("unix"));
	else if (IN6_IS_ADDR_V4MAPPED(a))
		inet_ntop(AF_INET, &a->s6_addr[12], out, PEER_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, a, out, PEER_TEXT_SIZE);
}

static bool
bits_equal(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	return memcmp(a, b, whole) == 0 && (rest == 0 || ((a->s6_addr[whole] ^ b->s6_addr[whole]) & mask) == 0);
}

static bool
rest_is_zero(const struct in6_addr *a, unsigned bits)
{
	for (unsigned i = bits; i < 128; i++)
		if ((a->s6_addr[i / 8] & (0x80 >> i % 8)) != 0)
			return false;
	return true;
}

/* The decimal number ${text}, at most ${max}; -1 for anything else. */
static int
parse_bits(const char *text, unsigned max)
{
	unsigned n = 0;

	if (text[0] == '\0' || strlen(text) > 3 || strspn(text, "0123456789") != strlen(text))
		return -1;
	n = (unsigned)strtoul(text, NULL, 10);
	return n <= max ? (int)n : -1;
}

int
peer_block_parse(const char *text, struct peer_block *block)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct peer_block out;
	struct in_addr v4;
	unsigned first = 0;
	int bits;

	if (len >= sizeof(address))
		return -1;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, &v4) == 1) {
		out.address = mapped(&v4);
		first = MAPPED_BITS;
	} else if (inet_pton(AF_INET6, address, &out.address) != 1)
		return -1;
	bits = slash != NULL ? parse_bits(slash + 1, 128 - first) : (int)(128 - first);
	if (bits < 0)
		return -1;
	out.bits = first + (unsigned)bits;
	if (!rest_is_zero(&out.address, out.bits))
		return -1;
	*block = out;
	return 0;
}

bool
peer_is_trusted(const struct peer *peer, const struct peer_block *blocks, size_t n)
{
	if (peer->is_unix)
		return true;
	for (size_t i = 0; i < n; i++)
		if (bits_equal(&peer->address, &blocks[i].address, blocks[i].bits))
			return true;
	return false;
}
