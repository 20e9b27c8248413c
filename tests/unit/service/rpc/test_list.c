/*
 * test_list.c - lists: with every page size each entry comes exactly once and in order; page tokens, filters and their
 * limits; a grace that has ended is shown as ended before the sweeper has run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/store/apply.h"
#include "service/store/size.h"
#include "tests/unit/service/harness.h"
#include "service/base/bytes.h"

struct fixture {
	struct harness *h;
	struct harness_call *hc;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->h = harness_new();
	f->hc = harness_call_new(f->h, ROLE_ADMIN);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	harness_call_free(f->hc);
	harness_free(f->h);
	free(f);
	return 0;
}

/* A page token, copied out of its reply. */
struct place_in_list {
	uint8_t bytes[128];
	size_t len;
};

static void
take_position(struct place_in_list *p, const ProtobufCBinaryData *token)
{
	assert_in_range(token->len, 0, sizeof(p->bytes));
	p->len = token->len;
	if (token->len > 0)
		memcpy(p->bytes, token->data, token->len);
}

static Fob__V1__ListKeysResponse *
list_keys_page(struct harness_call *hc, const char *account, uint32_t size, const struct place_in_list *at)
{
	Fob__V1__ListKeysRequest in = FOB__V1__LIST_KEYS_REQUEST__INIT;

	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text(account);
	in.page_size = size;
	in.page_token = harness_bytes(at->bytes, at->len);
	if (harness_ask(hc, "fob.v1.Admin/ListKeys", &in.base) != 0)
		return NULL;
	return harness_body(hc, &fob__v1__list_keys_response__descriptor);
}

static Fob__V1__ListAccountsResponse *
list_accounts_page(struct harness_call *hc, uint32_t size, const struct place_in_list *at)
{
	Fob__V1__ListAccountsRequest in = FOB__V1__LIST_ACCOUNTS_REQUEST__INIT;

	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.page_size = size;
	in.page_token = harness_bytes(at->bytes, at->len);
	if (harness_ask(hc, "fob.v1.Admin/ListAccounts", &in.base) != 0)
		return NULL;
	return harness_body(hc, &fob__v1__list_accounts_response__descriptor);
}

static Fob__V1__ListEventsResponse *
list_events_page(struct harness_call *hc, const char *account, uint32_t size, const struct place_in_list *at)
{
	Fob__V1__ListEventsRequest in = FOB__V1__LIST_EVENTS_REQUEST__INIT;

	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text(account);
	in.page_size = size;
	in.page_token = harness_bytes(at->bytes, at->len);
	if (harness_ask(hc, "fob.v1.Admin/ListEvents", &in.base) != 0)
		return NULL;
	return harness_body(hc, &fob__v1__list_events_response__descriptor);
}

/* ---- keys ---- */

static void
keys_page_by_page(void **state)
{
	enum { SECRETS = 12, ALL = SECRETS + 1 };
	struct fixture *f = *state;

	/* Neighbours whose names begin alike must not show. */
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acm", NULL));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme-", NULL));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme0", NULL));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_TEST, "acme", NULL));
	for (uint32_t i = 1; i < SECRETS; i++)
		assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", i > 6 ? 60 * i : 0, NULL));
	for (uint32_t size = 1; size <= ALL + 1; size++) {
		struct place_in_list at = { .len = 0 };
		size_t n = 0, pages = 0;

		do {
			Fob__V1__ListKeysResponse *out = list_keys_page(f->hc, "acme", size, &at);

			assert_non_null(out);
			assert_in_range(out->n_keys, 1, size);
			for (size_t i = 0; i < out->n_keys; i++, n++) {
				assert_true(harness_is(&out->keys[i]->account, "acme"));
				assert_int_equal(out->keys[i]->environment, FOB__V1__ENVIRONMENT__LIVE);
				assert_int_equal(out->keys[i]->kind, n < SECRETS ? 1 : 2);
				assert_int_equal(out->keys[i]->generation, n < SECRETS ? n + 1 : 1);
				assert_int_equal(out->keys[i]->last4.len, 4);
			}
			take_position(&at, &out->next_page_token);
			pages++;
		} while (at.len > 0);
		assert_int_equal(n, ALL);
		assert_int_equal(pages, (ALL + size - 1) / size);
	}
}

static int64_t
wait_unswept(struct fixture *f)
{
	writer_stop(f->h->service.engines[0]->writer);
	f->h->service.engines[0]->writer = NULL;
	return harness_now(f->h, ENVIRONMENT_LIVE);
}

