/*
 * test_lmdb.c - lmdb.c and open.c over the real LMDB: sticky faults, failures that end a database, space that runs out
 * and comes back, wrong and damaged files. The test replaces the system calls by which LMDB writes, so that they can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tests/unit/service/fixture.h"

#include "service/base/sanitizer.h"
#include "service/lmdb/trap.h"

/* ---- failing system calls ---- */

static int sync_errno, write_errno, allocate_errno; /* 0: the real call */
static unsigned syncs, allocations;
static bool sync_not; /* for tests of thousands of commits that lose no power */

static bool truncate_not; /* as if the process had ended before it */
static unsigned truncates;

#define OURS __attribute__((visibility("default")))

OURS int
ftruncate(int fd, off_t len)
{
	truncates++;
	return truncate_not ? 0 : (int)syscall(SYS_ftruncate, fd, len);
}

OURS int
fdatasync(int fd)
{
	syncs++;
	if (sync_errno != 0) {
		errno = sync_errno;
		return -1;
	}
	return sync_not ? 0 : (int)syscall(SYS_fdatasync, fd);
}

OURS ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (write_errno != 0) {
		errno = write_errno;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, at);
}

OURS ssize_t
writev(int fd, const struct iovec *v, int n)
{
	if (write_errno != 0) {
		errno = write_errno;
		return -1;
	}
	return syscall(SYS_writev, fd, v, n);
}

