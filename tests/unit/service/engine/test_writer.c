/*
 * test_writer.c - writer.c over a real store: group commit, request tokens, limits, full disks, the sweeper, the stop. The
 * test replaces pwrite, fdatasync and posix_fallocate, so that a commit can be delayed, counted and made to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "tests/unit/service/harness.h"

/* ---- between LMDB and the disk ---- */

#define INTERPOSED __attribute__((visibility("default"), used))

static _Atomic unsigned n_syncs, n_writes;
static _Atomic int fail_sync, fail_write, fail_allocate; /* an errno */
static _Atomic int fail_sync_after = -1;                 /* syncs that still go well; -1: all */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	unsigned waiting;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };

INTERPOSED int
fdatasync(int fd)
{
	static int (*next)(int);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	n_syncs++;
	pthread_mutex_lock(&gate.lock);
	gate.waiting++;
	pthread_cond_broadcast(&gate.changed);
	while (gate.closed)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.waiting--;
	pthread_mutex_unlock(&gate.lock);
	if (fail_sync == 0 && fail_sync_after < 0)
		return next(fd);
	if (fail_sync == 0 && fail_sync_after-- > 0)
		return next(fd);
	errno = fail_sync != 0 ? fail_sync : EIO;
	return -1;
}

/* The two meta pages, at the front, have their place: a full disk shows at the others. */
static bool
refused(off_t at)
{
	n_writes++;
	if (fail_write == 0 || (fail_write == ENOSPC && at < 2 * sysconf(_SC_PAGESIZE)))
		return false;
	errno = fail_write;
	return true;
}

INTERPOSED ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	static ssize_t (*next)(int, const void *, size_t, off_t);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pwrite");
	return refused(at) ? -1 : next(fd, data, len, at);
}

/* LMDB seeks, then writes neighbouring pages at once. */
INTERPOSED ssize_t
writev(int fd, const struct iovec *v, int n)
{
	static ssize_t (*next)(int, const struct iovec *, int);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "writev");
	return refused(lseek(fd, 0, SEEK_CUR)) ? -1 : next(fd, v, n);
}

INTERPOSED int
posix_fallocate(int fd, off_t from, off_t len)
{
	static int (*next)(int, off_t, off_t);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "posix_fallocate");
	return fail_allocate != 0 ? fail_allocate : next(fd, from, len);
}

static void
gate_close(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = true;
	pthread_mutex_unlock(&gate.lock);
}

static void
gate_await(void)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.waiting == 0)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void
gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = false;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void
nap(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* Silence stderr: the many expected log lines would hide others. */
static int
stderr_quiet(void)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

	dup2(null, STDERR_FILENO);
	close(null);
	return saved;
}

static void
stderr_loud(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

/* ---- mutations ---- */

/*
 * GROWS wants a place in the file of last-used times that is not there yet; FAILS fills its change, then refuses. SEVERAL
 * creates three accounts, in one mutation; BREAKS finds damage after two.
 */
enum wish { CREATES, ROLLS, REVOKES, NOTHING, GROWS, FAILS, SEVERAL, BREAKS };

struct job {
	struct mutation m;
	enum wish wish;
	char account[LIMIT_ACCOUNT + 1];
	uint32_t generation;
	int64_t grace_ms;
	unsigned decided;
	_Atomic int done; /* times */
	int fault;
	bool replayed;
	uint8_t reply[16]; /* what was told */
	size_t reply_len;
	char why[LIMIT_MESSAGE];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
} jobs = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };

static struct new_secret
new_secret(void)
{
	struct new_secret s = { .last4 = { 'a', 'b', 'c', 'd' } };

	randombytes_buf(s.digest, sizeof(s.digest));
	return s;
}

static int
decide(struct mutation *m, const struct view *view, struct change *change)
{
	struct job *j = m->arg;
	struct new_secret a = new_secret(), b = new_secret();
	struct roll roll = { .account = j->account, .grace_ms = j->grace_ms, .secret = a };
	int fault = 0;

	j->decided++;
	if (j->wish == SEVERAL || j->wish == BREAKS) {
		char account[LIMIT_ACCOUNT + 8];

		if (j->wish == BREAKS && m->step == 2)
			return -FAULT_CORRUPT;
		snprintf(account, sizeof(account), "%.40s-%u", j->account, m->step);
		if ((fault = decide_create(view, account, &a, &b, change, m->why)) == 0 && m->step < 2)
			return MUTATION_MORE;
		m->reply_len = sizeof(j->reply);
		randombytes_buf(m->reply, sizeof(j->reply));
		return fault;
	}
	randombytes_buf(m->reply, sizeof(j->reply));
	m->reply_len = sizeof(j->reply);
	switch (j->wish) {
	case ROLLS:
		fault = decide_roll(view, &roll, change, m->why);
		break;
	case REVOKES:
		fault = decide_revoke(view, j->account, KIND_SECRET, j->generation, change, m->why);
		break;
	case NOTHING:
		memset(change, 0, sizeof(*change));
		change->time_ms = view->now_ms;
		break;
	default:
		fault = decide_create(view, j->account, &a, &b, change, m->why);
		if (fault == 0 && j->wish == GROWS)
			change->keys[1].key.serial = 1000000;
		if (fault == 0 && j->wish == FAILS) {
			snprintf(m->why, sizeof(m->why), "changed my mind");
			fault = -FAULT_ABORTED;
		}
	}
	return fault;
}

static void
done(struct mutation *m, int fault)
{
	struct job *j = m->arg;

	pthread_mutex_lock(&jobs.lock);
	j->fault = fault;
	j->replayed = m->replayed;
	j->reply_len = m->reply_len;
	memcpy(j->reply, m->reply, sizeof(j->reply));
	memcpy(j->why, m->why, sizeof(j->why));
	j->done++;
	pthread_cond_broadcast(&jobs.changed);
	pthread_mutex_unlock(&jobs.lock);
}

