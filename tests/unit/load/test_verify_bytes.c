/*
 * test_verify_bytes.c - verify_bytes.c against protobuf-c: what it writes is the request, and what it reads is the
 * verdict or the code of a reply, whatever else is in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/load/verify_bytes.c"

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/keys.pb-c.h"

#define SECRET "sk_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static ProtobufCBinaryData
bytes_of(char *text)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)text, .len = strlen(text) };
}

static void
writes_a_request(void **state)
{
	uint8_t out[VERIFY_BYTES_MAX];
	Fob__Rpc__V1__Request *request;
	Fob__V1__VerifyKeyRequest *verify;
	size_t len = verify_encode(SECRET, out);

	(void)state;
	request = fob__rpc__v1__request__unpack(NULL, len, out);
	assert_non_null(request);
	assert_int_equal(request->method.len, strlen(METHOD));
	assert_memory_equal(request->method.data, METHOD, strlen(METHOD));
	verify = fob__v1__verify_key_request__unpack(NULL, request->body.len, request->body.data);
	assert_non_null(verify);
	assert_int_equal(verify->credential_case, FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET);
	assert_int_equal(verify->secret.len, strlen(SECRET));
	assert_memory_equal(verify->secret.data, SECRET, strlen(SECRET));
	fob__v1__verify_key_request__free_unpacked(verify, NULL);
	fob__rpc__v1__request__free_unpacked(request, NULL);
}

static void
reads_a_reply(void **state)
{
	static const struct {
		unsigned code;
		Fob__V1__Verdict verdict;
		int fault;
		unsigned expected;
	} cases[] = {
		{ 0, FOB__V1__VERDICT__VALID, 0, FOB_VERDICT_VALID },
		{ 0, FOB__V1__VERDICT__NOT_FOUND, 0, FOB_VERDICT_NOT_FOUND },
		{ 0, FOB__V1__VERDICT__VERDICT_UNSPECIFIED, 0, FOB_VERDICT_DENIED },
		{ 14, FOB__V1__VERDICT__VALID, FOB_EUNAVAILABLE, FOB_VERDICT_DENIED },
		{ 8, FOB__V1__VERDICT__VERDICT_UNSPECIFIED, FOB_ERESOURCE_EXHAUSTED, FOB_VERDICT_DENIED },
	};
	char account[] = "acct_42", message[] = "not now";
	uint8_t body[256], reply[512];
	unsigned verdict;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Fob__V1__VerifyKeyResponse answer = FOB__V1__VERIFY_KEY_RESPONSE__INIT;
		Fob__Rpc__V1__Response response = FOB__RPC__V1__RESPONSE__INIT;

		answer.verdict = cases[i].verdict;
		answer.account = bytes_of(account);
		response.code = (Fob__Rpc__V1__Code)cases[i].code;
		if (cases[i].code != 0)
			response.message = bytes_of(message);
		response.body.data = body;
		response.body.len = fob__v1__verify_key_response__pack(&answer, body);
		len = fob__rpc__v1__response__pack(&response, reply);
		assert_int_equal(verify_decode(reply, len, &verdict), cases[i].fault);
		assert_int_equal(verdict, cases[i].expected);
	}
	/* An empty reply is OK without a verdict, which denies. */
	assert_int_equal(verify_decode(reply, 0, &verdict), 0);
	assert_int_equal(verdict, FOB_VERDICT_DENIED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_a_request),
		cmocka_unit_test(reads_a_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
