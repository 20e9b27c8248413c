/*
 * names.c - the stable names of libfob's numbers, what a verdict means to HTTP, and which one lets a request through.
 *
 * Called by libfob's users and by the command line, by codec.c, and by the daemon, which is linked with this file, to
 * read events that the command line printed. Calls libsodium to wipe. Never returns NULL for a name, and takes every
 * number that it does not know for a denial.
 */
#include <sodium.h>

#include "client/fob.h"

#define NAME_UNKNOWN "UNKNOWN"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Through an unsigned number, so that a negative one is beyond the end too. */
static const char *
name_at(const char *const *names, size_t n, unsigned number)
{
	return number < n && names[number] != NULL ? names[number] : NAME_UNKNOWN;
}

const char *
fob_verdict_name(enum fob_verdict verdict)
{
	static const char *const names[] = { [FOB_DENIED] = "DENIED",
		[FOB_VALID] = "VALID",
		[FOB_MALFORMED] = "MALFORMED",
		[FOB_NOT_FOUND] = "NOT_FOUND",
		[FOB_EXPIRED] = "EXPIRED",
		[FOB_REVOKED] = "REVOKED",
		[FOB_SUSPENDED] = "SUSPENDED",
		[FOB_WRONG_ENVIRONMENT] = "WRONG_ENVIRONMENT",
		[FOB_FORBIDDEN] = "FORBIDDEN" };

	return name_at(names, COUNT(names), (unsigned)verdict);
}

const char *
fob_environment_name(enum fob_environment environment)
{
	static const char *const names[] = { [FOB_ENVIRONMENT_ANY] = "any", [FOB_LIVE] = "live", [FOB_TEST] = "test" };

	return name_at(names, COUNT(names), (unsigned)environment);
}

const char *
fob_kind_name(enum fob_kind kind)
{
	static const char *const names[] = {
		[FOB_KIND_ANY] = "any", [FOB_SECRET] = "secret", [FOB_PUBLISHABLE] = "publishable"
	};

	return name_at(names, COUNT(names), (unsigned)kind);
}

const char *
fob_key_state_name(enum fob_key_state state)
{
	static const char *const names[] = { [FOB_KEY_CURRENT] = "current",
		[FOB_KEY_GRACE] = "grace",
		[FOB_KEY_EXPIRED] = "expired",
		[FOB_KEY_REVOKED] = "revoked" };

	return name_at(names, COUNT(names), (unsigned)state);
}

const char *
fob_event_type_name(enum fob_event_type type)
{
	static const char *const names[] = { [FOB_ACCOUNT_CREATED] = "account_created",
		[FOB_KEY_ROLLED] = "key_rolled",
		[FOB_EVENT_KEY_EXPIRED] = "key_expired",
		[FOB_EVENT_KEY_REVOKED] = "key_revoked",
		[FOB_ACCOUNT_SUSPENDED] = "account_suspended",
		[FOB_ACCOUNT_RESUMED] = "account_resumed",
		[FOB_ACCOUNT_IMPORTED] = "account_imported",
		[FOB_RESTORED] = "restored" };

	return name_at(names, COUNT(names), (unsigned)type);
}

const char *
fob_import_outcome_name(enum fob_import_outcome outcome)
{
	static const char *const names[] = { [FOB_IMPORTED] = "imported",
		[FOB_IMPORT_UNCHANGED] = "unchanged",
		[FOB_IMPORT_ACCOUNT_CONFLICT] = "account_conflict",
		[FOB_IMPORT_KEY_CONFLICT] = "key_conflict",
		[FOB_IMPORT_BAD_ACCOUNT] = "bad_account",
		[FOB_IMPORT_BAD_KEY] = "bad_key",
		[FOB_IMPORT_BAD_TIME] = "bad_time" };

	return name_at(names, COUNT(names), (unsigned)outcome);
}

const char *
fob_fault_name(int fault)
{
	static const char *const names[] = { "OK", "CANCELLED", NAME_UNKNOWN, "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" };

	return name_at(names, COUNT(names), 0U - (unsigned)fault);
}

bool
fob_allows(const struct fob_verification *v)
{
	return v != NULL && v->verdict == FOB_VALID;
}

static int
http_status_of_fault(int fault)
{
	switch (fault) {
	case FOB_EINVALID_ARGUMENT:
	case FOB_ENOT_FOUND: /* of a verify: no such method */
	case FOB_EALREADY_EXISTS:
	case FOB_EPERMISSION_DENIED:
	case FOB_EFAILED_PRECONDITION:
	case FOB_EOUT_OF_RANGE:
	case FOB_EUNIMPLEMENTED:
	case FOB_EUNAUTHENTICATED:
		return 500;
	default:
		return 503;
	}
}

int
fob_http_status(int fault, enum fob_verdict verdict)
{
	if (fault != 0)
		return http_status_of_fault(fault);
	switch (verdict) {
	case FOB_VALID:
		return 200;
	case FOB_SUSPENDED:
	case FOB_FORBIDDEN:
		return 403;
	default:
		return 401;
	}
}

void
fob_wipe(void *p, size_t len)
{
	if (p != NULL && len > 0)
		sodium_memzero(p, len);
}

const char *
fob_version(void)
{
	return FOB_VERSION;
}
