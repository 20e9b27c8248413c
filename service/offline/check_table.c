/*
 * check_table.c - what must hold for each entry of each table (see check.h). Entries that belong together are
 * looked up in both directions; only for the serial numbers is there a bitmap.
 */
#include "service/offline/check_internal.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/base/names.h"
#include "service/store/walk.h"

#define LABEL_LEN (LIMIT_ACCOUNT + 32)

/* The first 8 bytes of a digest, or of an LMDB key of the wrong form. */
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

/* ---- keys ---- */

static void
check_serial(struct check *c, const char *label, uint32_t serial)
{
	uint8_t bit = (uint8_t)(1U << (serial & 7));

	if (serial >= c->state.next_serial) {
		check_violation(c, "keys", label, "serial %" PRIu32 " is not below the next one, %" PRIu32, serial,
		    c->state.next_serial);
		return;
	}
	if ((c->serials[serial >> 3] & bit) != 0)
		check_violation(c, "keys", label, "another key has its serial %" PRIu32, serial);
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

/* A key in grace is in its account's list and in the index by deadline. No other key is. */
static void
check_grace(struct check *c, const char *label, const uint8_t *digest, const struct record_account *account,
    const struct record_key *key)
{
	struct record_bytes at;
	int fault;

	if (key->state == KEY_GRACE) {
		record_time_key(key->expires_ms, digest, &at);
		if ((fault = store_has(c->txn, TABLE_EXPIRY, at.bytes, at.len)) != 0)
			check_violation(c, "keys", label, "its entry in expiry %s", check_reason(fault));
		if (!listed_in_grace(account, key))
			check_violation(c, "keys", label, "in grace, but its account's list does not say so");
		if (key->kind != KIND_SECRET)
			check_violation(c, "keys", label, "a publishable key in grace");
		return;
	}
	for (unsigned i = 0; key->kind == KIND_SECRET && i < account->n_grace; i++)
		if (account->grace[i].generation == key->generation)
			check_violation(c, "keys", label, "not in grace, but in its account's list of keys in grace");
}

static void
check_generation(struct check *c, const char *label, const struct record_account *account, const struct record_key *key)
{
	uint32_t current = record_generation(account, key->kind);

	if (key->generation < 1 || key->generation > current)
		check_violation(c, "keys", label, "generation %" PRIu32 ", and its account is at %" PRIu32,
		    key->generation, current);
	else if (key->state == KEY_CURRENT && key->generation != current)
		check_violation(c, "keys", label, "current, but its account is at generation %" PRIu32, current);
	else if ((key->state == KEY_GRACE || key->state == KEY_EXPIRED) && key->generation == current)
		check_violation(c, "keys", label, "superseded, but of its account's current generation");
}

static void
check_key(struct check *c, const char *label, const uint8_t *digest, const struct record_key *key)
{
	uint8_t found[RECORD_DIGEST_LEN];
	struct record_account account;
	int fault;

	check_serial(c, label, key->serial);
	if ((fault = store_slot(c->txn, key->account, key->kind, key->generation, found)) != 0)
		check_violation(c, "keys", label, "its slot, %s %s %" PRIu32 ", %s", key->account, kind_name(key->kind),
		    key->generation, check_reason(fault));
	else if (memcmp(found, digest, sizeof(found)) != 0)
		check_violation(c, "keys", label, "its slot, %s %s %" PRIu32 ", is another key's", key->account,
		    kind_name(key->kind), key->generation);
	if ((fault = store_account(c->txn, key->account, &account)) != 0) {
		check_violation(c, "keys", label, "its account, %s, %s", key->account, check_reason(fault));
		return;
	}
	check_generation(c, label, &account, key);
	check_grace(c, label, digest, &account, key);
	if (key->state <= KEY_GRACE && key->suspended != (account.suspended_ms != 0))
		check_violation(c, "keys", label, "its suspension and its account's differ");
	if (key->state > KEY_GRACE && key->ended_ms == 0)
		check_violation(c, "keys", label, "ended, but has no time of its end");
}

static bool
visit_key(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	struct record_key key;
	char label[LABEL_LEN];

	c->keys++;
	label_bytes(k->data, k->len, label);
	if (k->len != RECORD_DIGEST_LEN ||
	    record_get_key(store_pepper(c->store), k->data, k->len, v->data, v->len, &key) != 0) {
		check_violation(c, "keys", label, "the record is damaged");
		return check_goes_on(c);
	}
	c->in_state[key.state]++;
	check_key(c, label, k->data, &key);
	return check_goes_on(c);
}

/* ---- accounts ---- */

/* How many keys the account's record names itself. Those have no entry in slots. */
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
		check_violation(c, "accounts", account->account, "its current %s key, generation %" PRIu32 ", %s",
		    kind_name(kind), generation, check_reason(fault));
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
			check_violation(c, "accounts", account->account, "its key in grace, generation %" PRIu32 ", %s",
			    generation, check_reason(fault));
		else if (key.state != KEY_GRACE || key.expires_ms != account->grace[i].expires_ms)
			check_violation(c, "accounts", account->account,
			    "its list and the key of generation %" PRIu32 " differ on the end of its grace",
			    generation);
		for (unsigned j = 0; j < i; j++)
			if (account->grace[j].generation == generation)
				check_violation(c, "accounts", account->account,
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
		check_violation(c, "accounts", label, "the record is damaged");
		return check_goes_on(c);
	}
	c->suspended += account.suspended_ms != 0;
	c->in_accounts += keys_in_account(&account);
	generations = (uint64_t)account.secret_generation + account.publishable_generation;
	c->generations += generations;
	check_current(c, &account, KIND_SECRET, account.secret_generation);
	check_current(c, &account, KIND_PUBLISHABLE, account.publishable_generation);
	check_grace_list(c, &account);
	if ((fault = store_each_key(c->txn, account.account, (enum kind)0, 0, count_key, &counted)) != 0)
		check_violation(c, "accounts", account.account, "one of its keys or slots %s", check_reason(fault));
	else if (counted.n != generations)
		check_violation(c, "accounts", account.account,
		    "%" PRIu64 " keys, and its generations come to %" PRIu64, counted.n, generations);
	return check_goes_on(c);
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
		check_violation(c, "slots", label_bytes(k->data, k->len, label), "the key is damaged");
		return check_goes_on(c);
	}
	label_slot(account, kind, generation, label);
	if (record_get_slot(store_pepper(c->store), k->data, k->len, v->data, v->len, named) != 0)
		check_violation(c, "slots", label, "the record is damaged");
	else if ((fault = store_slot(c->txn, account, kind, generation, digest)) != 0 ||
	    (fault = store_key(c->txn, digest, &key)) != 0)
		check_violation(c, "slots", label, "its key %s", check_reason(fault));
	else if (strcmp(key.account, account) != 0 || key.kind != kind || key.generation != generation)
		check_violation(c, "slots", label, "its key is of another slot, %s %s %" PRIu32, key.account,
		    kind_name(key.kind), key.generation);
	else if (memcmp(digest, named, sizeof(named)) != 0)
		check_violation(c, "slots", label, "its account names another key for this slot");
	return check_goes_on(c);
}

