/*
 * engine.h - one environment, running: its database, clock, last-used times and writer. The two environments share
 * nothing: from one struct engine nothing of the other can be reached.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "service/base/clock.h"
#include "service/base/config.h"
#include "service/engine/lastused.h"
#include "service/engine/order.h"
#include "service/engine/snapshot.h"
#include "service/engine/writer.h"
#include "service/store/store.h"

struct engine {
	enum environment environment;
	struct store *store;
	struct store_options options; /* that it was opened with */
	struct clock clock;
	struct lastused *lastused;
	struct writer *writer;
	_Atomic int64_t fresh_until_ms; /* of a cluster's node: see order.h */
	struct snapshot *snapshot; /* NULL only in tests, which then make no backup */
};

/*
 * engine_open(config, environment, readers, engine, why, why_len):
 * Open store, last-used times and writer of one environment. ${readers}: how many transactions may read it at once.
 * Returns: 0; with one line at ${why}: -FAULT_CORRUPT for a damaged database, -FAULT_NOT_FOUND for none, -FAULT_FULL
 *          for a full disk, -FAULT_DISK for one that fails or is read-only, another negative fault for what an operator
 *          has set wrongly.
 */
int engine_open(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len);
/* The same for an environment that has failed while this process had it open: see store_settle(). */
int engine_reopen(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len);
/*
 * engine_take_copy(config, environment, why, why_len):
 * If a copy of another node's database was fetched, put it in the place of the one that is there; nobody has that open.
 * Returns: 1; 0: there is no copy; -1 with one line at ${why}: it could not be done, and both are as they were.
 */
int engine_take_copy(const struct config *config, enum environment environment, char *why, size_t why_len);
/* See order_copy(). While a copy is fetched, a database that has failed is not to be opened anew. */
enum order_copy engine_copy(const struct engine *engine);
/* See writer_leave_cluster(). NULL is allowed. */
void engine_leave_cluster(struct engine *engine, int64_t wait_ms);
/* Ends the writer and closes the files. No request may be under way, and every reader's transaction is freed. */
void engine_close(struct engine *engine);

#endif
