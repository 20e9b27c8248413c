/*
 * verdict.c - the rules by which a key that was found is accepted or denied (see verdict.h). Reads no clock and no
 * database.
 */
#include "service/keys/verdict.h"

#include <string.h>

static bool
is_listed(char *const *names, size_t n, const void *operation, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && memcmp(names[i], operation, len) == 0)
			return true;
	return false;
}

/*
 * A secret key may do any operation, but not authorise a roll while it is in grace. A publishable key may do the listed
 * operations only, so an unknown operation is forbidden.
 */
static bool
is_allowed(const struct config *config, const struct record_key *key, const void *operation, size_t len)
{
	if (len == 0)
		return true;
	if (key->kind == KIND_PUBLISHABLE)
		return is_listed(config->publishable_operations, config->n_publishable_operations, operation, len);
	return key->state != KEY_GRACE ||
	    !is_listed(config->roll_operations, config->n_roll_operations, operation, len);
}

enum verdict
verdict_of(const struct config *config, const struct record_key *key, const void *operation, size_t len, int64_t now_ms)
{
	switch (key->state) {
	case KEY_CURRENT:
		break;
	case KEY_GRACE:
		if (now_ms >= key->expires_ms)
			return VERDICT_EXPIRED;
		break;
	case KEY_EXPIRED:
		return VERDICT_EXPIRED;
	default:
		return VERDICT_REVOKED;
	}
	if (key->suspended)
		return VERDICT_SUSPENDED;
	return is_allowed(config, key, operation, len) ? VERDICT_VALID : VERDICT_FORBIDDEN;
}
