/*
 * peer.h - who made a connection, as the kernel knows it.
 */
#ifndef PEER_H
#define PEER_H

#include <nng/nng.h>

#include "service/base/config.h"
#include "service/rpc/service.h"

/* The user and process at the other end of a unix socket; the address of another one. */
void peer_of(nng_stream *stream, struct peer *peer);

/* May ${peer} ask a listener with the settings ${config}? A peer that the kernel does not name is no allowed user. */
bool peer_allowed(const struct peer *peer, const struct config_listener *config);

#endif
