/*
 * test_fleet.c - one fleet and an etcd of a few lines: the life of a row, an entry from its proposal to its effect, what
 * closes a node, and the cut of the log. What many nodes do under faults is tests/cluster's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/cluster/fleet.h"

#define KEYS_MAX 400
#define D_MS 10000

struct key {
	char name[FLEET_KEY_MAX];
	uint8_t value[512];
	size_t len;
	int64_t created, version;
};

static struct {
	struct key keys[KEYS_MAX];
	size_t n;
	int64_t revision;
	struct fleet_kv kvs[KEYS_MAX];
} etcd;

static struct fleet *fleet;
static struct fleet_options options;
static int64_t now_ms;
static char last_delete[FLEET_KEY_MAX]; /* the end of the last range that was deleted */

/* ---- etcd ---- */

static struct key *
find(const char *name)
{
	for (size_t i = 0; i < etcd.n; i++)
		if (strcmp(etcd.keys[i].name, name) == 0)
			return &etcd.keys[i];
	return NULL;
}

static bool
holds(const struct fleet_compare *c)
{
	const struct key *k = find(c->key);

	if (c->target == FLEET_VALUE)
		return k != NULL && k->len == c->len && memcmp(k->value, c->value, c->len) == 0;
	return c->number == (k == NULL ? 0 : c->target == FLEET_VERSION ? k->version : k->created);
}

static void
put(const struct fleet_action *a)
{
	struct key *k = find(a->key);

	if (k == NULL) {
		assert_true(etcd.n < KEYS_MAX);
		k = &etcd.keys[etcd.n++];
		*k = (struct key){ .created = etcd.revision };
		snprintf(k->name, sizeof(k->name), "%s", a->key);
	}
	assert_true(a->len <= sizeof(k->value));
	memcpy(k->value, a->value, a->len);
	k->len = a->len;
	k->version++;
}

static bool
in_range(const struct fleet_action *a, const struct key *k)
{
	if (a->end[0] == '\0')
		return strcmp(k->name, a->key) == 0;
	return strcmp(k->name, a->key) >= 0 && strcmp(k->name, a->end) < 0;
}

static void
delete(const struct fleet_action *a)
{
	size_t n = 0;

	for (size_t i = 0; i < etcd.n; i++)
		if (!in_range(a, &etcd.keys[i]))
			etcd.keys[n++] = etcd.keys[i];
	etcd.n = n;
	if (a->end[0] != '\0')
		snprintf(last_delete, sizeof(last_delete), "%s", a->end);
}

/* Entries are put in the order of their numbers, and no other range has to be sorted. */
static size_t
get(const struct fleet_action *a, size_t n)
{
	for (size_t i = 0; i < etcd.n && n < KEYS_MAX; i++)
		if (in_range(a, &etcd.keys[i]))
			etcd.kvs[n++] = (struct fleet_kv){ .key = (const uint8_t *)etcd.keys[i].name,
				.key_len = strlen(etcd.keys[i].name),
				.value = etcd.keys[i].value,
				.len = etcd.keys[i].len,
				.create_revision = etcd.keys[i].created,
				.version = etcd.keys[i].version };
	return n;
}

static void
transact(const struct fleet_txn *t)
{
	struct fleet_result r = { .id = t->id, .outcome = FLEET_DONE, .succeeded = true, .kvs = etcd.kvs };
	const struct fleet_action *actions;
	unsigned n;

	for (unsigned i = 0; i < t->n_compares; i++)
		r.succeeded = r.succeeded && holds(&t->compares[i]);
	actions = r.succeeded ? t->success : t->failure;
	n = r.succeeded ? t->n_success : t->n_failure;
	etcd.revision++;
	for (unsigned i = 0; i < n; i++) {
		if (actions[i].kind == FLEET_PUT)
			put(&actions[i]);
		else if (actions[i].kind == FLEET_DELETE)
			delete(&actions[i]);
		else
			r.n_kvs = get(&actions[i], r.n_kvs);
	}
	r.revision = etcd.revision;
	fleet_done(fleet, &r, now_ms);
}

/* ---- the node ---- */

static void
run(int64_t ms)
{
	struct fleet_txn t;

	for (int64_t end_ms = now_ms + ms; now_ms < end_ms; now_ms += 10)
		while (fleet_next(fleet, now_ms, 1000, &t))
			transact(&t);
}

