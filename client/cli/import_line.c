/*
 * import_line.c - read a file for `fob account import`, line by line (see import_line.h). Both formats become the same
 * named fields, which are checked in one place. Sends nothing, prints nothing.
 */
#include "client/cli/import_line.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "client/cli/text.h"
#include "proto/c/key_form.h"

enum field {
	FIELD_ACCOUNT,
	FIELD_CREATED_MS,
	FIELD_SECRET_SHA256,
	FIELD_SECRET_LAST4,
	FIELD_PUBLISHABLE_SHA256,
	FIELD_PUBLISHABLE_LAST4,
	FIELD_KIND,
	FIELD_SHA256,
	FIELD_LAST4,
	FIELDS
};

static const char *const field_names[FIELDS] = { "account", "created_ms", "secret_sha256", "secret_last4",
	"publishable_sha256", "publishable_last4", "kind", "sha256", "last4" };

/* A line's fields as text; NULL: not given. */
struct fields {
	const char *text[FIELDS];
	char number[24]; /* created_ms of an object that has it as a number */
};

static const char out_of_place[] = "it holds something that looks like an API key, or like a header with one. A key is "
				   "imported by its SHA-256 alone: consider that one exposed";

/* Of a field's name that is repeated: more than these are not a name that somebody thought of. */
#define NAME_SHOWN_MAX 24
#define DIGITS_SHOWN_MAX 3
/* 1973, as milliseconds; as seconds, the year 5138. */
#define CREATED_MIN_MS INT64_C(100000000000)

static int
field_find(const char *name)
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

static const char *
name_unknown(struct import_reader *r, const char *what, size_t number, const char *name)
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
one_key_read(const struct fields *f, struct import_line *line)
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

static const char *
line_fill(const struct fields *f, struct import_line *line)
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

/* ---- NDJSON ---- */

static const char *
object_fields(struct import_reader *r, json_t *object, struct fields *f)
{
	const char *name;
	size_t number = 0;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		int i = field_find(name);

		number++;
		if (i < 0)
			return name_unknown(r, "field", number, name);
		if (json_is_null(value))
			continue;
		if (i == FIELD_CREATED_MS && json_is_integer(value)) {
			snprintf(f->number, sizeof(f->number), "%lld", (long long)json_integer_value(value));
			f->text[i] = f->number;
		} else if (json_is_string(value)) {
			f->text[i] = json_string_value(value);
		} else {
			return "a field of it is no string";
		}
	}
	return NULL;
}

static const char *
object_read(struct import_reader *r, struct import_line *line)
{
	struct fields f = { .text = { NULL } };
	json_t *object;
	const char *why;

	if ((object = json_loads(r->text, JSON_REJECT_DUPLICATES, NULL)) == NULL)
		return "it is not JSON: one object a line";
	if (!json_is_object(object))
		why = "it is not an object";
	else if ((why = object_fields(r, object, &f)) == NULL)
		why = line_fill(&f, line);
	json_decref(object);
	return why;
}

/* ---- CSV, https://www.rfc-editor.org/rfc/rfc4180, without line ends inside of fields ---- */

/* The first of the separators that is in ${text}. Spreadsheets take ';' where ',' is the decimal point. */
static char
separator_of(const char *text)
{
	static const char separators[] = ",;\t";

	for (const char *s = separators; *s != '\0'; s++)
		if (strchr(text, *s) != NULL)
			return *s;
	return separators[0];
}

/* End ${field}, which is not quoted, at ${end}; blanks around it are not part of it. */
static char *
field_trim(char *field, char *end)
{
	size_t from, len = text_trim(field, (size_t)(end - field), &from);

	field += from;
	field[len] = '\0';
	return field;
}

static const char too_many[] = "it has more fields than there are columns";

/* Cut ${r}'s text into its fields, in place. Returns NULL, or what is wrong. */
static const char *
csv_split(struct import_reader *r, char *fields[IMPORT_COLUMNS], size_t *n)
{
	char *in = r->text, *out, *field, end;

	for (*n = 0;; in++) {
		if (*n == IMPORT_COLUMNS)
			return too_many;
		field = out = in;
		if (*in == '"') {
			for (in++; *in != '\0' && (*in != '"' || in[1] == '"'); *out++ = *in++)
				in += *in == '"';
			if (*in != '"')
				return "a quoted field has no end";
			in++;
			if (*in != r->separator && *in != '\0')
				return "there is text behind the end of a quoted field";
			end = *in;
			*out = '\0';
		} else {
			while (*in != r->separator && *in != '\0' && *in != '"')
				in++;
			if (*in == '"')
				return "there is a quote inside of a field that is not quoted";
			end = *in;
			field = field_trim(field, in);
		}
		fields[(*n)++] = field;
		if (end == '\0')
			return NULL;
	}
}

static bool
all_empty(char *const fields[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fields[i][0] != '\0')
			return false;
	return true;
}

