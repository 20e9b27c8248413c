/*
 * codec.h - libfob's requests as bytes, and bytes as its results. No socket, no clock, no lock: what fuzzes and unit
 * tests feed directly.
 */
#ifndef CLIENT_CODEC_H
#define CLIENT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "client/fob.h"
#include "proto/c/position.h"

#define CODEC_REQUEST_MAX 65532     /* with its envelope. A server takes 65,536, and does not count the id before it */
#define CODEC_REPLY_MAX (1U << 20)  /* what we take */
#define CODEC_MEMORY_MAX (4U << 20) /* for decoding one reply */

enum method {
	METHOD_VERIFY_KEY,
	METHOD_VERIFY_KEYS,
	METHOD_CREATE_ACCOUNT,
	METHOD_ROLL_KEY,
	METHOD_REVOKE_KEY,
	METHOD_SUSPEND_ACCOUNT,
	METHOD_RESUME_ACCOUNT,
	METHOD_LIST_KEYS,
	METHOD_LIST_ACCOUNTS,
	METHOD_LIST_EVENTS,
	METHOD_HEALTH,
	METHOD_STATS,
	METHOD_IMPORT_ACCOUNTS,
	METHOD_READ_BACKUP,
	METHOD_CLUSTER_INIT,
	METHOD_CLUSTER_FORGET,
	METHOD_CLUSTER_STATUS
};

/* "fob.v1.Keys/VerifyKey" and so on: what the envelope calls ${method}. */
const char *codec_method_name(enum method method);

/* The bytes of a request's inner message. All zero: none. They may hold secrets, so freeing wipes them. */
struct codec_body {
	uint8_t *p;
	size_t len;
};
void codec_body_free(struct codec_body *body);

/*
 * codec_encode_...(..., body, error):
 * Check the arguments, which are of this version's size (sized.h), and write the request's inner message to ${body},
 * which the caller frees. ${token} is FOB_TOKEN_LEN bytes. Whether an account or an operation is well formed, and
 * whether a grace is too long, is left to the server.
 * Returns: 0; FOB_EINVALID_ARGUMENT for what cannot be put into a message; FOB_EINTERNAL out of memory.
 */
int codec_encode_verify_batch(
    const struct fob_verify_request *const *requests, size_t n, struct codec_body *body, struct fob_error *error);
/*
 * One verify, into memory of the caller: check it and say how many bytes it takes, then write them. As an item of a
 * VerifyKeys it takes codec_item_size(), and codec_item_write() returns where the next one goes: items one after the
 * other are the body of a VerifyKeys.
 */
int codec_verify_size(const struct fob_verify_request *request, size_t *len, struct fob_error *error);
void codec_verify_write(const struct fob_verify_request *request, uint8_t *to);
size_t codec_item_size(size_t len);
uint8_t *codec_item_write(const uint8_t *item, size_t len, uint8_t *to);
/* METHOD_CREATE_ACCOUNT, METHOD_SUSPEND_ACCOUNT or METHOD_RESUME_ACCOUNT. */
int codec_encode_account(enum method method, const struct fob_account_request *request, const uint8_t *token,
    struct codec_body *body, struct fob_error *error);
int codec_encode_roll(
    const struct fob_roll_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error);
int codec_encode_revoke(
    const struct fob_revoke_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error);
/* The accounts of ${request} are as its user made them: account_size apart, each of its own size. */
int codec_encode_import(
    const struct fob_import_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error);
/* METHOD_LIST_KEYS, METHOD_LIST_ACCOUNTS (whose account is not looked at) or METHOD_LIST_EVENTS. */
int codec_encode_list(enum method method, const struct fob_list_request *request, const struct fob_cursor *cursor,
    struct codec_body *body, struct fob_error *error);
int codec_encode_backup(const struct fob_backup_request *request, struct codec_body *body, struct fob_error *error);
int codec_encode_health(const char *service, struct codec_body *body, struct fob_error *error);
int codec_encode_stats(struct codec_body *body, struct fob_error *error);
int codec_encode_cluster_init(const struct fob_cluster_init_request *request, const uint8_t *token,
    struct codec_body *body, struct fob_error *error);
