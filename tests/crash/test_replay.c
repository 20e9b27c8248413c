/*
 * test_replay.c - the states that a power cut may leave of a database, as in ALICE (Pillai et al., OSDI 2014). All
 * writes of a service to its data.mdb in some 20 commits are recorded. From the record the possible states of the
 * disk are made: each prefix, with any subset of the writes that no sync has covered, and with the last write torn
 * between its sectors. fobd must open each state, and every record must be as after the last acknowledged commit or
 * the one after it. TORTURE=1: some thousands of states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/wait.h>

#include "service/store/init.h"
#include "service/store/open.h"
#include "tests/crash/shim.h"
#include "tests/unit/service/harness.h"

#define ACCOUNTS 40
#define STEPS 24
#define IMPORTED 60
#define SECTOR 512
#define IMAGE_MAX (8U << 20)
#define SECRETS_MAX 256
#define DIGEST 32

/* ---- the record ---- */

struct op {
	enum shim_kind kind;
	bool durable; /* when it has returned, whatever is synced later */
	off_t at;
	size_t len;
	uint8_t *data;
	unsigned acknowledged; /* commits, before it was asked for */
};

static struct op *ops;
static unsigned n_ops, n_commits, acknowledged;
static uint8_t *base;
static size_t base_len;

/* LMDB's commit is the write of a meta page, which it makes through a descriptor of its own, opened with O_DSYNC. */
static void
record(enum shim_kind kind, bool durable, off_t at, const void *data, size_t len)
{
	struct op *op;

	ops = realloc(ops, (n_ops + 1) * sizeof(*ops));
	assert_non_null(ops);
	op = &ops[n_ops++];
	*op = (struct op){ .kind = kind, .durable = durable, .at = at, .len = len, .acknowledged = acknowledged };
	if (len > 0) {
		op->data = malloc(len);
		assert_non_null(op->data);
		memcpy(op->data, data, len);
	}
	if (kind == SHIM_WRITE && durable)
		n_commits++;
}

static void
forget(void)
{
	for (unsigned i = 0; i < n_ops; i++)
		free(ops[i].data);
	free(ops);
	free(base);
	ops = NULL;
	base = NULL;
	n_ops = n_commits = acknowledged = 0;
	base_len = 0;
}

static bool first_start; /* a new database is made aside, and moved when it is whole */

static const char *
data_path(const struct harness *h)
{
	static char path[700];

	snprintf(path, sizeof(path), "%s/%s", h->paths[ENVIRONMENT_LIVE][0], first_start ? "new/data.mdb" : "data.mdb");
	return path;
}

static void
read_base(const struct harness *h)
{
	struct stat st;
	int fd = open(data_path(h), O_RDONLY);

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	base_len = (size_t)st.st_size;
	assert_non_null(base = malloc(base_len));
	assert_int_equal(read(fd, base, base_len), (ssize_t)base_len);
	close(fd);
}

/* ---- the changes, and the verdicts after each ---- */

struct step {
	uint8_t *request, *reply;
	size_t request_len, reply_len;
};

static struct step steps[STEPS + 1];
static unsigned n_steps;
/* verdict[j]: after commit j. */
static struct {
	char secret[SECRET_LEN + 1];
	int verdict[STEPS + 1];
} secrets[SECRETS_MAX];
static unsigned n_secrets;

static void
expect(unsigned i, int verdict)
{
	for (unsigned j = n_commits; j <= STEPS; j++)
		secrets[i].verdict[j] = verdict;
}

static unsigned
note_secret(const char *secret)
{
	unsigned i = n_secrets++;

	assert_true(i < SECRETS_MAX);
	snprintf(secrets[i].secret, sizeof(secrets[i].secret), "%s", secret);
	for (unsigned j = 0; j <= STEPS; j++)
		secrets[i].verdict[j] = VERDICT_NOT_FOUND;
	expect(i, VERDICT_VALID);
	return i;
}