static void
job_init(struct job *j, enum wish wish, const char *account)
{
	memset(j, 0, sizeof(*j));
	j->wish = wish;
	j->generation = 1;
	snprintf(j->account, sizeof(j->account), "%s", account);
	j->m.decide = decide;
	j->m.done = done;
	j->m.arg = j;
	j->m.deadline_ms = INT64_MAX;
	randombytes_buf(j->m.token, sizeof(j->m.token));
	randombytes_buf(j->m.request, sizeof(j->m.request));
}

static struct job *
jobs_new(size_t n, enum wish wish, const char *prefix)
{
	struct job *j = calloc(n, sizeof(*j));
	char account[LIMIT_ACCOUNT + 1];

	assert_non_null(j);
	for (size_t i = 0; i < n; i++) {
		snprintf(account, sizeof(account), "%s%zu", prefix, i);
		job_init(&j[i], wish, account);
	}
	return j;
}

static void
wait_for(struct job *j, size_t n)
{
	pthread_mutex_lock(&jobs.lock);
	for (size_t i = 0; i < n; i++)
		while (j[i].done == 0)
			pthread_cond_wait(&jobs.changed, &jobs.lock);
	pthread_mutex_unlock(&jobs.lock);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(j[i].done, 1);
}

static struct writer *
writer_of(struct harness *h)
{
	return h->service.engines[ENVIRONMENT_LIVE]->writer;
}

static void
submit(struct harness *h, struct job *j, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(writer_submit(writer_of(h), &j[i].m), 0);
}

/* One at a time. Returns its fault. */
static int
run(struct harness *h, struct job *j)
{
	submit(h, j, 1);
	wait_for(j, 1);
	return j->fault;
}

static int
run_new(struct harness *h, struct job *j, enum wish wish, const char *account)
{
	job_init(j, wish, account);
	return run(h, j);
}

/* The same token and request once more. */
static void
again(struct job *to, const struct job *from)
{
	job_init(to, from->wish, from->account);
	to->grace_ms = from->grace_ms;
	memcpy(to->m.token, from->m.token, sizeof(to->m.token));
	memcpy(to->m.request, from->m.request, sizeof(to->m.request));
}

static struct writer_counters
counted(struct harness *h)
{
	struct writer_counters c;

	writer_count(writer_of(h), &c);
	return c;
}

/* Delay the commit of one mutation, so that the following ones share the next commit. */
static void
hold_up(struct harness *h, struct job *first)
{
	gate_close();
	job_init(first, NOTHING, "first");
	submit(h, first, 1);
	gate_await();
}

/* ---- looking into the database ---- */

static struct store *
store_of(struct harness *h)
{
	return h->service.engines[ENVIRONMENT_LIVE]->store;
}

static int
look_account(struct harness *h, const char *account, struct record_account *out)
{
	struct store_txn *txn = store_txn_new(store_of(h));
	int fault;

	assert_int_equal(store_read(txn), 0);
	fault = store_account(txn, account, out);
	store_txn_free(txn);
	return fault;
}

static int
look_key(struct harness *h, const char *account, uint32_t generation, struct record_key *out)
{
	struct store_txn *txn = store_txn_new(store_of(h));
	uint8_t digest[RECORD_DIGEST_LEN];
	int fault;

	assert_int_equal(store_read(txn), 0);
	if ((fault = store_slot(txn, account, KIND_SECRET, generation, digest)) == 0)
		fault = store_key(txn, digest, out);
	store_txn_free(txn);
	return fault;
}

static enum key_state
state_of(struct harness *h, const char *account, uint32_t generation)
{
	struct record_key key;

	assert_int_equal(look_key(h, account, generation, &key), 0);
	return key.state;
}

static struct record_state
look_state(struct harness *h)
{
	struct store_txn *txn = store_txn_new(store_of(h));
	struct record_state state;

	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_state(txn, &state), 0);
	store_txn_free(txn);
	return state;
}

/* Wake the sweeper and wait until it has run: it runs before queued mutations. */
static void
wake(struct harness *h)
{
	struct job j;

	assert_int_equal(run_new(h, &j, NOTHING, "wake"), 0);
}

static int
setup(void **state)
{
	fail_sync = fail_write = fail_allocate = 0;
	fail_sync_after = -1;
	*state = harness_new();
	return 0;
}

static int
teardown(void **state)
{
	fail_sync = fail_write = fail_allocate = 0;
	fail_sync_after = -1;
	gate_open();
	harness_free(*state);
	return 0;
}

/* ---- group commit ---- */

static void
many_share_a_commit(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(256, CREATES, "a"), first;
	struct writer_counters before, after;
	struct record_account account;
	unsigned syncs;

	hold_up(h, &first);
	before = counted(h);
	syncs = n_syncs;
	submit(h, many, 256);
	assert_int_equal(counted(h).queue_depth, 256);
	for (int i = 0; i < 256; i++)
		assert_int_equal(many[i].done, 0);
	gate_open();
	wait_for(&first, 1);
	wait_for(many, 256);
	after = counted(h);
	/* The one that was held up, and one for all the others. */
	assert_int_equal(after.commits, before.commits + 2);
	assert_int_equal(n_syncs, syncs + 1);
	assert_int_equal(after.mutations, before.mutations + 257);
	assert_int_equal(after.queue_depth, 0);
	for (int i = 0; i < 256; i++) {
		assert_int_equal(many[i].fault, 0);
		assert_int_equal(look_account(h, many[i].account, &account), 0);
	}
	free(many);
}

static void
a_commit_is_bounded(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(LIMIT_COMMIT + 88, NOTHING, "a"), first;
	uint64_t before;

	hold_up(h, &first);
	before = counted(h).commits;
	submit(h, many, LIMIT_COMMIT + 88);
	gate_open();
	wait_for(many, LIMIT_COMMIT + 88);
	assert_int_equal(counted(h).commits, before + 3);
	free(many);
}

