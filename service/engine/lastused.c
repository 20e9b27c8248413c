/*
 * lastused.c - last-used times in memory, and their file (see lastused.h). Never touches LMDB.
 *
 * Cells are kept in chunks. A chunk is read when one of its keys is used for the first time, and stays until the end: the
 * pointer to it is set once. Each bit of chunk->dirty stands for a block of 64 cells that the file does not have yet.
 */
#include "service/engine/lastused.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/base/bytes.h"
#include "service/base/log.h"

#define MINUTE_MS 60000
#define CELL 8
#define STEP (64U << 10) /* cells by which the file grows: half a megabyte */
#define BLOCK 64U
#define BLOCKS 64U
#define CHUNK (BLOCK * BLOCKS) /* cells: 32 KiB */
#define CHUNKS ((UINT32_MAX / CHUNK) + 1)

struct chunk {
	_Atomic uint64_t dirty;
	bool lost; /* it could not be read: the file's cells are not overwritten */
	_Atomic uint64_t cells[CHUNK];
};

_Static_assert(sizeof(_Atomic uint64_t) == CELL, "cells are read and written as they are in memory");

struct lastused {
	struct chunk *_Atomic *chunks; /* CHUNKS pointers, of which only used pages take memory */
	_Atomic uint32_t n;            /* cells that are there */
	_Atomic bool unreadable;       /* a part of the file could not be read */
	bool told_unreadable, told_unwritable;
	int fd;
	char path[4096];
};

int
lastused_open(const char *folder, uint32_t keys, struct lastused **out, char *why, size_t why_len)
{
	struct lastused *l;
	int fault = -FAULT_IO;

	if ((l = calloc(1, sizeof(*l))) == NULL || (l->chunks = calloc(CHUNKS, sizeof(l->chunks[0]))) == NULL) {
		snprintf(why, why_len, "out of memory");
		fault = -FAULT_INTERNAL;
		goto err0;
	}
	snprintf(l->path, sizeof(l->path), "%s/lastused", folder);
	if ((l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		fault = errno == EIO ? -FAULT_DISK : -FAULT_IO;
		snprintf(why, why_len, "%s: cannot open: %s", l->path, strerror(errno));
		goto err0;
	}
	if ((fault = lastused_grow(l, keys)) != 0) {
		fault = fault == -FAULT_IO ? -FAULT_DISK : fault;
		snprintf(why, why_len, "%s: cannot make room for %u keys: the disk %s", l->path, keys,
		    fault == -FAULT_FULL ? "is full" : "fails");
		goto err1;
	}
	*out = l;
	return 0;

err1:
	close(l->fd);
err0:
	if (l != NULL)
		free(l->chunks);
	free(l);
	return fault;
}

static uint32_t
count_chunks(const struct lastused *l)
{
	uint32_t n = atomic_load_explicit(&l->n, memory_order_acquire);

	return n / CHUNK + (n % CHUNK != 0);
}

void
lastused_close(struct lastused *l)
{
	if (l == NULL)
		return;
	lastused_flush(l);
	for (uint32_t i = 0; i < count_chunks(l); i++)
		free(l->chunks[i]);
	close(l->fd);
	free(l->chunks);
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

/* ---- the file ---- */

/* What is behind the file's end is zeros. Returns 0, or -1 for an error. */
static int
read_cells(int fd, void *to, size_t len, off_t at)
{
	char *p = to;
	ssize_t n = 1;

	while (len > 0 && n != 0) {
		if ((n = pread(fd, p, len, at)) < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			p += n;
			at += n;
			len -= (size_t)n;
		}
	}
	memset(p, 0, len);
	return 0;
}

static int
write_cells(int fd, const void *from, size_t len, off_t at)
{
	const char *p = from;
	ssize_t n;

	for (; len > 0; p += n, at += n, len -= (size_t)n) {
		if ((n = pwrite(fd, p, len, at)) < 0) {
			if (errno != EINTR)
				return -1;
			n = 0;
		}
	}
	return 0;
}

/* The chunk of ${serial}; NULL when there is no memory for it. */
static struct chunk *
load_chunk(struct lastused *l, uint32_t serial)
{
	struct chunk *_Atomic *at = &l->chunks[serial / CHUNK];
	struct chunk *loaded = *at, *none = NULL;

	if (loaded != NULL || (loaded = calloc(1, sizeof(*loaded))) == NULL)
		return loaded;
	if (read_cells(l->fd, loaded->cells, sizeof(loaded->cells), (off_t)(serial / CHUNK * CHUNK) * CELL) != 0) {
		memset(loaded->cells, 0, sizeof(loaded->cells));
		loaded->lost = true;
		l->unreadable = true;
	}
	/* Another thread may have been faster. */
	if (atomic_compare_exchange_strong(at, &none, loaded))
		return loaded;
	free(loaded);
	return none;
}

/* Write the dirty blocks from ${first} on that lie one after the other. Returns the first behind them, or -1. */
static int
write_blocks(struct lastused *l, const struct chunk *c, uint32_t number, uint64_t dirty, unsigned first)
{
	uint64_t cells[CHUNK];
	unsigned end = first;

	while (end < BLOCKS && (dirty >> end & 1) != 0)
		end++;
	for (unsigned i = first * BLOCK; i < end * BLOCK; i++)
		cells[i] = c->cells[i];
	return write_cells(l->fd, cells + first * BLOCK, (end - first) * BLOCK * CELL,
		   ((off_t)number * CHUNK + first * BLOCK) * CELL) == 0 ?
	    (int)end :
	    -1;
}

/*
 * The order matters: a use stores its cell, then sets the bit; here the bits are taken, then the cells are read. So a cell
 * that is stored too late for this time has its bit for the next.
 */
static int
flush_chunk(struct lastused *l, struct chunk *c, uint32_t number)
{
	uint64_t dirty;

	if (c->lost || c->dirty == 0)
		return 0;
	dirty = atomic_exchange(&c->dirty, 0);
	for (int i = 0; i < (int)BLOCKS; i++) {
		if ((dirty >> i & 1) != 0 && (i = write_blocks(l, c, number, dirty, (unsigned)i)) < 0) {
			atomic_fetch_or(&c->dirty, dirty);
			return -1;
		}
	}
	return 0;
}

static void
tell(const struct lastused *l, bool now, bool *told, const char *message, const char *reason)
{
	if (now && !*told)
		LOG(LOG_ERROR, message, LOG_S("file", l->path), LOG_S("reason", reason));
	*told = now;
}

void
lastused_flush(struct lastused *l)
{
	struct chunk *c;
	int rc = 0;

	for (uint32_t i = 0; i < count_chunks(l) && rc == 0; i++)
		if ((c = l->chunks[i]) != NULL)
			rc = flush_chunk(l, c, i);
	tell(l, rc != 0, &l->told_unwritable, "last-used times cannot be written; they are kept in memory",
	    rc != 0 ? strerror(errno) : NULL);
	tell(l, l->unreadable, &l->told_unreadable,
	    "last-used times cannot be read; the keys concerned show as never used", NULL);
}

/* ---- cells ---- */

static uint64_t
make_cell(const struct pepper *pepper, const uint8_t digest[RECORD_DIGEST_LEN], uint32_t minute)
{
	uint8_t data[RECORD_DIGEST_LEN + 4], tag[PEPPER_TAG_LEN];

	memcpy(data, digest, RECORD_DIGEST_LEN);
	bytes_put32(data + RECORD_DIGEST_LEN, minute);
	pepper_tag(pepper, data, sizeof(data), tag);
	return (uint64_t)minute << 32 | bytes_get32(tag);
}

static bool
has_cell(const struct lastused *l, uint32_t serial)
{
	return serial < atomic_load_explicit(&l->n, memory_order_acquire);
}

static void
mark_dirty(struct chunk *c, uint32_t serial)
{
	uint64_t bit = UINT64_C(1) << serial % CHUNK / BLOCK;

	if ((c->dirty & bit) == 0)
		atomic_fetch_or(&c->dirty, bit);
}

void
lastused_prefetch(const struct lastused *l, uint32_t serial)
{
	struct chunk *c = atomic_load_explicit(&l->chunks[serial / CHUNK], memory_order_relaxed);

	if (c != NULL)
		__builtin_prefetch(&c->cells[serial % CHUNK], 1);
}

/*
 * Sequentially consistent: a verify stores the cell and then reads the pepper, the writer publishes a pepper and then
 * rotates the cell, and at least one of them must see the other (see note_use() in rpc/verify.c).
 */
static void
store(struct chunk *c, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN],
    uint32_t minute)
{
	atomic_store(&c->cells[serial % CHUNK], make_cell(pepper, digest, minute));
	mark_dirty(c, serial);
}

void
lastused_put(struct lastused *l, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN],
    int64_t now_ms)
{
	struct chunk *c;

	if (has_cell(l, serial) && (c = load_chunk(l, serial)) != NULL)
		store(c, pepper, serial, digest, (uint32_t)(now_ms / MINUTE_MS));
}

