/*
 * test_rotate.c - a database that is moved from one pepper to the next: digests through all lines of the pepper; every
 * key, token, event and deadline is found after each commit of the rotation, after a restart there, and while keys are
 * rolled, revoked, suspended and ended in between; damage stays damage; wrong peppers are refused. The golden values are
 * from an implementation in Python (hashlib's BLAKE2b).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "service/keys/decide.h"
#include "service/keys/lookup.h"
#include "service/store/apply.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "service/store/rotate.h"
#include "service/store/size.h"
#include "service/store/time.h"
#include "service/store/walk.h"
#include "tests/unit/service/fixture.h"

#define LINE1 "fob-pepper-v1 0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526\n"
#define LINE2 "fob-pepper-v1 1718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536\n"
#define LINE3 "fob-pepper-v1 2728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40414243444546\n"
#define LINE_LEN (sizeof(LINE1) - 1)

#define START_MS INT64_C(1800000000000)
#define ACCOUNTS 40
#define KEYS_MAX 2000

/* A key as the test knows it. Its secret is "s" and its number. */
struct known {
	bool imported;
	struct record_key key; /* as its record must be */
};

struct test {
	struct fixture_store f;
	struct known known[KEYS_MAX];
	unsigned n;
	unsigned moved; /* calls of on_move() */
	int64_t now_ms;
};

/* ---- between LMDB and the disk ---- */

static bool disk_is_full;

__attribute__((visibility("default"), used)) int
fallocate(int fd, int mode, off_t from, off_t len)
{
	static int (*next)(int, int, off_t, off_t);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fallocate");
	if (!disk_is_full)
		return next(fd, mode, from, len);
	errno = ENOSPC;
	return -1;
}

/* ---- the chain ---- */

static void
assert_hex(const uint8_t bytes[32], const char *hex)
{
	char text[65];

	sodium_bin2hex(text, sizeof(text), bytes, 32);
	assert_string_equal(text, hex);
}

