/*
 * snapshot.c - a backup that fobd itself makes, for an admin client to read (see snapshot.h). Never changes the
 * database.
 */
#include "service/engine/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/limits.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/store/copy.h"

#define ROOM_BYTES (64U << 20) /* that the copy leaves free on the disk, for revocations */
#define HASHED_BYTES (256U << 10)

enum state { NONE, COPYING, READY, FAILED };

struct snapshot {
	struct store *store;
	struct store_options options;
	char *folder, *pepper;
	char path[PATH_MAX]; /* of the copy until it is whole */

	pthread_mutex_t calls; /* one call at a time; of the next three */
	bool has_thread;
	pthread_t thread;
	uint64_t read_to;

	pthread_mutex_t lock; /* of the rest, which the thread shares */
	pthread_cond_t wake;
	enum state state;
	_Atomic bool stop;
	uint8_t id[SNAPSHOT_ID_LEN];
	int64_t used_ms; /* the last request, by clock_boot_ms() */
	int fd;          /* of the copy that is ready; -1: none */
	struct snapshot_part part;
	int fault; /* why it failed */
	char why[512];
};

/* ---- the thread ---- */

static int
check_room(struct snapshot *s)
{
	char data[PATH_MAX];
	struct statvfs disk;
	struct stat st;

	if (snprintf(data, sizeof(data), "%s/data.mdb", s->folder) >= (int)sizeof(data) || stat(data, &st) != 0 ||
	    statvfs(s->folder, &disk) != 0) {
		snprintf(s->why, sizeof(s->why), "the database's file cannot be looked at");
		return -FAULT_UNAVAILABLE;
	}
	if ((uint64_t)disk.f_bavail * disk.f_frsize >= (uint64_t)st.st_size + ROOM_BYTES)
		return 0;
	snprintf(s->why, sizeof(s->why), "the disk of the database has no room for a copy: it needs %llu MiB",
	    (unsigned long long)((uint64_t)st.st_size + ROOM_BYTES) >> 20);
	return -FAULT_RESOURCE_EXHAUSTED;
}

/* Returns 0 with part->size and part->sha256; a negative fault. */
static int
hash(struct snapshot *s, int fd, struct snapshot_part *part)
{
	crypto_hash_sha256_state state;
	uint8_t *bytes = malloc(HASHED_BYTES);
	ssize_t n = -1;

	crypto_hash_sha256_init(&state);
	while (bytes != NULL && !atomic_load(&s->stop) &&
	    (n = pread(fd, bytes, HASHED_BYTES, (off_t)part->size)) > 0) {
		crypto_hash_sha256_update(&state, bytes, (unsigned long long)n);
		part->size += (uint64_t)n;
	}
	free(bytes);
	if (n != 0) {
		snprintf(s->why, sizeof(s->why), "the copy cannot be read");
		return -FAULT_UNAVAILABLE;
	}
	crypto_hash_sha256_final(&state, part->sha256);
	return 0;
}

