/*
 * Requests as bytes and bytes as results: what is asked arrives, and a reply that lies, is cut or comes from the future
 * never lets anybody in and never writes past an array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/arena.h"
#include "client/codec.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "tests/unit/client/reply.h"

static const uint8_t token[FOB_TOKEN_LEN] = "0123456789abcdef0123456789abcde";

static Fob__V1__VerifyKeyResponse
valid(void)
{
	Fob__V1__VerifyKeyResponse m = FOB__V1__VERIFY_KEY_RESPONSE__INIT;

	m.verdict = FOB__V1__VERDICT__VALID;
	m.account = TEXT("acct_1");
	m.environment = FOB__V1__ENVIRONMENT__LIVE;
	m.livemode = 1;
	m.kind = FOB__V1__KEY_KIND__SECRET;
	m.generation = 3;
	m.current_generation = 4;
	m.superseded = 1;
	m.created_ms = 1000;
	m.expires_ms = 2000;
	m.last4 = TEXT("aB3z");
	return m;
}

static int
verify(
    const Fob__V1__VerifyKeyResponse *m, enum fob_environment required, struct fob_verification *v, struct fob_error *e)
{
	uint8_t *reply;
	size_t len;
	int rc;

	memset(v, 0xaa, sizeof(*v));
	reply = reply_make(0, TEXT(""), &m->base, &len);
	rc = codec_decode_verify(reply, len, required, v, e);
	free(reply);
	return rc;
}

static void
test_verify_reply(void **state)
{
	Fob__V1__VerifyKeyResponse m = valid();
	struct fob_verification v;
	struct fob_error e;

	(void)state;
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, &e), 0);
	assert_true(fob_allows(&v));
	assert_string_equal(v.account, "acct_1");
	assert_string_equal(v.last4, "aB3z");
	assert_int_equal(v.environment, FOB_ENVIRONMENT_LIVE);
	assert_int_equal(v.kind, FOB_KIND_SECRET);
	assert_true(v.livemode && v.superseded);
	assert_int_equal(v.generation, 3);
	assert_int_equal(v.current_generation, 4);
	assert_int_equal(v.created_ms, 1000);
	assert_int_equal(v.expires_ms, 2000);
	assert_int_equal(e.fault, 0);

	/* An empty message is a verdict that denies. */
	fob__v1__verify_key_response__init(&m);
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, &e), 0);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	assert_false(fob_allows(&v));
}

static void
test_unknown_numbers_deny(void **state)
{
	static const int strange[] = { 9, 10, 255, 1000000, -1, INT32_MAX, INT32_MIN };
	Fob__V1__VerifyKeyResponse m;
	struct fob_verification v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		m = valid();
		m.verdict = (Fob__V1__Verdict)strange[i];
		assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), 0);
		assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
		assert_false(fob_allows(&v));

		m = valid();
		m.kind = (Fob__V1__KeyKind)strange[i];
		assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), 0);
		assert_int_equal(v.kind, FOB_KIND_ANY);

		m = valid();
		m.environment = (Fob__V1__Environment)strange[i];
		assert_int_equal(verify(&m, FOB_ENVIRONMENT_ANY, &v, NULL), FOB_EINTERNAL);
		assert_false(fob_allows(&v));
	}
}

/* Where protobuf-c keeps 32 bits, 2^32 + 1 would be 1: VALID. */
static void
test_numbers_that_do_not_fit(void **state)
{
	static const uint8_t verdict[] = { 0x08, 0x81, 0x80, 0x80, 0x80, 0x10 };
	static const uint8_t code[] = { 0x08, 0x80, 0x80, 0x80, 0x80, 0x10 };
	Fob__V1__VerifyKeyResponse m = valid();
	uint8_t body[256], reply[256];
	Fob__Rpc__V1__Response envelope = FOB__RPC__V1__RESPONSE__INIT;
	struct fob_verification v;
	struct fob_error e;
	size_t len;

	(void)state;
	envelope.body.data = body;
	envelope.body.len = fob__v1__verify_key_response__pack(&m, body);
	len = fob__rpc__v1__response__pack(&envelope, reply);
	assert_int_equal(codec_decode_verify(reply, len, FOB_ENVIRONMENT_ANY, &v, &e), 0);
	assert_true(fob_allows(&v));
	memcpy(body + envelope.body.len, verdict, sizeof(verdict));
	envelope.body.len += sizeof(verdict);
	len = fob__rpc__v1__response__pack(&envelope, reply);
	assert_int_equal(codec_decode_verify(reply, len, FOB_ENVIRONMENT_ANY, &v, &e), FOB_EINTERNAL);
	assert_false(fob_allows(&v));
	/* A code of 2^32 is not OK. */
	envelope.body.len -= sizeof(verdict);
	len = fob__rpc__v1__response__pack(&envelope, reply);
	memcpy(reply + len, code, sizeof(code));
	assert_int_equal(codec_decode_verify(reply, len + sizeof(code), FOB_ENVIRONMENT_ANY, &v, &e), FOB_EINTERNAL);
	assert_false(fob_allows(&v));
}