/* Not before the sync has returned. */
static void
nothing_is_told_before_it_is_durable(void **state)
{
	struct harness *h = *state;
	struct job first;

	hold_up(h, &first);
	nap(50);
	assert_int_equal(first.done, 0);
	assert_int_equal(look_state(h).revision, 0);
	gate_open();
	wait_for(&first, 1);
	assert_int_equal(first.fault, 0);
	assert_int_equal(look_state(h).revision, 1);
}

static void
in_order_of_arrival(void **state)
{
	struct harness *h = *state;
	struct job first, create, roll, revoke, roll2;

	hold_up(h, &first);
	job_init(&create, CREATES, "acme");
	job_init(&roll, ROLLS, "acme");
	roll.grace_ms = 1000;
	job_init(&revoke, REVOKES, "acme");
	job_init(&roll2, ROLLS, "acme");
	submit(h, &create, 1);
	submit(h, &roll, 1);
	submit(h, &revoke, 1);
	submit(h, &roll2, 1);
	gate_open();
	wait_for(&roll2, 1);
	assert_int_equal(create.fault | roll.fault | revoke.fault | roll2.fault, 0);
	assert_int_equal(state_of(h, "acme", 1), KEY_REVOKED);
	assert_int_equal(state_of(h, "acme", 2), KEY_REVOKED);
	assert_int_equal(state_of(h, "acme", 3), KEY_CURRENT);
}

/* ---- request tokens ---- */

static void
a_token_replays(void **state)
{
	struct harness *h = *state;
	struct writer_counters before;
	struct job a, b, other;
	uint64_t revision;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	assert_false(a.replayed);
	before = counted(h);
	revision = look_state(h).revision;

	again(&b, &a);
	assert_int_equal(run(h, &b), 0);
	assert_true(b.replayed);
	assert_int_equal(b.decided, 0);
	assert_int_equal(b.reply_len, a.reply_len);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));
	assert_int_equal(counted(h).replays, before.replays + 1);
	assert_int_equal(counted(h).commits, before.commits);

	again(&other, &a);
	other.m.request[0] ^= 1;
	assert_int_equal(run(h, &other), -FAULT_ALREADY_EXISTS);
	assert_non_null(strstr(other.why, "request_token"));
	assert_int_equal(other.decided, 0);
	assert_int_equal(counted(h).refused, before.refused + 1);
	assert_int_equal(look_state(h).revision, revision);
}

/* A refused mutation does not use up its token: the caller may correct the request and use it again. */
static void
a_refusal_keeps_no_token(void **state)
{
	struct harness *h = *state;
	struct job a, b;

	assert_int_equal(run_new(h, &a, REVOKES, "nobody"), -FAULT_NOT_FOUND);
	again(&b, &a);
	b.wish = CREATES;
	b.m.request[0] ^= 1;
	assert_int_equal(run(h, &b), 0);
	assert_false(b.replayed);
}

static void
one_token_twice_in_one_commit(void **state)
{
	struct harness *h = *state;
	struct writer_counters before, after;
	struct job first, a, b, c;

	job_init(&a, CREATES, "acme");
	again(&b, &a);
	again(&c, &a);
	c.m.request[5] ^= 1;
	hold_up(h, &first);
	before = counted(h);
	submit(h, &a, 1);
	submit(h, &b, 1);
	submit(h, &c, 1);
	gate_open();
	wait_for(&c, 1);
	after = counted(h);
	assert_int_equal(a.fault, 0);
	assert_int_equal(b.fault, 0);
	assert_int_equal(c.fault, -FAULT_ALREADY_EXISTS);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));
	assert_int_equal(a.decided, 1);
	assert_int_equal(b.decided, 0);
	assert_int_equal(after.mutations, before.mutations + 2);
	assert_int_equal(after.replays, before.replays + 1);
	assert_int_equal(after.refused, before.refused + 1);
}

static void
a_token_outlives_a_restart_and_ends_after_a_day(void **state)
{
	struct harness *h = *state;
	struct job a, b, c, d;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	harness_close(h);
	harness_advance(h, HARNESS_DAY_MS);
	harness_open(h);
	/* Old tokens are looked for at start; at 24 hours exactly it is still there. */
	wake(h);
	again(&b, &a);
	assert_int_equal(run(h, &b), 0);
	assert_true(b.replayed);
	assert_memory_equal(a.reply, b.reply, sizeof(a.reply));

	harness_close(h);
	harness_advance(h, 1);
	harness_open(h);
	wake(h);
	again(&c, &a);
	assert_int_equal(run(h, &c), -FAULT_ALREADY_EXISTS);
	assert_non_null(strstr(c.why, "acme exists already"));
	again(&d, &a);
	d.wish = ROLLS;
	assert_int_equal(run(h, &d), 0);
	assert_false(d.replayed);
}

/* More than fit into a few commits: all the same, none is kept for long. */
static void
all_old_tokens_are_forgotten(void **state)
{
	enum { N = 3000 };
	struct harness *h = *state;
	struct job *many = jobs_new(N, NOTHING, "a");
	struct store_options options;
	struct store_txn *txn;
	struct store *store;
	int64_t oldest_ms;
	char why[256];

	submit(h, many, N);
	wait_for(many, N);
	harness_close(h);
	harness_advance(h, HARNESS_DAY_MS + 1);
	harness_open(h);
	/* Ten looks are far more than are needed. */
	for (int i = 0; i < 10; i++)
		wake(h);
	harness_close(h);

	options = (struct store_options){ .environment = ENVIRONMENT_LIVE,
		.path = h->paths[0][0],
		.pepper = h->paths[0][1],
		.ceiling_bytes = 256U << 20,
		.events_kept = 1000000,
		.readers = 16 };
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), 0);
	txn = store_txn_new(store);
	assert_int_equal(store_write(txn), 0);
	assert_int_equal(store_forget_tokens(txn, HARNESS_START_MS + 1, 2 * N, &oldest_ms), 0);
	store_abort(txn);
	store_txn_free(txn);
	store_close(store);
	free(many);
}