int codec_encode_cluster_forget(
    const struct fob_cluster_forget_request *request, struct codec_body *body, struct fob_error *error);
int codec_encode_cluster_status(
    const struct fob_cluster_status_request *request, struct codec_body *body, struct fob_error *error);

/*
 * The positions that a whole reply tells, be it a fault or not: live, test. Returns: whether there are any; ${told} is then
 * filled.
 */
bool codec_decode_positions(const uint8_t *reply, size_t len, struct position told[2]);

/*
 * codec_decode_...(reply, len, ..., out, error):
 * Read a whole reply, envelope and inner message. Nothing in it is trusted: text that does not fit its array, an id
 * that is none, a missing sub-message, a number that does not fit its field, a VALID verdict that contradicts itself
 * or the request, all are FOB_EINTERNAL; a number of an enum that is not known becomes its zero, which denies. Text for
 * people is cut and made printable.
 * Returns: 0; the negated code of the reply; FOB_EUNKNOWN; FOB_EINTERNAL. On a fault ${out} is zeroed, and ${error}
 *          says what the server said.
 */
int codec_decode_verify(const uint8_t *reply, size_t len, enum fob_environment required, struct fob_verification *out,
    struct fob_error *error);
/*
 * Each item to a place of its own, with the reason of its own fault; one whose ${fault} is NULL is passed over. When
 * all of the reply is a fault, the items are left as they are.
 */
struct codec_item {
	enum fob_environment required;
	struct fob_verification *result;
	int *fault;
	struct fob_error *error; /* NULL: not wanted. Touched on a fault only */
};
int codec_decode_verify_items(
    const uint8_t *reply, size_t len, const struct codec_item *items, size_t n, struct fob_error *error);
/* Freed by the functions below, which wipe them. */
int codec_decode_created(const uint8_t *reply, size_t len, struct fob_created_account **out, struct fob_error *error);
int codec_decode_rolled(const uint8_t *reply, size_t len, struct fob_rolled_key **out, struct fob_error *error);
void codec_created_free(struct fob_created_account *created);
void codec_rolled_free(struct fob_rolled_key *rolled);
int codec_decode_key(const uint8_t *reply, size_t len, struct fob_key *out, struct fob_error *error);
int codec_decode_account(
    enum method method, const uint8_t *reply, size_t len, struct fob_account *out, struct fob_error *error);
/* ${out} has ${n} items. */
int
codec_decode_import(const uint8_t *reply, size_t len, size_t n, enum fob_import_outcome *out, struct fob_error *error);
/* One allocation, to be freed with free(). */
int codec_decode_backup(const uint8_t *reply, size_t len, struct fob_backup_part **out, struct fob_error *error);
int codec_decode_health(const uint8_t *reply, size_t len, enum fob_health_status *out, struct fob_error *error);
/* One allocation, to be freed with free(). */
int codec_decode_stats(const uint8_t *reply, size_t len, struct fob_stats **out, struct fob_error *error);
int
codec_decode_cluster_init(const uint8_t *reply, size_t len, struct fob_cluster_identity *out, struct fob_error *error);
int codec_decode_cluster_forget(const uint8_t *reply, size_t len, struct fob_error *error);
/* One allocation, to be freed with free(). */
int
codec_decode_cluster_status(const uint8_t *reply, size_t len, struct fob_cluster_status **out, struct fob_error *error);

/*
 * A page of any list, by METHOD_LIST_...: one allocation, to be freed with free(). ${page_size} is what was asked for;
 * ${cursor} is moved on, and left alone on a fault, when *${out} is NULL.
 */
union codec_page {
	struct fob_key_page keys;
	struct fob_account_page accounts;
	struct fob_event_page events;
};
int codec_decode_page(enum method method, const uint8_t *reply, size_t len, uint32_t page_size,
    struct fob_cursor *cursor, union codec_page **out, struct fob_error *error);

#endif
