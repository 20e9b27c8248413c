/*
 * codec.c - libfob's requests as bytes, and bytes as its results. Only this file and codec_cluster.c know the generated
 * messages. Never trusts a length, a number or a character of a reply.
 */
#include "client/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/codec_internal.h"
#include "client/error.h"
#include "client/sized.h"
#include "proto/c/fields.h"
#include "proto/c/numbers.h"
#include "proto/c/utf8.h"
#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"

const char *
codec_method_name(enum method method)
{
	static const char *const names[] = { [METHOD_VERIFY_KEY] = "fob.v1.Keys/VerifyKey",
		[METHOD_VERIFY_KEYS] = "fob.v1.Keys/VerifyKeys",
		[METHOD_CREATE_ACCOUNT] = "fob.v1.Admin/CreateAccount",
		[METHOD_ROLL_KEY] = "fob.v1.Admin/RollKey",
		[METHOD_REVOKE_KEY] = "fob.v1.Admin/RevokeKey",
		[METHOD_SUSPEND_ACCOUNT] = "fob.v1.Admin/SuspendAccount",
		[METHOD_RESUME_ACCOUNT] = "fob.v1.Admin/ResumeAccount",
		[METHOD_LIST_KEYS] = "fob.v1.Admin/ListKeys",
		[METHOD_LIST_ACCOUNTS] = "fob.v1.Admin/ListAccounts",
		[METHOD_LIST_EVENTS] = "fob.v1.Admin/ListEvents",
		[METHOD_HEALTH] = "fob.v1.Health/Check",
		[METHOD_STATS] = "fob.v1.Health/Stats",
		[METHOD_IMPORT_ACCOUNTS] = "fob.v1.Admin/ImportAccounts",
		[METHOD_READ_BACKUP] = "fob.v1.Admin/ReadBackup",
		[METHOD_CLUSTER_INIT] = "fob.v1.Admin/InitCluster",
		[METHOD_CLUSTER_FORGET] = "fob.v1.Admin/ForgetNode",
		[METHOD_CLUSTER_STATUS] = "fob.v1.Admin/ClusterStatus" };

	return names[method];
}

/* ---- requests ---- */

void
codec_body_free(struct codec_body *body)
{
	if (body->p != NULL) {
		sodium_memzero(body->p, body->len);
		free(body->p);
	}
	body->p = NULL;
	body->len = 0;
}

ProtobufCBinaryData
codec_borrow(const void *p, size_t len)
{
	union {
		const void *given;
		uint8_t *taken;
	} u = { .given = p };

	return (ProtobufCBinaryData){ .len = len, .data = u.taken };
}

static ProtobufCBinaryData
borrow_string(const char *s)
{
	return codec_borrow(s, s == NULL ? 0 : strlen(s));
}

int
codec_pack(const ProtobufCMessage *message, struct codec_body *body, struct fob_error *error)
{
	size_t len = protobuf_c_message_get_packed_size(message);

	body->p = NULL;
	body->len = 0;
	if (len > CODEC_REQUEST_MAX)
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "the request is larger than %d bytes", CODEC_REQUEST_MAX);
	/* An empty message is no bytes, and malloc(0) may be NULL. */
	if ((body->p = malloc(len + 1)) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	body->len = protobuf_c_message_pack(message, body->p);
	return 0;
}

static int
verify_request_fill(const struct fob_verify_request *r, Fob__V1__VerifyKeyRequest *m, struct fob_error *error)
{
	fob__v1__verify_key_request__init(m);
	if ((r->secret == NULL) == (r->authorization == NULL))
		return error_set(error, FOB_EINVALID_ARGUMENT, "give a secret or an authorization: one of them");
	if ((unsigned)r->require_environment > FOB_ENVIRONMENT_TEST)
		return error_set(error, FOB_EINVALID_ARGUMENT, "require_environment is none of ANY, LIVE, TEST");
	if (r->secret != NULL) {
		m->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
		m->secret = codec_borrow(r->secret, r->secret_len);
	} else {
		m->credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION;
		m->authorization = codec_borrow(r->authorization, r->authorization_len);
	}
	m->operation = borrow_string(r->operation);
	m->require_environment = (Fob__V1__Environment)r->require_environment;
	return 0;
}

int
codec_verify_size(const struct fob_verify_request *request, size_t *len, struct fob_error *error)
{
	Fob__V1__VerifyKeyRequest m;
	int rc;

	if ((rc = verify_request_fill(request, &m, error)) != 0)
		return rc;
	*len = codec_item_size(request->secret != NULL ? m.secret.len : m.authorization.len) +
	    fields_bytes_size(m.operation.len) + (m.require_environment != 0 ? 2 : 0);
	if (*len > CODEC_REQUEST_MAX)
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "the request is larger than %d bytes", CODEC_REQUEST_MAX);
	return 0;
}

/* By hand, as it is the most frequent message: see fields.h. */
void
codec_verify_write(const struct fob_verify_request *request, uint8_t *to)
{
	Fob__V1__VerifyKeyRequest m;
	int rc = verify_request_fill(request, &m, NULL);
	const ProtobufCBinaryData *credential = request->secret != NULL ? &m.secret : &m.authorization;

	assert(rc == 0);
	/* The credential is there even if it is empty. */
	to = fields_put_head(to, request->secret != NULL ? 1 : 2, credential->len);
	if (credential->len > 0)
		memcpy(to, credential->data, credential->len);
	to = fields_put_bytes(to + credential->len, 3, &m.operation);
	fields_put_number(to, 4, (uint64_t)m.require_environment);
}

/* There even if it is empty, unlike other fields. */
size_t
codec_item_size(size_t len)
{
	return 1 + fields_varint_size(len) + len;
}

uint8_t *
codec_item_write(const uint8_t *item, size_t len, uint8_t *to)
{
	assert(len <= CODEC_REQUEST_MAX);
	to = fields_put_head(to, 1, len);
	memcpy(to, item, len);
	return to + len;
}

int
codec_encode_verify_batch(
    const struct fob_verify_request *const *requests, size_t n, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__VerifyKeyRequest items[FOB_BATCH_MAX], *pointers[FOB_BATCH_MAX];
	Fob__V1__VerifyKeysRequest m = FOB__V1__VERIFY_KEYS_REQUEST__INIT;
	int rc;
	size_t i;

	*body = (struct codec_body){ 0 };
	assert(n >= 1 && n <= FOB_BATCH_MAX);
	for (i = 0; i < n; i++) {
		if ((rc = verify_request_fill(requests[i], &items[i], error)) != 0)
			return rc;
		pointers[i] = &items[i];
	}
	m.n_items = n;
	m.items = pointers;
	return codec_pack(&m.base, body, error);
}

