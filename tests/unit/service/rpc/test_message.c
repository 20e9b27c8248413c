/*
 * test_message.c - records as messages, account ids, and fields that own or borrow their bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service/harness.h"
#include "service/rpc/message.h"

static int
setup(void **state)
{
	*state = harness_new();
	return 0;
}

static int
teardown(void **state)
{
	harness_free(*state);
	return 0;
}

static void
fields(void **state)
{
	struct harness_call *hc = harness_call_new(*state, ROLE_VERIFY);
	char text[] = "acme";
	ProtobufCBinaryData field;

	message_text(&field, text);
	assert_ptr_equal(field.data, text);
	assert_int_equal(field.len, 4);
	message_bytes(&field, text, 2);
	assert_int_equal(field.len, 2);
	assert_true(message_copy(&hc->worker.call, &field, text, 4));
	assert_ptr_not_equal(field.data, text);
	text[0] = 'x';
	assert_memory_equal(field.data, "acme", 4);
	assert_true(message_copy(&hc->worker.call, &field, NULL, 0));
	assert_int_equal(field.len, 0);
	/* Used up: no copy, and it is noted. */
	assert_non_null(scratch_alloc(&hc->worker.call.scratch, LIMIT_ARENA - hc->worker.call.scratch.used - 16));
	assert_true(message_copy(&hc->worker.call, &field, text, 4));
	assert_false(message_copy(&hc->worker.call, &field, text, 4));
	assert_true(hc->worker.call.scratch.exhausted);
	call_reset(&hc->worker.call);
	harness_call_free(hc);
}

static void
accounts(void **state)
{
	struct harness_call *hc = harness_call_new(*state, ROLE_ADMIN);
	static const char *const keys_for_it[] = { "sk_live_4eC39HqLyjWD", "pk_live_4eC39HqLyjWDarjtT1zdp7dc",
		"sk_test_4eC39HqLyjWD", "pk_test_4eC39HqLyjWD", "of-sk_test_4eC39HqLyjWD" };
	char account[LIMIT_ACCOUNT + 1], text[LIMIT_ACCOUNT + 2];
	ProtobufCBinaryData field;

	/* Every byte there is, alone, first and last. */
	for (int c = 0; c < 256; c++) {
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
		    c == '_' || c == '-';

		for (size_t at = 0; at < 3; at++) {
			memset(text, 'a', 3);
			text[at] = (char)c;
			field = harness_bytes(text, 3);
			assert_int_equal(
			    message_take_account(&hc->worker.call, &field, account), ok ? 0 : -FAULT_INVALID_ARGUMENT);
			if (ok)
				assert_true(strlen(account) == 3 && memcmp(account, text, 3) == 0);
		}
	}
	memset(text, 'a', sizeof(text));
	for (size_t len = 0; len <= LIMIT_ACCOUNT + 1; len++) {
		field = harness_bytes(len > 0 ? text : NULL, len);
		assert_int_equal(
		    message_take_account(&hc->worker.call, &field, account) == 0, len >= 1 && len <= LIMIT_ACCOUNT);
		if (len >= 1 && len <= LIMIT_ACCOUNT)
			assert_int_equal(strlen(account), len);
		else
			assert_non_null(strstr(hc->worker.call.message, "account"));
	}
	/* A key in its place is not told, so that it is not logged. */
	for (size_t i = 0; i < sizeof(keys_for_it) / sizeof(keys_for_it[0]); i++) {
		field = harness_text(keys_for_it[i]);
		assert_int_equal(message_take_account(&hc->worker.call, &field, account), -FAULT_INVALID_ARGUMENT);
		assert_non_null(strstr(hc->worker.call.message, "account"));
		assert_null(strstr(hc->worker.call.message, "4eC39H"));
	}
	field = harness_text("sk_live");
	assert_int_equal(message_take_account(&hc->worker.call, &field, account), 0);
	harness_call_free(hc);
}

