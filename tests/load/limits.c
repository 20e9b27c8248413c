/*
 * limits.c - the program limits: what this machine can do without any service around it.
 *
 * `lookup`: the work that no verify can avoid, in a loop on one core: a keyed BLAKE2b-256 of a secret, and one LMDB
 * read in a renewed transaction that copies out a value of a record's size. `commits`: durable LMDB commits of one
 * small put, one at a time, which is what changes would get without group commit. Uses LMDB and libsodium as fobd does,
 * and none of fobd's code.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <lmdb.h>
#include <sodium.h>

#include "proto/c/program.h"
#include "tests/load/flags.h"
#include "tests/load/measure.h"
#include "tests/load/report.h"
#include "tests/load/rng.h"

#define SECRET_LEN 44
#define DIGEST_LEN 32
#define VALUE_LEN 72 /* of a key's record with its tag and an account of some 20 characters */
#define MAP_BYTES (UINT64_C(64) << 30)
#define PUTS_PER_COMMIT 100000

static const char usage[] =
    "Usage: limits lookup  --dir DIR --keys N [OPTION...]\n"
    "       limits commits --dir DIR [OPTION...]\n"
    "\n"
    "lookup   keyed BLAKE2b-256 and one LMDB read of N keys, in a loop on one core\n"
    "commits  durable LMDB commits of one small put, one at a time\n"
    "\n"
    "      --dir DIR          of the database: made when it is absent, used again when it has as many keys\n"
    "      --keys N           1 to 100000000\n" FLAGS_RUN_USAGE("0.5", "5");

struct flags {
	struct flags_run run;
	const char *dir;
	size_t keys;
};

struct database {
	MDB_env *env;
	MDB_dbi dbi;
	uint8_t pepper[DIGEST_LEN];
};

static void
check(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "limits: %s: %s\n", what, mdb_strerror(rc));
	exit(1);
}

static void
open_database(struct database *db, const char *dir, unsigned env_flags)
{
	MDB_txn *txn;

	memset(db->pepper, 7, sizeof(db->pepper));
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		check(errno, dir);
	check(mdb_env_create(&db->env), dir);
	check(mdb_env_set_mapsize(db->env, MAP_BYTES), dir);
	check(mdb_env_open(db->env, dir, MDB_NOTLS | env_flags, 0600), dir);
	check(mdb_txn_begin(db->env, NULL, 0, &txn), dir);
	check(mdb_dbi_open(txn, NULL, 0, &db->dbi), dir);
	check(mdb_txn_commit(txn), dir);
}

static void
digest_of(const struct database *db, uint64_t i, uint8_t digest[DIGEST_LEN])
{
	char secret[SECRET_LEN] = "sk_live_000000000000000000000000000000000000";

	memcpy(secret + 8, &i, sizeof(i));
	crypto_generichash_blake2b(
	    digest, DIGEST_LEN, (const unsigned char *)secret, sizeof(secret), db->pepper, sizeof(db->pepper));
}

/* ---- lookup ---- */

static size_t
count_keys(struct database *db)
{
	MDB_txn *txn;
	MDB_stat st;

	check(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn), "counting");
	check(mdb_stat(txn, db->dbi, &st), "counting");
	mdb_txn_abort(txn);
	return st.ms_entries;
}

/* In the order of the counter, which is a random one of the digests: the tree grows as a service's does. */
static void
fill(const struct flags *f)
{
	struct database db;
	uint8_t digest[DIGEST_LEN], value[VALUE_LEN] = { 1 };
	MDB_txn *txn = NULL;
	uint64_t i;

	open_database(&db, f->dir, MDB_NOSYNC | MDB_WRITEMAP);
	if (count_keys(&db) > f->keys)
		check(EEXIST, "the database has more keys than that; remove it");
	for (i = count_keys(&db); i < f->keys; i++) {
		if (txn == NULL)
			check(mdb_txn_begin(db.env, NULL, 0, &txn), "filling");
		digest_of(&db, i, digest);
		check(mdb_put(txn, db.dbi, &(MDB_val){ sizeof(digest), digest }, &(MDB_val){ sizeof(value), value }, 0),
		    "filling");
		if ((i + 1) % PUTS_PER_COMMIT == 0) {
			check(mdb_txn_commit(txn), "filling");
			txn = NULL;
		}
	}
	if (txn != NULL)
		check(mdb_txn_commit(txn), "filling");
	mdb_env_close(db.env);
}

