/*
 * test_decide.c - the rules of decide.c at every limit of their times and counts. Each decision is applied to a real store
 * and read back; the time is a parameter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/store/apply.h"
#include "service/store/time.h"
#include "service/store/walk.h"
#include "tests/unit/service/fixture.h"

#include "service/keys/decide.h"

#define NOW FIXTURE_NOW_MS
#define HOUR FIXTURE_HOUR_MS
#define DAY FIXTURE_DAY_MS

static struct fixture_store f;
static int64_t now_ms;
static uint32_t secrets;     /* made so far */
static struct change change; /* what was decided last */
static why_text why;

static int
begin(void **state)
{
	(void)state;
	fixture_store(&f, ENVIRONMENT_LIVE);
	now_ms = NOW;
	secrets = 0;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	fixture_store_end(&f);
	return 0;
}

/* ---- decide, and apply what was decided ---- */

static struct new_secret
new_secret(void)
{
	struct new_secret s;

	memset(&s, 0, sizeof(s));
	secrets++;
	memcpy(s.digest, &secrets, sizeof(secrets));
	snprintf(s.last4, sizeof(s.last4), "%03u", secrets % 1000);
	return s;
}

static struct record_state state_in_write;

static struct view
begin_view(void)
{
	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_state(f.writer, &state_in_write), 0);
	memset(&change, 0xee, sizeof(change));
	memset(why, 0, sizeof(why));
	return (struct view){ .txn = f.writer, .state = &state_in_write, .now_ms = now_ms };
}

/* Apply ${change} when ${fault} is 0, as the writer does; otherwise there must be a complete reason. */
static int
finish(int fault)
{
	if (fault == DECIDE_EXPIRY_FIRST)
		return fault;
	if (fault != 0) {
		store_abort(f.writer);
		assert_in_range(strlen(why), 10, sizeof(why) - 2);
		return fault;
	}
	assert_int_equal(change.time_ms, now_ms);
	assert_false(change.has_token);
	assert_int_equal(store_apply(f.writer, &change, &state_in_write), 0);
	assert_int_equal(store_put_state(f.writer, &state_in_write), 0);
	assert_int_equal(store_commit(f.writer), 0);
	return 0;
}

static int
create(const char *account)
{
	struct new_secret secret = new_secret(), publishable = new_secret();
	struct view view = begin_view();

	return finish(decide_create(&view, account, &secret, &publishable, &change, why));
}

static int
roll_with(struct roll roll)
{
	struct view view = begin_view();

	roll.secret = new_secret();
	return finish(decide_roll(&view, &roll, &change, why));
}

static int
roll(const char *account, int64_t grace_ms)
{
	return roll_with((struct roll){ .account = account, .grace_ms = grace_ms });
}

static int
revoke_key(const char *account, enum kind kind, uint32_t generation)
{
	struct view view = begin_view();

	return finish(decide_revoke(&view, account, kind, generation, &change, why));
}

static int
suspend(const char *account, bool on)
{
	struct view view = begin_view();

	return finish(decide_suspend(&view, account, on, &change, why));
}

/* The sweeper, at this time: every key whose grace has ended. Returns how many. */
static unsigned
sweep(void)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t at_ms;
	unsigned n;

	for (n = 0;; n++) {
		struct view view = begin_view();
		int fault = store_next_expiry(f.writer, &at_ms, digest);

		if (fault != 0 || at_ms > now_ms) {
			assert_true(fault == 0 || fault == -FAULT_NOT_FOUND);
			store_abort(f.writer);
			return n;
		}
		assert_int_equal(finish(decide_expire(&view, digest, &change)), 0);
	}
}

/* ---- what there is ---- */

static struct record_account
account_of(const char *account)
{
	struct record_account a;

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_account(f.reader, account, &a), 0);
	store_read_end(f.reader);
	return a;
}