bool
lastused_touch(struct lastused *l, const struct pepper *pepper, uint32_t serial,
    const uint8_t digest[RECORD_DIGEST_LEN], int64_t now_ms)
{
	uint32_t minute = (uint32_t)(now_ms / MINUTE_MS);
	struct chunk *c;

	if (!has_cell(l, serial) || (c = load_chunk(l, serial)) == NULL ||
	    atomic_load_explicit(&c->cells[serial % CHUNK], memory_order_relaxed) >> 32 == minute)
		return false;
	store(c, pepper, serial, digest, minute);
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
	struct chunk *c;
	uint64_t cell;

	if (!has_cell(l, serial) || (c = load_chunk(l, serial)) == NULL)
		return;
	cell = c->cells[serial % CHUNK];
	/* If a verify has stored a newer time meanwhile, that one stays. */
	if (cell != 0 && is_old_cell(pepper, cell, old) &&
	    atomic_compare_exchange_strong(
		&c->cells[serial % CHUNK], &cell, make_cell(pepper, digest, (uint32_t)(cell >> 32))))
		mark_dirty(c, serial);
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

/* A list of keys does not load the chunks of all of them. */
static uint64_t
look_at(struct lastused *l, uint32_t serial)
{
	const struct chunk *c = l->chunks[serial / CHUNK];
	uint64_t cell;

	if (c != NULL)
		return c->cells[serial % CHUNK];
	if (read_cells(l->fd, &cell, sizeof(cell), (off_t)serial * CELL) == 0)
		return cell;
	l->unreadable = true;
	return 0;
}

int64_t
lastused_get(struct lastused *l, const struct pepper *pepper, uint32_t serial, const uint8_t digest[RECORD_DIGEST_LEN])
{
	uint64_t cell;
	uint32_t minute;

	if (!has_cell(l, serial))
		return 0;
	cell = look_at(l, serial);
	minute = (uint32_t)(cell >> 32);
	if (cell == 0 || (cell != make_cell(pepper, digest, minute) && !fits_rotating(pepper, cell, digest)))
		return 0;
	return (int64_t)minute * MINUTE_MS;
}
