/*
 * orphans.h - connections whose peers have left and which are open all the same, over several looks. For a moment that
 * is usual: when a crowd leaves together nng needs some seconds to close them all. It is a leak when they stay; so a
 * socket is known again by its cookie (SO_COOKIE), which the kernel never gives again.
 */
#ifndef ORPHANS_H
#define ORPHANS_H

#include <stddef.h>
#include <stdint.h>

struct orphan {
	uint64_t cookie;
	unsigned looks; /* in a row in which it was seen so */
};

/* Zeroed: nothing was seen yet. Threads: one at a time. */
struct orphans {
	struct orphan *seen; /* at the last look, by cookie */
	size_t n;
};

/*
 * orphans_look(orphans, open):
 * Look at every descriptor of the process; *${open} gets how many there are. What there is no memory for (an entry for
 * each such socket) is forgotten rather than counted.
 */
void orphans_look(struct orphans *orphans, unsigned *open);
/* How many were seen so in each of the last ${looks} looks. */
unsigned orphans_since(const struct orphans *orphans, unsigned looks);
void orphans_fini(struct orphans *orphans);

#endif
