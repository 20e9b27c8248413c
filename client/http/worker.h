/*
 * worker.h - one thread that serves: its event loop, its fobd client, its HTTP server.
 */
#ifndef HTTP_WORKER_H
#define HTTP_WORKER_H

#include "client/http/server.h"
#include "client/http/settings.h"

struct worker;

/* A descriptor of each address that is listened at, in the settings' order; ${metrics}: -1 without one. */
struct worker_sockets {
	int listen[SETTINGS_LISTEN_MAX];
	int metrics;
};

/*
 * worker_new(settings, shared, sockets, worker, why, why_len):
 * Make a worker, which does not run yet. ${settings} gets a reference; ${sockets} are the worker's once it was made.
 * Returns: 0; -1 with one line at ${why}.
 */
int worker_new(struct settings *settings, struct server_shared *shared, const struct worker_sockets *sockets,
    struct worker **worker, char *why, size_t why_len);
int worker_start(struct worker *worker, char *why, size_t why_len);

/* Use other settings from the next request on: what the file marks with (reload). Threads: any. */
void worker_reload(struct worker *worker, struct settings *settings);

/* End: no new connections, then the replies of what is under way, for as long as a verify may take. Threads: any. */
void worker_stop(struct worker *worker);

/* Wait for the end of a worker that was started, and free it. */
void worker_free(struct worker *worker);

#endif
