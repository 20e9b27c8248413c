/*
 * names.c - the names of the numbers in the .proto files (see names.h).
 */
#include "proto/c/names.h"

#include <stddef.h>

#define NAME_UNKNOWN "UNKNOWN"
#define NAME_AT(names, number) \
	((number) < sizeof(names) / sizeof((names)[0]) && (names)[number] != NULL ? (names)[number] : NAME_UNKNOWN)

const char *
name_verdict(unsigned verdict)
{
	static const char *const names[] = { "DENIED", "VALID", "MALFORMED", "NOT_FOUND", "EXPIRED", "REVOKED",
		"SUSPENDED", "WRONG_ENVIRONMENT", "FORBIDDEN" };

	return NAME_AT(names, verdict);
}

const char *
name_environment(unsigned environment)
{
	static const char *const names[] = { "any", "live", "test" };

	return NAME_AT(names, environment);
}

const char *
name_kind(unsigned kind)
{
	static const char *const names[] = { "any", "secret", "publishable" };

	return NAME_AT(names, kind);
}

const char *
name_key_state(unsigned state)
{
	static const char *const names[] = { NULL, "current", "grace", "expired", "revoked" };

	return NAME_AT(names, state);
}

const char *
name_event_type(unsigned type)
{
	static const char *const names[] = { NULL, "account_created", "key_rolled", "key_expired", "key_revoked",
		"account_suspended", "account_resumed", "account_imported", "restored" };

	return NAME_AT(names, type);
}

const char *
name_import_outcome(unsigned outcome)
{
	static const char *const names[] = { NULL, "imported", "unchanged", "account_conflict", "key_conflict",
		"bad_account", "bad_key", "bad_time" };

	return NAME_AT(names, outcome);
}

const char *
name_health(unsigned status)
{
	static const char *const names[] = { NULL, "SERVING", "NOT_SERVING" };

	return NAME_AT(names, status);
}

const char *
name_operation_class(unsigned class)
{
	static const char *const names[] = { "other", "verify", "verify_batch", "change", "list", "backup", "health",
		"cluster" };

	return NAME_AT(names, class);
}

const char *
name_code(unsigned code)
{
	static const char *const names[] = { "OK", "CANCELLED", NAME_UNKNOWN, "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" };

	return NAME_AT(names, code);
}