static void
test_contradictions(void **state)
{
	const struct fob_verification zero = { FOB_VERIFICATION_INIT };
	Fob__V1__VerifyKeyResponse m[6];
	struct fob_verification v;
	struct fob_error e;
	size_t i;

	(void)state;
	for (i = 0; i < 6; i++)
		m[i] = valid();
	m[0].account = TEXT("");
	m[1].livemode = 0;
	m[2].environment = FOB__V1__ENVIRONMENT__TEST;
	m[3].environment = FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED;
	m[4].environment = FOB__V1__ENVIRONMENT__TEST; /* whole, but not what was required */
	m[4].livemode = 0;
	m[5].last4 = TEXT("abc");
	for (i = 0; i < 6; i++) {
		assert_int_equal(verify(&m[i], FOB_ENVIRONMENT_LIVE, &v, &e), FOB_EINTERNAL);
		assert_memory_equal(&v, &zero, sizeof(v));
		assert_int_equal(e.fault, FOB_EINTERNAL);
		assert_true(e.message[0] != '\0');
	}
	assert_int_equal(verify(&m[4], FOB_ENVIRONMENT_TEST, &v, &e), 0);
}

static void
test_text(void **state)
{
	static const struct {
		ProtobufCBinaryData given;
		const char *shown;
	} details[] = {
		{ { 7, (uint8_t *)(uintptr_t) "h\xc3\xa9l\xe2\x82\xac" }, "h\xc3\xa9l\xe2\x82\xac" },
		{ { 3, (uint8_t *)(uintptr_t) "a\0b" }, "a?b" }, { { 5, (uint8_t *)(uintptr_t) "\x1b[31m" }, "?[31m" },
		{ { 2, (uint8_t *)(uintptr_t) "\xc2\x9b" }, "?" },            /* a C1 control */
		{ { 2, (uint8_t *)(uintptr_t) "\xc0\xaf" }, "??" },           /* overlong */
		{ { 3, (uint8_t *)(uintptr_t) "\xed\xa0\x80" }, "???" },      /* a surrogate */
		{ { 4, (uint8_t *)(uintptr_t) "\xf4\x90\x80\x80" }, "????" }, /* beyond U+10FFFF */
		{ { 2, (uint8_t *)(uintptr_t) "\xe2\x82" }, "??" }            /* cut */
	};
	static const char *const ids[] = { "a b", "a/b", "a\xc3\xa9", "a\nb" };
	Fob__V1__VerifyKeyResponse m = valid();
	struct fob_verification v;
	uint8_t longest[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(details) / sizeof(details[0]); i++) {
		m.detail = details[i].given;
		assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), 0);
		assert_string_equal(v.detail, details[i].shown);
	}
	/* Cut between characters: 127 bytes of room, 63 characters of two. */
	for (i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 == 0 ? 0xc3 : 0xa9;
	m.detail = (ProtobufCBinaryData){ .len = sizeof(longest), .data = longest };
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), 0);
	assert_int_equal(strlen(v.detail), 126);

	m = valid();
	memset(longest, 'a', sizeof(longest));
	m.account = (ProtobufCBinaryData){ .len = FOB_ACCOUNT_SIZE - 1, .data = longest };
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), 0);
	assert_int_equal(strlen(v.account), FOB_ACCOUNT_SIZE - 1);
	m.account.len++;
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), FOB_EINTERNAL);
	m.account = TEXT("acct\0_1");
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), FOB_EINTERNAL);
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		m.account = (ProtobufCBinaryData){ .len = strlen(ids[i]), .data = (uint8_t *)(uintptr_t)ids[i] };
		assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), FOB_EINTERNAL);
	}
	m = valid();
	m.last4 = TEXT("abcde");
	assert_int_equal(verify(&m, FOB_ENVIRONMENT_LIVE, &v, NULL), FOB_EINTERNAL);
}

static void
test_fault_codes(void **state)
{
	const struct fob_verification zero = { FOB_VERIFICATION_INIT };
	Fob__V1__VerifyKeyResponse m = valid();
	struct fob_verification v;
	struct fob_error e;
	uint8_t *reply;
	size_t len;
	int code;

	(void)state;
	for (code = 1; code < 20; code++) {
		/* With a body that says VALID, which must not count. */
		reply = reply_make(code, TEXT("why\n"), &m.base, &len);
		memset(&v, 0xaa, sizeof(v));
		assert_int_equal(
		    codec_decode_verify(reply, len, FOB_ENVIRONMENT_LIVE, &v, &e), code < 17 ? -code : FOB_EUNKNOWN);
		assert_memory_equal(&v, &zero, sizeof(v));
		assert_int_equal(e.fault, code < 17 ? -code : FOB_EUNKNOWN);
		assert_non_null(strstr(e.message, "why?"));
		free(reply);
	}
	reply = reply_make(-5, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_verify(reply, len, FOB_ENVIRONMENT_LIVE, &v, &e), FOB_EUNKNOWN);
	free(reply);
	reply = reply_make(14, TEXT(""), NULL, &len);
	assert_int_equal(codec_decode_verify(reply, len, FOB_ENVIRONMENT_LIVE, &v, &e), FOB_EUNAVAILABLE);
	assert_string_equal(e.message, "UNAVAILABLE");
	free(reply);
}

/*
 * Cut anywhere, and with any one byte changed: an error or a denial or a result in its bounds, and no sanitizer's word.
 */
static void
test_cut_and_changed(void **state)
{
	Fob__V1__VerifyKeyResponse m = valid();
	struct fob_verification v;
	struct fob_error e;
	uint8_t *reply, *part;
	size_t len, i;
	int bit, rc;

	(void)state;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	for (i = 0; i < len; i++) {
		assert_non_null(part = malloc(i + 1));
		memcpy(part, reply, i);
		rc = codec_decode_verify(part, i, FOB_ENVIRONMENT_LIVE, &v, &e);
		assert_true(rc == FOB_EINTERNAL || (rc == 0 && !fob_allows(&v)));
		free(part);
	}
	for (i = 0; i < len; i++) {
		for (bit = 0; bit < 8; bit++) {
			reply[i] ^= (uint8_t)(1 << bit);
			rc = codec_decode_verify(reply, len, FOB_ENVIRONMENT_LIVE, &v, &e);
			assert_true(rc <= 0 && memchr(v.account, '\0', sizeof(v.account)) != NULL);
			assert_true(rc == 0 || !fob_allows(&v));
			reply[i] ^= (uint8_t)(1 << bit);
		}
	}
	free(reply);
}