OURS int
fallocate(int fd, int mode, off_t at, off_t len)
{
	allocations++;
	if (allocate_errno != 0) {
		errno = allocate_errno;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

/* ---- a slow processor ---- */

static int64_t check_ns, skip_ns; /* what lies between two looks at a thread's processor time; what time has passed */
static unsigned cpu_looks;

OURS int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int64_t add_ns = skip_ns;
	int rc = (int)syscall(SYS_clock_gettime, clock, now);

	/* Not the real one: it depends on the machine and the sanitizer. */
	if (clock == CLOCK_THREAD_CPUTIME_ID) {
		*now = (struct timespec){ 0 };
		add_ns = ++cpu_looks * check_ns;
	}
	now->tv_nsec += add_ns % 1000000000;
	now->tv_sec += add_ns / 1000000000 + now->tv_nsec / 1000000000;
	now->tv_nsec %= 1000000000;
	return rc;
}

/* ---- traps that spring inside LMDB ---- */

enum trapped { NOTHING, GET, CURSOR_GET, STAT, PUT, DEL, COMMIT, TRAPPED };
static enum trapped trapped;           /* the next call of it reads what */
static const volatile char *no_access; /* nobody may read */

static void
fault_in(enum trapped call)
{
	if (trapped != call)
		return;
	trapped = NOTHING;
	(void)*no_access;
}

#define TRAPPED_CALL(call, name, parameters, arguments) \
	OURS int name parameters \
	{ \
		static __typeof__(&name) next; \
		fault_in(call); \
		if (next == NULL) \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		return next arguments; \
	}

TRAPPED_CALL(GET, mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
TRAPPED_CALL(
    CURSOR_GET, mdb_cursor_get, (MDB_cursor * cursor, MDB_val *k, MDB_val *v, MDB_cursor_op op), (cursor, k, v, op))
TRAPPED_CALL(STAT, mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
TRAPPED_CALL(
    PUT, mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags), (txn, dbi, k, v, flags))
TRAPPED_CALL(DEL, mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
TRAPPED_CALL(COMMIT, mdb_txn_commit, (MDB_txn * txn), (txn))

/* ---- a database ---- */

enum { A, B };
static const char *const names[] = { "a", "b" };

struct place {
	char folder[FIXTURE_PATH];
	char file[FIXTURE_PATH];
	struct lmdb_options options;
	struct lmdb *db;
	struct lmdb_txn *w;
	struct lmdb_txn *r;
};

static void
open_it(struct place *p)
{
	char why[512] = "";

	if (lmdb_open(&p->options, &p->db, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_non_null(p->w = lmdb_txn_new(p->db));
	assert_non_null(p->r = lmdb_txn_new(p->db));
}

static void
close_it(struct place *p)
{
	lmdb_txn_free(p->w);
	lmdb_txn_free(p->r);
	lmdb_close(p->db);
	p->w = p->r = NULL;
	p->db = NULL;
}

static int
begin(void **state)
{
	static struct place p;

	fixture_folder(p.folder);
	fixture_path(p.folder, "data.mdb", p.file);
	p.options = (struct lmdb_options){
		.path = p.folder, .names = names, .n_tables = 2, .map_bytes = 16U << 20, .readers = 8, .create = true
	};
	open_it(&p);
	p.options.create = false;
	*state = &p;
	return 0;
}

static int
end(void **state)
{
	struct place *p = *state;

	sync_errno = write_errno = allocate_errno = 0;
	sync_not = truncate_not = false;
	close_it(p);
	fixture_remove(p->folder);
	return 0;
}

static void
put(struct place *p, unsigned table, const char *key, const char *value)
{
	lmdb_put(p->w, table, key, strlen(key), value, strlen(value));
}

static void
del(struct place *p, unsigned table, const char *key)
{
	lmdb_del(p->w, table, key, strlen(key));
}

static void
put_now(struct place *p, unsigned table, const char *key, const char *value)
{
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, table, key, value);
	assert_int_equal(lmdb_commit(p->w), 0);
}

/* What the open transaction has under ${key}: NULL for nothing. */
static void
expect(struct lmdb_txn *txn, unsigned table, const char *key, const char *value)
{
	struct lmdb_value got;
	int fault = lmdb_get(txn, table, key, strlen(key), &got);

	if (value == NULL) {
		assert_int_equal(fault, -FAULT_NOT_FOUND);
		return;
	}
	assert_int_equal(fault, 0);
	assert_int_equal(got.len, strlen(value));
	assert_memory_equal(got.data, value, got.len);
}

static void
expect_now(struct place *p, unsigned table, const char *key, const char *value)
{
	assert_int_equal(lmdb_read(p->r), 0);
	expect(p->r, table, key, value);
	lmdb_read_end(p->r);
}

static void
refused(struct place *p, int fault, const char *reason)
{
	struct lmdb *db = NULL;
	char why[512] = "";

	assert_int_equal(lmdb_open(&p->options, &db, why, sizeof(why)), fault);
	assert_null(db);
	assert_ptr_equal(strstr(why, p->folder), why);
	if (strstr(why, reason) == NULL)
		fail_msg("not \"%s\", but: %s", reason, why);
}

/* ---- transactions ---- */

static void
is_kept(void **state)
{
	struct place *p = *state;
	struct stat st;

	put_now(p, A, "k", "one");
	put_now(p, B, "k", "two");
	put_now(p, A, "k", "three");
	expect_now(p, A, "k", "three");
	expect_now(p, B, "k", "two");
	expect_now(p, B, "none", NULL);
	close_it(p);
	open_it(p);
	expect_now(p, A, "k", "three");
	expect_now(p, B, "k", "two");
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
a_read_is_of_one_moment(void **state)
{
	struct place *p = *state;

	put_now(p, A, "k", "old");
	assert_int_equal(lmdb_read(p->r), 0);
	put_now(p, A, "k", "new");
	expect(p->r, A, "k", "old");
	lmdb_read_end(p->r);
	/* The next renew sees what was committed. */
	for (int i = 0; i < 100; i++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", i);
		put_now(p, A, "k", value);
		expect_now(p, A, "k", value);
	}
}

static void
an_abort_changes_nothing(void **state)
{
	struct place *p = *state;

	put_now(p, A, "k", "old");
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "k", "new");
	expect(p->w, A, "k", "new");
	lmdb_abort(p->w);
	expect_now(p, A, "k", "old");
	/* A write transaction that is freed is aborted, too, and the next one does not block. */
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "k", "new");
	lmdb_txn_free(p->w);
	assert_non_null(p->w = lmdb_txn_new(p->db));
	put_now(p, A, "other", "x");
	expect_now(p, A, "k", "old");
	lmdb_txn_free(NULL);
}

/* After lmdb_read_end() a reader pins no page: the file stays small. */
static void
a_read_that_ended_pins_nothing(void **state)
{
	struct place *p = *state;
	struct stat st;

	for (int i = 0; i < 500; i++) {
		assert_int_equal(lmdb_read(p->r), 0);
		lmdb_read_end(p->r);
		put_now(p, A, "k", i % 2 == 0 ? "even" : "odd");
	}
	assert_int_equal(stat(p->file, &st), 0);
	assert_true(st.st_size < 256 << 10);
}

/* As many readers as were asked for, and few more: LMDB derives the number from the lock file's size, rounded up. */
static void
has_room_for_so_many_readers(void **state)
{
	enum { ASKED = 8, MOST = 128 };
	struct place *p = *state;
	struct lmdb_txn *txns[MOST];
	int n, fault = 0;

	for (n = 0; n < MOST; n++) {
		assert_non_null(txns[n] = lmdb_txn_new(p->db));
		if ((fault = lmdb_read(txns[n])) != 0)
			break;
	}
	assert_in_range(n, ASKED, MOST - 1);
	/* One reader too many is refused. The database does not fail, and the object can still be used. */
	assert_int_equal(fault, -FAULT_READERS);
	assert_false(lmdb_failed(p->db));
	lmdb_look(p->db);
	assert_true(lmdb_readers_full(p->db));
	lmdb_read_end(txns[n]);
	lmdb_txn_free(txns[0]);
	lmdb_look(p->db);
	assert_false(lmdb_readers_full(p->db));
	assert_int_equal(lmdb_read(txns[n]), 0);
	lmdb_read_end(txns[n]);
	for (int i = 1; i <= n; i++)
		lmdb_txn_free(txns[i]);
}

/* The lock file has all its blocks before the first reader: a write to a hole in a mapped file may be a SIGBUS. */
static void
the_lock_file_has_no_holes(void **state)
{
	struct place *p = *state;
	char name[FIXTURE_PATH + 16];
	struct stat st;

	snprintf(name, sizeof(name), "%.*s/lock.mdb", (int)(strrchr(p->file, '/') - p->file), p->file);
	assert_int_equal(stat(name, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size);
}

/* ---- faults ---- */

static void
a_fault_sticks(void **state)
{
	struct place *p = *state;

	put_now(p, A, "k", "old");
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "k", "new");
	assert_int_equal(lmdb_fault(p->w), 0);
	del(p, B, "not there");
	assert_int_equal(lmdb_fault(p->w), -FAULT_CORRUPT);
	/* Later changes do nothing, and do not hide the fault. */
	put(p, A, "later", "x");
	del(p, A, "k");
	assert_int_equal(lmdb_fault(p->w), -FAULT_CORRUPT);
	expect(p->w, A, "later", NULL);
	assert_int_equal(lmdb_commit(p->w), -FAULT_CORRUPT);
	expect_now(p, A, "k", "old");
	expect_now(p, A, "later", NULL);

	/* The next transaction starts afresh. */
	assert_false(lmdb_failed(p->db));
	assert_int_equal(lmdb_write(p->w), 0);
	assert_int_equal(lmdb_fault(p->w), 0);
	del(p, A, "k");
	assert_int_equal(lmdb_commit(p->w), 0);
	expect_now(p, A, "k", NULL);
}

/* Fill table A with large values until the map is full; returns how many were committed. */
static unsigned
fill(struct place *p)
{
	static const uint8_t large[1000];
	unsigned n = 0;
	int fault = 0;

	while (fault == 0) {
		assert_int_equal(lmdb_write(p->w), 0);
		for (unsigned i = 0; i < 50; i++) {
			uint32_t key = n + i;

			lmdb_put(p->w, A, &key, sizeof(key), large, sizeof(large));
		}
		fault = lmdb_commit(p->w);
		if (fault == 0)
			n += 50;
		assert_true(n < 100000);
	}
	assert_int_equal(fault, -FAULT_FULL);
	return n;
}

static void
a_full_map_is_not_the_end(void **state)
{
	struct place *p = *state;
	unsigned n;

	close_it(p);
	p->options.map_bytes = 1U << 20;
	open_it(p);
	n = fill(p);
	assert_true(n >= 50);
	assert_false(lmdb_failed(p->db));
	/* Exactly what was acknowledged is there. */
	assert_int_equal(lmdb_read(p->r), 0);
	assert_int_equal(lmdb_entries(p->r, A), n);
	lmdb_read_end(p->r);
	/* Room can be made, and used. */
	for (uint32_t key = 0; key < 40; key++) {
		assert_int_equal(lmdb_write(p->w), 0);
		lmdb_del(p->w, A, &key, sizeof(key));
		assert_int_equal(lmdb_commit(p->w), 0);
	}
	put_now(p, A, "k", "fits again");
	expect_now(p, A, "k", "fits again");
	close_it(p);
	open_it(p);
	expect_now(p, A, "k", "fits again");
}

static void
a_full_disk_is_not_the_end(void **state)
{
	static const int full[] = { ENOSPC, EDQUOT };
	struct place *p = *state;

	put_now(p, A, "k", "old");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lmdb_write(p->w), 0);
		put(p, A, "k", "new");
		write_errno = full[i];
		assert_int_equal(lmdb_commit(p->w), -FAULT_FULL);
		write_errno = 0;
		assert_false(lmdb_failed(p->db));
		expect_now(p, A, "k", "old");
	}
	put_now(p, A, "k", "new");
	expect_now(p, A, "k", "new");
	close_it(p);
	open_it(p);
	expect_now(p, A, "k", "new");
}

/* After a failed fdatasync LMDB's next commit would succeed. lmdb.c refuses it: nothing is acknowledged any more. */
static void
a_failed_sync_is_the_end(void **state)
{
	struct place *p = *state;

	put_now(p, A, "k", "old");
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "k", "new");
	sync_errno = EIO;
	assert_int_equal(lmdb_commit(p->w), -FAULT_IO);
	sync_errno = 0;
	assert_true(lmdb_failed(p->db));
	assert_int_equal(lmdb_write(p->w), -FAULT_IO);
	assert_int_equal(lmdb_read(p->r), -FAULT_IO);
	assert_true(lmdb_failed(p->db));
	/* A restart decides from what is on disk. */
	close_it(p);
	open_it(p);
	assert_false(lmdb_failed(p->db));
	expect_now(p, A, "k", "old");
	put_now(p, A, "k", "new");
}