static struct pepper *
load(const char *path, const char *text)
{
	struct pepper *pepper;
	char why[512] = "";

	fixture_write_file(path, text, strlen(text), 0600);
	if (pepper_load(path, &pepper, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return pepper;
}

static void
test_chain(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH];
	uint8_t sha256[32], id[PEPPER_ID_LEN] = { 0 }, one[32], two[32], moved[32], tag[PEPPER_TAG_LEN];
	struct pepper *p;

	(void)state;
	memset(sha256, 's', sizeof(sha256));
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	p = load(path, LINE1);
	pepper_digest(p, "secret", 6, one);
	assert_hex(one, "38484b154d3bef999a446e3dab376013c1a0c0a4c2820667714edab2acbd9f83");
	pepper_tag(p, "x", 1, tag);
	pepper_free(p);

	p = load(path, LINE1 LINE2 LINE3);
	assert_int_equal(pepper_lines(p), 3);
	pepper_digest(p, "secret", 6, two);
	assert_hex(two, "207953ff1991f743f974a8e88c3871823d967698ad5ec4bebb2b29f183a9de1d");
	pepper_imported(p, KIND_SECRET, sha256, two);
	assert_hex(two, "aae4bc96d042aa6e09a4bc7a62ffb76cbdee67ed3487c5100f2c02d85b2176c4");
	pepper_fingerprint(p, id, ENVIRONMENT_LIVE, two);
	assert_hex(two, "b2efaf209e450098e36dd451ec9696c842ece4897309a67d427e37064a1a6cf9");
	assert_false(pepper_tag_fits(p, "x", 1, tag));

	/* From the first line to the second, and no further. */
	pepper_use(p, 1, 2);
	pepper_digest(p, "secret", 6, two);
	assert_hex(two, "ac3affc5785085fd128102c8b8e83bc319b904fc0006803508fc5d2626662ff7");
	pepper_digest_old(p, "secret", 6, moved);
	assert_memory_equal(moved, one, 32);
	pepper_rotate(p, one, moved);
	assert_memory_equal(moved, two, 32);
	assert_true(pepper_tag_fits(p, "x", 1, tag));
	assert_false(pepper_tag_is_newest(p, "x", 1, tag));
	pepper_free(p);
	fixture_remove(folder);
}

static void
test_append(void **state)
{
	char folder[FIXTURE_PATH], path[FIXTURE_PATH], link[FIXTURE_PATH], why[512] = "", text[LINE_LEN * (PEPPER_LINES_MAX + 1)];
	struct pepper *p;
	struct stat st;
	FILE *file;

	(void)state;
	fixture_folder(folder);
	fixture_path(folder, "pepper", path);
	fixture_path(folder, "link", link);
	assert_int_equal(pepper_append(path, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "No such file"));
	fixture_write_file(path, LINE1, LINE_LEN, 0600);
	assert_int_equal(symlink(path, link), 0);
	for (unsigned lines = 2; lines <= PEPPER_LINES_MAX; lines++) {
		assert_int_equal(pepper_append(link, why, sizeof(why)), 0);
		assert_int_equal(lstat(path, &st), 0);
		assert_true(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0600);
		assert_int_equal(st.st_size, lines * LINE_LEN);
		assert_int_equal(pepper_load(path, &p, why, sizeof(why)), 0);
		assert_int_equal(pepper_lines(p), lines);
		pepper_free(p);
	}
	assert_int_equal(pepper_append(path, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "which is the limit"));
	/* What was there is there, and no two lines are alike. */
	assert_non_null(file = fopen(path, "r"));
	assert_int_equal(fread(text, 1, sizeof(text), file), PEPPER_LINES_MAX * LINE_LEN);
	fclose(file);
	assert_memory_equal(text, LINE1, LINE_LEN);
	assert_memory_not_equal(text + LINE_LEN, text + 2 * LINE_LEN, LINE_LEN);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	fixture_remove(folder);
}

/* ---- a database with keys in every state ---- */

static void
digests_of(struct test *t, unsigned n, bool old, uint8_t digest[32])
{
	const struct pepper *pepper = store_pepper(t->f.store);
	uint8_t sha256[32];
	char secret[16];
	int len = snprintf(secret, sizeof(secret), "s%u", n);

	crypto_hash_sha256(sha256, (const uint8_t *)secret, (unsigned long long)len);
	if (t->known[n].imported && old)
		pepper_imported_old(pepper, t->known[n].key.kind, sha256, digest);
	else if (t->known[n].imported)
		pepper_imported(pepper, t->known[n].key.kind, sha256, digest);
	else if (old)
		pepper_digest_old(pepper, secret, (size_t)len, digest);
	else
		pepper_digest(pepper, secret, (size_t)len, digest);
}

/* *${digest}: where it is stored. */
static int
find(struct test *t, struct store_txn *txn, unsigned n, uint8_t digest[32], struct record_key *key)
{
	struct lookup found;
	char secret[16];
	int fault, len = snprintf(secret, sizeof(secret), "s%u", n);

	found = (struct lookup){
		.secret = secret, .len = (size_t)len, .kind = t->known[n].key.kind, .own = !t->known[n].imported
	};
	fault = lookup_key(txn, &found);
	memcpy(digest, found.stored, RECORD_DIGEST_LEN);
	*key = found.key;
	return fault;
}

static struct new_secret
new_secret(struct test *t, enum kind kind, bool imported)
{
	struct new_secret secret = { .last4 = { 'a', 'b', 'c', 'd' } };

	assert_true(t->n < KEYS_MAX);
	t->known[t->n].imported = imported;
	t->known[t->n].key.kind = kind;
	digests_of(t, t->n++, false, secret.digest);
	return secret;
}

static const char *
name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "a%02u", i);
	return name;
}

static unsigned
index_of(const struct test *t, const struct record_key *key)
{
	unsigned found = KEYS_MAX;

	for (unsigned i = 0; i < t->n; i++)
		if (t->known[i].key.kind == key->kind && t->known[i].key.generation == key->generation &&
		    strcmp(t->known[i].key.account, key->account) == 0)
			found = i;
	assert_true(found < KEYS_MAX);
	return found;
}