static void
keys(void **state)
{
	static const struct {
		enum key_state stored;
		int64_t expires_ms, ended_ms, now_ms;
		int shown;
		int64_t shown_ended_ms;
	} table[] = {
		{ KEY_CURRENT, 0, 0, 1000, 1, 0 },
		{ KEY_GRACE, 2000, 0, 1999, 2, 0 },
		{ KEY_GRACE, 2000, 0, 2000, 3, 2000 },
		{ KEY_GRACE, 2000, 0, 2001, 3, 2000 },
		{ KEY_EXPIRED, 2000, 2000, 1, 3, 2000 },
		{ KEY_REVOKED, 2000, 1500, 9000, 4, 1500 },
		{ KEY_REVOKED, 0, 1500, 1, 4, 1500 },
	};
	struct harness *h = *state;
	const uint8_t digest[RECORD_DIGEST_LEN] = { 7 };
	Fob__V1__Key out;

	for (int e = 0; e < ENVIRONMENTS; e++) {
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
			struct record_key key = { .kind = KIND_SECRET,
				.state = table[i].stored,
				.generation = 9,
				.serial = 3,
				.created_ms = 500,
				.expires_ms = table[i].expires_ms,
				.ended_ms = table[i].ended_ms,
				.last4 = { 'w', 'x', 'y', 'z' },
				.account = "acme" };

			message_key(h->service.engines[e], digest, &key, table[i].now_ms, &out);
			assert_true(harness_is(&out.account, "acme"));
			assert_true(harness_is(&out.last4, "wxyz"));
			assert_int_equal(out.environment, e + 1);
			assert_int_equal(out.kind, 1);
			assert_int_equal(out.generation, 9);
			assert_int_equal(out.created_ms, 500);
			assert_int_equal(out.expires_ms, table[i].expires_ms);
			assert_int_equal(out.state, table[i].shown);
			assert_int_equal(out.ended_ms, table[i].shown_ended_ms);
			assert_int_equal(out.last_used_ms, 0);
		}
	}
	{
		struct record_key key = {
			.kind = KIND_PUBLISHABLE, .state = KEY_CURRENT, .generation = 1, .serial = 3
		};
		struct lastused *lastused = h->service.engines[0]->lastused;

		assert_int_equal(lastused_grow(lastused, 4), 0);
		lastused_touch(lastused, store_pepper(h->service.engines[0]->store), 3, digest, 123456);
		message_key(h->service.engines[0], digest, &key, 0, &out);
		assert_int_equal(out.last_used_ms, 120000);
		/* A key that was made within that minute was not used before. */
		key.created_ms = 123000;
		message_key(h->service.engines[0], digest, &key, 0, &out);
		assert_int_equal(out.last_used_ms, 123000);
		/* The other environment has seen nothing. */
		message_key(h->service.engines[1], digest, &key, 0, &out);
		assert_int_equal(out.last_used_ms, 0);
	}
}

static void
all_of_an_account(void **state)
{
	struct harness *h = *state;
	struct record_account account = { .created_ms = 5,
		.suspended_ms = 0,
		.secret_generation = 3,
		.publishable_generation = 2,
		.n_grace = 0,
		.account = "acme" };
	Fob__V1__Account out;

	message_account(h->service.engines[1], &account, &out);
	assert_true(harness_is(&out.account, "acme"));
	assert_int_equal(out.environment, FOB__V1__ENVIRONMENT__TEST);
	assert_false(out.suspended);
	assert_int_equal(out.created_ms, 5);
	assert_int_equal(out.secret_generation, 3);
	assert_int_equal(out.publishable_generation, 2);
	assert_int_equal(out.keys_in_grace, 0);
	account.suspended_ms = 77;
	message_account(h->service.engines[0], &account, &out);
	assert_true(out.suspended);
	assert_int_equal(out.suspended_ms, 77);
	assert_int_equal(out.environment, FOB__V1__ENVIRONMENT__LIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fields),
		TEST(accounts),
		TEST(keys),
		TEST(all_of_an_account),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
