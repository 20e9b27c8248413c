/*
 * node.c - a node's machine, its process and its agent (see node.h). All calls of the fleet but the writer's are here.
 */
#include "tests/cluster/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/network.h"
#include "tests/cluster/node_internal.h"
#include "tests/cluster/world.h"

#define WALL_BASE_MS INT64_C(1790000000000)

static void
fill(struct world *w, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)rng_below(&w->rng, 256);
}

/* ---- clocks ---- */

static int64_t
boot_us(const struct node *n)
{
	int64_t since_us = world_now_us(n->world) - n->booted_us;

	return n->clock_base_us + since_us + since_us * n->drift_ppm / 1000000;
}

int64_t
node_boot_ms(const struct node *n)
{
	return boot_us(n) / 1000;
}

int64_t
node_at_us(const struct node *n, int64_t boot_ms)
{
	int64_t left_us = boot_ms * 1000 - boot_us(n);

	if (left_us <= 0)
		return world_now_us(n->world);
	return world_now_us(n->world) + left_us * 1000000 / (1000000 + n->drift_ppm) + 2;
}

bool
node_is_fresh(const struct node *n)
{
	return n->fleet != NULL && node_boot_ms(n) < n->fresh_until_ms;
}

/* ---- its machine ---- */

static void
boot(struct node *n)
{
	n->booted_us = world_now_us(n->world);
	n->clock_base_us = world_between(n->world, 1000000, INT64_C(1000000000000));
	fill(n->world, n->boot, sizeof(n->boot));
}

void
node_init(struct node *n, struct world *w, unsigned index)
{
	uint64_t process = n->process;

	memset(n, 0, sizeof(*n));
	n->world = w;
	n->index = index;
	n->process = process;
	n->is_member = true;
	n->commit_us = 1500;
	n->wake_us = INT64_MAX;
	fill(w, n->replica, sizeof(n->replica));
	boot(n);
}

void
node_reboot(struct node *n)
{
	node_kill(n);
	boot(n);
}

void
node_pause(struct node *n, int64_t for_us)
{
	int64_t until_us = world_now_us(n->world) + for_us;

	TRACE(n->world, "node %u stands still for %lld us", n->index, (long long)for_us);
	n->paused_until_us = until_us > n->paused_until_us ? until_us : n->paused_until_us;
	n->held_until_us = n->paused_until_us;
}

/* ---- its process ---- */

void
node_start(struct node *n)
{
	struct world *w = n->world;
	struct fleet_options options = {
		.pepper_lines = 1,
		.entry_version = 1,
		.max_staleness_ms = w->options.staleness_ms,
		.applied = n->applied,
	};

	if (n->fleet != NULL)
		return;
	memcpy(options.cluster, "the cluster's id", FLEET_ID_LEN);
	memcpy(options.row_key, "a key that all of the nodes have", ROW_KEY_LEN);
	memcpy(options.replica, n->replica, FLEET_ID_LEN);
	memcpy(options.boot, n->boot, ROW_BOOT_LEN);
	memcpy(options.tag, n->tag, ROW_TAG_LEN);
	n->life = options.life = rng_next(&w->rng);
	n->process++;
	n->leaving = n->applying = false;
	if ((n->fleet = fleet_new(&options)) == NULL)
		abort();
	TRACE(w, "node %u starts with entry %llu", n->index, (unsigned long long)n->applied);
	node_publish(n);
	node_step(n);
}

static void
end_process(struct node *n, bool answer)
{
	if (n->fleet == NULL)
		return;
	writer_drop(n, answer);
	fleet_free(n->fleet);
	n->fleet = NULL;
	n->process++;
	n->fresh_until_ms = 0;
	n->wake_us = INT64_MAX;
	n->paused_until_us = 0;
	TRACE(n->world, "node %u ends", n->index);
}

void
node_kill(struct node *n)
{
	end_process(n, false);
}

static void
stop_late(struct world *w, void *arg, uint64_t process)
{
	struct node *n = arg;

	if (w != NULL && n->process == process)
		end_process(n, true);
}

