/*
 * engine.c - put one environment together and take it apart (see engine.h).
 */
#include "service/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

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

static int
open_engine(const struct config *config, enum environment environment, unsigned readers, bool settle,
    struct engine **out, char *why, size_t why_len)
{
	const struct config_environment *c = &config->environments[environment];
	struct store_options options = {
		.environment = environment,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = readers + READERS_MORE,
		.settle = settle,
	};
	struct engine *engine;
	int fault;

	if ((engine = calloc(1, sizeof(*engine))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -FAULT_INTERNAL;
	}
	engine->environment = environment;
	clock_init(&engine->clock);
	if ((fault = store_open(&options, &engine->store, why, why_len)) != 0 ||
	    (fault = lastused_open(c->path, keys_made(engine->store), &engine->lastused, why, why_len)) != 0 ||
	    (fault = writer_start(engine->store, &engine->clock, engine->lastused, &engine->writer, why, why_len)) !=
		0) {
		engine_close(engine);
		return fault;
	}
	*out = engine;
	return 0;
}

int
engine_open(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len)
{
	return open_engine(config, environment, readers, false, engine, why, why_len);
}

int
engine_reopen(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len)
{
	return open_engine(config, environment, readers, true, engine, why, why_len);
}

void
engine_close(struct engine *engine)
{
	if (engine == NULL)
		return;
	writer_stop(engine->writer);
	lastused_close(engine->lastused);
	store_close(engine->store);
	free(engine);
}