/* Make one mutation, which is one commit and is acknowledged when this returns. */
static void
mutate(struct harness_call *hc, const char *method, const ProtobufCMessage *in)
{
	struct step *s = &steps[++n_steps];
	unsigned before = n_commits;

	s->request = harness_request(method, in, 0, &s->request_len);
	harness_send_bytes(hc, s->request, s->request_len);
	if (harness_wait(hc) != 0)
		fail_msg("%s: %s", method, hc->message);
	assert_int_equal(n_commits, before + 1);
	assert_int_equal(n_commits, n_steps);
	acknowledged = n_commits;
	s->reply_len = hc->len;
	assert_non_null(s->reply = malloc(hc->len));
	memcpy(s->reply, hc->bytes, hc->len);
}

static void
forget_steps(void)
{
	for (unsigned i = 1; i <= n_steps; i++) {
		free(steps[i].request);
		free(steps[i].reply);
	}
	n_steps = n_secrets = 0;
}

#define BASICS(in, account_name) \
	struct harness_token token = harness_token(); \
	(in).request_token = harness_bytes(token.bytes, LIMIT_TOKEN); \
	(in).environment = FOB__V1__ENVIRONMENT__LIVE; \
	(in).account = harness_text(account_name)

/* Returns the index of the secret key; the publishable key's is one less. */
static unsigned
do_create(struct harness_call *hc, const char *account)
{
	Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
	Fob__V1__CreateAccountResponse *out;
	char secret[SECRET_LEN + 1];

	BASICS(in, account);
	mutate(hc, "fob.v1.Admin/CreateAccount", &in.base);
	out = harness_body(hc, &fob__v1__create_account_response__descriptor);
	harness_take_secret(out->publishable_key, secret);
	note_secret(secret);
	harness_take_secret(out->secret_key, secret);
	return note_secret(secret);
}

/* Roll the key ${old}; returns the new key. */
static unsigned
do_roll(struct harness_call *hc, const char *account, unsigned old, uint32_t grace_s)
{
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;
	char secret[SECRET_LEN + 1];

	BASICS(in, account);
	grace.seconds = grace_s;
	in.grace = &grace;
	mutate(hc, "fob.v1.Admin/RollKey", &in.base);
	harness_take_secret(
	    ((Fob__V1__RollKeyResponse *)harness_body(hc, &fob__v1__roll_key_response__descriptor))->new_key, secret);
	if (grace_s == 0)
		expect(old, VERDICT_REVOKED);
	return note_secret(secret);
}

static void
do_revoke(struct harness_call *hc, const char *account, uint32_t generation, unsigned key)
{
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;

	BASICS(in, account);
	in.kind = FOB__V1__KEY_KIND__SECRET;
	in.generation = generation;
	mutate(hc, "fob.v1.Admin/RevokeKey", &in.base);
	expect(key, VERDICT_REVOKED);
}

static void
do_suspend(struct harness_call *hc, const char *account, unsigned key, unsigned publishable, bool suspend)
{
	Fob__V1__SuspendAccountRequest in = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;
	Fob__V1__ResumeAccountRequest re = FOB__V1__RESUME_ACCOUNT_REQUEST__INIT;

	BASICS(in, account);
	re.request_token = in.request_token;
	re.environment = in.environment;
	re.account = in.account;
	mutate(
	    hc, suspend ? "fob.v1.Admin/SuspendAccount" : "fob.v1.Admin/ResumeAccount", suspend ? &in.base : &re.base);
	expect(key, suspend ? VERDICT_SUSPENDED : VERDICT_VALID);
	expect(publishable, suspend ? VERDICT_SUSPENDED : VERDICT_VALID);
}

/* Many accounts in one commit: many pages between two syncs. */
static void
do_import(struct harness_call *hc, unsigned turn)
{
	Fob__V1__ImportAccountsRequest in = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ImportItem items[IMPORTED], *pointers[IMPORTED];
	struct harness_token token = harness_token();
	uint8_t sha256[IMPORTED][32];
	char names[IMPORTED][32];

	for (unsigned i = 0; i < IMPORTED; i++) {
		fob__v1__import_item__init(pointers[i] = &items[i]);
		snprintf(names[i], sizeof(names[i]), "imported-%u-%u", turn, i * 7919 % IMPORTED);
		randombytes_buf(sha256[i], sizeof(sha256[i]));
		items[i].account = harness_text(names[i]);
		items[i].secret_sha256 = harness_bytes(sha256[i], sizeof(sha256[i]));
		items[i].secret_last4 = harness_text("abcd");
	}
	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.n_items = IMPORTED;
	in.items = pointers;
	mutate(hc, "fob.v1.Admin/ImportAccounts", &in.base);
}