static void
a_failed_write_is_the_end(void **state)
{
	struct place *p = *state;

	put_now(p, A, "k", "old");
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "k", "new");
	write_errno = EIO;
	assert_int_equal(lmdb_commit(p->w), -FAULT_IO);
	write_errno = 0;
	assert_true(lmdb_failed(p->db));
	assert_int_equal(lmdb_write(p->w), -FAULT_IO);
	close_it(p);
	open_it(p);
	expect_now(p, A, "k", "old");
}

/* LMDB's pages of a transaction that was left half-way are lost, which LeakSanitizer would report. */
#if SANITIZER_ADDRESS
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#endif

/* A write transaction in whose midst a trap springs, by the call ${arg} of the enumeration above. */
static void *
write_with_a_trap(void *arg)
{
	struct place *p = arg;
	struct lmdb_cursor cursor;
	struct lmdb_value value;

	__lsan_disable();
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, A, "before", "new");
	/* Like a caller that counts on the commit to fail, this looks at no fault. */
	(void)lmdb_get(p->w, A, "k", 1, &value);
	(void)lmdb_seek(p->w, A, "k", 1, &cursor);
	lmdb_cursor_end(&cursor);
	(void)lmdb_used_bytes(p->w);
	put(p, A, "k", "new");
	del(p, B, "k");
	put(p, B, "after", "new");
	assert_int_not_equal(lmdb_commit(p->w), 0);
	assert_int_equal(trapped, NOTHING);
	assert_true(lmdb_failed(p->db));
	assert_int_equal(lmdb_write(p->w), -FAULT_IO);
	__lsan_enable();
	return NULL;
}

