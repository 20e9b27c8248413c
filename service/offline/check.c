/*
 * check.c - walk a database and prove its invariants (see check.h). Called by offline.c, and by nothing that serves;
 * reads through store.c and store_walk.c, and knows records by record.c. Changes nothing, and never keeps a table in
 * memory: what belongs together is looked up, in both directions, and for the serials there is a bitmap.
 *
 * That each key has one slot and each slot one key follows from three things: every key is found again by its own
 * (account, kind, generation); every generation of an account is found as a key; there are as many of the one as of the
 * other.
 */
#include "service/offline/check.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/base/names.h"
#include "service/store/walk.h"

#define LINES_MAX 1000
#define LABEL_LEN (LIMIT_ACCOUNT + 32)

struct check {
	struct store *store;
	struct store_txn *txn;
	FILE *lines; /* of violations, to come after the line of counts */
	uint64_t violations;
	struct record_state state;
	uint8_t *serials; /* a bit for each that was given */
	uint64_t keys, in_state[KEY_REVOKED + 1], accounts, suspended, generations, in_accounts;
	uint64_t slots, expiry, tokens, token_age, events, first_event, last_event;
};

/* ---- what is wrong ---- */

static void violation(struct check *c, const char *table, const char *label, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void
violation(struct check *c, const char *table, const char *label, const char *format, ...)
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

static const char *
reason(int fault)
{
	switch (-fault) {
	case FAULT_NOT_FOUND:
		return "is not there";
	case FAULT_CORRUPT:
		return "is damaged";
	default:
		return "cannot be read";
	}
}

/* The beginning of a digest, or of a key that is not what it should be. */
static const char *
label_bytes(const void *bytes, size_t len, char label[LABEL_LEN])
{
	sodium_bin2hex(label, LABEL_LEN, bytes, len < 8 ? len : 8);
	return label;
}

static const char *
label_slot(const char *account, enum kind kind, uint32_t generation, char label[LABEL_LEN])
{
	snprintf(label, LABEL_LEN, "%s %s %" PRIu32, account, kind_name(kind), generation);
	return label;
}

/* A walk goes on, whatever is wrong, until LMDB itself has failed on a page. */
static bool
goes_on(const struct check *c)
{
	return !store_failed(c->store);
}

/* ---- keys ---- */

static void
check_serial(struct check *c, const char *label, uint32_t serial)
{
	uint8_t bit = (uint8_t)(1U << (serial & 7));

	if (serial >= c->state.next_serial) {
		violation(c, "keys", label, "serial %" PRIu32 " is not below the next one, %" PRIu32, serial,
		    c->state.next_serial);
		return;
	}
	if ((c->serials[serial >> 3] & bit) != 0)
		violation(c, "keys", label, "serial %" PRIu32 " has been given twice", serial);
	c->serials[serial >> 3] |= bit;
}

static bool
listed_in_grace(const struct record_account *account, const struct record_key *key)
{
	for (unsigned i = 0; i < account->n_grace; i++)
		if (account->grace[i].generation == key->generation)
			return account->grace[i].expires_ms == key->expires_ms;
	return false;
}

/* A key in grace is in its account's list and in the index by deadline; no other is. */
static void
check_grace(struct check *c, const char *label, const uint8_t *digest, const struct record_account *account,
    const struct record_key *key)
{
	struct record_bytes at;
	int fault;

	if (key->state == KEY_GRACE) {
		record_time_key(key->expires_ms, digest, &at);
		if ((fault = store_has(c->txn, TABLE_EXPIRY, at.bytes, at.len)) != 0)
			violation(c, "keys", label, "its entry in expiry %s", reason(fault));
		if (!listed_in_grace(account, key))
			violation(c, "keys", label, "in grace, and not so in its account's list");
		if (key->kind != KIND_SECRET)
			violation(c, "keys", label, "a publishable key in grace");
		return;
	}
	for (unsigned i = 0; key->kind == KIND_SECRET && i < account->n_grace; i++)
		if (account->grace[i].generation == key->generation)
			violation(c, "keys", label, "not in grace, and in its account's list of those that are");
}

static void
check_generation(struct check *c, const char *label, const struct record_account *account, const struct record_key *key)
{
	uint32_t current = record_generation(account, key->kind);

	if (key->generation < 1 || key->generation > current)
		violation(c, "keys", label, "generation %" PRIu32 ", and its account is at %" PRIu32, key->generation,
		    current);
	else if (key->state == KEY_CURRENT && key->generation != current)
		violation(c, "keys", label, "current, and its account is at generation %" PRIu32, current);
	else if ((key->state == KEY_GRACE || key->state == KEY_EXPIRED) && key->generation == current)
		violation(c, "keys", label, "superseded, and of its account's current generation");
}

static void
check_key(struct check *c, const char *label, const uint8_t *digest, const struct record_key *key)
{
	uint8_t found[RECORD_DIGEST_LEN];
	struct record_account account;
	int fault;

	check_serial(c, label, key->serial);
	if ((fault = store_slot(c->txn, key->account, key->kind, key->generation, found)) != 0)
		violation(c, "keys", label, "its slot, %s %s %" PRIu32 ", %s", key->account, kind_name(key->kind),
		    key->generation, reason(fault));
	else if (memcmp(found, digest, sizeof(found)) != 0)
		violation(c, "keys", label, "its slot, %s %s %" PRIu32 ", is another key's", key->account,
		    kind_name(key->kind), key->generation);
	if ((fault = store_account(c->txn, key->account, &account)) != 0) {
		violation(c, "keys", label, "its account, %s, %s", key->account, reason(fault));
		return;
	}
	check_generation(c, label, &account, key);
	check_grace(c, label, digest, &account, key);
	if (key->state <= KEY_GRACE && key->suspended != (account.suspended_ms != 0))
		violation(c, "keys", label, "suspended and its account is not, or the reverse");
	if (key->state > KEY_GRACE && key->ended_ms == 0)
		violation(c, "keys", label, "ended, at no time");
}

static bool
visit_key(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	struct record_key key;
	char label[LABEL_LEN];
	int fault;

	c->keys++;
	label_bytes(k->data, k->len, label);
	if (k->len != RECORD_DIGEST_LEN ||
	    (fault = record_get_key(store_pepper(c->store), k->data, k->len, v->data, v->len, &key)) != 0) {
		violation(c, "keys", label, "the record is damaged");
		return goes_on(c);
	}
	c->in_state[key.state]++;
	check_key(c, label, k->data, &key);
	return goes_on(c);
}

/* ---- accounts ---- */

/* How many keys the account names itself, so that they have no slot. */
static unsigned
keys_in_account(const struct record_account *account)
{
	return (unsigned)account->has_ref[0] + account->has_ref[1];
}

struct counted {
	uint64_t n;
};

static bool
count_key(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key)
{
	struct counted *counted = arg;

	(void)digest;
	(void)key;
	counted->n++;
	return true;
}

static void
check_current(struct check *c, const struct record_account *account, enum kind kind, uint32_t generation)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	int fault;

	if (generation > 0 && (fault = store_slot(c->txn, account->account, kind, generation, digest)) != 0)
		violation(c, "accounts", account->account, "its current %s key, generation %" PRIu32 ", %s",
		    kind_name(kind), generation, reason(fault));
}