/* ---- limits ---- */

static void
a_deadline_that_has_passed(void **state)
{
	struct harness *h = *state;
	struct job late, waits, first;
	struct record_account account;

	job_init(&late, CREATES, "late");
	late.m.deadline_ms = clock_boot_ms();
	assert_int_equal(run(h, &late), -FAULT_DEADLINE_EXCEEDED);
	assert_int_equal(late.decided, 0);
	assert_int_equal(look_account(h, "late", &account), -FAULT_NOT_FOUND);

	/* It passes while the mutation waits its turn. */
	hold_up(h, &first);
	job_init(&waits, CREATES, "waits");
	waits.m.deadline_ms = clock_boot_ms() + 10;
	submit(h, &waits, 1);
	while (clock_boot_ms() < waits.m.deadline_ms)
		nap(1);
	gate_open();
	wait_for(&waits, 1);
	assert_int_equal(waits.fault, -FAULT_DEADLINE_EXCEEDED);
	assert_int_equal(waits.decided, 0);
	assert_int_equal(look_account(h, "waits", &account), -FAULT_NOT_FOUND);
}

static void
the_queue_is_bounded(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(LIMIT_QUEUE, NOTHING, "a"), first, more;

	hold_up(h, &first);
	submit(h, many, LIMIT_QUEUE);
	job_init(&more, CREATES, "more");
	assert_int_equal(writer_submit(writer_of(h), &more.m), -FAULT_RESOURCE_EXHAUSTED);
	assert_int_equal(counted(h).queue_depth, LIMIT_QUEUE);
	gate_open();
	wait_for(many, LIMIT_QUEUE);
	assert_int_equal(more.done, 0);
	for (int i = 0; i < LIMIT_QUEUE; i++)
		assert_int_equal(many[i].fault, 0);
	assert_int_equal(run(h, &more), 0);
	free(many);
}

static void
a_refused_change_leaves_nothing(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct record_state before;
	struct job first, refused, fine;

	before = look_state(h);
	assert_int_equal(run_new(h, &refused, FAILS, "ghost"), -FAULT_ABORTED);
	assert_string_equal(refused.why, "changed my mind");
	assert_int_equal(look_state(h).revision, before.revision);
	assert_int_equal(counted(h).commits, 0);

	/* Nor in the commit of others. */
	hold_up(h, &first);
	job_init(&refused, FAILS, "ghost");
	job_init(&fine, CREATES, "acme");
	submit(h, &refused, 1);
	submit(h, &fine, 1);
	gate_open();
	wait_for(&fine, 1);
	assert_int_equal(fine.fault, 0);
	assert_int_equal(refused.fault, -FAULT_ABORTED);
	assert_int_equal(look_account(h, "ghost", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_state(h).next_serial, 2);
	assert_int_equal(look_state(h).event_sequence, 1);
}

/* ---- no room ---- */

/* Many mutations that do not fit share a commit with one that does: each has its own outcome. */
static void
what_fits_is_done(void **state)
{
	struct harness *h = *state;
	struct job *big = jobs_new(40, GROWS, "big"), first, acme, revoke, again_acme;
	struct record_account account;

	assert_int_equal(run_new(h, &acme, CREATES, "acme"), 0);
	hold_up(h, &first);
	fail_allocate = ENOSPC;
	submit(h, big, 20);
	job_init(&revoke, REVOKES, "acme");
	submit(h, &revoke, 1);
	again(&again_acme, &acme);
	submit(h, &again_acme, 1);
	submit(h, big + 20, 20);
	gate_open();
	wait_for(big, 40);
	assert_int_equal(revoke.fault, 0);
	assert_int_equal(again_acme.fault, 0);
	assert_true(again_acme.replayed);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(big[i].fault, -FAULT_FULL);
		assert_non_null(strstr(big[i].why, "no room"));
		assert_int_equal(look_account(h, big[i].account, &account), -FAULT_NOT_FOUND);
	}
	assert_false(store_failed(store_of(h)));
	fail_allocate = 0;

	/* What was acknowledged is still there after a restart, and there is room again. */
	harness_close(h);
	harness_open(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_REVOKED);
	assert_int_equal(run_new(h, &big[0], GROWS, "big0"), 0);
	free(big);
}

static void
a_full_disk(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(30, CREATES, "a"), first, acme, wants;
	struct record_account account;
	int quiet;

	assert_int_equal(run_new(h, &acme, CREATES, "acme"), 0);
	quiet = stderr_quiet();
	fail_write = ENOSPC;
	assert_int_equal(run_new(h, &first, CREATES, "first"), -FAULT_FULL);
	submit(h, many, 30);
	wait_for(many, 30);
	stderr_loud(quiet);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(many[i].fault, -FAULT_FULL);
		assert_int_equal(look_account(h, many[i].account, &account), -FAULT_NOT_FOUND);
	}
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_false(store_failed(store_of(h)));

	fail_write = 0;
	assert_int_equal(run_new(h, &wants, CREATES, "first"), 0);
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_account(h, "first", &account), 0);
	assert_int_equal(look_account(h, "a0", &account), -FAULT_NOT_FOUND);
	free(many);
}

