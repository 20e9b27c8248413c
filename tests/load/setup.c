/*
 * setup.c - makes accounts for a load, many at a time so that they share commits (see load.h). Never prints a secret.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tests/load/load.h"

#define CLIENTS 4
#define IN_FLIGHT 64 /* per client: what a connection of fobd may have */
#define ATTEMPT_MS 30000

struct setup {
	enum fob_environment environment;
	uint32_t run; /* part of the names, so that a second run makes other accounts */
	size_t n;
	bool quiet;
	struct fob_client *clients[CLIENTS];

	pthread_mutex_t mutex; /* of all below */
	pthread_cond_t changed;
	struct keys *keys;
	size_t begun, made;
	unsigned under_way;
	int fault; /* the first; nothing is begun after it */
	char message[sizeof(((struct fob_error *)0)->message)];
};

struct lane {
	struct setup *setup;
	struct fob_client *client;
};

static void lane_next(struct lane *);

static void
setup_fail(struct setup *s, int fault, const char *message)
{
	if (s->fault != 0)
		return;
	s->fault = fault;
	snprintf(s->message, sizeof(s->message), "%s", message);
}

static void
created(void *arg, int fault, const struct fob_created_account *account, const struct fob_error *error)
{
	struct lane *lane = arg;
	struct setup *s = lane->setup;

	pthread_mutex_lock(&s->mutex);
	if (fault != 0) {
		setup_fail(s, fault, error->message);
	} else {
		if (keys_add(s->keys, account->secret_key->secret, strlen(account->secret_key->secret)) != 0 ||
		    keys_add(s->keys, account->publishable_key->secret, strlen(account->publishable_key->secret)) != 0)
			setup_fail(s, FOB_EINTERNAL, "out of memory");
		s->made++;
	}
	pthread_mutex_unlock(&s->mutex);
	lane_next(lane);
}

/* Begins the lane's next account, or ends the lane. */
static void
lane_next(struct lane *lane)
{
	struct setup *s = lane->setup;
	char name[FOB_ACCOUNT_SIZE];
	bool end;
	size_t i;
	int rc;

	pthread_mutex_lock(&s->mutex);
	end = s->fault != 0 || s->begun == s->n;
	i = end ? 0 : s->begun++;
	pthread_mutex_unlock(&s->mutex);
	if (!end) {
		snprintf(name, sizeof(name), "load-%08" PRIx32 "-%zu", s->run, i);
		rc = fob_create_account_async(lane->client,
		    &(struct fob_account_request){ FOB_ACCOUNT_REQUEST_INIT, .environment = s->environment,
			.account = name, .timeout_ms = ATTEMPT_MS },
		    created, lane, NULL, NULL);
		if (rc == 0)
			return;
		pthread_mutex_lock(&s->mutex);
		setup_fail(s, rc, fob_fault_name(rc));
		pthread_mutex_unlock(&s->mutex);
	}
	pthread_mutex_lock(&s->mutex);
	s->under_way--;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void
setup_wait(struct setup *s)
{
	struct timespec next;
	size_t last = 0;

	clock_gettime(CLOCK_REALTIME, &next);
	next.tv_sec++;
	pthread_mutex_lock(&s->mutex);
	while (s->under_way > 0) {
		if (pthread_cond_timedwait(&s->changed, &s->mutex, &next) == 0)
			continue;
		if (measure_take_signal())
			setup_fail(s, FOB_ECANCELLED, "interrupted");
		if (!s->quiet)
			fprintf(stderr, "setup: %zu of %zu accounts, %zu/s\n", s->made, s->n, s->made - last);
		last = s->made;
		next.tv_sec++;
	}
	pthread_mutex_unlock(&s->mutex);
}

int
setup_accounts(const struct load_config *config, enum fob_environment environment, size_t n, struct keys *keys,
    char *why, size_t why_len)
{
	struct setup s = { .environment = environment,
		.n = n,
		.quiet = config->run.quiet,
		.keys = keys,
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER };
	struct lane lanes[CLIENTS * IN_FLIGHT];
	unsigned i;
	int rc = 0;

	if (getrandom(&s.run, sizeof(s.run), 0) != (ssize_t)sizeof(s.run)) {
		snprintf(why, why_len, "no random bytes from the system");
		return -1;
	}
	for (i = 0; i < CLIENTS && rc == 0; i++)
		rc = load_client(config, config->admin_address, IN_FLIGHT, &s.clients[i], why, why_len);
	if (rc == 0) {
		s.under_way = CLIENTS * IN_FLIGHT;
		for (i = 0; i < CLIENTS * IN_FLIGHT; i++) {
			lanes[i] = (struct lane){ .setup = &s, .client = s.clients[i % CLIENTS] };
			lane_next(&lanes[i]);
		}
		setup_wait(&s);
		if ((rc = s.fault) != 0)
			snprintf(why, why_len, "account %zu of %zu could not be made: %s (%s)", s.made + 1, n,
			    s.message, fob_fault_name(s.fault));
	}
	for (i = 0; i < CLIENTS; i++)
		fob_client_free(s.clients[i]);
	return rc == 0 ? 0 : -1;
}
