/*
 * order.c - the fleet of one environment, between its writer and the agent's calls (see order.h). What is decided and
 * applied is in order_commit.c.
 */
#include "service/engine/order.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "service/base/boot.h"
#include "service/base/log.h"
#include "service/engine/internal.h"
#include "service/store/cluster.h"

#define AGENT_LOST_MS 5000 /* without a call, the agent is gone */
#define LOOK_PAUSE_MS 20   /* between looks at the log because of what clients have seen, whatever they say */

/* ---- its beginning and end ---- */

/* Of this start of the machine and this folder, which is locked by the process that serves it. */
static void
fill_boot(const char *folder, uint8_t boot[ROW_BOOT_LEN])
{
	struct {
		uint8_t id[BOOT_ID_LEN];
		uint64_t dev, ino;
	} of;
	struct stat st = { 0 };

	memset(&of, 0, sizeof(of));
	boot_id(of.id);
	(void)stat(folder, &st);
	of.dev = st.st_dev;
	of.ino = st.st_ino;
	crypto_generichash(boot, ROW_BOOT_LEN, (const uint8_t *)&of, sizeof(of), NULL, 0);
}

/* ${again}: instead of the fleet of a former cluster. */
static struct fleet *
new_fleet(const struct order *o, bool again)
{
	struct store *store = o->writer->store;
	struct fleet_options options = {
		.pepper_lines = (uint8_t)pepper_newest(store_pepper(store)),
		.entry_version = ENTRY_VERSION,
		.max_staleness_ms = o->options.max_staleness_ms,
		.applied = o->cluster.number,
		.again = again,
	};
	struct fleet *fleet;

	memcpy(options.cluster, o->cluster.cluster, sizeof(options.cluster));
	memcpy(options.replica, o->cluster.replica, sizeof(options.replica));
	memcpy(options.tag, o->cluster.tag, sizeof(options.tag));
	memcpy(options.address, o->options.address, sizeof(options.address));
	randombytes_buf(&options.life, sizeof(options.life));
	fill_boot(store_path(store), options.boot);
	pepper_row_key(store_pepper(store), options.row_key);
	fleet = fleet_new(&options);
	sodium_memzero(options.row_key, sizeof(options.row_key));
	return fleet;
}

static int
read_cluster(struct writer *w, struct record_cluster *cluster)
{
	int fault;

	if ((fault = store_read(w->reader)) != 0)
		return fault;
	fault = store_cluster(w->reader, cluster);
	store_read_end(w->reader);
	return fault;
}

int
order_begin(struct writer *w)
{
	struct record_cluster cluster;
	struct order *o;
	int fault;

	if ((fault = read_cluster(w, &cluster)) != 0)
		return fault == -FAULT_NOT_FOUND ? 0 : fault;
	if ((o = calloc(1, sizeof(*o))) == NULL)
		return -FAULT_INTERNAL;
	o->writer = w;
	o->options = w->order_options;
	o->cluster = cluster;
	o->begun_ms = clock_boot_ms();
	pthread_mutex_init(&o->lock, NULL);
	pepper_ask_key(store_pepper(w->store), o->ask_key);
	if ((o->entry = entry_new()) == NULL || (o->sealed = malloc(ENTRY_MAX)) == NULL ||
	    (o->fleet = new_fleet(o, false)) == NULL) {
		order_free(o);
		return -FAULT_INTERNAL;
	}
	order_publish(o);
	atomic_store(&w->order, o);
	LOG(LOG_INFO, "in a cluster: not serving before its agent has proved that this node is up to date",
	    LOG_S("environment", writer_environment(w)), LOG_I("entry", cluster.number));
	return 0;
}

int
order_restart(struct order *o)
{
	struct record_cluster cluster;
	struct fleet *fleet;
	int fault;

	if ((fault = read_cluster(o->writer, &cluster)) != 0)
		return fault;
	if (memcmp(cluster.cluster, o->cluster.cluster, sizeof(cluster.cluster)) == 0)
		return 0;
	copy_free(o->writer);
	pthread_mutex_lock(&o->lock);
	o->cluster = cluster;
	pthread_mutex_unlock(&o->lock);
	if ((fleet = new_fleet(o, true)) == NULL)
		return -FAULT_INTERNAL;
	pthread_mutex_lock(&o->lock);
	fleet_free(o->fleet);
	o->fleet = fleet;
	o->told_closed = false;
	order_publish(o);
	pthread_mutex_unlock(&o->lock);
	return 1;
}

