/*
 * fob.h - libfob, the client library of Fob: whose API key is this, and may it do that?
 *
 *	struct fob_options *o = fob_options_new();
 *	struct fob_client *c;
 *	struct fob_verification v = { FOB_VERIFICATION_INIT };
 *	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .authorization = header,
 *	    .authorization_len = n, .operation = "charges.create" };
 *
 *	if (fob_options_set_address(o, "ipc:///run/fob/verify.sock") == 0 &&
 *	    fob_client_new(o, &c, NULL) == 0 && fob_verify(c, &r, &v, NULL) == 0 &&
 *	    fob_allows(&v))
 *		serve(v.account);
 *
 * Two things never mix. A fault: the call returned a negative number, and nothing is known of the key. A
 * verdict: the call returned 0, and the answer may be no. Only FOB_VERDICT_VALID lets a request through;
 * fob_allows() tests for it.
 *
 * These rules hold unless a function says otherwise.
 *
 * Returns:   0, or a negative FOB_E... fault. On a fault every output is zeroed (a zeroed verification denies)
 *            and every output pointer is NULL.
 * Errors:    the last argument, if not NULL, is filled on a fault and emptied otherwise. Its text never holds a
 *            secret.
 * Units:     times are milliseconds since the Unix epoch, UTC; 0 is none. Durations carry their unit in their
 *            name.
 * Strings:   end with a NUL. Secrets and headers come with a length and need no NUL.
 * Ownership: arguments are borrowed until the call returns; an asynchronous call copies what it needs. What libfob
 *            allocates is freed by the function that ends in _free, which takes NULL.
 * Names:     the constants of an enum carry its name: FOB_VERDICT_VALID is of enum fob_verdict. Faults are
 *            FOB_E..., as errno's values are E....
 *
 * Structs and the ABI
 *
 * A struct that the caller makes starts with its size and is initialised with the macro of its name:
 *
 *	struct fob_roll_request r = { FOB_ROLL_REQUEST_INIT,
 *	    .environment = FOB_ENVIRONMENT_LIVE };
 *
 * (In C++ before C++20: "fob_roll_request r = {}; r.size = sizeof(r);".) A member that is not named is zero, and zero
 * always means the default.
 *
 * - New members are added at the end only, and their zero means what was done before they existed.
 * - A program that was built with an older fob.h works with a newer libfob: the members that it does not know
 *   count as zero in what it gives, and are left out of what it gets.
 * - A program that was built with a newer fob.h works with an older libfob while it leaves the new members zero.
 *   One that sets them is refused with FOB_EINVALID_ARGUMENT; a new member of a result stays as the caller left it.
 * - A size of 0, or any other that no version can have, is refused with FOB_EINVALID_ARGUMENT.
 * - Structs that libfob makes are handed out by pointer, several of them as an array of pointers, and start with
 *   their size, too.
 * - struct fob_error and struct fob_cursor have a fixed size and are not initialised by a macro.
 * - Numbers of enums do not change. New ones may be added: treat a number that you do not know as the enum's zero.
 * - Until version 1.0 a release may break these rules. It then changes the symbol version (FOB_0.2 in libfob.map),
 *   so that a program built for an older one does not start, rather than misbehave. The shared library stays
 *   libfob.so.0. From 1.0 on it is libfob.so.1, and only a new soname breaks them.
 *
 * Threads, sockets, processes
 *
 * Any number of threads may use a client at once. Nothing is printed, no signal handler is installed, SIGPIPE is not
 * raised, and there is no global state.
 *
 * Threads:   synchronous calls are done by their callers' own threads. The first asynchronous call, or a state
 *            callback, starts the client's one thread, which runs with all signals blocked until fob_client_free().
 *            In loop mode there is no such thread; a host name that has to be resolved again is resolved on a
 *            thread that ends with it. So a client has at most one thread, and none for synchronous use only or in
 *            loop mode with ipc or numeric addresses.
 * Sockets:   one connection, shared by all calls, to the address of the list that is in use, and one to each
 *            environment's own address. A process with one client and one address counts as one of fobd's 8,192
 *            connections. Besides, a client has at most three descriptors (epoll, timerfd, eventfd).
 * fork:      a client does not survive fork(). A child may make clients of its own; it must not use or free its
 *            parent's.
 * Unloading: once all clients are freed the library can be unloaded with dlclose().
 */
#ifndef FOB_H
#define FOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is declared here is what the library exports; everything else in it is built hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* The version of this header; fob_version() and fob_version_number() are the library's. */
#define FOB_VERSION_MAJOR 0
#define FOB_VERSION_MINOR 2
#define FOB_VERSION_PATCH 0
#define FOB_VERSION "0.2.0"
/* For comparing: 1.2.3 is 1002003. */
#define FOB_VERSION_NUMBER (FOB_VERSION_MAJOR * 1000000 + FOB_VERSION_MINOR * 1000 + FOB_VERSION_PATCH)

/* Sizes, terminating NUL included. */
#define FOB_ACCOUNT_SIZE 65
#define FOB_LAST4_SIZE 5
#define FOB_PEER_SIZE 65
#define FOB_ON_BEHALF_OF_SIZE 65
#define FOB_SECRET_SIZE 48 /* 8 of prefix, 30 random, 6 checksum */
#define FOB_DETAIL_SIZE 128

#define FOB_TOKEN_LEN 32
#define FOB_SHA256_LEN 32
#define FOB_TRACEPARENT_LEN 55
#define FOB_BATCH_MAX 256
#define FOB_IMPORT_MAX 256
#define FOB_PAGE_MAX 1000
#define FOB_ADDRESSES_MAX 8
#define FOB_TIMEOUT_MAX_MS 60000
#define FOB_GRACE_MAX_S 86400
#define FOB_GRACE_NONE_S UINT32_MAX /* the old key ends at once */

/*
 * A fault is the negated gRPC status code of the reply, or libfob's own under the same name.
 * https://grpc.io/docs/guides/status-codes/
 */