static void
try_each_trap(struct place *p)
{
	void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned before = fixture_descriptors();
	pthread_t thread;

	assert_ptr_not_equal(page, MAP_FAILED);
	no_access = page;
	trap_install(); /* cmocka has taken the signals since the file was opened */
	/* LMDB keeps pages for its next transaction. */
	__lsan_disable();
	close_it(p);
	open_it(p);
	for (enum trapped call = GET; call < TRAPPED; call++) {
		put_now(p, A, "k", "old");
		put_now(p, B, "k", "old");
		trapped = call;
		assert_int_equal(pthread_create(&thread, NULL, write_with_a_trap, p), 0);
		pthread_join(thread, NULL);
		close_it(p);
		open_it(p);
		assert_int_equal(fixture_descriptors(), before);
		expect_now(p, A, "k", "old");
		expect_now(p, A, "before", NULL);
		expect_now(p, B, "k", "old");
		expect_now(p, B, "after", NULL);
	}
	put_now(p, A, "k", "new");
	__lsan_enable();
	munmap(page, 4096);
}

/*
 * What a trap has left half-way is not committed, whatever the caller does next. The database can be opened anew when
 * the thread has ended that had LMDB's lock.
 */
static void
nothing_is_committed_after_a_trap(void **state)
{
	try_each_trap(*state);
}