static const char *
csv_names(struct import_reader *r)
{
	char *fields[IMPORT_COLUMNS];
	bool seen[FIELDS] = { false };
	const char *why;
	size_t n;

	r->separator = separator_of(r->text);
	if ((why = csv_split(r, fields, &n)) != NULL)
		return why;
	for (size_t i = 0; i < n; i++) {
		int field = field_find(fields[i]);

		if (field < 0)
			return name_unknown(r, "the first line names the columns, and column", i + 1, fields[i]);
		if (seen[field])
			return "the first line names a column twice";
		seen[field] = true;
		r->columns[i] = field;
	}
	r->n_columns = n;
	return NULL;
}

static enum import_result
csv_read(struct import_reader *r, struct import_line *line, const char **why)
{
	struct fields f = { .text = { NULL } };
	char *fields[IMPORT_COLUMNS];
	size_t n;

	if ((*why = csv_split(r, fields, &n)) != NULL)
		return IMPORT_REFUSED;
	if (all_empty(fields, n))
		return IMPORT_NOTHING;
	if (n != r->n_columns) {
		*why = n > r->n_columns ? too_many : "it has fewer fields than there are columns";
		return IMPORT_REFUSED;
	}
	/* An empty field is one that is not given. */
	for (size_t i = 0; i < n; i++)
		if (fields[i][0] != '\0')
			f.text[r->columns[i]] = fields[i];
	*why = line_fill(&f, line);
	return *why == NULL ? IMPORT_LINE : IMPORT_REFUSED;
}

/* ---- lines ---- */

bool
import_is_csv(const char *name)
{
	size_t len = strlen(name);

	return len >= 4 && strcasecmp(name + len - 4, ".csv") == 0;
}

void
import_reader_init(struct import_reader *r, FILE *file, bool csv)
{
	memset(r, 0, sizeof(*r));
	r->file = file;
	r->csv = csv;
}

void
import_reader_fini(struct import_reader *r)
{
	if (r->file != NULL && r->file != stdin)
		fclose(r->file);
	fob_wipe(r->text, sizeof(r->text));
}

/* Read to the end of the line, all of it even when it is refused. */
static enum import_result
text_read(struct import_reader *r, const char **why)
{
	enum import_result rc = IMPORT_LINE;
	size_t len = 0, from;
	int c;

	for (; (c = getc_unlocked(r->file)) != EOF && c != '\n'; r->offset++) {
		if (c == '\0' || len == IMPORT_LINE_MAX) {
			*why = c == '\0' ? "there is a NUL in it" : "it is longer than 4096 bytes";
			rc = IMPORT_REFUSED;
		} else {
			r->text[len++] = (char)c;
		}
	}
	if (c == EOF && ferror(r->file)) {
		*why = strerror(errno);
		return IMPORT_FAILED;
	}
	if (c == EOF && len == 0 && rc == IMPORT_LINE)
		return IMPORT_END;
	r->offset++;
	r->line++;
	if (r->line == 1 && text_is_utf16(r->text, len)) {
		*why = "the file is UTF-16: save it as UTF-8";
		return IMPORT_FAILED;
	}
	/* Only a file begins with a byte order mark. */
	from = r->line == 1 && len >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	memmove(r->text, r->text + from, len - from);
	len -= from;
	if (len > 0 && r->text[len - 1] == '\r')
		len--;
	r->text[len] = '\0';
	return rc == IMPORT_LINE && strspn(r->text, " \t") == len ? IMPORT_NOTHING : rc;
}

static enum import_result
next(struct import_reader *r, struct import_line *line, const char **why)
{
	enum import_result rc;

	if ((rc = text_read(r, why)) == IMPORT_END || rc == IMPORT_FAILED || rc == IMPORT_NOTHING)
		return rc;
	/* Before all else: what is said of such a line must not depend on the rest of it. */
	if (key_form_in(r->text, strlen(r->text))) {
		*why = out_of_place;
		return IMPORT_REFUSED;
	}
	if (rc != IMPORT_LINE)
		return rc;
	if (r->csv && r->n_columns == 0) {
		*why = csv_names(r);
		return *why == NULL ? IMPORT_NOTHING : IMPORT_REFUSED;
	}
	if (r->csv)
		return csv_read(r, line, why);
	*why = object_read(r, line);
	return *why == NULL ? IMPORT_LINE : IMPORT_REFUSED;
}

enum import_result
import_reader_next(struct import_reader *r, struct import_line *line, const char **why)
{
	bool headless = r->csv && r->n_columns == 0;
	enum import_result rc;

	*why = NULL;
	rc = next(r, line, why);
	/* Without the names of its columns no line of a CSV file means anything. */
	if (rc == IMPORT_REFUSED && headless)
		return IMPORT_FAILED;
	return rc;
}

void
import_line_account(const struct import_line *line, struct fob_import_account *account)
{
	*account = (struct fob_import_account){ FOB_IMPORT_ACCOUNT_INIT, .account = line->account,
		.created_ms = line->created_ms };
	if (line->secret.given) {
		account->secret_sha256 = line->secret.sha256;
		account->secret_last4 = line->secret.last4;
	}
	if (line->publishable.given) {
		account->publishable_sha256 = line->publishable.sha256;
		account->publishable_last4 = line->publishable.last4;
	}
}