/* Keys that are new were the last to be made, in this order. */
static void
remember(struct test *t, const struct change *change)
{
	unsigned fresh = 0, at;

	for (unsigned i = 0; i < change->n_keys; i++)
		fresh += change->keys[i].is_new;
	at = t->n - fresh;
	for (unsigned i = 0; i < change->n_keys; i++)
		t->known[change->keys[i].is_new ? at++ : index_of(t, &change->keys[i].key)].key = change->keys[i].key;
}

/* What a change is made from. */
static struct view
begin(struct test *t, struct record_state *state)
{
	assert_int_equal(store_write(t->f.writer), 0);
	assert_int_equal(store_state(t->f.writer, state), 0);
	return (struct view){ .txn = t->f.writer, .state = state, .now_ms = t->now_ms };
}

static void
finish(struct test *t, struct change *change, struct record_state *state, const char *why)
{
	if (why != NULL)
		fail_msg("%s", why);
	if (change->event.type != EVENT_NONE) {
		change->has_token = true;
		randombytes_buf(change->token_index, sizeof(change->token_index));
		change->sealed_len = 100;
	}
	assert_int_equal(store_apply(t->f.writer, change, state), 0);
	assert_int_equal(store_put_state(t->f.writer, state), 0);
	assert_int_equal(store_commit(t->f.writer), 0);
	if (store_is_rotating(t->f.store))
		assert_false(store_rotated(t->f.store));
	remember(t, change);
}

static void
create(struct test *t, const char *name, bool imported)
{
	static struct change change;
	struct record_state state;
	struct new_secret secret = new_secret(t, KIND_SECRET, imported);
	struct new_secret publishable = new_secret(t, KIND_PUBLISHABLE, imported);
	struct import import = { .account = name, .secret = &secret, .publishable = &publishable };
	struct view view = begin(t, &state);
	enum import_outcome outcome;
	why_text why = "";
	int fault;

	fault = imported ? decide_import(&view, &import, &outcome, &change, why) :
			   decide_create(&view, name, &secret, &publishable, &change, why);
	finish(t, &change, &state, fault == 0 ? NULL : why);
}

static void
roll(struct test *t, const char *name, int64_t grace_ms)
{
	static struct change change;
	struct record_state state;
	struct roll wish = { .account = name, .grace_ms = grace_ms, .secret = new_secret(t, KIND_SECRET, false) };
	struct view view = begin(t, &state);
	why_text why = "";

	finish(t, &change, &state, decide_roll(&view, &wish, &change, why) == 0 ? NULL : why);
}

static void
revoke_key(struct test *t, const char *name, enum kind kind, uint32_t generation)
{
	static struct change change;
	struct record_state state;
	struct view view = begin(t, &state);
	why_text why = "";

	finish(t, &change, &state, decide_revoke(&view, name, kind, generation, &change, why) == 0 ? NULL : why);
}

static void
suspend(struct test *t, const char *name, bool on)
{
	static struct change change;
	struct record_state state;
	struct view view = begin(t, &state);
	why_text why = "";

	finish(t, &change, &state, decide_suspend(&view, name, on, &change, why) == 0 ? NULL : why);
}

/* End the keys whose grace is over, as the sweeper does. Returns how many. */
static int
sweep(struct test *t)
{
	static struct change change;
	struct store_due due[64];
	struct record_state state;
	struct view view;
	int n;

	assert_int_equal(store_read(t->f.reader), 0);
	n = store_due(t->f.reader, t->now_ms, &(struct store_due){ 0 }, 64, due);
	store_read_end(t->f.reader);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		view = begin(t, &state);
		assert_int_equal(decide_expire(&view, due[i].digest, &change), 0);
		finish(t, &change, &state, NULL);
	}
	return n;
}

static void
count_move(void *arg, const struct pepper *pepper, uint32_t serial, const uint8_t old[32], const uint8_t digest[32])
{
	struct test *t = arg;

	(void)pepper;
	(void)serial;
	assert_memory_not_equal(old, digest, 32);
	t->moved++;
}