static void
test_memory_is_bounded(void **state)
{
	const size_t len = CODEC_REPLY_MAX;
	struct fob_stats *stats;
	uint8_t *reply, *body;
	struct fob_error e;
	size_t i;

	(void)state;
	/* Half a million empty sub-messages: 2 bytes each on the wire, some hundred decoded. */
	assert_non_null(reply = malloc(len));
	memcpy(reply, "\x1a\xfc\xff\x3f", 4); /* the envelope's body: all that follows */
	body = reply + 4;
	for (i = 0; i + 1 < len - 4; i += 2) {
		body[i] = 0x52; /* environments */
		body[i + 1] = 0;
	}
	assert_int_equal(codec_decode_stats(reply, len, &stats, &e), FOB_EINTERNAL);
	assert_non_null(strstr(e.message, "malformed"));
	free(reply);
	assert_non_null(reply = calloc(1, len + 1));
	assert_int_equal(codec_decode_stats(reply, len + 1, &stats, &e), FOB_EINTERNAL);
	assert_non_null(strstr(e.message, "too long"));
	free(reply);
}

static void
test_arena(void **state)
{
	struct arena a;
	uint8_t *first, *p;
	int i;

	(void)state;
	arena_init(&a, 100000);
	first = a.allocator.alloc(&a, 100);
	memset(first, 0x55, 100);
	assert_null(a.allocator.alloc(&a, 200000));
	assert_null(a.allocator.alloc(&a, SIZE_MAX));
	assert_null(a.allocator.alloc(&a, SIZE_MAX / 2 - 8));
	for (i = 0; (p = a.allocator.alloc(&a, 1000)) != NULL; i++) {
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		memset(p, 0x55, 1000);
	}
	assert_in_range(i, 80, 102);
	a.allocator.free(&a, first);
	assert_int_equal(first[0], 0x55);
	arena_fini(&a);
	assert_int_equal(first[0], 0);
	assert_int_equal(first[99], 0);
}

static void
test_batch(void **state)
{
	static const enum fob_environment required[3] = { FOB_ENVIRONMENT_LIVE, FOB_ENVIRONMENT_LIVE,
		FOB_ENVIRONMENT_TEST };
	Fob__V1__VerifyKeysItem items[3], *pointers[3] = { &items[0], &items[1], &items[2] };
	Fob__V1__VerifyKeysResponse m = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;
	Fob__V1__VerifyKeyResponse result = valid();
	struct fob_verification v[3];
	struct codec_item places[3];
	struct fob_error e;
	uint8_t *reply;
	size_t len, i;
	int faults[3];

	(void)state;
	for (i = 0; i < 3; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		places[i] = (struct codec_item){ .required = required[i], .result = &v[i], .fault = &faults[i] };
	}
	items[0].result = &result;
	items[1].code = FOB__RPC__V1__CODE__UNAVAILABLE;
	items[1].result = &result; /* beside a fault it does not count */
	items[2].result = &result; /* VALID in live, where test was required */
	m.n_items = 3;
	m.items = pointers;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_verify_items(reply, len, places, 3, &e), 0);
	assert_int_equal(faults[0], 0);
	assert_true(fob_allows(&v[0]));
	assert_int_equal(faults[1], FOB_EUNAVAILABLE);
	assert_false(fob_allows(&v[1]));
	assert_int_equal(faults[2], FOB_EINTERNAL);
	assert_false(fob_allows(&v[2]));

	/* Another number of answers than of questions answers none. */
	faults[0] = 1;
	assert_int_equal(codec_decode_verify_items(reply, len, places, 2, &e), FOB_EINTERNAL);
	assert_int_equal(faults[0], 1);
	free(reply);

	/* OK, and then nothing. */
	items[0].result = NULL;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_verify_items(reply, len, places, 3, &e), 0);
	assert_int_equal(faults[0], FOB_EINTERNAL);
	free(reply);
}

