/*
 * names.c - the helpers that need no client: names, what a verdict means to HTTP and which one lets a request through,
 * the Basic header, wiping.
 */
#include "client/fob.h"

#include <sodium.h>

#include "proto/c/basic.h"
#include "proto/c/names.h"

const char *
fob_verdict_name(enum fob_verdict verdict)
{
	return name_verdict((unsigned)verdict);
}

const char *
fob_environment_name(enum fob_environment environment)
{
	return name_environment((unsigned)environment);
}

const char *
fob_kind_name(enum fob_kind kind)
{
	return name_kind((unsigned)kind);
}

const char *
fob_key_state_name(enum fob_key_state state)
{
	return name_key_state((unsigned)state);
}

const char *
fob_event_type_name(enum fob_event_type type)
{
	return name_event_type((unsigned)type);
}

const char *
fob_import_outcome_name(enum fob_import_outcome outcome)
{
	return name_import_outcome((unsigned)outcome);
}

const char *
fob_health_status_name(enum fob_health_status status)
{
	return name_health((unsigned)status);
}

const char *
fob_operation_class_name(enum fob_operation_class class)
{
	return name_operation_class((unsigned)class);
}

const char *
fob_fault_name(int fault)
{
	return name_code(0U - (unsigned)fault);
}

bool
fob_allows(const struct fob_verification *v)
{
	return v != NULL && v->verdict == FOB_VERDICT_VALID;
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
	case FOB_VERDICT_VALID:
		return 200;
	case FOB_VERDICT_SUSPENDED:
	case FOB_VERDICT_FORBIDDEN:
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

int
fob_version_number(void)
{
	return FOB_VERSION_NUMBER;
}

_Static_assert(FOB_BASIC_MAX == BASIC_MAX, "the public header has the size of the parser");

int
fob_basic_parse(const char *header, size_t len, char secret[FOB_BASIC_MAX], size_t *secret_len, const char **why)
{
	return basic_parse(header, len, secret, secret_len, why) == 0 ? 0 : FOB_EINVALID_ARGUMENT;
}
