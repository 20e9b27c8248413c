/*
 * positions.h - the newest state that a client was told of, for each environment that is in a cluster: it is sent with every
 * request, so that no node answers from an older one. Threads: any.
 */
#ifndef CLIENT_POSITIONS_H
#define CLIENT_POSITIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "proto/c/position.h"

#define POSITIONS 2                                    /* live, test */
#define POSITIONS_MAX (POSITIONS * POSITION_FIELD_MAX) /* bytes in a request */

struct positions {
	_Atomic bool any;      /* something is known: of servers in no cluster nothing ever is */
	pthread_mutex_t mutex; /* so that both numbers of one are of the same cluster */
	struct {
		_Atomic uint64_t cluster, entry;
	} of[POSITIONS];
};

void positions_init(struct positions *positions);
void positions_fini(struct positions *positions);

/*
 * positions_note(positions, told):
 * What a reply has told. Of one cluster the larger number counts. The first of another cluster takes the former's place,
 * whatever its number: that cluster was made anew.
 */
void positions_note(struct positions *positions, const struct position told[POSITIONS]);
static inline bool
positions_any(const struct positions *positions)
{
	return atomic_load_explicit(&positions->any, memory_order_relaxed);
}
void positions_get(struct positions *positions, struct position out[POSITIONS]);

#endif