static void
test_new_keys(void **state)
{
	Fob__V1__RollKeyResponse m = FOB__V1__ROLL_KEY_RESPONSE__INIT;
	Fob__V1__NewKey new_key = FOB__V1__NEW_KEY__INIT;
	Fob__V1__Key key = FOB__V1__KEY__INIT;
	struct fob_rolled_key *out;
	struct fob_error e;
	uint8_t *reply;
	size_t len, i;
	static const struct {
		ProtobufCBinaryData secret;
		int rc;
	} secrets[] = { { { 44, (uint8_t *)(uintptr_t) "sk_live_0123456789012345678901234567890abcde" }, 0 },
		{ { 47, (uint8_t *)(uintptr_t) "sk_live_0123456789012345678901234567890abcdefgh" }, 0 },
		{ { 48, (uint8_t *)(uintptr_t) "sk_live_0123456789012345678901234567890abcdefghi" }, FOB_EINTERNAL },
		{ { 0, NULL }, FOB_EINTERNAL }, { { 9, (uint8_t *)(uintptr_t) "sk_live_\0" }, FOB_EINTERNAL },
		{ { 9, (uint8_t *)(uintptr_t) "sk_live_\n" }, FOB_EINTERNAL } };

	(void)state;
	key.account = TEXT("acct_1");
	key.last4 = TEXT("abcd");
	key.environment = FOB__V1__ENVIRONMENT__LIVE;
	key.kind = FOB__V1__KEY_KIND__SECRET;
	key.state = (Fob__V1__KeyState)77;
	key.last_used_ms = 60000;
	new_key.key = &key;
	m.new_key = &new_key;
	m.old_key = &key;
	for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		new_key.secret = secrets[i].secret;
		reply = reply_make(0, TEXT(""), &m.base, &len);
		assert_int_equal(codec_decode_rolled(reply, len, &out, &e), secrets[i].rc);
		if (secrets[i].rc == 0) {
			assert_int_equal(strlen(out->new_key->secret), secrets[i].secret.len);
			assert_int_equal(out->old_key->state, FOB_KEY_STATE_UNKNOWN);
			assert_int_equal(out->old_key->last_used_ms, 60000);
		} else {
			assert_null(out);
		}
		codec_rolled_free(out);
		free(reply);
	}
	/* Every sub-message may be missing. */
	new_key.secret = secrets[0].secret;
	for (i = 0; i < 3; i++) {
		m.new_key = i == 0 ? NULL : &new_key;
		new_key.key = i == 1 ? NULL : &key;
		m.old_key = i == 2 ? NULL : &key;
		reply = reply_make(0, TEXT(""), &m.base, &len);
		assert_int_equal(codec_decode_rolled(reply, len, &out, &e), FOB_EINTERNAL);
		assert_null(out);
		free(reply);
	}
}

/* Only a slot's first key may come without an old one. */
static void
test_first_keys(void **state)
{
	Fob__V1__RollKeyResponse m = FOB__V1__ROLL_KEY_RESPONSE__INIT;
	Fob__V1__NewKey new_key = FOB__V1__NEW_KEY__INIT;
	Fob__V1__Key key = FOB__V1__KEY__INIT;
	struct fob_rolled_key *out;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	key.account = TEXT("acct_1");
	key.last4 = TEXT("abcd");
	new_key.key = &key;
	new_key.secret = TEXT("sk_live_x");
	m.new_key = &new_key;
	for (key.generation = 1; key.generation <= 2; key.generation++) {
		reply = reply_make(0, TEXT(""), &m.base, &len);
		assert_int_equal(codec_decode_rolled(reply, len, &out, &e), key.generation == 1 ? 0 : FOB_EINTERNAL);
		if (out != NULL)
			assert_null(out->old_key);
		codec_rolled_free(out);
		free(reply);
	}
}

static void
test_import(void **state)
{
	static const uint8_t sha256[FOB_SHA256_LEN] = { 1 };
	const struct fob_import_account accounts[2] = { { FOB_IMPORT_ACCOUNT_INIT, .account = "a", .created_ms = 5,
							    .secret_sha256 = sha256, .secret_last4 = "abcd" },
		{ FOB_IMPORT_ACCOUNT_INIT, .account = "b" } };
	struct fob_import_request import = { FOB_IMPORT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_TEST,
		.accounts = accounts, .n = 2 };
	Fob__V1__ImportOutcome outcomes[3] = { FOB__V1__IMPORT_OUTCOME__IMPORTED, (Fob__V1__ImportOutcome)99,
		FOB__V1__IMPORT_OUTCOME__KEY_CONFLICT };
	Fob__V1__ImportAccountsResponse m = FOB__V1__IMPORT_ACCOUNTS_RESPONSE__INIT;
	Fob__V1__ImportAccountsRequest *sent;
	enum fob_import_outcome out[3];
	struct codec_body b;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	assert_int_equal(codec_encode_import(&import, token, &b, &e), 0);
	assert_non_null(sent = fob__v1__import_accounts_request__unpack(NULL, b.len, b.p));
	assert_int_equal(sent->environment, FOB__V1__ENVIRONMENT__TEST);
	assert_int_equal(sent->n_items, 2);
	assert_int_equal(sent->items[0]->created_ms, 5);
	assert_int_equal(sent->items[0]->secret_sha256.len, FOB_SHA256_LEN);
	assert_int_equal(sent->items[0]->publishable_sha256.len, 0);
	assert_int_equal(sent->items[1]->secret_sha256.len, 0);
	fob__v1__import_accounts_request__free_unpacked(sent, NULL);
	codec_body_free(&b);
	import.n = 0;
	assert_int_equal(codec_encode_import(&import, token, &b, &e), FOB_EINVALID_ARGUMENT);
	import.n = FOB_IMPORT_MAX + 1;
	assert_int_equal(codec_encode_import(&import, token, &b, &e), FOB_EINVALID_ARGUMENT);
	import = (struct fob_import_request){ FOB_IMPORT_REQUEST_INIT, .accounts = accounts, .n = 1 };
	assert_int_equal(codec_encode_import(&import, token, &b, &e), FOB_EINVALID_ARGUMENT);

	m.outcomes = outcomes;
	m.n_outcomes = 3;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_import(reply, len, 3, out, &e), 0);
	assert_int_equal(out[0], FOB_IMPORT_OUTCOME_IMPORTED);
	/* One that is not known is no success. */
	assert_int_equal(out[1], FOB_IMPORT_OUTCOME_UNKNOWN);
	assert_int_equal(out[2], FOB_IMPORT_OUTCOME_KEY_CONFLICT);
	assert_int_equal(codec_decode_import(reply, len, 2, out, &e), FOB_EINTERNAL);
	assert_int_equal(out[0], FOB_IMPORT_OUTCOME_UNKNOWN);
	free(reply);
	reply = reply_make(8, TEXT("no room"), NULL, &len);
	assert_int_equal(codec_decode_import(reply, len, 3, out, &e), FOB_ERESOURCE_EXHAUSTED);
	assert_int_equal(out[2], FOB_IMPORT_OUTCOME_UNKNOWN);
	free(reply);
}

