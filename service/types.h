/*
 * types.h - the words that the service's files share. Numbers that reach the wire or the disk are fixed.
 */
#ifndef TYPES_H
#define TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "service/limits.h"

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
	FOB_ECANCELLED = 1,
	FOB_EINVAL = 3,
	FOB_EDEADLINE = 4,
	FOB_ENOENT = 5,
	FOB_EEXIST = 6,
	FOB_EPERM = 7,
	FOB_ELIMIT = 8,
	FOB_EPRECONDITION = 9,
	FOB_EABORTED = 10,
	FOB_EUNIMPLEMENTED = 12,
	FOB_EINTERNAL = 13,
	FOB_EUNAVAILABLE = 14,
	FOB_ECORRUPT = 100, /* a record whose tag or form is wrong */
	FOB_EIO = 101,      /* LMDB or the system failed; the environment has stopped */
	FOB_EFULL = 102     /* the map, the ceiling or the disk is full */
};

const char *environment_name(enum environment environment); /* "live", "test" */
const char *kind_name(enum kind kind);                      /* "secret", "publishable" */
const char *verdict_name(enum verdict verdict);             /* "VALID", ... */

#endif
