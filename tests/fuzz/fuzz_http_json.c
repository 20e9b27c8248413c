/*
 * fuzz_http_json.c - client/http/json.c. Input: a body. What is taken must ask one whole question for each item. No
 * allocation fails: jansson 2.14 does not survive that, so client/http/wipe.c does not let it see one.
 */
#include <stdlib.h>
#include <string.h>

#include "client/http/json.h"
#include "tests/fuzz/fuzz.h"

static void
check_verify(const struct fob_verify_request *v)
{
	FUZZ_CHECK(v->size == sizeof(*v), "a wrong size");
	FUZZ_CHECK((v->secret == NULL) != (v->authorization == NULL), "not one credential");
	FUZZ_CHECK(v->secret == NULL || strlen(v->secret) == v->secret_len, "a NUL in the secret");
	FUZZ_CHECK(v->authorization == NULL || strlen(v->authorization) == v->authorization_len, "a NUL in the header");
	FUZZ_CHECK(v->require_environment <= FOB_ENVIRONMENT_TEST, "no environment");
	FUZZ_CHECK(v->timeout_ms == 0 && v->traceparent == NULL, "what no member says");
}

static void
read_one(const json_t *object)
{
	struct fob_verify_request v;
	const char *why = NULL;

	if (json_to_verify(object, &v, &why) == 0)
		check_verify(&v);
	else
		FUZZ_CHECK(why != NULL, "no reason");
}

static void
read_batch(const json_t *object)
{
	struct fob_verify_request items[FOB_BATCH_MAX];
	const char *why = NULL;
	size_t n;

	if (json_to_verify_batch(object, items, &n, &why) == 0) {
		FUZZ_CHECK(n >= 1 && n <= FOB_BATCH_MAX, "%zu items", n);
		for (size_t i = 0; i < n; i++)
			check_verify(&items[i]);
	} else
		FUZZ_CHECK(why != NULL && n == 0, "no reason");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = (char *)fuzz_copy(data, size);
	const char *why = NULL;
	json_t *object;

	if (json_read(copy, size, &object, &why) == 0) {
		read_one(object);
		read_batch(object);
	} else
		FUZZ_CHECK(why != NULL && object == NULL, "no reason");
	json_decref(object);
	free(copy);
	return 0;
}