/* New keys are refused at 90 % of the ceiling; keys can be ended beyond it. */
static void
the_ceiling(void **state)
{
	struct harness *h = *state;
	struct job *j = jobs_new(4000, CREATES, "a"), revoke;
	size_t n = 0, refused = 0, last = 0;

	harness_close(h);
	h->config.environments[ENVIRONMENT_LIVE].ceiling_bytes = 1U << 20;
	harness_open(h);
	submit(h, j, 4000);
	wait_for(j, 4000);
	for (size_t i = 0; i < 4000; i++) {
		if (j[i].fault == 0) {
			n++;
			last = i;
		} else {
			assert_int_equal(j[i].fault, -FAULT_RESOURCE_EXHAUSTED);
			refused++;
		}
	}
	assert_in_range(n, 100, 3900);
	assert_int_equal(n + refused, 4000);
	job_init(&revoke, REVOKES, j[last].account);
	assert_int_equal(run(h, &revoke), 0);
	for (size_t i = 0; i < 50; i++) {
		job_init(&revoke, REVOKES, j[i].account);
		assert_int_equal(run(h, &revoke), 0);
	}
	free(j);
}

/* A reader that keeps its snapshot lets the file grow until the map is full. Then, too, each has its own outcome. */
static void
the_end_of_the_map(void **state)
{
	struct harness *h = *state;
	struct store_txn *pin;
	struct job j;
	int fault = 0, n;

	harness_close(h);
	h->config.environments[ENVIRONMENT_LIVE].ceiling_bytes = 1U << 20;
	harness_open(h);
	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	pin = store_txn_new(store_of(h));
	assert_int_equal(store_read(pin), 0);
	for (n = 0; n < 5000 && fault == 0; n++)
		fault = run_new(h, &j, NOTHING, "x");
	assert_int_equal(fault, -FAULT_FULL);
	assert_false(store_failed(store_of(h)));
	assert_int_equal(look_state(h).revision, (uint64_t)n);
	store_txn_free(pin);
	assert_int_equal(run_new(h, &j, REVOKES, "acme"), 0);
}

/* ---- a disk that fails ---- */

static void
a_failed_sync_ends_it(void **state)
{
	struct harness *h = *state;
	struct job first, a, twice, other_request, later;
	struct record_account account;

	hold_up(h, &first);
	job_init(&a, CREATES, "acme");
	job_init(&twice, CREATES, "acme");
	again(&other_request, &a);
	other_request.m.request[0] ^= 1;
	submit(h, &a, 1);
	submit(h, &twice, 1);
	submit(h, &other_request, 1);
	fail_sync = EIO;
	gate_open();
	wait_for(&other_request, 1);
	/* Whether the failed commit is on the disk is not known. The mutations after it are certainly not. */
	assert_int_equal(first.fault, -FAULT_INTERNAL);
	assert_int_equal(a.fault, -FAULT_IO);
	assert_true(store_failed(store_of(h)));
	assert_int_equal(twice.fault, -FAULT_IO);
	assert_int_equal(other_request.fault, -FAULT_IO);

	/* Later commits would succeed, on pages that the disk never got. */
	fail_sync = 0;
	assert_int_equal(run_new(h, &later, CREATES, "later"), -FAULT_IO);
	assert_non_null(strstr(later.why, "restarted"));
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "later", &account), -FAULT_NOT_FOUND);
	assert_int_equal(run_new(h, &later, CREATES, "later"), 0);
}

/* A page cannot be written, for another reason than space: the environment stops. */
static void
a_failed_write_ends_it(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct job a, b;

	assert_int_equal(run_new(h, &a, CREATES, "acme"), 0);
	fail_write = EIO;
	assert_int_equal(run_new(h, &b, CREATES, "beta"), -FAULT_INTERNAL);
	fail_write = 0;
	assert_true(store_failed(store_of(h)));
	assert_int_equal(run_new(h, &b, CREATES, "beta"), -FAULT_IO);
	harness_close(h);
	harness_open(h);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(look_account(h, "beta", &account), -FAULT_NOT_FOUND);
}

/* The commit before went well; this one fails, and takes with it what was decided on top of it. */
static void
refusals_of_a_lost_commit(void **state)
{
	struct harness *h = *state;
	struct job first, acme, twice, beta, nobody;

	hold_up(h, &first);
	job_init(&acme, CREATES, "acme");
	job_init(&twice, CREATES, "acme");
	submit(h, &acme, 1);
	submit(h, &twice, 1);
	gate_open();
	wait_for(&twice, 1);
	assert_int_equal(first.fault | acme.fault, 0);
	assert_int_equal(twice.fault, -FAULT_ALREADY_EXISTS);

	fail_sync_after = 1;
	hold_up(h, &first);
	job_init(&beta, CREATES, "beta");
	job_init(&twice, CREATES, "beta");
	job_init(&nobody, ROLLS, "nobody");
	submit(h, &beta, 1);
	submit(h, &twice, 1);
	submit(h, &nobody, 1);
	gate_open();
	wait_for(&nobody, 1);
	assert_int_equal(first.fault, 0);
	assert_int_equal(beta.fault, -FAULT_INTERNAL);
	/* The reply must not be "beta exists already", as that is not known. */
	assert_int_equal(twice.fault, -FAULT_INTERNAL);
	assert_int_equal(nobody.fault, -FAULT_INTERNAL);
}

/* ---- the sweeper ---- */

static void
make_grace(struct harness *h, const char *account, int64_t grace_ms)
{
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, account), 0);
	job_init(&j, ROLLS, account);
	j.grace_ms = grace_ms;
	assert_int_equal(run(h, &j), 0);
}

static void
expires_at_the_deadline(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct record_key key;

	make_grace(h, "acme", 5000);
	harness_advance(h, 4999);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_GRACE);
	assert_int_equal(counted(h).keys_expired, 0);
	harness_advance(h, 1);
	wake(h);
	assert_int_equal(look_key(h, "acme", 1, &key), 0);
	assert_int_equal(key.state, KEY_EXPIRED);
	assert_int_equal(key.ended_ms, key.expires_ms);
	assert_int_equal(key.ended_ms, HARNESS_START_MS + 5000);
	assert_int_equal(state_of(h, "acme", 2), KEY_CURRENT);
	assert_int_equal(look_account(h, "acme", &account), 0);
	assert_int_equal(account.n_grace, 0);
	assert_int_equal(counted(h).keys_expired, 1);
	assert_int_equal(look_state(h).event_sequence, 3);
}