enum fob_fault {
	FOB_ECANCELLED = -1,          /* by fob_cancel() or fob_client_free(); a change may or may not have been made */
	FOB_EUNKNOWN = -2,            /* the reply carries a code that this library does not know */
	FOB_EINVALID_ARGUMENT = -3,   /* the request can never succeed as it is */
	FOB_EDEADLINE_EXCEEDED = -4,  /* no answer in time, or lost: a change may or may not have been made */
	FOB_ENOT_FOUND = -5,          /* no such account, key, method or call */
	FOB_EALREADY_EXISTS = -6,     /* the account exists; the token was used for another request */
	FOB_EPERMISSION_DENIED = -7,  /* not on this listener; not with this secret */
	FOB_ERESOURCE_EXHAUSTED = -8, /* a limit; the message says which and when to try again */
	FOB_EFAILED_PRECONDITION = -9,
	FOB_EABORTED = -10, /* expected_generation is not the current one */
	FOB_EOUT_OF_RANGE = -11,
	FOB_EUNIMPLEMENTED = -12, /* the server does not know the method */
	FOB_EINTERNAL = -13,      /* a bug, or out of memory; or a reply that could not be decoded */
	FOB_EUNAVAILABLE = -14,   /* not connected, or the store of that environment has failed */
	FOB_EDATA_LOSS = -15,
	FOB_EUNAUTHENTICATED = -16
};

enum fob_environment { FOB_ENVIRONMENT_ANY = 0, FOB_ENVIRONMENT_LIVE = 1, FOB_ENVIRONMENT_TEST = 2 };
enum fob_kind { FOB_KIND_ANY = 0, FOB_KIND_SECRET = 1, FOB_KIND_PUBLISHABLE = 2 };

/* The zero denies, and so does every number that is not FOB_VERDICT_VALID. */
enum fob_verdict {
	FOB_VERDICT_DENIED = 0,
	FOB_VERDICT_VALID = 1,
	FOB_VERDICT_MALFORMED = 2,
	FOB_VERDICT_NOT_FOUND = 3,
	FOB_VERDICT_EXPIRED = 4,
	FOB_VERDICT_REVOKED = 5,
	FOB_VERDICT_SUSPENDED = 6,
	FOB_VERDICT_WRONG_ENVIRONMENT = 7,
	FOB_VERDICT_FORBIDDEN = 8
};

enum fob_key_state {
	FOB_KEY_STATE_UNKNOWN = 0,
	FOB_KEY_STATE_CURRENT = 1,
	FOB_KEY_STATE_GRACE = 2,
	FOB_KEY_STATE_EXPIRED = 3,
	FOB_KEY_STATE_REVOKED = 4
};

enum fob_event_type {
	FOB_EVENT_TYPE_UNKNOWN = 0, /* one that only a newer server has; its account may be empty */
	FOB_EVENT_TYPE_ACCOUNT_CREATED = 1,
	FOB_EVENT_TYPE_KEY_ROLLED = 2,
	FOB_EVENT_TYPE_KEY_EXPIRED = 3,
	FOB_EVENT_TYPE_KEY_REVOKED = 4,
	FOB_EVENT_TYPE_ACCOUNT_SUSPENDED = 5,
	FOB_EVENT_TYPE_ACCOUNT_RESUMED = 6,
	FOB_EVENT_TYPE_ACCOUNT_IMPORTED = 7, /* or, with a kind, a key that an imported account lacked */
	FOB_EVENT_TYPE_RESTORED = 8          /* the database, from a backup; the account is empty */
};

/* Only FOB_HEALTH_STATUS_SERVING is healthy. */
enum fob_health_status {
	FOB_HEALTH_STATUS_UNKNOWN = 0,
	FOB_HEALTH_STATUS_SERVING = 1,
	FOB_HEALTH_STATUS_NOT_SERVING = 2
};

struct fob_error {
	int fault;         /* 0, or what the call returned */
	char message[240]; /* for people and logs */
	uint32_t reserved; /* 0 */
	uint64_t reserved_more[3];
};

/* ---- options ---- */

struct fob_options;
struct fob_client;

/*
 * fob_options_new(), fob_options_free(options):
 * Make and free the options of a client. Each fob_options_set_...() copies its argument, and checks it at once. It
 * returns 0, FOB_EINVALID_ARGUMENT or FOB_EINTERNAL (out of memory).
 * Returns: options with their defaults; NULL when out of memory.
 */
struct fob_options *fob_options_new(void);
void fob_options_free(struct fob_options *options);

/*
 * fob_options_set_address(options, address), fob_options_add_address(options, address):
 * Say where fobd listens. An address is ipc://PATH (107 bytes at most), tcp://HOST:PORT or tls+tcp://HOST:PORT. All
 * addresses that HOST resolves to are tried. One is required, unless each environment has an address of its own.
 *
 * fob_options_set_address() makes a list of one; fob_options_add_address() appends to it, up to FOB_ADDRESSES_MAX. The
 * servers of the list must serve the same databases, or be nodes of one cluster. The client uses the first that it can
 * connect to and stays there; when that connection is lost it starts with the first again. When a server answers a verify
 * or a change with UNAVAILABLE, as a node does that has lost touch with its cluster, the client goes on to the next one
 * with all calls; it asks each server at most once for a call, within the call's deadline, and stays where it is when
 * none could answer.
 *
 * A client never goes back to an older state: a verify or a list that begins when another call of the same client has
 * returned, or its callback was called, is answered from a state of its environment that is at least as new, whichever
 * node of the cluster answers. A node that is behind says UNAVAILABLE. Two clients do not know what the other has seen.
 */
int fob_options_set_address(struct fob_options *options, const char *address);
int fob_options_add_address(struct fob_options *options, const char *address);

/*
 * fob_options_set_environment_address(options, environment, address):
 * Give one environment an address of its own. So live and test can be two fobd, as two users, on two sockets. A verify
 * goes where the prefix of its key says, and a batch is split. A key without a prefix, and a call that names no
 * environment, go to the list of addresses, or to live's address where there is no list.
 */
int
fob_options_set_environment_address(struct fob_options *options, enum fob_environment environment, const char *address);

/*
 * fob_options_set_tls_ca(options, ca_file), fob_options_set_tls_certificate(options, cert_file, key_file),
 * fob_options_set_tls_server_name(options, name):
 * Set the files of tls+tcp addresses. They are PEM files: the CA that the server's certificate is checked against,
 * which is required, and the client's own certificate and key. ${name} is expected in the server's certificate;
 * default: the host of the address.
 */
int fob_options_set_tls_ca(struct fob_options *options, const char *ca_file);
int fob_options_set_tls_certificate(struct fob_options *options, const char *cert_file, const char *key_file);
int fob_options_set_tls_server_name(struct fob_options *options, const char *name);

/*
 * fob_options_set_timeout_ms(options, timeout_ms):
 * Set the deadline of calls that name none. It is 1 to FOB_TIMEOUT_MAX_MS. Default: 5,000.
 */
int fob_options_set_timeout_ms(struct fob_options *options, uint32_t timeout_ms);

