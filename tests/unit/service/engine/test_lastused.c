/*
 * test_lastused.c - the minute of a key's last use: stored once a minute, kept over a restart, and never another key's.
 */
/* With _FORTIFY_SOURCE pread is an inline function, and could not be defined here. */
#undef _FORTIFY_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/service/harness.h"

#include "service/engine/lastused.h"
#include "service/base/log.h"

#define MINUTE_MS INT64_C(60000)
#define MINUTE (FIXTURE_NOW_MS / MINUTE_MS * MINUTE_MS) /* the start of one */
#define CELL 8
#define CHUNK_CELLS 4096

/* ---- counted and failing system calls ---- */

static _Atomic unsigned reads, writes;
static int read_errno, write_errno; /* 0: the real call */

#define OURS __attribute__((visibility("default")))

OURS ssize_t
pread(int fd, void *to, size_t len, off_t at)
{
	reads++;
	if (read_errno != 0) {
		errno = read_errno;
		return -1;
	}
	return syscall(SYS_pread64, fd, to, len, at);
}

OURS ssize_t
pwrite(int fd, const void *from, size_t len, off_t at)
{
	writes++;
	if (write_errno != 0) {
		errno = write_errno;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, from, len, at);
}

static const uint8_t ours[RECORD_DIGEST_LEN] = { 1, 2, 3 }, theirs[RECORD_DIGEST_LEN] = { 1, 2, 4 };

struct place {
	char folder[FIXTURE_PATH];
	char file[FIXTURE_PATH];
	struct pepper *pepper;
	struct lastused *lastused;
};

static void
reopen(struct place *p, uint32_t keys)
{
	char why[512] = "";

	lastused_close(p->lastused);
	if (lastused_open(p->folder, keys, &p->lastused, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static int
begin(void **state)
{
	static struct place p;

	fixture_folder(p.folder);
	fixture_path(p.folder, "lastused", p.file);
	p.pepper = fixture_pepper(7);
	p.lastused = NULL;
	reopen(&p, 100);
	*state = &p;
	return 0;
}

static int
end(void **state)
{
	struct place *p = *state;

	lastused_close(p->lastused);
	pepper_free(p->pepper);
	fixture_remove(p->folder);
	return 0;
}

/* The cell's bytes, in the file. */
static uint64_t
cell(const struct place *p, uint32_t serial)
{
	uint64_t value;
	int fd = open(p->file, O_RDONLY);

	assert_int_equal(pread(fd, &value, CELL, (off_t)serial * CELL), CELL);
	close(fd);
	return value;
}

static void
set_cell(const struct place *p, uint32_t serial, uint64_t value)
{
	int fd = open(p->file, O_WRONLY);

	assert_int_equal(pwrite(fd, &value, CELL, (off_t)serial * CELL), CELL);
	close(fd);
}

static void
is_to_the_minute(void **state)
{
	struct place *p = *state;

	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), 0);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 59999);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 60000);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE + 60000);
	/* Its neighbours know nothing of it. */
	assert_int_equal(lastused_get(p->lastused, p->pepper, 4, ours), 0);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 6, ours), 0);
}

static void
is_stored_once_a_minute(void **state)
{
	struct place *p = *state;

	assert_true(lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE));
	assert_false(lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 1));
	assert_false(lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 59999));
	assert_true(lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 60000));
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE + 60000);
}

