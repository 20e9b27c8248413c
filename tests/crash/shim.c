/*
 * shim.c - count calls to the system, the heap and LMDB, and make them fail (see shim.h). Linked into the programs
 * of tests/crash, and preloaded into fobd by its scripts. Never fails a call of libc, nng or the tests.
 */
/* With _FORTIFY_SOURCE read and pread are inline functions, and could not be defined here. */
#undef _FORTIFY_SOURCE

#include "tests/crash/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <lmdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default"), used))
#define FDS 65536

/* The real function of this name. */
#define NEXT(name) \
	static __typeof__(&(name)) next; \
	if (next == NULL) \
	*(void **)&next = find(#name)

static struct shim own;
struct shim *shim = &own;
shim_watch_cb shim_watch;
bool shim_sync_not;

/* ---- who makes the call ---- */

enum { FD_OURS = 1, FD_DATA = 2, FD_DURABLE = 4 };
static _Atomic uint8_t fds[FDS];

static struct {
	uintptr_t from, to;
} code[16];
static unsigned n_code;
static bool ready;

static bool
is_code_of_fob(const char *name)
{
	return name[0] == '\0' || strstr(name, "/liblmdb") != NULL || strstr(name, "/libprotobuf-c") != NULL ||
	    strstr(name, "/libsodium") != NULL;
}

static int
note_code(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (!is_code_of_fob(info->dlpi_name))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum && n_code < sizeof(code) / sizeof(code[0]); i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
			code[n_code].from = info->dlpi_addr + p->p_vaddr;
			code[n_code++].to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
		}
	}
	return 0;
}

static bool
from_fob(const void *caller)
{
	for (unsigned i = 0; i < n_code; i++)
		if ((uintptr_t)caller >= code[i].from && (uintptr_t)caller < code[i].to)
			return true;
	return false;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("FOB_SHIM");
	void *map;
	int fd;

	dl_iterate_phdr(note_code, NULL);
	ready = true;
	if (path == NULL)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	syscall(SYS_close, fd);
	shim = map;
}

static void *
find(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (f == NULL)
		abort();
	return f;
}

static uint8_t
fd_is(int fd)
{
	return fd >= 0 && fd < FDS ? fds[fd] : 0;
}

/* ---- count and decide ---- */

void
shim_arm(uint64_t kinds, uint64_t nth, uint64_t last, enum shim_action action, int error)
{
	shim->kinds = 0;
	shim->nth = nth;
	shim->last = last;
	shim->action = action;
	shim->error = (uint64_t)(int64_t)error;
	shim->count = shim->fired = 0;
	shim->kinds = kinds;
}

uint64_t
shim_disarm(void)
{
	shim->kinds = 0;
	return shim->fired;
}

static void
die(void)
{
	/* Not kill(2): fobd's seccomp filter allows tgkill() to the process itself only. */
	syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGKILL);
	syscall(SYS_exit_group, 137); /* if another filter forbids tgkill */
}

/* Count this call, if one of ${kind} is counted. Returns 0, or the action that it fails by. */
static enum shim_action
judge(unsigned kind)
{
	uint64_t n;

	if ((shim->kinds & kind) == 0)
		return 0;
	n = ++shim->count;
	if (n < shim->nth || n > shim->last || shim->nth == 0)
		return 0;
	shim->fired++;
	shim->what = kind;
	if (shim->action == SHIM_KILL)
		die();
	if (shim->action == SHIM_HANG) {
		while ((shim->kinds & kind) != 0)
			usleep(1000);
		return 0;
	}
	return (enum shim_action)shim->action;
}

/* Must this call fail? errno is set then. */
static bool
fails(enum shim_kind kind, bool ours)
{
	enum shim_action action = ours ? judge(kind) : 0;

	if (action != SHIM_FAIL && action != SHIM_SHORT)
		return false;
	errno = (int)shim->error;
	return true;
}

/* After a call: SHIM_KILL_TORN for a call that cannot be done in part. */
static void
behind(bool ours, enum shim_kind kind)
{
	if (ours && (shim->kinds & kind) != 0 && shim->action == SHIM_KILL_TORN && shim->fired > 0)
		die();
}

static void
tell(int fd, enum shim_kind kind, off_t at, const void *data, size_t len)
{
	if (shim_watch != NULL && (fd_is(fd) & FD_DATA) != 0)
		shim_watch(kind, (fd_is(fd) & FD_DURABLE) != 0, at, data, len);
}

/* ---- files ---- */

static bool
ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), n = strlen(end);

	return len >= n && strcmp(path + len - n, end) == 0;
}

