/*
 * restore_internal.h - what the files of a restore share: restore.c has the whole, replay.c one event.
 */
#ifndef RESTORE_INTERNAL_H
#define RESTORE_INTERNAL_H

#include "service/offline/made.h"
#include "service/offline/restore.h"

struct restore {
	const struct store_options *options;
	struct store_txn *txn;
	struct record_state state;
	struct record_copy copy;
	uint64_t line;     /* of the events, from 1; 0: errors name no line */
	uint64_t first;    /* the sequence number of the first event of this environment; 0: there was none */
	uint64_t newest;   /* the highest one in the lines so far */
	uint64_t replayed; /* events since the copy */
	uint64_t applied;  /* of them: changed something */
	uint64_t unfit;    /* of them: fit nothing that the copy has or that earlier events made */
	bool overlaps;     /* the copy's last event is among the lines, and is the same there */
	bool left_cluster; /* the copy was a node's */
	struct made made;
	FILE *out;
	char *why;
	size_t why_len;
};

/* Set r->why, with the line at hand before it. Returns -1. */
int restore_refuse(struct restore *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * replay_event(r, e):
 * Do what the event ${e} says, and store the event. One that fits nothing is stored, too, counted in r->unfit, and
 * written to r->out with the reason; the first hundred are.
 * Returns: 0; -1 with r->why set.
 */
int replay_event(struct restore *r, const struct record_event *e);

#endif
