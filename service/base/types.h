/*
 * types.h - the words that the service's files share. Numbers that reach the wire or the disk are fixed.
 */
#ifndef TYPES_H
#define TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/limits.h"

/* An index, and the wire's number minus one. */
enum environment { ENVIRONMENT_LIVE = 0, ENVIRONMENT_TEST = 1 };
#define ENVIRONMENTS 2

/* As on the wire and on disk. */
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

/*
 * Faults: why the service could not answer, negated wherever a function returns one. The numbers are gRPC's
 * (fob.rpc.v1.Code); storage faults are above them and become UNAVAILABLE on the wire.
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
	FAULT_CORRUPT = 100, /* a record whose tag or form is wrong */
	FAULT_IO = 101,      /* LMDB or the system failed; the environment has stopped */
	FAULT_FULL = 102,    /* the map, the ceiling or the disk is full */
	FAULT_DISK = 103     /* the system cannot read or write what is to be opened; no setting would help */
};

#endif
