/*
 * attempts.h - how often may a sign-in fail? Each peer has a limit, and all of them together. Pure: the caller
 * brings the time. An IPv6 peer is its network of 64 bits, whose addresses one machine may all have.
 *
 * Threads: one at a time.
 */
#ifndef HTTP_ATTEMPTS_H
#define HTTP_ATTEMPTS_H

#include <stdint.h>

#include "client/http/peer.h"

#define ATTEMPTS_PEER 5
#define ATTEMPTS_ALL 20
#define ATTEMPTS_WINDOW_MS 60000

struct attempts_count {
	struct peer peer;
	int64_t since_ms; /* of the first failure in this window */
	unsigned failed;
};

/* All zero: none failed. */
struct attempts {
	struct attempts_count all, peers[ATTEMPTS_ALL]; /* no more peers than that can fail in one window */
};

/* May ${peer} try? Returns 0, or after how many seconds. Until then not even the right token is looked at. */
unsigned attempts_wait_s(const struct attempts *attempts, const struct peer *peer, int64_t now_ms);
/* ${peer} has tried and failed. */
void attempts_failed(struct attempts *attempts, const struct peer *peer, int64_t now_ms);

#endif