static void
sweeps_without_mutations(void **state)
{
	struct harness *h = *state;

	make_grace(h, "acme", 5000);
	harness_advance(h, 5000);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, 1);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
}

/* Each generation has its own end, and the order of the ends is not that of the rolls. */
static void
each_its_own_day(void **state)
{
	static const int64_t grace_ms[] = { 8000, 2000, 6000, 4000 };
	struct harness *h = *state;
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	for (int i = 0; i < 4; i++) {
		job_init(&j, ROLLS, "acme");
		j.grace_ms = grace_ms[i];
		assert_int_equal(run(h, &j), 0);
	}
	for (int64_t at_ms = 1000; at_ms <= 9000; at_ms += 1000) {
		harness_advance(h, 1000);
		wake(h);
		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(state_of(h, "acme", i + 1), at_ms >= grace_ms[i] ? KEY_EXPIRED : KEY_GRACE);
	}
}

static void
many_at_once(void **state)
{
	enum { N = 3 * LIMIT_COMMIT };
	struct harness *h = *state;
	struct job *create = jobs_new(N, CREATES, "a"), *roll = jobs_new(N, ROLLS, "a");
	uint64_t before;

	submit(h, create, N);
	for (int i = 0; i < N; i++)
		roll[i].grace_ms = 5000;
	submit(h, roll, N);
	wait_for(create, N);
	wait_for(roll, N);
	harness_advance(h, 5000);
	before = counted(h).commits;
	wake(h);
	for (int i = 0; i < 300 && counted(h).keys_expired < N; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, N);
	assert_in_range(counted(h).commits - before, 4, 6);
	for (int i = 0; i < N; i += 97)
		assert_int_equal(state_of(h, roll[i].account, 1), KEY_EXPIRED);
	free(create);
	free(roll);
}

static void
a_clock_set_back_revives_nothing(void **state)
{
	struct harness *h = *state;
	int64_t expires_ms = HARNESS_START_MS + 5000;

	make_grace(h, "acme", 5000);
	harness_advance(h, 5000);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	assert_in_range(harness_now(h, ENVIRONMENT_LIVE), expires_ms, expires_ms + 10);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);

	/* Nor does a restart with the clock set back: time goes on from what was committed. */
	harness_close(h);
	h->clock.boot_ns = 77000000;
	harness_open(h);
	assert_true(harness_now(h, ENVIRONMENT_LIVE) >= expires_ms);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
	/* The other environment, which committed nothing, has its own time. */
	assert_int_equal(harness_now(h, ENVIRONMENT_TEST), HARNESS_START_MS - HARNESS_DAY_MS);
}

/* As wake(), and commits nothing itself. */
static void
wake_in_vain(struct harness *h)
{
	struct job j;

	assert_int_equal(run_new(h, &j, ROLLS, "nobody"), -FAULT_NOT_FOUND);
}

/* A clock that is set back over a restart then loses at most a minute of a grace, not all time since the last change. */
static void
commits_the_time_while_a_key_is_in_grace(void **state)
{
	struct harness *h = *state;
	uint64_t commits;

	make_grace(h, "acme", HARNESS_DAY_MS);
	commits = counted(h).commits;
	harness_advance(h, 59000);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, commits);
	harness_advance(h, 1000);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, commits + 1);
	assert_int_equal(look_state(h).newest_ms, HARNESS_START_MS + 60000);
	assert_int_equal(look_state(h).event_sequence, 2);
	harness_close(h);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	harness_open(h);
	assert_in_range(harness_now(h, ENVIRONMENT_LIVE), HARNESS_START_MS + 60000, HARNESS_START_MS + 60010);
	assert_int_equal(state_of(h, "acme", 1), KEY_GRACE);
}

static void
commits_no_time_without_a_grace(void **state)
{
	struct harness *h = *state;
	struct job j;

	assert_int_equal(run_new(h, &j, CREATES, "acme"), 0);
	harness_advance(h, HARNESS_DAY_MS / 2);
	wake_in_vain(h);
	assert_int_equal(counted(h).commits, 1);
	assert_int_equal(look_state(h).newest_ms, HARNESS_START_MS);
}

/* A key ends by comparison while the sweeper is delayed, then fobd stops: the next start sweeps first. */
static void
sweeps_at_start(void **state)
{
	struct harness *h = *state;

	make_grace(h, "acme", 5000);
	harness_close(h);
	harness_advance(h, 6000);
	harness_open(h);
	wake(h);
	assert_int_equal(state_of(h, "acme", 1), KEY_EXPIRED);
}

/* A sweep that cannot be written is tried again after a pause, not at once. */
static void
a_full_disk_does_not_make_the_sweeper_spin(void **state)
{
	struct harness *h = *state;
	unsigned writes;
	int quiet;

	make_grace(h, "acme", 5000);
	quiet = stderr_quiet();
	fail_write = ENOSPC;
	harness_advance(h, 5000);
	writes = n_writes;
	nap(2500);
	writes = n_writes - writes;
	fail_write = 0;
	stderr_loud(quiet);
	assert_in_range(writes, 1, 20);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	assert_int_equal(counted(h).keys_expired, 1);
}