static void
check_grace_list(struct check *c, const struct record_account *account)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_key key;
	int fault;

	for (unsigned i = 0; i < account->n_grace; i++) {
		uint32_t generation = account->grace[i].generation;

		if ((fault = store_slot(c->txn, account->account, KIND_SECRET, generation, digest)) != 0 ||
		    (fault = store_key(c->txn, digest, &key)) != 0)
			violation(c, "accounts", account->account, "its key in grace, generation %" PRIu32 ", %s",
			    generation, reason(fault));
		else if (key.state != KEY_GRACE || key.expires_ms != account->grace[i].expires_ms)
			violation(c, "accounts", account->account,
			    "its list says of generation %" PRIu32
			    " that it is in grace until another time than its key",
			    generation);
		for (unsigned j = 0; j < i; j++)
			if (account->grace[j].generation == generation)
				violation(c, "accounts", account->account,
				    "generation %" PRIu32 " is twice in its list of keys in grace", generation);
	}
}

static bool
visit_account(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	struct record_account account;
	struct counted counted = { 0 };
	char label[LABEL_LEN];
	uint64_t generations;
	int fault;

	c->accounts++;
	if (record_get_account(store_pepper(c->store), k->data, k->len, v->data, v->len, &account) != 0) {
		if (record_account_ok(k->data, k->len))
			snprintf(label, sizeof(label), "%.*s", (int)k->len, (const char *)k->data);
		else
			label_bytes(k->data, k->len, label);
		violation(c, "accounts", label, "the record is damaged");
		return goes_on(c);
	}
	c->suspended += account.suspended_ms != 0;
	c->in_accounts += keys_in_account(&account);
	generations = (uint64_t)account.secret_generation + account.publishable_generation;
	c->generations += generations;
	check_current(c, &account, KIND_SECRET, account.secret_generation);
	check_current(c, &account, KIND_PUBLISHABLE, account.publishable_generation);
	check_grace_list(c, &account);
	if ((fault = store_each_key(c->txn, account.account, (enum kind)0, 0, count_key, &counted)) != 0)
		violation(c, "accounts", account.account, "a key or slot of it %s", reason(fault));
	else if (counted.n != generations)
		violation(c, "accounts", account.account, "%" PRIu64 " keys, and its generations come to %" PRIu64,
		    counted.n, generations);
	return goes_on(c);
}

