/*
 * order_copy.c - a node that cannot go on by the log fetches a copy of another node's database, part by part, and puts it in
 * the place of its own: a new node, one that was away for too long, one whose database is damaged (see internal.h). The
 * parts come sealed, so nobody on the way has read or changed them. Never touches data.mdb: see engine_take_copy().
 */
#include "service/engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "service/base/log.h"
#include "service/store/join.h"

#define METHOD "fob.v1.Admin/ReadBackup"
#define PART_TIMEOUT_MS 10000
#define MAKING_MS 200  /* between questions whether the other node has made the copy */
#define HEAL_AFTER_MS 5000 /* a database that was just opened may be damaged again at once: then the disk is bad */
#define WAIT_MIN_MS 1000
#define WAIT_MAX_MS 60000
#define HASHED_BYTES (256U << 10)
#define ROOM_BYTES (64U << 20) /* that it leaves free on the disk */

static void
path_of(const struct writer *w, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", store_path(w->store), name);
}

/* ---- its end ---- */

static void
end_asks(struct order *o)
{
	pthread_mutex_lock(&o->lock);
	for (int i = 0; i < COPY_PARTS; i++)
		if (o->copy.parts[i].ask != NULL)
			ask_end(o->copy.parts[i].ask);
	pthread_mutex_unlock(&o->lock);
	memset(o->copy.parts, 0, sizeof(o->copy.parts));
}

static void
drop_file(struct writer *w)
{
	char path[PATH_MAX];

	path_of(w, COPY_UNFINISHED, path);
	if (w->order->copy.fd > 0)
		close(w->order->copy.fd);
	w->order->copy.fd = 0;
	unlink(path);
}

/* Another node is asked after a pause. */
static void
give_up(struct writer *w, const char *why)
{
	struct copy *c = &w->order->copy;

	LOG(LOG_WARN, "no copy of another node's database", LOG_S("environment", writer_environment(w)),
	    LOG_S("address", c->address), LOG_S("reason", why), LOG_I("next_attempt_ms", c->wait_ms));
	end_asks(w->order);
	drop_file(w);
	c->under_way = false;
	c->tried++;
	c->next_ms = clock_boot_ms() + c->wait_ms;
	c->wait_ms = c->wait_ms * 2 < WAIT_MAX_MS ? c->wait_ms * 2 : WAIT_MAX_MS;
}

void
copy_free(struct writer *w)
{
	if (!w->order->copy.under_way)
		return;
	end_asks(w->order);
	drop_file(w);
	w->order->copy = (struct copy){ .under_way = false };
}

/* ---- the whole file ---- */

/* Returns false with errno, or when it is another file than the other node has made. */
static bool
is_whole(const struct copy *c)
{
	crypto_hash_sha256_state state;
	uint8_t sha256[32], bytes[HASHED_BYTES / 4];
	uint64_t at = 0;
	ssize_t n;

	crypto_hash_sha256_init(&state);
	while ((n = pread(c->fd, bytes, sizeof(bytes), (off_t)at)) > 0) {
		crypto_hash_sha256_update(&state, bytes, (unsigned long long)n);
		at += (uint64_t)n;
	}
	crypto_hash_sha256_final(&state, sha256);
	return n == 0 && at == c->size && sodium_memcmp(sha256, c->sha256, sizeof(sha256)) == 0;
}

/* All parts are there: make it this node's database, under a name that the next opening takes. */
static void
finish(struct writer *w)
{
	struct order *o = w->order;
	struct copy *c = &o->copy;
	char path[PATH_MAX], ready[PATH_MAX], why[512];
	struct record_cluster cluster;

	path_of(w, COPY_UNFINISHED, path);
	path_of(w, COPY_READY, ready);
	if (!is_whole(c)) {
		give_up(w, "the copy is not what the other node has sent");
		return;
	}
	if (store_join_copy(o->options.store, path, c->cluster, o->cluster.replica, &cluster, why, sizeof(why)) != 0) {
		give_up(w, why);
		return;
	}
	close(c->fd);
	c->fd = 0;
	if (rename(path, ready) != 0) {
		give_up(w, strerror(errno));
		return;
	}
	end_asks(o);
	c->under_way = false;
	c->next_ms = INT64_MAX;
	pthread_mutex_lock(&o->lock);
	o->copy_ready = true;
	pthread_mutex_unlock(&o->lock);
	LOG(LOG_INFO, "a copy of another node's database takes the place of this one",
	    LOG_S("environment", writer_environment(w)), LOG_S("address", c->address), LOG_I("bytes", c->size),
	    LOG_I("entry", cluster.number));
	store_give_up(w->store, "a copy of another node's database takes its place");
}