/* With a damaged key only that key's end is not written. */
static void
a_damaged_key_holds_nobody_up(void **state)
{
	struct harness *h = *state;
	uint8_t digest[RECORD_DIGEST_LEN];
	struct store_txn *txn;
	struct record_key key;
	int quiet;

	make_grace(h, "damaged", 5000);
	make_grace(h, "whole", 6000);
	txn = store_txn_new(store_of(h));
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_slot(txn, "damaged", KIND_SECRET, 1, digest), 0);
	store_txn_free(txn);
	assert_int_not_equal(harness_flip(h->paths[0][0], digest, 5, 0), 0);
	assert_int_equal(look_key(h, "damaged", 1, &key), -FAULT_CORRUPT);

	quiet = stderr_quiet();
	harness_advance(h, 6000);
	for (int i = 0; i < 300 && counted(h).keys_expired == 0; i++)
		nap(10);
	stderr_loud(quiet);
	assert_int_equal(state_of(h, "whole", 1), KEY_EXPIRED);
	assert_int_equal(look_key(h, "damaged", 1, &key), -FAULT_CORRUPT);
	assert_false(store_failed(store_of(h)));
}

/*
 * Flip one bit in the header of each page of keys that has ${digest}, free pages included: in the offset where entries
 * begin. Reads do not use it, and writes to such a page must be refused. Returns how many pages there are.
 */
static unsigned
damage_page(const char *folder, const uint8_t digest[RECORD_DIGEST_LEN])
{
	enum { PAGE = 4096, FLAGS = 10, LEAF = 0x02, UPPER = 14 };
	char path[700];
	struct stat st;
	unsigned n = 0;
	uint8_t *map, *at, *page;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(map, MAP_FAILED);
	for (at = map; (at = memmem(at, (size_t)(map + st.st_size - at), digest, RECORD_DIGEST_LEN)) != NULL; at++) {
		page = map + (at - map) / PAGE * PAGE;
		/* The length of a key stands before it. */
		if (at[-2] == RECORD_DIGEST_LEN && at[-1] == 0 && (page[FLAGS] & LEAF) != 0) {
			page[UPPER] |= 1; /* it is even, and remains of the same entry may be on the page */
			n++;
		}
	}
	munmap(map, (size_t)st.st_size);
	return n;
}

/* Each of the first ${n} has ended, or is on the damaged page. Returns how many are. */
static unsigned
count_left(struct harness *h, const struct job *rolled, unsigned n)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++) {
		enum key_state is = state_of(h, rolled[i].account, 1);

		assert_true(is == KEY_EXPIRED || is == KEY_GRACE);
		left += is == KEY_GRACE;
	}
	return left;
}

/* Only keys on a damaged page do not get their end written. Time still goes on, so none of them is valid again. */
static void
a_damaged_page_holds_nobody_else_up(void **state)
{
	enum { N = 300 };
	struct job *create = jobs_new(N, CREATES, "a"), *roll = jobs_new(N, ROLLS, "a");
	int64_t expires_ms = HARNESS_START_MS + 5000;
	struct harness *h = *state;
	uint8_t digest[RECORD_DIGEST_LEN];
	struct store_txn *txn;
	uint64_t told, commits;
	unsigned left;
	int quiet;

	submit(h, create, N);
	wait_for(create, N);
	for (int i = 0; i < N; i++)
		roll[i].grace_ms = 5000;
	submit(h, roll, N);
	wait_for(roll, N);
	/* The one that comes first, so that all others come behind it. */
	txn = store_txn_new(store_of(h));
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_next_expiry(txn, &(int64_t){ 0 }, digest), 0);
	store_txn_free(txn);
	assert_int_not_equal(damage_page(h->paths[0][0], digest), 0);

	quiet = stderr_quiet();
	harness_advance(h, 6000);
	for (int i = 0; i < 1000 && counted(h).keys_expired == 0; i++)
		nap(10);
	/* Until it rests: nothing tells when, but that there is no commit for longer than its nap. */
	commits = 0;
	for (int i = 0, same = 0; i < 6000 && same < 150; i++, nap(10)) {
		same = counted(h).commits == commits ? same + 1 : 0;
		commits = counted(h).commits;
	}
	left = count_left(h, roll, N);
	assert_in_range(left, 1, N / 4);
	assert_int_equal(counted(h).keys_expired, N - left);
	assert_true(look_state(h).newest_ms >= expires_ms);
	told = store_corrupt_records(store_of(h));
	assert_true(told >= left);
	/* What is left is not tried again at once. */
	commits = counted(h).commits;
	nap(2500);
	assert_in_range(store_corrupt_records(store_of(h)) - told, 0, left);
	assert_int_equal(counted(h).commits, commits);
	assert_false(store_failed(store_of(h)));

	harness_close(h);
	h->clock.wall_ns = (HARNESS_START_MS - HARNESS_DAY_MS) * 1000000;
	harness_open(h);
	assert_true(harness_now(h, ENVIRONMENT_LIVE) >= expires_ms);
	stderr_loud(quiet);
	free(create);
	free(roll);
}

/* ---- the end ---- */

static void *
stop(void *arg)
{
	struct harness *h = arg;

	writer_stop(h->service.engines[ENVIRONMENT_LIVE]->writer);
	h->service.engines[ENVIRONMENT_LIVE]->writer = NULL;
	return NULL;
}

static void
stop_finishes_what_is_queued(void **state)
{
	struct harness *h = *state;
	struct job *many = jobs_new(2 * LIMIT_COMMIT + 1, CREATES, "a"), first;
	struct record_account account;
	pthread_t thread;

	hold_up(h, &first);
	submit(h, many, 2 * LIMIT_COMMIT + 1);
	assert_int_equal(pthread_create(&thread, NULL, stop, h), 0);
	nap(20);
	gate_open();
	pthread_join(thread, NULL);
	for (int i = 0; i < 2 * LIMIT_COMMIT + 1; i++) {
		assert_int_equal(many[i].done, 1);
		assert_int_equal(many[i].fault, 0);
		assert_int_equal(look_account(h, many[i].account, &account), 0);
	}
	free(many);
}

/* Many threads at once: each mutation is answered once, and all of them are there. */
struct crowd {
	struct harness *h;
	struct job *jobs;
};