int
codec_environment_check(enum fob_environment environment, struct fob_error *error)
{
	if (environment != FOB_ENVIRONMENT_LIVE && environment != FOB_ENVIRONMENT_TEST)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the environment is neither LIVE nor TEST");
	return 0;
}

/* What every change names. */
static int
change_check(enum fob_environment environment, const char *account, struct fob_error *error)
{
	if (account == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "no account is given");
	return codec_environment_check(environment, error);
}

int
codec_encode_account(enum method method, const struct fob_account_request *request, const uint8_t *token,
    struct codec_body *body, struct fob_error *error)
{
	Fob__V1__CreateAccountRequest create = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
	Fob__V1__SuspendAccountRequest suspend = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;
	Fob__V1__ResumeAccountRequest resume = FOB__V1__RESUME_ACCOUNT_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = change_check(request->environment, request->account, error)) != 0)
		return rc;
	create.request_token = suspend.request_token = resume.request_token = codec_borrow(token, FOB_TOKEN_LEN);
	create.environment = suspend.environment = resume.environment = (Fob__V1__Environment)request->environment;
	create.account = suspend.account = resume.account = borrow_string(request->account);
	switch (method) {
	case METHOD_CREATE_ACCOUNT:
		return codec_pack(&create.base, body, error);
	case METHOD_SUSPEND_ACCOUNT:
		return codec_pack(&suspend.base, body, error);
	default:
		assert(method == METHOD_RESUME_ACCOUNT);
		return codec_pack(&resume.base, body, error);
	}
}

int
codec_encode_roll(
    const struct fob_roll_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__RollKeyRequest m = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = change_check(request->environment, request->account, error)) != 0)
		return rc;
	if ((unsigned)request->kind > FOB_KIND_PUBLISHABLE)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the kind is none of ANY, SECRET, PUBLISHABLE");
	/* On the wire, no authorising secret is an empty one: an empty one given must not turn into none. */
	if (request->authorizing_secret != NULL && request->authorizing_secret_len == 0)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the authorizing secret is empty");
	m.request_token = codec_borrow(token, FOB_TOKEN_LEN);
	m.environment = (Fob__V1__Environment)request->environment;
	m.account = borrow_string(request->account);
	m.kind = (Fob__V1__KeyKind)request->kind;
	if (request->grace_s != 0) {
		grace.seconds = request->grace_s == FOB_GRACE_NONE_S ? 0 : request->grace_s;
		m.grace = &grace;
	}
	m.expected_generation = request->expected_generation;
	if (request->authorizing_secret != NULL)
		m.authorizing_secret = codec_borrow(request->authorizing_secret, request->authorizing_secret_len);
	return codec_pack(&m.base, body, error);
}

int
codec_encode_revoke(
    const struct fob_revoke_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__RevokeKeyRequest m = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = change_check(request->environment, request->account, error)) != 0)
		return rc;
	if (request->kind != FOB_KIND_SECRET && request->kind != FOB_KIND_PUBLISHABLE)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the kind is neither SECRET nor PUBLISHABLE");
	m.request_token = codec_borrow(token, FOB_TOKEN_LEN);
	m.environment = (Fob__V1__Environment)request->environment;
	m.account = borrow_string(request->account);
	m.kind = (Fob__V1__KeyKind)request->kind;
	m.generation = request->generation;
	return codec_pack(&m.base, body, error);
}

static int
import_item_fill(const struct fob_import_account *given, Fob__V1__ImportItem *m, struct fob_error *error)
{
	struct fob_import_account a;
	int rc;

	if ((rc = SIZED_TAKE(&a, given, "fob_import_account", error)) != 0)
		return rc;
	if (a.account == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "no account is given");
	fob__v1__import_item__init(m);
	m->account = borrow_string(a.account);
	m->created_ms = a.created_ms;
	m->secret_sha256 = codec_borrow(a.secret_sha256, a.secret_sha256 != NULL ? FOB_SHA256_LEN : 0);
	m->secret_last4 = borrow_string(a.secret_last4);
	m->publishable_sha256 = codec_borrow(a.publishable_sha256, a.publishable_sha256 != NULL ? FOB_SHA256_LEN : 0);
	m->publishable_last4 = borrow_string(a.publishable_last4);
	return 0;
}

int
codec_encode_import(
    const struct fob_import_request *request, const uint8_t *token, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__ImportItem items[FOB_IMPORT_MAX], *pointers[FOB_IMPORT_MAX];
	Fob__V1__ImportAccountsRequest m = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	const size_t n = request->n;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = codec_environment_check(request->environment, error)) != 0 ||
	    (rc = sized_check_stride(request->account_size, "struct fob_import_account", error)) != 0)
		return rc;
	if (n < 1 || n > FOB_IMPORT_MAX)
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "an import has 1 to %d accounts, not %zu", FOB_IMPORT_MAX, n);
	for (size_t i = 0; i < n; i++) {
		if ((rc = import_item_fill(SIZED_AT(request->accounts, i, request->account_size), &items[i], error)) !=
		    0)
			return rc;
		pointers[i] = &items[i];
	}
	m.request_token = codec_borrow(token, FOB_TOKEN_LEN);
	m.environment = (Fob__V1__Environment)request->environment;
	m.n_items = n;
	m.items = pointers;
	return codec_pack(&m.base, body, error);
}

