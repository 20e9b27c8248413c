/*
 * shim.h - make the nth system call, allocation or LMDB call fail. fobd's, LMDB's and protobuf-c's calls to the
 * system and the heap, and fobd's calls to LMDB, are counted here. The nth fails, is done in part, or ends the
 * process.
 *
 * In a test program that links it, `shim` is set by the test. When it is preloaded into fobd, the environment
 * variable FOB_SHIM names a file of 64 bytes, and `shim` is that file, mapped: a test can change and read it while
 * the daemon runs.
 *
 * Only these are counted: calls on files of a database's folder and on peppers; allocations by fobd, the test
 * program, liblmdb, libprotobuf-c and libsodium. libc's own allocations and nng's are not: fobd cannot handle their
 * failure.
 */
#ifndef SHIM_H
#define SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum shim_kind {
	SHIM_WRITE = 1,    /* pwrite, writev */
	SHIM_SYNC = 2,     /* fdatasync, fsync */
	SHIM_TRUNCATE = 4, /* ftruncate */
	SHIM_ALLOCATE = 8, /* fallocate, posix_fallocate */
	SHIM_OPEN = 16,    /* open */
	SHIM_MAP = 32,     /* mmap of a file */
	SHIM_READ = 64,    /* pread, read */
	SHIM_MEMORY = 128, /* malloc, calloc and the like, and anonymous mmap */
	SHIM_LMDB = 256,   /* mdb_* */
	SHIM_PUT = 512     /* of them mdb_put */
};
#define SHIM_SYSTEM (SHIM_WRITE | SHIM_SYNC | SHIM_TRUNCATE | SHIM_ALLOCATE | SHIM_OPEN | SHIM_MAP | SHIM_READ)

enum shim_action {
	SHIM_FAIL = 1,  /* the call does nothing and fails with shim->error */
	SHIM_SHORT,     /* a write or read does half of its bytes; any other call fails as above */
	SHIM_KILL,      /* SIGKILL before the call */
	SHIM_KILL_TORN, /* SIGKILL in the middle of a write, or after any other call */
	SHIM_HANG,      /* wait until the shim is disarmed, then make the call */
	SHIM_TRAP       /* SHIM_LMDB, SHIM_PUT: the call reads memory that nobody may read */
};

/* All of 64 bits, in this order: tests/crash/shimmed.py packs them. */
struct shim {
	_Atomic uint64_t kinds; /* the kinds that are counted; 0: none */
	_Atomic uint64_t nth;   /* the calls from ${nth}, counted from 1, */
	_Atomic uint64_t last;  /* to ${last} fail; 0 and 0: no call fails */
	_Atomic uint64_t action;
	_Atomic uint64_t error; /* an errno, for SHIM_LMDB also a code of LMDB, as a signed number */
	_Atomic uint64_t count; /* how many calls were counted */
	_Atomic uint64_t fired; /* how many of them failed */
	_Atomic uint64_t what;  /* the kind of the last one that failed */
};

extern struct shim *shim;

/* Called after each successful call that changes a data.mdb, in a program that links this. ${durable}: O_DSYNC. */
typedef void (*shim_watch_cb)(enum shim_kind kind, bool durable, off_t at, const void *data, size_t len);
extern shim_watch_cb shim_watch;

/* Set in tests that simulate no power cut: syncs are counted but not done, which is faster. */
extern bool shim_sync_not;

/* Count ${kinds} from now on, and let the calls ${nth} to ${last} fail by ${action}. */
void shim_arm(uint64_t kinds, uint64_t nth, uint64_t last, enum shim_action action, int error);
/* From now on no call fails. Returns how many failed. */
uint64_t shim_disarm(void);

#endif