/*
 * fob_options_set_connect_wait_ms(options, wait_ms):
 * Set how long a call waits for a connection. A call that has waited so long ends with FOB_EUNAVAILABLE. 1 to
 * FOB_TIMEOUT_MAX_MS. Default: until its deadline. A TLS handshake that fails ends the call at once.
 */
int fob_options_set_connect_wait_ms(struct fob_options *options, uint32_t wait_ms);

/*
 * fob_options_set_fail_fast(options, fail_fast):
 * Let calls end at once while the server is down. From when an attempt to connect has failed until one succeeds, calls
 * end with FOB_EUNAVAILABLE. They wait for the first attempt of a new client, and for the first one after a connection
 * was lost. Default: off.
 */
int fob_options_set_fail_fast(struct fob_options *options, bool fail_fast);

/*
 * fob_options_set_in_flight(options, messages):
 * Set how many messages are on the wire at once to one server. 1 to 64: so many with verifies, so many changes (64 is
 * fobd's limit for them), and so many others. Default: 64.
 */
int fob_options_set_in_flight(struct fob_options *options, unsigned messages);

/*
 * fob_options_set_queue(options, calls):
 * Set how many calls may wait for their turn on the wire. 0 to 1,048,576; one more is refused with
 * FOB_ERESOURCE_EXHAUSTED. Default: 4,096. Single verifies that wait travel together, up to FOB_BATCH_MAX in one
 * message. Each keeps its own deadline, verdict and fault, and none waits while it could be sent.
 */
int fob_options_set_queue(struct fob_options *options, unsigned calls);

/*
 * fob_options_set_loop(options, loop):
 * Let the program's event loop drive the client. In this loop mode (libevent, libuv, epoll) every callback is called
 * from fob_client_dispatch(). Default: off.
 */
int fob_options_set_loop(struct fob_options *options, bool loop);

enum fob_connection_state { FOB_CONNECTION_STATE_LOST = 0, FOB_CONNECTION_STATE_MADE = 1 };

/*
 * fob_options_set_state_callback(options, cb, arg):
 * Be told when a connection was made or lost. ${cb} is called then, and each time that an attempt to make the first
 * connection has failed, on the thread of other callbacks and under their rules (see "Synchronous and asynchronous
 * calls"). ${address} is the one that was given to the options. ${reason} is never NULL; it has a message when the
 * state is LOST.
 */
typedef void (*fob_state_cb)(
    void *arg, const char *address, enum fob_connection_state state, const struct fob_error *reason);
int fob_options_set_state_callback(struct fob_options *options, fob_state_cb cb, void *arg);

/* ---- client ---- */

/*
 * fob_client_new(options, client, error):
 * Make a client. It is for the servers that ${options} name; the options can be freed afterwards. Host names are
 * resolved, which may take as long as the resolver takes. The client connects by itself, and again when a connection
 * is lost, for as long as it lives. A server that is down is no error here: calls wait for it until their deadline.
 */
int fob_client_new(const struct fob_options *options, struct fob_client **client, struct fob_error *error);

/*
 * fob_client_free(client):
 * Free a client. Every call that is under way ends with FOB_ECANCELLED. Returns when the last callback has returned.
 * Threads: not from within a callback, and no other thread may be in a call of this client or enter one.
 */
void fob_client_free(struct fob_client *client);

/*
 * fob_client_fd(client), fob_client_dispatch(client):
 * Drive a client from an event loop. In loop mode the program watches the descriptor of fob_client_fd() for reading,
 * and calls fob_client_dispatch() when it is readable. The descriptor stays the same until fob_client_free(), and is
 * not to be read, written or closed. It becomes readable for deadlines, too, so no timer is needed.
 * fob_client_dispatch() does all that can be done without waiting and calls the callbacks of what has ended. A
 * dispatch that comes late makes deadlines late; it never makes a verdict wrong.
 * Threads:  one at a time, and not from within a callback.
 * Returns:  fob_client_fd(): the descriptor. fob_client_dispatch(): how many callbacks it has called, 0 or more.
 *           Both: FOB_EFAILED_PRECONDITION when the client is not in loop mode; fob_client_dispatch() also from within
 *           a callback.
 */
int fob_client_fd(const struct fob_client *client);
int fob_client_dispatch(struct fob_client *client);

/*
 * Synchronous and asynchronous calls
 *
 * A synchronous call returns when it has an answer or its deadline has passed. It is refused with
 * FOB_EFAILED_PRECONDITION in loop mode, and from within a callback of the same client.
 *
 * An asynchronous call, name_async(client, request, ..., cb, arg, call, error), returns at once. When it returns 0,
 * the callback is called exactly once, never from within the call itself: on the client's thread, from within
 * fob_client_dispatch() in loop mode, or from within fob_client_free(). When it returns a fault, the callback is not
 * called. ${call}, if not NULL, is set to the call's number, which is never 0, before the callback can be called.
 *
 * A callback should return soon. It may make asynchronous calls. Its arguments are borrowed until it returns: ${fault}
 * is 0 or a negative FOB_E..., ${error} is never NULL, and a result is NULL on a fault unless its callback says
 * otherwise.
 *
 * Each request has these two members:
 * timeout_ms:  the deadline, from now; 0 is the client's. At most FOB_TIMEOUT_MAX_MS.
 * traceparent: NULL, or a W3C traceparent of FOB_TRACEPARENT_LEN characters, which fobd logs with what it does. One that
 *              is not of that form is left out. Verifies that travel together carry the first one that there is.
 */

/*
 * fob_cancel(client, call):
 * End an asynchronous call. It ends with FOB_ECANCELLED. Its callback is called as always, and not from within
 * fob_cancel(). A change that was on its way may be made all the same: give a token and call again to find out.
 * Returns: 0; FOB_ENOT_FOUND when there is no such call, or it has ended and its callback has been or is being called.
 */
int fob_cancel(struct fob_client *client, uint64_t call);

/* ---- verify ---- */