int
codec_encode_list(enum method method, const struct fob_list_request *request, const struct fob_cursor *cursor,
    struct codec_body *body, struct fob_error *error)
{
	Fob__V1__ListKeysRequest keys = FOB__V1__LIST_KEYS_REQUEST__INIT;
	Fob__V1__ListAccountsRequest accounts = FOB__V1__LIST_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ListEventsRequest events = FOB__V1__LIST_EVENTS_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = codec_environment_check(request->environment, error)) != 0)
		return rc;
	if (request->page_size > FOB_PAGE_MAX)
		return error_set(error, FOB_EINVALID_ARGUMENT, "a page has at most %d items", FOB_PAGE_MAX);
	if (cursor->len > sizeof(cursor->bytes))
		return error_set(error, FOB_EINVALID_ARGUMENT, "the cursor is none that a list returned");
	if (method == METHOD_LIST_KEYS && request->account == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "no account is given");
	keys.environment = accounts.environment = events.environment = (Fob__V1__Environment)request->environment;
	keys.account = events.account = borrow_string(request->account);
	keys.page_size = accounts.page_size = events.page_size = request->page_size;
	keys.page_token = accounts.page_token = events.page_token = codec_borrow(cursor->bytes, cursor->len);
	switch (method) {
	case METHOD_LIST_KEYS:
		return codec_pack(&keys.base, body, error);
	case METHOD_LIST_ACCOUNTS:
		return codec_pack(&accounts.base, body, error);
	default:
		assert(method == METHOD_LIST_EVENTS);
		return codec_pack(&events.base, body, error);
	}
}

int
codec_encode_backup(const struct fob_backup_request *request, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__ReadBackupRequest m = FOB__V1__READ_BACKUP_REQUEST__INIT;

	if (request->backup == NULL)
		return error_set(error, FOB_EINVALID_ARGUMENT, "backup: FOB_BACKUP_LEN random bytes are needed");
	m.environment = (Fob__V1__Environment)request->environment;
	m.backup = codec_borrow(request->backup, FOB_BACKUP_LEN);
	m.offset = request->offset;
	return codec_pack(&m.base, body, error);
}

int
codec_encode_health(const char *service, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__CheckRequest m = FOB__V1__CHECK_REQUEST__INIT;

	m.service = borrow_string(service);
	return codec_pack(&m.base, body, error);
}

int
codec_encode_stats(struct codec_body *body, struct fob_error *error)
{
	Fob__V1__StatsRequest m = FOB__V1__STATS_REQUEST__INIT;

	return codec_pack(&m.base, body, error);
}

/* ---- text in replies ---- */

static bool
is_alphanumeric(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The C1 controls move a terminal's cursor as well as C0 do. */
static bool
is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f);
}

void
codec_text_copy(char *to, size_t size, const ProtobufCBinaryData *from)
{
	size_t in = 0, out = 0, n;
	uint32_t point = 0;

	while (in < from->len) {
		n = utf8_decode(from->data + in, from->len - in, &point);
		if (n == 0 || is_control(point)) {
			if (out + 1 >= size)
				break;
			to[out++] = '?';
			in += n == 0 ? 1 : n;
			continue;
		}
		if (out + n >= size)
			break;
		memcpy(to + out, from->data + in, n);
		in += n;
		out += n;
	}
	to[out] = '\0';
}

/* For machines: letters, digits and ${others} only, and all of it or a refusal. */
static int
id_copy(char *to, size_t size, const char *others, const ProtobufCBinaryData *from)
{
	size_t i;

	if (from->len >= size)
		return -1;
	for (i = 0; i < from->len; i++) {
		if (!is_alphanumeric(from->data[i]) && (from->data[i] == '\0' || strchr(others, from->data[i]) == NULL))
			return -1;
	}
	/* memcpy's pointer may not be NULL, even for nothing. */
	if (from->len > 0)
		memcpy(to, from->data, from->len);
	to[from->len] = '\0';
	return 0;
}

static int
account_copy(char to[FOB_ACCOUNT_SIZE], const ProtobufCBinaryData *from)
{
	return from->len == 0 ? -1 : id_copy(to, FOB_ACCOUNT_SIZE, "._-", from);
}

static int
last4_copy(char to[FOB_LAST4_SIZE], const ProtobufCBinaryData *from)
{
	return from->len != FOB_LAST4_SIZE - 1 ? -1 : id_copy(to, FOB_LAST4_SIZE, "", from);
}

/* ---- numbers in replies: one that is not known becomes the zero ---- */

static int
known(int64_t number, int64_t max)
{
	return number >= 0 && number <= max ? (int)number : 0;
}

static enum fob_environment
environment_from(Fob__V1__Environment e)
{
	return (enum fob_environment)known(e, FOB_ENVIRONMENT_TEST);
}

static enum fob_kind
kind_from(Fob__V1__KeyKind k)
{
	return (enum fob_kind)known(k, FOB_KIND_PUBLISHABLE);
}

static int
fault_from(Fob__Rpc__V1__Code code)
{
	if (code == FOB__RPC__V1__CODE__OK)
		return 0;
	return code < 0 || code > -FOB_EUNAUTHENTICATED ? FOB_EUNKNOWN : -(int)code;
}

/* ---- replies ---- */

int
codec_undecodable(struct fob_error *error, const char *what)
{
	return error_set(error, FOB_EINTERNAL, "the server's reply could not be read: %s", what);
}

int
codec_reply_open(struct codec_reply *r, const uint8_t *p, size_t len, const ProtobufCMessageDescriptor *type,
    struct fob_error *error)
{
	Fob__Rpc__V1__Response *e;
	char text[sizeof(error->message)];
	int fault;

	error_clear(error);
	arena_init(&r->arena, CODEC_MEMORY_MAX);
	r->inner = NULL;
	if (len > CODEC_REPLY_MAX)
		return codec_undecodable(error, "it is too long");
	if (!numbers_fit(&fob__rpc__v1__response__descriptor, p, len) ||
	    (e = fob__rpc__v1__response__unpack(&r->arena.allocator, len, p)) == NULL)
		return codec_undecodable(error, "the envelope is malformed");
	if ((fault = fault_from(e->code)) != 0) {
		codec_text_copy(text, sizeof(text), &e->message);
		if (fault == FOB_EUNKNOWN && e->code != -FOB_EUNKNOWN)
			return error_set(
			    error, fault, "the server's code %d is not known here: %s", (int)e->code, text);
		return error_set(error, fault, "%s", text[0] != '\0' ? text : fob_fault_name(fault));
	}
	if (!numbers_fit(type, e->body.data, e->body.len) ||
	    (r->inner = protobuf_c_message_unpack(type, &r->arena.allocator, e->body.len, e->body.data)) == NULL)
		return codec_undecodable(error, "its message is malformed");
	return 0;
}

static struct position
position_from(const Fob__Rpc__V1__Position *m)
{
	return m == NULL ? (struct position){ 0, 0 } : (struct position){ .cluster = m->cluster, .entry = m->entry };
}

