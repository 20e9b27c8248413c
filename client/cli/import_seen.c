/*
 * import_seen.c - accounts and keys that were seen (see import_seen.h), by hash, in one table with open addressing.
 */
#include "client/cli/import_seen.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define SIZE_MIN 1024

/* Values of an account: which of its keys were seen. The value of a key is its account's hash. */
enum { SEEN_ACCOUNT = 1, SEEN_SECRET = 2, SEEN_PUBLISHABLE = 4 };

void
import_seen_fini(struct import_seen *s)
{
	free(s->entries);
	*s = (struct import_seen){ 0 };
}

/* ${of} tells apart what is hashed: an account, a secret key, a publishable one. */
static void
hash_of(unsigned char of, const void *bytes, size_t len, uint64_t hash[2])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 2 * sizeof(hash[0]));
	crypto_generichash_update(&state, &of, 1);
	crypto_generichash_update(&state, bytes, len);
	crypto_generichash_final(&state, (unsigned char *)hash, 2 * sizeof(hash[0]));
}

/* The place of ${hash}, which is empty if it was not seen. */
static struct import_seen_entry *
place(const struct import_seen *s, const uint64_t hash[2])
{
	size_t i = (size_t)hash[0] & (s->size - 1);

	while ((s->entries[i].hash[0] != 0 || s->entries[i].hash[1] != 0) &&
	    memcmp(s->entries[i].hash, hash, sizeof(s->entries[i].hash)) != 0)
		i = (i + 1) & (s->size - 1);
	return &s->entries[i];
}

/* Room for three more entries at least, and a quarter of the table empty. */
static int
grow(struct import_seen *s)
{
	struct import_seen bigger = { .size = s->size == 0 ? SIZE_MIN : 2 * s->size, .n = s->n };

	if (s->n + 3 <= s->size / 4 * 3)
		return 0;
	if ((bigger.entries = calloc(bigger.size, sizeof(bigger.entries[0]))) == NULL)
		return -1;
	for (size_t i = 0; i < s->size; i++)
		if (s->entries[i].hash[0] != 0 || s->entries[i].hash[1] != 0)
			*place(&bigger, s->entries[i].hash) = s->entries[i];
	free(s->entries);
	*s = bigger;
	return 0;
}

static void
remember(struct import_seen *s, const uint64_t hash[2], uint64_t value)
{
	struct import_seen_entry *e = place(s, hash);

	if (e->hash[0] == 0 && e->hash[1] == 0)
		s->n++;
	memcpy(e->hash, hash, sizeof(e->hash));
	e->value = value;
}

/* A key of a line while it is judged. */
struct judged {
	const struct import_key *key;
	unsigned kind; /* SEEN_SECRET or SEEN_PUBLISHABLE */
	uint64_t hash[2];
	enum fob_import_outcome outcome;
};

/* As compare_import() of fobd. */
static void
key_judge(const struct import_seen *s, uint64_t account, uint64_t account_value, struct judged *j)
{
	const struct import_seen_entry *e;

	j->outcome = FOB_IMPORT_OUTCOME_UNCHANGED;
	if (!j->key->given)
		return;
	hash_of((unsigned char)j->kind, j->key->sha256, sizeof(j->key->sha256), j->hash);
	e = place(s, j->hash);
	if (e->hash[0] == 0 && e->hash[1] == 0)
		j->outcome =
		    (account_value & j->kind) == 0 ? FOB_IMPORT_OUTCOME_IMPORTED : FOB_IMPORT_OUTCOME_ACCOUNT_CONFLICT;
	else if (e->value != account)
		j->outcome = FOB_IMPORT_OUTCOME_KEY_CONFLICT;
}

int
import_seen_judge(struct import_seen *s, const struct import_line *line, enum fob_import_outcome *outcome)
{
	struct judged keys[2] = { { .key = &line->secret, .kind = SEEN_SECRET },
		{ .key = &line->publishable, .kind = SEEN_PUBLISHABLE } };
	enum fob_import_outcome worst = FOB_IMPORT_OUTCOME_UNCHANGED;
	uint64_t account[2], value;
	bool added;

	if (grow(s) != 0)
		return -1;
	hash_of(SEEN_ACCOUNT, line->account, strlen(line->account), account);
	value = place(s, account)->value;
	added = (value & SEEN_ACCOUNT) == 0;
	for (int i = 0; i < 2; i++) {
		key_judge(s, account[0], value, &keys[i]);
		worst = keys[i].outcome > worst ? keys[i].outcome : worst;
		added = added || keys[i].outcome == FOB_IMPORT_OUTCOME_IMPORTED;
	}
	*outcome = worst > FOB_IMPORT_OUTCOME_UNCHANGED ? worst :
	    added                                       ? FOB_IMPORT_OUTCOME_IMPORTED :
							  FOB_IMPORT_OUTCOME_UNCHANGED;
	if (*outcome != FOB_IMPORT_OUTCOME_IMPORTED)
		return 0;
	for (int i = 0; i < 2; i++) {
		if (!keys[i].key->given)
			continue;
		value |= keys[i].kind;
		remember(s, keys[i].hash, account[0]);
	}
	remember(s, account, value | SEEN_ACCOUNT);
	return 0;
}