/* ---- the indexes by time, and request tokens ---- */

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
		check_violation(c, "expiry", label_bytes(k->data, k->len, label), "the record is damaged");
		return check_goes_on(c);
	}
	label_bytes(digest, sizeof(digest), label);
	if ((fault = store_key(c->txn, digest, &key)) != 0)
		check_violation(c, "expiry", label, "its key %s", check_reason(fault));
	else if (key.state != KEY_GRACE || key.expires_ms != time_ms)
		check_violation(c, "expiry", label, "its key is not in grace, or until another time");
	return check_goes_on(c);
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
		check_violation(c, "tokens", label, "the record is damaged");
		return check_goes_on(c);
	}
	record_time_key(token.created_ms, k->data, &age);
	if ((fault = store_has(c->txn, TABLE_TOKEN_AGE, age.bytes, age.len)) != 0)
		check_violation(c, "tokens", label, "its entry in token_age %s", check_reason(fault));
	return check_goes_on(c);
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
		check_violation(c, "token_age", label_bytes(k->data, k->len, label), "the record is damaged");
		return check_goes_on(c);
	}
	label_bytes(index, sizeof(index), label);
	if ((fault = store_token(c->txn, index, &token)) != 0)
		check_violation(c, "token_age", label, "its token %s", check_reason(fault));
	else if (token.created_ms != time_ms)
		check_violation(c, "token_age", label, "its token was made at another time");
	return check_goes_on(c);
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
		check_violation(c, "events", label_bytes(k->data, k->len, label), "the key is damaged");
		return check_goes_on(c);
	}
	sequence = bytes_get64(k->data);
	snprintf(label, sizeof(label), "%" PRIu64, sequence);
	if (record_get_event(store_pepper(c->store), k->data, k->len, v->data, v->len, &event) != 0)
		check_violation(c, "events", label, "the record is damaged");
	if (c->first_event == 0)
		c->first_event = sequence;
	else if (sequence != c->last_event + 1)
		check_violation(c, "events", label, "the event before it is %" PRIu64, c->last_event);
	c->last_event = sequence;
	return check_goes_on(c);
}

/* ---- meta ---- */

static bool
visit_meta(void *arg, const struct lmdb_value *k, const struct lmdb_value *v)
{
	struct check *c = arg;
	char label[LABEL_LEN];

	if (record_sound(store_pepper(c->store), TABLE_META, k->data, k->len, v->data, v->len) != 0)
		check_violation(c, "meta", label_bytes(k->data, k->len, label), "the record is damaged");
	return check_goes_on(c);
}

const struct check_table check_tables[CHECK_TABLES] = {
	{ TABLE_META, "meta", visit_meta },
	{ TABLE_KEYS, "keys", visit_key },
	{ TABLE_ACCOUNTS, "accounts", visit_account },
	{ TABLE_SLOTS, "slots", visit_slot },
	{ TABLE_EXPIRY, "expiry", visit_expiry },
	{ TABLE_TOKENS, "tokens", visit_token },
	{ TABLE_TOKEN_AGE, "token_age", visit_token_age },
	{ TABLE_EVENTS, "events", visit_event },
};
