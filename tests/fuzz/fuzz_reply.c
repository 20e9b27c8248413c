/*
 * fuzz_reply.c - libfob's decoder of every method on any reply: a fault leaves nothing behind, an accepted reply is
 * complete, and VALID is never returned for a reply that contradicts itself or the request.
 *
 *	input: 1 byte: which decoder; 1 byte: which allocation fails, 0 none; 1 byte: what was asked for; the reply
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/codec.h"
#include "tests/fuzz/fuzz.h"

#define HEAD 3

struct reply {
	uint8_t *p;
	size_t len;
	uint8_t asked;
};

/*
 * ---- libfob returns only numbers of fob.h, whatever a newer server sends ----
 *
 * The switches have no default: the compiler then warns of a number of fob.h that is missing here.
 */

static bool
is_environment(enum fob_environment environment)
{
	switch (environment) {
	case FOB_ENVIRONMENT_ANY:
	case FOB_ENVIRONMENT_LIVE:
	case FOB_ENVIRONMENT_TEST:
		return true;
	}
	return false;
}

static bool
is_kind(enum fob_kind kind)
{
	switch (kind) {
	case FOB_KIND_ANY:
	case FOB_KIND_SECRET:
	case FOB_KIND_PUBLISHABLE:
		return true;
	}
	return false;
}

static bool
is_verdict(enum fob_verdict verdict)
{
	switch (verdict) {
	case FOB_VERDICT_DENIED:
	case FOB_VERDICT_VALID:
	case FOB_VERDICT_MALFORMED:
	case FOB_VERDICT_NOT_FOUND:
	case FOB_VERDICT_EXPIRED:
	case FOB_VERDICT_REVOKED:
	case FOB_VERDICT_SUSPENDED:
	case FOB_VERDICT_WRONG_ENVIRONMENT:
	case FOB_VERDICT_FORBIDDEN:
		return true;
	}
	return false;
}

static bool
is_state(enum fob_key_state state)
{
	switch (state) {
	case FOB_KEY_STATE_UNKNOWN:
	case FOB_KEY_STATE_CURRENT:
	case FOB_KEY_STATE_GRACE:
	case FOB_KEY_STATE_EXPIRED:
	case FOB_KEY_STATE_REVOKED:
		return true;
	}
	return false;
}

static bool
is_event_type(enum fob_event_type type)
{
	switch (type) {
	case FOB_EVENT_TYPE_UNKNOWN:
	case FOB_EVENT_TYPE_ACCOUNT_CREATED:
	case FOB_EVENT_TYPE_KEY_ROLLED:
	case FOB_EVENT_TYPE_KEY_EXPIRED:
	case FOB_EVENT_TYPE_KEY_REVOKED:
	case FOB_EVENT_TYPE_ACCOUNT_SUSPENDED:
	case FOB_EVENT_TYPE_ACCOUNT_RESUMED:
	case FOB_EVENT_TYPE_ACCOUNT_IMPORTED:
	case FOB_EVENT_TYPE_RESTORED:
		return true;
	}
	return false;
}

static bool
is_outcome(enum fob_import_outcome outcome)
{
	switch (outcome) {
	case FOB_IMPORT_OUTCOME_UNKNOWN:
	case FOB_IMPORT_OUTCOME_IMPORTED:
	case FOB_IMPORT_OUTCOME_UNCHANGED:
	case FOB_IMPORT_OUTCOME_ACCOUNT_CONFLICT:
	case FOB_IMPORT_OUTCOME_KEY_CONFLICT:
	case FOB_IMPORT_OUTCOME_BAD_ACCOUNT:
	case FOB_IMPORT_OUTCOME_BAD_KEY:
	case FOB_IMPORT_OUTCOME_BAD_TIME:
		return true;
	}
	return false;
}

static bool
is_health_status(enum fob_health_status status)
{
	switch (status) {
	case FOB_HEALTH_STATUS_UNKNOWN:
	case FOB_HEALTH_STATUS_SERVING:
	case FOB_HEALTH_STATUS_NOT_SERVING:
		return true;
	}
	return false;
}