/* STEPS commits of every kind. */
static void
work(struct harness *h)
{
	struct harness_call *hc = harness_call_new(h, ROLE_ADMIN);

	for (unsigned turn = 0; turn < STEPS / 8; turn++) {
		char name[32], old[32];
		unsigned first, key, next;

		snprintf(name, sizeof(name), "new-%u", turn);
		snprintf(old, sizeof(old), "old-%u", turn * 7);
		first = do_create(hc, name);
		next = do_roll(hc, name, first, 3600);
		do_revoke(hc, name, 1, first);
		key = do_roll(hc, name, next, 0);
		do_suspend(hc, name, key, first - 1, true);
		do_import(hc, turn);
		do_suspend(hc, name, key, first - 1, false);
		do_revoke(hc, old, 1, turn * 7);
	}
	assert_int_equal(n_steps, STEPS);
	harness_call_free(hc);
}

/* ---- the state of a database in one number ---- */

struct walk {
	crypto_generichash_state hash;
	const struct pepper *pepper;
};

static int
walk_table(struct lmdb_txn *txn, unsigned table, struct walk *walk)
{
	struct lmdb_cursor c;
	size_t head[3];
	int fault;

	for (fault = lmdb_seek(txn, table, NULL, 0, &c); fault == 0; fault = lmdb_next(&c)) {
		if ((fault = record_sound(
			 walk->pepper, (enum table)table, c.key.data, c.key.len, c.value.data, c.value.len)) != 0)
			break;
		head[0] = table;
		head[1] = c.key.len;
		head[2] = c.value.len;
		crypto_generichash_update(&walk->hash, (const uint8_t *)head, sizeof(head));
		crypto_generichash_update(&walk->hash, c.key.data, c.key.len);
		crypto_generichash_update(&walk->hash, c.value.data, c.value.len);
	}
	lmdb_cursor_end(&c);
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

static struct store_options
options_of(const struct harness *h)
{
	const struct config_environment *c = &h->config.environments[ENVIRONMENT_LIVE];

	return (struct store_options){ .environment = ENVIRONMENT_LIVE,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = 8 };
}

/* Check and hash every record of every table. Returns NULL, or what is wrong. */
static const char *
digest_of(const struct harness *h, const struct pepper *pepper, uint8_t digest[DIGEST])
{
	static const char *const names[TABLES] = { "meta", "keys", "accounts", "slots", "expiry", "tokens", "token_age",
		"events" };
	struct store_options o = options_of(h);
	struct lmdb_options options = {
		.path = o.path, .names = names, .n_tables = TABLES, .map_bytes = o.ceiling_bytes * 2, .readers = 8
	};
	struct walk walk = { .pepper = pepper };
	static char why[512];
	struct lmdb_txn *txn;
	struct lmdb *db;
	int fault;

	if (lmdb_open(&options, &db, why, sizeof(why)) != 0)
		return why;
	crypto_generichash_init(&walk.hash, NULL, 0, DIGEST);
	assert_non_null(txn = lmdb_txn_new(db));
	fault = lmdb_read(txn);
	for (unsigned t = 0; t < TABLES && fault == 0; t++)
		fault = walk_table(txn, t, &walk);
	crypto_generichash_final(&walk.hash, digest, DIGEST);
	lmdb_txn_free(txn);
	lmdb_close(db);
	return fault == 0 ? NULL : "a record is damaged";
}

/* ---- states ---- */

static unsigned
long_or_short(unsigned in_the_long, unsigned in_the_short)
{
	return getenv("TORTURE") != NULL ? in_the_long : in_the_short;
}

static uint8_t image[IMAGE_MAX];
static size_t image_len;

static void
apply(const struct op *op, size_t from, size_t len)
{
	size_t end = (size_t)op->at + from + len;

	if (op->kind == SHIM_TRUNCATE) {
		assert_true((size_t)op->at <= IMAGE_MAX);
		if ((size_t)op->at > image_len)
			memset(image + image_len, 0, (size_t)op->at - image_len);
		image_len = (size_t)op->at;
	} else if (op->kind == SHIM_WRITE) {
		assert_true(end <= IMAGE_MAX);
		if (end > image_len)
			memset(image + image_len, 0, end - image_len);
		memcpy(image + op->at + from, op->data + from, len);
		image_len = end > image_len ? end : image_len;
	}
}

static bool lying_disk; /* one whose fdatasync does nothing: it must be found out */

/* Is op ${i} certainly on the disk when the first ${cut} ops have returned? */
static bool
is_durable(unsigned i, unsigned cut)
{
	if (ops[i].durable)
		return true;
	for (unsigned s = i + 1; s < cut && !lying_disk; s++)
		if (ops[s].kind == SHIM_SYNC)
			return true;
	/* Even such a disk writes in the end. */
	return lying_disk && ops[i].acknowledged + 2 < ops[cut - 1].acknowledged;
}

/* Make the image after the first ${cut} ops: all durable ones, and those of the rest that have a bit in ${chosen}. */
static void
make_state(unsigned cut, uint64_t chosen)
{
	unsigned pending = 0;

	if (base_len > 0)
		memcpy(image, base, base_len);
	image_len = base_len;
	for (unsigned i = 0; i < cut; i++)
		if (is_durable(i, cut) || (chosen >> (pending++ % 64) & 1) != 0)
			apply(&ops[i], 0, ops[i].len);
}

static unsigned
count_pending(unsigned cut)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cut; i++)
		n += !is_durable(i, cut);
	return n;
}

