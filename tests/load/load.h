/*
 * load.h - a load of calls on a running fobd, through libfob.
 *
 * Closed loop, asynchronous: a number of calls in flight, each of which is followed by the next from its own callback.
 * Closed loop, synchronous: a number of threads that call and wait.
 * Open loop: calls begin when the rate says, whatever became of the ones before; latency counts from that moment, so
 * that a server that stalls is charged with all the calls that had to wait (no "coordinated omission").
 */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/fob.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/measure.h"
#include "tests/load/mix.h"

#define LOAD_SOCKETS_MAX 256
#define LOAD_CALLERS_MAX 65536

struct load_config {
	const char *address;                     /* for verify and bad */
	const char *admin_address;               /* for roll, and for making accounts */
	const char *tls_ca, *tls_cert, *tls_key; /* for tls+tcp:// */
	uint32_t timeout_ms;
	unsigned callers; /* calls in flight; open loop: most calls outstanding; synchronous: threads */
	bool synchronous;
	unsigned sockets;   /* clients of libfob */
	unsigned in_flight; /* on the wire per client; 0: its share of the callers, as far as libfob goes */
	double rate;        /* per second; 0: closed loop */
	struct mix mix;
	unsigned batch; /* keys to a VerifyKeys; 1: VerifyKey */
	const char *operation;
	unsigned roll_keys; /* how many of the keys are rolled, and then not verified */
	uint32_t roll_grace_s;
	struct flags_run run;
	pid_t server; /* fobd, whose thread switches are counted with our own; 0: none are counted */
};

struct load_outcome {
	struct measure measure;
	bool rate_met;
	uint64_t not_sent; /* open loop: calls of the measured time that were never begun */
	bool rolled;       /* some of the keys have been replaced by newer ones */
};

/*
 * load_run(config, keys, outcome, why, why_len):
 * Run the load, to the last reply. ${keys} may be put in another order, and rolled ones are replaced by the new ones.
 * What was measured is in recorder_sum().
 * Returns: 0; -1 with a line at ${why} when there was nothing to measure.
 */
int
load_run(const struct load_config *config, struct keys *keys, struct load_outcome *outcome, char *why, size_t why_len);

/* A client for ${address} with the options of ${config}. Returns 0; -1 with a line at ${why}. */
int load_client(const struct load_config *config, const char *address, unsigned in_flight, struct fob_client **client,
    char *why, size_t why_len);

/*
 * setup_accounts(config, environment, n, keys, why, why_len):
 * Make ${n} accounts of fresh names and add their secrets, two each, to ${keys}. Returns 0; -1 with a line at ${why}
 * and the secrets of those that were made in ${keys}.
 */
int setup_accounts(const struct load_config *config, enum fob_environment environment, size_t n, struct keys *keys,
    char *why, size_t why_len);

#endif