static const uint8_t tag[ROW_TAG_LEN] = { 1 }; /* of every entry */

static void
apply_all(void)
{
	const uint8_t *bytes;
	size_t len;

	while (fleet_entry(fleet, &bytes, &len))
		fleet_applied(fleet, fleet_applied_to(fleet) + 1, tag);
}

static int
setup(void **state)
{
	(void)state;
	memset(&etcd, 0, sizeof(etcd));
	now_ms = 100000;
	options = (struct fleet_options){
		.life = 7, .pepper_lines = 1, .entry_version = 1, .max_staleness_ms = D_MS, .log_step = 300
	};
	memset(options.cluster, 1, sizeof(options.cluster));
	memset(options.replica, 2, sizeof(options.replica));
	memset(options.row_key, 3, sizeof(options.row_key));
	assert_non_null(fleet = fleet_new(&options));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fleet_free(fleet);
	return 0;
}

static void
append(const char *entry)
{
	int64_t by_ms;

	assert_true(fleet_may_propose(fleet));
	assert_true(fleet_propose(fleet, (const uint8_t *)entry, strlen(entry), tag));
	run(20);
	assert_int_equal(fleet_proposal(fleet), FLEET_WON);
	apply_all();
	assert_true(fleet_effective(fleet, fleet_applied_to(fleet), now_ms, &by_ms));
}

static void
a_node_is_fresh_when_it_has_proved_it(void **state)
{
	(void)state;
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
	run(100);
	assert_true(fleet_fresh_until_ms(fleet) > now_ms);
	assert_true(fleet_fresh_until_ms(fleet) <= now_ms + D_MS);
	append("one");
	assert_int_equal(fleet_head(fleet), 1);
	/* Nothing is heard any more. */
	now_ms += D_MS;
	assert_true(fleet_fresh_until_ms(fleet) <= now_ms);
	run(20);
	assert_true(fleet_fresh_until_ms(fleet) > now_ms);
}

/* Of each three proofs two are lost: the agent tells so at their timeout or, of one of two, tells nothing at all. */
static void
lose_proofs(uint32_t staleness_ms, bool told)
{
	struct fleet_result unknown = { .outcome = FLEET_UNKNOWN };
	int64_t tell_ms = INT64_MAX;
	unsigned proofs = 0;
	struct fleet_txn t;

	fleet_free(fleet);
	memset(&etcd, 0, sizeof(etcd));
	options.max_staleness_ms = staleness_ms;
	assert_non_null(fleet = fleet_new(&options));
	run(200);
	for (int64_t end_ms = now_ms + staleness_ms * 10; now_ms < end_ms; now_ms += 10) {
		if (now_ms >= tell_ms) {
			tell_ms = INT64_MAX;
			fleet_done(fleet, &unknown, now_ms);
		}
		while (fleet_next(fleet, now_ms, 1000, &t)) {
			if (t.n_compares != 2 || t.compares[1].target != FLEET_VERSION || proofs++ % (told ? 3 : 2) == 0) {
				transact(&t);
			} else if (told) {
				unknown.id = t.id;
				tell_ms = now_ms + fleet_timeout_ms(fleet);
			}
		}
		assert_true(fleet_fresh_until_ms(fleet) > now_ms);
	}
	assert_true(proofs > 10);
}

static void
lost_proofs_leave_a_node_fresh(void **state)
{
	static const uint32_t staleness_ms[] = { 1000, 1500, 2500, 5000, 10000, 60000 };

	(void)state;
	for (size_t i = 0; i < sizeof(staleness_ms) / sizeof(staleness_ms[0]); i++) {
		lose_proofs(staleness_ms[i], true);
		lose_proofs(staleness_ms[i], false);
	}
	assert_int_equal(fleet_timeout_ms(fleet), FLEET_TIMEOUT_MS);
}

static void
a_row_that_is_marked_is_left(void **state)
{
	struct fleet_action mark = { .kind = FLEET_PUT, .value = (const uint8_t *)"x", .len = 1 };
	struct fleet_node nodes[4];

	(void)state;
	run(100);
	assert_int_equal(fleet_nodes(fleet, nodes, 4), 1);
	assert_true(nodes[0].is_self && nodes[0].is_valid);
	snprintf(mark.key, sizeof(mark.key), "mark/02020202020202020202020202020202.0000000000000007");
	put(&mark);
	run(D_MS);
	assert_non_null(find("nodes/02020202020202020202020202020202.0000000000000008"));
	assert_null(find("nodes/02020202020202020202020202020202.0000000000000007"));
	assert_null(find(mark.key));
	assert_true(fleet_fresh_until_ms(fleet) > now_ms);
}

