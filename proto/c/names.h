/*
 * names.h - the stable names of the wire's numbers (proto/fob/), for logs, events and people. A number that this
 * version does not know is "UNKNOWN".
 */
#ifndef NAMES_H
#define NAMES_H

const char *name_verdict(unsigned verdict);         /* "VALID"; 0 is "DENIED" */
const char *name_environment(unsigned environment); /* "live", "test"; 0 is "any" */
const char *name_kind(unsigned kind);               /* "secret", "publishable"; 0 is "any" */
const char *name_key_state(unsigned state);         /* "current", "grace", "expired", "revoked" */
const char *name_event_type(unsigned type);         /* "key_rolled" */
const char *name_import_outcome(unsigned outcome);  /* "imported" */
const char *name_health(unsigned status);           /* "SERVING", "NOT_SERVING" */
const char *name_operation_class(unsigned class);   /* "verify_batch"; 0 is "other" */
const char *name_code(unsigned code);               /* "UNAVAILABLE": gRPC's names */

#endif