static void
put_image(const struct harness *h)
{
	/* Without O_TRUNC: after that ext4 writes the file to the disk at close, which is slow. */
	int fd = open(data_path(h), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image, image_len), (ssize_t)image_len);
	assert_int_equal(ftruncate(fd, (off_t)image_len), 0);
	close(fd);
}

/* ---- the check of a state ---- */

static uint8_t snapshots[STEPS + 1][DIGEST];
static struct pepper *pepper;
static uint64_t n_states, n_lost, n_after;

/* The service goes on: a new key is there after the next start. */
static void
goes_on(struct harness *h)
{
	struct harness_call *hc;
	struct harness_secrets made;

	harness_open(h);
	hc = harness_call_new(h, ROLE_ADMIN);
	if (harness_create(hc, ENVIRONMENT_LIVE, "afterwards", &made) == NULL)
		fail_msg("a recovered database takes no change: %s", hc->message);
	harness_call_free(hc);
	harness_close(h);
	harness_open(h);
	hc = harness_call_new(h, ROLE_ADMIN);
	assert_int_equal(harness_verdict(hc, made.secret), VERDICT_VALID);
	harness_call_free(hc);
	harness_close(h);
	n_after++;
}

/* Open the image; ${acked} commits were acknowledged before it. Returns NULL, or what is wrong. */
static const char *
examine(struct harness *h, unsigned acked)
{
	struct store_options options = options_of(h);
	uint8_t digest[DIGEST];
	static char why[512];
	struct store *store;
	const char *wrong;

	put_image(h);
	n_states++;
	if (store_open(&options, &store, why, sizeof(why)) != 0)
		return why;
	store_close(store);
	if ((wrong = digest_of(h, pepper, digest)) != NULL)
		return wrong;
	if (memcmp(digest, snapshots[acked], DIGEST) == 0 ||
	    (acked < n_commits && memcmp(digest, snapshots[acked + 1], DIGEST) == 0))
		return NULL;
	for (unsigned j = 0; j <= n_commits; j++)
		if (memcmp(digest, snapshots[j], DIGEST) == 0) {
			snprintf(why, sizeof(why), "it is as after commit %u, and %u were acknowledged", j, acked);
			return why;
		}
	return "it is as after no commit at all";
}

static void
judge(struct harness *h, unsigned acked, const char *how, unsigned cut, uint64_t detail)
{
	const char *wrong = examine(h, acked);

	if (wrong == NULL && n_states % long_or_short(32, 128) == 0 && !lying_disk)
		goes_on(h);
	if (wrong == NULL)
		return;
	n_lost++;
	if (!lying_disk)
		print_message(
		    "# lost: cut at %u of %u, %s %llx: %s\n", cut, n_ops, how, (unsigned long long)detail, wrong);
}

static unsigned
acked_at(unsigned cut)
{
	return cut < n_ops ? ops[cut].acknowledged : acknowledged;
}