/* Another node that never acknowledges keeps an entry waiting for D, and for what two clocks may differ by in that time. */
static void
a_silent_node_is_waited_for(void **state)
{
	static const char other[] = "05050505050505050505050505050505.0000000000000001";
	struct row row = { .max_staleness_ms = D_MS, .pepper_lines = 1, .entry_version = 1 };
	struct fleet_action add = { .kind = FLEET_PUT };
	uint8_t bytes[ROW_MAX];
	int64_t by_ms, won_ms;

	(void)state;
	run(100);
	add.len = row_put(options.row_key, options.cluster, other, &row, bytes);
	add.value = bytes;
	snprintf(add.key, sizeof(add.key), "nodes/%s", other);
	put(&add);
	assert_true(fleet_propose(fleet, (const uint8_t *)"x", 1, tag));
	won_ms = now_ms;
	run(20);
	assert_int_equal(fleet_proposal(fleet), FLEET_WON);
	fleet_applied(fleet, 1, tag);
	assert_false(fleet_effective(fleet, 1, now_ms, &by_ms));
	/* A proof that was sent just before ends after D by a clock that is 1 % slow; ours is 1 % fast. */
	assert_true(by_ms - won_ms >= D_MS * 101 / 99);
	assert_true(by_ms - won_ms <= D_MS * 101 / 99 + 30);
	assert_false(fleet_effective(fleet, 1, by_ms - 1, &by_ms));
	assert_true(fleet_effective(fleet, 1, by_ms, &by_ms));
	/* It is marked after a second, and removed when it cannot answer any more. */
	run(FLEET_MARK_MS + 500);
	assert_non_null(find("mark/05050505050505050505050505050505.0000000000000001"));
	run(D_MS - 1000);
	assert_non_null(find(add.key));
	run(2 * D_MS);
	assert_null(find(add.key));
}

static void
leaving_takes_the_row_away(void **state)
{
	(void)state;
	run(100);
	fleet_leave(fleet);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
	assert_false(fleet_has_left(fleet));
	run(100);
	assert_true(fleet_has_left(fleet));
	assert_null(find("nodes/02020202020202020202020202020202.0000000000000007"));
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
}

static void
a_head_that_is_behind_closes_the_node(void **state)
{
	(void)state;
	run(100);
	append("one");
	append("two");
	bytes_put64(find("head")->value + FLEET_ID_LEN, 1);
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_HEAD_BEHIND);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
}

/* The head has the number that this node has applied, but another entry has it: others went on from an older snapshot. */
static void
a_head_of_another_entry_closes_the_node(void **state)
{
	(void)state;
	run(100);
	append("one");
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_OPEN);
	find("head")->value[FLEET_ID_LEN + 8] ^= 1;
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_HEAD_BEHIND);
}

/* Also when this node has lagged behind, and misses no entry: others may miss some that they have acknowledged. */
static void
a_revision_that_goes_back_closes_the_node(void **state)
{
	(void)state;
	run(100);
	append("one");
	run(D_MS / 5);
	etcd.revision -= 5;
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_HEAD_BEHIND);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
}

/* Nodes of the cluster before may answer until W after its log was gone, and changes must not be made before. */
static void
a_cluster_that_is_made_again_waits(void **state)
{
	int64_t begun_ms;

	(void)state;
	run(100);
	append("one");
	fleet_free(fleet);
	options.again = true;
	options.cluster[0] ^= 1;
	assert_non_null(fleet = fleet_new(&options));
	run(D_MS);
	/* The log is still there. */
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
	etcd.n = 0;
	begun_ms = now_ms;
	run(D_MS);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
	assert_int_equal(etcd.n, 1);
	run(D_MS);
	assert_true(fleet_fresh_until_ms(fleet) > now_ms);
	assert_true(now_ms - begun_ms >= D_MS * 101 / 99);
	append("one");
}

static void
another_clusters_head_closes_the_node(void **state)
{
	(void)state;
	run(100);
	find("head")->value[0] ^= 1;
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_OTHER_CLUSTER);
}

static void
a_log_that_is_gone_closes_the_node(void **state)
{
	(void)state;
	run(100);
	bytes_put64(find("head")->value + FLEET_ID_LEN, 5);
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_LOG_GONE);
}

