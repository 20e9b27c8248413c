/*
 * import_fields.h - the named fields that both formats of `fob account import` have, and what they mean.
 * Threads: none.
 */
#ifndef CLI_IMPORT_FIELDS_H
#define CLI_IMPORT_FIELDS_H

#include "client/cli/import_line.h"

enum import_field {
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

/* A line's fields as text; NULL: not given. */
struct import_fields {
	const char *text[FIELDS];
	char number[24]; /* created_ms of an object that has it as a number */
};

/* The field of that name; -1: there is none. */
int import_field_find(const char *name);

/*
 * import_field_unknown(reader, what, number, name):
 * "${what} ${number} has no name that is known", with ${name} unless that could be a value.
 * Returns: the sentence, which is the reader's until its next line.
 */
const char *import_field_unknown(struct import_reader *reader, const char *what, size_t number, const char *name);

/* Fill ${line} from ${fields}. Returns NULL, or what is wrong: a static sentence. */
const char *import_fields_read(const struct import_fields *fields, struct import_line *line);

#endif
