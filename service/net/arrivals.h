/*
 * arrivals.h - TCP connections that have been accepted and have not greeted yet: how many there may be, and for how
 * long. nng counts a connection only when it has greeted, and never times out the send that waits for a TLS handshake.
 */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include <stdint.h>

#include "service/base/limits.h"

/* The two ends of a TCP connection, IPv4 as ::ffff:a.b.c.d; ports in network order. */
struct arrival_ends {
	uint8_t peer[16];
	uint8_t own[16];
	uint16_t peer_port;
	uint16_t own_port;
};

struct arrivals_stats {
	uint64_t accepted; /* connections of any kind, our own probes among them */
	uint64_t late;     /* closed: it had not greeted within LIMIT_GREETING_MS */
	uint64_t crowded;  /* closed: it had waited the longest when there were too many */
};

/* How many may be on their way at once, when there may be ${connections}. */
static inline unsigned
arrivals_most(unsigned connections)
{
	return connections < LIMIT_ARRIVALS ? connections : LIMIT_ARRIVALS;
}

/*
 * arrivals_start(most), arrivals_stop():
 * From here on every TCP connection that this process accepts, by whatever library, is watched, ${most} of them at
 * once: one more, and the one that has waited the longest is closed. Each start takes a stop; all but the first change
 * nothing.
 * Returns: 0; -1 with errno: there are no descriptors for it, or (ENOSYS) libraries would not call the accept of this
 * executable, which does not export it.
 */
int arrivals_start(unsigned most);
void arrivals_stop(void);

/*
 * arrivals_greeted(ends):
 * This connection has greeted: it is no concern of ours any more. One that is not known is no news. Threads: any.
 */
void arrivals_greeted(const struct arrival_ends *ends);

/*
 * arrivals_sweep(now_ms):
 * To be called every second, with the time of clock_boot_ms(): close what came more than LIMIT_GREETING_MS before.
 * Closing is a shutdown(2), of which the owner of the descriptor hears as of a peer that leaves. Threads: any.
 */
void arrivals_sweep(int64_t now_ms);

void arrivals_stats(struct arrivals_stats *out);

#endif