void
order_free(struct order *o)
{
	if (o == NULL)
		return;
	copy_free(o->writer);
	fleet_free(o->fleet);
	entry_free(o->entry);
	free(o->sealed);
	for (int i = 0; i < ORDER_ASKS; i++)
		ask_end(&o->asks[i]);
	pthread_mutex_destroy(&o->lock);
	sodium_memzero(o->ask_key, sizeof(o->ask_key));
	free(o);
}

/* ---- freshness ---- */

static const char *
closed_text(enum fleet_closed closed)
{
	switch (closed) {
	case FLEET_OTHER_CLUSTER:
		return "etcd has another cluster under this prefix: correct the agent's settings, or join that cluster anew";
	case FLEET_HEAD_BEHIND:
		return "etcd has forgotten entries that this node has applied: was it restored from an older snapshot? See "
		       "fob cluster reinit";
	case FLEET_LOG_GONE:
		return "the log's next entry was removed, as this node was away for too long: it fetches a copy from another node "
		       "that has a listener of role \"peer\"";
	case FLEET_JOINING:
		return "this node is new: it fetches a copy from another node that has a listener of role \"peer\"";
	case FLEET_DAMAGED:
		return "its database is damaged: it fetches a copy from another node that has a listener of role \"peer\"";
	case FLEET_FORGED:
		return "the log has an entry that was not made with this environment's pepper";
	default:
		return NULL;
	}
}

static void
tell_closed(struct order *o)
{
	const char *why = closed_text(fleet_closed(o->fleet));

	if (why == NULL || o->told_closed)
		return;
	o->told_closed = true;
	LOG(LOG_ERROR,
	    fleet_wants_copy(o->fleet) ? "this node is closed, until it has a copy of another node's database" :
					 "this node is closed, until an operator has acted",
	    LOG_S("environment", writer_environment(o->writer)), LOG_I("entry", fleet_applied_to(o->fleet)),
	    LOG_S("reason", why));
}

static void
tell(struct order *o, bool fresh)
{
	tell_closed(o);
	if (o->told && fresh == o->was_fresh)
		return;
	if (fresh)
		LOG(LOG_INFO, "up to date with the cluster: serving",
		    LOG_S("environment", writer_environment(o->writer)), LOG_I("entry", fleet_applied_to(o->fleet)));
	else if (o->told)
		LOG(LOG_WARN, "out of touch with the cluster: not serving",
		    LOG_S("environment", writer_environment(o->writer)), LOG_I("entry", fleet_applied_to(o->fleet)));
	o->told = o->told || fresh;
	o->was_fresh = fresh;
}

void
order_publish(struct order *o)
{
	int64_t until_ms = fleet_fresh_until_ms(o->fleet);

	atomic_store(o->options.fresh_until_ms, until_ms > ORDER_STALE ? until_ms : ORDER_STALE);
	tell(o, until_ms > clock_boot_ms());
}

/* ---- the agent ---- */

struct fleet *
order_enter(struct order *o, const uint8_t session[ORDER_SESSION_LEN])
{
	pthread_mutex_lock(&o->lock);
	if (session != NULL && memcmp(o->session, session, sizeof(o->session)) != 0) {
		fleet_disconnected(o->fleet);
		asks_lost(o);
		memcpy(o->session, session, sizeof(o->session));
	}
	if (session != NULL)
		o->heard_ms = clock_boot_ms();
	return o->fleet;
}