static struct record_key
key_with_digest(const char *account, enum kind kind, uint32_t generation, uint8_t digest[RECORD_DIGEST_LEN])
{
	struct record_key k;

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_slot(f.reader, account, kind, generation, digest), 0);
	assert_int_equal(store_key(f.reader, digest, &k), 0);
	store_read_end(f.reader);
	assert_int_equal(k.kind, kind);
	assert_int_equal(k.generation, generation);
	assert_string_equal(k.account, account);
	return k;
}

static struct record_key
key_of(const char *account, enum kind kind, uint32_t generation)
{
	uint8_t digest[RECORD_DIGEST_LEN];

	return key_with_digest(account, kind, generation, digest);
}

static void
expect_key(const char *account, uint32_t generation, enum key_state key_state, int64_t expires_ms, int64_t ended_ms)
{
	struct record_key k = key_of(account, KIND_SECRET, generation);

	assert_int_equal(k.state, key_state);
	assert_int_equal(k.expires_ms, expires_ms);
	assert_int_equal(k.ended_ms, ended_ms);
}

static bool
keep_event(void *arg, const struct record_event *event)
{
	*(struct record_event *)arg = *event;
	return true;
}

/* The newest event; events are counted by the state. */
static struct record_event
last_event(uint64_t sequence)
{
	struct record_event e = { 0 };

	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_each_event(f.reader, 0, keep_event, &e), 0);
	store_read_end(f.reader);
	assert_int_equal(e.sequence, sequence);
	return e;
}

/* ---- create ---- */

static void
creates(void **state)
{
	struct record_account a;
	struct record_event e;
	struct record_key k;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(change.n_keys, 2);
	assert_int_equal(change.keys[0].key.kind, KIND_SECRET);
	assert_int_equal(change.keys[1].key.kind, KIND_PUBLISHABLE);
	a = account_of("acme");
	assert_int_equal(a.created_ms, NOW);
	assert_int_equal(a.suspended_ms, 0);
	assert_int_equal(a.secret_generation, 1);
	assert_int_equal(a.publishable_generation, 1);
	assert_int_equal(a.n_grace, 0);
	expect_key("acme", 1, KEY_CURRENT, 0, 0);
	k = key_of("acme", KIND_SECRET, 1);
	assert_int_equal(k.serial, 0);
	assert_int_equal(k.created_ms, NOW);
	assert_memory_equal(k.last4, "001", 4);
	assert_false(k.suspended);
	k = key_of("acme", KIND_PUBLISHABLE, 1);
	assert_int_equal(k.serial, 1);
	assert_int_equal(k.state, KEY_CURRENT);
	e = last_event(1);
	assert_int_equal(e.type, EVENT_ACCOUNT_CREATED);
	assert_int_equal(e.time_ms, NOW);
	assert_int_equal(e.kind, 0);
	assert_string_equal(e.account, "acme");

	/* No serial is given twice. */
	assert_int_equal(create("zeta"), 0);
	assert_int_equal(key_of("zeta", KIND_SECRET, 1).serial, 2);
	assert_int_equal(key_of("zeta", KIND_PUBLISHABLE, 1).serial, 3);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(key_of("acme", KIND_SECRET, 2).serial, 4);
}

static void
exists(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(create("acme"), -FAULT_ALREADY_EXISTS);
	assert_string_equal(why, "the account acme exists already in this environment");
	/* Case is another name. */
	assert_int_equal(create("Acme"), 0);
	assert_int_equal(account_of("acme").secret_generation, 1);
}

/* The longest name and the fullest sentence still fit. */
#define LONGEST "AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.AZaz09._-.1234"

