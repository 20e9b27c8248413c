/*
 * names.h - the names of what types.h numbers, for logs, events and messages to people; and which names an operation
 * may have.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include "service/base/types.h"

/* Never NULL: a number that this version does not know is "UNKNOWN". */
const char *environment_name(enum environment environment); /* "live", "test" */
const char *kind_name(enum kind kind);                      /* "secret", "publishable" */
const char *verdict_name(enum verdict verdict);             /* "VALID", ... */

/* Whether an operation can be called that: 1 to LIMIT_OPERATION of A-Z a-z 0-9 . _ : / - */
bool operation_name_ok(const void *name, size_t len);

#endif
