/*
 * load_internal.h - what the files of a load share: its state, and the steps that one file asks of another.
 *
 * A slot makes one call at a time. In a closed loop it begins its next call from the callback of the last one, or from
 * its own thread. In an open loop a pacing thread takes free slots as the rate demands.
 */
#ifndef LOAD_LOAD_INTERNAL_H
#define LOAD_LOAD_INTERNAL_H

#include <pthread.h>

#include "tests/load/load.h"

/* An account whose secret key is rolled. */
struct target {
	char account[FOB_ACCOUNT_SIZE];
	enum fob_environment environment;
	uint32_t generation; /* the newest that we have the secret of */
};

struct load;

struct slot {
	struct load *load;
	struct fob_client *client, *admin;
	struct rng rng;
	struct keys_choice choice; /* of the keys to verify */
	int64_t from_ns;           /* when the call began, or should have */
	enum op op;
	size_t target;
	struct fob_verify_request *requests; /* config->batch of them; so are the next two */
	struct fob_verification *results;
	int *faults;
	struct slot *next_free;
	pthread_t thread;
};

struct load {
	const struct load_config *config;
	struct keys *keys;
	struct keys bad;
	size_t n_targets; /* the first so many of the keys */
	struct target *targets;
	struct fob_client *clients[LOAD_SOCKETS_MAX], *admins[LOAD_SOCKETS_MAX];
	struct slot *slots;
	struct load_outcome *outcome;
	struct measure *measure;
	_Atomic uint64_t turn; /* open loop: the next call's number */
	_Atomic uint64_t sent_measured;
	_Atomic bool stopped;

	pthread_mutex_t mutex; /* of all below, and of what targets and their keys say; not held in a call of libfob */
	pthread_cond_t changed;
	struct slot *free;
	unsigned active; /* slots or threads that go on */
	bool rolled;
};

/* ---- load_call.c ---- */

/* Begin an asynchronous call, which has slot_ended() called when it ends; or make a synchronous one. */
void slot_begin(struct slot *s);
void slot_call(struct slot *s);

/* ---- load_pace.c ---- */

/*
 * pace(l, from_ns):
 * Wait for the moment of the next call of an open loop, which is then at *${from_ns}.
 * Returns: false when the end comes first.
 */
bool pace(struct load *l, int64_t *from_ns);

/* Count the call of that moment as sent now. */
void pace_record(struct load *l, int64_t from_ns);

/* A free slot, waited for until the end; NULL then. The caller sets from_ns. */
struct slot *take_free(struct load *l);
void give_free(struct slot *s);

/* Did the calls begin and end at the rate? */
void judge_rate(const struct load *l, struct load_outcome *outcome, const struct recorder *sum);

/* ---- load_targets.c ---- */

/*
 * find_targets(l, why, why_len):
 * Ask fobd which of the keys are current secret keys, as a file of secrets does not say. They become the targets and go
 * to the front of the keys.
 * Returns: 0; -1 with a line at ${why}.
 */
int find_targets(struct load *l, char *why, size_t why_len);

/* ---- load.c ---- */

/* An asynchronous call of ${s} has ended. The slot begins its next one, or is done. */
void slot_ended(struct slot *s, int64_t now_ns);

/* One of l->active will begin no more calls. */
void load_retire_one(struct load *l);

#endif