static void
lookup(const struct flags *f, struct measure *m)
{
	struct recorder *r = recorder_mine();
	struct rng rng = rng_new(1);
	uint8_t digest[DIGEST_LEN], record[VALUE_LEN];
	int64_t from_ns, now_ns;
	struct database db;
	MDB_val value;
	MDB_txn *txn;
	int i;

	fill(f);
	open_database(&db, f->dir, 0);
	check(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn), "reading");
	mdb_txn_reset(txn);
	measure_start(m, f->run.warmup_s, f->run.duration_s, true);
	/* The clock is read once in 64: it would be a part of what is measured. */
	for (now_ns = measure_now_ns(); !measure_is_over(m, now_ns);) {
		from_ns = now_ns;
		for (i = 0; i < 64; i++) {
			digest_of(&db, rng_below(&rng, f->keys), digest);
			check(mdb_txn_renew(txn), "reading");
			check(mdb_get(txn, db.dbi, &(MDB_val){ sizeof(digest), digest }, &value), "reading");
			memcpy(record, value.mv_data, sizeof(record));
			mdb_txn_reset(txn);
			__asm__ volatile("" : : "r"(record) : "memory");
		}
		now_ns = measure_now_ns();
		measure_record(m, r, OP_VERIFY, now_ns - (now_ns - from_ns) / 64, now_ns, false, 64);
	}
	mdb_txn_abort(txn);
	mdb_env_close(db.env);
}

/* ---- commits ---- */

static void
commits(const struct flags *f, struct measure *m)
{
	struct recorder *r = recorder_mine();
	uint8_t digest[DIGEST_LEN], value[VALUE_LEN] = { 1 };
	int64_t from_ns, now_ns;
	struct database db;
	MDB_txn *txn;

	open_database(&db, f->dir, 0);
	measure_start(m, f->run.warmup_s, f->run.duration_s, true);
	for (now_ns = measure_now_ns(); !measure_is_over(m, now_ns);) {
		from_ns = now_ns;
		randombytes_buf(digest, sizeof(digest));
		check(mdb_txn_begin(db.env, NULL, 0, &txn), "committing");
		check(mdb_put(txn, db.dbi, &(MDB_val){ sizeof(digest), digest }, &(MDB_val){ sizeof(value), value }, 0),
		    "committing");
		check(mdb_txn_commit(txn), "committing");
		now_ns = measure_now_ns();
		measure_record(m, r, OP_VERIFY, from_ns, now_ns, false, 1);
	}
	mdb_env_close(db.env);
}

/* ---- flags ---- */

enum { FLAG_DIR = FLAGS_OWN, FLAG_KEYS };

static const struct option options[] = { { "dir", required_argument, NULL, FLAG_DIR },
	{ "keys", required_argument, NULL, FLAG_KEYS }, FLAGS_RUN_LONG, { NULL, 0, NULL, 0 } };

static void
flag(int c, struct flags *f)
{
	switch (c) {
	case FLAG_DIR:
		f->dir = optarg;
		break;
	case FLAG_KEYS:
		f->keys = flags_number("keys", optarg, 1, 100000000);
		break;
	default:
		flags_run(c, &f->run, usage);
	}
}

int
main(int argc, char *argv[])
{
	struct flags f = { .run = { .warmup_s = 0.5, .duration_s = 5 } };
	struct report r = { .callers = 1, .batch = 1 };
	struct measure m;
	bool is_lookup;
	int c;

	if (program_begin() != 0)
		return 1;
	while ((c = getopt_long(argc, argv, FLAGS_RUN_SHORT, options, NULL)) != -1)
		flag(c, &f);
	if (optind + 1 != argc || (strcmp(argv[optind], "lookup") != 0 && strcmp(argv[optind], "commits") != 0) ||
	    f.dir == NULL || ((is_lookup = strcmp(argv[optind], "lookup") == 0) && f.keys == 0))
		flags_fail("see limits --help");
	if (sodium_init() < 0)
		return 1;
	if (is_lookup)
		lookup(&f, &m);
	else
		commits(&f, &m);
	r.tool = r.unit[OP_VERIFY] = argv[optind];
	r.keys = f.keys;
	return report_finish(&r, &f.run, &m);
}