static void *
press(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < 200; i++)
		if (writer_submit(writer_of(c->h), &c->jobs[i].m) != 0)
			return c;
	return NULL;
}

static void
from_many_threads(void **state)
{
	enum { THREADS = 8 };
	struct harness *h = *state;
	struct crowd crowd[THREADS];
	pthread_t threads[THREADS];
	char prefix[8];
	void *wrong;

	for (int i = 0; i < THREADS; i++) {
		snprintf(prefix, sizeof(prefix), "t%d-", i);
		crowd[i] = (struct crowd){ h, jobs_new(200, CREATES, prefix) };
		assert_int_equal(pthread_create(&threads[i], NULL, press, &crowd[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
		wait_for(crowd[i].jobs, 200);
		for (int k = 0; k < 200; k++)
			assert_int_equal(crowd[i].jobs[k].fault, 0);
		free(crowd[i].jobs);
	}
	assert_int_equal(look_state(h).revision, 200 * THREADS);
	assert_int_equal(look_state(h).event_sequence, 200 * THREADS);
	assert_in_range(counted(h).commits, 1, 100 * THREADS);
}

/* ---- several changes under one token ---- */

static void
several_changes_are_one_mutation(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct writer_counters before, after;
	struct record_state was = look_state(h);
	struct job j, resent;

	before = counted(h);
	assert_int_equal(run_new(h, &j, SEVERAL, "s"), 0);
	assert_int_equal(j.decided, 3);
	assert_int_equal(look_account(h, "s-0", &account), 0);
	assert_int_equal(look_account(h, "s-1", &account), 0);
	assert_int_equal(look_account(h, "s-2", &account), 0);
	assert_int_equal(look_state(h).revision, was.revision + 3);
	assert_int_equal(look_state(h).next_serial, was.next_serial + 6);
	after = counted(h);
	assert_int_equal(after.mutations, before.mutations + 1);
	assert_int_equal(after.commits, before.commits + 1);

	again(&resent, &j);
	assert_int_equal(run(h, &resent), 0);
	assert_true(resent.replayed);
	assert_int_equal(resent.decided, 0);
	assert_memory_equal(resent.reply, j.reply, sizeof(j.reply));
	/* Refused at its first step, it is as any other: its neighbours are not undone. */
	assert_int_equal(run_new(h, &j, SEVERAL, "s"), -FAULT_ALREADY_EXISTS);
	assert_int_equal(j.decided, 1);
}

/* Damage after two of three changes: none is left, and what shared the commit is there. */
static void
several_changes_are_all_or_none(void **state)
{
	struct harness *h = *state;
	struct record_account account;
	struct job first, js[3];

	hold_up(h, &first);
	job_init(&js[0], CREATES, "before");
	job_init(&js[1], BREAKS, "b");
	job_init(&js[2], SEVERAL, "after");
	submit(h, js, 3);
	gate_open();
	wait_for(&first, 1);
	wait_for(js, 3);
	assert_int_equal(js[0].fault, 0);
	assert_int_equal(js[1].fault, -FAULT_CORRUPT);
	assert_non_null(strstr(js[1].why, "nothing was changed"));
	assert_int_equal(js[2].fault, 0);
	assert_int_equal(look_account(h, "before", &account), 0);
	assert_int_equal(look_account(h, "b-0", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "b-1", &account), -FAULT_NOT_FOUND);
	assert_int_equal(look_account(h, "after-2", &account), 0);
	/* Its token was not kept either. */
	again(&js[0], &js[1]);
	assert_int_equal(run(h, &js[0]), -FAULT_CORRUPT);
	assert_false(js[0].replayed);
}

/* A heavy mutation counts as several towards a commit's limit, but a commit always takes at least one. */
static void
a_commit_is_bounded_by_weight(void **state)
{
	struct harness *h = *state;
	struct writer_counters before;
	struct job *many = jobs_new(4, NOTHING, "a"), first;

	hold_up(h, &first);
	before = counted(h);
	many[0].m.weight = LIMIT_COMMIT * 2;
	many[1].m.weight = LIMIT_COMMIT - 1;
	submit(h, many, 4);
	gate_open();
	wait_for(&first, 1);
	wait_for(many, 4);
	assert_int_equal(counted(h).commits - before.commits, 1 + 3);
	free(many);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_share_a_commit),
		TEST(a_commit_is_bounded),
		TEST(nothing_is_told_before_it_is_durable),
		TEST(in_order_of_arrival),
		TEST(a_token_replays),
		TEST(a_refusal_keeps_no_token),
		TEST(one_token_twice_in_one_commit),
		TEST(a_token_outlives_a_restart_and_ends_after_a_day),
		TEST(all_old_tokens_are_forgotten),
		TEST(a_deadline_that_has_passed),
		TEST(the_queue_is_bounded),
		TEST(a_refused_change_leaves_nothing),
		TEST(what_fits_is_done),
		TEST(a_full_disk),
		TEST(the_ceiling),
		TEST(the_end_of_the_map),
		TEST(a_failed_sync_ends_it),
		TEST(a_failed_write_ends_it),
		TEST(refusals_of_a_lost_commit),
		TEST(expires_at_the_deadline),
		TEST(sweeps_without_mutations),
		TEST(each_its_own_day),
		TEST(many_at_once),
		TEST(a_clock_set_back_revives_nothing),
		TEST(commits_the_time_while_a_key_is_in_grace),
		TEST(commits_no_time_without_a_grace),
		TEST(sweeps_at_start),
		TEST(a_full_disk_does_not_make_the_sweeper_spin),
		TEST(a_damaged_key_holds_nobody_up),
		TEST(a_damaged_page_holds_nobody_else_up),
		TEST(stop_finishes_what_is_queued),
		TEST(from_many_threads),
		TEST(several_changes_are_one_mutation),
		TEST(several_changes_are_all_or_none),
		TEST(a_commit_is_bounded_by_weight),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
