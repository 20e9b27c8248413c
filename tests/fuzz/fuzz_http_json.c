/*
 * fuzz_http_json.c - client/http/json.c and admin_json.c. Input: a body. What is taken must ask one whole question for
 * each item, or for a change of which each member is in its range. No allocation fails: jansson 2.14 does not survive that, so client/http/wipe.c does not let it see one.
 */
#include <stdlib.h>
#include <string.h>

#include "client/http/admin_json.h"
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

static void
read_change(const json_t *object)
{
	const unsigned needs = ADMIN_REQUEST_TOKEN | ADMIN_ENVIRONMENT | ADMIN_ACCOUNT;
	struct admin_fields f;
	const char *why = NULL;

	if (admin_json_read(object, ~0U, needs, &f, &why) != 0) {
		FUZZ_CHECK(why != NULL, "no reason");
		return;
	}
	FUZZ_CHECK(f.environment == FOB_ENVIRONMENT_LIVE || f.environment == FOB_ENVIRONMENT_TEST, "no environment");
	FUZZ_CHECK(f.account[0] != '\0' && strlen(f.account) < FOB_ACCOUNT_SIZE, "no account");
	FUZZ_CHECK(f.kind <= FOB_KIND_PUBLISHABLE, "no kind");
	FUZZ_CHECK(f.grace_s <= FOB_GRACE_MAX_S || f.grace_s == FOB_GRACE_NONE_S, "a grace of %u s", f.grace_s);
	FUZZ_CHECK(f.page_size <= FOB_PAGE_MAX, "a page of %u", f.page_size);
	FUZZ_CHECK(f.cursor.len <= sizeof(f.cursor.bytes) && !f.cursor.done, "a cursor that is none");
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
		read_change(object);
	} else
		FUZZ_CHECK(why != NULL && object == NULL, "no reason");
	json_decref(object);
	free(copy);
	return 0;
}