/* ---- a node that needs a copy ---- */

static void
put_row(const char *name, const char *address, uint64_t applied)
{
	struct fleet_action a = { .kind = FLEET_PUT };
	struct row row = { .applied = applied, .max_staleness_ms = D_MS, .entry_version = 1 };
	uint8_t bytes[ROW_MAX];

	snprintf(row.address, sizeof(row.address), "%s", address);
	snprintf(a.key, sizeof(a.key), "nodes/%s", name);
	a.len = row_put(options.row_key, options.cluster, name, &row, bytes);
	a.value = bytes;
	etcd.revision++;
	put(&a);
}

#define NODE_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.0000000000000001"
#define NODE_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.0000000000000001"
#define NODE_C "cccccccccccccccccccccccccccccccc.0000000000000001"

static void
a_node_that_was_away_asks_each_of_the_others(void **state)
{
	uint8_t cluster[FLEET_ID_LEN];
	char address[2][ROW_ADDRESS_MAX + 1];
	struct fleet_action mark = { .kind = FLEET_PUT, .key = "mark/" NODE_C, .value = (const uint8_t *)"x", .len = 1 };

	(void)state;
	run(100);
	append("one");
	bytes_put64(find("head")->value + FLEET_ID_LEN, 9);
	run(D_MS / 5);
	assert_int_equal(fleet_closed(fleet), FLEET_LOG_GONE);
	assert_true(fleet_wants_copy(fleet));
	assert_false(fleet_has_source(fleet));
	/* Those without an address, behind this node, or marked are not asked. */
	put_row(NODE_A, "", 9);
	put_row(NODE_B, "tcp://b:1", 0);
	put_row(NODE_C, "tcp://c:1", 9);
	put(&mark);
	run(D_MS);
	assert_false(fleet_has_source(fleet));
	put_row(NODE_A, "tcp://a:1", 9);
	put_row(NODE_B, "tcp://b:1", 9);
	run(D_MS);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fleet_source(fleet, i, cluster, address[i]));
		assert_memory_equal(cluster, options.cluster, FLEET_ID_LEN);
	}
	assert_string_not_equal(address[0], address[1]);
	assert_true(fleet_source(fleet, 2, cluster, address[1]));
	assert_string_equal(address[0], address[1]);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
}

static void
another_node_is_found_by_its_replica(void **state)
{
	uint8_t b[FLEET_ID_LEN], other[FLEET_ID_LEN] = { 9 };
	struct fleet_action mark = { .kind = FLEET_PUT, .key = "mark/" NODE_B, .value = (const uint8_t *)"x", .len = 1 };
	char address[ROW_ADDRESS_MAX + 1];

	(void)state;
	put_row(NODE_A, "tcp://a:1", 0);
	put_row(NODE_B, "", 0);
	run(D_MS);
	memset(b, 0xbb, sizeof(b));
	assert_false(fleet_address(fleet, b, address));
	put_row(NODE_B, "tcp://b:1", 1);
	run(D_MS);
	assert_true(fleet_address(fleet, b, address));
	assert_string_equal(address, "tcp://b:1");
	assert_false(fleet_address(fleet, other, address));
	assert_false(fleet_address(fleet, options.replica, address));
	put(&mark);
	run(D_MS);
	assert_false(fleet_address(fleet, b, address));
}

static void
a_new_node_learns_its_cluster(void **state)
{
	uint8_t none[FLEET_ID_LEN] = { 0 }, cluster[FLEET_ID_LEN];
	char address[ROW_ADDRESS_MAX + 1];
	struct fleet *member = fleet;
	size_t keys;

	(void)state;
	run(100);
	put_row(NODE_A, "tcp://a:1", 3);
	keys = etcd.n;
	memcpy(cluster, options.cluster, sizeof(cluster));
	memcpy(options.cluster, none, sizeof(none));
	assert_non_null(fleet = fleet_new(&options));
	assert_int_equal(fleet_closed(fleet), FLEET_JOINING);
	run(100);
	/* It looks, and writes nothing. */
	assert_int_equal(etcd.n, keys);
	assert_int_equal(fleet_fresh_until_ms(fleet), 0);
	assert_true(fleet_source(fleet, 0, none, address));
	assert_memory_equal(none, cluster, FLEET_ID_LEN);
	assert_string_equal(address, "tcp://a:1");
	/* The head of a cluster whose nodes have another pepper leads nowhere. */
	find("head")->value[0] ^= 1;
	run(D_MS);
	assert_false(fleet_has_source(fleet));
	fleet_free(member);
}

