/*
 * faults.h - what goes wrong in a run: at random moments, with random nodes, for random times of the order of D.
 */
#ifndef CLUSTER_FAULTS_H
#define CLUSTER_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct world;

enum fault {
	FAULT_DRIFT,    /* each clock runs up to 1 % fast or slow */
	FAULT_PAUSE,    /* a node stands still */
	FAULT_COMMIT,   /* LMDB's commits take long */
	FAULT_CUT,      /* no request reaches etcd, or it cannot be connected to */
	FAULT_ONE_WAY,  /* requests reach etcd, and replies are lost */
	FAULT_AGENT,    /* the agent is started anew */
	FAULT_RESTART,  /* the process dies, and is started again */
	FAULT_REBOOT,   /* the machine does */
	FAULT_STOP,     /* a clean stop, and a start */
	FAULT_JOIN,     /* a new node comes with a copy of another's database; an old one goes for good */
	FAULT_LATE,     /* requests are lost, or take effect long after the node was told UNKNOWN */
	FAULT_STALE,    /* a node's reads are answered by a member that has fallen behind */
	FAULT_FULL,     /* etcd's space is used up */
	FAULT_ELECTION, /* etcd has no leader */
	FAULT_DEAF,     /* a watch tells nothing */
	FAULTS
};

struct weather {
	bool over;                /* no faults any more */
	int64_t mean_us;          /* between two faults */
	unsigned frozen;          /* nodes that read from the member that has fallen behind */
	int64_t down_until_us;    /* etcd has no leader until then */
	int64_t over_us;
	bool crowded;             /* etcd has more rows than FLEET_NODES */
	int64_t crowded_us;       /* the last moment at which it had; 0: never */
};

extern const char *const fault_names[FAULTS];

void faults_begin(struct world *world);
/* All is well from here on: cut links are mended, nodes that are down are started. */
void faults_end(struct world *world);

#endif
