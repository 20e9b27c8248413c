/*
 * fob.h - libfob, the client of Fob: whose API key is this, and may it do that?
 *
 *	struct fob_options *o = fob_options_new();
 *	struct fob_client *c;
 *	struct fob_verification v;
 *
 *	fob_options_set_address(o, "ipc:///run/fob/verify.sock");
 *	if (fob_client_new(o, &c, NULL) == 0 &&
 *	    fob_verify(c, &(struct fob_verify_request){ .authorization = header, .authorization_len = n,
 *	        .operation = "charges.create", .require_environment = FOB_LIVE }, &v, NULL) == 0 &&
 *	    fob_allows(&v))
 *		serve(v.account);
 *
 * Two things never mix. A *fault*: the call returned a negative number and says nothing about the key. A *verdict*:
 * the call returned 0 and the answer may be no. Only FOB_VALID lets a request through; fob_allows() says so.
 *
 * Conventions, unless a function says otherwise:
 * Units:     times are milliseconds since the Unix epoch, UTC (0: none), durations carry their unit in their name.
 * Strings:   given and returned strings are NUL-terminated; secrets and headers carry a length and need no NUL.
 * Ownership: arguments are borrowed until the call returns (asynchronous calls copy what they need); results are the
 *            caller's. Plain structs own nothing; what ends in _free does, and takes NULL.
 * Threads:   a client may be used by any number of threads at once. No global state, nothing printed, no signal
 *            touched.
 * fork:      a client does not survive fork(); make it afterwards.
 * Returns:   0, or a negative FOB_E... fault. On a fault every output is zeroed: a zeroed verification denies.
 * Errors:    the last argument, if not NULL, is filled on a fault and emptied otherwise. Its text never holds a secret.
 */
#ifndef FOB_H
#define FOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is declared here is what the library exports; all else in it is built hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define FOB_VERSION "0.1.0"

/* Sizes, terminating NUL included. */
#define FOB_ACCOUNT_SIZE 65
#define FOB_LAST4_SIZE 5
#define FOB_SECRET_SIZE 48 /* 8 of prefix, 30 random, 6 checksum */
#define FOB_DETAIL_SIZE 128

#define FOB_TOKEN_LEN 32
#define FOB_BATCH_MAX 256
#define FOB_IMPORT_MAX 256
#define FOB_SHA256_LEN 32
#define FOB_PAGE_MAX 1000
#define FOB_TIMEOUT_MAX_MS 60000
#define FOB_GRACE_MAX_S 86400
#define FOB_GRACE_DEFAULT_S UINT32_MAX /* what the server uses: 24 hours */

/*
 * Faults: the negated gRPC status code of the reply, or libfob's own under the same name.
 * https://grpc.io/docs/guides/status-codes/
 */
enum fob_fault {
	FOB_ECANCELLED = -1,          /* the client was freed under the call */
	FOB_EUNKNOWN = -2,            /* the reply carries a code that this library does not know */
	FOB_EINVALID_ARGUMENT = -3,   /* the request can never succeed as it is */
	FOB_EDEADLINE_EXCEEDED = -4,  /* no answer in time, or lost: a mutation may or may not have been applied */
	FOB_ENOT_FOUND = -5,          /* no such account, key or method */
	FOB_EALREADY_EXISTS = -6,     /* the account exists; the token was used for another request */
	FOB_EPERMISSION_DENIED = -7,  /* not on this listener; not with this secret */
	FOB_ERESOURCE_EXHAUSTED = -8, /* a limit; the message says which and when to try again */
	FOB_EFAILED_PRECONDITION = -9,
	FOB_EABORTED = -10, /* expected_generation is not the current one */
	FOB_EOUT_OF_RANGE = -11,
	FOB_EUNIMPLEMENTED = -12, /* the server does not know the method */
	FOB_EINTERNAL = -13,      /* a bug, or out of memory; or a reply that could not be decoded */
	FOB_EUNAVAILABLE = -14,   /* not connected, draining, or the store of that environment has failed */
	FOB_EDATA_LOSS = -15,
	FOB_EUNAUTHENTICATED = -16
};