/* ---- slots ---- */

static bool
parse_slot(const struct lmdb_value *k, char account[LIMIT_ACCOUNT + 1], enum kind *kind, uint32_t *generation)
{
	const uint8_t *bytes = k->data;
	size_t len = k->len > 6 ? k->len - 6 : 0;

	if (!record_account_ok(bytes, len) || bytes[len] != 0)
		return false;
	memcpy(account, bytes, len);
	account[len] = '\0';
	*kind = (enum kind)bytes[len + 1];
	*generation = bytes_get32(bytes + len + 2);
	return *kind == KIND_SECRET || *kind == KIND_PUBLISHABLE;
}

static bool
visit_slot(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	uint8_t digest[RECORD_DIGEST_LEN], named[RECORD_REF_LEN];
	char account[LIMIT_ACCOUNT + 1], label[LABEL_LEN];
	struct record_key key;
	uint32_t generation;
	enum kind kind;
	int fault;

	c->slots++;
	if (!parse_slot(k, account, &kind, &generation)) {
		violation(c, "slots", label_bytes(k->data, k->len, label), "the key is damaged");
		return goes_on(c);
	}
	label_slot(account, kind, generation, label);
	if (record_get_slot(store_pepper(c->store), k->data, k->len, v->data, v->len, named) != 0)
		violation(c, "slots", label, "the record is damaged");
	else if ((fault = store_slot(c->txn, account, kind, generation, digest)) != 0 ||
	    (fault = store_key(c->txn, digest, &key)) != 0)
		violation(c, "slots", label, "its key %s", reason(fault));
	else if (strcmp(key.account, account) != 0 || key.kind != kind || key.generation != generation)
		violation(c, "slots", label, "its key is of another slot, %s %s %" PRIu32, key.account,
		    kind_name(key.kind), key.generation);
	else if (memcmp(digest, named, sizeof(named)) != 0)
		violation(c, "slots", label, "names another key than its account");
	return goes_on(c);
}

/* ---- the indexes by time, and what they are of ---- */

static bool
parse_time(const struct lmdb_value *k, int64_t *time_ms, uint8_t digest[RECORD_DIGEST_LEN])
{
	if (k->len != 8 + RECORD_DIGEST_LEN)
		return false;
	*time_ms = (int64_t)bytes_get64(k->data);
	memcpy(digest, (const uint8_t *)k->data + 8, RECORD_DIGEST_LEN);
	return true;
}

static bool
visit_expiry(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	uint8_t digest[RECORD_DIGEST_LEN];
	char label[LABEL_LEN];
	struct record_key key;
	int64_t time_ms;
	int fault;

	c->expiry++;
	if (!parse_time(k, &time_ms, digest) ||
	    record_get_empty(store_pepper(c->store), TABLE_EXPIRY, k->data, k->len, v->data, v->len) != 0) {
		violation(c, "expiry", label_bytes(k->data, k->len, label), "the record is damaged");
		return goes_on(c);
	}
	label_bytes(digest, sizeof(digest), label);
	if ((fault = store_key(c->txn, digest, &key)) != 0)
		violation(c, "expiry", label, "its key %s", reason(fault));
	else if (key.state != KEY_GRACE || key.expires_ms != time_ms)
		violation(c, "expiry", label, "its key is not in grace until then");
	return goes_on(c);
}

static bool
visit_token(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	struct record_token token;
	struct record_bytes age;
	char label[LABEL_LEN];
	int fault;

	c->tokens++;
	label_bytes(k->data, k->len, label);
	if (k->len != PEPPER_DIGEST_LEN ||
	    record_get_token(store_pepper(c->store), k->data, k->len, v->data, v->len, &token) != 0) {
		violation(c, "tokens", label, "the record is damaged");
		return goes_on(c);
	}
	record_time_key(token.created_ms, k->data, &age);
	if ((fault = store_has(c->txn, TABLE_TOKEN_AGE, age.bytes, age.len)) != 0)
		violation(c, "tokens", label, "its entry in token_age %s", reason(fault));
	return goes_on(c);
}

static bool
visit_token_age(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	uint8_t index[RECORD_DIGEST_LEN];
	struct record_token token;
	char label[LABEL_LEN];
	int64_t time_ms;
	int fault;

	c->token_age++;
	if (!parse_time(k, &time_ms, index) ||
	    record_get_empty(store_pepper(c->store), TABLE_TOKEN_AGE, k->data, k->len, v->data, v->len) != 0) {
		violation(c, "token_age", label_bytes(k->data, k->len, label), "the record is damaged");
		return goes_on(c);
	}
	label_bytes(index, sizeof(index), label);
	if ((fault = store_token(c->txn, index, &token)) != 0)
		violation(c, "token_age", label, "its token %s", reason(fault));
	else if (token.created_ms != time_ms)
		violation(c, "token_age", label, "its token was made at another time");
	return goes_on(c);
}