static void
the_longest_name(void **state)
{
	(void)state;
	assert_int_equal(create(LONGEST), 0);
	assert_int_equal(create(LONGEST), -FAULT_ALREADY_EXISTS);
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_int_equal(roll(LONGEST, DAY), 0);
	assert_int_equal(roll(LONGEST, DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(why, LONGEST));
	assert_non_null(strstr(why, "a grace of 0"));
	assert_int_equal(revoke_key(LONGEST, KIND_PUBLISHABLE, UINT32_MAX), -FAULT_NOT_FOUND);
	assert_non_null(strstr(why, "in this environment"));
}

/* ---- roll ---- */

static void
each_old_key_has_its_own_day(void **state)
{
	struct record_event e;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(change.keys[0].key.generation, 2);
	assert_true(change.keys[0].is_new);
	assert_int_equal(change.keys[1].key.generation, 1);
	assert_false(change.keys[1].is_new);
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	expect_key("acme", 2, KEY_CURRENT, 0, 0);
	e = last_event(2);
	assert_int_equal(e.type, EVENT_KEY_ROLLED);
	assert_int_equal(e.kind, KIND_SECRET);
	assert_int_equal(e.generation, 2);
	assert_int_equal(e.expires_ms, NOW + DAY);

	/* A second and a third roll leave the first key's end where it was. */
	now_ms = NOW + HOUR;
	assert_int_equal(roll("acme", DAY), 0);
	now_ms = NOW + 2 * HOUR;
	assert_int_equal(roll("acme", DAY), 0);
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	expect_key("acme", 2, KEY_GRACE, NOW + HOUR + DAY, 0);
	expect_key("acme", 3, KEY_GRACE, NOW + 2 * HOUR + DAY, 0);
	expect_key("acme", 4, KEY_CURRENT, 0, 0);
	assert_int_equal(account_of("acme").secret_generation, 4);
	assert_int_equal(account_of("acme").n_grace, 3);
	/* The publishable key has no part in it. */
	assert_int_equal(key_of("acme", KIND_PUBLISHABLE, 1).state, KEY_CURRENT);
	assert_int_equal(account_of("acme").publishable_generation, 1);

	/* Each ends at its own time. */
	now_ms = NOW + DAY;
	assert_int_equal(sweep(), 1);
	expect_key("acme", 1, KEY_EXPIRED, NOW + DAY, NOW + DAY);
	expect_key("acme", 2, KEY_GRACE, NOW + HOUR + DAY, 0);
	now_ms = NOW + 2 * DAY;
	assert_int_equal(sweep(), 2);
	expect_key("acme", 3, KEY_EXPIRED, NOW + 2 * HOUR + DAY, NOW + 2 * HOUR + DAY);
	expect_key("acme", 4, KEY_CURRENT, 0, 0);
	assert_int_equal(account_of("acme").n_grace, 0);
}

static void
a_shorter_grace(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("acme", 1000), 0);
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	expect_key("acme", 2, KEY_GRACE, NOW + 1000, 0);
	now_ms = NOW + 1000;
	assert_int_equal(sweep(), 1);
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	expect_key("acme", 2, KEY_EXPIRED, NOW + 1000, NOW + 1000);
	assert_int_equal(account_of("acme").n_grace, 1);
	assert_int_equal(account_of("acme").grace[0].generation, 1);
}

static void
no_grace_at_all(void **state)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t at_ms;

	(void)state;
	assert_int_equal(create("acme"), 0);
	now_ms = NOW + 5;
	assert_int_equal(roll("acme", 0), 0);
	expect_key("acme", 1, KEY_REVOKED, NOW + 5, NOW + 5);
	expect_key("acme", 2, KEY_CURRENT, 0, 0);
	assert_int_equal(account_of("acme").n_grace, 0);
	assert_int_equal(change.keys[1].key.state, KEY_REVOKED);
	assert_int_equal(last_event(2).expires_ms, NOW + 5);
	assert_int_equal(store_read(f.reader), 0);
	assert_int_equal(store_next_expiry(f.reader, &at_ms, digest), -FAULT_NOT_FOUND);
	store_read_end(f.reader);
	now_ms = NOW + 2 * DAY;
	assert_int_equal(sweep(), 0);
}