/* A reply of another form than the usual one. */
static bool
unpack_positions(const uint8_t *p, size_t len, struct position told[2])
{
	Fob__Rpc__V1__Response *e;
	struct arena arena;
	bool any = false;

	if (len > CODEC_REPLY_MAX)
		return false;
	arena_init(&arena, CODEC_MEMORY_MAX);
	if (numbers_fit(&fob__rpc__v1__response__descriptor, p, len) &&
	    (e = fob__rpc__v1__response__unpack(&arena.allocator, len, p)) != NULL) {
		told[0] = position_from(e->live);
		told[1] = position_from(e->test);
		any = e->live != NULL || e->test != NULL;
	}
	arena_fini(&arena);
	return any;
}

/* All of a reply is its body, of less than 16 KiB: what most replies are. */
static inline bool
is_body_only(const uint8_t *p, size_t len)
{
	if (len < 3 || p[0] != FIELD_TAG(3, FIELD_BYTES))
		return false;
	return p[1] < 0x80 ? len == 2U + p[1] : p[2] < 0x80 && len == 3U + (p[1] & 0x7fU) + ((size_t)p[2] << 7);
}

static __attribute__((noinline)) bool
read_positions(const uint8_t *p, size_t len, struct position told[2])
{
	struct fields f = fields_of(p, len);

	if (fields_next_is(&f, FIELD_TAG(1, FIELD_VARINT)))
		(void)fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(2, FIELD_BYTES)))
		(void)fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(3, FIELD_BYTES)))
		(void)fields_bytes(&f);
	if (fields_are_usual(&f))
		return false;
	positions_read(&f, 4, told);
	return fields_are_usual(&f) || unpack_positions(p, len, told);
}

bool
codec_decode_positions(const uint8_t *p, size_t len, struct position told[2])
{
	return !is_body_only(p, len) && read_positions(p, len, told);
}

void
codec_reply_close(struct codec_reply *r)
{
	arena_fini(&r->arena);
	r->inner = NULL;
}

/* A verdict that lets a request through must be whole, of one mind, and an answer to what was asked. */
static int
verification_check(const struct fob_verification *v, enum fob_environment required, struct fob_error *error)
{
	if (v->verdict != FOB_VERDICT_VALID)
		return 0;
	if (v->account[0] == '\0')
		return codec_undecodable(error, "it says VALID without an account");
	if (v->environment == FOB_ENVIRONMENT_ANY || v->livemode != (v->environment == FOB_ENVIRONMENT_LIVE))
		return codec_undecodable(error, "it says VALID with an environment that contradicts its livemode");
	if (required != FOB_ENVIRONMENT_ANY && v->environment != required)
		return codec_undecodable(error, "it says VALID for another environment than the required one");
	return 0;
}

static int
verification_from(const Fob__V1__VerifyKeyResponse *m, enum fob_environment required, struct fob_verification *v,
    struct fob_error *error)
{
	*v = (struct fob_verification){ FOB_VERIFICATION_INIT };
	if (m->account.len > 0 && account_copy(v->account, &m->account) != 0)
		return codec_undecodable(error, "its account is none");
	if (m->last4.len > 0 && last4_copy(v->last4, &m->last4) != 0)
		return codec_undecodable(error, "its last4 is none");
	codec_text_copy(v->detail, sizeof(v->detail), &m->detail);
	v->verdict = (enum fob_verdict)known(m->verdict, FOB_VERDICT_FORBIDDEN);
	v->environment = environment_from(m->environment);
	v->kind = kind_from(m->kind);
	v->livemode = m->livemode != 0;
	v->superseded = m->superseded != 0;
	v->generation = m->generation;
	v->current_generation = m->current_generation;
	v->created_ms = m->created_ms;
	v->expires_ms = m->expires_ms;
	return verification_check(v, required, error);
}

/* Apart, as an array, and the address of ${f}, would make each verify's reply dearer. */
static __attribute__((noinline)) bool
pass_positions(struct fields f)
{
	struct position told[2];

	positions_read(&f, 4, told);
	return fields_are_usual(&f);
}

/* The body of a reply whose code is OK and that has the usual form (see fields.h). It borrows from the reply. */
static bool
body_read(const uint8_t *reply, size_t len, ProtobufCBinaryData *body)
{
	struct fields f = fields_of(reply, len);

	if (len > CODEC_REPLY_MAX || !fields_next_is(&f, FIELD_TAG(3, FIELD_BYTES)))
		return false;
	*body = fields_bytes(&f);
	return fields_are_usual(&f) || pass_positions(f);
}

/* The same for the message in it. */
static bool
verified_read(const ProtobufCBinaryData *body, Fob__V1__VerifyKeyResponse *m)
{
	struct fields f = fields_of(body->data, body->len);

	fob__v1__verify_key_response__init(m);
	if (fields_next_is(&f, FIELD_TAG(1, FIELD_VARINT)))
		m->verdict = (Fob__V1__Verdict)fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(2, FIELD_BYTES)))
		m->detail = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(3, FIELD_BYTES)))
		m->account = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(4, FIELD_VARINT)))
		m->environment = (Fob__V1__Environment)fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(5, FIELD_VARINT)))
		m->livemode = fields_number(&f) != 0;
	if (fields_next_is(&f, FIELD_TAG(6, FIELD_VARINT)))
		m->kind = (Fob__V1__KeyKind)fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(7, FIELD_VARINT)))
		m->generation = fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(8, FIELD_VARINT)))
		m->current_generation = fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(9, FIELD_VARINT)))
		m->superseded = fields_number(&f) != 0;
	if (fields_next_is(&f, FIELD_TAG(10, FIELD_VARINT)))
		m->created_ms = fields_number64(&f);
	if (fields_next_is(&f, FIELD_TAG(11, FIELD_VARINT)))
		m->expires_ms = fields_number64(&f);
	if (fields_next_is(&f, FIELD_TAG(12, FIELD_BYTES)))
		m->last4 = fields_bytes(&f);
	return fields_are_usual(&f);
}

int
codec_decode_verify(const uint8_t *reply, size_t len, enum fob_environment required, struct fob_verification *out,
    struct fob_error *error)
{
	Fob__V1__VerifyKeyResponse m;
	ProtobufCBinaryData body;
	struct codec_reply r;
	int rc;

