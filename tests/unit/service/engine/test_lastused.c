/*
 * test_lastused.c - the minute of a key's last use: written once a minute, kept over a restart, and never another key's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/service/fixture.h"

#include "service/engine/lastused.h"
#include "service/lmdb/trap.h"

#define MINUTE_MS INT64_C(60000)
#define MINUTE (FIXTURE_NOW_MS / MINUTE_MS * MINUTE_MS) /* the start of one */
#define CELL 8
#define PAGE_CELLS (4096 / CELL)

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

/* The cell is written once a minute: a value that the test writes into it stays until the minute is over. */
static void
is_stored_once_a_minute(void **state)
{
	struct place *p = *state;
	uint64_t marked;

	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE);
	marked = cell(p, 5) ^ 1;
	set_cell(p, 5, marked);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 1);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 59999);
	assert_true(cell(p, 5) == marked);
	lastused_touch(p->lastused, p->pepper, 5, ours, MINUTE + 60000);
	assert_true(cell(p, 5) != marked);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 5, ours), MINUTE + 60000);
}

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

/*
 * The file is cut short while it is mapped, or its disk fails: its times are lost, and nothing else. More pages are missing
 * than are replaced one by one.
 */
static void
what_is_missing_is_never(void **state)
{
	struct place *p = *state;
	uint32_t cells = 2000 * PAGE_CELLS;

	trap_install(); /* cmocka has taken the signals since the file was opened */
	assert_int_equal(lastused_grow(p->lastused, cells), 0);
	lastused_touch(p->lastused, p->pepper, 1, ours, MINUTE);
	lastused_touch(p->lastused, p->pepper, 3 * PAGE_CELLS, ours, MINUTE);
	errno = 4711;
	assert_int_equal(truncate(p->file, 4096), 0);
	for (uint32_t serial = 3 * PAGE_CELLS; serial < cells; serial += PAGE_CELLS) {
		assert_int_equal(lastused_get(p->lastused, p->pepper, serial, ours), 0);
		lastused_rotate(p->lastused, p->pepper, serial, ours, theirs);
		lastused_touch(p->lastused, p->pepper, serial, ours, MINUTE);
		assert_int_equal(lastused_get(p->lastused, p->pepper, serial, ours), MINUTE);
		/* The file, as long as it is not all replaced. */
		if (serial == 9 * PAGE_CELLS)
			assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), MINUTE);
	}
	assert_int_equal(errno, 4711);
	/* And it may grow. */
	assert_int_equal(lastused_grow(p->lastused, cells + 1), 0);
	lastused_touch(p->lastused, p->pepper, cells, ours, MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, cells, ours), MINUTE);
	/* The next start finds what was never missing. */
	reopen(p, 100);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 1, ours), MINUTE);
	assert_int_equal(lastused_get(p->lastused, p->pepper, 3 * PAGE_CELLS, ours), 0);
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

static void
threads(void **state)
{
	struct place *p = *state;
	struct race race = { .lastused = p->lastused, .pepper = p->pepper };
	pthread_t users[THREADS];
	uint8_t digest[RECORD_DIGEST_LEN];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&users[i], NULL, use, &race), 0);
	/* Meanwhile the writer adds keys. */
	for (uint32_t i = 1; i <= SERIALS; i++)
		assert_int_equal(lastused_grow(p->lastused, i * (64U << 10)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(users[i], NULL);
	assert_int_equal(atomic_load(&race.wrong), 0);
	digest_of(0, digest);
	assert_true(lastused_get(p->lastused, p->pepper, 0, digest) >= MINUTE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_to_the_minute),
		TEST(is_stored_once_a_minute),
		TEST(outlives_a_restart),
		TEST(another_key_s_use_is_never),
		TEST(a_flipped_bit_is_never),
		TEST(grows),
		TEST(a_full_disk_is_told),
		TEST(cannot_be_opened),
		TEST(a_short_file_is_mended),
		TEST(what_is_missing_is_never),
		TEST(threads),
	};

	return cmocka_run_group_tests_name("lastused", tests, fixture_begin, NULL);
}