static void
a_ninth_in_grace_is_refused(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	for (int i = 0; i < LIMIT_IN_GRACE; i++) {
		now_ms = NOW + i * HOUR;
		assert_int_equal(roll("acme", DAY), 0);
	}
	assert_int_equal(account_of("acme").n_grace, LIMIT_IN_GRACE);
	now_ms = NOW + 9 * HOUR;
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(roll("acme", 1), -FAULT_RESOURCE_EXHAUSTED);
	/* NOW + 24 h, on its second. */
	assert_non_null(strstr(why, "roll again from 2026-09-22T14:13:20Z"));
	assert_int_equal(account_of("acme").secret_generation, LIMIT_IN_GRACE + 1);
	/* A leaked key can always be ended: none of these needs a place in grace. */
	assert_int_equal(roll("acme", 0), 0);
	assert_int_equal(account_of("acme").n_grace, LIMIT_IN_GRACE);

	/* One millisecond before the told time it is refused, at it there is a place. */
	now_ms = NOW + DAY - 1;
	assert_int_equal(sweep(), 0);
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	now_ms = NOW + DAY;
	assert_int_equal(sweep(), 1);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(why, "roll again from 2026-09-22T15:13:20Z"));

	/* Or when one is revoked. */
	assert_int_equal(revoke_key("acme", KIND_SECRET, 4), 0);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	/* Or when the current one has been: that one needs no place. */
	assert_int_equal(revoke_key("acme", KIND_SECRET, account_of("acme").secret_generation), 0);
	assert_int_equal(roll("acme", DAY), 0);
}

/* A grace that has ended takes no place, also before the sweeper has ended the key. */
static void
a_grace_that_was_not_swept(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_int_equal(roll("acme", i == 3 ? HOUR : DAY), 0);
	now_ms = NOW + HOUR;
	assert_int_equal(roll("acme", DAY), DECIDE_EXPIRY_FIRST);
	assert_int_equal(change.event.type, EVENT_KEY_EXPIRED);
	assert_int_equal(change.event.generation, 4);
	assert_int_equal(store_apply(f.writer, &change, &state_in_write), 0);
	assert_int_equal(store_put_state(f.writer, &state_in_write), 0);
	assert_int_equal(store_commit(f.writer), 0);
	assert_int_equal(key_of("acme", KIND_SECRET, 4).state, KEY_EXPIRED);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(why, "roll again from 2026-09-22T14:13:20Z"));
	assert_int_equal(sweep(), 0);
}

/* The told time is of the first to end, and never too early: fractions of a second are rounded up. */
static void
the_told_time(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_int_equal(roll("acme", i == 5 ? HOUR + 1 : DAY), 0);
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(why, "roll again from 2026-09-21T15:13:21Z"));
}

static void
an_expected_generation(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(
	    roll_with((struct roll){ .account = "acme", .grace_ms = DAY, .expected_generation = 2 }), -FAULT_ABORTED);
	assert_string_equal(why, "expected_generation is 2, but the current generation is 1");
	assert_int_equal(roll_with((struct roll){ .account = "acme", .grace_ms = DAY, .expected_generation = 1 }), 0);
	assert_int_equal(
	    roll_with((struct roll){ .account = "acme", .grace_ms = DAY, .expected_generation = 1 }), -FAULT_ABORTED);
	assert_int_equal(roll_with((struct roll){ .account = "acme", .grace_ms = DAY, .expected_generation = 0 }), 0);
	assert_int_equal(account_of("acme").secret_generation, 3);
}

static int
roll_authorized(const uint8_t *digest)
{
	return roll_with((struct roll){ .account = "acme", .grace_ms = DAY, .authorizing = digest });
}