/* ---- checks of every result ---- */

static void
check_error(int rc, const struct fob_error *error)
{
	size_t len = strnlen(error->message, sizeof(error->message));

	FUZZ_CHECK(rc <= 0 && rc >= FOB_EUNAUTHENTICATED, "a fault of %d", rc);
	FUZZ_CHECK(rc == error->fault, "the error is %d, the result %d", error->fault, rc);
	FUZZ_CHECK(len < sizeof(error->message) && (rc == 0) == (len == 0), "a fault without a reason, or the reverse");
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK(
		    (unsigned char)error->message[i] >= 0x20 && error->message[i] != 0x7f, "a control character");
}

static void
check_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	FUZZ_CHECK(len < size, "a text does not end");
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)text[i] >= 0x20 && text[i] != 0x7f, "a control character");
}

static void
check_word(const char *text, size_t size, const char *others)
{
	check_text(text, size);
	for (size_t i = 0; text[i] != '\0'; i++)
		FUZZ_CHECK((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'Z') ||
			(text[i] >= 'a' && text[i] <= 'z') || strchr(others, text[i]) != NULL,
		    "%s is not a name", text);
}

static void
check_zero(int rc, const void *p, size_t len)
{
	FUZZ_CHECK(rc == 0 || sodium_is_zero(p, len), "a fault, but something is left");
}

/* A struct that starts with its size, which stays. */
static void
check_sized_zero(int rc, const void *p, size_t len)
{
	size_t size;

	memcpy(&size, p, sizeof(size));
	FUZZ_CHECK(size == len, "a struct of %zu bytes says %zu", len, size);
	check_zero(rc, (const uint8_t *)p + sizeof(size), len - sizeof(size));
}

static void
check_account_id(const char account[FOB_ACCOUNT_SIZE])
{
	check_word(account, FOB_ACCOUNT_SIZE, "._-");
	FUZZ_CHECK(account[0] != '\0', "no account");
}

static void
check_key(const struct fob_key *k)
{
	check_account_id(k->account);
	check_word(k->last4, sizeof(k->last4), "");
	FUZZ_CHECK(strlen(k->last4) == 4 && is_environment(k->environment) && is_kind(k->kind) && is_state(k->state),
	    "a key of no kind");
}

static void
check_new_key(const struct fob_new_key *k)
{
	check_key(k->key);
	check_word(k->secret, FOB_SECRET_SIZE, "_");
	FUZZ_CHECK(k->secret[0] != '\0', "no secret");
}

static void
check_account(const struct fob_account *a)
{
	check_account_id(a->account);
	FUZZ_CHECK(is_environment(a->environment), "environment %d", (int)a->environment);
}

static void
check_verification(const struct fob_verification *v, enum fob_environment required)
{
	check_word(v->account, sizeof(v->account), "._-");
	check_word(v->last4, sizeof(v->last4), "");
	check_text(v->detail, sizeof(v->detail));
	FUZZ_CHECK(is_verdict(v->verdict) && is_environment(v->environment) && is_kind(v->kind), "a number");
	FUZZ_CHECK(fob_allows(v) == (v->verdict == FOB_VERDICT_VALID), "fob_allows is of another mind");
	if (v->verdict == FOB_VERDICT_VALID)
		FUZZ_CHECK(v->account[0] != '\0' && v->environment != 0 &&
			v->livemode == (v->environment == FOB_ENVIRONMENT_LIVE) &&
			(required == FOB_ENVIRONMENT_ANY || required == v->environment),
		    "VALID is believed of a reply that contradicts itself");
}

/* ---- the decoders ---- */