static void
test_pages(void **state)
{
	Fob__V1__ListEventsResponse m = FOB__V1__LIST_EVENTS_RESPONSE__INIT;
	Fob__V1__ListKeysResponse keys = FOB__V1__LIST_KEYS_RESPONSE__INIT;
	Fob__V1__Event event = FOB__V1__EVENT__INIT, *events[3] = { &event, &event, &event };
	struct fob_cursor before = { .len = 3, .bytes = "abc" }, cur = before;
	union codec_page *page;
	struct fob_error e;
	uint8_t *reply, big[127] = { 1 };
	size_t len;

	(void)state;
	event.account = TEXT("acct_1");
	event.type = FOB__V1__EVENT_TYPE__KEY_ROLLED;
	event.sequence = 7;
	m.events = events;
	m.n_events = 2;
	m.more = 1;
	m.next_page_token = TEXT("def");
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 1, &cur, &page, &e),
	    FOB_EINTERNAL); /* longer than asked for */
	assert_null(page);
	assert_memory_equal(&cur, &before, sizeof(cur));
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 2, &cur, &page, &e), 0);
	assert_int_equal(page->events.n, 2);
	assert_int_equal(page->events.events[1]->sequence, 7);
	assert_int_equal(page->events.events[1]->size, sizeof(struct fob_event));
	assert_false(cur.done);
	assert_memory_equal(cur.bytes, "def", 3);
	free(page);
	/* The same place again, and more to come: for ever. */
	before = cur;
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 2, &cur, &page, &e), FOB_EINTERNAL);
	assert_memory_equal(&cur, &before, sizeof(cur));
	free(reply);

	m.more = 0;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 0, &cur, &page, &e), 0);
	assert_true(cur.done);
	assert_int_equal(cur.len, 3);
	free(page);
	free(reply);

	m.next_page_token.len = 0;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 0, &cur, &page, &e), FOB_EINTERNAL);
	free(reply);

	cur = before;
	m.next_page_token = (ProtobufCBinaryData){ .len = 126, .data = big };
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 0, &cur, &page, &e), 0);
	assert_int_equal(cur.len, 126);
	free(page);
	free(reply);
	cur = before;
	m.next_page_token.len = 127;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_EVENTS, reply, len, 0, &cur, &page, &e), FOB_EINTERNAL);
	assert_memory_equal(&cur, &before, sizeof(cur));
	free(reply);

	reply = reply_make(0, TEXT(""), &keys.base, &len);
	assert_int_equal(codec_decode_page(METHOD_LIST_KEYS, reply, len, 0, &cur, &page, &e), 0);
	assert_int_equal(page->keys.n, 0);
	assert_true(cur.done);
	assert_int_equal(cur.len, 0);
	free(page);
	free(reply);
}

/* The same of an event that ${origin} asked for. */
static int
decode_event_of(int type, ProtobufCBinaryData account, Fob__V1__Origin *origin, struct fob_event *out)
{
	Fob__V1__ListEventsResponse m = FOB__V1__LIST_EVENTS_RESPONSE__INIT;
	Fob__V1__Event event = FOB__V1__EVENT__INIT, *events[1] = { &event };
	struct fob_cursor cur = { 0 };
	union codec_page *page;
	struct fob_error e;
	uint8_t *reply;
	size_t len;
	int rc;

	event.type = (Fob__V1__EventType)type;
	event.account = account;
	event.origin = origin;
	m.events = events;
	m.n_events = 1;
	m.next_page_token = TEXT("abc");
	reply = reply_make(0, TEXT(""), &m.base, &len);
	if ((rc = codec_decode_page(METHOD_LIST_EVENTS, reply, len, 0, &cur, &page, &e)) == 0) {
		assert_int_equal(page->events.n, 1);
		*out = *page->events.events[0];
	}
	free(page);
	free(reply);
	return rc;
}

/* Returns 0 with the one event of a page at *${out}, or the fault of the page. */
static int
decode_event(int type, ProtobufCBinaryData account, struct fob_event *out)
{
	return decode_event_of(type, account, NULL, out);
}

static void
test_who_asked(void **state)
{
	Fob__V1__Origin origin = FOB__V1__ORIGIN__INIT;
	struct fob_event event;
	uint8_t big[300];

	(void)state;
	assert_int_equal(decode_event(FOB__V1__EVENT_TYPE__KEY_EXPIRED, TEXT("acme"), &event), 0);
	assert_false(event.has_user);
	assert_string_equal(event.address, "");
	origin.pid = 77;
	assert_int_equal(decode_event_of(FOB__V1__EVENT_TYPE__KEY_ROLLED, TEXT("acme"), &origin, &event), 0);
	assert_true(event.has_user);
	assert_int_equal(event.uid, 0);
	assert_int_equal(event.pid, 77);
	origin.address = TEXT("192.0.2.7:50312");
	origin.certificate = TEXT("ops\n\xff");
	assert_int_equal(decode_event_of(FOB__V1__EVENT_TYPE__KEY_ROLLED, TEXT("acme"), &origin, &event), 0);
	assert_false(event.has_user);
	assert_int_equal(event.pid, 0);
	assert_string_equal(event.address, "192.0.2.7:50312");
	assert_string_equal(event.certificate, "ops??");
	assert_string_equal(event.on_behalf_of, "");
	origin.on_behalf_of = TEXT("ada\x1b");
	memset(big, 'x', sizeof(big));
	origin.certificate = (ProtobufCBinaryData){ .len = sizeof(big), .data = big };
	assert_int_equal(decode_event_of(FOB__V1__EVENT_TYPE__KEY_ROLLED, TEXT("acme"), &origin, &event), 0);
	assert_int_equal(strlen(event.certificate), FOB_PEER_SIZE - 1);
	assert_string_equal(event.on_behalf_of, "ada?");
}