/* Make the copy, and keep it without a name. Returns 0 with *${fd}; a negative fault with s->why. */
static int
make(struct snapshot *s, struct snapshot_part *part, int *fd)
{
	struct record_copy copied;
	int fault;

	if ((fault = check_room(s)) != 0)
		return fault;
	if (store_copy(s->store, &s->options, s->path, &s->stop, &copied, s->why, sizeof(s->why)) != 0)
		fault = -FAULT_UNAVAILABLE;
	else if ((*fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		snprintf(s->why, sizeof(s->why), "the copy cannot be opened: %s", strerror(errno));
		fault = -FAULT_UNAVAILABLE;
	}
	unlink(s->path);
	if (fault == 0 && (fault = hash(s, *fd, part)) != 0)
		close(*fd);
	if (fault == 0) {
		part->ready = true;
		part->revision = copied.revision;
		part->event_sequence = copied.event_sequence;
	}
	return fault;
}

/* Until nobody wants it. The lock is held. */
static void
keep(struct snapshot *s)
{
	struct timespec at;
	int64_t left_ms;

	while (!atomic_load(&s->stop) && (left_ms = s->used_ms + LIMIT_BACKUP_KEPT_MS - clock_boot_ms()) > 0) {
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_sec += left_ms / 1000 + 1;
		pthread_cond_timedwait(&s->wake, &s->lock, &at);
	}
}

static void *
run(void *arg)
{
	struct snapshot *s = arg;
	struct snapshot_part part = { .ready = false };
	int fd = -1, fault = make(s, &part, &fd);

	LOG(fault == 0 || atomic_load(&s->stop) ? LOG_INFO : LOG_ERROR,
	    fault == 0 ? "backup is ready to be read" : "backup not made",
	    LOG_S("environment", environment_name(s->options.environment)), LOG_I_IF(fault == 0, "bytes", part.size),
	    LOG_I_IF(fault == 0, "revision", part.revision), LOG_S("reason", fault == 0 ? NULL : s->why));
	pthread_mutex_lock(&s->lock);
	s->fd = fault == 0 ? fd : -1;
	s->part = part;
	s->fault = fault;
	s->state = fault == 0 ? READY : FAILED;
	keep(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->state = NONE;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- calls ---- */

/* End what there is. */
static void
end(struct snapshot *s)
{
	if (!s->has_thread)
		return;
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->stop, true);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}

static int
begin(struct snapshot *s, const uint8_t id[SNAPSHOT_ID_LEN], why_text why)
{
	end(s);
	memcpy(s->id, id, SNAPSHOT_ID_LEN);
	atomic_store(&s->stop, false);
	s->used_ms = clock_boot_ms();
	s->read_to = 0;
	s->state = COPYING;
	if (pthread_create(&s->thread, NULL, run, s) != 0) {
		s->state = NONE;
		snprintf(why, sizeof(why_text), "no thread can be started");
		return -FAULT_RESOURCE_EXHAUSTED;
	}
	s->has_thread = true;
	return 0;
}

/* May another copy take its place? */
static bool
is_over(const struct snapshot *s)
{
	return s->state == FAILED || (s->state == READY && s->read_to >= s->part.size);
}

/* Have the copy ${id} under way. Returns 0 with the lock held; a negative fault without it. */
static int
enter(struct snapshot *s, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t offset, why_text why)
{
	int fault = 0;
	bool same;

	pthread_mutex_lock(&s->lock);
	same = s->state != NONE && memcmp(s->id, id, SNAPSHOT_ID_LEN) == 0;
	if (same)
		return 0;
	if (offset != 0) {
		snprintf(why, sizeof(why_text), "there is no such backup any more: begin another one, from its start");
		fault = -FAULT_FAILED_PRECONDITION;
	} else if (s->state != NONE && !is_over(s)) {
		snprintf(why, sizeof(why_text), "a backup of this environment is being read: one at a time");
		fault = -FAULT_RESOURCE_EXHAUSTED;
	}
	pthread_mutex_unlock(&s->lock);
	if (fault != 0 || (fault = begin(s, id, why)) != 0)
		return fault;
	pthread_mutex_lock(&s->lock);
	return 0;
}

/* The lock is held. */
static int
read_part(struct snapshot *s, uint64_t offset, uint8_t *bytes, size_t max, struct snapshot_part *part, why_text why)
{
	ssize_t n;

	s->used_ms = clock_boot_ms();
	if (s->state == FAILED) {
		snprintf(why, sizeof(why_text), "%.200s", s->why);
		return s->fault;
	}
	if (s->state == COPYING)
		return 0;
	if (offset > s->part.size) {
		snprintf(why, sizeof(why_text), "offset: the backup has %" PRIu64 " bytes", s->part.size);
		return -FAULT_INVALID_ARGUMENT;
	}
	if ((n = pread(s->fd, bytes, max, (off_t)offset)) < 0 || (n == 0 && offset < s->part.size)) {
		snprintf(why, sizeof(why_text), "the copy cannot be read");
		return -FAULT_UNAVAILABLE;
	}
	*part = s->part;
	part->len = (size_t)n;
	if (offset + (uint64_t)n > s->read_to)
		s->read_to = offset + (uint64_t)n;
	return 0;
}

int
snapshot_read(struct snapshot *s, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t offset, uint8_t *bytes, size_t max,
    struct snapshot_part *part, why_text why)
{
	int fault;

	*part = (struct snapshot_part){ .ready = false };
	pthread_mutex_lock(&s->calls);
	if ((fault = enter(s, id, offset, why)) == 0) {
		fault = read_part(s, offset, bytes, max, part, why);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&s->calls);
	return fault;
}

struct snapshot *
snapshot_new(struct store *store, const struct store_options *options)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (s == NULL)
		return NULL;
	s->store = store;
	s->options = *options;
	s->options.path = s->folder = strdup(options->path);
	s->options.pepper = s->pepper = strdup(options->pepper);
	if (s->folder == NULL || s->pepper == NULL ||
	    snprintf(s->path, sizeof(s->path), "%s/backup.unfinished", s->folder) >= (int)sizeof(s->path)) {
		free(s->folder);
		free(s->pepper);
		free(s);
		return NULL;
	}
	s->fd = -1;
	unlink(s->path);
	pthread_mutex_init(&s->calls, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	return s;
}

void
snapshot_free(struct snapshot *s)
{
	if (s == NULL)
		return;
	end(s);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->calls);
	free(s->folder);
	free(s->pepper);
	free(s);
}