enum fob_environment { FOB_ENVIRONMENT_ANY = 0, FOB_LIVE = 1, FOB_TEST = 2 };
enum fob_kind { FOB_KIND_ANY = 0, FOB_SECRET = 1, FOB_PUBLISHABLE = 2 };

/* The zero denies, and so does every number that is not FOB_VALID. */
enum fob_verdict {
	FOB_DENIED = 0,
	FOB_VALID = 1,
	FOB_MALFORMED = 2,
	FOB_NOT_FOUND = 3,
	FOB_EXPIRED = 4,
	FOB_REVOKED = 5,
	FOB_SUSPENDED = 6,
	FOB_WRONG_ENVIRONMENT = 7,
	FOB_FORBIDDEN = 8
};

enum fob_key_state {
	FOB_KEY_UNKNOWN = 0,
	FOB_KEY_CURRENT = 1,
	FOB_KEY_GRACE = 2,
	FOB_KEY_EXPIRED = 3,
	FOB_KEY_REVOKED = 4
};

enum fob_event_type {
	FOB_EVENT_UNKNOWN = 0, /* one that only a newer server has; its account may be empty */
	FOB_ACCOUNT_CREATED = 1,
	FOB_KEY_ROLLED = 2,
	FOB_EVENT_KEY_EXPIRED = 3,
	FOB_EVENT_KEY_REVOKED = 4,
	FOB_ACCOUNT_SUSPENDED = 5,
	FOB_ACCOUNT_RESUMED = 6,
	FOB_ACCOUNT_IMPORTED = 7, /* or, with a kind, a key that an imported account lacked */
	FOB_RESTORED = 8          /* the database, from a backup; its account is empty */
};

enum fob_serving { FOB_SERVING_UNKNOWN = 0, FOB_SERVING = 1, FOB_NOT_SERVING = 2 };

struct fob_error {
	int fault;         /* 0, or what the call returned */
	char message[240]; /* for people and logs */
};

/* ---- options ---- */

struct fob_options;
struct fob_client;

/*
 * fob_options_new():
 * Returns: options with their defaults, to be freed with fob_options_free(); NULL when out of memory.
 * The setters copy, and check their argument at once: 0 or FOB_EINVALID_ARGUMENT or FOB_EINTERNAL (memory).
 */
struct fob_options *fob_options_new(void);
void fob_options_free(struct fob_options *);

/* Where fobd listens: ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT. Required. */
int fob_options_set_address(struct fob_options *, const char *address);
/* The deadline of calls that name none, 1 to FOB_TIMEOUT_MAX_MS. Default 5,000. */
int fob_options_set_timeout_ms(struct fob_options *, uint32_t timeout_ms);
/*
 * Calls on the wire at once, 1 to 64; the next ones wait their turn. Default 64. Each is on a connection of its own,
 * made when it is first needed and then kept.
 */
int fob_options_set_in_flight(struct fob_options *, unsigned calls);
/* Calls waiting for their turn, beyond which a call is refused with FOB_ERESOURCE_EXHAUSTED. Default 4,096. */
int fob_options_set_queue(struct fob_options *, unsigned calls);
/*
 * Coalescing, on by default, and the reason to use libfob rather than a client of your own: fob_verify() and
 * fob_verify_async() calls that have to wait travel together, up to FOB_BATCH_MAX in one message, which costs both
 * sides little more than a message with one. Nothing is held back for company: a call goes at once, alone, while fewer
 * than verify_lanes messages with verifies are on the wire; what is then answered takes along those that wait, first
 * come, first served. Each call keeps its own verdict, deadline and fault: a deadline that passes on the wire ends that
 * call only, and when a server refuses a batch as a whole, its calls are sent again apart, so that a bad one fails
 * alone.
 *
 * Verifies and other calls then wait in a queue each, and the queue's bound is for each of them. Calls that are made in
 * a batch's callbacks travel when the last of these has returned, or after 2 ms.
 */
