/*
 * reopen.c - close and open anew an environment whose database has failed (see reopen.h). Decides nothing about what is in
 * the database.
 *
 * Why no request uses an engine that is closed: a request loads service->engines[] only while its worker is marked busy.
 * Both are sequentially consistent, as is the store of NULL. So a worker that was seen idle afterwards has let go of the
 * engine, and its next request sees NULL. What the writer holds of requests is answered before its thread ends.
 */
#include "service/reopen.h"

#include <stdio.h>
#include <time.h>

#include "service/base/log.h"
#include "service/base/names.h"

#define WAIT_MIN_MS 250
#define WAIT_MAX_MS 60000
#define SOON_MS 1000
#define DISPLACED_MS 1000 /* at most, between two looks for the file */
/* A database that fails again this soon was not mended by opening it: the pauses go on growing. */
#define LASTED_MS 600000

static const char *
name_of(const struct reopen_environment *e)
{
	return environment_name(e->environment);
}

static void
pause_for(struct reopen_environment *e)
{
	e->step = REOPEN_PAUSING;
	e->next_ms = clock_boot_ms() + e->wait_ms;
	e->wait_ms = e->wait_ms * 2 < WAIT_MAX_MS ? e->wait_ms * 2 : WAIT_MAX_MS;
}

void
reopen_init(struct reopen *r, struct service *service, struct server *server, const struct config *config)
{
	*r = (struct reopen){ .service = service, .server = server };
	for (int i = 0; i < ENVIRONMENTS; i++) {
		struct reopen_environment *e = &r->environments[i];

		e->environment = (enum environment)i;
		e->config = config;
		e->wait_ms = WAIT_MIN_MS;
		if (service->broken[i])
			pause_for(e);
	}
}

/* ---- 1, 2: requests leave ---- */

static void
begin_leaving(struct reopen *r, struct reopen_environment *e, struct engine *engine)
{
	if (engine_copy(engine) == ORDER_COPY_READY)
		LOG(LOG_INFO, "this environment's database is replaced by the copy", LOG_S("environment", name_of(e)));
	else
		LOG(LOG_ERROR, "this environment has failed; it is not served until its database is opened anew",
		    LOG_S("environment", name_of(e)), LOG_S("reason", store_failure(engine->store)));
	if (e->opened_ms == 0 || clock_boot_ms() - e->opened_ms >= LASTED_MS)
		e->wait_ms = WAIT_MIN_MS;
	e->next_report_ms = 0;
	e->result = REOPEN_FAILED;
	e->has_file = store_file(engine->store, &e->file) == 0;
	e->engine = engine;
	e->step = REOPEN_LEAVING;
	atomic_fetch_add(&r->service->failures[e->environment], 1);
	r->service->broken[e->environment] = true;
	r->service->engines[e->environment] = NULL;
	server_mark(r->server);
}

static void
leave(struct reopen *r, struct reopen_environment *e)
{
	if (!server_passed(r->server))
		return;
	server_free_readers(r->server, e->environment);
	pause_for(e);
}

/* ---- 3, 4: an attempt ---- */

static bool
is_in_place(const struct reopen_environment *e)
{
	struct lmdb_file named;

	return !e->has_file ||
	    (lmdb_file_at(e->config->environments[e->environment].path, &named) == 0 &&
		lmdb_same_file(&named, &e->file));
}

/* Also after it was opened: a file may be renamed at any time. */
static bool
is_same_file(const struct reopen_environment *e, const struct engine *engine)
{
	struct lmdb_file opened;

	return !e->has_file || (store_file(engine->store, &opened) == 0 && lmdb_same_file(&opened, &e->file));
}

static enum reopen_result
displaced(struct reopen_environment *e)
{
	snprintf(e->why, sizeof(e->why),
	    "%s/data.mdb is not the file that was open: put that file back, or stop fobd and restore a backup",
	    e->config->environments[e->environment].path);
	return REOPEN_DISPLACED;
}

