/*
 * names.c - names for the numbers of types.h (see names.h).
 */
#include "service/base/names.h"

#include "proto/c/names.h"

const char *
environment_name(enum environment environment)
{
	return name_environment((unsigned)environment + 1);
}

const char *
kind_name(enum kind kind)
{
	return (unsigned)kind == 0 ? "UNKNOWN" : name_kind((unsigned)kind);
}

const char *
verdict_name(enum verdict verdict)
{
	return name_verdict((unsigned)verdict);
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
