/*
 * peer.h - a request that another node of the cluster has sealed: see cluster/ask.h. What is in it is a request to Admin,
 * of the environment whose pepper it was sealed with, and is answered as any other; its response goes back sealed. A change
 * that the other node forwards is its client's, whom it names.
 */
#ifndef PEER_H
#define PEER_H

#include "service/rpc/call.h"

/*
 * peer_seal(call, bytes, len, sealed_len):
 * The Response at ${bytes}, sealed, as the Response to Peer/Ask. Of a call that came through it.
 * Returns: NULL: the request's scratch memory is used up.
 */
uint8_t *peer_seal(struct call *call, const uint8_t *bytes, size_t len, size_t *sealed_len);

#endif