void
node_stop(struct node *n)
{
	if (n->fleet == NULL || n->leaving)
		return;
	TRACE(n->world, "node %u leaves", n->index);
	n->leaving = true;
	n->was_fresh = node_is_fresh(n);
	fleet_leave(n->fleet);
	node_publish(n);
	events_add(&n->world->events, world_now_us(n->world) + NODE_LEAVE_US, stop_late, n, n->process);
	node_step(n);
}

void
node_publish(struct node *n)
{
	n->fresh_until_ms = fleet_fresh_until_ms(n->fleet);
}

/* ---- its rounds ---- */

static void
wake(struct world *w, void *arg, uint64_t process)
{
	struct node *n = arg;

	if (w == NULL || n->process != process || n->wake_us > world_now_us(w))
		return;
	n->wake_us = INT64_MAX;
	node_step(n);
}

static void
wake_at(struct node *n, int64_t at_us)
{
	if (at_us >= n->wake_us)
		return;
	n->wake_us = at_us;
	events_add(&n->world->events, at_us, wake, n, n->process);
}

/*
 * A clean stop leaves no row of its process, so that nobody has to wait for it. A process gives its lives numbers that follow one
 * another, and those of a row but the last three digits are compared here.
 */
static void
check_row(struct node *n)
{
	char prefix[sizeof("nodes/.") + FLEET_ID_LEN * 2 + 16] = "nodes/";
	size_t len = strlen(prefix);

	for (size_t i = 0; i < FLEET_ID_LEN; i++, len += 2)
		snprintf(prefix + len, 3, "%02x", n->replica[i]);
	snprintf(prefix + len, sizeof(prefix) - len, ".%013llx", (unsigned long long)n->life >> 12);
	if (n->was_fresh && etcd_count(&n->world->etcd, prefix) > 0)
		checker_violation(&n->world->checker, world_now_us(n->world), "node %u has left, and its row is there", n->index);
}

void
node_step(struct node *n)
{
	struct world *w = n->world;
	struct fleet_txn txn;
	int64_t now_ms, at_us, writer_us;

	if (n->fleet == NULL)
		return;
	if (n->paused_until_us > world_now_us(w)) {
		wake_at(n, n->paused_until_us);
		return;
	}
	writer_run(n);
	now_ms = node_boot_ms(n);
	while (fleet_next(n->fleet, now_ms, WALL_BASE_MS + now_ms, &txn))
		network_send(n, &txn);
	node_publish(n);
	if (n->leaving && fleet_has_left(n->fleet)) {
		check_row(n);
		end_process(n, true);
		return;
	}
	at_us = node_at_us(n, fleet_wake_ms(n->fleet, now_ms));
	writer_us = writer_wake_us(n);
	at_us = writer_us < at_us ? writer_us : at_us;
	wake_at(n, at_us > world_now_us(w) + 1000 ? at_us : world_now_us(w) + 1000);
}

/* ---- its agent ---- */

void
node_result(struct node *n, const struct reply *reply, uint64_t id)
{
	struct fleet_kv *kvs = sim_realloc(NULL, (reply->n + 1) * sizeof(*kvs));
	struct fleet_result result = {
		.id = id,
		.outcome = reply->outcome,
		.succeeded = reply->succeeded,
		.revision = reply->revision,
		.kvs = kvs,
		.n_kvs = reply->n,
		.more = reply->more,
	};

	for (size_t i = 0; i < reply->n; i++)
		kvs[i] = (struct fleet_kv){
			.key = reply->items[i].key->bytes,
			.key_len = reply->items[i].key->len,
			.value = reply->items[i].value->bytes,
			.len = reply->items[i].value->len,
			.create_revision = reply->items[i].create_revision,
			.version = reply->items[i].version,
		};
	fleet_done(n->fleet, &result, node_boot_ms(n));
	free(kvs);
	node_publish(n);
	node_step(n);
}

void
node_disconnect(struct node *n)
{
	if (n->fleet == NULL)
		return;
	n->session++;
	fleet_disconnected(n->fleet);
	node_publish(n);
	node_step(n);
}

void
node_ring(struct node *n)
{
	fleet_changed(n->fleet);
	node_publish(n);
	node_step(n);
}