/* The same while another process has the file open, as a backup does: then the lock is not made anew. */
static void
a_trap_beside_a_backup(void **state)
{
	struct place *p = *state;
	int opened[2], leave[2], status;
	char byte = 0;
	pid_t pid;

	close_it(p);
	assert_int_equal(pipe(opened), 0);
	assert_int_equal(pipe(leave), 0);
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		struct lmdb_options options = p->options;
		char why[512];

		options.access = LMDB_BESIDE;
		close(leave[1]);
		if (lmdb_open(&options, &p->db, why, sizeof(why)) != 0 || write(opened[1], &byte, 1) != 1)
			_exit(1);
		_exit(read(leave[0], &byte, 1) == 0 ? 0 : 2);
	}
	assert_int_equal(read(opened[0], &byte, 1), 1);
	open_it(p);
	try_each_trap(p);
	for (int i = 0; i < 2; i++) {
		close(opened[i]);
		close(leave[i]);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The list of free pages is validated before each commit, or, when that takes long, for a twentieth of the time. */
static void
a_long_list_of_free_pages(void **state)
{
	struct place *p = *state;

	cpu_looks = 0;
	for (int i = 0; i < 10; i++)
		put_now(p, A, "k", "v");
	assert_int_equal(cpu_looks, 2 * 10);
	check_ns = INT64_C(3600000000000); /* an hour */
	for (int i = 0; i < 10; i++)
		put_now(p, A, "k", "v");
	assert_int_equal(cpu_looks, 2 * 11);
	skip_ns = 19 * check_ns;
	put_now(p, A, "k", "v");
	assert_int_equal(cpu_looks, 2 * 11);
	skip_ns = 20 * check_ns;
	check_ns = 1000;
	for (int i = 0; i < 10; i++)
		put_now(p, A, "k", "v");
	assert_int_equal(cpu_looks, 2 * 21);
	check_ns = skip_ns = 0;
}

/* ---- a file that loses its name ---- */

static void
remove_it(const struct place *p)
{
	assert_int_equal(unlink(p->file), 0);
}

static void
rename_it(const struct place *p)
{
	char other[FIXTURE_PATH];

	assert_int_equal(rename(p->file, fixture_path(p->folder, "other", other)), 0);
}

static void
rename_over_it(const struct place *p)
{
	char other[FIXTURE_PATH];
	int fd = open(fixture_path(p->folder, "copy", other), O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(rename(other, p->file), 0);
}

/* What is written to a file without a name is lost: nothing is acknowledged any more. */
static void
without_its_name_it_has_failed(void **state)
{
	void (*const ways[])(const struct place *) = { remove_it, rename_it, rename_over_it };
	struct place *p = *state;

	for (size_t i = 0; i < 2 * sizeof(ways) / sizeof(ways[0]); i++) {
		lmdb_look(p->db);
		put_now(p, A, "k", "old");
		assert_null(lmdb_failure(p->db));
		ways[i / 2](p);
		/* Whoever comes first notices: a change, or the look once a second. */
		if (i % 2 == 0)
			lmdb_look(p->db);
		assert_int_equal(lmdb_write(p->w), -FAULT_IO);
		assert_int_equal(lmdb_read(p->r), -FAULT_IO);
		assert_non_null(strstr(lmdb_failure(p->db), "data.mdb was removed, or another file has its name"));
		end((void **)&p);
		begin((void **)&p);
	}
}

static void
a_commit_is_synced(void **state)
{
	struct place *p = *state;
	unsigned before = syncs;

	put_now(p, A, "k", "v");
	assert_true(syncs > before);
}

/* ---- walks ---- */

static void
walks_in_order(void **state)
{
	static const char *const sorted[] = { "a", "ab", "b", "ba", "c" };
	struct place *p = *state;
	struct lmdb_cursor c;
	size_t n;
	int fault;

	put_now(p, A, "ba", "4");
	put_now(p, A, "a", "1");
	put_now(p, A, "c", "5");
	put_now(p, A, "b", "3");
	put_now(p, A, "ab", "2");
	assert_int_equal(lmdb_read(p->r), 0);
	for (n = 0, fault = lmdb_seek(p->r, A, NULL, 0, &c); fault == 0; n++, fault = lmdb_next(&c)) {
		assert_true(n < 5);
		assert_int_equal(c.key.len, strlen(sorted[n]));
		assert_memory_equal(c.key.data, sorted[n], c.key.len);
		assert_int_equal(c.value.len, 1);
		assert_int_equal(*(const char *)c.value.data, '1' + (int)n);
	}
	assert_int_equal(fault, -FAULT_NOT_FOUND);
	assert_int_equal(n, 5);
	lmdb_cursor_end(&c);

	/* Seek to a key, between two, behind the last, and in an empty table. */
	assert_int_equal(lmdb_seek(p->r, A, "b", 1, &c), 0);
	assert_memory_equal(c.key.data, "b", 1);
	assert_int_equal(lmdb_next(&c), 0);
	assert_memory_equal(c.key.data, "ba", 2);
	lmdb_cursor_end(&c);
	assert_int_equal(lmdb_seek(p->r, A, "aa", 2, &c), 0);
	assert_memory_equal(c.key.data, "ab", 2);
	lmdb_cursor_end(&c);
	assert_int_equal(lmdb_seek(p->r, A, "d", 1, &c), -FAULT_NOT_FOUND);
	lmdb_cursor_end(&c);
	assert_int_equal(lmdb_seek(p->r, B, NULL, 0, &c), -FAULT_NOT_FOUND);
	lmdb_cursor_end(&c);
	lmdb_cursor_end(&c);
	lmdb_read_end(p->r);

	/* Within a write transaction it sees what that has written. */
	assert_int_equal(lmdb_write(p->w), 0);
	put(p, B, "z", "1");
	assert_int_equal(lmdb_seek(p->w, B, NULL, 0, &c), 0);
	lmdb_cursor_end(&c);
	lmdb_abort(p->w);
}

/* ---- space ---- */

static void
says_what_it_uses(void **state)
{
	struct place *p = *state;
	uint64_t empty, some;

	assert_int_equal(lmdb_read(p->r), 0);
	empty = lmdb_used_bytes(p->r);
	assert_int_equal(lmdb_entries(p->r, A), 0);
	lmdb_read_end(p->r);
	assert_int_equal(lmdb_write(p->w), 0);
	for (uint32_t i = 0; i < 1000; i++)
		lmdb_put(p->w, i % 2 == 0 ? A : B, &i, sizeof(i), "a value of some length", 22);
	/* Also of what is not committed yet. */
	some = lmdb_used_bytes(p->w);
	assert_int_equal(lmdb_entries(p->w, A), 500);
	assert_int_equal(lmdb_commit(p->w), 0);
	assert_true(some >= empty + 1000 * 26);
	assert_true(some < empty + (1U << 20));
	assert_int_equal(lmdb_read(p->r), 0);
	assert_int_equal(lmdb_used_bytes(p->r), some);
	assert_int_equal(lmdb_entries(p->r, B), 500);
	lmdb_read_end(p->r);
}

static void
reserves_room(void **state)
{
	struct place *p = *state;
	struct stat before, after;
	unsigned asked;

	assert_int_equal(stat(p->file, &before), 0);
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), 0);
	assert_int_equal(stat(p->file, &after), 0);
	assert_true(after.st_blocks * 512 >= before.st_size + (1 << 20));
	/* Again costs nothing, until the database has grown into it. */
	asked = allocations;
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), 0);
	assert_int_equal(allocations, asked);
	assert_int_equal(lmdb_write(p->w), 0);
	for (uint32_t i = 0; i < 3000; i++)
		lmdb_put(p->w, A, &i, sizeof(i), (const uint8_t[1000]){ 0 }, 1000);
	assert_int_equal(lmdb_commit(p->w), 0);
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), 0);
	assert_true(allocations > asked);
	/* And a database with such a reserve opens as any other. */
	close_it(p);
	open_it(p);
}

static void
says_when_there_is_none(void **state)
{
	struct place *p = *state;

	allocate_errno = ENOSPC;
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), -FAULT_FULL);
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), -FAULT_FULL);
	allocate_errno = EDQUOT;
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), -FAULT_FULL);
	assert_false(lmdb_failed(p->db));
	allocate_errno = 0;
	assert_int_equal(lmdb_reserve(p->db, 1U << 20), 0);
	/* A file system that cannot allocate is no fault. */
	allocate_errno = EOPNOTSUPP;
	assert_int_equal(lmdb_reserve(p->db, 8U << 20), 0);
}