static void
who_may_authorize(void **state)
{
	uint8_t first[RECORD_DIGEST_LEN], second[RECORD_DIGEST_LEN], publishable[RECORD_DIGEST_LEN],
	    others[RECORD_DIGEST_LEN], nobody[RECORD_DIGEST_LEN] = { 0xff };

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(create("other"), 0);
	(void)key_with_digest("acme", KIND_SECRET, 1, first);
	(void)key_with_digest("acme", KIND_PUBLISHABLE, 1, publishable);
	(void)key_with_digest("other", KIND_SECRET, 1, others);
	assert_int_equal(roll_authorized(nobody), -FAULT_PERMISSION_DENIED);
	assert_non_null(strstr(why, "not the current secret key of this account"));
	assert_int_equal(roll_authorized(others), -FAULT_PERMISSION_DENIED);
	assert_int_equal(roll_authorized(publishable), -FAULT_PERMISSION_DENIED);
	assert_int_equal(account_of("acme").secret_generation, 1);

	assert_int_equal(roll_authorized(first), 0);
	/* Superseded: it verifies, but it may not roll. */
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	assert_int_equal(roll_authorized(first), -FAULT_PERMISSION_DENIED);
	(void)key_with_digest("acme", KIND_SECRET, 2, second);

	assert_int_equal(suspend("acme", true), 0);
	assert_int_equal(roll_authorized(second), -FAULT_PERMISSION_DENIED);
	/* The listener's role may. */
	assert_int_equal(roll_authorized(NULL), 0);
	assert_int_equal(suspend("acme", false), 0);
	(void)key_with_digest("acme", KIND_SECRET, 3, second);
	assert_int_equal(roll_authorized(second), 0);

	(void)key_with_digest("acme", KIND_SECRET, 4, second);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 4), 0);
	assert_int_equal(roll_authorized(second), -FAULT_PERMISSION_DENIED);
	/* A refused authority learns nothing of generations. */
	assert_int_equal(roll_with((struct roll){
			     .account = "acme", .grace_ms = DAY, .authorizing = nobody, .expected_generation = 77 }),
	    -FAULT_PERMISSION_DENIED);
}

static void
nobody_s_key(void **state)
{
	(void)state;
	assert_int_equal(roll("nobody", DAY), -FAULT_NOT_FOUND);
	assert_string_equal(why, "no account nobody in this environment");
	assert_int_equal(revoke_key("nobody", KIND_SECRET, 1), -FAULT_NOT_FOUND);
	assert_int_equal(suspend("nobody", true), -FAULT_NOT_FOUND);
}

static void
a_roll_after_the_current_was_revoked(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	now_ms = NOW + 1;
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), 0);
	now_ms = NOW + 2;
	assert_int_equal(roll("acme", DAY), 0);
	/* It is not brought back into grace. */
	expect_key("acme", 1, KEY_REVOKED, 0, NOW + 1);
	expect_key("acme", 2, KEY_CURRENT, 0, 0);
	assert_int_equal(change.keys[1].key.generation, 1);
	assert_int_equal(change.keys[1].key.state, KEY_REVOKED);
	assert_int_equal(account_of("acme").n_grace, 0);
	now_ms = NOW + 2 * DAY;
	assert_int_equal(sweep(), 0);
}

/* Write an account's record directly, without decide.c. */
static void
put_account(const struct record_account *a)
{
	struct change c = { .time_ms = now_ms, .touches_account = true, .account = *a };

	assert_int_equal(fixture_apply(&f, &c), 0);
}

static void
generations_run_out(void **state)
{
	struct change c = { .time_ms = NOW, .touches_account = true, .n_keys = 1 };

	(void)state;
	assert_int_equal(create("acme"), 0);
	c.account = account_of("acme");
	c.account.secret_generation = UINT32_MAX - 2;
	c.keys[0].is_new = true;
	memset(c.keys[0].digest, 0xcc, RECORD_DIGEST_LEN);
	c.keys[0].key = key_of("acme", KIND_SECRET, 1);
	c.keys[0].key.generation = UINT32_MAX - 2;
	assert_int_equal(fixture_apply(&f, &c), 0);
	/* The last one is made, and then no other; what there is can still be revoked. */
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(account_of("acme").secret_generation, UINT32_MAX - 1);
	assert_int_equal(roll("acme", DAY), -FAULT_FAILED_PRECONDITION);
	assert_int_equal(roll("acme", 0), -FAULT_FAILED_PRECONDITION);
	assert_int_equal(revoke_key("acme", KIND_SECRET, UINT32_MAX - 1), 0);
	expect_key("acme", UINT32_MAX - 1, KEY_REVOKED, 0, NOW);
}

