/*
 * check.c - walk a database and check its invariants (see check.h). Changes nothing, and never keeps a table
 * in memory.
 *
 * That each key has exactly one slot, and each slot one key, follows from three checks: every key is found
 * under its own (account, kind, generation); every generation of an account is found as a key; there are as
 * many keys as generations.
 */
#include "service/offline/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "service/base/bytes.h"
#include "service/base/names.h"
#include "service/offline/check_internal.h"
#include "service/store/cluster.h"

#define LINES_MAX 1000

/* ---- violations ---- */

void
check_violation(struct check *c, const char *table, const char *label, const char *format, ...)
{
	va_list ap;

	if (c->violations++ >= LINES_MAX)
		return;
	fprintf(c->lines, "%s: %s %s: ", environment_name(store_environment(c->store)), table, label);
	va_start(ap, format);
	vfprintf(c->lines, format, ap);
	va_end(ap);
	fputc('\n', c->lines);
}

const char *
check_reason(int fault)
{
	switch (-fault) {
	case FAULT_NOT_FOUND:
		return "is missing";
	case FAULT_CORRUPT:
		return "is damaged";
	default:
		return "cannot be read";
	}
}

bool
check_goes_on(const struct check *c)
{
	return !store_failed(c->store);
}

/* ---- the walk ---- */

struct walk {
	struct check *check;
	store_entry_cb visit;
	uint64_t n;
};

static bool
visit_counted(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct walk *w = arg;

	w->n++;
	return w->visit(w->check, k, v);
}

/* Returns false when the table could not be walked to its end. */
static bool
walk_table(struct check *c, size_t i)
{
	struct walk walk = { .check = c, .visit = check_tables[i].visit };
	uint64_t entries = store_entries(c->txn, check_tables[i].table);
	int fault;

	fault = store_each_entry(c->txn, check_tables[i].table, visit_counted, &walk);
	if (fault != 0 || !check_goes_on(c)) {
		check_violation(c, check_tables[i].name, "(pages)", "the table cannot be read to its end: a page %s",
		    check_reason(fault));
		return check_goes_on(c);
	}
	if (walk.n != entries)
		check_violation(c, check_tables[i].name, "(pages)",
		    "%" PRIu64 " entries, and the table counts %" PRIu64, walk.n, entries);
	return true;
}

static void
check_sums(struct check *c)
{
	if (c->keys != c->generations)
		check_violation(c, "accounts", "(all)",
		    "their generations add up to %" PRIu64 ", but there are %" PRIu64 " keys", c->generations, c->keys);
	if (c->slots + c->in_accounts != c->keys)
		check_violation(c, "slots", "(all)",
		    "%" PRIu64 " slots, and %" PRIu64 " keys named by accounts, but there are %" PRIu64 " keys",
		    c->slots, c->in_accounts, c->keys);
	if (c->expiry != c->in_state[KEY_GRACE])
		check_violation(c, "expiry", "(all)", "%" PRIu64 " entries, but %" PRIu64 " keys are in grace",
		    c->expiry, c->in_state[KEY_GRACE]);
	if (c->tokens != c->token_age)
		check_violation(c, "token_age", "(all)", "%" PRIu64 " entries, but there are %" PRIu64 " tokens",
		    c->token_age, c->tokens);
	if (c->last_event != c->state.event_sequence)
		check_violation(c, "events", "(all)", "the last is %" PRIu64 ", but %" PRIu64 " have been written",
		    c->last_event, c->state.event_sequence);
}

/* A fobd that does not know the record refuses the database by its schema. */
static void
check_cluster(struct check *c)
{
	uint32_t schema = store_schema(c->store);
	struct record_cluster cluster;
	int fault = store_cluster(c->txn, &cluster);

	if (fault == 0 && schema != RECORD_SCHEMA_CLUSTER)
		check_violation(c, "meta", "cluster",
		    "the record is there, and the schema is %" PRIu32
		    ": an older fobd would change the database without the cluster",
		    schema);
	else if (fault == -FAULT_NOT_FOUND && schema == RECORD_SCHEMA_CLUSTER)
		check_violation(c, "meta", "cluster",
		    "the record is missing, and the schema is %" PRIu32
		    ": fobd would serve the database as one in no cluster",
		    schema);
}

static int
walk_all(struct check *c, char *why, size_t why_len)
{
	bool readable = true;
	int fault;

	if ((fault = store_state(c->txn, &c->state)) != 0) {
		check_violation(c, "meta", "state", "the record %s", check_reason(fault));
		return 0;
	}
	/* calloc: pages without a serial number in use take no memory. */
	if ((c->serials = calloc((size_t)c->state.next_serial / 8 + 1, 1)) == NULL) {
		snprintf(why, why_len, "out of memory: one bit for each of %" PRIu32 " keys is needed",
		    c->state.next_serial);
		return -1;
	}
	check_cluster(c);
	for (size_t i = 0; i < CHECK_TABLES && readable; i++)
		readable = walk_table(c, i);
	if (readable)
		check_sums(c);
	return 0;
}

static void
report(const struct check *c, const char *text, FILE *out)
{
	fprintf(out,
	    "%s: %s: accounts %" PRIu64 " (suspended %" PRIu64 "), keys %" PRIu64 " (current %" PRIu64
	    ", in grace %" PRIu64 ", expired %" PRIu64 ", revoked %" PRIu64 "), tokens %" PRIu64 ", events %" PRIu64
	    " to %" PRIu64 ", revision %" PRIu64 ", violations %" PRIu64 "\n%s",
	    environment_name(store_environment(c->store)), c->violations == 0 ? "whole" : "NOT WHOLE", c->accounts,
	    c->suspended, c->keys, c->in_state[KEY_CURRENT], c->in_state[KEY_GRACE], c->in_state[KEY_EXPIRED],
	    c->in_state[KEY_REVOKED], c->tokens, c->first_event, c->last_event, c->state.revision, c->violations, text);
	if (c->violations > LINES_MAX)
		fprintf(out, "%s: and %" PRIu64 " more\n", environment_name(store_environment(c->store)),
		    c->violations - LINES_MAX);
}

/* A database that damage keeps from being opened is reported as not whole. */
static int
not_opened(const struct store_options *options, int fault, FILE *out, char *why)
{
	if (fault != -FAULT_CORRUPT)
		return -1;
	fprintf(out, "%s: NOT WHOLE: %s\n", environment_name(options->environment), why);
	return 1;
}

int
check_database(const struct store_options *options, FILE *out, char *why, size_t why_len)
{
	struct check c = { 0 };
	char *text = NULL;
	size_t len;
	int fault, rc = -1;

	if ((fault = store_open(options, &c.store, why, why_len)) != 0)
		return not_opened(options, fault, out, why);
	snprintf(why, why_len, "out of memory");
	if ((c.lines = open_memstream(&text, &len)) == NULL || (c.txn = store_txn_new(c.store)) == NULL)
		goto out;
	if (store_read(c.txn) != 0) {
		snprintf(why, why_len, "%s: the database cannot be read", options->path);
		goto out;
	}
	if (walk_all(&c, why, why_len) == 0 && fflush(c.lines) == 0) {
		report(&c, text, out);
		rc = c.violations == 0 ? 0 : 1;
	}
	store_read_end(c.txn);
out:
	store_txn_free(c.txn);
	store_close(c.store);
	if (c.lines != NULL)
		fclose(c.lines);
	free(text);
	free(c.serials);
	return rc;
}