/* Every subset of the pending ops, or ${most} random ones. */
static void
subsets(struct harness *h, unsigned cut, unsigned most)
{
	unsigned pending = count_pending(cut);

	/* Nothing pending: one state, this prefix. */
	if (pending < 32 && (1U << pending) <= most) {
		for (uint64_t chosen = 0; chosen < 1U << pending; chosen++) {
			make_state(cut, chosen);
			judge(h, acked_at(cut), "subset", cut, chosen);
		}
		return;
	}
	for (unsigned i = 0; i < most; i++) {
		uint64_t chosen = i == 0 ? UINT64_MAX : i == 1 ? 0 : (uint64_t)random() << 33 ^ (uint64_t)random();

		make_state(cut, chosen);
		judge(h, acked_at(cut), "subset", cut, chosen);
	}
}

/*
 * The last write torn: any of its sectors may be on the disk, with a subset of the other pending ops.
 */
static void
torn(struct harness *h, unsigned cut, unsigned most)
{
	const struct op *last = &ops[cut - 1];
	unsigned sectors = (unsigned)((last->len + SECTOR - 1) / SECTOR);

	if (last->kind != SHIM_WRITE || sectors < 2)
		return;
	for (unsigned i = 0; i < most; i++) {
		make_state(cut - 1, (uint64_t)random() << 33 ^ (uint64_t)random());
		for (unsigned s = 0; s < sectors; s++) {
			size_t from = (size_t)s * SECTOR;

			if (i % 2 == 0 ? s < 1 + i / 2 % (sectors - 1) : random() % 2 == 0)
				apply(last, from, last->len - from < SECTOR ? last->len - from : SECTOR);
		}
		judge(h, last->acknowledged, "torn", cut, i);
	}
}

static void
all_states(struct harness *h, unsigned most)
{
	n_states = n_lost = n_after = 0;
	for (unsigned cut = 1; cut <= n_ops; cut++) {
		subsets(h, cut, most);
		torn(h, cut, most / 2);
	}
}

/* ---- the tests ---- */

/* Make a service with ACCOUNTS accounts, and record the writes of STEPS commits. */
static struct harness *
record_work(void)
{
	struct harness *h = harness_prepare();
	struct harness_secrets made;
	struct harness_call *hc;
	char name[32];

	h->config.environments[ENVIRONMENT_TEST].configured = false;
	harness_open(h);
	hc = harness_call_new(h, ROLE_ADMIN);

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		snprintf(name, sizeof(name), "old-%u", i);
		assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, name, &made));
		note_secret(made.secret);
	}
	for (unsigned i = 0; i < n_secrets; i++)
		for (unsigned j = 0; j <= STEPS; j++)
			secrets[i].verdict[j] = VERDICT_VALID;
	harness_call_free(hc);
	harness_close(h);
	read_base(h);
	harness_open(h);
	shim_watch = record;
	work(h);
	shim_watch = NULL;
	harness_close(h);
	return h;
}

/* After a clean cut behind commit ${j}: start the whole service, and try every secret and every token. */
static void
check_snapshot(struct harness *h, unsigned j)
{
	struct harness_call *hc;

	harness_open(h);
	hc = harness_call_new(h, ROLE_ADMIN);
	for (unsigned i = 0; i < n_secrets; i++)
		assert_int_equal(harness_verdict(hc, secrets[i].secret), secrets[i].verdict[j]);
	/* A known token is answered, and not applied again. */
	for (unsigned i = 1; i <= j; i++) {
		harness_send_bytes(hc, steps[i].request, steps[i].request_len);
		assert_int_equal(harness_wait(hc), 0);
		assert_int_equal(hc->len, steps[i].reply_len);
		assert_memory_equal(hc->bytes, steps[i].reply, hc->len);
	}
	harness_call_free(hc);
	harness_close(h);
}