	if (body_read(reply, len, &body) && verified_read(&body, &m)) {
		error_clear(error);
		if ((rc = verification_from(&m, required, out, error)) != 0)
			*out = (struct fob_verification){ FOB_VERIFICATION_INIT };
		return rc;
	}
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__verify_key_response__descriptor, error)) == 0)
		rc = verification_from((const Fob__V1__VerifyKeyResponse *)r.inner, required, out, error);
	if (rc != 0)
		*out = (struct fob_verification){ FOB_VERIFICATION_INIT };
	codec_reply_close(&r);
	return rc;
}

/* What is wrong with one item is that item's fault. */
static int
item_from(const Fob__V1__VerifyKeysItem *m, enum fob_environment required, struct fob_verification *out,
    struct fob_error *error)
{
	char text[sizeof(error->message)];
	int fault;

	if ((fault = fault_from(m->code)) != 0 && error != NULL) {
		codec_text_copy(text, sizeof(text), &m->message);
		error_set(error, fault, "%s", text[0] != '\0' ? text : fob_fault_name(fault));
	}
	if (fault == 0 && m->result == NULL)
		fault = codec_undecodable(error, "an item has no result");
	if (fault == 0)
		fault = verification_from(m->result, required, out, error);
	if (fault != 0)
		*out = (struct fob_verification){ FOB_VERIFICATION_INIT };
	return fault;
}

static bool
item_read(const ProtobufCBinaryData *bytes, Fob__V1__VerifyKeysItem *item, Fob__V1__VerifyKeyResponse *result)
{
	struct fields f = fields_of(bytes->data, bytes->len);
	ProtobufCBinaryData body;

	fob__v1__verify_keys_item__init(item);
	if (fields_next_is(&f, FIELD_TAG(1, FIELD_VARINT)))
		item->code = (Fob__Rpc__V1__Code)fields_number(&f);
	if (fields_next_is(&f, FIELD_TAG(2, FIELD_BYTES)))
		item->message = fields_bytes(&f);
	if (fields_next_is(&f, FIELD_TAG(3, FIELD_BYTES))) {
		body = fields_bytes(&f);
		item->result = result;
		if (f.odd || !verified_read(&body, result))
			return false;
	}
	return fields_are_usual(&f);
}

/*
 * Returns false when the reply has not the usual form, of ${n} items. ${items} are filled if not NULL: all or, as was looked
 * before, none.
 */
static bool
items_read(const uint8_t *reply, size_t len, const struct codec_item *items, size_t n)
{
	Fob__V1__VerifyKeyResponse result;
	Fob__V1__VerifyKeysItem item;
	ProtobufCBinaryData body;
	struct fields f;

	if (!body_read(reply, len, &body))
		return false;
	f = fields_of(body.data, body.len);
	for (size_t i = 0; i < n; i++) {
		if (!fields_next_is(&f, FIELD_TAG(1, FIELD_BYTES)))
			return false;
		body = fields_bytes(&f);
		if (f.odd || !item_read(&body, &item, &result))
			return false;
		if (items != NULL && items[i].fault != NULL)
			*items[i].fault = item_from(&item, items[i].required, items[i].result, items[i].error);
	}
	return fields_are_usual(&f);
}

int
codec_decode_verify_items(
    const uint8_t *reply, size_t len, const struct codec_item *items, size_t n, struct fob_error *error)
{
	const Fob__V1__VerifyKeysResponse *m;
	struct codec_reply r;
	size_t i;
	int rc;

	if (items_read(reply, len, NULL, n)) {
		error_clear(error);
		(void)items_read(reply, len, items, n);
		return 0;
	}
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__verify_keys_response__descriptor, error)) == 0) {
		m = (const Fob__V1__VerifyKeysResponse *)r.inner;
		if (m->n_items != n)
			rc = codec_undecodable(error, "it has not one item per key");
		for (i = 0; rc == 0 && i < n; i++) {
			if (items[i].fault != NULL)
				*items[i].fault =
				    item_from(m->items[i], items[i].required, items[i].result, items[i].error);
		}
	}
	codec_reply_close(&r);
	return rc;
}

static int
key_from(const void *message, void *key)
{
	const Fob__V1__Key *m = message;
	struct fob_key *k = key;

	*k = (struct fob_key){ FOB_KEY_INIT };
	if (m == NULL || account_copy(k->account, &m->account) != 0 || last4_copy(k->last4, &m->last4) != 0)
		return -1;
	k->environment = environment_from(m->environment);
	k->kind = kind_from(m->kind);
	k->state = (enum fob_key_state)known(m->state, FOB_KEY_STATE_REVOKED);
	k->generation = m->generation;
	k->created_ms = m->created_ms;
	k->expires_ms = m->expires_ms;
	k->ended_ms = m->ended_ms;
	k->last_used_ms = m->last_used_ms;
	return 0;
}

static int
account_from(const void *message, void *account)
{
	const Fob__V1__Account *m = message;
	struct fob_account *a = account;

	*a = (struct fob_account){ FOB_ACCOUNT_INIT };
	if (m == NULL || account_copy(a->account, &m->account) != 0)
		return -1;
	a->environment = environment_from(m->environment);
	a->suspended = m->suspended != 0;
	a->secret_generation = m->secret_generation;
	a->publishable_generation = m->publishable_generation;
	a->keys_in_grace = m->keys_in_grace;
	a->created_ms = m->created_ms;
	a->suspended_ms = m->suspended_ms;
	return 0;
}

/* What a struct fob_new_key points to is beside it. */
struct new_key {
	struct fob_new_key head;
	struct fob_key key;
	char secret[FOB_SECRET_SIZE];
};

static int
new_key_from(const Fob__V1__NewKey *m, struct new_key *k)
{
	k->head = (struct fob_new_key){ .size = sizeof(k->head), .key = &k->key, .secret = k->secret };
	if (m == NULL || key_from(m->key, &k->key) != 0 || m->secret.len == 0)
		return -1;
	return id_copy(k->secret, sizeof(k->secret), "_", &m->secret);
}

struct created {
	struct fob_created_account head; /* first: it is what is freed */
	struct fob_account account;
	struct new_key secret_key, publishable_key;
};

static int
created_from(const Fob__V1__CreateAccountResponse *m, struct fob_created_account **out, struct fob_error *error)
{
	struct created *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	c->head = (struct fob_created_account){ .size = sizeof(c->head),
		.account = &c->account,
		.secret_key = &c->secret_key.head,
		.publishable_key = &c->publishable_key.head };
	if (account_from(m->account, &c->account) != 0 || new_key_from(m->secret_key, &c->secret_key) != 0 ||
	    new_key_from(m->publishable_key, &c->publishable_key) != 0) {
		codec_created_free(&c->head);
		return codec_undecodable(error, "it has not the account and its two keys");
	}
	*out = &c->head;
	return 0;
}