static void
states_are_those_of_now(void **state)
{
	struct fixture *f = *state;
	struct place_in_list at = { .len = 0 };
	Fob__V1__ListKeysResponse *out;
	struct harness_secrets s;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	assert_int_equal(harness_verdict(f->hc, s.secret), FOB__V1__VERDICT__VALID);
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 60, NULL));
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 120, NULL));
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 0, NULL));
	wait_unswept(f);
	harness_advance(f->h, 59999);
	assert_non_null(out = list_keys_page(f->hc, "acme", 0, &at));
	assert_int_equal(out->n_keys, 5);
	assert_int_equal(out->keys[0]->state, FOB__V1__KEY_STATE__KEY_STATE_GRACE);
	assert_int_equal(out->keys[0]->ended_ms, 0);
	assert_int_equal(out->keys[0]->last_used_ms, HARNESS_START_MS);
	assert_int_equal(out->keys[1]->last_used_ms, 0);
	harness_advance(f->h, 1);
	assert_non_null(out = list_keys_page(f->hc, "acme", 0, &at));
	assert_int_equal(out->keys[0]->state, FOB__V1__KEY_STATE__KEY_STATE_EXPIRED);
	assert_int_equal(out->keys[0]->ended_ms, HARNESS_START_MS + 60000);
	assert_int_equal(out->keys[0]->expires_ms, HARNESS_START_MS + 60000);
	assert_int_equal(out->keys[1]->state, FOB__V1__KEY_STATE__KEY_STATE_GRACE);
	assert_int_equal(out->keys[2]->state, FOB__V1__KEY_STATE__KEY_STATE_REVOKED);
	assert_int_equal(out->keys[3]->state, FOB__V1__KEY_STATE__KEY_STATE_CURRENT);
	assert_int_equal(out->keys[4]->kind, 2);
	/* An account says the same as its keys do. */
	{
		Fob__V1__ListAccountsResponse *accounts = list_accounts_page(f->hc, 0, &at);

		assert_non_null(accounts);
		assert_int_equal(accounts->accounts[0]->keys_in_grace, 1);
	}
}

static void
keys_of_nobody(void **state)
{
	struct fixture *f = *state;
	struct place_in_list at = { .len = 0 };

	assert_non_null(harness_create(f->hc, ENVIRONMENT_TEST, "acme", NULL));
	assert_null(list_keys_page(f->hc, "acme", 0, &at));
	assert_int_equal(f->hc->code, FAULT_NOT_FOUND);
	assert_null(list_keys_page(f->hc, "", 0, &at));
	assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
}

/* ---- accounts ---- */

static void
accounts_page_by_page(void **state)
{
	/* In byte order. */
	static const char *const names[] = { "-", ".", "0", "00", "9", "A", "AA", "AB", "Z", "_", "a", "a-", "a.", "a0",
		"aa", "ab", "b", "zz" };
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct fixture *f = *state;

	for (size_t i = 0; i < N; i++)
		assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, names[(i * 7) % N], NULL));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_TEST, "elsewhere", NULL));
	for (uint32_t size = 0; size <= N + 1; size++) {
		struct place_in_list at = { .len = 0 };
		size_t n = 0, pages = 0;

		do {
			Fob__V1__ListAccountsResponse *out = list_accounts_page(f->hc, size, &at);

			assert_non_null(out);
			assert_in_range(out->n_accounts, 1, size != 0 ? size : LIMIT_PAGE_DEFAULT);
			for (size_t i = 0; i < out->n_accounts; i++, n++) {
				assert_true(n < N && harness_is(&out->accounts[i]->account, names[n]));
				assert_int_equal(out->accounts[i]->secret_generation, 1);
			}
			take_position(&at, &out->next_page_token);
			pages++;
		} while (at.len > 0);
		assert_int_equal(n, N);
		if (size != 0)
			assert_int_equal(pages, (N + size - 1) / size);
	}
	{
		/* A position behind the last, and one between two. */
		struct place_in_list at = { .bytes = "zzz", .len = 3 };
		Fob__V1__ListAccountsResponse *out = list_accounts_page(f->hc, 5, &at);

		assert_non_null(out);
		assert_int_equal(out->n_accounts, 0);
		assert_int_equal(out->next_page_token.len, 0);
		at = (struct place_in_list){ .bytes = "a1", .len = 2 };
		assert_non_null(out = list_accounts_page(f->hc, 1, &at));
		assert_true(harness_is(&out->accounts[0]->account, "aa"));
	}
}

