/*
 * test_cluster.c - cluster.c over a real store: the record of the cluster, and the schema that goes with it: also when a
 * transaction that put the record was aborted before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/store/cluster.h"
#include "tests/unit/service/fixture.h"

static struct record_cluster
a_cluster(uint64_t number)
{
	struct record_cluster c = { .number = number };

	memset(c.cluster, 0xc1, sizeof(c.cluster));
	memset(c.replica, 0x4e, sizeof(c.replica));
	memset(c.tag, (int)number, sizeof(c.tag));
	return c;
}

static int
setup(void **state)
{
	struct fixture_store *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fixture_store(f, ENVIRONMENT_LIVE);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fixture_store_end(*state);
	free(*state);
	return 0;
}

/* ---- steps ---- */

static void
begin_with(struct fixture_store *f, uint64_t number)
{
	const struct record_cluster c = a_cluster(number);

	assert_int_equal(store_write(f->writer), 0);
	assert_int_equal(store_put_cluster(f->writer, &c), 0);
}

static void
put(struct fixture_store *f, uint64_t number)
{
	begin_with(f, number);
	assert_int_equal(store_commit(f->writer), 0);
}

static void
begin_leave(struct fixture_store *f)
{
	assert_int_equal(store_write(f->writer), 0);
	assert_int_equal(store_del_cluster(f->writer), 0);
}

static void
assert_record(struct fixture_store *f, uint64_t number)
{
	const struct record_cluster c = a_cluster(number);
	struct record_cluster got;

	assert_int_equal(store_read(f->reader), 0);
	assert_int_equal(store_cluster(f->reader, &got), 0);
	store_read_end(f->reader);
	assert_int_equal(got.number, number);
	assert_memory_equal(got.cluster, c.cluster, sizeof(c.cluster));
	assert_memory_equal(got.replica, c.replica, sizeof(c.replica));
	assert_memory_equal(got.tag, c.tag, sizeof(c.tag));
}

static void
assert_no_record(struct fixture_store *f)
{
	struct record_cluster got;

	assert_int_equal(store_read(f->reader), 0);
	assert_int_equal(store_cluster(f->reader, &got), -FAULT_NOT_FOUND);
	store_read_end(f->reader);
}

/* The schema that the file says. The store is opened anew afterwards. */
static uint32_t
schema(struct fixture_store *f)
{
	struct record_identity identity;
	struct lmdb_value value;
	struct lmdb_txn *txn;
	struct lmdb *db;

	fixture_store_close(f);
	db = fixture_raw_open(f);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_read(txn), 0);
	assert_int_equal(lmdb_get(txn, TABLE_META, "identity", 8, &value), 0);
	assert_int_equal(record_get_identity(NULL, "identity", 8, value.data, value.len, &identity), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
	fixture_store_open(f);
	return identity.schema;
}

/* ---- tests ---- */

static void
put_and_get(void **state)
{
	struct fixture_store *f = *state;

	assert_no_record(f);
	assert_int_equal(schema(f), RECORD_SCHEMA);
	put(f, 1);
	assert_record(f, 1);
	assert_int_equal(schema(f), RECORD_SCHEMA_CLUSTER);
	assert_record(f, 1);
	put(f, 2);
	assert_record(f, 2);
	assert_int_equal(schema(f), RECORD_SCHEMA_CLUSTER);
}

static void
an_aborted_put_leaves_nothing(void **state)
{
	struct fixture_store *f = *state;

	begin_with(f, 1);
	store_abort(f->writer);
	assert_no_record(f);
	assert_int_equal(schema(f), RECORD_SCHEMA);
}

/* An older fobd, which knows no cluster, must refuse the database. */
static void
a_put_after_an_aborted_one_has_its_schema(void **state)
{
	struct fixture_store *f = *state;

	begin_with(f, 1);
	store_abort(f->writer);
	put(f, 2);
	assert_record(f, 2);
	assert_int_equal(schema(f), RECORD_SCHEMA_CLUSTER);
	assert_record(f, 2);
}

static void
leave(void **state)
{
	struct fixture_store *f = *state;

	begin_leave(f);
	assert_int_equal(store_commit(f->writer), 0);
	assert_int_equal(schema(f), RECORD_SCHEMA);
	put(f, 1);
	begin_leave(f);
	assert_int_equal(store_commit(f->writer), 0);
	assert_no_record(f);
	assert_int_equal(schema(f), RECORD_SCHEMA);
	put(f, 3);
	assert_record(f, 3);
	assert_int_equal(schema(f), RECORD_SCHEMA_CLUSTER);
}

static void
an_aborted_leave_changes_nothing(void **state)
{
	struct fixture_store *f = *state;

	put(f, 1);
	begin_leave(f);
	store_abort(f->writer);
	assert_record(f, 1);
	put(f, 2);
	assert_record(f, 2);
	assert_int_equal(schema(f), RECORD_SCHEMA_CLUSTER);
	begin_leave(f);
	store_abort(f->writer);
	begin_leave(f);
	assert_int_equal(store_commit(f->writer), 0);
	assert_no_record(f);
	assert_int_equal(schema(f), RECORD_SCHEMA);
}

/* Within one transaction the last word counts. */
static void
put_and_leave_at_once(void **state)
{
	struct fixture_store *f = *state;

	begin_with(f, 1);
	assert_int_equal(store_del_cluster(f->writer), 0);
	assert_int_equal(store_commit(f->writer), 0);
	assert_no_record(f);
	assert_int_equal(schema(f), RECORD_SCHEMA);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(put_and_get),
		TEST(an_aborted_put_leaves_nothing),
		TEST(a_put_after_an_aborted_one_has_its_schema),
		TEST(leave),
		TEST(an_aborted_leave_changes_nothing),
		TEST(put_and_leave_at_once),
	};

	return cmocka_run_group_tests_name("cluster", tests, fixture_begin, NULL);
}
