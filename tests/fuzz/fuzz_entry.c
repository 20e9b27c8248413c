/*
 * fuzz_entry.c - a cluster's entries and rows on any bytes: as they are, which must be refused, and sealed or with a
 * correct MAC, so that their decoders are reached. What a decoder accepts must be within every limit and must be the same
 * after it was written and read again. Of a sealed entry one bit is then flipped, and its place changed, which must be
 * refused.
 *
 *	input: 1 byte: what it is, see enum what; 1 byte: what to flip or change; the bytes
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/cluster/entry.h"
#include "service/cluster/entry_internal.h"
#include "service/cluster/row.h"
#include "tests/fuzz/fuzz.h"

enum what { RAW_ENTRY, ITEMS, RAW_ROW, A_ROW, WHATS };

static const struct entry_place here = {
	.cluster = { 5 }, .environment = ENVIRONMENT_TEST, .number = 9, .before = { 6 }
};
static const uint8_t row_key[ROW_KEY_LEN] = { 7 }, proposer[ENTRY_PROPOSER_LEN] = { 8 };
static const char row_name[] = "nodes/00.11";

static struct pepper *pepper;
static struct entry *entry, *again, *third;
static struct change change, second;
static uint8_t sealed[ENTRY_MAX];

static void
begin(void)
{
	static const uint8_t seed[32] = { 1 };

	if (pepper != NULL)
		return;
	FUZZ_CHECK(sodium_init() >= 0 && (pepper = pepper_from_bytes(seed)) != NULL, "no pepper");
	FUZZ_CHECK((entry = entry_new()) != NULL && (again = entry_new()) != NULL && (third = entry_new()) != NULL,
	    "out of memory");
}

/* ---- entries ---- */

static bool
is_text(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

static void
check_limits(const struct change *c)
{
	FUZZ_CHECK(c->time_ms >= 0 && c->n_keys <= CHANGE_KEYS && c->sealed_len <= sizeof(c->sealed), "beyond a limit");
	FUZZ_CHECK(c->account.n_grace <= LIMIT_IN_GRACE, "%u keys in grace", c->account.n_grace);
	FUZZ_CHECK(!c->touches_account || record_account_ok(c->account.account, strlen(c->account.account)), "a name");
	for (unsigned i = 0; i < c->n_keys; i++) {
		const struct record_key *k = &c->keys[i].key;

		FUZZ_CHECK(is_text(k->account, sizeof(k->account)) && record_account_ok(k->account, strlen(k->account)),
		    "a key's account");
		FUZZ_CHECK(k->created_ms >= 0 && k->expires_ms >= 0 && k->ended_ms >= 0, "a negative time");
		FUZZ_CHECK(!c->keys[i].is_new || c->touches_account, "a new key of no account");
	}
	FUZZ_CHECK(is_text(c->event.account, sizeof(c->event.account)) &&
		is_text(c->event.by.address, sizeof(c->event.by.address)) &&
		is_text(c->event.by.certificate, sizeof(c->event.by.certificate)) &&
		is_text(c->event.on_behalf_of, sizeof(c->event.on_behalf_of)),
	    "a text without an end");
	FUZZ_CHECK(c->rotate_lines == 0 || (c->rotate_lines >= 2 && c->rotate_lines <= PEPPER_LINES_MAX), "lines");
}

/* How much shorter it may become: a key's account may be spelled out where it is the change's, and is not when written. */
static size_t
spare(const struct change *c)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n_keys && c->touches_account; i++)
		if (strcmp(c->keys[i].key.account, c->account.account) == 0)
			n += strlen(c->account.account);
	return n;
}

/*
 * Reads all changes of ${e}, up to one that is none, and adds them to ${to}. ${rc}: how it ended; ${spared}: see spare().
 * Returns how many there are.
 */
static unsigned
pass_on(struct entry *e, struct entry *to, size_t *spared, int *rc)
{
	unsigned n = 0;

	*spared = 0;
	entry_clear(to);
	while ((*rc = entry_next(e, &change)) == 1) {
		check_limits(&change);
		FUZZ_CHECK(entry_add(to, &change) == 0, "what was read cannot be written");
		*spared += spare(&change);
		n++;
	}
	FUZZ_CHECK(*rc == 0 || *rc == -FAULT_CORRUPT, "an entry is %d", *rc);
	return n;
}

/* ${again} has the ${n} changes that were read from ${bytes}. */
static void
check_same(const uint8_t *bytes, size_t len, unsigned n, size_t spared)
{
	size_t size, written;

	size = entry_seal(again, pepper, &here, proposer, sealed);
	written = size - ENTRY_SEAL_LEN;
	FUZZ_CHECK(entry_changes(again) == n, "%zu changes of %u", entry_changes(again), n);
	FUZZ_CHECK(written <= len && len - written <= spared, "%zu bytes when it is written anew, not %zu", written, len);
	FUZZ_CHECK(entry_open(again, pepper, &here, sealed, size) == 0, "not to be opened");
	entry_set_plain(entry, bytes, len);
	entry_clear(third);
	for (unsigned i = 0; i < n; i++) {
		FUZZ_CHECK(entry_next(entry, &change) == 1 && entry_next(again, &second) == 1, "a change is missing");
		FUZZ_CHECK(memcmp(&change, &second, sizeof(change)) == 0, "another change when it is written anew");
		FUZZ_CHECK(entry_add(third, &second) == 0, "what was read twice cannot be written");
	}
	FUZZ_CHECK(entry_next(again, &second) == 0, "a change too many");
	FUZZ_CHECK(entry_seal(third, pepper, &here, proposer, sealed) == size, "another length each time that it is written");
}