INTERPOSED int
open(const char *path, int flags, ...)
{
	bool data = ends_with(path, "/data.mdb");
	bool ours = data || ends_with(path, "/lock.mdb") || ends_with(path, "/lastused") || ends_with(path, ".lock") ||
	    ends_with(path, "pepper") || (flags & O_DIRECTORY) != 0;
	mode_t mode = 0;
	va_list args;
	int fd;

	NEXT(open);
	if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	ours = ours && from_fob(__builtin_return_address(0));
	if (fails(SHIM_OPEN, ours))
		return -1;
	fd = next(path, shim_sync_not ? flags & ~O_DSYNC : flags, mode);
	behind(ours, SHIM_OPEN);
	if (fd >= 0 && fd < FDS)
		fds[fd] =
		    (uint8_t)((ours ? FD_OURS : 0) | (data ? FD_DATA : 0) | ((flags & O_DSYNC) != 0 ? FD_DURABLE : 0));
	return fd;
}

INTERPOSED int
close(int fd)
{
	NEXT(close);
	if (fd >= 0 && fd < FDS)
		fds[fd] = 0;
	return next(fd);
}

INTERPOSED ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	enum shim_action action = fd_is(fd) != 0 ? judge(SHIM_WRITE) : 0;
	ssize_t n;

	NEXT(pwrite);
	if (action == SHIM_FAIL) {
		errno = (int)shim->error;
		return -1;
	}
	n = next(fd, data, action != 0 ? len / 2 : len, at);
	if (action == SHIM_KILL_TORN)
		die();
	if (n > 0)
		tell(fd, SHIM_WRITE, at, data, (size_t)n);
	return n;
}

/* LMDB seeks, then writes several neighbouring pages with one call. */
INTERPOSED ssize_t
writev(int fd, const struct iovec *v, int n)
{
	enum shim_action action = fd_is(fd) != 0 ? judge(SHIM_WRITE) : 0;
	off_t at = fd_is(fd) != 0 ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t written;

	NEXT(writev);
	if (action == SHIM_FAIL) {
		errno = (int)shim->error;
		return -1;
	}
	written = next(fd, v, action != 0 ? (n + 1) / 2 : n);
	if (action == SHIM_KILL_TORN)
		die();
	for (int i = 0; fd_is(fd) != 0 && written > 0 && i < n; at += (off_t)v[i++].iov_len)
		tell(fd, SHIM_WRITE, at, v[i].iov_base, v[i].iov_len);
	return written;
}

INTERPOSED ssize_t
pread(int fd, void *data, size_t len, off_t at)
{
	enum shim_action action = fd_is(fd) != 0 ? judge(SHIM_READ) : 0;

	NEXT(pread);
	if (action == SHIM_FAIL) {
		errno = (int)shim->error;
		return -1;
	}
	return next(fd, data, action != 0 ? len / 2 : len, at);
}

INTERPOSED ssize_t
read(int fd, void *data, size_t len)
{
	enum shim_action action = fd_is(fd) != 0 ? judge(SHIM_READ) : 0;

	NEXT(read);
	if (action == SHIM_FAIL) {
		errno = (int)shim->error;
		return -1;
	}
	return next(fd, data, action != 0 ? len / 2 : len);
}

static int
sync_with(int (*next)(int), int fd)
{
	bool ours = fd_is(fd) != 0;
	int rc;

	if (fails(SHIM_SYNC, ours))
		return -1;
	rc = shim_sync_not ? 0 : next(fd);
	behind(ours, SHIM_SYNC);
	if (rc == 0)
		tell(fd, SHIM_SYNC, 0, NULL, 0);
	return rc;
}

INTERPOSED int
fdatasync(int fd)
{
	NEXT(fdatasync);
	return sync_with(next, fd);
}

INTERPOSED int
fsync(int fd)
{
	NEXT(fsync);
	return sync_with(next, fd);
}

INTERPOSED int
ftruncate(int fd, off_t len)
{
	bool ours = fd_is(fd) != 0;
	int rc;

	NEXT(ftruncate);
	if (fails(SHIM_TRUNCATE, ours))
		return -1;
	rc = next(fd, len);
	behind(ours, SHIM_TRUNCATE);
	if (rc == 0)
		tell(fd, SHIM_TRUNCATE, len, NULL, 0);
	return rc;
}

INTERPOSED int
fallocate(int fd, int mode, off_t from, off_t len)
{
	bool ours = fd_is(fd) != 0;
	int rc;

	NEXT(fallocate);
	if (fails(SHIM_ALLOCATE, ours))
		return -1;
	rc = next(fd, mode, from, len);
	behind(ours, SHIM_ALLOCATE);
	return rc;
}

INTERPOSED int
posix_fallocate(int fd, off_t from, off_t len)
{
	bool ours = fd_is(fd) != 0;
	int rc;

	NEXT(posix_fallocate);
	if (fails(SHIM_ALLOCATE, ours))
		return (int)shim->error;
	rc = next(fd, from, len);
	behind(ours, SHIM_ALLOCATE);
	return rc;
}