/* Every type of the .proto has a number and a name in libfob. */
static void
test_event_types(void **state)
{
	const ProtobufCEnumDescriptor *types = &fob__v1__event_type__descriptor;
	struct fob_event event;

	(void)state;
	for (unsigned i = 0; i < types->n_values; i++) {
		int type = types->values[i].value;

		assert_int_equal(decode_event(type, TEXT("acct_1"), &event), 0);
		assert_int_equal(event.type, type);
		if (type != FOB_EVENT_TYPE_UNKNOWN)
			assert_string_not_equal(fob_event_type_name(event.type), "UNKNOWN");
		assert_int_equal(decode_event(type, TEXT(""), &event),
		    type == FOB_EVENT_TYPE_RESTORED || type == FOB_EVENT_TYPE_UNKNOWN ? 0 : FOB_EINTERNAL);
	}
}

/* One from the future, of the whole database or not, is unknown; and it keeps nobody from the others of its page. */
static void
test_event_types_of_a_newer_server(void **state)
{
	const int types[] = { FOB_EVENT_TYPE_RESTORED + 1, 4711, INT32_MAX, -1, INT32_MIN };
	struct fob_event event;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(decode_event(types[i], TEXT("acct_1"), &event), 0);
		assert_int_equal(event.type, FOB_EVENT_TYPE_UNKNOWN);
		assert_string_equal(event.account, "acct_1");
		assert_int_equal(decode_event(types[i], TEXT(""), &event), 0);
		assert_int_equal(event.type, FOB_EVENT_TYPE_UNKNOWN);
		assert_string_equal(event.account, "");
		assert_int_equal(decode_event(types[i], TEXT("acct 1"), &event), FOB_EINTERNAL);
	}
}

