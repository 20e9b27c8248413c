/*
 * link.h - one server of a client: its calls and its connection, and which thread does what for them.
 *
 * The writer's role: whoever has added a call writes all that waits, unless somebody is writing; then that one goes on.
 * The driver's role: one thread at a time makes the connection, receives, and ends what a reply or a deadline ends. It
 * is a thread that waits for a call of its own, or the transport's thread, or link_turn()'s caller in loop mode. Who
 * gives it up hands it to one that waits.
 *
 * Functions are called with the lock held, except where they say otherwise. Threads are woken when it is released.
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include <pthread.h>

#include "client/calls.h"
#include "client/connection.h"

#define LINK_BEDS 64

struct link {
	/* Set once. */
	const struct fob_options *options; /* the transport's copy: numbers only */
	int wake_fd;                       /* -1: none. An eventfd, of the thread or the loop */

	struct buffer raw; /* the driver's: what the socket has brought, before it is decrypted */
	struct connection connection; /* the driver's; its descriptor and session are the writer's, too, while open */

	/*
	 * What threads that wait sleep on, 32 to a word, each with a bit of its own: those who came one after another are
	 * woken with one system call.
	 */
	_Atomic uint32_t beds[LINK_BEDS];

	pthread_mutex_t mutex; /* of all below */
	uint32_t next_bed;
	struct calls calls;
	bool open;    /* frames may be written */
	bool failing; /* no connection, and the last attempt has failed */
	bool closing;
	bool driven;  /* somebody has the driver's role */
	bool writing; /* somebody has the writer's role */
	bool blocked; /* the socket takes no more for now */
	bool ours;    /* the thread, or the loop, has the driver's role */
	bool wanted;  /* the thread waits for the driver's role */
	bool blind;   /* the thread does not watch the connection, as it has a driver */
	bool asleep;  /* the thread, or the loop, waits for what link_prepare() said */
	bool woken;   /* and has been woken by wake_fd */
	bool wake;    /* wake_fd is to be written to when the lock is released */
	bool corked;  /* in callbacks: what they submit is written when they are done */
	pthread_t corker;
	int64_t asleep_until_ms;
	int broken; /* errno of a send that failed */
	int orphan; /* -1; or the descriptor of a lost connection, to be closed by the writer */
	unsigned generation;
	struct buffer sending;   /* the writer's, while there is one */
	struct buffer plain;     /* the same before it is encrypted */
	int64_t silent_since_ms; /* when the first verify was written since the last byte came */
	unsigned silent_verifies;
	int64_t heard_ms;
	struct call_list waiters; /* synchronous calls whose threads wait, the latest first */
	struct call_list told;    /* synchronous calls that have ended and whose threads are to be woken */
	struct call *heir;        /* NULL, or the one whose thread is to be told that it is the driver */
	struct call_list ended;   /* asynchronous calls whose callbacks are to be called */
	uint64_t number;
	/* What the state callback is to be told. */
	bool made, lost, lost_first, ever;
	const char *made_at, *lost_at;
	char reason[120];
	const char *where;
};

/* Returns: 0; FOB_EINTERNAL. link_fini() is needed in any case. */
int link_init(struct link *link, const struct fob_options *options, const struct options_addresses *addresses,
    SSL_CTX *tls, struct fob_error *error);
/* Nobody uses it any more, and all calls have ended. */
void link_fini(struct link *link);

void link_lock(struct link *link);
/* Also wakes who is to be woken. */
void link_unlock(struct link *link);

/* Write what may be written, unless it is being done. Releases the lock meanwhile. */
void link_flush(struct link *link);

/* Take ${call}. Returns: as transport_submit(). */
int link_submit(struct link *link, struct call *call);

/* Without the lock: wait until the synchronous ${call} has ended. */
int link_wait(struct link *link, struct call *call);

/* The asynchronous call with that number ends with FOB_ECANCELLED. Returns: whether it does. */
bool link_cancel(struct link *link, uint64_t number);
void link_cancel_all(struct link *link);

/* ---- for the thread and the loop ---- */

/* By the thread: take the driver's role if it is free and needed, or give it up if it is not. */
void link_claim(struct link *link);

/*
 * link_prepare(link, events, at_ms):
 * What to wait for: *${events} of the connection's descriptor, as poll() has them, and *${at_ms}. Then wait, and call
 * link_awake().
 */
void link_prepare(struct link *link, short *events, int64_t *at_ms);

void link_awake(struct link *link);

/*
 * Without the lock: do what can be done without waiting. ${revents}: what poll() has said; ${ours}: whether the caller
 * has the driver's role. If not, it ends what is late.
 */
void link_turn(struct link *link, short revents, bool ours);

/* Without the lock: call the callbacks of what has ended, and the state callback. Returns: how many. */
unsigned link_callbacks(struct link *link);

#endif
