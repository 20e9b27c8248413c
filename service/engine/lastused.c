/*
 * lastused.c - the mapped file of last-used times (see lastused.h). If the file is cut short or its disk fails, trap.c
 * turns the access into a missing time. Never touches LMDB.
 */
#include "service/engine/lastused.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service/base/bytes.h"
#include "service/base/folder.h"
#include "service/lmdb/trap.h"

#define MINUTE_MS 60000
#define CELL 8
#define STEP (64U << 10) /* cells by which the file grows: half a megabyte */
/* Address space for every possible serial: 32 GiB, of which only touched pages cost memory. */
#define MAP_BYTES ((size_t)CELL << 32)

struct lastused {
	_Atomic uint64_t *cells;
	_Atomic uint32_t n; /* cells that are there */
	int fd;
	char path[4096];
};

int
lastused_open(const char *folder, uint32_t keys, struct lastused **out, char *why, size_t why_len)
{
	struct lastused *l;
	int fault = -FAULT_IO;
	const char *path;
	void *map;

	if ((l = calloc(1, sizeof(*l))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -FAULT_INTERNAL;
	}
	snprintf(l->path, sizeof(l->path), "%s/lastused", folder);
	path = l->path;
	if ((l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		fault = folder_fault(errno);
		snprintf(why, why_len, "%s: cannot open: %s", path, strerror(errno));
		goto err0;
	}
	if ((map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0)) == MAP_FAILED) {
		snprintf(why, why_len, "%s: cannot map: %s", path, strerror(errno));
		goto err1;
	}
	l->cells = map;
	if (trap_shield(map, MAP_BYTES, path) != 0) {
		snprintf(why, why_len, "%s: too many such files are open", path);
		fault = -FAULT_INTERNAL;
		goto err2;
	}
	if ((fault = lastused_grow(l, keys)) != 0) {
		fault = fault == -FAULT_IO ? -FAULT_DISK : fault;
		snprintf(why, why_len, "%s: cannot make room for %u keys: the disk %s", path, keys,
		    fault == -FAULT_FULL ? "is full" : "fails");
		goto err2;
	}
	*out = l;
	return 0;

err2:
	trap_unshield(map);
	munmap(map, MAP_BYTES);
err1:
	close(l->fd);
err0:
	free(l);
	return fault;
}

void
lastused_close(struct lastused *l)
{
	if (l == NULL)
		return;
	trap_unshield(l->cells);
	munmap(l->cells, MAP_BYTES);
	close(l->fd);
	free(l);
}

int
lastused_grow(struct lastused *l, uint32_t keys)
{
	uint64_t n = atomic_load_explicit(&l->n, memory_order_relaxed);
	uint64_t to;
	int rc;

	if (keys <= n)
		return 0;
	to = ((uint64_t)keys + STEP - 1) / STEP * STEP;
	if (to > UINT32_MAX)
		to = UINT32_MAX;
	do {
		rc = posix_fallocate(l->fd, (off_t)(n * CELL), (off_t)((to - n) * CELL));
	} while (rc == EINTR);
	if (rc != 0)
		return rc == ENOSPC || rc == EDQUOT || rc == EFBIG ? -FAULT_FULL : -FAULT_IO;
	/* Release: a thread that sees the new count may use the new cells. */
	atomic_store_explicit(&l->n, (uint32_t)to, memory_order_release);
	return 0;
}

static uint64_t
make_cell(const struct pepper *pepper, const uint8_t digest[RECORD_DIGEST_LEN], uint32_t minute)
{
	uint8_t data[RECORD_DIGEST_LEN + 4], tag[PEPPER_TAG_LEN];

	memcpy(data, digest, RECORD_DIGEST_LEN);
	bytes_put32(data + RECORD_DIGEST_LEN, minute);
	pepper_tag(pepper, data, sizeof(data), tag);
	return (uint64_t)minute << 32 | bytes_get32(tag);
}

void
lastused_prefetch(const struct lastused *l, uint32_t serial)
{
	/* Only a hint: the processor ignores it when the cell's page is not mapped. */
	__builtin_prefetch(&l->cells[serial], 1);
}

/*
 * Sequentially consistent: a verify stores the cell and then reads the pepper, the writer publishes a pepper and then
 * rotates the cell, and at least one of them must see the other (see note_use() in rpc/verify.c).
 */
void
lastused_put(struct lastused *l, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN],
    int64_t now_ms)
{
	if (serial < atomic_load_explicit(&l->n, memory_order_acquire))
		atomic_store(&l->cells[serial], make_cell(pepper, digest, (uint32_t)(now_ms / MINUTE_MS)));
}

bool
lastused_touch(struct lastused *l, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms)
{
	uint32_t minute = (uint32_t)(now_ms / MINUTE_MS);

	if (serial >= atomic_load_explicit(&l->n, memory_order_acquire) ||
	    atomic_load_explicit(&l->cells[serial], memory_order_relaxed) >> 32 == minute)
		return false;
	lastused_put(l, pepper, serial, digest, now_ms);
	return true;
}

/* Was ${cell} made for this key under the old pepper? */
static bool
is_old_cell(const struct pepper *pepper, uint64_t cell, const uint8_t digest[RECORD_DIGEST_LEN])
{
	uint8_t data[RECORD_DIGEST_LEN + 4], tag[PEPPER_TAG_LEN];

	memcpy(data, digest, RECORD_DIGEST_LEN);
	bytes_put32(data + RECORD_DIGEST_LEN, (uint32_t)(cell >> 32));
	pepper_tag_old(pepper, data, sizeof(data), tag);
	return (uint32_t)cell == bytes_get32(tag);
}

void
lastused_rotate(struct lastused *l, const struct pepper *pepper, uint32_t serial, const uint8_t old[RECORD_DIGEST_LEN],
    const uint8_t digest[RECORD_DIGEST_LEN])
{
	uint64_t cell;

	if (serial >= atomic_load_explicit(&l->n, memory_order_acquire))
		return;
	cell = atomic_load(&l->cells[serial]);
	/* If a verify has stored a newer time meanwhile, that one stays. */
	if (cell != 0 && is_old_cell(pepper, cell, old))
		atomic_compare_exchange_strong(
		    &l->cells[serial], &cell, make_cell(pepper, digest, (uint32_t)(cell >> 32)));
}

/* During a rotation, a key that is still under its old digest has a cell of the old pepper, or of the new after a use. */
static bool
fits_rotating(const struct pepper *pepper, uint64_t cell, const uint8_t digest[RECORD_DIGEST_LEN])
{
	uint8_t next[RECORD_DIGEST_LEN];

	if (!pepper_has_old(pepper))
		return false;
	pepper_rotate(pepper, digest, next);
	return is_old_cell(pepper, cell, digest) || cell == make_cell(pepper, next, (uint32_t)(cell >> 32));
}

int64_t
lastused_get(
    const struct lastused *l, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN])
{
	uint64_t cell;
	uint32_t minute;

	if (serial >= atomic_load_explicit(&l->n, memory_order_acquire))
		return 0;
	cell = atomic_load_explicit(&l->cells[serial], memory_order_relaxed);
	minute = (uint32_t)(cell >> 32);
	if (cell == 0 || (cell != make_cell(pepper, digest, minute) && !fits_rotating(pepper, cell, digest)))
		return 0;
	return (int64_t)minute * MINUTE_MS;
}