/* ---- events ---- */

static bool
visit_event(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	struct record_event event;
	char label[LABEL_LEN];
	uint64_t sequence;

	c->events++;
	if (k->len != 8) {
		violation(c, "events", label_bytes(k->data, k->len, label), "the key is damaged");
		return goes_on(c);
	}
	sequence = bytes_get64(k->data);
	snprintf(label, sizeof(label), "%" PRIu64, sequence);
	if (record_get_event(store_pepper(c->store), k->data, k->len, v->data, v->len, &event) != 0)
		violation(c, "events", label, "the record is damaged");
	if (c->first_event == 0)
		c->first_event = sequence;
	else if (sequence != c->last_event + 1)
		violation(c, "events", label, "the one before it is %" PRIu64, c->last_event);
	c->last_event = sequence;
	return goes_on(c);
}

/* ---- meta ---- */

static bool
visit_meta(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	char label[LABEL_LEN];

	if (record_sound(store_pepper(c->store), TABLE_META, k->data, k->len, v->data, v->len) != 0)
		violation(c, "meta", label_bytes(k->data, k->len, label), "the record is damaged");
	return goes_on(c);
}

/* ---- all of it ---- */

static const struct {
	enum table table;
	const char *name;
	store_entry_cb visit;
} walks[] = {
	{ TABLE_META, "meta", visit_meta },
	{ TABLE_KEYS, "keys", visit_key },
	{ TABLE_ACCOUNTS, "accounts", visit_account },
	{ TABLE_SLOTS, "slots", visit_slot },
	{ TABLE_EXPIRY, "expiry", visit_expiry },
	{ TABLE_TOKENS, "tokens", visit_token },
	{ TABLE_TOKEN_AGE, "token_age", visit_token_age },
	{ TABLE_EVENTS, "events", visit_event },
};
#define N_WALKS (sizeof(walks) / sizeof(walks[0]))

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
	struct walk walk = { .check = c, .visit = walks[i].visit };
	uint64_t entries = store_entries(c->txn, walks[i].table);
	int fault;

	fault = store_each_entry(c->txn, walks[i].table, visit_counted, &walk);
	if (fault != 0 || !goes_on(c)) {
		violation(c, walks[i].name, "(pages)", "the table cannot be read to its end: a page %s", reason(fault));
		return goes_on(c);
	}
	if (walk.n != entries)
		violation(
		    c, walks[i].name, "(pages)", "%" PRIu64 " entries, and the table counts %" PRIu64, walk.n, entries);
	return true;
}

static void
check_sums(struct check *c)
{
	if (c->keys != c->generations)
		violation(c, "accounts", "(all)",
		    "their generations come to %" PRIu64 ", and there are %" PRIu64 " keys", c->generations, c->keys);
	if (c->slots + c->in_accounts != c->keys)
		violation(c, "slots", "(all)",
		    "%" PRIu64 " and %" PRIu64 " named by accounts, and there are %" PRIu64 " keys", c->slots,
		    c->in_accounts, c->keys);
	if (c->expiry != c->in_state[KEY_GRACE])
		violation(c, "expiry", "(all)", "%" PRIu64 " entries, and %" PRIu64 " keys are in grace", c->expiry,
		    c->in_state[KEY_GRACE]);
	if (c->tokens != c->token_age)
		violation(c, "token_age", "(all)", "%" PRIu64 " entries, and there are %" PRIu64 " tokens",
		    c->token_age, c->tokens);
	if (c->last_event != c->state.event_sequence)
		violation(c, "events", "(all)", "the last is %" PRIu64 ", and %" PRIu64 " have been written",
		    c->last_event, c->state.event_sequence);
}

static int
walk_all(struct check *c, char *why, size_t why_len)
{
	bool readable = true;
	int fault;

	if ((fault = store_state(c->txn, &c->state)) != 0) {
		violation(c, "meta", "state", "the record %s", reason(fault));
		return 0;
	}
	/* calloc: pages of serials that are not there are never touched. */
	if ((c->serials = calloc((size_t)c->state.next_serial / 8 + 1, 1)) == NULL) {
		snprintf(why, why_len, "out of memory for a bit for each of %" PRIu32 " keys", c->state.next_serial);
		return -1;
	}
	for (size_t i = 0; i < N_WALKS && readable; i++)
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

/* One that cannot be opened for damage is one that is not whole. */
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
	if ((fault = store_read(c.txn)) != 0) {
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