int
codec_decode_created(const uint8_t *reply, size_t len, struct fob_created_account **out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__create_account_response__descriptor, error)) == 0)
		rc = created_from((const Fob__V1__CreateAccountResponse *)r.inner, out, error);
	codec_reply_close(&r);
	return rc;
}

void
codec_created_free(struct fob_created_account *created)
{
	if (created == NULL)
		return;
	sodium_memzero(created, sizeof(struct created));
	free(created);
}

struct rolled {
	struct fob_rolled_key head; /* first: it is what is freed */
	struct new_key new_key;
	struct fob_key old_key;
};

static int
rolled_from(const Fob__V1__RollKeyResponse *m, struct fob_rolled_key **out, struct fob_error *error)
{
	struct rolled *k;

	if ((k = calloc(1, sizeof(*k))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	k->head = (struct fob_rolled_key){
		.size = sizeof(k->head), .new_key = &k->new_key.head, .old_key = m->old_key != NULL ? &k->old_key : NULL
	};
	/* Only the first key of a slot has none before it. */
	if (new_key_from(m->new_key, &k->new_key) != 0 ||
	    ((m->old_key != NULL || k->new_key.key.generation != 1) && key_from(m->old_key, &k->old_key) != 0)) {
		codec_rolled_free(&k->head);
		return codec_undecodable(error, "it has not the new and the old key");
	}
	*out = &k->head;
	return 0;
}

int
codec_decode_rolled(const uint8_t *reply, size_t len, struct fob_rolled_key **out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__roll_key_response__descriptor, error)) == 0)
		rc = rolled_from((const Fob__V1__RollKeyResponse *)r.inner, out, error);
	codec_reply_close(&r);
	return rc;
}

void
codec_rolled_free(struct fob_rolled_key *rolled)
{
	if (rolled == NULL)
		return;
	sodium_memzero(rolled, sizeof(struct rolled));
	free(rolled);
}

int
codec_decode_key(const uint8_t *reply, size_t len, struct fob_key *out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	rc = codec_reply_open(&r, reply, len, &fob__v1__revoke_key_response__descriptor, error);
	if (rc == 0 && key_from(((const Fob__V1__RevokeKeyResponse *)r.inner)->key, out) != 0)
		rc = codec_undecodable(error, "it has no key");
	if (rc != 0)
		*out = (struct fob_key){ FOB_KEY_INIT };
	codec_reply_close(&r);
	return rc;
}

int
codec_decode_account(
    enum method method, const uint8_t *reply, size_t len, struct fob_account *out, struct fob_error *error)
{
	const bool suspend = method == METHOD_SUSPEND_ACCOUNT;
	struct codec_reply r;
	int rc;

	assert(suspend || method == METHOD_RESUME_ACCOUNT);
	rc = codec_reply_open(&r, reply, len,
	    suspend ? &fob__v1__suspend_account_response__descriptor : &fob__v1__resume_account_response__descriptor,
	    error);
	if (rc == 0 &&
	    account_from(suspend ? ((const Fob__V1__SuspendAccountResponse *)r.inner)->account :
				   ((const Fob__V1__ResumeAccountResponse *)r.inner)->account,
		out) != 0)
		rc = codec_undecodable(error, "it has no account");
	if (rc != 0)
		*out = (struct fob_account){ FOB_ACCOUNT_INIT };
	codec_reply_close(&r);
	return rc;
}

int
codec_decode_import(const uint8_t *reply, size_t len, size_t n, enum fob_import_outcome *out, struct fob_error *error)
{
	const Fob__V1__ImportAccountsResponse *m;
	struct codec_reply r;
	int rc;

	memset(out, 0, n * sizeof(*out));
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__import_accounts_response__descriptor, error)) == 0) {
		m = (const Fob__V1__ImportAccountsResponse *)r.inner;
		if (m->n_outcomes != n)
			rc = codec_undecodable(error, "it has not one outcome per account");
		for (size_t i = 0; rc == 0 && i < n; i++)
			out[i] = (enum fob_import_outcome)known(m->outcomes[i], FOB_IMPORT_OUTCOME_BAD_TIME);
	}
	codec_reply_close(&r);
	return rc;
}

/* A part that claims to reach behind the end, or to be whole without its digest, is none. */
static int
backup_from(const Fob__V1__ReadBackupResponse *m, struct fob_backup_part **out, struct fob_error *error)
{
	struct fob_backup_part *part;

	if (m->data.len > m->size || (m->size > 0 && m->sha256.len != sizeof(part->sha256)))
		return error_set(error, FOB_EINTERNAL, "the reply is not a part of a backup");
	if ((part = calloc(1, sizeof(*part) + m->data.len)) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	part->size = sizeof(*part);
	part->total = m->size;
	part->len = m->data.len;
	part->data = (const uint8_t *)(part + 1);
	if (m->data.len > 0)
		memcpy(part + 1, m->data.data, m->data.len);
	if (m->sha256.len == sizeof(part->sha256))
		memcpy(part->sha256, m->sha256.data, sizeof(part->sha256));
	part->revision = m->revision;
	part->event_sequence = m->event_sequence;
	*out = part;
	return 0;
}

int
codec_decode_backup(const uint8_t *reply, size_t len, struct fob_backup_part **out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__read_backup_response__descriptor, error)) == 0)
		rc = backup_from((const Fob__V1__ReadBackupResponse *)r.inner, out, error);
	codec_reply_close(&r);
	return rc;
}

int
codec_decode_health(const uint8_t *reply, size_t len, enum fob_health_status *out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = FOB_HEALTH_STATUS_UNKNOWN;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__check_response__descriptor, error)) == 0)
		*out = (enum fob_health_status)known(
		    ((const Fob__V1__CheckResponse *)r.inner)->status, FOB_HEALTH_STATUS_NOT_SERVING);
	codec_reply_close(&r);
	return rc;
}

/* ---- statistics ---- */

/* Buckets that this library does not have count in its last one. */
static void
buckets_from(const uint64_t *from, size_t n, uint64_t *to, size_t n_to)
{
	for (size_t i = 0; i < n; i++)
		to[i < n_to ? i : n_to - 1] += from[i];
}