int fob_options_set_coalesce(struct fob_options *, bool coalesce);
/*
 * Messages with verifies on the wire at once when coalescing, 1 to 64, and no more than in_flight. Default 3. Fewer
 * make larger batches; more let a call that finds others under way go sooner.
 */
int fob_options_set_verify_lanes(struct fob_options *, unsigned messages);
/* For tls+tcp: PEM files. The CA that the server's certificate is checked against (required), and our own pair. */
int fob_options_set_tls_ca(struct fob_options *, const char *ca_file);
int fob_options_set_tls_certificate(struct fob_options *, const char *cert_file, const char *key_file);
/* The name expected in the server's certificate. Default: the host of the address. */
int fob_options_set_tls_server_name(struct fob_options *, const char *name);

/* ---- client ---- */

/*
 * fob_client_new(options, client, error):
 * Make a client for the server that ${options} names. Connects in the background and reconnects by itself, for as long
 * as it lives: a server that is down now is no error here, its calls wait for it until their deadline.
 */
int fob_client_new(const struct fob_options *, struct fob_client **client, struct fob_error *);

/*
 * fob_client_free(client):
 * Ends every call that is under way with FOB_ECANCELLED, waits until the last callback has returned, closes.
 * Threads: not from within a callback, and no other thread may be in or enter a call of this client.
 */
void fob_client_free(struct fob_client *);

/* ---- verify ---- */

struct fob_verify_request {
	/*
	 * Exactly one of the two, the other NULL: a key, or the raw value of an Authorization header ("Basic ..."). For
	 * a request without the header give "" and length 0: that is judged (MALFORMED, so 401); NULL for both is a
	 * fault.
	 */
	const void *secret;
	size_t secret_len;
	const char *authorization;
	size_t authorization_len;
	const char *operation;                    /* NULL: authenticate only */
	enum fob_environment require_environment; /* FOB_ENVIRONMENT_ANY: either */
	uint32_t timeout_ms;                      /* 0: the client's */
};

struct fob_verification {
	enum fob_verdict verdict;
	enum fob_environment environment; /* what the prefix says, where there was one */
	enum fob_kind kind;
	bool livemode;
	bool superseded; /* in grace: roll over to the newer key before expires_ms */
	uint32_t generation;
	uint32_t current_generation;
	int64_t created_ms;
	int64_t expires_ms; /* 0: does not end */
	char account[FOB_ACCOUNT_SIZE];
	char last4[FOB_LAST4_SIZE];
	char detail[FOB_DETAIL_SIZE]; /* why not, for people */
};

int fob_verify(struct fob_client *, const struct fob_verify_request *, struct fob_verification *, struct fob_error *);

/*
 * Called exactly once per accepted call, on a thread of the library, or on the one that is in fob_client_free(), and
 * never from within the call that was accepted: return soon, and call only asynchronous functions.
 * ${fault} is 0 or a negative FOB_E...; ${v} is never NULL (zeroed on a fault), ${error} is never NULL; both are
 * borrowed until the callback returns.
 */
typedef void (*fob_verify_cb)(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error);

/* Returns 0: ${cb} will be called. Otherwise it will not. */
int fob_verify_async(struct fob_client *, const struct fob_verify_request *, fob_verify_cb cb, void *arg);

/*
 * fob_verify_batch(client, requests, n, timeout_ms, results, faults, error):
 * Verify 1 to FOB_BATCH_MAX keys in one message. ${results}[i] and ${faults}[i] answer ${requests}[i], whose own
 * timeout_ms is not looked at. Returns 0 when the batch was answered; then each item still has its own fault or 0.
 * When it was not, every fault is the returned one.
 */
int fob_verify_batch(struct fob_client *, const struct fob_verify_request *requests, size_t n, uint32_t timeout_ms,
    struct fob_verification *results, int *faults, struct fob_error *);

typedef void (*fob_verify_batch_cb)(void *arg, int fault, const struct fob_verification *results, const int *faults,
    size_t n, const struct fob_error *error);
int fob_verify_batch_async(struct fob_client *, const struct fob_verify_request *requests, size_t n,
    uint32_t timeout_ms, fob_verify_batch_cb cb, void *arg);