void
order_leave(struct order *o)
{
	struct writer *w = o->writer;

	order_publish(o);
	pthread_mutex_unlock(&o->lock);
	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

void
order_hold(struct order *o, void *call)
{
	assert(o->held == NULL);
	o->held = call;
}

void *
order_take_held(struct order *o)
{
	void *held = o->held;

	o->held = NULL;
	return held;
}

void
order_on_work(struct order *o, void (*work)(void *order))
{
	pthread_mutex_lock(&o->lock);
	o->work = work;
	pthread_mutex_unlock(&o->lock);
}

bool
order_has_ended(const struct order *o)
{
	return o->ended;
}

void
order_kick(struct order *o)
{
	bool held;

	pthread_mutex_lock(&o->lock);
	held = o->held != NULL && (o->ended || order_has_ask(o) || fleet_wake_ms(o->fleet, clock_boot_ms()) <= clock_boot_ms());
	pthread_mutex_unlock(&o->lock);
	if (held)
		o->work(o);
}

void
order_look(struct order *o)
{
	int64_t now_ms = clock_boot_ms();
	bool looks;

	if (o == NULL)
		return;
	pthread_mutex_lock(&o->lock);
	if ((looks = now_ms >= o->look_ms)) {
		o->look_ms = now_ms + LOOK_PAUSE_MS;
		fleet_changed(o->fleet);
	}
	pthread_mutex_unlock(&o->lock);
	if (looks)
		order_kick(o);
}

bool
order_forget(struct order *o, const uint8_t replica[FLEET_ID_LEN])
{
	bool found;

	pthread_mutex_lock(&o->lock);
	found = fleet_forget(o->fleet, replica);
	pthread_mutex_unlock(&o->lock);
	order_kick(o);
	return found;
}

/* ---- other nodes ---- */

const uint8_t *
order_ask_key(struct order *o, struct ask_place *place)
{
	pthread_mutex_lock(&o->lock);
	memcpy(place->cluster, o->cluster.cluster, sizeof(place->cluster));
	pthread_mutex_unlock(&o->lock);
	place->environment = store_environment(o->writer->store);
	return o->ask_key;
}

bool
order_is_open(struct order *o)
{
	bool open;

	pthread_mutex_lock(&o->lock);
	open = fleet_closed(o->fleet) == FLEET_OPEN;
	pthread_mutex_unlock(&o->lock);
	return open;
}

/* ---- for Status ---- */

void
order_status(struct order *o, struct order_status *status)
{
	int64_t now_ms = clock_boot_ms(), left_ms;

	memset(status, 0, sizeof(*status));
	pthread_mutex_lock(&o->lock);
	left_ms = fleet_fresh_until_ms(o->fleet) - now_ms;
	memcpy(status->cluster, o->cluster.cluster, sizeof(status->cluster));
	memcpy(status->replica, o->cluster.replica, sizeof(status->replica));
	status->applied = fleet_applied_to(o->fleet);
	status->head = fleet_head(o->fleet);
	status->fresh_ms = left_ms > 0 ? left_ms : 0;
	status->connected = o->heard_ms != 0 && now_ms < o->heard_ms + AGENT_LOST_MS;
	status->closed = closed_text(fleet_closed(o->fleet));
	status->n_nodes = fleet_nodes(o->fleet, status->nodes, FLEET_NODES);
	pthread_mutex_unlock(&o->lock);
}

/* ---- the writer's door ---- */

struct order *
writer_order(struct writer *w)
{
	return atomic_load(&w->order);
}

void
writer_join_cluster(struct writer *w)
{
	if (w->order == NULL && order_begin(w) != 0)
		LOG(LOG_ERROR, "this node joins its cluster at its next start", LOG_S("reason", "out of memory"),
		    LOG_S("environment", writer_environment(w)));
}

/* No verify is answered from here on, so the row can go. */
void
writer_leave_cluster(struct writer *w, int64_t wait_ms)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	int64_t until_ms = clock_boot_ms() + wait_ms;
	struct order *o;
	bool left = false;

	if (w == NULL || (o = atomic_load(&w->order)) == NULL)
		return;
	pthread_mutex_lock(&o->lock);
	fleet_leave(o->fleet);
	order_publish(o);
	pthread_mutex_unlock(&o->lock);
	order_kick(o);
	for (; !left && clock_boot_ms() < until_ms; nanosleep(&pause, NULL)) {
		pthread_mutex_lock(&o->lock);
		left = fleet_has_left(o->fleet);
		pthread_mutex_unlock(&o->lock);
	}
	pthread_mutex_lock(&w->lock);
	w->leaving = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}