/* Write any number of events directly into the database, while the writer is stopped. */
static void
add_events(struct fixture *f, const char *account, unsigned n)
{
	struct store *store = f->h->service.engines[0]->store;
	struct store_txn *txn = store_txn_new(store);
	struct change *change = calloc(1, sizeof(*change));
	struct record_state next;

	assert_int_equal(store_write(txn), 0);
	assert_int_equal(store_state(txn, &next), 0);
	change->time_ms = change->event.time_ms = HARNESS_START_MS;
	change->event.type = EVENT_KEY_REVOKED;
	change->event.kind = KIND_SECRET;
	memcpy(change->event.last4, "wxyz", 4);
	for (unsigned i = 0; i < n; i++) {
		change->event.generation = i + 1;
		snprintf(change->event.account, sizeof(change->event.account), "%s", account);
		assert_int_equal(store_apply(txn, change, &next), 0);
	}
	assert_int_equal(store_put_state(txn, &next), 0);
	assert_int_equal(store_commit(txn), 0);
	store_txn_free(txn);
	free(change);
}

static void
events_page_by_page(void **state)
{
	enum { N = 17 };
	struct fixture *f = *state;

	wait_unswept(f);
	add_events(f, "acme", N);
	for (uint32_t size = 1; size <= N + 1; size++) {
		struct place_in_list at = { .len = 0 };
		bool more = true;
		uint64_t n = 0;

		while (more) {
			Fob__V1__ListEventsResponse *out = list_events_page(f->hc, "", size, &at);

			assert_non_null(out);
			for (size_t i = 0; i < out->n_events; i++) {
				assert_int_equal(out->events[i]->sequence, ++n);
				assert_int_equal(out->events[i]->generation, n);
				assert_true(harness_is(&out->events[i]->last4, "wxyz"));
			}
			assert_int_equal(out->next_page_token.len, 8);
			assert_int_equal(bytes_get64(out->next_page_token.data), n);
			assert_int_equal(out->more, n < N);
			take_position(&at, &out->next_page_token);
			more = out->more;
		}
		assert_int_equal(n, N);
		/* To follow: the last position is good for what comes. */
		if (size == N) {
			Fob__V1__ListEventsResponse *out = list_events_page(f->hc, "", size, &at);

			assert_int_equal(out->n_events, 0);
			assert_false(out->more);
			assert_int_equal(bytes_get64(out->next_page_token.data), N);
		}
	}
}

static void
a_filter_looks_only_so_far(void **state)
{
	struct fixture *f = *state;
	struct place_in_list at = { .len = 0 };
	Fob__V1__ListEventsResponse *out;
	unsigned found = 0, pages = 0;
	bool more = true;

	wait_unswept(f);
	add_events(f, "rare", 1);
	add_events(f, "common", LIMIT_SCAN + 10);
	add_events(f, "rare", 1);
	add_events(f, "common", LIMIT_SCAN + 10);
	add_events(f, "rare", 2);
	while (more) {
		assert_non_null(out = list_events_page(f->hc, "rare", 10, &at));
		for (size_t i = 0; i < out->n_events; i++)
			assert_true(harness_is(&out->events[i]->account, "rare"));
		found += (unsigned)out->n_events;
		more = out->more;
		if (pages == 0) {
			assert_int_equal(out->n_events, 1);
			assert_int_equal(bytes_get64(out->next_page_token.data), LIMIT_SCAN);
		}
		take_position(&at, &out->next_page_token);
		pages++;
	}
	assert_int_equal(found, 4);
	assert_int_equal(pages, 3);

	/* A page that is full before the limit, and one that ends with the list. */
	at.len = 0;
	assert_non_null(out = list_events_page(f->hc, "common", 1, &at));
	assert_int_equal(out->n_events, 1);
	assert_true(out->more);
	assert_int_equal(bytes_get64(out->next_page_token.data), 2);
	assert_non_null(out = list_events_page(f->hc, "nobody", 1, &at));
	assert_int_equal(out->n_events, 0);
	assert_true(out->more);
}

static void
the_largest_pages_fit(void **state)
{
	struct fixture *f = *state;
	struct place_in_list at = { .len = 0 };
	Fob__V1__ListAccountsResponse *accounts;
	Fob__V1__ListEventsResponse *events;
	struct harness_call *many[16];
	char account[LIMIT_ACCOUNT + 1];

	for (int i = 0; i < 16; i++)
		many[i] = harness_call_new(f->h, ROLE_ADMIN);
	for (int i = 0; i < LIMIT_PAGE + 1; i += 16) {
		for (int k = 0; k < 16 && i + k < LIMIT_PAGE + 1; k++) {
			Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
			struct harness_token token = harness_token();

			snprintf(account, sizeof(account), "%064d", i + k);
			in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
			in.environment = FOB__V1__ENVIRONMENT__LIVE;
			in.account = harness_text(account);
			harness_start(many[k], "fob.v1.Admin/CreateAccount", &in.base);
		}
		for (int k = 0; k < 16 && i + k < LIMIT_PAGE + 1; k++)
			assert_int_equal(harness_wait(many[k]), 0);
	}
	assert_non_null(accounts = list_accounts_page(f->hc, LIMIT_PAGE, &at));
	assert_int_equal(accounts->n_accounts, LIMIT_PAGE);
	assert_int_equal(accounts->next_page_token.len, LIMIT_ACCOUNT);
	assert_non_null(events = list_events_page(f->hc, "", LIMIT_PAGE, &at));
	assert_int_equal(events->n_events, LIMIT_PAGE);
	assert_true(events->more);
	for (int i = 0; i < 16; i++)
		harness_call_free(many[i]);
}

