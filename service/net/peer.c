/*
 * peer.c - who made a connection (see peer.h).
 */
#include "service/net/peer.h"

#include <arpa/inet.h>
#include <stdio.h>

static void
address_of(nng_stream *stream, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	nng_sockaddr sa;

	if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0)
		return;
	if (sa.s_family == NNG_AF_INET && inet_ntop(AF_INET, &sa.s_in.sa_addr, host, sizeof(host)) != NULL)
		snprintf(text, size, "%s:%u", host, ntohs(sa.s_in.sa_port));
	else if (sa.s_family == NNG_AF_INET6 && inet_ntop(AF_INET6, sa.s_in6.sa_addr, host, sizeof(host)) != NULL)
		snprintf(text, size, "[%s]:%u", host, ntohs(sa.s_in6.sa_port));
}

void
peer_of(nng_stream *stream, struct peer *peer)
{
	uint64_t uid, pid;

	*peer = (struct peer){ 0 };
	if (nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_UID, &uid) == 0 &&
	    nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_PID, &pid) == 0) {
		peer->known = true;
		peer->uid = (uint32_t)uid;
		peer->pid = (uint32_t)pid;
	} else {
		address_of(stream, peer->address, sizeof(peer->address));
	}
}

bool
peer_allowed(const struct peer *peer, const struct config_listener *config)
{
	for (size_t i = 0; i < config->n_allow_uids; i++)
		if (peer->known && peer->uid == config->allow_uids[i])
			return true;
	return config->n_allow_uids == 0;
}