static void
test_stats(void **state)
{
	Fob__V1__StatsResponse m = FOB__V1__STATS_RESPONSE__INIT;
	Fob__V1__CodeCount codes[3], *code_pointers[3] = { &codes[0], &codes[1], &codes[2] };
	Fob__V1__VerdictCount verdicts[2], *verdict_pointers[2] = { &verdicts[0], &verdicts[1] };
	Fob__V1__EnvironmentStats alone = FOB__V1__ENVIRONMENT_STATS__INIT;
	Fob__V1__EnvironmentStats env = FOB__V1__ENVIRONMENT_STATS__INIT, *envs[3] = { &env, &env, &env };
	Fob__V1__ClusterStats cluster = FOB__V1__CLUSTER_STATS__INIT;
	Fob__V1__KeyStateCount states[2], *state_pointers[2] = { &states[0], &states[1] };
	Fob__V1__AnsweredCount answered[2], *answered_pointers[2] = { &answered[0], &answered[1] };
	Fob__V1__Durations durations[2], *duration_pointers[2] = { &durations[0], &durations[1] };
	uint64_t numbers[30];
	struct fob_stats *s;
	struct fob_error e;
	uint8_t *reply;
	size_t len, i;

	(void)state;
	for (i = 0; i < 3; i++) {
		fob__v1__code_count__init(&codes[i]);
		codes[i].count = i + 1;
	}
	codes[1].code = FOB__RPC__V1__CODE__UNAUTHENTICATED;
	codes[2].code = (Fob__Rpc__V1__Code)99;
	for (i = 0; i < 2; i++) {
		fob__v1__verdict_count__init(&verdicts[i]);
		verdicts[i].count = i + 10;
	}
	verdicts[0].verdict = FOB__V1__VERDICT__VALID;
	verdicts[1].verdict = (Fob__V1__Verdict)-99;
	env.n_verdicts = 2;
	env.verdicts = verdict_pointers;
	env.environment = FOB__V1__ENVIRONMENT__TEST;
	env.commits = 5;
	env.pepper_lines = 2;
	env.rotating = true;
	env.rotation_keys = 6;
	env.rotation_records = 7;
	env.rotation_of_records = 8;
	env.failures = 9;
	env.n_group_sizes = 20;
	env.group_sizes = numbers;
	env.n_key_states = 2;
	env.key_states = state_pointers;
	env.superseded_in_use = 10;
	env.superseded_in_use_end_ms = 11;
	cluster.applied = 12;
	cluster.head = 13;
	cluster.fresh_ms = 14;
	cluster.nodes = 15;
	cluster.closed = true;
	env.cluster = &cluster;
	for (i = 0; i < 30; i++)
		numbers[i] = i;
	for (i = 0; i < 2; i++) {
		fob__v1__key_state_count__init(&states[i]);
		fob__v1__answered_count__init(&answered[i]);
		fob__v1__durations__init(&durations[i]);
		states[i].count = i + 20;
		answered[i].count = i + 30;
		durations[i].n_buckets = 30;
		durations[i].buckets = numbers;
		durations[i].sum_ns = i + 40;
	}
	states[0].state = FOB__V1__KEY_STATE__KEY_STATE_GRACE;
	states[1].state = (Fob__V1__KeyState)99;
	answered[0].class_ = FOB__V1__OPERATION_CLASS__OPERATION_CLASS_LIST;
	answered[0].environment = FOB__V1__ENVIRONMENT__TEST;
	answered[0].code = FOB__RPC__V1__CODE__NOT_FOUND;
	answered[1].class_ = (Fob__V1__OperationClass)99;
	answered[1].environment = (Fob__V1__Environment)-99;
	answered[1].code = (Fob__Rpc__V1__Code)99;
	durations[0].class_ = FOB__V1__OPERATION_CLASS__OPERATION_CLASS_CHANGE;
	durations[1].class_ = (Fob__V1__OperationClass)99;
	m.n_answered = m.n_durations = 2;
	m.answered = answered_pointers;
	m.durations = duration_pointers;
	m.n_codes = 3;
	m.codes = code_pointers;
	m.n_environments = 2;
	m.environments = envs;
	m.version = TEXT("a version whose name is longer than thirty-one bytes");
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_stats(reply, len, &s, &e), 0);
	free(reply);
	assert_int_equal(strlen(s->version), 31);
	assert_int_equal(s->codes[0], 1);
	assert_int_equal(s->codes[16], 2);
	assert_int_equal(s->codes[2], 3);
	assert_int_equal(s->n_environments, 2);
	assert_int_equal(s->environments[1]->verdicts[FOB_VERDICT_VALID], 10);
	assert_int_equal(s->environments[1]->verdicts[FOB_VERDICT_DENIED], 11);
	assert_int_equal(s->environments[0]->commits, 5);
	assert_int_equal(s->environments[0]->pepper_lines, 2);
	assert_true(s->environments[0]->rotating);
	assert_int_equal(s->environments[0]->rotation_keys, 6);
	assert_int_equal(s->environments[0]->rotation_records, 7);
	assert_int_equal(s->environments[0]->rotation_of_records, 8);
	assert_int_equal(s->environments[0]->failures, 9);
	assert_int_equal(s->environments[0]->group_sizes[14], 14);
	assert_int_equal(s->environments[0]->group_sizes[15], 15 + 16 + 17 + 18 + 19);
	assert_true(s->environments[0]->keys_counted);
	assert_int_equal(s->environments[0]->keys_by_state[FOB_KEY_STATE_GRACE], 20);
	assert_int_equal(s->environments[0]->keys_by_state[FOB_KEY_STATE_UNKNOWN], 21);
	assert_int_equal(s->environments[1]->superseded_in_use, 10);
	assert_int_equal(s->environments[1]->superseded_in_use_end_ms, 11);
	assert_true(s->environments[0]->in_cluster && s->environments[0]->cluster_closed);
	assert_false(s->environments[0]->cluster_agent_connected);
	assert_int_equal(s->environments[0]->cluster_applied, 12);
	assert_int_equal(s->environments[0]->cluster_head, 13);
	assert_int_equal(s->environments[0]->cluster_fresh_ms, 14);
	assert_int_equal(s->environments[0]->cluster_nodes, 15);
	assert_int_equal(s->answered[FOB_OPERATION_CLASS_LIST][FOB_ENVIRONMENT_TEST][-FOB_ENOT_FOUND], 30);
	assert_int_equal(s->answered[FOB_OPERATION_CLASS_OTHER][FOB_ENVIRONMENT_ANY][-FOB_EUNKNOWN], 31);
	assert_int_equal(s->durations[FOB_OPERATION_CLASS_CHANGE][23], 23);
	assert_int_equal(s->durations[FOB_OPERATION_CLASS_CHANGE][24], 24 + 25 + 26 + 27 + 28 + 29);
	assert_int_equal(s->durations_ns[FOB_OPERATION_CLASS_CHANGE], 40);
	assert_int_equal(s->durations_ns[FOB_OPERATION_CLASS_OTHER], 0);
	free(s);

	envs[1] = &alone;
	cluster.agent_connected = true;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_stats(reply, len, &s, &e), 0);
	free(reply);
	assert_true(s->environments[0]->in_cluster && s->environments[0]->cluster_agent_connected);
	assert_false(s->environments[1]->in_cluster || s->environments[1]->cluster_agent_connected);
	free(s);

	m.n_environments = 3;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_stats(reply, len, &s, &e), FOB_EINTERNAL);
	assert_null(s);
	free(reply);
}

static Fob__V1__VerifyKeyRequest *
encode_verify(const struct fob_verify_request *r)
{
	Fob__V1__VerifyKeyRequest *m;
	uint8_t *bytes;
	size_t len;

	assert_int_equal(codec_verify_size(r, &len, NULL), 0);
	assert_non_null(bytes = malloc(len));
	codec_verify_write(r, bytes);
	assert_non_null(m = fob__v1__verify_key_request__unpack(NULL, len, bytes));
	free(bytes);
	return m;
}

static void
test_verify_requests(void **state)
{
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = "s\0x", .secret_len = 3,
		.operation = "charges.create", .require_environment = FOB_ENVIRONMENT_TEST };
	Fob__V1__VerifyKeyRequest *v;

	(void)state;
	v = encode_verify(&r);
	assert_int_equal(v->credential_case, FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET);
	assert_int_equal(v->secret.len, 3);
	assert_memory_equal(v->secret.data, "s\0x", 3);
	assert_int_equal(v->operation.len, 14);
	assert_int_equal(v->require_environment, FOB__V1__ENVIRONMENT__TEST);
	fob__v1__verify_key_request__free_unpacked(v, NULL);

	/* An empty header is a header: the server is to judge it. */
	r = (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT, .authorization = "" };
	v = encode_verify(&r);
	assert_int_equal(v->credential_case, FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION);
	fob__v1__verify_key_request__free_unpacked(v, NULL);
}