/* A use is no system call: one read for each 4,096 keys that are used, one write for those of a flush. */
static void
uses_cost_no_system_call(void **state)
{
	enum { KEYS = 3 * CHUNK_CELLS, ROUNDS = 3 };
	struct place *p = *state;

	assert_int_equal(lastused_grow(p->lastused, KEYS), 0);
	reads = writes = 0;
	for (int minute = 0; minute < ROUNDS; minute++) {
		for (uint32_t i = 0; i < KEYS; i++)
			assert_true(lastused_touch(p->lastused, p->pepper, i, ours, MINUTE + minute * MINUTE_MS));
		assert_int_equal(writes, 3 * minute);
		lastused_flush(p->lastused);
	}
	assert_int_equal(reads, 3);
	assert_int_equal(writes, 3 * ROUNDS);
	/* What has not changed is not written. */
	lastused_flush(p->lastused);
	assert_int_equal(writes, 3 * ROUNDS);
	lastused_touch(p->lastused, p->pepper, 70, ours, 0);
	lastused_touch(p->lastused, p->pepper, CHUNK_CELLS - 1, ours, 0);
	lastused_flush(p->lastused);
	assert_int_equal(writes, 3 * ROUNDS + 2);
	/* The file has them. */
	assert_int_equal(cell(p, KEYS - 1) >> 32, (MINUTE + 2 * MINUTE_MS) / MINUTE_MS);
	assert_int_equal(cell(p, 70) >> 32, 0);
}

#if !HARNESS_SANITIZED /* which needs much of it */
/* In a child with little address space: a small container, valgrind. */
static void
needs_little_address_space(void **state)
{
	struct place *p = *state;
	const struct rlimit limit = { UINT64_C(1) << 30, UINT64_C(1) << 30 };
	struct lastused *l;
	char why[512];
	int status;
	pid_t pid;

	assert_true((pid = fork()) >= 0);
	if (pid == 0)
		_exit(setrlimit(RLIMIT_AS, &limit) != 0 ||
		    lastused_open(p->folder, 1000000, &l, why, sizeof(why)) != 0 ||
		    !lastused_touch(l, p->pepper, 999999, ours, MINUTE));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
#endif

static void
outlives_a_restart(void **state)
{
	struct place *p = *state;
	struct stat st;

	lastused_touch(p->lastused, p->pepper, 0, ours, MINUTE);
	lastused_touch(p->lastused, p->pepper, 99, theirs, MINUTE + 60000);
	reopen(p, 100);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 0, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 99, theirs), MINUTE + 60000);
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* A serial that was given out again, a stale file, another database's file. */
static void
another_key_s_use_is_never(void **state)
{
	struct place *p = *state;

	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, theirs), 0);
	/* The new key's first use in the same minute may be lost, but no wrong time is returned. */
	lastused_touch(p->lastused, p->pepper, 5, theirs, MINUTE + 1000);
	assert_true(lastused_get(p->lastused, p->pepper, 5, theirs) == 0 ||
	    lastused_get(p->lastused, p->pepper, 5, theirs) == MINUTE);
	lastused_touch(p->lastused, p->pepper, 5, theirs, MINUTE + 60000);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, theirs), MINUTE + 60000);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), 0);

	pepper_free(p->pepper);
	p->pepper = fixture_pepper(8);
	reopen(p, 100);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, theirs), 0);
}

static void
a_flipped_bit_is_never(void **state)
{
	struct place *p = *state;
	uint64_t good;

	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE);
	reopen(p, 100);
	good = cell(p, 5);
	for (unsigned bit = 0; bit < 64; bit++) {
		set_cell(p, 5, good ^ (UINT64_C(1) << bit));
		assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), 0);
	}
	set_cell(p, 5, good);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE);
	set_cell(p, 5, 0);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), 0);
	/* The next minute mends it. */
	set_cell(p, 5, good ^ 1);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 60000);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE + 60000);
}

static void
grows(void **state)
{
	struct place *p = *state;
	struct stat st;
	uint32_t cells;

	assert_int_equal(stat(p->file, &st), 0);
	assert_true(st.st_size >= 100 * CELL);
	assert_int_equal(st.st_size % CELL, 0);
	cells = (uint32_t)(st.st_size / CELL);
	lastused_touch(p->lastused, p->pepper, 7, ours, MINUTE);

	/* Behind the end: ignored, not a crash. */
	lastused_touch(p->lastused, p->pepper, cells, ours, MINUTE);
	lastused_touch(p->lastused, p->pepper, UINT32_MAX, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, cells, ours), 0);
	assert_int_equal(lastused_get(p->lastused, p->pepper, UINT32_MAX, ours), 0);
	lastused_touch(p->lastused, p->pepper, cells - 1, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, cells - 1, ours), MINUTE);

	/* What fits already changes nothing. */
	assert_int_equal(lastused_grow(p->lastused, 50), 0);
	assert_int_equal(lastused_grow(p->lastused, cells), 0);
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_size, (off_t)cells * CELL);

	assert_int_equal(lastused_grow(p->lastused, cells + 1), 0);
	lastused_touch(p->lastused, p->pepper, cells, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, cells, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 7, ours), MINUTE);
	/* Disk space is allocated when the file grows: a full disk is an error then, and no SIGBUS later. */
	assert_int_equal(stat(p->file, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size);

	/* A restart with fewer keys than there were cells loses none of their times. */
	reopen(p, 1);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 7, ours), MINUTE);
}