/* True for FOB_VALID and nothing else; false for NULL. */
bool fob_allows(const struct fob_verification *);

/*
 * fob_http_status(fault, verdict):
 * The HTTP status for the end user: 200 VALID; 401 for a key that does not authenticate (MALFORMED, NOT_FOUND, EXPIRED,
 * REVOKED, WRONG_ENVIRONMENT, and every verdict that is not known); 403 for SUSPENDED and FORBIDDEN; 503 for any fault
 * (the key was not judged), but 500 for FOB_EINVALID_ARGUMENT and the like that retrying cannot mend.
 */
int fob_http_status(int fault, enum fob_verdict verdict);

/* ---- administration (an admin listener) ---- */

struct fob_key {
	enum fob_environment environment;
	enum fob_kind kind;
	enum fob_key_state state;
	uint32_t generation;
	int64_t created_ms;
	int64_t expires_ms;
	int64_t ended_ms;
	int64_t last_used_ms; /* to the minute; 0: never seen */
	char account[FOB_ACCOUNT_SIZE];
	char last4[FOB_LAST4_SIZE];
};

/* Wipe with fob_wipe() as soon as the secret has been handed over. It cannot be had again. */
struct fob_new_key {
	struct fob_key key;
	char secret[FOB_SECRET_SIZE];
};

struct fob_account {
	enum fob_environment environment;
	bool suspended;
	uint32_t secret_generation;
	uint32_t publishable_generation;
	uint32_t keys_in_grace;
	int64_t created_ms;
	int64_t suspended_ms;
	char account[FOB_ACCOUNT_SIZE];
};

struct fob_event {
	uint64_t sequence;
	int64_t time_ms;
	enum fob_event_type type;
	enum fob_kind kind;
	uint32_t generation;
	int64_t expires_ms;
	char account[FOB_ACCOUNT_SIZE];
	char last4[FOB_LAST4_SIZE];
};

/*
 * What every mutation takes. libfob makes a token from the system's CSPRNG and resends under it until the deadline, so
 * a lost connection never applies a change twice. To go on after a crash of your own, or after
 * FOB_EDEADLINE_EXCEEDED, give the token yourself (FOB_TOKEN_LEN random bytes, kept secret) and call again with it and
 * the same arguments within 24 hours: the same reply comes back, secret included.
 */
struct fob_mutation {
	enum fob_environment environment; /* FOB_LIVE or FOB_TEST */
	const char *account;
	const void *token;   /* NULL: made by libfob; else FOB_TOKEN_LEN bytes */
	uint32_t timeout_ms; /* 0: the client's */
};

struct fob_created_account {
	struct fob_account account;
	struct fob_new_key secret_key;
	struct fob_new_key publishable_key;
};

struct fob_roll {
	struct fob_mutation mutation;
	enum fob_kind kind;             /* FOB_KIND_ANY or FOB_SECRET: only secret keys roll */
	uint32_t grace_s;               /* FOB_GRACE_DEFAULT_S, or 0 to FOB_GRACE_MAX_S */
	uint32_t expected_generation;   /* 0: any */
	const void *authorizing_secret; /* NULL: the listener's role authorises */
	size_t authorizing_secret_len;
};

struct fob_rolled_key {
	struct fob_new_key new_key;
	struct fob_key old_key; /* generation 0: there was none, the account was imported without a secret key */
};

struct fob_revoke {
	struct fob_mutation mutation;
	enum fob_kind kind;
	uint32_t generation;
};

/*
 * An account of another system. Of its keys only the SHA-256 of the whole secret is given, prefix included, never the
 * secret; they verify as any key from then on, and the secret key's first roll makes it one of Fob's own. An account
 * without a secret key gets one by its first roll, without a publishable one by a later import.
 */
struct fob_import_account {
	const char *account;
	int64_t created_ms;                /* 0: now */
	const uint8_t *secret_sha256;      /* FOB_SHA256_LEN bytes; NULL: no such key */
	const char *secret_last4;          /* 4 letters or digits by which people will call it; NULL without a key */
	const uint8_t *publishable_sha256; /* likewise */
	const char *publishable_last4;
};