/* ---- its parts ---- */

static bool
ask_part(struct writer *w, struct copy_part *part, uint64_t offset)
{
	Fob__V1__ReadBackupRequest request = FOB__V1__READ_BACKUP_REQUEST__INIT;
	struct order *o = w->order;
	struct copy *c = &o->copy;
	uint8_t body[64];
	struct ask_request ask = { .address = c->address, .method = METHOD, .body = body, .timeout_ms = PART_TIMEOUT_MS };

	request.environment = (Fob__V1__Environment)(store_environment(w->store) + 1);
	request.backup.data = c->id;
	request.backup.len = sizeof(c->id);
	request.offset = offset;
	ask.len = fob__v1__read_backup_request__get_packed_size(&request);
	if (ask.len > sizeof(body))
		return false;
	fob__v1__read_backup_request__pack(&request, body);
	memcpy(ask.cluster, c->cluster, sizeof(ask.cluster));
	pthread_mutex_lock(&o->lock);
	part->ask = ask_begin(o, &ask);
	pthread_mutex_unlock(&o->lock);
	part->offset = offset;
	return part->ask != NULL;
}

/* Is there room for ${bytes} on the disk? */
static bool
has_room(const struct writer *w, uint64_t bytes)
{
	struct statvfs disk;

	return statvfs(store_path(w->store), &disk) == 0 &&
	    (uint64_t)disk.f_bavail * disk.f_frsize >= bytes + ROOM_BYTES;
}