static enum reopen_result
try(struct reopen_environment *e)
{
	int taken;

	if (!is_in_place(e))
		return displaced(e);
	engine_close(e->engine);
	e->engine = NULL;
	if ((taken = engine_take_copy(e->config, e->environment, e->why, sizeof(e->why))) < 0)
		return REOPEN_FAILED;
	if (taken > 0)
		e->has_file = false;
	if (engine_reopen(e->config, e->environment, SERVER_WORKERS, &e->engine, e->why, sizeof(e->why)) != 0)
		return REOPEN_FAILED;
	if (is_same_file(e, e->engine))
		return REOPEN_OPENED;
	engine_close(e->engine);
	e->engine = NULL;
	return displaced(e);
}

static void *
attempt(void *arg)
{
	struct reopen_environment *e = arg;

	e->result = try(e);
	e->done = true;
	return NULL;
}

static void
fail(struct reopen_environment *e)
{
	int64_t now_ms = clock_boot_ms(), wait_ms = e->wait_ms;

	/* To look at the name costs nothing, and the file may come back at any time. */
	if (e->result == REOPEN_DISPLACED && wait_ms > DISPLACED_MS)
		wait_ms = DISPLACED_MS;
	if (now_ms >= e->next_report_ms) {
		e->next_report_ms = now_ms + e->wait_ms;
		LOG(LOG_ERROR, "this environment is not served", LOG_S("environment", name_of(e)),
		    LOG_S("reason", e->why), LOG_I("next_attempt_ms", wait_ms));
	}
	pause_for(e);
	e->next_ms = now_ms + wait_ms;
}

static void
begin_attempt(struct reopen_environment *e)
{
	if (clock_boot_ms() < e->next_ms)
		return;
	e->done = false;
	if (pthread_create(&e->thread, NULL, attempt, e) == 0) {
		e->step = REOPEN_WORKING;
		return;
	}
	e->result = REOPEN_FAILED;
	snprintf(e->why, sizeof(e->why), "cannot start a thread");
	fail(e);
}

static void
end_attempt(struct reopen *r, struct reopen_environment *e)
{
	if (!e->done)
		return;
	pthread_join(e->thread, NULL);
	if (e->result != REOPEN_OPENED) {
		fail(e);
		return;
	}
	e->step = REOPEN_NONE;
	e->opened_ms = clock_boot_ms();
	r->service->engines[e->environment] = e->engine;
	e->engine = NULL;
	LOG(LOG_WARN, "this environment's database was opened anew; it is served again",
	    LOG_S("environment", name_of(e)));
}

bool
reopen_look(struct reopen *r)
{
	bool soon = false;

	for (int i = 0; i < ENVIRONMENTS; i++) {
		struct reopen_environment *e = &r->environments[i];
		struct engine *engine = r->service->engines[i];

		if (e->step == REOPEN_NONE && engine != NULL && store_failed(engine->store) &&
		    engine_copy(engine) != ORDER_COPY_FETCHED)
			begin_leaving(r, e, engine);
		if (e->step == REOPEN_LEAVING)
			leave(r, e);
		else if (e->step == REOPEN_PAUSING)
			begin_attempt(e);
		else if (e->step == REOPEN_WORKING)
			end_attempt(r, e);
		soon = soon || e->step == REOPEN_LEAVING || e->step == REOPEN_WORKING ||
		    (e->step == REOPEN_PAUSING && e->result != REOPEN_DISPLACED &&
			e->next_ms < clock_boot_ms() + SOON_MS);
	}
	return soon;
}

/* ---- the end ---- */

static int
wait_for_attempt(struct reopen_environment *e, int64_t until_ms)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	if (e->step != REOPEN_WORKING)
		return 0;
	while (!e->done) {
		if (clock_boot_ms() >= until_ms)
			return -1;
		nanosleep(&ms, NULL);
	}
	pthread_join(e->thread, NULL);
	return 0;
}

int
reopen_stop(struct reopen *r, uint32_t wait_ms)
{
	int64_t until_ms = clock_boot_ms() + wait_ms;

	for (int i = 0; i < ENVIRONMENTS; i++) {
		struct reopen_environment *e = &r->environments[i];

		if (wait_for_attempt(e, until_ms) != 0)
			return -1;
		engine_close(e->engine);
		e->engine = NULL;
		e->step = REOPEN_NONE;
	}
	return 0;
}
