/*
 * admin_json.c - Admin calls as JSON, in (see admin_json.h); admin_json_out.c has the way out. What is not exactly
 * as it should be is refused: a member with a typo would be a change that nobody asked for.
 */
#include "client/http/admin_json.h"

#include <sodium.h>
#include <string.h>

#include "client/http/json.h"

/* ---- one member ---- */

static bool
read_number(const json_t *value, json_int_t min, json_int_t max, uint32_t *out)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < min || n > max)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
read_token(const json_t *value, struct admin_fields *out)
{
	const char *text = json_string_value(value);
	size_t n = 0;

	return text != NULL && strlen(text) == 2 * (size_t)FOB_TOKEN_LEN &&
	    sodium_hex2bin(out->token, sizeof(out->token), text, strlen(text), NULL, &n, NULL) == 0 &&
	    n == sizeof(out->token);
}

static bool
read_environment(const json_t *value, struct admin_fields *out)
{
	return json_to_environment(value, &out->environment) == 0;
}

static bool
read_account(const json_t *value, struct admin_fields *out)
{
	out->account = json_string_value(value);
	return out->account != NULL && http_account_ok(out->account);
}

static bool
read_kind(const json_t *value, struct admin_fields *out)
{
	const char *text = json_string_value(value);

	if (text == NULL || (strcmp(text, "secret") != 0 && strcmp(text, "publishable") != 0))
		return false;
	out->kind = strcmp(text, "secret") == 0 ? FOB_KIND_SECRET : FOB_KIND_PUBLISHABLE;
	return true;
}

/* Given as 0, it ends the old key at once; libfob's 0 is the default. */
static bool
read_grace(const json_t *value, struct admin_fields *out)
{
	uint32_t seconds;

	if (json_object_size(value) != 1 ||
	    !read_number(json_object_get(value, "seconds"), 0, FOB_GRACE_MAX_S, &seconds))
		return false;
	out->grace_s = seconds == 0 ? FOB_GRACE_NONE_S : seconds;
	return true;
}

static bool
read_expected_generation(const json_t *value, struct admin_fields *out)
{
	return read_number(value, 0, UINT32_MAX, &out->expected_generation);
}

static bool
read_authorizing_secret(const json_t *value, struct admin_fields *out)
{
	out->authorizing_secret = json_string_value(value);
	return out->authorizing_secret != NULL && out->authorizing_secret[0] != '\0';
}

static bool
read_generation(const json_t *value, struct admin_fields *out)
{
	return read_number(value, 1, UINT32_MAX, &out->generation);
}

static bool
read_page_size(const json_t *value, struct admin_fields *out)
{
	return read_number(value, 0, FOB_PAGE_MAX, &out->page_size);
}

/* "" is the first page, as next_page_token is "" after the last. */
static bool
read_page_token(const json_t *value, struct admin_fields *out)
{
	const char *text = json_string_value(value);
	size_t n = 0;

	if (text == NULL ||
	    sodium_base642bin(out->cursor.bytes, sizeof(out->cursor.bytes), text, strlen(text), NULL, &n, NULL,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return false;
	out->cursor.len = (uint8_t)n;
	return true;
}

/* ---- the object ---- */

static const struct member {
	const char *name;
	enum admin_member member;
	bool (*read)(const json_t *value, struct admin_fields *out);
	const char *why;
} members[] = {
	{ "request_token", ADMIN_REQUEST_TOKEN, read_token,
	    "request_token: give 64 hexadecimal digits, from 32 random bytes, new for this change, kept for a retry" },
	{ "environment", ADMIN_ENVIRONMENT, read_environment, "environment: give \"live\" or \"test\"" },
	{ "account", ADMIN_ACCOUNT, read_account, "account: give 1 to 64 characters of A-Z a-z 0-9 . _ -" },
	{ "kind", ADMIN_KIND, read_kind, "kind: give \"secret\" or \"publishable\"" },
	{ "grace", ADMIN_GRACE, read_grace,
	    "grace: give {\"seconds\": 0 to 86400}; 0 ends the old key at once; without grace it has 24 hours" },
	{ "expected_generation", ADMIN_EXPECTED_GENERATION, read_expected_generation,
	    "expected_generation: give the number of the generation that is current, or 0 for any" },
	{ "authorizing_secret", ADMIN_AUTHORIZING_SECRET, read_authorizing_secret,
	    "authorizing_secret: give the current secret key, or leave it out" },
	{ "generation", ADMIN_GENERATION, read_generation, "generation: give a number from 1" },
	{ "page_size", ADMIN_PAGE_SIZE, read_page_size, "page_size: give 1 to 1000, or 0 for 100" },
	{ "page_token", ADMIN_PAGE_TOKEN, read_page_token,
	    "page_token: give the next_page_token of the page before, or leave it out" },
};

#define MEMBERS (sizeof(members) / sizeof(members[0]))

static const struct member *
find(const char *name, unsigned takes)
{
	for (size_t i = 0; i < MEMBERS; i++)
		if (strcmp(members[i].name, name) == 0)
			return (takes & members[i].member) != 0 ? &members[i] : NULL;
	return NULL;
}

int
admin_json_read(const json_t *object, unsigned takes, unsigned needs, struct admin_fields *out, const char **why)
{
	const struct member *m;
	const char *name;
	json_t *value;

	memset(out, 0, sizeof(*out));
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		if ((m = find(name, takes)) == NULL) {
			*why = "the body has a member that this call does not have; client/http/README.md lists them";
			return -1;
		}
		if (!m->read(value, out)) {
			*why = m->why;
			return -1;
		}
		needs &= ~(unsigned)m->member;
	}
	for (size_t i = 0; i < MEMBERS; i++)
		if ((needs & members[i].member) != 0) {
			*why = members[i].why;
			return -1;
		}
	return 0;
}
