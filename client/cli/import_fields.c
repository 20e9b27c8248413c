/*
 * import_fields.c - fields by their names, and fields into a line (see import_fields.h). Reads no file.
 */
#include "client/cli/import_fields.h"

#include <stdio.h>
#include <string.h>

#include "client/cli/text.h"

/* Of a field's name that is repeated: more than these are not a name that somebody thought of. */
#define NAME_SHOWN_MAX 24
#define DIGITS_SHOWN_MAX 3
/* 1973, as milliseconds; as seconds, the year 5138. */
#define CREATED_MIN_MS INT64_C(100000000000)

static const char *const field_names[FIELDS] = { "account", "created_ms", "secret_sha256", "secret_last4",
	"publishable_sha256", "publishable_last4", "kind", "sha256", "last4" };

int
import_field_find(const char *name)
{
	for (int i = 0; i < FIELDS; i++)
		if (strcmp(field_names[i], name) == 0)
			return i;
	return -1;
}

/* A file without the line of its columns' names has values in their place, which may be keys. */
static bool
name_may_be_shown(const char *name)
{
	size_t len = strlen(name), n_digits = 0;

	for (size_t i = 0; i < len; i++)
		n_digits += name[i] >= '0' && name[i] <= '9';
	return len > 0 && len <= NAME_SHOWN_MAX && n_digits <= DIGITS_SHOWN_MAX &&
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-.") == len;
}

const char *
import_field_unknown(struct import_reader *r, const char *what, size_t number, const char *name)
{
	bool shown = name_may_be_shown(name);

	snprintf(r->said, sizeof(r->said),
	    "%s %zu%s%s%s has no name that is known; fob account import --help lists them", what, number,
	    shown ? ", \"" : "", shown ? name : "", shown ? "\"," : "");
	return r->said;
}

/* ---- fields into a line ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
hex_read(const char *text, uint8_t out[FOB_SHA256_LEN])
{
	if (strlen(text) != FOB_SHA256_LEN * (size_t)2)
		return false;
	for (size_t i = 0; i < FOB_SHA256_LEN; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* Returns NULL, or what is wrong. */
static const char *
key_read(const char *sha256, const char *last4, struct import_key *key)
{
	if (sha256 == NULL && last4 == NULL)
		return NULL;
	if (sha256 == NULL)
		return "there is a last4 without its sha256";
	if (!hex_read(sha256, key->sha256))
		return "a sha256 is 64 hex digits: the SHA-256 of the whole key";
	if (last4 == NULL || strlen(last4) != FOB_LAST4_SIZE - 1 || !text_is_account(last4) ||
	    strpbrk(last4, "._-") != NULL)
		return "each sha256 needs its last4: 4 letters or digits by which people are to call the key";
	memcpy(key->last4, last4, FOB_LAST4_SIZE);
	key->given = true;
	return NULL;
}

/* A key a line: kind, sha256, last4. */
static const char *
one_key_read(const struct import_fields *f, struct import_line *line)
{
	const char *kind = f->text[FIELD_KIND], *sha256 = f->text[FIELD_SHA256], *last4 = f->text[FIELD_LAST4];
	struct import_key *key;

	if (kind == NULL)
		return sha256 != NULL || last4 != NULL ? "sha256 and last4 need a kind: secret or publishable" : NULL;
	if (sha256 == NULL)
		return "there is a kind without a sha256";
	if (strcmp(kind, "secret") == 0)
		key = &line->secret;
	else if (strcmp(kind, "publishable") == 0)
		key = &line->publishable;
	else
		return "the kind is neither secret nor publishable";
	if (key->given)
		return "the key of that kind is given twice";
	return key_read(sha256, last4, key);
}

const char *
import_fields_read(const struct import_fields *f, struct import_line *line)
{
	const char *created = f->text[FIELD_CREATED_MS], *why;
	size_t digits;

	memset(line, 0, sizeof(*line));
	if (f->text[FIELD_ACCOUNT] == NULL)
		return "there is no account";
	if (!text_is_account(f->text[FIELD_ACCOUNT]))
		return "an account is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'";
	memcpy(line->account, f->text[FIELD_ACCOUNT], strlen(f->text[FIELD_ACCOUNT]) + 1);
	if (created != NULL) {
		digits = strspn(created, "0123456789");
		if (digits == 0 || digits > 15 || created[digits] != '\0')
			return "created_ms is a number of milliseconds since 1970";
		for (size_t i = 0; i < digits; i++)
			line->created_ms = line->created_ms * 10 + (created[i] - '0');
		if (line->created_ms < CREATED_MIN_MS)
			return "created_ms is before 1973: it is a number of milliseconds since 1970, and this may be "
			       "seconds";
	}
	if ((why = key_read(f->text[FIELD_SECRET_SHA256], f->text[FIELD_SECRET_LAST4], &line->secret)) != NULL ||
	    (why = key_read(f->text[FIELD_PUBLISHABLE_SHA256], f->text[FIELD_PUBLISHABLE_LAST4], &line->publishable)) !=
		NULL)
		return why;
	return one_key_read(f, line);
}
