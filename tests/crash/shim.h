/*
 * shim.h - a failing system on demand: what fobd, LMDB and protobuf-c ask of the system and of the heap, and what fobd
 * asks of LMDB, goes through here, is counted, and the nth of it fails, is cut short or is the end of the process.
 *
 * Linked into a test program it is steered by `shim`. Preloaded into fobd (FOB_SHIM names a file of 64 bytes) the same
 * struct is that file, mapped, so that a test may steer a running daemon and read how far it is.
 *
 * What is failed: of files, those of a database's folder and peppers; of allocations, those whose caller is fobd or the
 * test program, liblmdb, libprotobuf-c or libsodium. libc's own, and those of nng's threads, are left alone: what
 * becomes of them is not ours to say.
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
	SHIM_MEMORY = 128, /* malloc and its kin, and mmap of nothing */
	SHIM_LMDB = 256    /* mdb_* */
};
#define SHIM_SYSTEM (SHIM_WRITE | SHIM_SYNC | SHIM_TRUNCATE | SHIM_ALLOCATE | SHIM_OPEN | SHIM_MAP | SHIM_READ)

enum shim_action {
	SHIM_FAIL = 1, /* with shim->error; nothing is done */
	SHIM_SHORT,    /* half of a write or read; anything else fails as above */
	SHIM_KILL,     /* SIGKILL in place of it */
	SHIM_KILL_TORN, /* SIGKILL in the middle of a write, and behind anything else */
	SHIM_HANG       /* wait until the shim is disarmed, then do it */
};

/* All of 64 bits, in this order: tests/crash/shimmed.py packs them. */
struct shim {
	_Atomic uint64_t kinds; /* what is counted; 0: nothing, and nothing happens */
	_Atomic uint64_t nth;   /* from this one, counted from 1, */
	_Atomic uint64_t last;  /* to this one; 0 and 0: none */
	_Atomic uint64_t action;
	_Atomic uint64_t error; /* an errno, or for SHIM_LMDB also one of LMDB's codes, as a signed number */
	_Atomic uint64_t count; /* how many there were */
	_Atomic uint64_t fired; /* how many of them were made to fail */
	_Atomic uint64_t what;  /* the kind of the last that was */
};

extern struct shim *shim;

/* What was done to a data.mdb, in a program that links this: behind each call that went well. ${durable}: O_DSYNC. */
typedef void (*shim_watch_cb)(enum shim_kind kind, bool durable, off_t at, const void *data, size_t len);
extern shim_watch_cb shim_watch;

/* Set in tests that lose no power: nothing is really synced. */
extern bool shim_sync_not;

/* Count ${kinds} from now on, with the ${nth} to ${last} failing so. */
void shim_arm(uint64_t kinds, uint64_t nth, uint64_t last, enum shim_action action, int error);
/* From now on all is well. Returns how many were made to fail. */
uint64_t shim_disarm(void);

#endif
