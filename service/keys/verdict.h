/*
 * verdict.h - whether a key that was found may do what it is asked to do. Pure: a record, a time and the settings go in,
 * a verdict comes out.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include "service/base/config.h"
#include "service/store/record.h"

/*
 * verdict_of(config, key, operation, operation_len, now_ms):
 * Without an operation (${operation_len} is 0) the key is only authenticated. A key in grace is VALID strictly before
 * its deadline and EXPIRED from the deadline on, by this comparison: the sweeper's delay does not matter.
 * Returns: VALID, EXPIRED, REVOKED, SUSPENDED or FORBIDDEN.
 */
enum verdict verdict_of(const struct config *config, const struct record_key *key, const void *operation,
    size_t operation_len, int64_t now_ms);

#endif