/* ---- opening ---- */

static void
no_database(void **state)
{
	struct place *p = *state;
	char other[FIXTURE_PATH];

	close_it(p);
	assert_int_equal(unlink(p->file), 0);
	refused(p, -FAULT_NOT_FOUND, "look whether its disk is mounted, or restore a backup");
	assert_int_equal(access(p->file, F_OK), -1);
	fixture_write_file(p->file, "", 0, 0600);
	refused(p, -FAULT_CORRUPT, "the file is empty: it was cut short");
	p->options.path = fixture_path(p->folder, "none", other);
	refused(p, -FAULT_NOT_FOUND, "no database here");
	p->options.create = true;
	refused(p, -FAULT_FAILED_PRECONDITION, "cannot use the data folder: No such file");
}

static void
in_use(void **state)
{
	struct place *p = *state;
	char lock[FIXTURE_PATH];
	int fd;

	refused(p, -FAULT_FAILED_PRECONDITION, "in use by another fobd");
	p->options.create = true;
	refused(p, -FAULT_FAILED_PRECONDITION, "in use by another fobd");
	p->options.create = false;
	/* The one that has it goes on. */
	put_now(p, A, "k", "v");
	close_it(p);
	/* Another process has the lock. */
	assert_true((fd = open(fixture_path(p->folder, "fobd.lock", lock), O_RDWR)) >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	refused(p, -FAULT_FAILED_PRECONDITION, "in use by another fobd");
	close(fd);
	open_it(p);
	expect_now(p, A, "k", "v");
}

/* A file cut at every page and within pages is refused, without a read behind its end, which would be a SIGBUS. */
static void
a_file_cut_short(void **state)
{
	struct place *p = *state;
	struct stat st;
	uint8_t *bytes;
	off_t size;
	int fd;

	assert_int_equal(lmdb_write(p->w), 0);
	for (uint32_t i = 0; i < 300; i++)
		lmdb_put(p->w, A, &i, sizeof(i), (const uint8_t[500]){ 1 }, 500);
	assert_int_equal(lmdb_commit(p->w), 0);
	close_it(p);
	assert_int_equal(stat(p->file, &st), 0);
	size = st.st_size;
	assert_non_null(bytes = malloc((size_t)size));
	assert_true((fd = open(p->file, O_RDONLY)) >= 0);
	assert_int_equal(read(fd, bytes, (size_t)size), size);
	close(fd);
	for (off_t cut = 1; cut < size; cut += 2048 - 1) {
		fixture_write_file(p->file, bytes, (size_t)(size - cut), 0600);
		/* Without its two meta pages it is not even LMDB's. */
		refused(p, -FAULT_CORRUPT, size - cut >= 8192 ? "the file is cut short" : "");
	}
	fixture_write_file(p->file, bytes, (size_t)size, 0600);
	free(bytes);
	open_it(p);
	assert_int_equal(lmdb_read(p->r), 0);
	assert_int_equal(lmdb_entries(p->r, A), 300);
	lmdb_read_end(p->r);
}

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/*
 * A transaction may take pages at the end of the file and free them before it commits. LMDB counts them but does not
 * write them. Such a file is too short but complete, and must open. With LMDB 0.9.24 some of these transactions do that.
 */
static void
fill_and_empty(struct place *p, uint32_t *seed)
{
	enum { ENTRIES = 800 };
	static const uint8_t value[400];

	assert_int_equal(lmdb_write(p->w), 0);
	for (uint32_t i = next_random(seed) % 300; i > 0; i--) {
		uint32_t key = next_random(seed) % ENTRIES * 2654435761U;

		lmdb_put(p->w, next_random(seed) & 1, &key, sizeof(key), value, sizeof(value));
	}
	assert_int_equal(lmdb_commit(p->w), 0);
	/* All deleted, in an order that touches every page before the first one is empty, as random keys are. */
	assert_int_equal(lmdb_write(p->w), 0);
	for (uint32_t i = 0; i < 2 * ENTRIES; i++) {
		uint32_t key = i * 37 % ENTRIES * 2654435761U;
		struct lmdb_value found;

		if (lmdb_get(p->w, i / ENTRIES, &key, sizeof(key), &found) == 0)
			lmdb_del(p->w, i / ENTRIES, &key, sizeof(key));
	}
	assert_int_equal(lmdb_commit(p->w), 0);
}

static void
a_whole_file_that_ends_early(void **state)
{
	struct place *p = *state;
	uint32_t seed = 2;

	sync_not = true;
	for (int round = 0; round < 600; round++) {
		fill_and_empty(p, &seed);
		close_it(p);
		open_it(p);
	}
}

/* The process ends after a commit and before it has corrected the file's length. The commit is valid. */
static void
an_end_before_the_file_is_whole(void **state)
{
	struct place *p = *state;
	uint32_t seed = 2;
	unsigned short_files = 0;

	sync_not = true;
	for (int round = 0; round < 600; round++) {
		truncates = 0;
		truncate_not = true;
		fill_and_empty(p, &seed);
		truncate_not = false;
		short_files += truncates > 0;
		close_it(p);
		open_it(p);
	}
	/* Not every release of LMDB does this. */
	if (short_files == 0)
		skip();
}

static void
not_a_database(void **state)
{
	struct place *p = *state;
	uint8_t garbage[64 << 10];

	close_it(p);
	memset(garbage, 'x', sizeof(garbage));
	fixture_write_file(p->file, garbage, sizeof(garbage), 0600);
	refused(p, -FAULT_CORRUPT, "cannot open the database");
	memset(garbage, 0, sizeof(garbage));
	fixture_write_file(p->file, garbage, sizeof(garbage), 0600);
	refused(p, -FAULT_CORRUPT, "cannot open the database");
	for (int i = 0; i < 50; i++) {
		randombytes_buf(garbage, sizeof(garbage));
		fixture_write_file(p->file, garbage, (size_t)(1 + i * 1000), 0600);
		refused(p, -FAULT_CORRUPT, "cannot open the database");
	}
	/* Not replaced when a new one is asked for either. */
	p->options.create = true;
	refused(p, -FAULT_CORRUPT, "cannot open the database");
	/* A folder. */
	assert_int_equal(unlink(p->file), 0);
	assert_int_equal(mkdir(p->file, 0700), 0);
	refused(p, -FAULT_IO, "cannot open the database");
}

/*
 * LMDB divides by the page size that a meta page claims. Either of the two meta pages may be damaged. (With a size that is
 * possible but wrong there is no second meta page at its place, or one that disagrees.)
 */
static void
pages_of_a_wrong_size(void **state)
{
	enum { PAGE = 4096, PAGE_BYTES_AT = 40 };
	static const uint32_t sizes[] = { 0, 1, 2, 3, 256, 512, 1024, 2048, 4095, 4097, 6144, 8192, 16384, 32768, 65535,
		65536, 1U << 20, 1U << 31, UINT32_MAX };
	struct place *p = *state;
	uint8_t whole[2 * PAGE], broken[2 * PAGE];
	int fd;

	put_now(p, A, "k", "v");
	close_it(p);
	assert_true((fd = open(p->file, O_RDWR)) >= 0);
	assert_int_equal(pread(fd, whole, sizeof(whole), 0), sizeof(whole));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int pages = 1; pages <= 3; pages++) {
			memcpy(broken, whole, sizeof(whole));
			for (int page = 0; page < 2; page++)
				if ((pages & 1 << page) != 0)
					memcpy(broken + page * PAGE + PAGE_BYTES_AT, &sizes[i], sizeof(sizes[i]));
			assert_int_equal(pwrite(fd, broken, sizeof(broken), 0), sizeof(broken));
			refused(p, -FAULT_CORRUPT, "data");
		}
		if (sizes[i] < 512 || sizes[i] > 32768)
			refused(p, -FAULT_CORRUPT, "/data.mdb: the file is damaged: it claims a page size of ");
	}
	assert_int_equal(pwrite(fd, whole, sizeof(whole), 0), sizeof(whole));
	close(fd);
	open_it(p);
	expect_now(p, A, "k", "v");
}