static void
check_seal(const uint8_t *bytes, size_t len, uint8_t choice)
{
	struct entry_place there = here;
	size_t size, at;

	entry_set_plain(entry, bytes, len);
	size = entry_seal(entry, pepper, &here, proposer, sealed);
	FUZZ_CHECK(size == len + ENTRY_SEAL_LEN && size <= ENTRY_MAX, "a size");
	switch (choice % 4) {
	case 0:
		there.cluster[choice / 4 % ENTRY_CLUSTER_LEN] ^= 1;
		break;
	case 1:
		there.environment = ENVIRONMENT_LIVE;
		break;
	case 2:
		there.number ^= 1ULL << choice / 4;
		break;
	default:
		there.before[choice / 4 % ENTRY_TAG_LEN] ^= 1;
	}
	FUZZ_CHECK(entry_open(again, pepper, &there, sealed, size) == -FAULT_CORRUPT, "opened at another place");
	at = choice * (size - 1) / UINT8_MAX;
	sealed[at] ^= (uint8_t)(1U << choice % 8);
	FUZZ_CHECK(entry_open(again, pepper, &here, sealed, size) != 0, "a flipped bit is not seen");
	FUZZ_CHECK(entry_changes(again) == 0 && entry_next(again, &second) == 0, "something of what was refused");
	sealed[at] ^= (uint8_t)(1U << choice % 8);
	FUZZ_CHECK(entry_open(again, pepper, &here, sealed, size) == 0, "what was sealed is not to be opened");
}

static void
try_items(const uint8_t *bytes, size_t len, uint8_t choice)
{
	size_t spared;
	unsigned n;
	int rc;

	if (len > ENTRY_PLAIN_MAX)
		return;
	check_seal(bytes, len, choice);
	entry_set_plain(entry, bytes, len);
	n = pass_on(entry, again, &spared, &rc);
	if (rc == 0)
		check_same(bytes, len, n, spared);
}

static void
try_raw_entry(const uint8_t *bytes, size_t len)
{
	int rc = entry_open(entry, pepper, &here, bytes, len);

	FUZZ_CHECK(rc == -FAULT_CORRUPT || (rc == -FAULT_UNIMPLEMENTED && bytes[0] > ENTRY_VERSION), "opened: %d", rc);
	FUZZ_CHECK(entry_next(entry, &change) == 0, "something of what was refused");
}

/* ---- rows ---- */

/* As row.c makes it. */
static void
add_mac(uint8_t *bytes, size_t len)
{
	static const uint8_t name_len[4] = { 0, 0, 0, sizeof(row_name) - 1 };
	crypto_generichash_state state;

	crypto_generichash_init(&state, row_key, sizeof(row_key), ROW_MAC_LEN);
	crypto_generichash_update(&state, here.cluster, sizeof(here.cluster));
	crypto_generichash_update(&state, name_len, sizeof(name_len));
	crypto_generichash_update(&state, (const uint8_t *)row_name, sizeof(row_name) - 1);
	crypto_generichash_update(&state, bytes, len);
	crypto_generichash_final(&state, bytes + len, ROW_MAC_LEN);
}

static void
try_row(const uint8_t *bytes, size_t len, uint8_t choice)
{
	uint8_t *copy = malloc(len + ROW_MAC_LEN), written[ROW_MAX];
	struct row row;
	size_t at;

	FUZZ_CHECK(copy != NULL, "out of memory");
	memcpy(copy, bytes, len);
	add_mac(copy, len);
	len += ROW_MAC_LEN;
	if (row_get(row_key, here.cluster, row_name, copy, len, &row) == 0) {
		FUZZ_CHECK(is_text(row.address, sizeof(row.address)), "an address without an end");
		FUZZ_CHECK(
		    row_put(row_key, here.cluster, row_name, &row, written) == len && memcmp(written, copy, len) == 0,
		    "another row when it is written anew");
		FUZZ_CHECK(
		    row_get(row_key, here.cluster, "nodes/00.12", copy, len, &row) != 0, "the row of another life");
		at = choice * (len - 1) / UINT8_MAX;
		copy[at] ^= (uint8_t)(1U << choice % 8);
		FUZZ_CHECK(row_get(row_key, here.cluster, row_name, copy, len, &row) != 0, "a flipped bit is not seen");
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct row row;
	uint8_t *bytes;

	begin();
	if (size < 2)
		return 0;
	size -= 2;
	bytes = fuzz_copy(data + 2, size);
	switch (data[0] % WHATS) {
	case RAW_ENTRY:
		try_raw_entry(bytes, size);
		break;
	case ITEMS:
		try_items(bytes, size, data[1]);
		break;
	case RAW_ROW:
		FUZZ_CHECK(row_get(row_key, here.cluster, row_name, bytes, size, &row) != 0, "a row without a MAC");
		break;
	default:
		try_row(bytes, size, data[1]);
	}
	free(bytes);
	return 0;
}
