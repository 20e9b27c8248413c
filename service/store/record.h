/*
 * record.h - what is stored, byte by byte. Every value starts with its version and ends in a 16-byte tag over (table,
 * key, value): LMDB 0.9 has no page checksums, and a flipped bit must never turn into VALID. Integers are big-endian.
 * In keys and accounts, times and generations are varints: seven bits a byte, the lowest first; a set eighth bit means
 * that more bytes follow.
 *
 *	table    key                                   value (between version and tag)
 *	meta     "identity"                            schema 4, environment 1, id 16, pepper's fingerprint 32
 *	meta     "state"                               revision 8, newest_ms 8, event sequence 8, next serial 4; then,
 *	                                               once the database has taken an import: 1
 *	meta     "copy", in a backup only               taken_ms 8, revision 8, event sequence 8
 *	meta     "rotation"                            struct record_rotation, while a rotation is under way
 *	meta     "cluster", in a cluster only          cluster's id 16, replica 16, entry's number 8, its tag 16
 *	keys     digest 32                             struct record_key
 *	accounts account id                            struct record_account
 *	slots    account id, 0, kind 1, generation 4   the beginning of its key's digest, 16
 *	expiry   expires_ms 8, digest 32               (nothing: the key says all)
 *	tokens   index 32                              struct record_token, then the sealed reply
 *	token_age created_ms 8, index 32               (nothing)
 *	events   sequence 8                            struct record_event
 *
 * An account id holds no NUL, so slots sort by account, then kind, then generation.
 *
 * An account's record names its current keys itself. Only superseded keys have a slot, so most accounts have no slot. A
 * key is named by the first bytes of its digest; whether it is the right one is checked by the account, kind and
 * generation in the key's own record. Records of events are of version 3, those of keys, accounts and slots of version
 * 2, all others of version 1. Schema 3 had events of version 2, which do not say on whose behalf a change was asked for;
 * schema 2 had events of version 1, which do not say who asked.
 * Schema 5 is schema 4 with a cluster's record: a fobd that does not know that record must not serve the database.
 * Schema 1 had version 1 only, in which every key has a slot that holds the whole digest. Such records are read, and are
 * written in version 2 when something changes in them.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/store/pepper.h"
#include "service/base/types.h"

#define RECORD_SCHEMA 4
#define RECORD_SCHEMA_CLUSTER 5
#define RECORD_DIGEST_LEN PEPPER_DIGEST_LEN
#define RECORD_REF_LEN 16     /* of a digest, where another record names its key */
#define RECORD_REPLY_MAX 1024 /* of a sealed reply */
#define RECORD_MAX (RECORD_REPLY_MAX + 256)
/* The longest value of the table of keys, tag included: fixed bytes, varints of five and ten bytes, the account's id. */
#define RECORD_KEY_VALUE_MAX 192
#define RECORD_KEY_MAX (LIMIT_ACCOUNT + 6) /* the longest key of a table: a slot's */

enum table {
	TABLE_META,
	TABLE_KEYS,
	TABLE_ACCOUNTS,
	TABLE_SLOTS,
	TABLE_EXPIRY,
	TABLE_TOKENS,
	TABLE_TOKEN_AGE,
	TABLE_EVENTS,
	TABLES
};

/* As on disk and on the wire (fob.v1.KeyState). */
enum key_state { KEY_CURRENT = 1, KEY_GRACE = 2, KEY_EXPIRED = 3, KEY_REVOKED = 4 };

/* As on disk and on the wire (fob.v1.EventType). EVENT_NONE: a change that makes no event. */
enum event_type {
	EVENT_NONE = 0,
	EVENT_ACCOUNT_CREATED = 1,
	EVENT_KEY_ROLLED = 2,
	EVENT_KEY_EXPIRED = 3,
	EVENT_KEY_REVOKED = 4,
	EVENT_ACCOUNT_SUSPENDED = 5,
	EVENT_ACCOUNT_RESUMED = 6,
	EVENT_ACCOUNT_IMPORTED = 7,
	EVENT_RESTORED = 8 /* of the database: it has no account */
};

