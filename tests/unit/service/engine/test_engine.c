/*
 * test_engine.c - an environment is opened and closed, and every way in which that can fail: each failure has an error of
 * one line and leaves nothing open.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "service/store/init.h"
#include "service/store/open.h"
#include "tests/unit/service/harness.h"

static int
setup(void **state)
{
	*state = harness_prepare();
	return 0;
}

static int
teardown(void **state)
{
	harness_free(*state);
	return 0;
}

static void
init(struct harness *h, enum environment e)
{
	struct store_options options = harness_store_options(h, e);
	char why[512];

	assert_int_equal(store_init(&options, why, sizeof(why)), 0);
}

static void
opens_and_closes(void **state)
{
	struct harness *h = *state;
	unsigned base = fixture_descriptors();
	char why[512];

	for (int e = 0; e < ENVIRONMENTS; e++)
		init(h, (enum environment)e);
	for (int i = 0; i < 20; i++) {
		struct engine *engines[ENVIRONMENTS];

		for (int e = 0; e < ENVIRONMENTS; e++) {
			assert_int_equal(
			    engine_open(&h->config, (enum environment)e, 8, &engines[e], why, sizeof(why)), 0);
			assert_int_equal(engines[e]->environment, e);
			assert_int_equal(store_environment(engines[e]->store), e);
			assert_string_equal(store_path(engines[e]->store), h->config.environments[e].path);
			/* The system's own time. */
			assert_true(clock_now_ms(&engines[e]->clock) > HARNESS_START_MS / 2);
		}
		assert_ptr_not_equal(store_pepper(engines[0]->store), store_pepper(engines[1]->store));
		for (int e = 0; e < ENVIRONMENTS; e++)
			engine_close(engines[e]);
	}
	engine_close(NULL);
	assert_int_equal(fixture_descriptors(), base);
}

/* Keys and their last-used times are there after a restart. */
static void
opens_what_was_closed(void **state)
{
	struct harness *h = *state;
	struct harness_call *hc;
	struct harness_secrets s;
	struct engine *engine;
	char why[512];

	init(h, ENVIRONMENT_LIVE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(engine_open(&h->config, ENVIRONMENT_LIVE, 8, &engine, why, sizeof(why)), 0);
		h->service.engines[0] = engine;
		hc = harness_call_new(h, ROLE_ADMIN);
		if (i == 0) {
			assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "acme", &s));
		} else {
			Fob__V1__ListKeysRequest in = FOB__V1__LIST_KEYS_REQUEST__INIT;
			Fob__V1__ListKeysResponse *out;

			in.environment = FOB__V1__ENVIRONMENT__LIVE;
			in.account = harness_text("acme");
			assert_int_equal(harness_ask(hc, "fob.v1.Admin/ListKeys", &in.base), 0);
			out = harness_body(hc, &fob__v1__list_keys_response__descriptor);
			assert_int_equal(out->n_keys, 2);
			assert_true(out->keys[0]->last_used_ms > 0);
			assert_true(out->keys[0]->last_used_ms % 60000 == 0 ||
			    out->keys[0]->last_used_ms == out->keys[0]->created_ms);
			assert_int_equal(out->keys[1]->last_used_ms, 0);
		}
		assert_int_equal(harness_verdict(hc, s.secret), FOB__V1__VERDICT__VALID);
		harness_call_free(hc);
		engine_close(h->service.engines[0]);
		h->service.engines[0] = NULL;
	}
}

/* As many readers as were asked for, at once. */
static void
enough_readers(void **state)
{
	enum { READERS = 200 };
	struct harness *h = *state;
	struct engine *engine;
	struct store_txn *txns[READERS];
	char why[512];

	init(h, ENVIRONMENT_TEST);
	assert_int_equal(engine_open(&h->config, ENVIRONMENT_TEST, READERS, &engine, why, sizeof(why)), 0);
	for (int i = 0; i < READERS; i++) {
		assert_non_null(txns[i] = store_txn_new(engine->store));
		assert_int_equal(store_read(txns[i]), 0);
	}
	for (int i = 0; i < READERS; i++)
		store_txn_free(txns[i]);
	engine_close(engine);
}

static void
refused(struct harness *h, const char *word)
{
	struct engine *engine = NULL;
	char why[512] = "";

	assert_true(engine_open(&h->config, ENVIRONMENT_LIVE, 8, &engine, why, sizeof(why)) < 0);
	assert_null(engine);
	assert_null(strchr(why, '\n'));
	if (strstr(why, word) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", why, word);
}

static void
what_cannot_be_opened(void **state)
{
	struct harness *h = *state;
	struct config_environment *live = &h->config.environments[0], right = *live;
	unsigned base = fixture_descriptors();
	struct engine *engine;
	char path[700], why[512];
	int fd;

	refused(h, "fobd --init");
	init(h, ENVIRONMENT_LIVE);
	init(h, ENVIRONMENT_TEST);

	live->pepper = h->config.environments[1].pepper;
	refused(h, "pepper does not belong");
	*live = right;
	live->path = h->config.environments[1].path;
	refused(h, "test database");
	*live = right;
	live->pepper = h->folder;
	refused(h, h->folder);
	*live = right;

	assert_int_equal(engine_open(&h->config, ENVIRONMENT_LIVE, 8, &engine, why, sizeof(why)), 0);
	refused(h, "in use by another fobd");
	engine_close(engine);

	/* The store opens, the file beside it does not. */
	snprintf(path, sizeof(path), "%s/lastused", right.path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	refused(h, "lastused");
	assert_int_equal(rmdir(path), 0);

	snprintf(path, sizeof(path), "%s/data.mdb", right.path);
	assert_true((fd = open(path, O_RDWR)) >= 0);
	assert_int_equal(ftruncate(fd, 4 * 4096), 0);
	close(fd);
	refused(h, "cut short");
	assert_int_equal(fixture_descriptors(), base);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opens_and_closes),
		TEST(opens_what_was_closed),
		TEST(enough_readers),
		TEST(what_cannot_be_opened),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