/* As the writer does it when it starts. */
static void
open_and_begin(struct test *t)
{
	fixture_store_open(&t->f);
	store_on_rotated_key(t->f.store, count_move, t);
	if (store_may_rotate(t->f.store))
		assert_int_equal(store_begin_rotation(t->f.writer), 0);
}

static void
reopen(struct test *t)
{
	fixture_store_close(&t->f);
	open_and_begin(t);
}

static void
add_line(struct test *t)
{
	char why[512] = "";

	if (pepper_append(t->f.pepper, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static struct test *
populate(void)
{
	struct test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->now_ms = START_MS;
	fixture_store(&t->f, ENVIRONMENT_LIVE);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		create(t, name_of(i), i % 4 == 3);
		for (unsigned j = 0; j < i % 6; j++)
			roll(t, name_of(i), 86400000);
		if (i % 6 > 1)
			revoke_key(t, name_of(i), KIND_SECRET, 2);
		if (i % 7 == 1)
			revoke_key(t, name_of(i), KIND_PUBLISHABLE, 1);
		if (i % 5 == 4)
			suspend(t, name_of(i), true);
	}
	roll(t, name_of(0), 0);
	roll(t, name_of(1), 1000);
	t->now_ms += 2000;
	assert_int_equal(sweep(t), 1);
	return t;
}

static void
unpopulate(struct test *t)
{
	fixture_store_end(&t->f);
	free(t);
}

/* ---- what must be so at any moment ---- */

static bool
count_event(void *arg, const struct record_event *event)
{
	uint64_t *sequence = arg;

	assert_int_equal(event->sequence, *sequence + 1);
	*sequence = event->sequence;
	return true;
}

static void
check_all(struct test *t)
{
	struct store_txn *txn = t->f.reader;
	uint8_t digest[32], slot[32];
	struct record_state state;
	struct record_key key;
	struct store_size size;
	uint64_t sequence = 0;
	unsigned grace = 0;
	struct store_due due[KEYS_MAX];

	assert_int_equal(store_read(txn), 0);
	for (unsigned i = 0; i < t->n; i++) {
		const struct record_key *right = &t->known[i].key;

		assert_int_equal(find(t, txn, i, digest, &key), 0);
		assert_int_equal(key.kind, right->kind);
		assert_int_equal(key.state, right->state);
		assert_int_equal(key.suspended, right->suspended);
		assert_int_equal(key.generation, right->generation);
		assert_int_equal(key.serial, right->serial);
		assert_int_equal(key.expires_ms, right->state == KEY_CURRENT ? 0 : right->expires_ms);
		assert_string_equal(key.account, right->account);
		assert_int_equal(store_slot(txn, key.account, key.kind, key.generation, slot), 0);
		assert_memory_equal(slot, digest, 32);
		grace += key.state == KEY_GRACE;
	}
	/* One that was never there is not there, and that is proved. */
	t->known[KEYS_MAX - 1].imported = false;
	assert_int_equal(find(t, txn, KEYS_MAX - 1, digest, &key), -FAULT_NOT_FOUND);
	assert_int_equal(store_due(txn, INT64_MAX, &(struct store_due){ 0 }, KEYS_MAX, due), grace);
	for (unsigned i = 0; i < grace; i++)
		assert_int_equal(store_key(txn, due[i].digest, &key), 0);
	assert_int_equal(store_each_event(txn, 0, count_event, &sequence), 0);
	assert_int_equal(store_state(txn, &state), 0);
	assert_int_equal(state.event_sequence, sequence);
	store_size(txn, &size);
	assert_int_equal(size.keys, t->n);
	store_read_end(txn);
	assert_int_equal(store_corrupt_records(t->f.store), 0);
}

/* Every record of the database is of the newest line: with the old one alone nothing is believed. */
static void
check_tags(struct test *t)
{
	struct pepper *pepper;
	struct lmdb_cursor c;
	struct lmdb_txn *txn;
	struct lmdb *db;
	char why[512];
	int fault;

	fixture_store_close(&t->f);
	assert_int_equal(pepper_load(t->f.pepper, &pepper, why, sizeof(why)), 0);
	db = fixture_raw_open(&t->f);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_read(txn), 0);
	for (unsigned table = 0; table < TABLES; table++) {
		for (fault = lmdb_seek(txn, table, NULL, 0, &c); fault == 0; fault = lmdb_next(&c))
			assert_true(record_is_newest(
			    pepper, (enum table)table, c.key.data, c.key.len, c.value.data, c.value.len));
		assert_int_equal(fault, -FAULT_NOT_FOUND);
		lmdb_cursor_end(&c);
	}
	assert_int_equal(lmdb_entries(txn, TABLE_META), 2);
	lmdb_txn_free(txn);
	lmdb_close(db);
	pepper_free(pepper);
	fixture_store_open(&t->f);
	store_on_rotated_key(t->f.store, count_move, t);
}

/* One commit of the way. Returns true at its end. */
static bool
step(struct test *t)
{
	struct record_state state;

	(void)begin(t, &state);
	assert_int_equal(store_rotate(t->f.writer), 0);
	assert_int_equal(store_put_state(t->f.writer, &state), 0);
	assert_int_equal(store_commit(t->f.writer), 0);
	return store_rotated(t->f.store);
}

static void
step_in_vain(struct test *t)
{
	struct record_state state;
	unsigned moved = t->moved;

	(void)begin(t, &state);
	assert_int_equal(store_rotate(t->f.writer), 0);
	store_abort(t->f.writer);
	t->moved = moved;
}

/* ---- the way ---- */

static void
test_a_restart_at_every_commit(void **state)
{
	struct test *t = populate();
	unsigned steps = 0;

	(void)state;
	check_all(t);
	for (unsigned rotation = 0; rotation < 2; rotation++) {
		add_line(t);
		reopen(t);
		assert_true(store_is_rotating(t->f.store));
		t->moved = 0;
		for (bool end = false; !end; steps++) {
			check_all(t);
			step_in_vain(t);
			reopen(t);
			check_all(t);
			end = step(t);
			check_all(t);
			if (!end)
				reopen(t);
		}
		assert_int_equal(t->moved, t->n);
		assert_false(store_is_rotating(t->f.store));
		reopen(t);
		assert_false(store_is_rotating(t->f.store));
		check_tags(t);
		check_all(t);
	}
	assert_in_range(steps, 20, 1000);
	unpopulate(t);
}

/* Whatever comes between two commits of the way, on either side of where it has come to. */
static void
test_changes_on_the_way(void **state)
{
	struct test *t = populate();
	unsigned i = 0;
	char name[16];

	(void)state;
	add_line(t);
	reopen(t);
	for (bool end = false; !end; i++) {
		unsigned a = i * 7 % ACCOUNTS, b = (i * 7 + 20) % ACCOUNTS;

		snprintf(name, sizeof(name), "b%02u", i);
		create(t, name, i % 2 == 1);
		roll(t, name, i % 3 * 500);
		if (a % 6 < 3)
			roll(t, name_of(a), i % 3 * 500);
		suspend(t, name_of(b), i % 2 == 0);
		if (a % 6 > 2)
			revoke_key(t, name_of(a), KIND_SECRET, 1 + i % 3);
		t->now_ms += 400;
		(void)sweep(t);
		check_all(t);
		end = step(t);
		check_all(t);
	}
	check_tags(t);
	check_all(t);
	/* All ends as it would have. */
	t->now_ms += 2 * 86400000;
	while (sweep(t) > 0)
		;
	check_all(t);
	unpopulate(t);
}

/* ---- a full disk ---- */

/* What is set aside for revocations is still there when the move stops; then there is room, and it goes on. */
static void
test_a_full_disk_keeps_its_reserve(void **state)
{
	struct test *t = populate();
	struct record_state meta;
	struct store_txn *pinned;
	unsigned steps = 0;
	int fault = 0;

	(void)state;
	add_line(t);
	reopen(t);
	assert_false(step(t));
	/* As a backup does: no page is used again, so that each step needs new ones. */
	assert_non_null(pinned = store_txn_new(t->f.store));
	assert_int_equal(store_read(pinned), 0);
	disk_is_full = true;
	for (; fault == 0; steps++) {
		/* Nobody else asks for room, which what adds no key does not. */
		revoke_key(t, "a05", KIND_SECRET, 2);
		(void)begin(t, &meta);
		if ((fault = store_rotate(t->f.writer)) != 0) {
			store_abort(t->f.writer);
			break;
		}
		assert_int_equal(store_put_state(t->f.writer, &meta), 0);
		assert_int_equal(store_commit(t->f.writer), 0);
		if (store_rotated(t->f.store))
			fail_msg("the move came to its end after %u steps", steps);
	}
	assert_int_equal(fault, -FAULT_FULL);
	assert_true(steps > 0);
	revoke_key(t, "a05", KIND_PUBLISHABLE, 1);
	check_all(t);
	store_txn_free(pinned);
	disk_is_full = false;
	while (!step(t))
		;
	check_tags(t);
	check_all(t);
	unpopulate(t);
}

/* ---- damage ---- */

static void
test_damage_on_the_way_is_still_noticed(void **state)
{
	struct test *t = populate();
	struct record_state meta;
	struct record_key key;
	uint8_t digest[32], old[32];
	unsigned last = t->n;

	(void)state;
	/* Of the account that is moved last. */
	while (strcmp(t->known[--last].key.account, "a39") != 0)
		;
	digests_of(t, last, false, old);
	add_line(t);
	reopen(t);
	assert_false(step(t));
	fixture_store_close(&t->f);
	fixture_flip(&t->f, TABLE_KEYS, old, 32, 17);
	reopen(t);
	assert_int_equal(store_read(t->f.reader), 0);
	assert_int_equal(find(t, t->f.reader, last, digest, &key), -FAULT_CORRUPT);
	store_read_end(t->f.reader);
	/* The rotation stops there, and both peppers stay valid until the damage is repaired. */
	for (unsigned i = 0; i < 2; i++) {
		(void)begin(t, &meta);
		assert_int_equal(store_rotate(t->f.writer), -FAULT_CORRUPT);
		store_abort(t->f.writer);
	}
	assert_int_equal(store_read(t->f.reader), 0);
	for (unsigned i = 0; i < t->n; i++)
		if (i != last)
			assert_int_equal(find(t, t->f.reader, i, digest, &key) == 0 ||
				find(t, t->f.reader, i, digest, &key) == -FAULT_CORRUPT,
			    1);
	store_read_end(t->f.reader);
	fixture_store_close(&t->f);
	fixture_flip(&t->f, TABLE_KEYS, old, 32, 17);
	reopen(t);
	while (!step(t))
		;
	check_tags(t);
	check_all(t);
	unpopulate(t);
}

/*
 * The database must not open as if there were no rotation when a bit is wrong in the key of the rotation's marker, or in
 * LMDB's data before that key: keys not yet moved would not be found.
 */
static void
test_a_move_is_not_missed(void **state)
{
	struct test *t = populate();
	unsigned opened = 0, refused = 0;
	char name[4096], why[512];
	struct store *store;
	uint8_t *file, *end;
	struct stat st;
	int fd;

	(void)state;
	fixture_store_close(&t->f);
	add_line(t);
	open_and_begin(t);
	assert_false(step(t));
	fixture_store_close(&t->f);
	snprintf(name, sizeof(name), "%s/data.mdb", t->f.options.path);
	assert_true((fd = open(name, O_RDWR | O_CLOEXEC)) >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(file != MAP_FAILED);
	end = file + st.st_size;
	/* On pages that are free by now, too, where it changes nothing. */
	for (uint8_t *at = file; (at = memmem(at, (size_t)(end - at), "rotation", 8)) != NULL; at++) {
		for (unsigned bit = 0; bit < 128; bit++) {
			uint8_t *byte = at - 8 + bit / 8, mask = (uint8_t)(1U << bit % 8);

			*byte ^= mask;
			if (store_open(&t->f.options, &store, why, sizeof(why)) == 0) {
				assert_true(store_is_rotating(store));
				store_close(store);
				opened++;
			} else {
				refused++;
			}
			*byte ^= mask;
		}
	}
	print_message("# %u opened, and moving; %u refused\n", opened, refused);
	assert_true(refused >= 64);
	munmap(file, (size_t)st.st_size);
	close(fd);
	fixture_store_open(&t->f);
	assert_true(store_is_rotating(t->f.store));
	while (!step(t))
		;
	check_all(t);
	unpopulate(t);
}

/* A record from before the rotation that is put back after its end is refused: its pepper may be known to an attacker. */
static void
test_the_old_pepper_counts_for_nothing_afterwards(void **state)
{
	struct test *t = populate();
	struct record_account account;
	struct lmdb_value value;
	struct lmdb_txn *txn;
	struct lmdb *db;
	uint8_t old[RECORD_MAX];
	size_t len;

	(void)state;
	fixture_store_close(&t->f);
	db = fixture_raw_open(&t->f);
	assert_non_null(txn = lmdb_txn_new(db));
	assert_int_equal(lmdb_read(txn), 0);
	assert_int_equal(lmdb_get(txn, TABLE_ACCOUNTS, "a05", 3, &value), 0);
	memcpy(old, value.data, len = value.len);
	lmdb_txn_free(txn);
	lmdb_close(db);

	add_line(t);
	open_and_begin(t);
	while (!step(t))
		;
	assert_int_equal(store_read(t->f.reader), 0);
	assert_false(store_txn_is_rotating(t->f.reader));
	store_read_end(t->f.reader);
	fixture_store_close(&t->f);
	fixture_raw_put(&t->f, TABLE_ACCOUNTS, "a05", 3, old, len);
	fixture_store_open(&t->f);
	assert_int_equal(store_read(t->f.reader), 0);
	assert_int_equal(store_account(t->f.reader, "a05", &account), -FAULT_CORRUPT);
	assert_int_equal(store_account(t->f.reader, "a06", &account), 0);
	store_read_end(t->f.reader);
	unpopulate(t);
}

/* ---- peppers and databases that are refused ---- */

static void
refused(struct test *t, const char *text)
{
	struct store *store;
	char why[512] = "";

	fixture_write_file(t->f.pepper, text, strlen(text), 0600);
	assert_true(store_open(&t->f.options, &store, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "does not belong to the database"));
}

static void
test_other_lines_are_refused(void **state)
{
	struct test *t = calloc(1, sizeof(*t));

	(void)state;
	assert_non_null(t);
	t->now_ms = START_MS;
	fixture_store_prepare(&t->f, ENVIRONMENT_LIVE);
	fixture_write_file(t->f.pepper, LINE1, LINE_LEN, 0600);
	assert_int_equal(store_init(&t->f.options, (char[512]){ 0 }, 512), 0);
	fixture_store_open(&t->f);
	create(t, "a", false);
	fixture_store_close(&t->f);
	for (unsigned end = 0; end < 2; end++) {
		fixture_write_file(t->f.pepper, LINE1 LINE2, 2 * LINE_LEN, 0600);
		open_and_begin(t);
		while (end == 1 && store_is_rotating(t->f.store))
			(void)step(t);
		check_all(t);
		fixture_store_close(&t->f);
		refused(t, LINE1);
		refused(t, LINE2);
		refused(t, LINE2 LINE1);
		refused(t, LINE3 LINE2);
		refused(t, LINE1 LINE3);
	}
	/* Two at once are one way. */
	fixture_write_file(t->f.pepper, LINE1 LINE2 LINE3, 3 * LINE_LEN, 0600);
	open_and_begin(t);
	assert_true(store_is_rotating(t->f.store));
	while (!step(t))
		;
	check_tags(t);
	check_all(t);
	unpopulate(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_a_restart_at_every_commit),
		cmocka_unit_test(test_changes_on_the_way),
		cmocka_unit_test(test_a_full_disk_keeps_its_reserve),
		cmocka_unit_test(test_damage_on_the_way_is_still_noticed),
		cmocka_unit_test(test_a_move_is_not_missed),
		cmocka_unit_test(test_the_old_pepper_counts_for_nothing_afterwards),
		cmocka_unit_test(test_other_lines_are_refused),
	};

	return cmocka_run_group_tests_name("rotate", tests, fixture_begin, NULL);
}
