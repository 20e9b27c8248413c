/*
 * engine.c - put one environment together and take it apart (see engine.h).
 */
#include "service/engine/engine.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/base/folder.h"
#include "service/engine/internal.h"
#include "service/store/open.h"

/* Readers beside those that the caller asks for: the writer's own, and room for fobd --backup and --check. */
#define READERS_MORE 16

static uint32_t
keys_made(struct store *store)
{
	struct record_state state = { 0 };
	struct store_txn *txn;

	if ((txn = store_txn_new(store)) == NULL)
		return 0;
	if (store_read(txn) == 0) {
		if (store_state(txn, &state) != 0)
			state.next_serial = 0;
		store_read_end(txn);
	}
	store_txn_free(txn);
	return state.next_serial;
}

struct opening {
	struct store_options options;
	struct store *store;
	int fault;
	char *why;
	size_t why_len;
};

static void *
open_store(void *arg)
{
	struct opening *o = arg;

	o->fault = store_open(&o->options, &o->store, o->why, o->why_len);
	return NULL;
}

static void *
settle_store(void *arg)
{
	struct opening *o = arg;

	o->fault = store_settle(o->store, o->why, o->why_len);
	return NULL;
}

/*
 * What writes to the database here has a thread of its own: if a trap leaves that thread with LMDB's lock, the lock is free
 * again when it ends (see lmdb_close()).
 */
static int
run_apart(void *(*run)(void *), struct opening *o)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, o) != 0) {
		snprintf(o->why, o->why_len, "cannot start a thread");
		return -FAULT_INTERNAL;
	}
	pthread_join(thread, NULL);
	return o->fault;
}

static int
open_parts(struct engine *engine, struct opening *o, const struct order_options *order, bool settle)
{
	int fault;

	fault = run_apart(open_store, o);
	engine->store = o->store;
	if (fault != 0 || (settle && (fault = run_apart(settle_store, o)) != 0) ||
	    (fault = lastused_open(o->options.path, keys_made(engine->store), &engine->lastused, o->why, o->why_len)) !=
		0)
		return fault;
	return writer_start(engine->store, &engine->clock, engine->lastused, order, &engine->writer, o->why, o->why_len);
}

static int
open_engine(const struct config *config, enum environment environment, unsigned readers, bool settle,
    struct engine **out, char *why, size_t why_len)
{
	const struct config_environment *c = &config->environments[environment];
	struct opening o = {
		.options = { .environment = environment,
		    .path = c->path,
		    .pepper = c->pepper,
		    .ceiling_bytes = c->ceiling_bytes,
		    .events_kept = c->events_kept,
		    .readers = readers + READERS_MORE },
		.why = why,
		.why_len = why_len,
	};
	struct order_options order = { .max_staleness_ms = config->max_staleness_ms };
	struct engine *engine;
	int fault;

	if ((engine = calloc(1, sizeof(*engine))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -FAULT_INTERNAL;
	}
	engine->environment = environment;
	engine->options = o.options;
	clock_init(&engine->clock);
	order.fresh_until_ms = &engine->fresh_until_ms;
	order.store = &engine->options;
	snprintf(order.address, sizeof(order.address), "%s", config_peer_address(config));
	if ((fault = open_parts(engine, &o, &order, settle)) != 0) {
		engine_close(engine);
		return fault;
	}
	if ((engine->snapshot = snapshot_new(engine->store, &o.options)) == NULL) {
		snprintf(why, why_len, "out of memory");
		engine_close(engine);
		return -FAULT_INTERNAL;
	}
	*out = engine;
	return 0;
}

/* ---- a copy of another node's database ---- */

static bool
copy_path(const struct config *config, enum environment environment, const char *name, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%s", config->environments[environment].path, name) < PATH_MAX;
}

/* What a process has left that ended before it could use it: by now the log may have gone further. */
static void
drop_copies(const struct config *config, enum environment environment)
{
	char path[PATH_MAX];

	if (copy_path(config, environment, COPY_READY, path))
		unlink(path);
	if (copy_path(config, environment, COPY_UNFINISHED, path))
		unlink(path);
}

int
engine_take_copy(const struct config *config, enum environment environment, char *why, size_t why_len)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (!copy_path(config, environment, COPY_READY, from) || access(from, F_OK) != 0 ||
	    !copy_path(config, environment, "data.mdb", to))
		return 0;
	/* Its commit was synced when it was made; so a power cut leaves the one or the other. */
	if (rename(from, to) == 0 && folder_sync_around(to) == 0)
		return 1;
	snprintf(why, why_len, "%s: a copy of another node's database cannot take its place: %s", to, strerror(errno));
	return -1;
}

int
engine_open(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len)
{
	drop_copies(config, environment);
	return open_engine(config, environment, readers, false, engine, why, why_len);
}

int
engine_reopen(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len)
{
	return open_engine(config, environment, readers, true, engine, why, why_len);
}

enum order_copy
engine_copy(const struct engine *engine)
{
	struct order *order = writer_order(engine->writer);

	return order != NULL ? order_copy(order) : ORDER_COPY_NONE;
}

void
engine_leave_cluster(struct engine *engine, int64_t wait_ms)
{
	if (engine != NULL)
		writer_leave_cluster(engine->writer, wait_ms);
}

void
engine_close(struct engine *engine)
{
	if (engine == NULL)
		return;
	snapshot_free(engine->snapshot);
	writer_stop(engine->writer);
	lastused_close(engine->lastused);
	store_close(engine->store);
	free(engine);
}
