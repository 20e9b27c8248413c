/*
 * admin_json.h - the JSON of the Admin calls: the fields of proto/fob/v1/admin.proto, under its names. Pure.
 *
 * Enums are the words that `fob` prints: "live", "secret", "grace", "key_rolled". Bytes: request_token is 64
 * hexadecimal digits, page_token base64url, a secret the text that it is.
 */
#ifndef HTTP_ADMIN_JSON_H
#define HTTP_ADMIN_JSON_H

#include <jansson.h>

#include "client/fob.h"

/* The members of a request's body, and which of them a call takes and needs. */
enum admin_member {
	ADMIN_REQUEST_TOKEN = 1,
	ADMIN_ENVIRONMENT = 2,
	ADMIN_ACCOUNT = 4,
	ADMIN_KIND = 8,
	ADMIN_GRACE = 16,
	ADMIN_EXPECTED_GENERATION = 32,
	ADMIN_AUTHORIZING_SECRET = 64,
	ADMIN_GENERATION = 128,
	ADMIN_PAGE_SIZE = 256,
	ADMIN_PAGE_TOKEN = 512
};

/* What a member that is not there means is 0 or NULL, which is libfob's default. */
struct admin_fields {
	uint8_t token[FOB_TOKEN_LEN];
	enum fob_environment environment;
	const char *account;
	enum fob_kind kind;
	uint32_t grace_s;
	uint32_t expected_generation;
	const char *authorizing_secret;
	uint32_t generation;
	uint32_t page_size;
	struct fob_cursor cursor;
};

/*
 * admin_json_read(object, takes, needs, out, why):
 * Read the members of ${object}, of which it may have those in ${takes} and must have those in ${needs}.
 * Ownership: ${out} borrows from ${object}; ${out}->token is a secret: the caller wipes it, also after an error.
 * Returns:   0; -1 with a static text at *${why}: the member's name, what is wrong, what to do. It quotes nothing.
 */
int admin_json_read(const json_t *object, unsigned takes, unsigned needs, struct admin_fields *out, const char **why);

/* The messages of types.proto and admin.proto. NULL: out of memory. ${key} may be NULL: then it is JSON's null. */
json_t *admin_json_key(const struct fob_key *key);
json_t *admin_json_new_key(const struct fob_new_key *key);
json_t *admin_json_account(const struct fob_account *account);
json_t *admin_json_keys(const struct fob_key_page *page, const struct fob_cursor *next);
json_t *admin_json_accounts(const struct fob_account_page *page, const struct fob_cursor *next);
json_t *admin_json_events(const struct fob_event_page *page, const struct fob_cursor *next);

#endif