static void
decode_verify(const struct reply *r)
{
	enum fob_environment required = (enum fob_environment)(r->asked % 3);
	struct fob_verification v;
	struct fob_error error;
	int rc;

	memset(&v, 0xff, sizeof(v));
	rc = codec_decode_verify(r->p, r->len, required, &v, &error);
	check_error(rc, &error);
	check_sized_zero(rc, &v, sizeof(v));
	check_verification(&v, required);
}

/* As client.c decodes a batch: every item has a place. */
static void
decode_verify_batch(const struct reply *r)
{
	static struct fob_verification out[FOB_BATCH_MAX];
	struct codec_item items[FOB_BATCH_MAX] = { 0 };
	int faults[FOB_BATCH_MAX], rc;
	struct fob_error error;
	size_t n = r->asked;

	for (size_t i = 0; i < n; i++)
		items[i] = (struct codec_item){
			.required = (enum fob_environment)(i % 3), .result = &out[i], .fault = &faults[i]
		};
	memset(out, 0xff, n * sizeof(out[0]));
	rc = codec_decode_verify_items(r->p, r->len, items, n, &error);
	check_error(rc, &error);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		FUZZ_CHECK(faults[i] <= 0 && faults[i] >= FOB_EUNAUTHENTICATED, "an item's fault is %d", faults[i]);
		check_sized_zero(faults[i], &out[i], sizeof(out[i]));
		check_verification(&out[i], items[i].required);
	}
}

/* Each item has its own result. Those without a fault pointer are of callers that no longer wait. */
static void
decode_verify_items(const struct reply *r)
{
	struct fob_verification results[8];
	struct fob_error errors[8], error;
	struct codec_item items[8];
	int faults[8], rc;
	size_t n = r->asked % 8 + 1;

	memset(errors, 0, sizeof(errors));
	memset(results, 0, sizeof(results));
	for (size_t i = 0; i < n; i++) {
		faults[i] = 1;
		items[i] = (struct codec_item){ .required = (enum fob_environment)(i % 3),
			.result = &results[i],
			.fault = (r->asked >> i & 8) != 0 ? NULL : &faults[i],
			.error = &errors[i] };
	}
	rc = codec_decode_verify_items(r->p, r->len, items, n, &error);
	check_error(rc, &error);
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK(
		    (faults[i] == 1) == (rc != 0 || items[i].fault == NULL), "item %zu is not what was asked", i);
		check_verification(&results[i], items[i].required);
		if (faults[i] != 1) {
			check_sized_zero(faults[i], &results[i], sizeof(results[i]));
			check_error(faults[i], &errors[i]);
		}
	}
}