static void
serials_run_out(void **state)
{
	struct record_state now;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(store_write(f.writer), 0);
	assert_int_equal(store_state(f.writer, &now), 0);
	now.next_serial = UINT32_MAX - 2;
	assert_int_equal(store_put_state(f.writer, &now), 0);
	assert_int_equal(store_commit(f.writer), 0);
	assert_int_equal(create("last"), 0);
	assert_int_equal(key_of("last", KIND_PUBLISHABLE, 1).serial, UINT32_MAX - 1);
	assert_int_equal(create("next"), -FAULT_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(why, "used up its 2^32 serials"));
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), 0);
}

/* ---- revoke ---- */

static void
revokes(void **state)
{
	struct record_event e;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("acme", DAY), 0);

	/* One in grace, before its time. */
	now_ms = NOW + HOUR;
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), 0);
	assert_int_equal(change.keys[0].key.state, KEY_REVOKED);
	expect_key("acme", 1, KEY_REVOKED, NOW + DAY, NOW + HOUR);
	assert_int_equal(account_of("acme").n_grace, 1);
	assert_int_equal(account_of("acme").grace[0].generation, 2);
	e = last_event(4);
	assert_int_equal(e.type, EVENT_KEY_REVOKED);
	assert_int_equal(e.generation, 1);
	assert_int_equal(e.kind, KIND_SECRET);

	/* The current ones. */
	assert_int_equal(revoke_key("acme", KIND_SECRET, 3), 0);
	expect_key("acme", 3, KEY_REVOKED, 0, NOW + HOUR);
	assert_int_equal(revoke_key("acme", KIND_PUBLISHABLE, 1), 0);
	assert_int_equal(key_of("acme", KIND_PUBLISHABLE, 1).state, KEY_REVOKED);
	assert_int_equal(last_event(6).kind, KIND_PUBLISHABLE);

	/* What has ended stays as it ended: no change, no event, but an answer. */
	now_ms = NOW + 2 * HOUR;
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), 0);
	assert_int_equal(change.n_keys, 1);
	assert_int_equal(change.keys[0].key.generation, 1);
	assert_int_equal(change.keys[0].key.ended_ms, NOW + HOUR);
	expect_key("acme", 1, KEY_REVOKED, NOW + DAY, NOW + HOUR);
	(void)last_event(6);
	now_ms = NOW + DAY;
	assert_int_equal(sweep(), 1);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 2), 0);
	expect_key("acme", 2, KEY_EXPIRED, NOW + DAY, NOW + DAY);
	(void)last_event(7);

	assert_int_equal(revoke_key("acme", KIND_SECRET, 4), -FAULT_NOT_FOUND);
	assert_string_equal(why, "acme has no secret key of generation 4 in this environment");
	assert_int_equal(revoke_key("acme", KIND_SECRET, 0), -FAULT_NOT_FOUND);
	assert_int_equal(revoke_key("acme", KIND_PUBLISHABLE, 2), -FAULT_NOT_FOUND);
}

/* ---- suspend and resume ---- */

/* Which secret keys of generation 1 to ${n} are marked, as bits; bit 0 is the publishable one. */
static unsigned
marked(const char *account, uint32_t n)
{
	unsigned bits = key_of(account, KIND_PUBLISHABLE, 1).suspended ? 1 : 0;

	for (uint32_t g = 1; g <= n; g++)
		if (key_of(account, KIND_SECRET, g).suspended)
			bits |= 1U << g;
	return bits;
}

