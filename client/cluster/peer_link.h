/*
 * peer_link.h - one connection to the listener of another node, made once: the host's name is resolved, TCP and TLS are
 * begun, then requests and replies go by wire.h. Never waits. When it has failed it is of no more use.
 *
 * The server's certificate must be signed by the CA and name the host of the address.
 * Threads: one, besides the resolver's.
 */
#ifndef CLUSTER_PEER_LINK_H
#define CLUSTER_PEER_LINK_H

#include "client/cluster/wire.h"
#include "proto/c/address.h"
#include "proto/c/resolver.h"
#include "proto/c/tls.h"

#define PEER_LINK_CONNECT_MS 3000 /* from connecting to the greeting, for each of a name's addresses */
#define PEER_LINK_REPLY_MAX (1U << 20)

struct peer_link_files {
	const char *ca, *cert, *key; /* ${cert} and ${key} may be NULL */
};

enum peer_link_phase { PEER_LINK_RESOLVES, PEER_LINK_CONNECTS, PEER_LINK_SECURES, PEER_LINK_OPEN };

struct peer_link {
	struct address address;
	enum peer_link_phase phase;
	struct resolver resolver;
	struct endpoints endpoints;
	unsigned endpoint;
	int fd; /* -1: none */
	int64_t begun_ms;
	int64_t due_ms; /* until it is up: when to look again, or when it has taken too long */
	SSL_CTX *tls;   /* NULL: without */
	struct tls_session *session;
	struct wire wire;  /* the owner appends requests, at any time, and takes what has come */
	struct buffer out; /* encrypted */
	char why[200];     /* it has failed */
};

/*
 * peer_link_new(text, files, now_ms, why, why_len):
 * A connection to ${text}, which is an address of tcp or tls+tcp. The files are read now.
 * Returns: NULL with a sentence at ${why}.
 */
struct peer_link *
peer_link_new(const char *text, const struct peer_link_files *files, int64_t now_ms, char *why, size_t why_len);
/* Takes NULL. A resolver that still runs keeps its memory: call this then at the end of the process only. */
void peer_link_free(struct peer_link *link);

/*
 * peer_link_turn(link, now_ms):
 * Do what can be done without waiting.
 * Returns: 0; -1 when it has failed, and ${link}->why says why. What had come before is in ${link}->wire in both cases.
 */
int peer_link_turn(struct peer_link *link, int64_t now_ms);

/* What to wait for, as poll() has it. */
short peer_link_events(const struct peer_link *link);
/* When peer_link_turn() is to be called without an event; INT64_MAX: not at all. */
int64_t peer_link_due_ms(const struct peer_link *link);

#endif