static void
decode_created(const struct reply *r)
{
	struct fob_created_account *out;
	struct fob_error error;
	int rc = codec_decode_created(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK((rc == 0) == (out != NULL), "a fault with a result, or the reverse");
	if (rc != 0)
		return;
	check_account(out->account);
	check_new_key(out->secret_key);
	check_new_key(out->publishable_key);
	codec_created_free(out);
}

static void
decode_rolled(const struct reply *r)
{
	struct fob_rolled_key *out;
	struct fob_error error;
	int rc = codec_decode_rolled(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK((rc == 0) == (out != NULL), "a fault with a result, or the reverse");
	if (rc != 0)
		return;
	check_new_key(out->new_key);
	if (out->old_key != NULL)
		check_key(out->old_key);
	else
		FUZZ_CHECK(out->new_key->key->generation == 1, "no old key, and this is not the first");
	codec_rolled_free(out);
}

static void
decode_key(const struct reply *r)
{
	struct fob_key out;
	struct fob_error error;
	int rc = codec_decode_key(r->p, r->len, &out, &error);

	check_error(rc, &error);
	check_sized_zero(rc, &out, sizeof(out));
	if (rc == 0)
		check_key(&out);
}

static void
decode_account(const struct reply *r)
{
	struct fob_account out;
	struct fob_error error;
	int rc;

	rc = codec_decode_account(
	    r->asked % 2 ? METHOD_SUSPEND_ACCOUNT : METHOD_RESUME_ACCOUNT, r->p, r->len, &out, &error);
	check_error(rc, &error);
	check_sized_zero(rc, &out, sizeof(out));
	if (rc == 0)
		check_account(&out);
}

static void
decode_import(const struct reply *r)
{
	enum fob_import_outcome out[256];
	struct fob_error error;
	int rc = codec_decode_import(r->p, r->len, r->asked, out, &error);

	check_error(rc, &error);
	check_zero(rc, out, r->asked * sizeof(out[0]));
	for (unsigned i = 0; i < r->asked; i++)
		FUZZ_CHECK(is_outcome(out[i]), "outcome %d", (int)out[i]);
}

static void
decode_health(const struct reply *r)
{
	struct fob_error error;
	enum fob_health_status out;
	int rc = codec_decode_health(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK(is_health_status(out) && (rc == 0 || out == 0), "health %d", (int)out);
}

static void
decode_stats(const struct reply *r)
{
	struct fob_error error;
	struct fob_stats *out;
	int rc = codec_decode_stats(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK((rc == 0) == (out != NULL), "a fault with a result, or the reverse");
	if (rc != 0)
		return;
	check_text(out->version, sizeof(out->version));
	FUZZ_CHECK(out->n_environments <= 2, "%zu environments", out->n_environments);
	for (size_t i = 0; i < out->n_environments; i++)
		FUZZ_CHECK(is_environment(out->environments[i]->environment), "an environment of no number");
	free(out);
}

static void
decode_backup(const struct reply *r)
{
	struct fob_error error;
	struct fob_backup_part *out;
	int rc = codec_decode_backup(r->p, r->len, &out, &error);
	uint8_t last = 0;

	check_error(rc, &error);
	FUZZ_CHECK((rc == 0) == (out != NULL), "a fault with a result, or the reverse");
	if (rc != 0)
		return;
	FUZZ_CHECK(out->len <= out->total, "%zu bytes of %llu", out->len, (unsigned long long)out->total);
	for (size_t i = 0; i < out->len; i++)
		last = (uint8_t)(last ^ out->data[i]);
	FUZZ_CHECK(last == 0 || out->len > 0, "bytes that are not there");
	free(out);
}

static void
decode_cluster_init(const struct reply *r)
{
	static const uint8_t none[FOB_CLUSTER_ID_LEN];
	struct fob_cluster_identity out;
	struct fob_error error;
	int rc = codec_decode_cluster_init(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK(rc == 0 || memcmp(out.cluster, none, sizeof(none)) == 0, "a fault with a cluster's id");
	rc = codec_decode_cluster_forget(r->p, r->len, &error);
	check_error(rc, &error);
}

static void
decode_cluster_status(const struct reply *r)
{
	struct fob_cluster_status *out;
	struct fob_error error;
	int rc = codec_decode_cluster_status(r->p, r->len, &out, &error);

	check_error(rc, &error);
	FUZZ_CHECK((rc == 0) == (out != NULL), "a fault with a result, or the reverse");
	if (rc != 0)
		return;
	FUZZ_CHECK(out->fresh_ms >= 0, "it answers for a negative time");
	check_text(out->closed, sizeof(out->closed));
	for (size_t i = 0; i < out->n_nodes; i++)
		check_text(out->nodes[i]->address, sizeof(out->nodes[i]->address));
	free(out);
}

/* ---- pages ---- */

/* The list's position, and the page size that was asked for. */
static uint32_t
begin_page(const struct reply *r, struct fob_cursor *cursor)
{
	*cursor = (struct fob_cursor){ .len = r->asked % 9 };
	memset(cursor->bytes, 'a', cursor->len);
	return r->asked % 8;
}

static void
check_page(const struct reply *r, int rc, const struct fob_cursor *cursor, const void *page, size_t n)
{
	struct fob_cursor before;
	uint32_t size = begin_page(r, &before);

	FUZZ_CHECK((rc == 0) == (page != NULL), "a fault with a page, or the reverse");
	FUZZ_CHECK(n <= (size == 0 ? FOB_PAGE_MAX : size), "a page of %zu, and %u were asked for", n, size);
	FUZZ_CHECK(cursor->len <= sizeof(cursor->bytes), "a cursor of %u bytes", cursor->len);
	if (rc != 0)
		FUZZ_CHECK(memcmp(cursor, &before, sizeof(before)) == 0, "a fault, and the cursor has moved");
	else
		FUZZ_CHECK(
		    cursor->done || cursor->len != before.len || memcmp(cursor->bytes, before.bytes, before.len) != 0,
		    "the cursor stands still");
}

static void
decode_keys(const struct reply *r)
{
	union codec_page *page;
	struct fob_cursor cursor;
	struct fob_error error;
	uint32_t size = begin_page(r, &cursor);
	int rc = codec_decode_page(METHOD_LIST_KEYS, r->p, r->len, size, &cursor, &page, &error);

	check_error(rc, &error);
	check_page(r, rc, &cursor, page, page != NULL ? page->keys.n : 0);
	for (size_t i = 0; page != NULL && i < page->keys.n; i++)
		check_key(page->keys.keys[i]);
	free(page);
}

static void
decode_accounts(const struct reply *r)
{
	union codec_page *page;
	struct fob_cursor cursor;
	struct fob_error error;
	uint32_t size = begin_page(r, &cursor);
	int rc = codec_decode_page(METHOD_LIST_ACCOUNTS, r->p, r->len, size, &cursor, &page, &error);

	check_error(rc, &error);
	check_page(r, rc, &cursor, page, page != NULL ? page->accounts.n : 0);
	for (size_t i = 0; page != NULL && i < page->accounts.n; i++)
		check_account(page->accounts.accounts[i]);
	free(page);
}

static void
decode_events(const struct reply *r)
{
	union codec_page *page;
	struct fob_cursor cursor;
	struct fob_error error;
	uint32_t size = begin_page(r, &cursor);
	int rc = codec_decode_page(METHOD_LIST_EVENTS, r->p, r->len, size, &cursor, &page, &error);

	check_error(rc, &error);
	check_page(r, rc, &cursor, page, page != NULL ? page->events.n : 0);
	for (size_t i = 0; page != NULL && i < page->events.n; i++) {
		const struct fob_event *e = page->events.events[i];

		FUZZ_CHECK(is_event_type(e->type) && is_kind(e->kind), "an event of no type");
		check_word(e->account, sizeof(e->account), "._-");
		FUZZ_CHECK(
		    e->account[0] != '\0' || e->type == FOB_EVENT_TYPE_RESTORED || e->type == FOB_EVENT_TYPE_UNKNOWN,
		    "an event of no account");
		check_word(e->last4, sizeof(e->last4), "");
	}
	free(page);
}

static void (*const decoders[])(const struct reply *r) = { decode_verify, decode_verify_batch, decode_verify_items,
	decode_created, decode_rolled, decode_key, decode_account, decode_import, decode_health, decode_stats,
	decode_keys, decode_accounts, decode_events, decode_backup, decode_cluster_init, decode_cluster_status };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply r;

	if (size < HEAD)
		return 0;
	r = (struct reply){ .p = fuzz_copy(data + HEAD, size - HEAD), .len = size - HEAD, .asked = data[2] };
	fault_arm(data[1]);
	decoders[data[0] % (sizeof(decoders) / sizeof(decoders[0]))](&r);
	fault_disarm();
	free(r.p);
	return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	struct fuzz_random r = { seed };

	if (size <= HEAD || max <= HEAD || fuzz_below(&r, 8) == 0)
		return LLVMFuzzerMutate(data, size, max);
	if (fuzz_below(&r, 8) == 0)
		data[1] = (uint8_t)(fuzz_below(&r, 2) * fuzz_below(&r, 24));
	return HEAD + wire_mutate(data + HEAD, size - HEAD, max - HEAD, &r);
}