INTERPOSED void *
mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
	bool ours = (fd >= 0 ? fd_is(fd) != 0 : true) && from_fob(__builtin_return_address(0));

	if (fails(fd >= 0 ? SHIM_MAP : SHIM_MEMORY, ours))
		return MAP_FAILED;
	/* Not through dlsym(): the sanitizers map memory before dlsym() works. */
	return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

/* ---- the heap ---- */

/*
 * Before the constructor has run, dlsym() and the sanitizers may not be ready. Until then memory comes from this
 * array, and is never freed.
 */
static _Alignas(16) char early[1 << 20];
static size_t early_used;

static void *
early_alloc(size_t len)
{
	void *p = early + early_used;

	len = (len + 15) & ~(size_t)15;
	if (early_used + len > sizeof(early))
		return NULL;
	early_used += len;
	return p;
}

static bool
is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static bool
no_memory(const void *caller)
{
	if ((shim->kinds & SHIM_MEMORY) == 0 || !from_fob(caller) || judge(SHIM_MEMORY) == 0)
		return false;
	errno = ENOMEM;
	return true;
}

INTERPOSED void *
malloc(size_t len)
{
	if (!ready)
		return early_alloc(len);
	NEXT(malloc);
	return no_memory(__builtin_return_address(0)) ? NULL : next(len);
}

INTERPOSED void *
calloc(size_t n, size_t len)
{
	if (!ready)
		return early_alloc(n * len);
	NEXT(calloc);
	return no_memory(__builtin_return_address(0)) ? NULL : next(n, len);
}

/* The length of an early allocation is not known, but it ends within the array. */
static void *
leave_early(const void *p, size_t len)
{
	size_t most = (size_t)(early + sizeof(early) - (const char *)p);
	void *q = malloc(len);

	if (q != NULL)
		memcpy(q, p, len < most ? len : most);
	return q;
}

INTERPOSED void *
realloc(void *p, size_t len)
{
	if (is_early(p))
		return leave_early(p, len);
	if (!ready)
		return early_alloc(len);
	NEXT(realloc);
	return no_memory(__builtin_return_address(0)) ? NULL : next(p, len);
}

INTERPOSED int
posix_memalign(void **p, size_t align, size_t len)
{
	if (!ready)
		return ENOMEM;
	NEXT(posix_memalign);
	return no_memory(__builtin_return_address(0)) ? ENOMEM : next(p, align, len);
}

INTERPOSED char *
strdup(const char *s)
{
	NEXT(strdup);
	return no_memory(__builtin_return_address(0)) ? NULL : next(s);
}

INTERPOSED void
free(void *p)
{
	static void (*next)(void *);

	if (p == NULL || is_early(p))
		return;
	if (next == NULL)
		*(void **)&next = find("free");
	next(p);
}

/* ---- LMDB ---- */

/* Must this call fail? */
static bool
lmdb_fails(unsigned kinds, const void *caller)
{
	enum shim_action action = from_fob(caller) ? judge(kinds) : 0;
	const volatile char *page;

	if (action != SHIM_TRAP)
		return action != 0;
	page = (const volatile char *)syscall(SYS_mmap, NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)*page;
	return true;
}

#define LMDB_KINDS(kinds, name, parameters, arguments) \
	INTERPOSED int name parameters \
	{ \
		NEXT(name); \
		return lmdb_fails(kinds, __builtin_return_address(0)) ? (int)shim->error : next arguments; \
	}
#define LMDB(name, parameters, arguments) LMDB_KINDS(SHIM_LMDB, name, parameters, arguments)

LMDB(mdb_env_create, (MDB_env * *env), (env))
LMDB(mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size))
LMDB(mdb_env_set_maxdbs, (MDB_env * env, MDB_dbi dbs), (env, dbs))
LMDB(mdb_env_set_maxreaders, (MDB_env * env, unsigned readers), (env, readers))
LMDB(mdb_env_open, (MDB_env * env, const char *path, unsigned flags, mdb_mode_t mode), (env, path, flags, mode))
LMDB(mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn), (env, parent, flags, txn))
LMDB(mdb_txn_renew, (MDB_txn * txn), (txn))
LMDB(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi), (txn, name, flags, dbi))
LMDB(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
LMDB(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
LMDB_KINDS(SHIM_LMDB | SHIM_PUT, mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags),
    (txn, dbi, key, data, flags))
LMDB(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
LMDB(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **cursor), (txn, dbi, cursor))
LMDB(mdb_cursor_renew, (MDB_txn * txn, MDB_cursor *cursor), (txn, cursor))
LMDB(mdb_cursor_get, (MDB_cursor * cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op), (cursor, key, data, op))

/* A failed commit ends its transaction, too. */
INTERPOSED int
mdb_txn_commit(MDB_txn *txn)
{
	NEXT(mdb_txn_commit);
	if (from_fob(__builtin_return_address(0)) && judge(SHIM_LMDB) != 0) {
		mdb_txn_abort(txn);
		return (int)shim->error;
	}
	return next(txn);
}