/* What became of one. The zero is no success, and so is every number that is not one of the first two. */
enum fob_import_outcome {
	FOB_IMPORT_UNKNOWN = 0,
	FOB_IMPORTED = 1,                /* made, or what was missing was added */
	FOB_IMPORT_UNCHANGED = 2,        /* it was there: an import may be run again */
	FOB_IMPORT_ACCOUNT_CONFLICT = 3, /* the account has had another key of that kind */
	FOB_IMPORT_KEY_CONFLICT = 4,     /* the key is another account's */
	FOB_IMPORT_BAD_ACCOUNT = 5,      /* from here on: it can never be imported as it is */
	FOB_IMPORT_BAD_KEY = 6,
	FOB_IMPORT_BAD_TIME = 7 /* created_ms is negative or in the future */
};

struct fob_import {
	enum fob_environment environment; /* FOB_LIVE or FOB_TEST */
	const struct fob_import_account *accounts;
	size_t n;            /* 1 to FOB_IMPORT_MAX */
	const void *token;   /* as in struct fob_mutation; running an import again with another one does no harm */
	uint32_t timeout_ms; /* 0: the client's */
};

int
fob_create_account(struct fob_client *, const struct fob_mutation *, struct fob_created_account *, struct fob_error *);
int fob_roll_key(struct fob_client *, const struct fob_roll *, struct fob_rolled_key *, struct fob_error *);
int fob_revoke_key(struct fob_client *, const struct fob_revoke *, struct fob_key *, struct fob_error *);
int fob_suspend_account(struct fob_client *, const struct fob_mutation *, struct fob_account *, struct fob_error *);
int fob_resume_account(struct fob_client *, const struct fob_mutation *, struct fob_account *, struct fob_error *);
/* All of one call is committed together. ${outcomes}[i] answers accounts[i], all FOB_IMPORT_UNKNOWN on a fault. */
int fob_import_accounts(
    struct fob_client *, const struct fob_import *, enum fob_import_outcome *outcomes, struct fob_error *);

/* The asynchronous forms; rules as for fob_verify_cb. The result is wiped when the callback returns. */
typedef void (*fob_created_account_cb)(
    void *arg, int fault, const struct fob_created_account *, const struct fob_error *);
typedef void (*fob_rolled_key_cb)(void *arg, int fault, const struct fob_rolled_key *, const struct fob_error *);
typedef void (*fob_key_cb)(void *arg, int fault, const struct fob_key *, const struct fob_error *);
typedef void (*fob_account_cb)(void *arg, int fault, const struct fob_account *, const struct fob_error *);

typedef void (*fob_import_cb)(
    void *arg, int fault, const enum fob_import_outcome *outcomes, size_t n, const struct fob_error *);

int fob_import_accounts_async(struct fob_client *, const struct fob_import *, fob_import_cb, void *arg);
int fob_create_account_async(struct fob_client *, const struct fob_mutation *, fob_created_account_cb, void *arg);
int fob_roll_key_async(struct fob_client *, const struct fob_roll *, fob_rolled_key_cb, void *arg);
int fob_revoke_key_async(struct fob_client *, const struct fob_revoke *, fob_key_cb, void *arg);
int fob_suspend_account_async(struct fob_client *, const struct fob_mutation *, fob_account_cb, void *arg);
int fob_resume_account_async(struct fob_client *, const struct fob_mutation *, fob_account_cb, void *arg);

/*
 * Lists, a page at a time. Start with a zeroed cursor and go on until it is done:
 *
 *	struct fob_cursor cur = { 0 };
 *	do {
 *		if ((rc = fob_list_accounts(c, FOB_LIVE, 0, &cur, &page, &err)) != 0) ...
 *		for (i = 0; i < page->n; i++) ... page->accounts[i] ...
 *		fob_account_page_free(page);
 *	} while (!cur.done);
 *
 * page_size is 0 for the server's default (100) or at most FOB_PAGE_MAX. On a fault the cursor is as it was.
 */