static void
suspends_and_resumes(void **state)
{
	struct record_key before, after;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(create("other"), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(roll("acme", i == 0 ? 1 : DAY), 0);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 3), 0);
	now_ms = NOW + HOUR;
	assert_int_equal(sweep(), 1);
	/* 1 expired, 3 revoked, 2 4 5 in grace, 6 current. */
	before = key_of("acme", KIND_SECRET, 2);
	assert_int_equal(suspend("acme", true), 0);
	assert_int_equal(marked("acme", 6), 1U | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 6);
	assert_int_equal(marked("other", 1), 0);
	assert_int_equal(account_of("acme").suspended_ms, NOW + HOUR);
	assert_int_equal(last_event(10).type, EVENT_ACCOUNT_SUSPENDED);
	/* Nothing else of them changes: their end stays where it was, and the sweeper finds them. */
	after = key_of("acme", KIND_SECRET, 2);
	assert_int_equal(after.expires_ms, before.expires_ms);
	assert_int_equal(after.state, KEY_GRACE);
	assert_int_equal(after.serial, before.serial);

	/* Again: no change, no event, the first time stays. */
	now_ms = NOW + 2 * HOUR;
	assert_int_equal(suspend("acme", true), 0);
	assert_int_equal(change.n_keys, 0);
	assert_int_equal(account_of("acme").suspended_ms, NOW + HOUR);
	(void)last_event(10);

	/* A key made meanwhile is suspended too; the one that it supersedes stays so. */
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(marked("acme", 7), 1U | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 7);

	assert_int_equal(suspend("acme", false), 0);
	assert_int_equal(marked("acme", 7), 0);
	assert_int_equal(account_of("acme").suspended_ms, 0);
	assert_int_equal(last_event(12).type, EVENT_ACCOUNT_RESUMED);
	assert_int_equal(suspend("acme", false), 0);
	(void)last_event(12);
	now_ms = NOW + 3 * DAY;
	assert_int_equal(sweep(), 4);
	assert_int_equal(account_of("acme").n_grace, 0);
}

/* As many as there can be: the current two and eight in grace. */
static void
suspends_ten(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(suspend("acme", true), 0);
	assert_int_equal(change.n_keys, CHANGE_KEYS);
	assert_int_equal(marked("acme", 9), (1U << 10) - 1);
	assert_int_equal(suspend("acme", false), 0);
	assert_int_equal(marked("acme", 9), 0);
}

/* A key that ends while its account is suspended has ended, whatever comes later. */
static void
ends_while_suspended(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", HOUR), 0);
	assert_int_equal(suspend("acme", true), 0);
	now_ms = NOW + HOUR;
	assert_int_equal(sweep(), 1);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 2), 0);
	assert_int_equal(suspend("acme", false), 0);
	expect_key("acme", 1, KEY_EXPIRED, NOW + HOUR, NOW + HOUR);
	expect_key("acme", 2, KEY_REVOKED, 0, NOW + HOUR);
}

/* ---- expire ---- */

static int
expire(const char *account, uint32_t generation)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct view view;
	int fault;

	(void)key_with_digest(account, KIND_SECRET, generation, digest);
	view = begin_view();
	if ((fault = decide_expire(&view, digest, &change)) != 0) {
		store_abort(f.writer);
		return fault;
	}
	return finish(0);
}

static void
expires_at_its_time(void **state)
{
	struct record_event e;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	/* One millisecond before the end: the sweeper finds nothing, and decide_expire() is refused. */
	now_ms = NOW + DAY - 1;
	assert_int_equal(sweep(), 0);
	assert_int_equal(expire("acme", 1), -FAULT_CORRUPT);
	expect_key("acme", 1, KEY_GRACE, NOW + DAY, 0);
	now_ms = NOW + DAY;
	assert_int_equal(expire("acme", 1), 0);
	expect_key("acme", 1, KEY_EXPIRED, NOW + DAY, NOW + DAY);
	e = last_event(3);
	assert_int_equal(e.type, EVENT_KEY_EXPIRED);
	assert_int_equal(e.generation, 1);
	assert_int_equal(e.expires_ms, NOW + DAY);
	/* Not twice, and no other. */
	assert_int_equal(expire("acme", 1), -FAULT_CORRUPT);
	assert_int_equal(expire("acme", 2), -FAULT_CORRUPT);
	assert_int_equal(sweep(), 0);

	/* A late sweeper writes when it ended, not when it came. */
	assert_int_equal(roll("acme", HOUR), 0);
	now_ms = NOW + 9 * DAY;
	assert_int_equal(sweep(), 1);
	expect_key("acme", 2, KEY_EXPIRED, NOW + DAY + HOUR, NOW + DAY + HOUR);
	assert_int_equal(last_event(5).time_ms, NOW + 9 * DAY);
}

