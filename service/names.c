/*
 * names.c - the stable names of what types.h numbers, for logs, events and messages to people; and what the names of
 * operations, which others choose, are made of.
 * Called from everywhere in the service; calls nothing. Never NULL, whatever number it is given: a number that a later
 * version wrote is "UNKNOWN", not a crash.
 */
#include "service/types.h"

const char *
environment_name(enum environment environment)
{
	switch (environment) {
	case ENVIRONMENT_LIVE:
		return "live";
	case ENVIRONMENT_TEST:
		return "test";
	}
	return "UNKNOWN";
}

const char *
kind_name(enum kind kind)
{
	switch (kind) {
	case KIND_SECRET:
		return "secret";
	case KIND_PUBLISHABLE:
		return "publishable";
	}
	return "UNKNOWN";
}

const char *
verdict_name(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_UNSPECIFIED:
		return "UNSPECIFIED";
	case VERDICT_VALID:
		return "VALID";
	case VERDICT_MALFORMED:
		return "MALFORMED";
	case VERDICT_NOT_FOUND:
		return "NOT_FOUND";
	case VERDICT_EXPIRED:
		return "EXPIRED";
	case VERDICT_REVOKED:
		return "REVOKED";
	case VERDICT_SUSPENDED:
		return "SUSPENDED";
	case VERDICT_WRONG_ENVIRONMENT:
		return "WRONG_ENVIRONMENT";
	case VERDICT_FORBIDDEN:
		return "FORBIDDEN";
	}
	return "UNKNOWN";
}

bool
operation_name_ok(const void *name, size_t len)
{
	const char *p = name;

	if (len < 1 || len > LIMIT_OPERATION)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!((p[i] >= 'A' && p[i] <= 'Z') || (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') ||
			p[i] == '.' || p[i] == '_' || p[i] == ':' || p[i] == '/' || p[i] == '-'))
			return false;
	}
	return true;
}