static const char *
begin_file(struct writer *w, const Fob__V1__ReadBackupResponse *r)
{
	struct copy *c = &w->order->copy;
	char path[PATH_MAX];

	if (r->sha256.len != sizeof(c->sha256) || r->data.len == 0)
		return "the other node's answer cannot be read";
	if (!has_room(w, r->size))
		return "the disk has no room for it";
	path_of(w, COPY_UNFINISHED, path);
	unlink(path);
	if ((c->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		c->fd = 0;
		return strerror(errno);
	}
	c->size = r->size;
	c->next_offset = c->step = r->data.len;
	memcpy(c->sha256, r->sha256.data, sizeof(c->sha256));
	return NULL;
}

/* NULL, or why the copy cannot be made. */
static const char *
take_part(struct writer *w, struct copy_part *part, const Fob__V1__ReadBackupResponse *r)
{
	struct copy *c = &w->order->copy;
	const char *why;

	if (c->fd == 0) {
		if (r->size == 0) {
			part->again_ms = clock_boot_ms() + MAKING_MS;
			return NULL;
		}
		if ((why = begin_file(w, r)) != NULL)
			return why;
	}
	if (r->size != c->size || r->data.len == 0 || r->data.len > c->size - part->offset ||
	    (r->data.len != c->step && part->offset + r->data.len != c->size))
		return "the other node's answer does not fit the copy";
	if (pwrite(c->fd, r->data.data, r->data.len, (off_t)part->offset) != (ssize_t)r->data.len)
		return "the disk does not take it";
	c->written += r->data.len;
	return NULL;
}

/* The same, of the answer to ${part}, which is over. */
static const char *
settle_part(struct writer *w, struct copy_part *part)
{
	struct ask *ask = part->ask;
	Fob__V1__ReadBackupResponse *r = NULL;
	Fob__Rpc__V1__Response *envelope = NULL;
	struct copy *c = &w->order->copy;
	const char *why = c->why;

	if (ask->state == ASK_FAILED)
		snprintf(c->why, sizeof(c->why), "%s", ask->why);
	else if ((envelope = fob__rpc__v1__response__unpack(NULL, ask->len, ask->bytes)) == NULL)
		why = "the other node's answer cannot be read";
	else if (envelope->code != FOB__RPC__V1__CODE__OK)
		snprintf(c->why, sizeof(c->why), "%.*s", (int)envelope->message.len, (const char *)envelope->message.data);
	else if ((r = fob__v1__read_backup_response__unpack(NULL, envelope->body.len, envelope->body.data)) == NULL)
		why = "the other node's answer cannot be read";
	else
		why = take_part(w, part, r);
	if (r != NULL)
		fob__v1__read_backup_response__free_unpacked(r, NULL);
	if (envelope != NULL)
		fob__rpc__v1__response__free_unpacked(envelope, NULL);
	order_end_ask(w->order, ask);
	part->ask = NULL;
	return why;
}

/* Ask for what is missing; the first part alone until it is there. */
static bool
ask_more(struct writer *w)
{
	struct copy *c = &w->order->copy;

	if (c->fd == 0)
		return c->parts[0].ask != NULL || clock_boot_ms() < c->parts[0].again_ms || ask_part(w, &c->parts[0], 0);
	for (int i = 0; i < COPY_PARTS && c->next_offset < c->size; i++) {
		if (c->parts[i].ask != NULL)
			continue;
		if (!ask_part(w, &c->parts[i], c->next_offset))
			return false;
		c->next_offset += c->step;
	}
	return true;
}

static void
go_on(struct writer *w)
{
	struct order *o = w->order;
	struct copy *c = &o->copy;
	const char *why = NULL;

	for (int i = 0; i < COPY_PARTS && why == NULL; i++)
		if (c->parts[i].ask != NULL && order_ask_is_over(o, c->parts[i].ask))
			why = settle_part(w, &c->parts[i]);
	if (why == NULL && c->fd != 0 && c->written == c->size)
		finish(w);
	else if (why != NULL || !ask_more(w))
		give_up(w, why != NULL ? why : "out of memory");
}

/* ---- its beginning ---- */

static void
begin(struct writer *w)
{
	struct order *o = w->order;
	struct copy *c = &o->copy;
	bool found;

	pthread_mutex_lock(&o->lock);
	found = fleet_source(o->fleet, c->tried, c->cluster, c->address);
	pthread_mutex_unlock(&o->lock);
	if (!found)
		return;
	c->fd = 0;
	c->size = c->written = c->next_offset = 0;
	c->parts[0].again_ms = 0;
	/* One name for all attempts: a node that was asked in vain before has that copy still, and no room for another. */
	if (c->wait_ms == 0) {
		c->wait_ms = WAIT_MIN_MS;
		randombytes_buf(c->id, sizeof(c->id));
	}
	c->under_way = true;
	LOG(LOG_INFO, "asking another node for a copy of its database", LOG_S("environment", writer_environment(w)),
	    LOG_S("address", c->address));
}

/* Was damage met, which another node's copy can heal? */
static bool
is_damaged(const struct writer *w)
{
	const struct order *o = w->order;

	return store_corrupt_records(w->store) > 0 && clock_boot_ms() >= o->begun_ms + HEAL_AFTER_MS &&
	    fleet_closed(o->fleet) == FLEET_OPEN && fleet_has_source(o->fleet);
}

void
copy_run(struct writer *w)
{
	struct order *o = w->order;
	struct copy *c = &o->copy;
	bool wanted, damaged;

	pthread_mutex_lock(&o->lock);
	if ((damaged = is_damaged(w))) {
		fleet_damaged(o->fleet);
		order_publish(o);
	}
	wanted = fleet_wants_copy(o->fleet);
	pthread_mutex_unlock(&o->lock);
	if (damaged)
		LOG(LOG_ERROR, "the database is damaged; not serving until there is a copy of another node's",
		    LOG_S("environment", writer_environment(w)));
	if (!wanted || clock_boot_ms() < c->next_ms)
		return;
	if (!c->under_way)
		begin(w);
	if (c->under_way)
		go_on(w);
}

enum order_copy
order_copy(struct order *o)
{
	enum order_copy copy = ORDER_COPY_NONE;

	pthread_mutex_lock(&o->lock);
	if (fleet_wants_copy(o->fleet))
		copy = o->copy_ready ? ORDER_COPY_READY : fleet_has_source(o->fleet) ? ORDER_COPY_FETCHED : copy;
	pthread_mutex_unlock(&o->lock);
	return copy;
}

int64_t
copy_wait_ms(struct order *o, int64_t now_ms)
{
	const struct copy *c = &o->copy;
	int64_t at_ms = c->parts[0].again_ms > now_ms ? c->parts[0].again_ms : INT64_MAX;

	if (!c->under_way)
		return INT64_MAX;
	for (int i = 0; i < COPY_PARTS; i++)
		if (c->parts[i].ask != NULL && ask_is_over(c->parts[i].ask))
			return now_ms;
	return at_ms;
}