/* In a child, whose files may not grow. */
static void
a_full_disk_is_told(void **state)
{
	struct place *p = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit limit = { 1U << 20, 1U << 20 };

		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
			_exit(2);
		if (lastused_grow(p->lastused, 10U << 20) != -FAULT_FULL)
			_exit(3);
		/* What there was goes on. */
		lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE);
		if (lastused_get(p->lastused, p->pepper, 5, ours) != MINUTE)
			_exit(4);
		/* Behind the old end there is still nothing. */
		lastused_touch(p->lastused, p->pepper, 5U << 20, ours, MINUTE);
		_exit(lastused_get(p->lastused, p->pepper, 5U << 20, ours) == 0 ? 0 : 5);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
cannot_be_opened(void **state)
{
	struct place *p = *state;
	struct lastused *l = NULL;
	char why[512] = "", target[FIXTURE_PATH];

	assert_int_equal(lastused_open("/no/such/folder", 1, &l, why, sizeof(why)), -FAULT_IO);
	assert_non_null(strstr(why, "/no/such/folder/lastused: cannot open: No such file"));
	lastused_close(p->lastused);
	p->lastused = NULL;

	/* A link is not followed. */
	assert_int_equal(rename(p->file, fixture_path(p->folder, "target", target)), 0);
	assert_int_equal(symlink(target, p->file), 0);
	assert_int_equal(lastused_open(p->folder, 1, &l, why, sizeof(why)), -FAULT_IO);
	assert_null(l);
	assert_int_equal(unlink(p->file), 0);
	assert_int_equal(mkdir(p->file, 0700), 0);
	assert_int_equal(lastused_open(p->folder, 1, &l, why, sizeof(why)), -FAULT_IO);
	assert_null(l);
	lastused_close(NULL);
}

/* A file that was cut short, or ends within a cell, is made whole again. */
static void
a_short_file_is_mended(void **state)
{
	struct place *p = *state;

	lastused_touch(p->lastused, p->pepper, 0, ours, MINUTE);
	lastused_close(p->lastused);
	p->lastused = NULL;
	assert_int_equal(truncate(p->file, 13), 0);
	reopen(p, 1000);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 0, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), 0);
	lastused_touch(p->lastused, p->pepper, 999, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 999, ours), MINUTE);
}

/* The file is cut short while it is open: what was read stays, and is written again when it changes. */
static void
a_file_cut_short_under_it(void **state)
{
	struct place *p = *state;

	assert_int_equal(lastused_grow(p->lastused, 2 * CHUNK_CELLS), 0);
	lastused_touch(p->lastused, p->pepper, 1, ours, MINUTE);
	lastused_flush(p->lastused);
	assert_int_equal(truncate(p->file, 0), 0);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, CHUNK_CELLS, ours), 0);
	lastused_rotate(p->lastused, p->pepper, CHUNK_CELLS, ours, theirs);
	lastused_touch(p->lastused, p->pepper, 2, ours, MINUTE);
	lastused_touch(p->lastused, p->pepper, CHUNK_CELLS, ours, MINUTE);
	reopen(p, 100);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 2, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, CHUNK_CELLS, ours), MINUTE);
}

