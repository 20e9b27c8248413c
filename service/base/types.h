/*
 * types.h - the types that all of the service shares. Numbers that are on the wire or the disk never change.
 */
#ifndef TYPES_H
#define TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/limits.h"

/* Used as an index. On the wire the numbers are one higher. */
enum environment { ENVIRONMENT_LIVE = 0, ENVIRONMENT_TEST = 1 };
#define ENVIRONMENTS 2

/* As on the wire and on the disk. */
enum kind { KIND_SECRET = 1, KIND_PUBLISHABLE = 2 };

/* As on the wire (fob.v1.Verdict). The zero denies. */
enum verdict {
	VERDICT_UNSPECIFIED = 0,
	VERDICT_VALID = 1,
	VERDICT_MALFORMED = 2,
	VERDICT_NOT_FOUND = 3,
	VERDICT_EXPIRED = 4,
	VERDICT_REVOKED = 5,
	VERDICT_SUSPENDED = 6,
	VERDICT_WRONG_ENVIRONMENT = 7,
	VERDICT_FORBIDDEN = 8
};
#define VERDICTS 9

/* Who made a connection, and so who asked for a change. */
struct peer {
	bool known; /* a unix socket's, as the kernel says: ${uid} and ${pid} */
	uint32_t uid;
	uint32_t pid;         /* 0: in a PID namespace that is not ours */
	char address[64];     /* "192.0.2.7:50312"; empty for a unix socket */
	char certificate[65]; /* the common name of a TLS client's certificate, printable; empty without TLS */
};

/*
 * Faults: why the service could not answer. A function returns a fault negated. The numbers are gRPC's
 * (fob.rpc.v1.Code), and above them storage faults, which become UNAVAILABLE on the wire.
 */
enum fault {
	FAULT_CANCELLED = 1,
	FAULT_INVALID_ARGUMENT = 3,
	FAULT_DEADLINE_EXCEEDED = 4,
	FAULT_NOT_FOUND = 5,
	FAULT_ALREADY_EXISTS = 6,
	FAULT_PERMISSION_DENIED = 7,
	FAULT_RESOURCE_EXHAUSTED = 8,
	FAULT_FAILED_PRECONDITION = 9,
	FAULT_ABORTED = 10,
	FAULT_UNIMPLEMENTED = 12,
	FAULT_INTERNAL = 13,
	FAULT_UNAVAILABLE = 14,
	FAULT_CORRUPT = 100, /* a page is damaged, or a record's tag or format is wrong */
	FAULT_IO = 101,      /* LMDB or the system failed; the environment has stopped */
	FAULT_FULL = 102,    /* the map, the ceiling or the disk is full */
	FAULT_DISK = 103,    /* at open only: the storage fails, is read-only or is gone: see folder_fault() */
	FAULT_READERS = 104, /* every slot of LMDB's table of readers is taken */
	FAULT_STALE = 105,   /* this node has lost touch with its cluster */
	FAULT_BEHIND = 106   /* the client has seen an entry of its cluster that this node has not applied yet */
};

#endif