struct fob_verify_request {
	size_t size;
	/*
	 * Exactly one of the two, the other NULL: a key, or the raw value of an Authorization header ("Basic ..."). For
	 * a request without that header give "" and length 0: the verdict is MALFORMED, so 401.
	 */
	const void *secret;
	size_t secret_len;
	const char *authorization;
	size_t authorization_len;
	const char *operation;                    /* NULL: authenticate only */
	enum fob_environment require_environment; /* ANY: either */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_VERIFY_REQUEST_INIT .size = sizeof(struct fob_verify_request)

struct fob_verification {
	size_t size;
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
#define FOB_VERIFICATION_INIT .size = sizeof(struct fob_verification)

/*
 * fob_verify(client, request, v, error):
 * Ask whose key it is, and whether it may do that. A key that is denied is a successful call: look at ${v} with
 * fob_allows(). On a fault nothing is known of the key, and ${v} denies.
 */
int fob_verify(struct fob_client *client, const struct fob_verify_request *request, struct fob_verification *v,
    struct fob_error *error);
/* ${v} is never NULL; on a fault it denies. */
typedef void (*fob_verify_cb)(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error);
int fob_verify_async(struct fob_client *client, const struct fob_verify_request *request, fob_verify_cb cb, void *arg,
    uint64_t *call, struct fob_error *error);

struct fob_verify_batch_request {
	size_t size;
	size_t request_size; /* of one of requests, as by the _INIT macro */
	size_t result_size;  /* of one of the results, likewise */
	const struct fob_verify_request *requests;
	size_t n;
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_VERIFY_BATCH_REQUEST_INIT \
	.size = sizeof(struct fob_verify_batch_request), .request_size = sizeof(struct fob_verify_request), \
	.result_size = sizeof(struct fob_verification)

/*
 * fob_verify_batch(client, request, results, faults, error):
 * Verify several keys at once. 1 to FOB_BATCH_MAX keys travel in one message, or in one to each server where
 * environments have addresses of their own. ${results}[i] and ${faults}[i] answer requests[i], whose own timeout_ms
 * and traceparent are not looked at. ${results} need no _INIT: result_size says what they are.
 * Returns: 0 when any of the batch was answered; then each item has its own fault, or 0. Otherwise every item has a
 *          fault, and one of them is returned.
 */
int fob_verify_batch(struct fob_client *client, const struct fob_verify_batch_request *request,
    struct fob_verification *results, int *faults, struct fob_error *error);
/* ${results} and ${faults} have ${n} items and are never NULL; the results are result_size apart. */
typedef void (*fob_verify_batch_cb)(void *arg, int fault, const struct fob_verification *results, const int *faults,
    size_t n, const struct fob_error *error);
int fob_verify_batch_async(struct fob_client *client, const struct fob_verify_batch_request *request,
    fob_verify_batch_cb cb, void *arg, uint64_t *call, struct fob_error *error);

/*
 * fob_allows(v):
 * Say whether a verification lets a request through.
 * Returns: true for FOB_VERDICT_VALID and nothing else; false for NULL.
 */
bool fob_allows(const struct fob_verification *v);

/*
 * fob_http_status(fault, verdict):
 * Choose the HTTP status for the end user.
 * Returns: 200 for VALID; 401 for a key that does not authenticate (MALFORMED, NOT_FOUND, EXPIRED, REVOKED,
 *          WRONG_ENVIRONMENT, and every verdict that is not known); 403 for SUSPENDED and FORBIDDEN; 503 for any fault
 *          (nothing is known of the key), but 500 for FOB_EINVALID_ARGUMENT and others that a retry cannot help.
 */
int fob_http_status(int fault, enum fob_verdict verdict);

/* ---- administration (an admin listener) ---- */

struct fob_key {
	size_t size;
	enum fob_environment environment;
	enum fob_kind kind;
	enum fob_key_state state;
	uint32_t generation;
	int64_t created_ms;
	int64_t expires_ms;
	int64_t ended_ms;
	int64_t last_used_ms; /* to the minute, and not before created_ms; 0: never seen */
	char account[FOB_ACCOUNT_SIZE];
	char last4[FOB_LAST4_SIZE];
};
#define FOB_KEY_INIT .size = sizeof(struct fob_key)

struct fob_account {
	size_t size;
	enum fob_environment environment;
	bool suspended;
	uint32_t secret_generation;
	uint32_t publishable_generation;
	uint32_t keys_in_grace;
	int64_t created_ms;
	int64_t suspended_ms;
	char account[FOB_ACCOUNT_SIZE];
};
#define FOB_ACCOUNT_INIT .size = sizeof(struct fob_account)

struct fob_event {
	size_t size;
	uint64_t sequence;
	int64_t time_ms;
	enum fob_event_type type;
	enum fob_kind kind;
	uint32_t generation;
	int64_t expires_ms;
	char account[FOB_ACCOUNT_SIZE];
	char last4[FOB_LAST4_SIZE];
	/*
	 * Who asked for the change: over TCP ${address} is set, and over TLS ${certificate}, the common name in it; over a
	 * unix socket ${has_user} is. None of them: nobody asked (the end of a grace, a restore), or the server did not keep
	 * it.
	 */
	uint32_t uid, pid; /* ${pid} is 0 when it is in another PID namespace */
	bool has_user;
	char address[FOB_PEER_SIZE];
	char certificate[FOB_PEER_SIZE];
	char reserved[5]; /* 0 */
	char on_behalf_of[FOB_ON_BEHALF_OF_SIZE]; /* the person whom that peer named, unchecked; empty: nobody */
};

/*
 * Changes
 *
 * The request of each change has these members:
 * environment: LIVE or TEST.
 * account:     1 to 64 characters of [A-Za-z0-9._-].
 * token:       NULL: libfob makes one from the system's CSPRNG and resends under it until the deadline, so that a lost
 *              connection never applies a change twice. To go on after a crash of your own, or after
 *              FOB_EDEADLINE_EXCEEDED, give FOB_TOKEN_LEN random bytes, kept secret, and call again with them and the
 *              same arguments within 24 hours: the same reply comes back, secret included.
 * on_behalf_of: NULL, or the person for whom the caller asks, such as a user who signed in to it: at most 64 printable
 *              ASCII characters without " and \. fobd logs the name and keeps it in the change's event, beside what it
 *              knows of the caller itself. With a token that was used before, the first name stays.
 */

/* Create, suspend or resume an account. */
struct fob_account_request {
	size_t size;
	enum fob_environment environment;
	const char *account;
	const void *token;
	uint32_t timeout_ms;
	const char *traceparent;
	const char *on_behalf_of;
};
#define FOB_ACCOUNT_REQUEST_INIT .size = sizeof(struct fob_account_request)

struct fob_roll_request {
	size_t size;
	enum fob_environment environment;
	const char *account;
	enum fob_kind kind;             /* ANY or SECRET: only secret keys roll */
	uint32_t grace_s;               /* 0: fobd's default, 24 hours; 1 to FOB_GRACE_MAX_S; FOB_GRACE_NONE_S */
	uint32_t expected_generation;   /* 0: any */
	const void *authorizing_secret; /* NULL: the listener's role authorises */
	size_t authorizing_secret_len;
	const void *token;
	uint32_t timeout_ms;
	const char *traceparent;
	const char *on_behalf_of;
};
#define FOB_ROLL_REQUEST_INIT .size = sizeof(struct fob_roll_request)

struct fob_revoke_request {
	size_t size;
	enum fob_environment environment;
	const char *account;
	enum fob_kind kind; /* SECRET or PUBLISHABLE */
	uint32_t generation;
	const void *token;
	uint32_t timeout_ms;
	const char *traceparent;
	const char *on_behalf_of;
};
#define FOB_REVOKE_REQUEST_INIT .size = sizeof(struct fob_revoke_request)

/* A key that was just made, with its secret. It cannot be had again. */
struct fob_new_key {
	size_t size;
	const struct fob_key *key;
	const char *secret; /* at most FOB_SECRET_SIZE, NUL included */
};

/* Results that hold secrets are libfob's to wipe: free them as soon as the secrets have been handed over. */
struct fob_created_account {
	size_t size;
	const struct fob_account *account;
	const struct fob_new_key *secret_key;
	const struct fob_new_key *publishable_key;
};

struct fob_rolled_key {
	size_t size;
	const struct fob_new_key *new_key;
	const struct fob_key *old_key; /* NULL: there was none, the account was imported without a secret key */
};

/*
 * fob_create_account(client, request, created, error), fob_created_account_free(created):
 * Create an account in one environment. It gets a secret and a publishable key, whose secrets are told here only.
 * Returns: 0; FOB_EALREADY_EXISTS.
 */
int fob_create_account(struct fob_client *client, const struct fob_account_request *request,
    struct fob_created_account **created, struct fob_error *error);
void fob_created_account_free(struct fob_created_account *created);
typedef void (*fob_created_account_cb)(
    void *arg, int fault, const struct fob_created_account *created, const struct fob_error *error);
int fob_create_account_async(struct fob_client *client, const struct fob_account_request *request,
    fob_created_account_cb cb, void *arg, uint64_t *call, struct fob_error *error);

/*
 * fob_roll_key(client, request, rolled, error), fob_rolled_key_free(rolled):
 * Make a new secret key, and let the old one end. The new key works at once; the old one stays valid for grace_s
 * seconds more, and is then revoked for ever.
 * Returns: 0; FOB_ENOT_FOUND no such account; FOB_EABORTED ${request} expects another generation;
 *          FOB_EPERMISSION_DENIED the authorizing secret is not the current one; FOB_ERESOURCE_EXHAUSTED too many keys
 *          are in grace, the message says when one will have ended.
 */
int fob_roll_key(struct fob_client *client, const struct fob_roll_request *request, struct fob_rolled_key **rolled,
    struct fob_error *error);
void fob_rolled_key_free(struct fob_rolled_key *rolled);
typedef void (*fob_rolled_key_cb)(
    void *arg, int fault, const struct fob_rolled_key *rolled, const struct fob_error *error);
int fob_roll_key_async(struct fob_client *client, const struct fob_roll_request *request, fob_rolled_key_cb cb,
    void *arg, uint64_t *call, struct fob_error *error);

/*
 * fob_revoke_key(client, request, key, error):
 * End one key now, and for ever. ${key} is what it is afterwards.
 * Returns: 0; FOB_ENOT_FOUND no such account or key.
 */
int fob_revoke_key(
    struct fob_client *client, const struct fob_revoke_request *request, struct fob_key *key, struct fob_error *error);
typedef void (*fob_key_cb)(void *arg, int fault, const struct fob_key *key, const struct fob_error *error);
int fob_revoke_key_async(struct fob_client *client, const struct fob_revoke_request *request, fob_key_cb cb, void *arg,
    uint64_t *call, struct fob_error *error);

/*
 * fob_suspend_account(client, request, account, error), fob_resume_account(client, request, account, error):
 * Refuse all keys of an account, and take them again. ${account} is what it is afterwards.
 * Returns: 0; FOB_ENOT_FOUND no such account.
 */
int fob_suspend_account(struct fob_client *client, const struct fob_account_request *request,
    struct fob_account *account, struct fob_error *error);
int fob_resume_account(struct fob_client *client, const struct fob_account_request *request,
    struct fob_account *account, struct fob_error *error);
typedef void (*fob_account_cb)(void *arg, int fault, const struct fob_account *account, const struct fob_error *error);
int fob_suspend_account_async(struct fob_client *client, const struct fob_account_request *request, fob_account_cb cb,
    void *arg, uint64_t *call, struct fob_error *error);
int fob_resume_account_async(struct fob_client *client, const struct fob_account_request *request, fob_account_cb cb,
    void *arg, uint64_t *call, struct fob_error *error);

/*
 * An account of another system. Of its keys only the SHA-256 of the whole secret is given, prefix included, never the
 * secret. They verify as any key from then on; the secret key's first roll replaces it by one that Fob made. An
 * account without a secret key gets one by its first roll, one without a publishable key by a later import.
 */
struct fob_import_account {
	size_t size;
	const char *account;
	int64_t created_ms;                /* 0: now */
	const uint8_t *secret_sha256;      /* FOB_SHA256_LEN bytes; NULL: no such key */
	const char *secret_last4;          /* 4 letters or digits by which people will call it; NULL without a key */
	const uint8_t *publishable_sha256; /* likewise */
	const char *publishable_last4;
};
#define FOB_IMPORT_ACCOUNT_INIT .size = sizeof(struct fob_import_account)

/* What became of an account of an import. The zero is no success, and neither is any number but the first two. */
enum fob_import_outcome {
	FOB_IMPORT_OUTCOME_UNKNOWN = 0,
	FOB_IMPORT_OUTCOME_IMPORTED = 1,         /* made, or what was missing was added */
	FOB_IMPORT_OUTCOME_UNCHANGED = 2,        /* it was there: an import may be run again */
	FOB_IMPORT_OUTCOME_ACCOUNT_CONFLICT = 3, /* the account has had another key of that kind */
	FOB_IMPORT_OUTCOME_KEY_CONFLICT = 4,     /* the key is another account's */
	FOB_IMPORT_OUTCOME_BAD_ACCOUNT = 5,      /* from here on: it can never be imported as it is */
	FOB_IMPORT_OUTCOME_BAD_KEY = 6,
	FOB_IMPORT_OUTCOME_BAD_TIME = 7 /* created_ms is negative or in the future */
};

struct fob_import_request {
	size_t size;
	size_t account_size; /* of one of accounts, as by the _INIT macro */
	enum fob_environment environment;
	const struct fob_import_account *accounts;
	size_t n;          /* 1 to FOB_IMPORT_MAX */
	const void *token; /* running an import again with another one does no harm */
	uint32_t timeout_ms;
	const char *traceparent;
	const char *on_behalf_of;
};
#define FOB_IMPORT_REQUEST_INIT \
	.size = sizeof(struct fob_import_request), .account_size = sizeof(struct fob_import_account)

/*
 * fob_import_accounts(client, request, outcomes, error):
 * Bring accounts and digests of keys from another system. All of one call is committed together. ${outcomes}[i]
 * answers accounts[i] of ${request}; all are UNKNOWN on a fault.
 */
int fob_import_accounts(struct fob_client *client, const struct fob_import_request *request,
    enum fob_import_outcome *outcomes, struct fob_error *error);
/* ${outcomes} has ${n} items and is never NULL. */
typedef void (*fob_import_cb)(
    void *arg, int fault, const enum fob_import_outcome *outcomes, size_t n, const struct fob_error *error);
int fob_import_accounts_async(struct fob_client *client, const struct fob_import_request *request, fob_import_cb cb,
    void *arg, uint64_t *call, struct fob_error *error);

struct fob_list_request {
	size_t size;
	enum fob_environment environment; /* LIVE or TEST */
	const char *account;              /* keys: whose. Events: NULL is all. Not looked at for accounts */
	uint32_t page_size;               /* 0: the server's default, 100. At most FOB_PAGE_MAX */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_LIST_REQUEST_INIT .size = sizeof(struct fob_list_request)

struct fob_cursor {
	bool done; /* for events: nothing newer right now; the cursor stays good to ask again later */
	uint8_t len;
	uint8_t bytes[126];
};

struct fob_key_page {
	size_t size;
	size_t n;
	const struct fob_key *const *keys;
};
struct fob_account_page {
	size_t size;
	size_t n;
	const struct fob_account *const *accounts;
};
struct fob_event_page {
	size_t size;
	size_t n;
	const struct fob_event *const *events;
};

/*
 * fob_list_keys(client, request, cursor, page, error), fob_list_accounts(client, request, cursor, page, error),
 * fob_list_events(client, request, cursor, page, error), fob_key_page_free(page), fob_account_page_free(page),
 * fob_event_page_free(page):
 * List keys, accounts or events, a page at a time. Start with a zeroed cursor and go on until it is done:
 *
 *	struct fob_list_request all = { FOB_LIST_REQUEST_INIT,
 *	    .environment = FOB_ENVIRONMENT_LIVE };
 *	struct fob_cursor cursor = { 0 };
 *	do {
 *		if ((rc = fob_list_accounts(c, &all, &cursor, &page, &err)) != 0)
 *			...
 *		for (i = 0; i < page->n; i++)
 *			... page->accounts[i]->account ...
 *		fob_account_page_free(page);
 *	} while (!cursor.done);
 *
 * A synchronous call moves the cursor on; on a fault the cursor is as it was. An asynchronous call copies the cursor
 * (NULL: from the start) and tells its callback where the list goes on, at ${next}.
 * Returns: 0; FOB_ENOT_FOUND no such account.
 */
int fob_list_keys(struct fob_client *client, const struct fob_list_request *request, struct fob_cursor *cursor,
    struct fob_key_page **page, struct fob_error *error);
int fob_list_accounts(struct fob_client *client, const struct fob_list_request *request, struct fob_cursor *cursor,
    struct fob_account_page **page, struct fob_error *error);
int fob_list_events(struct fob_client *client, const struct fob_list_request *request, struct fob_cursor *cursor,
    struct fob_event_page **page, struct fob_error *error);
void fob_key_page_free(struct fob_key_page *page);
void fob_account_page_free(struct fob_account_page *page);
void fob_event_page_free(struct fob_event_page *page);
/* ${next} is never NULL; on a fault it is the cursor that was given. */
typedef void (*fob_key_page_cb)(void *arg, int fault, const struct fob_key_page *page, const struct fob_cursor *next,
    const struct fob_error *error);
typedef void (*fob_account_page_cb)(void *arg, int fault, const struct fob_account_page *page,
    const struct fob_cursor *next, const struct fob_error *error);
typedef void (*fob_event_page_cb)(void *arg, int fault, const struct fob_event_page *page,
    const struct fob_cursor *next, const struct fob_error *error);
int fob_list_keys_async(struct fob_client *client, const struct fob_list_request *request,
    const struct fob_cursor *cursor, fob_key_page_cb cb, void *arg, uint64_t *call, struct fob_error *error);
int fob_list_accounts_async(struct fob_client *client, const struct fob_list_request *request,
    const struct fob_cursor *cursor, fob_account_page_cb cb, void *arg, uint64_t *call, struct fob_error *error);
int fob_list_events_async(struct fob_client *client, const struct fob_list_request *request,
    const struct fob_cursor *cursor, fob_event_page_cb cb, void *arg, uint64_t *call, struct fob_error *error);

/* ---- backup ---- */

#define FOB_BACKUP_LEN 16

struct fob_backup_request {
	size_t size;
	enum fob_environment environment; /* LIVE or TEST */
	const void *backup;               /* FOB_BACKUP_LEN random bytes, the same in all requests of one backup */
	uint64_t offset;
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_BACKUP_REQUEST_INIT .size = sizeof(struct fob_backup_request)

struct fob_backup_part {
	size_t size;
	uint64_t total; /* bytes of the whole backup; 0: it is still being made */
	size_t len;     /* bytes at ${data}; 0 at the end */
	const uint8_t *data;
	uint8_t sha256[FOB_SHA256_LEN]; /* of the whole backup */
	uint64_t revision;              /* of the database, as it is in the backup */
	uint64_t event_sequence;        /* of the newest event in the backup */
};

/*
 * fob_read_backup(client, request, part, error), fob_backup_part_free(part):
 * Read a backup of a database, a part at a time. It is read from an admin listener. The server makes a consistent copy
 * of the environment's database, marked as a backup, and keeps it until it was read, or for a minute after the last
 * request. It makes one at a time for each environment; another is FOB_ERESOURCE_EXHAUSTED.
 *
 * Choose ${backup} at random, and ask with ${offset} 0 until ${total} is not 0: until then the copy is still being
 * made, so pause between requests. Then ask for the rest, with ${offset} the number of bytes so far, until that is
 * ${total}. The same request gives the same bytes again. The call has no asynchronous form.
 * Returns: 0; FOB_EFAILED_PRECONDITION the server has given the copy up, or was restarted: begin anew under another
 *          ${backup}; FOB_ERESOURCE_EXHAUSTED another backup is being read.
 */
int fob_read_backup(struct fob_client *client, const struct fob_backup_request *request, struct fob_backup_part **part,
    struct fob_error *error);
void fob_backup_part_free(struct fob_backup_part *part);

/* ---- cluster ---- */

#define FOB_CLUSTER_ID_LEN 16
#define FOB_CLUSTER_ADDRESS_SIZE 128
#define FOB_CLUSTER_CLOSED_SIZE 240

struct fob_cluster_init_request {
	size_t size;
	enum fob_environment environment; /* LIVE or TEST */
	bool again;                       /* it is in a cluster whose log is lost: make a new one */
	const void *token;                /* as of a change */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_CLUSTER_INIT_REQUEST_INIT .size = sizeof(struct fob_cluster_init_request)

/* Random bytes, for people to compare. */
struct fob_cluster_identity {
	size_t size;
	uint8_t cluster[FOB_CLUSTER_ID_LEN];
	uint8_t replica[FOB_CLUSTER_ID_LEN]; /* of the node */
};
#define FOB_CLUSTER_IDENTITY_INIT .size = sizeof(struct fob_cluster_identity)

/*
 * fob_cluster_init(client, request, identity, error):
 * Make an environment's database the first node of a new cluster. It is asked for at an admin listener. From then on the
 * environment serves only while fob-cluster, the agent beside fobd, can reach the cluster's log in etcd. With ${again} all
 * other nodes of the cluster have to join anew.
 * Returns: 0; FOB_EFAILED_PRECONDITION the database is in a cluster, and ${again} is not set.
 */
int fob_cluster_init(struct fob_client *client, const struct fob_cluster_init_request *request,
    struct fob_cluster_identity *identity, struct fob_error *error);
typedef void (*fob_cluster_identity_cb)(
    void *arg, int fault, const struct fob_cluster_identity *identity, const struct fob_error *error);
int fob_cluster_init_async(struct fob_client *client, const struct fob_cluster_init_request *request,
    fob_cluster_identity_cb cb, void *arg, uint64_t *call, struct fob_error *error);

struct fob_cluster_forget_request {
	size_t size;
	enum fob_environment environment; /* LIVE or TEST */
	const void *replica;              /* FOB_CLUSTER_ID_LEN bytes: the node's */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_CLUSTER_FORGET_REQUEST_INIT .size = sizeof(struct fob_cluster_forget_request)

/*
 * fob_cluster_forget(client, request, error):
 * Take a node that is off, and will stay off, out of the cluster at once. Changes wait for it no longer. A node that is on
 * may answer with former states for up to its max_staleness: that it is off is the caller's to know.
 * Returns: 0; FOB_ENOT_FOUND there is no such node; FOB_EFAILED_PRECONDITION the database is in no cluster.
 */
int fob_cluster_forget(
    struct fob_client *client, const struct fob_cluster_forget_request *request, struct fob_error *error);
typedef void (*fob_cluster_forget_cb)(void *arg, int fault, const struct fob_error *error);
int fob_cluster_forget_async(struct fob_client *client, const struct fob_cluster_forget_request *request,
    fob_cluster_forget_cb cb, void *arg, uint64_t *call, struct fob_error *error);

struct fob_cluster_status_request {
	size_t size;
	enum fob_environment environment; /* LIVE or TEST */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_CLUSTER_STATUS_REQUEST_INIT .size = sizeof(struct fob_cluster_status_request)

/* A node, as its own row in etcd says. */
struct fob_cluster_node {
	size_t size;
	uint8_t replica[FOB_CLUSTER_ID_LEN];
	uint64_t applied; /* the newest entry of the log that it has acknowledged */
	int64_t wall_ms;  /* its clock, when it last wrote its row */
	uint32_t max_staleness_ms;
	uint32_t pepper_lines;
	bool self;   /* the node that was asked */
	bool marked; /* it keeps changes waiting, and will be removed if it does not come back */
	bool valid;  /* false: the row was not written by a node with this environment's pepper */
	char reserved[5]; /* 0 */
	char address[FOB_CLUSTER_ADDRESS_SIZE]; /* where other nodes reach it */
};

struct fob_cluster_status {
	size_t size;
	uint8_t cluster[FOB_CLUSTER_ID_LEN];
	uint8_t replica[FOB_CLUSTER_ID_LEN]; /* of the node that was asked */
	uint64_t applied; /* the newest entry of the log that its database has */
	uint64_t head;    /* the newest entry that it has heard of */
	int64_t fresh_ms; /* for how long it may answer without hearing of the log again; 0: it does not answer */
	size_t n_nodes;
	const struct fob_cluster_node *const *nodes;
	bool agent_connected;
	char closed[FOB_CLUSTER_CLOSED_SIZE]; /* why it can serve no more before an operator has acted; empty: it can */
	char reserved[7];                     /* 0 */
};

/*
 * fob_cluster_status(client, request, status, error), fob_cluster_status_free(status):
 * Tell what a node knows of its cluster. It is asked for at an admin listener. A node that has lost touch with the cluster
 * answers this as before.
 * Returns: 0; FOB_EFAILED_PRECONDITION the database is in no cluster.
 */
int fob_cluster_status(struct fob_client *client, const struct fob_cluster_status_request *request,
    struct fob_cluster_status **status, struct fob_error *error);
void fob_cluster_status_free(struct fob_cluster_status *status);
typedef void (*fob_cluster_status_cb)(
    void *arg, int fault, const struct fob_cluster_status *status, const struct fob_error *error);
int fob_cluster_status_async(struct fob_client *client, const struct fob_cluster_status_request *request,
    fob_cluster_status_cb cb, void *arg, uint64_t *call, struct fob_error *error);

/* ---- health ---- */

struct fob_health_request {
	size_t size;
	const char *service;              /* NULL or "" for all, "fob.v1.Keys", "fob.v1.Admin", "live", "test" */
	enum fob_environment environment; /* whose address to ask at, where environments have their own */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_HEALTH_REQUEST_INIT .size = sizeof(struct fob_health_request)

/*
 * fob_health(client, request, status, error):
 * Ask whether the server, or a service of it, is serving. Only FOB_HEALTH_STATUS_SERVING is healthy.
 * Returns: 0; FOB_ENOT_FOUND no such service.
 */
int fob_health(struct fob_client *client, const struct fob_health_request *request, enum fob_health_status *status,
    struct fob_error *error);
typedef void (*fob_health_cb)(void *arg, int fault, enum fob_health_status status, const struct fob_error *error);
int fob_health_async(struct fob_client *client, const struct fob_health_request *request, fob_health_cb cb, void *arg,
    uint64_t *call, struct fob_error *error);

struct fob_stats_request {
	size_t size;
	enum fob_environment environment; /* whose address to ask at, where environments have their own */
	uint32_t timeout_ms;
	const char *traceparent;
};
#define FOB_STATS_REQUEST_INIT .size = sizeof(struct fob_stats_request)

struct fob_environment_stats {
	size_t size;
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
	uint64_t failures;            /* times that its database has failed; fobd then opens it anew by itself */
	uint64_t group_sizes[16];     /* commits: [i] of at most 2^i changes, and of more than [i - 1] */
	bool keys_counted;            /* fobd counts the keys after its start; false: keys_by_state is not known yet */
	uint64_t keys_by_state[8];    /* by enum fob_key_state */
	uint64_t superseded_in_use;   /* keys in grace that were valid in a later minute than that of their roll */
	int64_t superseded_in_use_end_ms; /* the soonest end of one of them */
	bool in_cluster;                  /* else what follows is 0 */
	bool cluster_agent_connected;     /* fob-cluster */
	bool cluster_closed;              /* it cannot serve again without being made anew: fob_cluster_status() says why */
	uint32_t cluster_nodes;           /* that this one knows of, itself included */
	uint64_t cluster_applied;         /* the newest entry of the log that its database has */
	uint64_t cluster_head;            /* the newest entry that it has heard of */
	int64_t cluster_fresh_ms;         /* for so long it may answer without hearing of the cluster; 0: UNAVAILABLE */
};

/* What a request is: for counting. */
enum fob_operation_class {
	FOB_OPERATION_CLASS_OTHER = 0, /* refused before its method was known; or one that only a newer server has */
	FOB_OPERATION_CLASS_VERIFY = 1,
	FOB_OPERATION_CLASS_VERIFY_BATCH = 2,
	FOB_OPERATION_CLASS_CHANGE = 3,
	FOB_OPERATION_CLASS_LIST = 4,
	FOB_OPERATION_CLASS_BACKUP = 5,
	FOB_OPERATION_CLASS_HEALTH = 6,
	FOB_OPERATION_CLASS_CLUSTER = 7 /* of fob-cluster, the agent beside fobd: answered when there is something to do */
};
#define FOB_DURATION_BUCKETS 25

struct fob_stats {
	size_t size;
	char version[32];
	int64_t start_ms;
	uint64_t requests;
	uint64_t codes[17]; /* replies by gRPC code */
	uint32_t connections, open_descriptors, in_flight;
	uint64_t connections_refused, connections_dropped;
	uint64_t unrecognised; /* MALFORMED without a prefix that would tell the environment */
	size_t n_environments;
	const struct fob_environment_stats *const *environments;
	/* Replies by enum fob_operation_class, enum fob_environment (ANY: none, or several) and gRPC code. */
	uint64_t answered[16][3][17];
	/*
	 * How long fobd took, by enum fob_operation_class, for VERIFY, VERIFY_BATCH, CHANGE and LIST: [i] counts what took at
	 * most 2^i microseconds, and longer than [i - 1]; the last counts all that took longer. And the sums.
	 */
	uint64_t durations[16][FOB_DURATION_BUCKETS];
	uint64_t durations_ns[16];
};

/*
 * fob_stats(client, request, stats, error), fob_stats_free(stats):
 * Ask the server for its counters and sizes. They count from its start.
 */
int fob_stats(struct fob_client *client, const struct fob_stats_request *request, struct fob_stats **stats,
    struct fob_error *error);
void fob_stats_free(struct fob_stats *stats);
typedef void (*fob_stats_cb)(void *arg, int fault, const struct fob_stats *stats, const struct fob_error *error);
int fob_stats_async(struct fob_client *client, const struct fob_stats_request *request, fob_stats_cb cb, void *arg,
    uint64_t *call, struct fob_error *error);

/* ---- helpers ---- */

#define FOB_BASIC_MAX 128

/*
 * fob_basic_parse(header, len, secret, secret_len, why):
 * Take the key out of the value of an Authorization header. The key is the user name of RFC 7617: "Basic" in any case,
 * spaces, base64 of user ":" password; the password must be empty. On success *${secret_len} bytes (at most
 * FOB_BASIC_MAX) are at ${secret}.
 * Returns: 0; FOB_EINVALID_ARGUMENT: ${secret} is wiped and *${why}, if not NULL, a static sentence that says what is
 *          wrong.
 */
int fob_basic_parse(const char *header, size_t len, char secret[FOB_BASIC_MAX], size_t *secret_len, const char **why);

/*
 * fob_verdict_name(verdict), fob_environment_name(environment), fob_kind_name(kind), fob_key_state_name(state),
 * fob_event_type_name(type), fob_import_outcome_name(outcome), fob_health_status_name(status),
 * fob_operation_class_name(operation_class), fob_fault_name(fault):
 * Name a constant. Names do not change, and are never to be freed.
 * Returns: "VALID", "live", "secret", "grace", "key_rolled", "imported", "SERVING", "verify_batch", "UNAVAILABLE" and
 *          the like; "UNKNOWN" for a number that is not known; never NULL.
 */
const char *fob_verdict_name(enum fob_verdict verdict);
const char *fob_environment_name(enum fob_environment environment);
const char *fob_kind_name(enum fob_kind kind);
const char *fob_key_state_name(enum fob_key_state state);
const char *fob_event_type_name(enum fob_event_type type);
const char *fob_import_outcome_name(enum fob_import_outcome outcome);
const char *fob_health_status_name(enum fob_health_status status);
const char *fob_operation_class_name(enum fob_operation_class operation_class);
const char *fob_fault_name(int fault);

/*
 * fob_wipe(buffer, len):
 * Overwrite what held a secret. The compiler does not leave it out.
 */
void fob_wipe(void *buffer, size_t len);

/*
 * fob_version(), fob_version_number():
 * Tell the version of the library. FOB_VERSION and FOB_VERSION_NUMBER are those of the header.
 * Returns: "1.2.3", and 1002003.
 */
const char *fob_version(void);
int fob_version_number(void);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
