/*
 * made.h - the accounts and keys that were made after a copy was taken. A restore cannot make them again, because no
 * event holds a secret's digest, so the report names them.
 *
 * Threads: one.
 */
#ifndef MADE_H
#define MADE_H

#include <stdbool.h>
#include <stdio.h>

#include "service/store/record.h"

struct made_account {
	bool is_new;         /* the copy does not have the account */
	bool imported;       /* it came by an import, or a key of it did */
	bool keys[2];        /* by kind - 1: a key that an import added to an account of the copy */
	bool suspended;      /* as the last event says */
	uint64_t last_ended; /* the last event that rolled or ended a key that is named here; 0: none did */
	char account[LIMIT_ACCOUNT + 1];
};

struct made {
	void *root;
	uint64_t accounts; /* that are new */
	uint64_t keys;     /* that an import added to accounts of the copy */
};

/* Returns the entry of ${account}, owned by ${made}; NULL when there is none. */
struct made_account *made_find(const struct made *made, const char *account);
/* The same, and makes an entry that is missing. Returns NULL without memory. */
struct made_account *made_add(struct made *made, const char *account);
/* Write a line for each entry to ${out}: what is missing, and what is to be done. ${environment}: its name. */
void made_tell(const struct made *made, const char *environment, FILE *out);
void made_fini(struct made *made);

#endif
