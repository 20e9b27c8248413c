/*
 * reopen.h - an environment whose database has failed is closed and opened anew, while fobd runs and the other environment
 * goes on. So is one that could not be opened at the start, because it is damaged or its disk is full or fails.
 *
 * The steps, of which none blocks the main thread:
 *
 *	1. New requests do not see the engine any more: they are UNAVAILABLE.
 *	2. When every worker has been seen without a request since then, their read transactions are freed.
 *	3. After a pause a thread of its own closes the old engine, which ends its writer's thread, and opens a new one. The
 *	   thread is not the main thread, as a disk that fails may block it for minutes.
 *	4. If that fails, it is tried again: after a quarter of a second, then a half, up to once a minute.
 *	   The log has a line for each failure, or for the first in a minute.
 *
 * A node of a cluster that has fetched a copy of another node's database ends its own in the same way, and the copy is put in
 * its place in step 3.
 *
 * Otherwise the path must name the file that was open. Another one may be an old copy, in which revoked keys are valid: it is served
 * only after a restart. Until the path names the file again, the old engine stays open, because the last name of the file
 * may be gone, and closing it would lose it.
 */
#ifndef REOPEN_H
#define REOPEN_H

#include <pthread.h>

#include "service/net/server.h"

enum reopen_result { REOPEN_FAILED, REOPEN_OPENED, REOPEN_DISPLACED /* the path names another file, or none */ };

enum reopen_step { REOPEN_NONE, REOPEN_LEAVING, REOPEN_PAUSING, REOPEN_WORKING };

struct reopen_environment {
	enum environment environment;
	const struct config *config;
	enum reopen_step step;
	bool has_file;
	struct lmdb_file file; /* that was open */
	int64_t next_ms;       /* of the next attempt. Times by clock_boot_ms() */
	int64_t wait_ms;       /* after an attempt that fails */
	int64_t next_report_ms;
	int64_t opened_ms; /* when the last attempt succeeded; 0: none has */

	pthread_t thread; /* of an attempt */
	_Atomic bool done;
	/* The rest is the thread's during an attempt. */
	enum reopen_result result;
	struct engine *engine; /* the old one, which is still to be closed; then the new one; or NULL */
	char why[1024];
};

/* Threads: the main thread's, all of it. */
struct reopen {
	struct service *service;
	struct server *server;
	struct reopen_environment environments[ENVIRONMENTS];
};

/* ${config} is what the daemon was started with. All are borrowed until reopen_stop(). */
void reopen_init(struct reopen *reopen, struct service *service, struct server *server, const struct config *config);

/*
 * reopen_look(reopen):
 * Make the steps that are due. To be called once a second, and more often while it returns true: the next step will be
 * due within a second.
 */
bool reopen_look(struct reopen *reopen);

/*
 * reopen_stop(reopen, wait_ms):
 * End attempts and close what is left open. No request may be under way.
 * Returns: 0; -1: a thread did not end within ${wait_ms}, and still uses what was borrowed.
 */
int reopen_stop(struct reopen *reopen, uint32_t wait_ms);

#endif