static void
environment_stats_from(const Fob__V1__EnvironmentStats *m, struct fob_environment_stats *s)
{
	size_t i;

	s->size = sizeof(*s);
	s->environment = environment_from(m->environment);
	s->serving = m->serving != 0;
	for (i = 0; i < m->n_verdicts; i++)
		s->verdicts[known(m->verdicts[i]->verdict, FOB_VERDICT_FORBIDDEN)] += m->verdicts[i]->count;
	s->mutations = m->mutations;
	s->replays = m->replays;
	s->refused = m->refused;
	s->commits = m->commits;
	s->queue_depth = m->queue_depth;
	s->keys_expired = m->keys_expired;
	s->corrupt_records = m->corrupt_records;
	s->accounts = m->accounts;
	s->keys = m->keys;
	s->used_bytes = m->used_bytes;
	s->ceiling_bytes = m->ceiling_bytes;
	s->revision = m->revision;
	s->event_sequence = m->event_sequence;
	s->pepper_lines = m->pepper_lines;
	s->rotating = m->rotating != 0;
	s->rotation_keys = m->rotation_keys;
	s->rotation_records = m->rotation_records;
	s->rotation_of_records = m->rotation_of_records;
	s->failures = m->failures;
	buckets_from(m->group_sizes, m->n_group_sizes, s->group_sizes, sizeof(s->group_sizes) / sizeof(uint64_t));
	s->keys_counted = m->n_key_states > 0;
	for (i = 0; i < m->n_key_states; i++)
		s->keys_by_state[known(m->key_states[i]->state, FOB_KEY_STATE_REVOKED)] += m->key_states[i]->count;
	s->superseded_in_use = m->superseded_in_use;
	s->superseded_in_use_end_ms = m->superseded_in_use_end_ms;
	if ((s->in_cluster = m->cluster != NULL)) {
		s->cluster_agent_connected = m->cluster->agent_connected != 0;
		s->cluster_closed = m->cluster->closed != 0;
		s->cluster_nodes = m->cluster->nodes;
		s->cluster_applied = m->cluster->applied;
		s->cluster_head = m->cluster->head;
		s->cluster_fresh_ms = m->cluster->fresh_ms;
	}
}

static void
requests_from(const Fob__V1__StatsResponse *m, struct fob_stats *s)
{
	int class;
	size_t i;

	for (i = 0; i < m->n_answered; i++) {
		const Fob__V1__AnsweredCount *a = m->answered[i];

		s->answered[known(a->class_, FOB_OPERATION_CLASS_CLUSTER)][known(a->environment, FOB_ENVIRONMENT_TEST)]
			   [-fault_from(a->code)] += a->count;
	}
	for (i = 0; i < m->n_durations; i++) {
		const Fob__V1__Durations *d = m->durations[i];

		/* Those of a class that this library does not know are of no use. */
		if ((class = known(d->class_, FOB_OPERATION_CLASS_CLUSTER)) == FOB_OPERATION_CLASS_OTHER)
			continue;
		buckets_from(d->buckets, d->n_buckets, s->durations[class], FOB_DURATION_BUCKETS);
		s->durations_ns[class] += d->sum_ns;
	}
}

#define ENVIRONMENTS_MAX 2

/* What a struct fob_stats points to is beside it. */
struct stats {
	struct fob_stats head; /* first: it is what is freed */
	const struct fob_environment_stats *pointers[ENVIRONMENTS_MAX];
	struct fob_environment_stats environments[ENVIRONMENTS_MAX];
};

static int
stats_from(const Fob__V1__StatsResponse *m, struct fob_stats **out, struct fob_error *error)
{
	struct fob_stats *s;
	struct stats *all;
	size_t i;

	if (m->n_environments > ENVIRONMENTS_MAX)
		return codec_undecodable(error, "it has more environments than there are");
	if ((all = calloc(1, sizeof(*all))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	s = &all->head;
	s->size = sizeof(*s);
	codec_text_copy(s->version, sizeof(s->version), &m->version);
	s->start_ms = m->start_ms;
	s->requests = m->requests;
	for (i = 0; i < m->n_codes; i++)
		s->codes[-fault_from(m->codes[i]->code)] += m->codes[i]->count;
	s->connections = m->connections;
	s->connections_refused = m->connections_refused;
	s->connections_dropped = m->connections_dropped;
	s->open_descriptors = m->open_descriptors;
	s->unrecognised = m->unrecognised;
	s->in_flight = m->in_flight;
	requests_from(m, s);
	s->n_environments = m->n_environments;
	s->environments = all->pointers;
	for (i = 0; i < m->n_environments; i++) {
		environment_stats_from(m->environments[i], &all->environments[i]);
		all->pointers[i] = &all->environments[i];
	}
	*out = s;
	return 0;
}

int
codec_decode_stats(const uint8_t *reply, size_t len, struct fob_stats **out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__stats_response__descriptor, error)) == 0)
		rc = stats_from((const Fob__V1__StatsResponse *)r.inner, out, error);
	codec_reply_close(&r);
	return rc;
}

/* ---- pages ---- */

/*
 * Where the list goes on. A server that sends its readers round in a circle, or on to nowhere, must not get them to
 * follow for ever.
 */
static int
cursor_next(const struct fob_cursor *cursor, const ProtobufCBinaryData *token, bool done, struct fob_cursor *next,
    struct fob_error *error)
{
	if (token->len > sizeof(next->bytes))
		return codec_undecodable(error, "its page token is too long");
	if (!done &&
	    (token->len == 0 || (token->len == cursor->len && memcmp(token->data, cursor->bytes, token->len) == 0)))
		return codec_undecodable(error, "its page token does not lead on");
	*next = (struct fob_cursor){ .done = done, .len = (uint8_t)token->len };
	if (token->len > 0)
		memcpy(next->bytes, token->data, token->len);
	return 0;
}

static int
page_check(size_t n, uint32_t page_size, struct fob_error *error)
{
	return n > (page_size == 0 ? FOB_PAGE_MAX : page_size) ?
	    codec_undecodable(error, "its page is longer than asked for") :
	    0;
}

