/*
 * test_ask.c - what was sealed for one place is opened there and nowhere else, and nothing that was changed is opened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "service/cluster/ask.h"

static const uint8_t key[ASK_KEY_LEN] = { 1 };
static const char text[] = "whose key is this?";
#define SEALED_LEN (sizeof(text) + ASK_SEAL_LEN)

static struct ask_place
place_of(const uint8_t *request)
{
	struct ask_place place = { .environment = ENVIRONMENT_TEST, .request = request };

	memset(place.cluster, 5, sizeof(place.cluster));
	return place;
}

static int
opens(const struct ask_place *place, const uint8_t *sealed, size_t len)
{
	uint8_t out[SEALED_LEN];

	return ask_open(key, place, sealed, len, out);
}

static void
a_request_and_its_response_are_read_back(void **state)
{
	struct ask_place asked = place_of(NULL), answered;
	uint8_t request[SEALED_LEN], response[SEALED_LEN], out[sizeof(text)];

	(void)state;
	assert_int_equal(ask_seal(key, &asked, (const uint8_t *)text, sizeof(text), request), SEALED_LEN);
	assert_int_equal(ask_open(key, &asked, request, SEALED_LEN, out), 0);
	assert_memory_equal(out, text, sizeof(text));
	answered = place_of(ask_nonce(request));
	ask_seal(key, &answered, (const uint8_t *)text, sizeof(text), response);
	assert_int_equal(ask_open(key, &answered, response, SEALED_LEN, out), 0);
	assert_memory_equal(out, text, sizeof(text));
	assert_memory_not_equal(ask_nonce(request), ask_nonce(response), ASK_NONCE_LEN);
	/* None is the other, not even where the nonce is all zeros. */
	assert_int_equal(opens(&asked, response, SEALED_LEN), -1);
	assert_int_equal(opens(&answered, request, SEALED_LEN), -1);
	answered.request = (const uint8_t[ASK_NONCE_LEN]){ 0 };
	assert_int_equal(opens(&answered, request, SEALED_LEN), -1);
}

static void
it_is_of_one_place(void **state)
{
	struct ask_place asked = place_of(NULL), other = asked;
	uint8_t sealed[SEALED_LEN], second[SEALED_LEN];

	(void)state;
	ask_seal(key, &asked, (const uint8_t *)text, sizeof(text), sealed);
	other.cluster[15]++;
	assert_int_equal(opens(&other, sealed, SEALED_LEN), -1);
	other = asked;
	other.environment = ENVIRONMENT_LIVE;
	assert_int_equal(opens(&other, sealed, SEALED_LEN), -1);
	/* The response to another request. */
	ask_seal(key, &asked, (const uint8_t *)text, sizeof(text), second);
	other = place_of(ask_nonce(sealed));
	ask_seal(key, &other, (const uint8_t *)text, sizeof(text), sealed);
	other = place_of(ask_nonce(second));
	assert_int_equal(opens(&other, sealed, SEALED_LEN), -1);
}

static void
what_was_changed_is_refused(void **state)
{
	struct ask_place place = place_of(NULL);
	uint8_t sealed[SEALED_LEN];

	(void)state;
	ask_seal(key, &place, (const uint8_t *)text, sizeof(text), sealed);
	for (size_t i = 0; i < SEALED_LEN; i++) {
		sealed[i] ^= 1;
		assert_int_equal(opens(&place, sealed, SEALED_LEN), -1);
		sealed[i] ^= 1;
		assert_int_equal(opens(&place, sealed, i), -1);
	}
	assert_int_equal(opens(&place, sealed, SEALED_LEN), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_and_its_response_are_read_back),
		cmocka_unit_test(it_is_of_one_place),
		cmocka_unit_test(what_was_changed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