/* ---- room and damage ---- */

static void
no_room(void **state)
{
	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	fixture_store_close(&f);
	f.options.ceiling_bytes = 512 << 10;
	fixture_store_open(&f);
	for (unsigned i = 0; i < 10000; i++) {
		char name[16];
		int fault;

		snprintf(name, sizeof(name), "more-%u", i);
		if ((fault = create(name)) != 0) {
			assert_int_equal(fault, -FAULT_RESOURCE_EXHAUSTED);
			break;
		}
	}
	assert_non_null(strstr(why, "90 % of its ceiling"));
	assert_int_equal(roll("acme", DAY), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(roll("acme", 0), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(account_of("acme").secret_generation, 2);
	/* What ends keys fits. */
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), 0);
	assert_int_equal(suspend("acme", true), 0);
	assert_int_equal(suspend("acme", false), 0);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 2), 0);
}

/* A damaged record is a fault for every decision that reads it, and for no other. */
static void
damage(void **state)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_account a;

	(void)state;
	assert_int_equal(create("acme"), 0);
	assert_int_equal(create("other"), 0);
	assert_int_equal(roll("acme", DAY), 0);
	(void)key_with_digest("acme", KIND_SECRET, 1, digest);
	a = account_of("acme");
	fixture_store_close(&f);
	fixture_flip(&f, TABLE_KEYS, digest, sizeof(digest), 20);
	fixture_store_open(&f);
	assert_int_equal(revoke_key("acme", KIND_SECRET, 1), -FAULT_CORRUPT);
	assert_string_equal(why, "the database could not be read");
	assert_int_equal(suspend("acme", true), -FAULT_CORRUPT);
	assert_int_equal(roll("acme", DAY), 0);
	assert_int_equal(roll("other", DAY), 0);

	/* An account whose current key has no slot is damaged; the key does not count as absent. */
	a.secret_generation = 99;
	put_account(&a);
	assert_int_equal(roll("acme", DAY), -FAULT_CORRUPT);
	assert_int_equal(suspend("acme", true), -FAULT_CORRUPT);

	fixture_store_close(&f);
	fixture_flip(&f, TABLE_ACCOUNTS, "acme", 4, 20);
	fixture_store_open(&f);
	assert_int_equal(create("acme"), -FAULT_CORRUPT);
	assert_int_equal(roll("acme", DAY), -FAULT_CORRUPT);
	assert_int_equal(roll("other", DAY), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(creates),
		TEST(exists),
		TEST(the_longest_name),
		TEST(each_old_key_has_its_own_day),
		TEST(a_shorter_grace),
		TEST(no_grace_at_all),
		TEST(a_ninth_in_grace_is_refused),
		TEST(a_grace_that_was_not_swept),
		TEST(the_told_time),
		TEST(an_expected_generation),
		TEST(who_may_authorize),
		TEST(nobody_s_key),
		TEST(a_roll_after_the_current_was_revoked),
		TEST(generations_run_out),
		TEST(serials_run_out),
		TEST(revokes),
		TEST(suspends_and_resumes),
		TEST(suspends_ten),
		TEST(ends_while_suspended),
		TEST(expires_at_its_time),
		TEST(no_room),
		TEST(damage),
	};

	return cmocka_run_group_tests_name("decide", tests, fixture_begin, NULL);
}