static void
the_log_is_cut_behind_what_is_kept(void **state)
{
	char entry[128];

	(void)state;
	run(100);
	/* 64 steps of 300 bytes are kept: 192 entries of 100. */
	for (int i = 0; i < 250; i++) {
		snprintf(entry, sizeof(entry), "%-100d", i);
		append(entry);
		run(60);
	}
	assert_string_not_equal(last_delete, "");
	assert_null(find("log/0000000000000001"));
	assert_non_null(find("log/00000000000000fa"));
	assert_non_null(find("log/0000000000000040"));
	assert_true(etcd.n > 180 && etcd.n < 210);
	assert_int_equal(fleet_closed(fleet), FLEET_OPEN);
}

/* Another node appends an entry; of those before, which all have, only the newest is kept. */
static void
another_appends(void)
{
	static const struct fleet_action all = { .key = "log/", .end = "log0" };
	struct fleet_action entry = { .value = (const uint8_t *)"x", .len = 1 }, head = { .key = "head" };
	uint8_t value[FLEET_ID_LEN + 8 + ROW_TAG_LEN];
	uint64_t number = fleet_applied_to(fleet) + 1;

	delete(&all);
	etcd.revision++;
	snprintf(entry.key, sizeof(entry.key), "log/%016llx", (unsigned long long)number);
	memcpy(value, options.cluster, FLEET_ID_LEN);
	bytes_put64(value + FLEET_ID_LEN, number);
	memcpy(value + FLEET_ID_LEN + 8, tag, ROW_TAG_LEN);
	head.value = value;
	head.len = sizeof(value);
	put(&entry);
	put(&head);
	fleet_changed(fleet);
}

/* How often our row is put within a second in which another node appends all the time, with ${rows} rows. */
static int64_t
acknowledgements(unsigned rows)
{
	struct fleet_action row = { .value = (const uint8_t *)"x", .len = 1 };
	struct fleet_txn t;
	struct key *own;
	uint64_t first;
	int64_t before;

	for (unsigned i = 1; i < rows; i++) {
		snprintf(row.key, sizeof(row.key), "nodes/%032x.%016x", i + 0x1000, i);
		put(&row);
	}
	run(1000);
	assert_non_null(own = find("nodes/02020202020202020202020202020202.0000000000000007"));
	before = own->version;
	first = fleet_applied_to(fleet);
	for (int64_t end_ms = now_ms + 1000; now_ms < end_ms; now_ms++) {
		another_appends();
		/* What is asked for meanwhile must not make it more. */
		(void)fleet_confirm(fleet);
		while (fleet_next(fleet, now_ms, 1000, &t))
			transact(&t);
		apply_all();
	}
	assert_true(fleet_applied_to(fleet) > first + 400);
	assert_non_null(own = find("nodes/02020202020202020202020202020202.0000000000000007"));
	return own->version - before;
}

/* Each is read by all nodes that wait, so that with many rows each of them acknowledges less often. */
static void
many_nodes_acknowledge_less_often(void **state)
{
	(void)state;
	assert_in_range(acknowledgements(100), 45, 51);
}

static void
few_nodes_acknowledge_at_once(void **state)
{
	(void)state;
	assert_true(acknowledgements(3) > 400);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_fresh_when_it_has_proved_it),
		TEST(lost_proofs_leave_a_node_fresh),
		TEST(a_row_that_is_marked_is_left),
		TEST(a_silent_node_is_waited_for),
		TEST(leaving_takes_the_row_away),
		TEST(a_head_that_is_behind_closes_the_node),
		TEST(a_head_of_another_entry_closes_the_node),
		TEST(a_revision_that_goes_back_closes_the_node),
		TEST(a_cluster_that_is_made_again_waits),
		TEST(another_clusters_head_closes_the_node),
		TEST(a_log_that_is_gone_closes_the_node),
		TEST(a_node_that_was_away_asks_each_of_the_others),
		TEST(another_node_is_found_by_its_replica),
		TEST(a_new_node_learns_its_cluster),
		TEST(the_log_is_cut_behind_what_is_kept),
		TEST(many_nodes_acknowledge_less_often),
		TEST(few_nodes_acknowledge_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