struct record_key {
	enum kind kind;
	enum key_state state;
	bool suspended; /* copied from the account, so that a verify reads one record */
	uint32_t generation;
	uint32_t serial; /* its place in the file of last-used times */
	int64_t created_ms;
	int64_t expires_ms; /* 0 while current */
	int64_t ended_ms;   /* 0 while current or in grace */
	char last4[4];      /* no NUL */
	char account[LIMIT_ACCOUNT + 1];
};

/* Of a secret key in grace. */
struct record_grace {
	uint32_t generation;
	int64_t expires_ms;
};

struct record_account {
	int64_t created_ms;
	int64_t suspended_ms;       /* 0: not suspended */
	uint32_t secret_generation; /* this and the next: 0 for an imported account without such a key */
	uint32_t publishable_generation;
	uint8_t n_grace;
	struct record_grace grace[LIMIT_IN_GRACE]; /* the secret keys in grace, oldest first */
	/* By kind - 1: the first bytes of the current key's digest. While has_ref is false, they are in its slot. */
	bool has_ref[2];
	uint8_t ref[2][RECORD_REF_LEN];
	char account[LIMIT_ACCOUNT + 1]; /* from the table's key */
};

struct record_token {
	int64_t created_ms;
	uint8_t request[PEPPER_DIGEST_LEN];
	const uint8_t *sealed; /* borrowed from the value */
	size_t sealed_len;
};

struct record_event {
	uint64_t sequence; /* from the table's key */
	int64_t time_ms;
	enum event_type type;
	enum kind kind; /* 0: the event is the account's */
	uint32_t generation;
	int64_t expires_ms;
	char last4[4];
	char account[LIMIT_ACCOUNT + 1];
	/* Who asked; of zeros for nobody (the end of a grace) and in an event from before schema 3. */
	struct peer by;
	/* The person whom ${by} named; empty for nobody and in an event from before schema 4. */
	char on_behalf_of[LIMIT_ON_BEHALF_OF + 1];
};

struct record_state {
	uint64_t revision; /* changes applied since the database was made */
	int64_t newest_ms; /* the newest time of a change: the clock never goes back behind it */
	uint64_t event_sequence;
	uint32_t next_serial;
	bool imported; /* there are imported keys */
};

struct record_identity {
	uint32_t schema;
	enum environment environment;
	uint8_t id[PEPPER_ID_LEN];
	uint8_t fingerprint[PEPPER_DIGEST_LEN];
};

/* The mark of a backup, and what it is a backup of. */
struct record_copy {
	int64_t taken_ms;
	uint64_t revision;
	uint64_t event_sequence;
};

#define RECORD_CLUSTER_ID_LEN 16
#define RECORD_ENTRY_TAG_LEN 16

/* Of which cluster the database is a node, and how much of the cluster's log it has. */
struct record_cluster {
	uint8_t cluster[RECORD_CLUSTER_ID_LEN];
	uint8_t replica[RECORD_CLUSTER_ID_LEN];
	uint64_t number; /* of the newest entry; 0: none */
	uint8_t tag[RECORD_ENTRY_TAG_LEN]; /* of that entry */
};

/* How far the rotation that is under way has come. */
struct record_rotation {
	uint8_t old_fingerprint[PEPPER_DIGEST_LEN]; /* of the pepper before */
	enum table table;                           /* which is at hand, and its last key that is done */
	uint8_t at_len;
	uint8_t at[RECORD_KEY_MAX];
	uint64_t keys;    /* with new digests */
	uint64_t records; /* done, of all tables */
};

/* A value under construction, or a table's key. */
struct record_bytes {
	size_t len;
	uint8_t bytes[RECORD_MAX];
};