struct fob_cursor {
	bool done; /* for events: nothing newer right now; the cursor stays good to ask again later */
	uint8_t len;
	uint8_t bytes[126];
};

struct fob_key_page {
	size_t n;
	struct fob_key *keys;
};
struct fob_account_page {
	size_t n;
	struct fob_account *accounts;
};
struct fob_event_page {
	size_t n;
	struct fob_event *events;
};

int fob_list_keys(struct fob_client *, enum fob_environment, const char *account, uint32_t page_size,
    struct fob_cursor *, struct fob_key_page **, struct fob_error *);
int fob_list_accounts(struct fob_client *, enum fob_environment, uint32_t page_size, struct fob_cursor *,
    struct fob_account_page **, struct fob_error *);
/* ${account} NULL: all accounts. */
int fob_list_events(struct fob_client *, enum fob_environment, const char *account, uint32_t page_size,
    struct fob_cursor *, struct fob_event_page **, struct fob_error *);
void fob_key_page_free(struct fob_key_page *);
void fob_account_page_free(struct fob_account_page *);
void fob_event_page_free(struct fob_event_page *);

/* ---- health ---- */

/* ${service}: NULL or "" for all, "fob.v1.Keys", "fob.v1.Admin", "live", "test". */
int fob_check(struct fob_client *, const char *service, uint32_t timeout_ms, enum fob_serving *, struct fob_error *);

struct fob_environment_stats {
	enum fob_environment environment;
	bool serving;
	uint64_t verdicts[16]; /* by enum fob_verdict; what is not known counts under 0 */
	uint64_t mutations, replays, refused, commits, keys_expired, corrupt_records;
	uint64_t accounts, keys, used_bytes, ceiling_bytes, revision, event_sequence;
	uint32_t queue_depth;
	uint32_t pepper_lines; /* that are in use */
	bool rotating;         /* records are being moved to a new pepper; the next three say how far that has come */
	uint64_t rotation_keys;
	uint64_t rotation_records;
	uint64_t rotation_of_records; /* as many as there are now: about the whole way */
};

struct fob_stats {
	char version[32];
	int64_t start_ms;
	uint64_t requests;
	uint64_t codes[17]; /* replies by gRPC code */
	uint32_t connections, open_descriptors, in_flight;
	uint64_t connections_refused, connections_dropped;
	uint64_t unrecognised;    /* FOB_MALFORMED without a prefix that would tell the environment */
	size_t n_environments;
	struct fob_environment_stats environments[2];
};

int fob_stats(struct fob_client *, uint32_t timeout_ms, struct fob_stats *, struct fob_error *);

/* ---- helpers ---- */

/*
 * fob_basic_parse(header, len, secret, secret_len, why):
 * Take the user name out of the value of an Authorization header, as RFC 7617 has it: "Basic" in any case, spaces,
 * base64 of user ":" password; the password must be empty. On success *${secret_len} bytes (at most FOB_BASIC_MAX) are
 * at
 * ${secret}. Otherwise -1, ${secret} wiped and *${why}, if not NULL, a static sentence that says what is wrong.
 */
#define FOB_BASIC_MAX 128
int fob_basic_parse(const char *header, size_t len, char secret[FOB_BASIC_MAX], size_t *secret_len, const char **why);

/*
 * Stable names, never NULL: "VALID", "live", "secret", "grace", "key_rolled", "UNAVAILABLE". Unknown numbers are
 * "UNKNOWN".
 */
const char *fob_verdict_name(enum fob_verdict);
const char *fob_environment_name(enum fob_environment);
const char *fob_kind_name(enum fob_kind);
const char *fob_key_state_name(enum fob_key_state);
const char *fob_event_type_name(enum fob_event_type);
const char *fob_import_outcome_name(enum fob_import_outcome);
const char *fob_fault_name(int fault);

/* Overwrite what held a secret, in a way that the compiler keeps. */
void fob_wipe(void *, size_t);

const char *fob_version(void);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