/* What a roll with ${grace_s} says on the wire: its seconds, or -1 for no grace message, which is fobd's default. */
static int64_t
encode_grace(uint32_t grace_s)
{
	const struct fob_roll_request roll = { FOB_ROLL_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "a", .grace_s = grace_s };
	Fob__V1__RollKeyRequest *m;
	struct codec_body b;
	int64_t seconds;

	assert_int_equal(codec_encode_roll(&roll, token, &b, NULL), 0);
	assert_non_null(m = fob__v1__roll_key_request__unpack(NULL, b.len, b.p));
	assert_int_equal(m->request_token.len, FOB_TOKEN_LEN);
	assert_memory_equal(m->request_token.data, token, FOB_TOKEN_LEN);
	seconds = m->grace != NULL ? (int64_t)m->grace->seconds : -1;
	fob__v1__roll_key_request__free_unpacked(m, NULL);
	codec_body_free(&b);
	return seconds;
}

/* A grace that was forgotten must be the default: no grace at all would lock a customer out. */
static void
test_grace(void **state)
{
	(void)state;
	assert_int_equal(encode_grace(0), -1);
	assert_int_equal(encode_grace(1), 1);
	assert_int_equal(encode_grace(FOB_GRACE_MAX_S), FOB_GRACE_MAX_S);
	assert_int_equal(encode_grace(FOB_GRACE_MAX_S + 1), FOB_GRACE_MAX_S + 1); /* for the server to refuse */
	assert_int_equal(encode_grace(FOB_GRACE_NONE_S), 0);
}

static void
test_verify_requests_that_cannot_be(void **state)
{
	static const uint8_t big[CODEC_REQUEST_MAX];
	const struct fob_verify_request bad[] = { { FOB_VERIFY_REQUEST_INIT, .secret = "x",
						      .authorization = "x" }, /* both */
		{ FOB_VERIFY_REQUEST_INIT },                                  /* neither */
		{ FOB_VERIFY_REQUEST_INIT, .secret = "x", .require_environment = (enum fob_environment)3 },
		{ FOB_VERIFY_REQUEST_INIT, .secret = big, .secret_len = sizeof(big) } };
	const struct fob_verify_request *batch[1];
	struct codec_body b;
	struct fob_error e;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(codec_verify_size(&bad[i], &len, &e), FOB_EINVALID_ARGUMENT);
		batch[0] = &bad[i];
		assert_int_equal(codec_encode_verify_batch(batch, 1, &b, &e), FOB_EINVALID_ARGUMENT);
		assert_null(b.p);
		assert_int_equal(codec_encode_verify_batch(batch, 1, &b, NULL), FOB_EINVALID_ARGUMENT);
	}
}

static void
test_requests_that_cannot_be(void **state)
{
	struct fob_account_request account = { FOB_ACCOUNT_REQUEST_INIT, .account = "a" };
	const struct fob_roll_request roll = { FOB_ROLL_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "a", .authorizing_secret = "" };
	const struct fob_revoke_request revoke = { FOB_REVOKE_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "a" };
	const struct fob_list_request list = { FOB_LIST_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "a" };
	struct fob_list_request bad;
	struct fob_cursor cur = { .len = 127 };
	struct codec_body b;
	struct fob_error e;

	(void)state;
	assert_int_equal(codec_encode_account(METHOD_CREATE_ACCOUNT, &account, token, &b, &e), FOB_EINVALID_ARGUMENT);
	account = (struct fob_account_request){ FOB_ACCOUNT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE };
	assert_int_equal(codec_encode_account(METHOD_CREATE_ACCOUNT, &account, token, &b, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(codec_encode_roll(&roll, token, &b, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(codec_encode_revoke(&revoke, token, &b, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(codec_encode_list(METHOD_LIST_KEYS, &list, &cur, &b, &e), FOB_EINVALID_ARGUMENT);
	cur.len = 0;
	bad = list;
	bad.page_size = 1001;
	assert_int_equal(codec_encode_list(METHOD_LIST_KEYS, &bad, &cur, &b, &e), FOB_EINVALID_ARGUMENT);
	bad = list;
	bad.account = NULL;
	assert_int_equal(codec_encode_list(METHOD_LIST_KEYS, &bad, &cur, &b, &e), FOB_EINVALID_ARGUMENT);
	bad = list;
	bad.environment = FOB_ENVIRONMENT_ANY;
	assert_int_equal(codec_encode_list(METHOD_LIST_EVENTS, &bad, &cur, &b, &e), FOB_EINVALID_ARGUMENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_verify_reply),
		cmocka_unit_test(test_unknown_numbers_deny), cmocka_unit_test(test_numbers_that_do_not_fit),
		cmocka_unit_test(test_contradictions), cmocka_unit_test(test_text), cmocka_unit_test(test_fault_codes),
		cmocka_unit_test(test_cut_and_changed), cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_arena), cmocka_unit_test(test_batch), cmocka_unit_test(test_new_keys),
		cmocka_unit_test(test_first_keys), cmocka_unit_test(test_import), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_who_asked), cmocka_unit_test(test_event_types),
		cmocka_unit_test(test_event_types_of_a_newer_server), cmocka_unit_test(test_stats),
		cmocka_unit_test(test_verify_requests), cmocka_unit_test(test_grace),
		cmocka_unit_test(test_verify_requests_that_cannot_be), cmocka_unit_test(test_requests_that_cannot_be) };

	return cmocka_run_group_tests_name("client/codec", tests, NULL, NULL);
}