/* ---- what is refused ---- */

static void
bad_requests(void **state)
{
	static const struct place_in_list keys[] = { { "", 1 }, { "\x01\0\0\0", 4 }, { "\x01\0\0\0\x01\0", 6 },
		{ "\x03\0\0\0\x01", 5 }, { "\xff\0\0\0\x01", 5 }, { "\x01\xff\xff\xff\xff", 5 } };
	static const struct place_in_list accounts[] = { { "", 1 }, { "a b", 3 }, { "a\0", 2 },
		{ "01234567890123456789012345678901234567890123456789012345678901234", 65 } };
	static const struct place_in_list events[] = { { "", 1 }, { "1234567", 7 }, { "123456789", 9 } };
	struct fixture *f = *state;
	struct place_in_list none = { .len = 0 };
	Fob__V1__ListAccountsRequest in = FOB__V1__LIST_ACCOUNTS_REQUEST__INIT;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_null(list_keys_page(f->hc, "acme", 1, &keys[i]));
		assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
		assert_non_null(strstr(f->hc->message, "page_token"));
	}
	for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++) {
		assert_null(list_accounts_page(f->hc, 1, &accounts[i]));
		assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
	}
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		assert_null(list_events_page(f->hc, "", 1, &events[i]));
		assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
	}
	assert_null(list_events_page(f->hc, "no such name", 1, &none));
	assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);

	assert_non_null(list_accounts_page(f->hc, LIMIT_PAGE, &none));
	assert_null(list_accounts_page(f->hc, LIMIT_PAGE + 1, &none));
	assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
	assert_null(list_keys_page(f->hc, "acme", UINT32_MAX, &none));
	assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
	for (int e = 0; e < 4; e += 3) {
		in.environment = (Fob__V1__Environment)e;
		assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/ListAccounts", &in.base), FAULT_INVALID_ARGUMENT);
	}
}

/* Page tokens of the right form that no reply had: the list ends, and nothing crashes. */
static void
positions_far_out(void **state)
{
	static const struct place_in_list keys[] = { { "\x02\xff\xff\xff\xfe", 5 }, { "\x02\0\0\0\x01", 5 } };
	struct fixture *f = *state;
	struct place_in_list last = { .bytes = { 255, 255, 255, 255, 255, 255, 255, 255 }, .len = 8 };
	Fob__V1__ListEventsResponse *events;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	for (size_t i = 0; i < 2; i++) {
		Fob__V1__ListKeysResponse *out = list_keys_page(f->hc, "acme", 1, &keys[i]);

		assert_non_null(out);
		assert_int_equal(out->n_keys, 0);
		assert_int_equal(out->next_page_token.len, 0);
	}
	assert_non_null(events = list_events_page(f->hc, "", 1, &last));
	assert_int_equal(events->n_events, 0);
	assert_false(events->more);
}

/* A page releases its snapshot: a reader that keeps one makes the file grow without bound. */
static void
a_list_pins_nothing(void **state)
{
	struct fixture *f = *state;
	struct place_in_list none = { .len = 0 };
	struct store_size size;
	struct store_txn *txn;

	harness_call_free(f->hc);
	harness_close(f->h);
	f->h->config.environments[0].ceiling_bytes = 1U << 20;
	harness_open(f->h);
	f->hc = harness_call_new(f->h, ROLE_ADMIN);
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	assert_non_null(list_accounts_page(f->hc, 1, &none));
	assert_non_null(list_events_page(f->hc, "", 1, &none));
	assert_null(list_keys_page(f->hc, "nobody", 1, &none));
	/* With a pinned reader this would be at the end of the 2 MiB map long before. */
	for (int i = 0; i < 700; i++)
		assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "acme", i % 2 == 0), 0);
	txn = store_txn_new(f->h->service.engines[0]->store);
	assert_int_equal(store_read(txn), 0);
	store_size(txn, &size);
	store_txn_free(txn);
	assert_in_range(size.used_bytes, 1, 1U << 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_page_by_page),
		TEST(states_are_those_of_now),
		TEST(keys_of_nobody),
		TEST(accounts_page_by_page),
		TEST(events_page_by_page),
		TEST(a_filter_looks_only_so_far),
		TEST(the_largest_pages_fit),
		TEST(bad_requests),
		TEST(positions_far_out),
		TEST(a_list_pins_nothing),
	};

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