/* The disk fails: what cannot be read is never, and is not overwritten; what cannot be written stays for the next time. */
static void
a_disk_that_fails(void **state)
{
	struct place *p = *state;
	uint64_t kept;

	log_setup((enum log_level) - 1, false);
	lastused_touch(p->lastused, p->pepper, 1, ours, MINUTE);
	write_errno = EIO;
	lastused_flush(p->lastused);
	assert_int_equal(cell(p, 1), 0);
	write_errno = 0;
	lastused_flush(p->lastused);
	kept = cell(p, 1);
	assert_int_equal(kept >> 32, MINUTE / MINUTE_MS);

	reopen(p, 100);
	read_errno = EIO;
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), 0);
	lastused_touch(p->lastused, p->pepper, 2, ours, MINUTE);
	read_errno = 0;
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), 0);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 2, ours), MINUTE);
	reopen(p, 100);
	assert_true(cell(p, 1) == kept);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), MINUTE);
	log_setup(LOG_ERROR, false);
}

/* ---- threads ---- */

#define THREADS 3
#define ROUNDS 20000
#define SERIALS 8

struct race {
	struct lastused *lastused;
	const struct pepper *pepper;
	_Atomic unsigned wrong;
};

static void
digest_of(uint32_t serial, uint8_t digest[RECORD_DIGEST_LEN])
{
	memset(digest, (int)serial + 1, RECORD_DIGEST_LEN);
}

/* Verifies and lists: every time that is read is "never" or a minute in which the key was used. */
static void *
use(void *arg)
{
	struct race *race = arg;
	uint8_t digest[RECORD_DIGEST_LEN];

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t serial = (uint32_t)i % SERIALS * (64U << 10); /* the later ones come with growth */
		int64_t seen;

		digest_of(serial, digest);
		lastused_touch(race->lastused, race->pepper, serial, digest, MINUTE + i / 16 * MINUTE_MS);
		seen = lastused_get(race->lastused, race->pepper, serial, digest);
		if (seen != 0 && (seen < MINUTE || seen > MINUTE + ROUNDS / 16 * MINUTE_MS || seen % MINUTE_MS != 0))
			atomic_fetch_add(&race->wrong, 1);
	}
	return NULL;
}

static int64_t
last_use_of(const struct place *p, uint32_t serial)
{
	uint8_t digest[RECORD_DIGEST_LEN];

	digest_of(serial, digest);
	return lastused_get(p->lastused, p->pepper, serial, digest);
}

static void
threads(void **state)
{
	struct place *p = *state;
	struct race race = { .lastused = p->lastused, .pepper = p->pepper };
	pthread_t users[THREADS];
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t last[SERIALS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&users[i], NULL, use, &race), 0);
	/* Meanwhile the writer adds keys, and writes what has changed. */
	for (uint32_t i = 1; i <= SERIALS; i++) {
		assert_int_equal(lastused_grow(p->lastused, i * (64U << 10)), 0);
		lastused_flush(p->lastused);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(users[i], NULL);
	assert_int_equal(atomic_load(&race.wrong), 0);
	digest_of(0, digest);
	assert_true(lastused_get(p->lastused, p->pepper, 0, digest) >= MINUTE);
	/* No use is left out of the file. */
	for (uint32_t i = 0; i < SERIALS; i++)
		last[i] = last_use_of(p, i * (64U << 10));
	reopen(p, SERIALS * (64U << 10));
	for (uint32_t i = 0; i < SERIALS; i++)
		assert_int_equal(last_use_of(p, i * (64U << 10)), last[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_to_the_minute),
		TEST(is_stored_once_a_minute),
		TEST(uses_cost_no_system_call),
#if !HARNESS_SANITIZED
		TEST(needs_little_address_space),
#endif
		TEST(outlives_a_restart),
		TEST(another_key_s_use_is_never),
		TEST(a_flipped_bit_is_never),
		TEST(grows),
		TEST(a_full_disk_is_told),
		TEST(cannot_be_opened),
		TEST(a_short_file_is_mended),
		TEST(a_file_cut_short_under_it),
		TEST(a_disk_that_fails),
		TEST(threads),
	};

	return cmocka_run_group_tests_name("lastused", tests, fixture_begin, NULL);
}
