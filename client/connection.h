/*
 * connection.h - a connection to one of a server's addresses: made, lost, made again.
 *
 * Until it is open it belongs to one thread, which calls connection_step() whenever its descriptor is ready or its time
 * has come. Nothing here waits, except for the system's resolver in connection_init().
 *
 * The addresses are tried in their order, and of each all endpoints. When all have failed they are tried again, from the
 * first, after 10 ms, then twice as long each time, up to 1 s, less a random part, so that clients which lost one server
 * together do not come back together.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "client/options.h"
#include "proto/c/address.h"
#include "proto/c/buffer.h"
#include "proto/c/resolver.h"
#include "proto/c/sp.h"
#include "proto/c/tls.h"

/* How long a blocking receive on an open connection takes at most: its socket's SO_RCVTIMEO. */
#define CONNECTION_RECV_MS 20

enum connection_phase {
	CONNECTION_WAITS, /* for the time of the next attempt */
	CONNECTION_RESOLVES,
	CONNECTION_CONNECTS,
	CONNECTION_SECURES,
	CONNECTION_GREETS,
	CONNECTION_OPEN
};

struct connection_target {
	struct address address;
	struct endpoints endpoints;
	const char *why; /* there are none; NULL: there are */
	bool name;
	int64_t resolved_ms; /* 0: by connection_init() */
};

struct connection {
	struct connection_target *targets;
	unsigned n_targets;
	SSL_CTX *tls;
	char *tls_name; /* NULL: the address's host */
	int epoll_fd;   /* -1: none */
	uint32_t watched;

	enum connection_phase phase;
	int fd; /* -1: none */
	unsigned target, endpoint;
	struct tls_session *session; /* NULL: not TLS */
	struct resolver resolver;
	int64_t due_ms; /* of the next attempt, or when this one has taken too long. INT64_MAX: never */
	uint32_t pause_ms, patience_ms;
	bool proven;     /* since it is open the server has sent more than a greeting */
	unsigned failed; /* rounds since it was last open */
	bool refused;    /* in the last round a TLS handshake has failed: waiting will not help */
	bool refusing;   /* the same of the round under way */
	uint32_t random;
	struct buffer out, in; /* of the handshake: bytes to send, decrypted bytes */
	char reason[120];      /* why the last attempt failed, or the last connection was lost */
	const char *where;     /* the address that ${reason} is about */
};

/*
 * connection_init(connection, addresses, options, tls, error):
 * Resolve names, and begin to connect with the next connection_step(). ${tls} is borrowed.
 * Returns: 0; FOB_EINTERNAL out of memory.
 */
int connection_init(struct connection *connection, const struct options_addresses *addresses,
    const struct fob_options *options, SSL_CTX *tls, struct fob_error *error);
void connection_fini(struct connection *connection);

/* Do what can be done without waiting. Returns: whether it is open. */
bool connection_step(struct connection *connection, int64_t now_ms);

/* What connection_step() waits for, as poll() has it; 0 when there is no descriptor, or it is open. */
short connection_events(const struct connection *connection);

/* Have the epoll descriptor watch for ${events}, as poll() has them. */
void connection_watch(struct connection *connection, short events);

/*
 * connection_lost(connection, now_ms, reason):
 * An open one is closed, except for its descriptor, which is shut down and returned; the next attempt begins at once,
 * or after a pause if the server did nothing but greet.
 */
int connection_lost(struct connection *connection, int64_t now_ms, const char *reason);

/* After connection_lost(): the next attempt is of the address that has number ${target}, or of the first one. */
void connection_begin_with(struct connection *connection, unsigned target);

enum sp_framing connection_framing(const struct connection *connection);
const char *connection_address(const struct connection *connection);

#endif
