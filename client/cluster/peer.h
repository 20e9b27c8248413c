/*
 * peer.h - asks of other nodes: one connection to each address, several asks under way on each, whose answers come in any
 * order. A connection that fails ends its asks; the next ask makes another one. Looks into no sealed bytes, and never
 * waits.
 * Threads: one. The callback comes within peers_turn() and peers_ask(), and may call none of these.
 */
#ifndef CLUSTER_PEER_H
#define CLUSTER_PEER_H

#include <poll.h>

#include "client/cluster/peer_link.h"
#include "fob/v1/cluster.pb-c.h"

#define PEERS_ADDRESSES 8      /* connections at once */
#define PEERS_UNDER_WAY 64     /* asks */
#define PEERS_IDLE_MS 60000    /* then a connection is closed */
#define PEERS_TIMEOUT_MS 10000 /* of an ask that gives none */
#define PEERS_TIMEOUT_MAX_MS 60000
#define PEERS_SEALED_MAX (196U << 10) /* of an answer: what fits one Exchange */

struct peers_callbacks {
	/* ${sealed} is borrowed; it is empty if and only if there is a reason. */
	void (*on_answer)(void *arg, uint64_t id, const ProtobufCBinaryData *sealed, const char *why);
	void *arg;
};

struct peers;

/* The strings of ${files} are borrowed until peers_free() or peers_reload(). Returns: NULL when out of memory. */
struct peers *peers_new(const struct peer_link_files *files, const struct peers_callbacks *callbacks);
void peers_free(struct peers *peers); /* without callbacks; takes NULL */

/* New asks get new connections, which read the files again. Those that are there end with their asks. */
void peers_reload(struct peers *peers, const struct peer_link_files *files);

/* Begin ${ask}, which is borrowed while this runs. It is answered once, unless peers_forget() comes before. */
void peers_ask(struct peers *peers, Fob__V1__Environment environment, const Fob__V1__Ask *ask, int64_t now_ms);
unsigned peers_under_way(const struct peers *peers);

/* No ask that is under way is answered. Connections stay. */
void peers_forget(struct peers *peers, int64_t now_ms);

/* What to wait for: the descriptors, at most PEERS_ADDRESSES, and the time; INT64_MAX: none. */
unsigned peers_fds(const struct peers *peers, struct pollfd *fds);
int64_t peers_due_ms(const struct peers *peers);
void peers_turn(struct peers *peers, int64_t now_ms);

#endif