/*
 * record_put_X(pepper, key, key_len, x, out): encode with tag.
 * record_get_X(pepper, key, key_len, value, len, x): check the tag, then decode.
 * Returns: get: 0, or -FAULT_CORRUPT with ${x} unspecified. put cannot fail.
 */
void record_put_key(
    const struct pepper *, const void *key, size_t key_len, const struct record_key *, struct record_bytes *);
int record_get_key(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_key *);
void record_put_account(
    const struct pepper *, const void *key, size_t key_len, const struct record_account *, struct record_bytes *);
int record_get_account(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_account *);
void record_put_token(
    const struct pepper *, const void *key, size_t key_len, const struct record_token *, struct record_bytes *);
int record_get_token(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_token *);
void record_put_event(
    const struct pepper *, const void *key, size_t key_len, const struct record_event *, struct record_bytes *);
int record_get_event(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_event *);
void record_put_state(
    const struct pepper *, const void *key, size_t key_len, const struct record_state *, struct record_bytes *);
int record_get_state(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_state *);
void record_put_identity(
    const struct pepper *, const void *key, size_t key_len, const struct record_identity *, struct record_bytes *);
void record_put_copy(
    const struct pepper *, const void *key, size_t key_len, const struct record_copy *, struct record_bytes *);
int record_get_copy(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_copy *);
void record_put_cluster(
    const struct pepper *, const void *key, size_t key_len, const struct record_cluster *, struct record_bytes *);
int record_get_cluster(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_cluster *);
/*
 * The identity is read before the pepper is known to be the right one: its tag is checked when ${pepper} is not NULL.
 */
int record_get_identity(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_identity *);
/* A slot's value: the beginning of its key's digest. */
void record_put_slot(const struct pepper *, const void *key, size_t key_len, const uint8_t digest[RECORD_DIGEST_LEN],
    struct record_bytes *);
int record_get_slot(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, uint8_t ref[RECORD_REF_LEN]);
/* The value of an index table's entry, which is only its tag. */
void record_put_empty(const struct pepper *, enum table, const void *key, size_t key_len, struct record_bytes *);
int record_get_empty(const struct pepper *, enum table, const void *key, size_t key_len, const void *value, size_t len);

/* Does the tag of this entry of ${table} fit? Returns: 0, or -FAULT_CORRUPT. */
int record_sound(const struct pepper *, enum table, const void *key, size_t key_len, const void *value, size_t len);

void record_put_rotation(
    const struct pepper *, const void *key, size_t key_len, const struct record_rotation *, struct record_bytes *);
int record_get_rotation(
    const struct pepper *, const void *key, size_t key_len, const void *value, size_t len, struct record_rotation *);

/* Is its tag of the pepper's newest line? A key's digest and its record's tag are always of the same line. */
bool
record_is_newest(const struct pepper *, enum table, const void *key, size_t key_len, const void *value, size_t len);
/* The same value with a tag of the newest line. */
void record_tag_anew(const struct pepper *, enum table, const void *key, size_t key_len, const void *value, size_t len,
    struct record_bytes *);

/* The generation of an account's current key; 0: there is none. */
uint32_t record_generation(const struct record_account *account, enum kind kind);

/* Keys of tables. */
void record_slot_key(const char *account, enum kind kind, uint32_t generation, struct record_bytes *out);
void record_time_key(int64_t time_ms, const uint8_t digest[RECORD_DIGEST_LEN], struct record_bytes *out);
void record_sequence_key(uint64_t sequence, struct record_bytes *out);

/* True for 1 to LIMIT_ACCOUNT bytes of [A-Za-z0-9._-]. */
bool record_account_ok(const void *account, size_t len);
/*
 * True for at most LIMIT_ON_BEHALF_OF printable ASCII characters, none of which a line of JSON would escape: event_line.c
 * reads no escapes.
 */
bool record_on_behalf_of_ok(const void *name, size_t len);

#endif