/* Another library than that whose pages are known. */
static const char *other_library;

__attribute__((visibility("default"))) char *
mdb_version(int *major, int *minor, int *patch)
{
	static char *(*next)(int *, int *, int *);
	char *version;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "mdb_version");
	version = next(major, minor, patch);
	if (other_library == NULL)
		return version;
	*major = 1;
	return (char *)(uintptr_t)other_library;
}

static void
another_library(void **state)
{
	const struct lmdb_options options = { .path = "/nowhere", .access = LMDB_SERVE, .n_tables = 0, .readers = 1 };
	char why[256] = "";
	struct lmdb *db;

	(void)state;
	other_library = "LMDB 1.0.0";
	assert_int_equal(lmdb_open(&options, &db, why, sizeof(why)), -FAULT_INTERNAL);
	other_library = NULL;
	assert_string_equal(
	    why, "the library is LMDB 1.0.0, but fobd knows the page format of LMDB 0.9 only: install that one");
}

static void
without_one_of_its_tables(void **state)
{
	static const char *const more[] = { "a", "b", "c" };
	struct place *p = *state;

	close_it(p);
	p->options.names = more;
	p->options.n_tables = 3;
	refused(p, -FAULT_CORRUPT, "cannot open the database");
	/* To be made it is added, and the others are left alone. */
	p->options.create = true;
	open_it(p);
	put_now(p, 2, "k", "v");
	expect_now(p, 2, "k", "v");
}