/* After each commit, and before the first. */
static void
make_snapshots(struct harness *h)
{
	struct store_options options = options_of(h);
	char why[512];
	unsigned j = 0;

	assert_int_equal(pepper_load(options.pepper, &pepper, why, sizeof(why)), 0);
	for (unsigned cut = 0; cut <= n_ops; cut++) {
		if (cut > 0 && !(ops[cut - 1].kind == SHIM_WRITE && ops[cut - 1].durable))
			continue;
		make_state(cut, UINT64_MAX);
		put_image(h);
		check_snapshot(h, j);
		put_image(h);
		assert_null(digest_of(h, pepper, snapshots[j]));
		for (unsigned i = 0; i < j; i++)
			assert_memory_not_equal(snapshots[i], snapshots[j], DIGEST);
		j++;
	}
	assert_int_equal(j, STEPS + 1);
}

static void
tell(const char *what)
{
	printf("# count: %s: %u commits in %u writes and syncs, %llu states, %llu of them worked on in, %llu lost\n",
	    what, n_commits, n_ops, (unsigned long long)n_states, (unsigned long long)n_after,
	    (unsigned long long)n_lost);
	fflush(stdout);
}

static int
seed(void **state)
{
	const char *given = getenv("TEST_SEED");
	unsigned n = given != NULL ? (unsigned)strtoul(given, NULL, 10) : randombytes_random() >> 1;

	(void)state;
	printf("# TEST_SEED=%u\n", n);
	srandom(n);
	shim_sync_not = true; /* the disk is one of our own making */
	return 0;
}

/*
 * The same on a disk that loses synced writes. The check must notice that, which shows that it can fail. In its own
 * process, as LMDB's memory of a damaged database is not freed.
 */
static bool
is_found_out(struct harness *h)
{
	int status;
	pid_t pid;

	fflush(stdout);
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		lying_disk = true;
		all_states(h, 2);
		tell("on a disk that lies about fdatasync");
		_exit(n_lost > 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static void
a_power_cut_loses_nothing(void **state)
{
	struct harness *h = record_work();

	(void)state;
	make_snapshots(h);
	all_states(h, long_or_short(48, 2));
	tell("power cuts");
	assert_int_equal(n_lost, 0);
	assert_true(n_states >= long_or_short(5000, 300));
	assert_true(is_found_out(h));
	pepper_free(pepper);
	forget_steps();
	forget();
	harness_free(h);
}

static void
remove_file(const char *path)
{
	if (unlink(path) != 0)
		assert_int_equal(errno, ENOENT);
}

/* Leave nothing but what an interrupted first start leaves in the folder where it makes the database. */
static void
leave_first_start(const struct harness *h)
{
	static const char *const served[] = { "lastused", "fobd.lock", "lock.mdb" };
	char path[700];

	first_start = false;
	remove_file(data_path(h));
	for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", h->paths[ENVIRONMENT_LIVE][0], served[i]);
		remove_file(path);
	}
	snprintf(path, sizeof(path), "%s.used", h->paths[ENVIRONMENT_LIVE][1]);
	remove_file(path);
	snprintf(path, sizeof(path), "%s/new", h->paths[ENVIRONMENT_LIVE][0]);
	assert_int_equal(mkdir(path, 0700), 0);
	first_start = true;
	put_image(h);
	first_start = false;
}

/* A first start that is cut off at any point: the next start makes what is missing, and the service works. */
static void
a_cut_in_the_first_start(void **state)
{
	struct harness *h = harness_prepare();
	struct store_options options = options_of(h);
	char why[512] = "";

	(void)state;
	h->config.environments[ENVIRONMENT_TEST].configured = false;
	shim_watch = record;
	assert_int_equal(store_init(&options, why, sizeof(why)), 0);
	shim_watch = NULL;
	assert_true(n_ops > 4);
	n_states = n_lost = n_after = 0;
	for (unsigned cut = 1; cut <= n_ops; cut++) {
		unsigned pending = count_pending(cut);

		for (uint64_t chosen = 0; chosen < 1U << (pending < 6 ? pending : 6); chosen++) {
			make_state(cut, chosen);
			leave_first_start(h);
			n_states++;
			if (store_init(&options, why, sizeof(why)) != 0)
				fail_msg("cut at %u of %u, %llx: %s", cut, n_ops, (unsigned long long)chosen, why);
			goes_on(h);
		}
	}
	tell("first starts");
	forget();
	harness_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_power_cut_loses_nothing),
		cmocka_unit_test(a_cut_in_the_first_start),
	};

	return cmocka_run_group_tests_name("replay", tests, seed, NULL);
}
