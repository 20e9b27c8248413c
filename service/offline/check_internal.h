/*
 * check_internal.h - what check.c and check_table.c share.
 */
#ifndef CHECK_INTERNAL_H
#define CHECK_INTERNAL_H

#include <stdio.h>

#include "service/store/walk.h"

struct check {
	struct store *store;
	struct store_txn *txn;
	FILE *lines; /* of violations; they are printed after the line of counts */
	uint64_t violations;
	struct record_state state;
	uint8_t *serials; /* one bit for each serial number that was ever given */
	uint64_t keys, in_state[KEY_REVOKED + 1], accounts, suspended, generations, in_accounts;
	uint64_t slots, expiry, tokens, token_age, events, first_event, last_event;
};

/* Count a violation, and write its line: the table, a ${label} that names the entry, and what is wrong. */
void check_violation(struct check *c, const char *table, const char *label, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A fault as the end of a sentence: "is missing", "is damaged", "cannot be read". */
const char *check_reason(int fault);

/* May a walk go on? Yes, whatever is wrong, until LMDB itself has failed on a page. */
bool check_goes_on(const struct check *c);

struct check_table {
	enum table table;
	const char *name;
	store_entry_cb visit; /* its argument is the struct check */
};

#define CHECK_TABLES 8
extern const struct check_table check_tables[CHECK_TABLES];

#endif