/* In a child, whose address space is too small for the map: the message names the setting. */
static void
without_address_space(void **state)
{
	struct place *p = *state;
	pid_t pid;
	int status;

	close_it(p);
	p->options.map_bytes = UINT64_C(1) << 46;
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		struct rlimit limit = { UINT64_C(1) << 45, UINT64_C(1) << 45 };
		char why[512] = "";

		_exit(setrlimit(RLIMIT_AS, &limit) != 0 ||
		    lmdb_open(&p->options, &p->db, why, sizeof(why)) != -FAULT_INTERNAL ||
		    strstr(why, "Lower ceiling, or raise the limit (ulimit -v)") == NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	p->options.map_bytes = 16U << 20;
	open_it(p);
}

/* Run ${use} in a child that ends by SIGKILL if it returns true. */
static void
in_a_child_that_is_killed(const struct place *p, bool (*use)(struct lmdb *db))
{
	struct lmdb_options options = p->options;
	char why[512] = "";
	struct lmdb *db;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		options.access = LMDB_BESIDE;
		if (lmdb_open(&options, &db, why, sizeof(why)) != 0 || !use(db))
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool
take_every_slot(struct lmdb *db)
{
	struct lmdb_txn *txn;
	int fault;

	do {
		if ((txn = lmdb_txn_new(db)) == NULL)
			return false;
	} while ((fault = lmdb_read(txn)) == 0);
	return fault == -FAULT_READERS;
}

/* When every slot is a dead reader's, the next reader frees them, and does not wait for the check of the minute. */
static void
the_dead_keep_nobody_out(void **state)
{
	struct place *p = *state;

	in_a_child_that_is_killed(p, take_every_slot);
	expect_now(p, A, "none", NULL);
	assert_false(lmdb_readers_full(p->db));
}

/* A reader's slot whose process was killed is freed at the next open, and by the check. */
static void
slots_of_the_dead(void **state)
{
	struct place *p = *state;

	close_it(p);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			struct lmdb *db;
			struct lmdb_txn *r;
			char why[512];

			if (lmdb_open(&p->options, &db, why, sizeof(why)) != 0 || (r = lmdb_txn_new(db)) == NULL ||
			    lmdb_read(r) != 0)
				_exit(1);
			raise(SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	open_it(p);
	lmdb_reader_check(p->db);
	expect_now(p, A, "none", NULL);
}

/* ---- copying ---- */

struct copying {
	struct lmdb *db;
	int fd, fault;
	_Atomic bool stop;
};

static void *
copy_it(void *arg)
{
	struct copying *c = arg;

	c->fault = lmdb_copy(c->db, c->fd, &c->stop);
	return NULL;
}

/* A pipe that is full, as the destination: nothing can be written to it until it is read. Returns how much is in it. */
static size_t
full_pipe(int ends[2])
{
	char bytes[4096] = { 0 };
	size_t len = 0;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	while (write(ends[1], bytes, sizeof(bytes)) > 0)
		len += sizeof(bytes);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
	return len;
}

/* Empty the pipe until the thread has ended. Returns how much there was. */
static size_t
drain(int fd, pthread_t thread)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char bytes[4096];
	size_t got = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0 || pthread_tryjoin_np(thread, NULL) != 0) {
		got += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			(void)poll(&p, 1, 10);
	}
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		got += (size_t)n;
	return got;
}

/* Changes go on while the destination of a copy hangs. Then the copy is whole, or given up if that is asked for. */
static void
a_copy_whose_destination_hangs(void **state)
{
	struct place *p = *state;
	size_t before, got;
	pthread_t thread;
	struct stat st;
	int ends[2];

	put_now(p, A, "k", "before");
	assert_int_equal(stat(p->file, &st), 0);
	for (int stop = 0; stop <= 1; stop++) {
		struct copying c = { .db = p->db };

		before = full_pipe(ends);
		c.fd = ends[1];
		assert_int_equal(pthread_create(&thread, NULL, copy_it, &c), 0);
		/* If the copy held the writer's lock, this would not return. */
		for (int i = 0; i < 100; i++)
			put_now(p, A, "k", "meanwhile");
		atomic_store(&c.stop, stop == 1);
		got = drain(ends[0], thread);
		assert_int_equal(c.fault, stop == 1 ? -FAULT_CANCELLED : 0);
		assert_true(stop == 1 || got >= before + (size_t)st.st_size);
		close(ends[0]);
		close(ends[1]);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_kept),
		TEST(a_read_is_of_one_moment),
		TEST(an_abort_changes_nothing),
		TEST(a_read_that_ended_pins_nothing),
		TEST(has_room_for_so_many_readers),
		TEST(the_lock_file_has_no_holes),
		TEST(a_fault_sticks),
		TEST(a_full_map_is_not_the_end),
		TEST(a_full_disk_is_not_the_end),
		TEST(a_failed_sync_is_the_end),
		TEST(a_failed_write_is_the_end),
		TEST(nothing_is_committed_after_a_trap),
		TEST(a_trap_beside_a_backup),
		TEST(a_long_list_of_free_pages),
		TEST(without_its_name_it_has_failed),
		TEST(a_commit_is_synced),
		TEST(walks_in_order),
		TEST(says_what_it_uses),
		TEST(reserves_room),
		TEST(says_when_there_is_none),
		TEST(no_database),
		TEST(in_use),
		TEST(a_file_cut_short),
		TEST(a_whole_file_that_ends_early),
		TEST(an_end_before_the_file_is_whole),
		TEST(not_a_database),
		TEST(pages_of_a_wrong_size),
		TEST(another_library),
		TEST(without_one_of_its_tables),
		TEST(without_address_space),
		TEST(the_dead_keep_nobody_out),
		TEST(slots_of_the_dead),
		TEST(a_copy_whose_destination_hangs),
	};

	return cmocka_run_group_tests_name("lmdb", tests, fixture_begin, NULL);
}