/* Cut to fit, with ? for what is not printable: it is for people and logs. Persons' names are as long as peers'. */
_Static_assert(FOB_ON_BEHALF_OF_SIZE == FOB_PEER_SIZE, "one size");
static void
peer_copy(char to[FOB_PEER_SIZE], const ProtobufCBinaryData *from)
{
	size_t len = from->len < FOB_PEER_SIZE ? from->len : FOB_PEER_SIZE - 1;

	for (size_t i = 0; i < len; i++)
		to[i] = from->data[i] >= ' ' && from->data[i] <= '~' ? (char)from->data[i] : '?';
	to[len] = '\0';
}

static void
origin_from(const Fob__V1__Origin *m, struct fob_event *e)
{
	if (m == NULL)
		return;
	peer_copy(e->address, &m->address);
	peer_copy(e->certificate, &m->certificate);
	peer_copy(e->on_behalf_of, &m->on_behalf_of);
	e->has_user = e->address[0] == '\0';
	e->uid = e->has_user ? m->uid : 0;
	e->pid = e->has_user ? m->pid : 0;
}

static int
event_from(const void *message, void *event)
{
	const Fob__V1__Event *m = message;
	struct fob_event *e = event;

	*e = (struct fob_event){ .size = sizeof(*e) };
	e->type = (enum fob_event_type)known(m->type, FOB_EVENT_TYPE_RESTORED);
	/*
	 * Only events about a key have a last4. One of the whole database has no account; and so may one of a type that
	 * is not known here, for which all others of its page must not be refused.
	 */
	if (m->account.len == 0 && (e->type == FOB_EVENT_TYPE_RESTORED || e->type == FOB_EVENT_TYPE_UNKNOWN))
		e->account[0] = '\0';
	else if (account_copy(e->account, &m->account) != 0)
		return -1;
	if (m->last4.len > 0 && last4_copy(e->last4, &m->last4) != 0)
		return -1;
	e->sequence = m->sequence;
	e->time_ms = m->time_ms;
	e->kind = kind_from(m->kind);
	e->generation = m->generation;
	e->expires_ms = m->expires_ms;
	origin_from(m->origin, e);
	return 0;
}

/* What the three lists' replies have in common: items, each of which becomes one of a page, and a page token. */
struct list {
	const ProtobufCMessageDescriptor *type;
	size_t item_size;
	int (*item_from)(const void *message, void *item);
	const char *bad_item;
	void (*read)(const ProtobufCMessage *reply, struct list *list);
	void (*head)(union codec_page *page, size_t n, const void *pointers);

	/* Filled by ${read}. */
	size_t n;
	const void *const *messages;
	const ProtobufCBinaryData *token;
	bool done;
};

static void
keys_read(const ProtobufCMessage *reply, struct list *l)
{
	const Fob__V1__ListKeysResponse *m = (const Fob__V1__ListKeysResponse *)reply;

	l->n = m->n_keys;
	l->messages = (const void *const *)m->keys;
	l->token = &m->next_page_token;
	l->done = m->next_page_token.len == 0;
}

static void
keys_head(union codec_page *page, size_t n, const void *pointers)
{
	page->keys = (struct fob_key_page){ .size = sizeof(page->keys), .n = n, .keys = pointers };
}

static void
accounts_read(const ProtobufCMessage *reply, struct list *l)
{
	const Fob__V1__ListAccountsResponse *m = (const Fob__V1__ListAccountsResponse *)reply;

	l->n = m->n_accounts;
	l->messages = (const void *const *)m->accounts;
	l->token = &m->next_page_token;
	l->done = m->next_page_token.len == 0;
}

static void
accounts_head(union codec_page *page, size_t n, const void *pointers)
{
	page->accounts = (struct fob_account_page){ .size = sizeof(page->accounts), .n = n, .accounts = pointers };
}

static void
events_read(const ProtobufCMessage *reply, struct list *l)
{
	const Fob__V1__ListEventsResponse *m = (const Fob__V1__ListEventsResponse *)reply;

	l->n = m->n_events;
	l->messages = (const void *const *)m->events;
	l->token = &m->next_page_token;
	l->done = !m->more;
}

static void
events_head(union codec_page *page, size_t n, const void *pointers)
{
	page->events = (struct fob_event_page){ .size = sizeof(page->events), .n = n, .events = pointers };
}

static struct list
list_of(enum method method)
{
	switch (method) {
	case METHOD_LIST_KEYS:
		return (struct list){ &fob__v1__list_keys_response__descriptor, sizeof(struct fob_key), key_from,
			"a key in it is none", keys_read, keys_head, 0, NULL, NULL, false };
	case METHOD_LIST_ACCOUNTS:
		return (struct list){ &fob__v1__list_accounts_response__descriptor, sizeof(struct fob_account),
			account_from, "an account in it is none", accounts_read, accounts_head, 0, NULL, NULL, false };
	default:
		assert(method == METHOD_LIST_EVENTS);
		return (struct list){ &fob__v1__list_events_response__descriptor, sizeof(struct fob_event), event_from,
			"an event in it is none", events_read, events_head, 0, NULL, NULL, false };
	}
}

/* The page, the pointers to its items, the items. */
static int
page_from(const struct list *l, union codec_page **out, struct fob_error *error)
{
	union codec_page *page;
	const void **pointers;
	unsigned char *item;
	size_t i;

	if ((page = calloc(1, sizeof(*page) + l->n * (sizeof(*pointers) + l->item_size))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	pointers = (const void **)(page + 1);
	item = (unsigned char *)(pointers + l->n);
	for (i = 0; i < l->n; i++, item += l->item_size) {
		if (l->item_from(l->messages[i], item) != 0) {
			free(page);
			return codec_undecodable(error, l->bad_item);
		}
		pointers[i] = item;
	}
	l->head(page, l->n, pointers);
	*out = page;
	return 0;
}

int
codec_decode_page(enum method method, const uint8_t *reply, size_t len, uint32_t page_size, struct fob_cursor *cursor,
    union codec_page **out, struct fob_error *error)
{
	struct list l = list_of(method);
	struct fob_cursor next;
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, l.type, error)) != 0)
		goto out;
	l.read(r.inner, &l);
	if ((rc = page_check(l.n, page_size, error)) != 0 ||
	    (rc = cursor_next(cursor, l.token, l.done, &next, error)) != 0)
		goto out;
	/* Events are followed later: an empty token would start from the first event again. */
	if (method == METHOD_LIST_EVENTS && next.len == 0)
		rc = codec_undecodable(error, "its page token is empty");
	else if ((rc = page_from(&l, out, error)) == 0)
		*cursor = next;
out:
	codec_reply_close(&r);
	return rc;
}
