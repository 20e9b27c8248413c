/*
 * rig.h - for the tests of the writer's files: a service whose commits can be delayed, counted and made to fail, because
 * pwrite, fdatasync and posix_fallocate are replaced; and short ways to submit mutations and to read what they changed.
 * Include it after <cmocka.h>.
 */
#ifndef RIG_H
#define RIG_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "service/store/open.h"
#include "service/store/time.h"
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
static inline bool
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

static inline void
gate_close(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = true;
	pthread_mutex_unlock(&gate.lock);
}

static inline void
gate_await(void)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.waiting == 0)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static inline void
gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = false;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static inline void
nap(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/*
 * Silence stderr: the many expected log lines would hide others. A test's end makes it loud again, so that what a failed
 * test has to say is seen.
 */
static int stderr_saved = -1;

static inline void
stderr_quiet(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	stderr_saved = dup(STDERR_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
}

static inline void
stderr_loud(void)
{
	if (stderr_saved < 0)
		return;
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	stderr_saved = -1;
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

static inline struct new_secret
new_secret(void)
{
	struct new_secret s = { .last4 = { 'a', 'b', 'c', 'd' } };

	randombytes_buf(s.digest, sizeof(s.digest));
	return s;
}

static inline int
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

static inline void
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

static inline void
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

static inline struct job *
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

static inline void
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

static inline struct writer *
writer_of(struct harness *h)
{
	return h->service.engines[ENVIRONMENT_LIVE]->writer;
}

static inline void
submit(struct harness *h, struct job *j, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(writer_submit(writer_of(h), &j[i].m), 0);
}

/* One at a time. Returns its fault. */
static inline int
run(struct harness *h, struct job *j)
{
	submit(h, j, 1);
	wait_for(j, 1);
	return j->fault;
}

static inline int
run_new(struct harness *h, struct job *j, enum wish wish, const char *account)
{
	job_init(j, wish, account);
	return run(h, j);
}

/* The same token and request once more. */
static inline void
again(struct job *to, const struct job *from)
{
	job_init(to, from->wish, from->account);
	to->grace_ms = from->grace_ms;
	memcpy(to->m.token, from->m.token, sizeof(to->m.token));
	memcpy(to->m.request, from->m.request, sizeof(to->m.request));
}

static inline struct writer_counters
counted(struct harness *h)
{
	struct writer_counters c;

	writer_count(writer_of(h), &c);
	return c;
}

/* Delay the commit of one mutation, so that the following ones share the next commit. */
static inline void
hold_up(struct harness *h, struct job *first)
{
	gate_close();
	job_init(first, NOTHING, "first");
	submit(h, first, 1);
	gate_await();
}

/* ---- looking into the database ---- */

static inline struct store *
store_of(struct harness *h)
{
	return h->service.engines[ENVIRONMENT_LIVE]->store;
}

static inline int
look_account(struct harness *h, const char *account, struct record_account *out)
{
	struct store_txn *txn = store_txn_new(store_of(h));
	int fault;

	assert_int_equal(store_read(txn), 0);
	fault = store_account(txn, account, out);
	store_txn_free(txn);
	return fault;
}

static inline int
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

static inline enum key_state
state_of(struct harness *h, const char *account, uint32_t generation)
{
	struct record_key key;

	assert_int_equal(look_key(h, account, generation, &key), 0);
	return key.state;
}

static inline struct record_state
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
static inline void
wake(struct harness *h)
{
	struct job j;

	assert_int_equal(run_new(h, &j, NOTHING, "wake"), 0);
}

static inline int
setup(void **state)
{
	fail_sync = fail_write = fail_allocate = 0;
	fail_sync_after = -1;
	*state = harness_new();
	return 0;
}

static inline int
teardown(void **state)
{
	stderr_loud();
	fail_sync = fail_write = fail_allocate = 0;
	fail_sync_after = -1;
	gate_open();
	harness_free(*state);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
