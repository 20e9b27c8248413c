/*
 * test_results.c - what of the results fits one Exchange.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/cluster/results.h"

static Fob__V1__Result *
make(uint64_t id, size_t n_kvs, size_t value_len)
{
	Fob__V1__Result *r = malloc(sizeof(*r));

	assert_non_null(r);
	fob__v1__result__init(r);
	r->id = id;
	r->n_kvs = n_kvs;
	r->kvs = n_kvs > 0 ? calloc(n_kvs, sizeof(*r->kvs)) : NULL;
	for (size_t i = 0; i < n_kvs; i++) {
		assert_non_null(r->kvs[i] = malloc(sizeof(*r->kvs[i])));
		fob__v1__key_value__init(r->kvs[i]);
		assert_non_null(r->kvs[i]->value.data = calloc(1, value_len));
		r->kvs[i]->value.len = value_len;
		r->kvs[i]->version = (int64_t)i + 1;
	}
	return r;
}

/* Take once: how many, the first id, and whether all of it is within the budget. */
static size_t
take(struct results *rs, uint64_t first, size_t *kvs, bool *more)
{
	Fob__V1__Result *out[RESULTS_AT_ONCE];
	Fob__V1__ExchangeRequest request = FOB__V1__EXCHANGE_REQUEST__INIT;
	size_t bytes, n = results_take(rs, out, &bytes);

	request.results = out;
	request.n_results = n;
	assert_in_range(bytes, 0, RESULTS_BYTES);
	assert_in_range(fob__v1__exchange_request__get_packed_size(&request), 0, bytes);
	*kvs = 0;
	*more = false;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(first + i, out[i]->id);
		for (size_t k = 0; k < out[i]->n_kvs; k++)
			assert_int_equal(k + 1, out[i]->kvs[k]->version);
		*kvs += out[i]->n_kvs;
		*more = *more || out[i]->more;
		fob__v1__result__free_unpacked(out[i], NULL);
	}
	return n;
}

static void
test_budget(void **state)
{
	struct results rs = { .n = 0 };
	size_t kvs;
	bool more;

	(void)state;
	assert_int_equal(0, take(&rs, 1, &kvs, &more));
	for (uint64_t i = 1; i <= 20; i++)
		results_add(&rs, make(i, 1, 10));
	assert_int_equal(16, take(&rs, 1, &kvs, &more));
	assert_int_equal(4, take(&rs, 17, &kvs, &more));
	/* The second does not fit beside the first, and waits. */
	results_add(&rs, make(1, 1, 150 << 10));
	results_add(&rs, make(2, 1, 150 << 10));
	assert_int_equal(1, take(&rs, 1, &kvs, &more));
	assert_false(more);
	assert_int_equal(1, take(&rs, 2, &kvs, &more));
	/* One that is too large by itself loses its last kvs. */
	results_add(&rs, make(1, 10, 30 << 10));
	assert_int_equal(1, take(&rs, 1, &kvs, &more));
	assert_int_equal(6, kvs);
	assert_true(more);
	/* One kv that is too large is left out. */
	results_add(&rs, make(1, 1, 300 << 10));
	assert_int_equal(1, take(&rs, 1, &kvs, &more));
	assert_int_equal(0, kvs);
	assert_true(more);
}

static void
test_limit(void **state)
{
	struct results rs = { .n = 0 };

	(void)state;
	for (uint64_t i = 0; i < RESULTS_MAX + 3; i++)
		results_add(&rs, make(i, 0, 0));
	assert_int_equal(RESULTS_MAX, rs.n);
	results_clear(&rs);
	assert_int_equal(0, rs.n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_budget), cmocka_unit_test(test_limit) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
