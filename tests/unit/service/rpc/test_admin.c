/*
 * test_admin.c - admin.c: valid and invalid mutations and their replies, the digest that recognises a resend, the size of
 * the largest replies, and that no secret is left in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>

#include "service/engine/internal.h"
#include "tests/unit/service/harness.h"

struct fixture {
	struct harness *h;
	struct harness_call *hc, *other;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->h = harness_new();
	f->hc = harness_call_new(f->h, ROLE_ADMIN);
	f->other = harness_call_new(f->h, ROLE_ADMIN);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	harness_call_free(f->hc);
	harness_call_free(f->other);
	harness_free(f->h);
	free(f);
	return 0;
}

/* ---- the table of sizes ---- */

/* The largest value that a field can have on the wire, by the limits of limits.h. Recursive, as the messages are. */
static ProtobufCMessage *largest(const ProtobufCMessageDescriptor *d);

static void
fill_largest(ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
	static uint8_t bytes[LIMIT_ACCOUNT];
	void *p = (uint8_t *)m + field->offset;

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
		*(int64_t *)p = -1;
		break;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)p = UINT64_MAX;
		break;
	case PROTOBUF_C_TYPE_UINT32:
		*(uint32_t *)p = UINT32_MAX;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)p = 127;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)p = 1;
		break;
	case PROTOBUF_C_TYPE_BYTES:
		assert_true(strcmp(field->name, "account") == 0 || strcmp(field->name, "last4") == 0 ||
		    strcmp(field->name, "secret") == 0);
		*(ProtobufCBinaryData *)p = harness_bytes(bytes,
		    field->name[0] == 'a'     ? LIMIT_ACCOUNT :
			field->name[0] == 'l' ? SECRET_LAST4 :
						SECRET_LEN);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		assert_int_not_equal(field->label, PROTOBUF_C_LABEL_REPEATED);
		*(ProtobufCMessage **)p = largest(field->descriptor);
		break;
	default:
		fail_msg("%s.%s: a type that this test does not know", m->descriptor->name, field->name);
	}
}

static ProtobufCMessage *
largest(const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *m = calloc(1, d->sizeof_message);

	protobuf_c_message_init(d, m);
	for (unsigned i = 0; i < d->n_fields; i++)
		fill_largest(m, &d->fields[i]);
	return m;
}

static void
free_largest(ProtobufCMessage *m)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		void *p = (uint8_t *)m + m->descriptor->fields[i].offset;

		if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			free_largest(*(ProtobufCMessage **)p);
	}
	free(m);
}

static void
the_largest_replies_fit(void **state)
{
	static const ProtobufCMessageDescriptor *const replies[] = { &fob__v1__create_account_response__descriptor,
		&fob__v1__roll_key_response__descriptor, &fob__v1__revoke_key_response__descriptor,
		&fob__v1__suspend_account_response__descriptor, &fob__v1__resume_account_response__descriptor };

	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		ProtobufCMessage *m = largest(replies[i]);
		size_t size = protobuf_c_message_get_packed_size(m);

		assert_in_range(size, 50, RECORD_REPLY_MAX);
		free_largest(m);
	}
}

/* The longest names, eight keys in grace, a far future: every mutation goes through. */
static void
the_largest_accounts(void **state)
{
	struct fixture *f = *state;
	char account[LIMIT_ACCOUNT + 1];
	struct harness_secrets s;

	memset(account, 'Z', LIMIT_ACCOUNT);
	account[LIMIT_ACCOUNT] = '\0';
	/* The year 2200. */
	harness_advance(f->h, INT64_C(7258118400000) - HARNESS_START_MS);
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, account, &s));
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, account, 86400, NULL));
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, account, true), 0);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, account, false), 0);
	assert_int_equal(harness_revoke(f->hc, ENVIRONMENT_LIVE, account, FOB__V1__KEY_KIND__SECRET, 1), 0);
}

/* ---- what is asked, what is answered ---- */

static void
check_key(const Fob__V1__Key *k, const char *account, enum environment e, int kind, uint32_t generation, int key_state,
    int64_t created_ms, int64_t expires_ms, int64_t ended_ms)
{
	assert_true(harness_is(&k->account, account));
	assert_int_equal(k->environment, e + 1);
	assert_int_equal(k->kind, kind);
	assert_int_equal(k->generation, generation);
	assert_int_equal(k->state, key_state);
	assert_int_equal(k->created_ms, created_ms);
	assert_int_equal(k->expires_ms, expires_ms);
	assert_int_equal(k->ended_ms, ended_ms);
	assert_int_equal(k->last4.len, 4);
}

static void
create(void **state)
{
	struct fixture *f = *state;

	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct harness_secrets s;
		Fob__V1__CreateAccountResponse *r = harness_create(f->hc, (enum environment)e, "acme", &s);

		assert_non_null(r);
		assert_true(harness_is(&r->account->account, "acme"));
		assert_int_equal(r->account->environment, e + 1);
		assert_int_equal(r->account->created_ms, HARNESS_START_MS);
		assert_int_equal(r->account->secret_generation, 1);
		assert_int_equal(r->account->publishable_generation, 1);
		assert_false(r->account->suspended);
		check_key(r->secret_key->key, "acme", (enum environment)e, 1, 1, 1, HARNESS_START_MS, 0, 0);
		check_key(r->publishable_key->key, "acme", (enum environment)e, 2, 1, 1, HARNESS_START_MS, 0, 0);
		assert_memory_equal(s.secret, e == 0 ? "sk_live_" : "sk_test_", 8);
		assert_memory_equal(s.publishable, e == 0 ? "pk_live_" : "pk_test_", 8);
		assert_memory_equal(r->secret_key->key->last4.data, s.secret + SECRET_LEN - 4, 4);
		assert_int_equal(harness_verdict(f->other, s.secret), FOB__V1__VERDICT__VALID);
		assert_null(harness_create(f->hc, (enum environment)e, "acme", NULL));
		assert_int_equal(f->hc->code, FAULT_ALREADY_EXISTS);
	}
}

static void
roll(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s;
	char next[SECRET_LEN + 1], third[SECRET_LEN + 1];
	Fob__V1__RollKeyResponse *r;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	harness_advance(f->h, 1000);
	assert_non_null(r = harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, next));
	check_key(
	    r->new_key->key, "acme", 0, 1, 2, FOB__V1__KEY_STATE__KEY_STATE_CURRENT, HARNESS_START_MS + 1000, 0, 0);
	check_key(r->old_key, "acme", 0, 1, 1, FOB__V1__KEY_STATE__KEY_STATE_GRACE, HARNESS_START_MS,
	    HARNESS_START_MS + 1000 + 3600000, 0);
	assert_non_null(r = harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 0, third));
	check_key(r->old_key, "acme", 0, 1, 2, FOB__V1__KEY_STATE__KEY_STATE_REVOKED, HARNESS_START_MS + 1000,
	    HARNESS_START_MS + 1000, HARNESS_START_MS + 1000);
	assert_int_equal(harness_verdict(f->other, s.secret), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_verdict(f->other, next), FOB__V1__VERDICT__REVOKED);
	assert_int_equal(harness_verdict(f->other, third), FOB__V1__VERDICT__VALID);
}

static int
ask_roll(struct harness_call *hc, const char *account, int kind, const uint32_t *grace_s, uint32_t expected,
    const char *authorizing)
{
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;
	struct harness_token token = harness_token();

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text(account);
	in.kind = (Fob__V1__KeyKind)kind;
	if (grace_s != NULL) {
		grace.seconds = *grace_s;
		in.grace = &grace;
	}
	in.expected_generation = expected;
	if (authorizing != NULL)
		in.authorizing_secret = harness_text(authorizing);
	return harness_ask(hc, "fob.v1.Admin/RollKey", &in.base);
}

static void
what_a_roll_may_ask(void **state)
{
	struct fixture *f = *state;
	const uint32_t day = 86400, more = 86401, most = UINT32_MAX;
	struct harness_secrets s, other;
	char current[SECRET_LEN + 1];
	Fob__V1__RollKeyResponse *r;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "other", &other));
	assert_int_equal(ask_roll(f->hc, "acme", 2, NULL, 0, NULL), FAULT_FAILED_PRECONDITION);
	assert_int_equal(ask_roll(f->hc, "acme", 3, NULL, 0, NULL), FAULT_INVALID_ARGUMENT);
	assert_int_equal(ask_roll(f->hc, "acme", -1, NULL, 0, NULL), FAULT_INVALID_ARGUMENT);
	assert_int_equal(ask_roll(f->hc, "acme", 1, &more, 0, NULL), FAULT_INVALID_ARGUMENT);
	assert_int_equal(ask_roll(f->hc, "acme", 1, &most, 0, NULL), FAULT_INVALID_ARGUMENT);
	assert_int_equal(ask_roll(f->hc, "acme", 1, NULL, 2, NULL), FAULT_ABORTED);
	assert_int_equal(ask_roll(f->hc, "nobody", 1, NULL, 0, NULL), FAULT_NOT_FOUND);
	assert_int_equal(ask_roll(f->hc, "acme", 1, NULL, 0, other.secret), FAULT_PERMISSION_DENIED);
	assert_int_equal(ask_roll(f->hc, "acme", 1, NULL, 0, s.publishable), FAULT_PERMISSION_DENIED);
	assert_int_equal(ask_roll(f->hc, "acme", 1, NULL, 0, "sk_live_nonsense"), FAULT_PERMISSION_DENIED);
	assert_null(strstr(f->hc->message, "nonsense"));

	/* Absent: 24 hours, and so is the most. */
	assert_int_equal(ask_roll(f->hc, "acme", 0, NULL, 1, s.secret), 0);
	r = harness_body(f->hc, &fob__v1__roll_key_response__descriptor);
	assert_int_equal(r->old_key->expires_ms, HARNESS_START_MS + HARNESS_DAY_MS);
	harness_take_secret(r->new_key, current);
	assert_int_equal(ask_roll(f->hc, "acme", 1, &day, 2, s.secret), FAULT_PERMISSION_DENIED);
	assert_int_equal(ask_roll(f->hc, "acme", 1, &day, 2, current), 0);
	r = harness_body(f->hc, &fob__v1__roll_key_response__descriptor);
	assert_int_equal(r->old_key->expires_ms, HARNESS_START_MS + HARNESS_DAY_MS);

	/* Not while suspended. */
	harness_take_secret(r->new_key, current);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "acme", true), 0);
	assert_int_equal(ask_roll(f->hc, "acme", 1, &day, 0, current), FAULT_PERMISSION_DENIED);
}

static void
the_ninth_key_in_grace(void **state)
{
	struct fixture *f = *state;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	assert_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	assert_int_equal(f->hc->code, FAULT_RESOURCE_EXHAUSTED);
	/* 1800000000 s is 2027-01-15T08:00:00Z. */
	assert_non_null(strstr(f->hc->message, "2027-01-15T09:00:00Z"));
	harness_advance(f->h, 3599999);
	assert_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	harness_advance(f->h, 1);
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
}

/* All events of live. */
static Fob__V1__ListEventsResponse *
ask_events(struct fixture *f)
{
	Fob__V1__ListEventsRequest in = FOB__V1__LIST_EVENTS_REQUEST__INIT;

	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/ListEvents", &in.base), 0);
	return harness_body(f->hc, &fob__v1__list_events_response__descriptor);
}

static unsigned
count_events(struct fixture *f, Fob__V1__EventType type)
{
	Fob__V1__ListEventsResponse *r = ask_events(f);
	unsigned n = 0;

	for (size_t i = 0; i < r->n_events; i++)
		n += r->events[i]->type == type;
	return n;
}

/* As while the disk is full or a page is damaged: the roll ends the key whose place it needs. */
static void
a_grace_that_the_sweeper_cannot_end(void **state)
{
	struct fixture *f = *state;
	struct writer *writer = f->h->service.engines[ENVIRONMENT_LIVE]->writer;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	for (int i = 0; i < LIMIT_IN_GRACE; i++)
		assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	pthread_mutex_lock(&writer->lock);
	writer->sweeper.retry_ms = INT64_MAX;
	pthread_mutex_unlock(&writer->lock);
	harness_advance(f->h, 3600000);
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 3600, NULL));
	assert_int_equal(count_events(f, FOB__V1__EVENT_TYPE__KEY_EXPIRED), 1);
	assert_int_equal(count_events(f, FOB__V1__EVENT_TYPE__KEY_ROLLED), LIMIT_IN_GRACE + 1);
}

/* Each event says who asked for it, and for whom; the end of a grace has nobody. */
static void
who_asked(void **state)
{
	struct fixture *f = *state;
	Fob__V1__ListEventsResponse *r;

	f->hc->peer = (struct peer){ .known = true, .uid = 1000, .pid = 77 };
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	f->hc->peer = (struct peer){ .address = "192.0.2.7:50312", .certificate = "ops" };
	f->hc->on_behalf_of = "Ada <ada@example.com>";
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "acme", 60, NULL));
	f->hc->on_behalf_of = NULL;
	harness_advance(f->h, 60000);
	f->hc->peer = (struct peer){ .address = "192.0.2.8:1" };
	assert_int_equal(harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, 2), 0);

	r = ask_events(f);
	assert_int_equal(r->n_events, 4);
	assert_int_equal(r->events[0]->origin->uid, 1000);
	assert_int_equal(r->events[0]->origin->pid, 77);
	assert_int_equal(r->events[0]->origin->address.len, 0);
	assert_int_equal(r->events[0]->origin->on_behalf_of.len, 0);
	assert_true(harness_is(&r->events[1]->origin->address, "192.0.2.7:50312"));
	assert_true(harness_is(&r->events[1]->origin->certificate, "ops"));
	assert_true(harness_is(&r->events[1]->origin->on_behalf_of, "Ada <ada@example.com>"));
	assert_int_equal(r->events[2]->type, FOB__V1__EVENT_TYPE__KEY_EXPIRED);
	assert_null(r->events[2]->origin);
	assert_true(harness_is(&r->events[3]->origin->address, "192.0.2.8:1"));
	assert_int_equal(r->events[3]->origin->certificate.len, 0);
	assert_int_equal(r->events[3]->origin->on_behalf_of.len, 0);
}

/* Only a name of the form is taken: it is stored, logged and shown in the clear. */
static void
on_whose_behalf(void **state)
{
	static const struct {
		const char *name, *why;
	} bad[] = {
		{ "a\nb", "printable ASCII" },
		{ "a\"b", "printable ASCII" },
		{ "\xc3\xa9", "printable ASCII" },
		{ "12345678901234567890123456789012345678901234567890123456789012345", "at most 64" },
		{ "sk_live_ThisIsAnExampleNotARealKey00003Ikuv9", "what looks like a key" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f->hc->on_behalf_of = bad[i].name;
		assert_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
		assert_int_equal(f->hc->code, FAULT_INVALID_ARGUMENT);
		assert_non_null(strstr(f->hc->message, "on_behalf_of"));
		assert_non_null(strstr(f->hc->message, bad[i].why));
		assert_null(strstr(f->hc->message, bad[i].name));
	}
	f->hc->on_behalf_of = bad[3].name + 1;
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	f->hc->on_behalf_of = NULL;
	assert_int_equal(ask_events(f)->n_events, 1);
}

/* Of one token sent for two people, the event keeps the first: the second gets the same reply, and changes nothing. */
static void
on_another_behalf_under_one_token(void **state)
{
	struct fixture *f = *state;
	Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
	struct harness_token token = harness_token();
	static const char *const names[] = { "ada", "bob", NULL };
	Fob__V1__ListEventsResponse *r;

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("acme");
	f->hc->peer.known = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		f->hc->on_behalf_of = names[i];
		assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/CreateAccount", &in.base), 0);
	}
	r = ask_events(f);
	assert_int_equal(r->n_events, 1);
	assert_true(harness_is(&r->events[0]->origin->on_behalf_of, "ada"));
}

static void
revoke_key(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s;
	Fob__V1__RevokeKeyResponse *r;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", (Fob__V1__KeyKind)0, 1), FAULT_INVALID_ARGUMENT);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", (Fob__V1__KeyKind)3, 1), FAULT_INVALID_ARGUMENT);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, 0), FAULT_INVALID_ARGUMENT);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, 2), FAULT_NOT_FOUND);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, UINT32_MAX), FAULT_NOT_FOUND);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_TEST, "acme", FOB__V1__KEY_KIND__SECRET, 1), FAULT_NOT_FOUND);
	harness_advance(f->h, 5);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(harness_revoke(f->hc, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
		r = harness_body(f->hc, &fob__v1__revoke_key_response__descriptor);
		/* The second time it is as it was. */
		check_key(r->key, "acme", 0, 2, 1, FOB__V1__KEY_STATE__KEY_STATE_REVOKED, HARNESS_START_MS, 0,
		    HARNESS_START_MS + 5);
		harness_advance(f->h, 5);
	}
	assert_int_equal(harness_verdict(f->other, s.publishable), FOB__V1__VERDICT__REVOKED);
	assert_int_equal(harness_verdict(f->other, s.secret), FOB__V1__VERDICT__VALID);
}

static void
suspend_and_resume(void **state)
{
	struct fixture *f = *state;
	Fob__V1__SuspendAccountResponse *r;
	Fob__V1__ResumeAccountResponse *re;
	struct harness_secrets s;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "acme", true), 0);
	r = harness_body(f->hc, &fob__v1__suspend_account_response__descriptor);
	assert_true(r->account->suspended);
	assert_int_equal(r->account->suspended_ms, HARNESS_START_MS);
	harness_advance(f->h, 7);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "acme", true), 0);
	r = harness_body(f->hc, &fob__v1__suspend_account_response__descriptor);
	assert_int_equal(r->account->suspended_ms, HARNESS_START_MS);
	assert_int_equal(harness_verdict(f->other, s.publishable), FOB__V1__VERDICT__SUSPENDED);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "acme", false), 0);
	re = harness_body(f->hc, &fob__v1__resume_account_response__descriptor);
	assert_false(re->account->suspended);
	assert_int_equal(re->account->suspended_ms, 0);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "nobody", true), FAULT_NOT_FOUND);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_TEST, "acme", true), FAULT_NOT_FOUND);
}

/* ---- import ---- */

/* An item and what its fields point to. */
struct item {
	Fob__V1__ImportItem m;
	uint8_t secret[32], publishable[32];
};

static void
item_init(struct item *item, const char *account, const char *secret, const char *publishable)
{
	fob__v1__import_item__init(&item->m);
	item->m.account = harness_text(account);
	if (secret != NULL) {
		crypto_hash_sha256(item->secret, (const uint8_t *)secret, strlen(secret));
		item->m.secret_sha256 = harness_bytes(item->secret, 32);
		item->m.secret_last4 = harness_text("s4s4");
	}
	if (publishable != NULL) {
		crypto_hash_sha256(item->publishable, (const uint8_t *)publishable, strlen(publishable));
		item->m.publishable_sha256 = harness_bytes(item->publishable, 32);
		item->m.publishable_last4 = harness_text("p4p4");
	}
}

static int
import_all(struct harness_call *hc, enum environment environment, struct item *items, size_t n,
    const struct harness_token *token)
{
	Fob__V1__ImportAccountsRequest in = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ImportItem **pointers = calloc(n + 1, sizeof(*pointers));
	int code;

	for (size_t i = 0; i < n; i++)
		pointers[i] = &items[i].m;
	in.request_token = harness_bytes(token->bytes, LIMIT_TOKEN);
	in.environment = HARNESS_ENVIRONMENT(environment);
	in.n_items = n;
	in.items = pointers;
	code = harness_ask(hc, "fob.v1.Admin/ImportAccounts", &in.base);
	free(pointers);
	return code;
}

/* One item alone. Returns its outcome. */
static int
import_item(struct fixture *f, enum environment environment, struct item *item)
{
	struct harness_token token = harness_token();
	Fob__V1__ImportAccountsResponse *r;

	assert_int_equal(import_all(f->hc, environment, item, 1, &token), 0);
	r = harness_body(f->hc, &fob__v1__import_accounts_response__descriptor);
	assert_int_equal(r->n_outcomes, 1);
	return (int)r->outcomes[0];
}

static int
import_one(
    struct fixture *f, enum environment environment, const char *account, const char *secret, const char *publishable)
{
	struct item item;

	item_init(&item, account, secret, publishable);
	return import_item(f, environment, &item);
}

#define OLD_SECRET "sk_live_of-another.system=="
#define OLD_PUBLISHABLE "pk_live_0"
/* 128 and 129 bytes. */
#define LONG_SECRET \
	"sk_live_123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
#define TOO_LONG_SECRET LONG_SECRET "1"

static void
an_imported_key_is_a_key(void **state)
{
	struct fixture *f = *state;
	Fob__V1__VerifyKeyResponse *v;
	char rolled[SECRET_LEN + 1];

	assert_int_equal(harness_verdict(f->hc, OLD_SECRET), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "old", OLD_SECRET, OLD_PUBLISHABLE), IMPORT_DONE);
	v = harness_verify(f->hc, OLD_SECRET, "anything", FOB__V1__ENVIRONMENT__LIVE);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__VALID);
	assert_true(harness_is(&v->account, "old"));
	assert_true(harness_is(&v->last4, "s4s4"));
	assert_true(v->livemode);
	assert_int_equal(v->kind, FOB__V1__KEY_KIND__SECRET);
	assert_int_equal(v->generation, 1);
	v = harness_verify(f->hc, OLD_PUBLISHABLE, "anything", FOB__V1__ENVIRONMENT__LIVE);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__FORBIDDEN);
	assert_int_equal(v->kind, FOB__V1__KEY_KIND__PUBLISHABLE);
	v = harness_verify(f->hc, OLD_SECRET, "", FOB__V1__ENVIRONMENT__TEST);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__WRONG_ENVIRONMENT);

	/* Suspended, resumed and rolled as any other; the one in grace cannot authorise, the current one could. */
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "old", true), 0);
	assert_int_equal(harness_verdict(f->hc, OLD_SECRET), FOB__V1__VERDICT__SUSPENDED);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "old", false), 0);
	assert_non_null(harness_roll(f->hc, ENVIRONMENT_LIVE, "old", 10, rolled));
	v = harness_verify(f->hc, OLD_SECRET, "", FOB__V1__ENVIRONMENT__LIVE);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__VALID);
	assert_true(v->superseded);
	assert_int_equal(v->current_generation, 2);
	assert_int_equal(harness_verdict(f->hc, rolled), FOB__V1__VERDICT__VALID);
	harness_advance(f->h, 10000);
	assert_int_equal(harness_verdict(f->hc, OLD_SECRET), FOB__V1__VERDICT__EXPIRED);
	/* And an import that is run again does not bring it back. */
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "old", OLD_SECRET, OLD_PUBLISHABLE), IMPORT_UNCHANGED);
	assert_int_equal(harness_verdict(f->hc, OLD_SECRET), FOB__V1__VERDICT__EXPIRED);
}

static void
an_import_changes_no_other_answer(void **state)
{
	struct fixture *f = *state;
	char typo[SECRET_LEN + 1];
	struct harness_secrets s;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", &s));
	memcpy(typo, s.secret, sizeof(typo));
	typo[20] = typo[20] == 'a' ? 'b' : 'a';
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "old", OLD_SECRET, NULL), IMPORT_DONE);
	assert_int_equal(harness_verdict(f->hc, typo), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(harness_verdict(f->hc, "sk_live_of-another.system="), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(harness_verdict(f->hc, "sk_live_"), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(harness_verdict(f->hc, ""), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(harness_verdict(f->hc, s.secret), FOB__V1__VERDICT__VALID);
	/* Nothing of live's import is in test, whatever is asked there. */
	assert_int_equal(harness_verdict(f->hc, "sk_test_of-another.system=="), FOB__V1__VERDICT__MALFORMED);
	/* A test key that was imported into live, or a publishable key as a secret one, is not found. */
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_test_x", "sk_live_x"), IMPORT_DONE);
	assert_int_equal(harness_verdict(f->hc, "sk_test_x"), FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(harness_verdict(f->hc, "sk_live_x"), FOB__V1__VERDICT__MALFORMED);
	/* The longest, and one more. */
	assert_int_equal(strlen(LONG_SECRET), LIMIT_IMPORTED_SECRET);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "b", LONG_SECRET, NULL), IMPORT_DONE);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "c", TOO_LONG_SECRET, NULL), IMPORT_DONE);
	assert_int_equal(harness_verdict(f->hc, LONG_SECRET), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_verdict(f->hc, TOO_LONG_SECRET), FOB__V1__VERDICT__MALFORMED);
}

/* A key of Fob's form that this Fob did not make, such as another Fob's, is found if it was imported. */
static void
an_imported_key_of_our_form(void **state)
{
	struct fixture *f = *state;
	char secret[SECRET_LEN + 1];

	secret_generate(ENVIRONMENT_TEST, KIND_SECRET, secret);
	secret[SECRET_LEN] = '\0';
	assert_int_equal(harness_verdict(f->hc, secret), FOB__V1__VERDICT__NOT_FOUND);
	assert_int_equal(import_one(f, ENVIRONMENT_TEST, "old", secret, NULL), IMPORT_DONE);
	assert_int_equal(harness_verdict(f->hc, secret), FOB__V1__VERDICT__VALID);
	secret_generate(ENVIRONMENT_TEST, KIND_SECRET, secret);
	assert_int_equal(harness_verdict(f->hc, secret), FOB__V1__VERDICT__NOT_FOUND);
}

static void
outcomes_of_an_import(void **state)
{
	struct fixture *f = *state;
	struct item item;

	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_live_a", NULL), IMPORT_DONE);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_live_a", NULL), IMPORT_UNCHANGED);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", NULL, NULL), IMPORT_UNCHANGED);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_live_b", NULL), IMPORT_ACCOUNT_CONFLICT);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "b", "sk_live_a", NULL), IMPORT_KEY_CONFLICT);
	/* A conflict of one key keeps the item's other one out, too. */
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_live_b", "pk_live_a"), IMPORT_ACCOUNT_CONFLICT);
	assert_int_equal(harness_verdict(f->hc, "pk_live_a"), FOB__V1__VERDICT__MALFORMED);
	/* What is missing is added. */
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", "sk_live_a", "pk_live_a"), IMPORT_DONE);
	assert_int_equal(harness_verdict(f->hc, "pk_live_a"), FOB__V1__VERDICT__VALID);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a", NULL, "pk_live_a"), IMPORT_UNCHANGED);
	/* The other environment is another world. */
	assert_int_equal(import_one(f, ENVIRONMENT_TEST, "a", "sk_test_a", NULL), IMPORT_DONE);
	/* An account of Fob's own has its keys. */
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "own", NULL));
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "own", "sk_live_own", NULL), IMPORT_ACCOUNT_CONFLICT);

	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "a b", "sk_live_x", NULL), IMPORT_BAD_ACCOUNT);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "", "sk_live_x", NULL), IMPORT_BAD_ACCOUNT);
	assert_int_equal(
	    import_one(f, ENVIRONMENT_LIVE, "sk_live_0123456789ab", "sk_live_x", NULL), IMPORT_BAD_ACCOUNT);
	for (int i = 0; i < 5; i++) {
		item_init(&item, "bad", "sk_live_bad", NULL);
		if (i < 2)
			item.m.secret_sha256.len = i == 0 ? 31 : 0;
		else
			item.m.secret_last4 = harness_text(i == 2 ? "" : i == 3 ? "abc" : "ab_c");
		assert_int_equal(import_item(f, ENVIRONMENT_LIVE, &item), IMPORT_BAD_KEY);
	}
	item_init(&item, "when", "sk_live_when", NULL);
	item.m.created_ms = -1;
	assert_int_equal(import_item(f, ENVIRONMENT_LIVE, &item), IMPORT_BAD_TIME);
	item.m.created_ms = HARNESS_START_MS + 1;
	assert_int_equal(import_item(f, ENVIRONMENT_LIVE, &item), IMPORT_BAD_TIME);
	item.m.created_ms = 1;
	assert_int_equal(import_item(f, ENVIRONMENT_LIVE, &item), IMPORT_DONE);
	assert_int_equal(harness_verify(f->hc, "sk_live_when", "", FOB__V1__ENVIRONMENT__LIVE)->created_ms, 1);
}

/* An account without a key of a kind: its first roll makes the first one, and has no old one to tell of. */
static void
an_account_without_keys(void **state)
{
	struct fixture *f = *state;
	Fob__V1__RollKeyResponse *r;
	char secret[SECRET_LEN + 1];

	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "bare", NULL, NULL), IMPORT_DONE);
	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "bare", NULL, NULL), IMPORT_UNCHANGED);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "bare", true), 0);
	assert_int_equal(harness_suspend(f->hc, ENVIRONMENT_LIVE, "bare", false), 0);
	assert_int_equal(
	    harness_revoke(f->hc, ENVIRONMENT_LIVE, "bare", FOB__V1__KEY_KIND__SECRET, 1), FAULT_NOT_FOUND);
	assert_non_null(r = harness_roll(f->hc, ENVIRONMENT_LIVE, "bare", 86400, secret));
	assert_null(r->old_key);
	check_key(r->new_key->key, "bare", ENVIRONMENT_LIVE, 1, 1, FOB__V1__KEY_STATE__KEY_STATE_CURRENT,
	    HARNESS_START_MS, 0, 0);
	assert_int_equal(harness_verdict(f->hc, secret), FOB__V1__VERDICT__VALID);
	assert_non_null(r = harness_roll(f->hc, ENVIRONMENT_LIVE, "bare", 86400, NULL));
	assert_int_equal(r->old_key->generation, 1);
}

/* The current imported key may authorise a roll; its SHA-256 may not. */
static void
an_imported_key_authorises(void **state)
{
	struct fixture *f = *state;
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	struct harness_token token = harness_token();
	uint8_t sha256[32];

	assert_int_equal(import_one(f, ENVIRONMENT_LIVE, "old", OLD_SECRET, NULL), IMPORT_DONE);
	crypto_hash_sha256(sha256, (const uint8_t *)OLD_SECRET, strlen(OLD_SECRET));
	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("old");
	in.authorizing_secret = harness_bytes(sha256, 32);
	assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/RollKey", &in.base), FAULT_PERMISSION_DENIED);
	in.authorizing_secret = harness_text(OLD_SECRET);
	assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/RollKey", &in.base), 0);
	token = harness_token();
	assert_int_equal(harness_ask(f->hc, "fob.v1.Admin/RollKey", &in.base), FAULT_PERMISSION_DENIED);
}

/* The most that one import takes: one commit, one token, and the reply again. */
static void
the_largest_import(void **state)
{
	static struct item items[LIMIT_IMPORT + 1];
	static char accounts[LIMIT_IMPORT + 1][LIMIT_ACCOUNT + 1];
	struct fixture *f = *state;
	struct harness_token token = harness_token();
	Fob__V1__ImportAccountsResponse *r;
	char secret[64], publishable[64];

	for (unsigned i = 0; i <= LIMIT_IMPORT; i++) {
		snprintf(accounts[i], sizeof(accounts[i]), "%064u", i);
		snprintf(secret, sizeof(secret), "sk_live_%u", i);
		snprintf(publishable, sizeof(publishable), "pk_live_%u", i);
		item_init(&items[i], accounts[i], secret, publishable);
		items[i].m.created_ms = HARNESS_START_MS;
	}
	assert_int_equal(import_all(f->hc, ENVIRONMENT_LIVE, items, 0, &token), FAULT_INVALID_ARGUMENT);
	assert_int_equal(import_all(f->hc, ENVIRONMENT_LIVE, items, LIMIT_IMPORT + 1, &token), FAULT_INVALID_ARGUMENT);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(import_all(f->hc, ENVIRONMENT_LIVE, items, LIMIT_IMPORT, &token), 0);
		r = harness_body(f->hc, &fob__v1__import_accounts_response__descriptor);
		assert_int_equal(r->n_outcomes, LIMIT_IMPORT);
		for (unsigned k = 0; k < LIMIT_IMPORT; k++)
			assert_int_equal(r->outcomes[k], IMPORT_DONE);
	}
	items[1].m.created_ms--;
	assert_int_equal(import_all(f->hc, ENVIRONMENT_LIVE, items, LIMIT_IMPORT, &token), FAULT_ALREADY_EXISTS);
	assert_int_equal(harness_verdict(f->hc, "sk_live_255"), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_verdict(f->hc, "sk_live_256"), FOB__V1__VERDICT__MALFORMED);
}

/* Every mutation, as a message whose fields can be set by name. */
static const struct mutation_kind {
	const char *method;
	const ProtobufCMessageDescriptor *request;
} mutations[] = { { "fob.v1.Admin/CreateAccount", &fob__v1__create_account_request__descriptor },
	{ "fob.v1.Admin/RollKey", &fob__v1__roll_key_request__descriptor },
	{ "fob.v1.Admin/RevokeKey", &fob__v1__revoke_key_request__descriptor },
	{ "fob.v1.Admin/SuspendAccount", &fob__v1__suspend_account_request__descriptor },
	{ "fob.v1.Admin/ResumeAccount", &fob__v1__resume_account_request__descriptor } };
#define N_MUTATIONS (sizeof(mutations) / sizeof(mutations[0]))

static void *
field_of(ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

	return field != NULL ? (uint8_t *)m + field->offset : NULL;
}

static ProtobufCMessage *
request_new(const struct mutation_kind *kind, const struct harness_token *token, const char *account)
{
	ProtobufCMessage *m = calloc(1, kind->request->sizeof_message);

	protobuf_c_message_init(kind->request, m);
	*(ProtobufCBinaryData *)field_of(m, "request_token") = harness_bytes(token->bytes, LIMIT_TOKEN);
	*(int *)field_of(m, "environment") = FOB__V1__ENVIRONMENT__LIVE;
	*(ProtobufCBinaryData *)field_of(m, "account") = harness_text(account);
	if (field_of(m, "kind") != NULL)
		*(int *)field_of(m, "kind") = FOB__V1__KEY_KIND__SECRET;
	if (field_of(m, "generation") != NULL)
		*(uint32_t *)field_of(m, "generation") = 1;
	return m;
}

static void
every_mutation_checks_its_fields(void **state)
{
	static const char *const accounts[] = { "", "a b", "a/b", "\xc3\xa4", "a\n", "a\x7f",
		"01234567890123456789012345678901234567890123456789012345678901234" };
	struct fixture *f = *state;

	assert_non_null(harness_create(f->other, ENVIRONMENT_LIVE, "acme", NULL));
	for (size_t i = 0; i < N_MUTATIONS; i++) {
		struct harness_token token = harness_token();
		ProtobufCMessage *m = request_new(&mutations[i], &token, "acme");
		ProtobufCBinaryData *t = field_of(m, "request_token"), *account = field_of(m, "account");
		uint8_t longer[LIMIT_TOKEN + 1] = { 0 };

		for (size_t k = 0; k < sizeof(accounts) / sizeof(accounts[0]); k++) {
			*account = harness_text(accounts[k]);
			assert_int_equal(harness_ask(f->hc, mutations[i].method, m), FAULT_INVALID_ARGUMENT);
		}
		*account = harness_bytes("acme\0", 5);
		assert_int_equal(harness_ask(f->hc, mutations[i].method, m), FAULT_INVALID_ARGUMENT);
		*account = harness_text("acme");
		for (int e = -1; e < 5; e++) {
			if (e == 1 || e == 2)
				continue;
			*(int *)field_of(m, "environment") = e;
			assert_int_equal(harness_ask(f->hc, mutations[i].method, m), FAULT_INVALID_ARGUMENT);
		}
		*(int *)field_of(m, "environment") = FOB__V1__ENVIRONMENT__LIVE;
		for (size_t len = 0; len <= LIMIT_TOKEN + 1; len++) {
			if (len == LIMIT_TOKEN)
				continue;
			*t = harness_bytes(longer, len);
			assert_int_equal(harness_ask(f->hc, mutations[i].method, m), FAULT_INVALID_ARGUMENT);
			assert_non_null(strstr(f->hc->message, "request_token"));
		}
		free(m);
	}
	/* Nothing of all this has changed anything. */
	assert_non_null(harness_create(f->other, ENVIRONMENT_TEST, "acme", NULL));
}

static void
an_environment_that_is_not_served(void **state)
{
	struct fixture *f = *state;
	struct engine *test = f->h->service.engines[ENVIRONMENT_TEST];

	f->h->service.engines[ENVIRONMENT_TEST] = NULL;
	assert_null(harness_create(f->hc, ENVIRONMENT_TEST, "acme", NULL));
	assert_int_equal(f->hc->code, FAULT_FAILED_PRECONDITION);
	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	f->h->service.engines[ENVIRONMENT_TEST] = test;
}

/* ---- a token and its request ---- */

/* Give one field another value that is right in itself. Returns false when the field is no part of the digest. */
static bool
change_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *field, Fob__V1__Grace *grace)
{
	void *p = (uint8_t *)m + field->offset;

	/* The token is what is held against it; the other environment is another database. */
	if (strcmp(field->name, "request_token") == 0 || strcmp(field->name, "environment") == 0)
		return false;
	if (strcmp(field->name, "account") == 0) {
		*(ProtobufCBinaryData *)p = harness_text("beta");
	} else if (strcmp(field->name, "kind") == 0) {
		*(int *)p = strstr(m->descriptor->name, "Roll") != NULL ? 0 : FOB__V1__KEY_KIND__PUBLISHABLE;
	} else if (strcmp(field->name, "grace") == 0) {
		fob__v1__grace__init(grace);
		*(Fob__V1__Grace **)p = grace;
	} else if (field->type == PROTOBUF_C_TYPE_UINT32) {
		*(uint32_t *)p += 1;
	} else {
		assert_string_equal(field->name, "authorizing_secret");
		*(ProtobufCBinaryData *)p = harness_text("sk_live_");
	}
	return true;
}

static void
the_digest_knows_every_field(void **state)
{
	struct fixture *f = *state;
	Fob__V1__Grace grace;
	uint8_t *first = malloc(HARNESS_REPLY_MAX);
	unsigned n = 0;
	size_t len;

	assert_non_null(harness_create(f->other, ENVIRONMENT_LIVE, "acme", NULL));
	assert_non_null(harness_create(f->other, ENVIRONMENT_LIVE, "beta", NULL));
	for (size_t i = 0; i < N_MUTATIONS; i++) {
		const char *account = i == 0 ? "new" : "acme";
		struct harness_token token = harness_token(), another = harness_token();
		ProtobufCMessage *m = request_new(&mutations[i], &token, account);

		assert_int_equal(harness_ask(f->hc, mutations[i].method, m), 0);
		len = f->hc->len;
		memcpy(first, f->hc->bytes, len);
		for (unsigned k = 0; k < mutations[i].request->n_fields; k++) {
			ProtobufCMessage *changed = request_new(&mutations[i], &token, account);

			if (change_field(changed, &mutations[i].request->fields[k], &grace)) {
				assert_int_equal(
				    harness_ask(f->hc, mutations[i].method, changed), FAULT_ALREADY_EXISTS);
				assert_non_null(strstr(f->hc->message, "request_token"));
				n++;
			}
			free(changed);
		}
		/* The same again, byte for byte, whatever has become of things. */
		if (i == 1)
			assert_int_equal(
			    harness_revoke(f->other, ENVIRONMENT_LIVE, "acme", FOB__V1__KEY_KIND__SECRET, 2), 0);
		harness_advance(f->h, HARNESS_DAY_MS / 10);
		assert_int_equal(harness_ask(f->hc, mutations[i].method, m), 0);
		assert_int_equal(f->hc->len, len);
		assert_memory_equal(f->hc->bytes, first, len);

		/* And with another token it is another intent. */
		*(ProtobufCBinaryData *)field_of(m, "request_token") = harness_bytes(another.bytes, LIMIT_TOKEN);
		harness_ask(f->hc, mutations[i].method, m);
		assert_int_equal(f->hc->code, i == 0 ? FAULT_ALREADY_EXISTS : 0);
		assert_null(strstr(f->hc->message, "request_token"));
		free(m);
	}
	assert_int_equal(n, 1 + 5 + 3 + 1 + 1);
	free(first);
}

/* Suspend and resume are of one shape: the method is a part of the request. */
static void
the_digest_knows_the_method(void **state)
{
	struct fixture *f = *state;
	struct harness_token token = harness_token();
	ProtobufCMessage *m;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	m = request_new(&mutations[3], &token, "acme");
	assert_int_equal(harness_ask(f->hc, mutations[3].method, m), 0);
	free(m);
	m = request_new(&mutations[4], &token, "acme");
	assert_int_equal(harness_ask(f->hc, mutations[4].method, m), FAULT_ALREADY_EXISTS);
	free(m);
}

/* What is stored to know a request again says nothing of its token, so that the index alone finds it. */
static void
the_digest_ignores_the_token(void **state)
{
	struct fixture *f = *state;
	uint8_t digest[PEPPER_DIGEST_LEN];

	assert_non_null(harness_create(f->other, ENVIRONMENT_LIVE, "acme", NULL));
	for (size_t i = 1; i < N_MUTATIONS; i++) {
		for (int k = 0; k < 20; k++) {
			struct harness_token token = harness_token();
			ProtobufCMessage *m = request_new(&mutations[i], &token, "acme");
			Fob__V1__Grace grace = FOB__V1__GRACE__INIT;

			if (field_of(m, "grace") != NULL)
				*(Fob__V1__Grace **)field_of(m, "grace") = &grace;
			assert_int_equal(harness_ask(f->hc, mutations[i].method, m), 0);
			if (k == 0)
				memcpy(digest, f->hc->request, sizeof(digest));
			assert_memory_equal(f->hc->request, digest, sizeof(digest));
			free(m);
		}
	}
}

/* One token, two contexts, at once: one is applied, and both get its reply. */
static void
one_token_at_once(void **state)
{
	struct fixture *f = *state;
	struct writer_counters before, after;

	assert_non_null(harness_create(f->hc, ENVIRONMENT_LIVE, "acme", NULL));
	writer_count(f->h->service.engines[0]->writer, &before);
	for (int i = 0; i < 50; i++) {
		struct harness_token token = harness_token();
		ProtobufCMessage *m = request_new(&mutations[1], &token, "acme");
		Fob__V1__Grace grace = FOB__V1__GRACE__INIT;

		*(Fob__V1__Grace **)field_of(m, "grace") = &grace;
		harness_start(f->hc, mutations[1].method, m);
		harness_start(f->other, mutations[1].method, m);
		assert_int_equal(harness_wait(f->hc), 0);
		assert_int_equal(harness_wait(f->other), 0);
		assert_int_equal(f->hc->len, f->other->len);
		assert_memory_equal(f->hc->bytes, f->other->bytes, f->hc->len);
		free(m);
	}
	writer_count(f->h->service.engines[0]->writer, &after);
	assert_int_equal(after.mutations - before.mutations, 50);
	assert_int_equal(after.replays - before.replays, 50);
}

/* ---- nothing stays behind ---- */

static bool
is_in(const void *where, size_t len, const void *what, size_t what_len)
{
	return memmem(where, len, what, what_len) != NULL;
}

static struct harness_token searched_token;

/* As it is answered the call has both: the search finds what there is. */
static void
has_secrets(const struct call *call)
{
	assert_true(is_in(call->mutation.reply, sizeof(call->mutation.reply), "sk_live_", 8));
	assert_true(is_in(call->scratch.bytes, LIMIT_ARENA, searched_token.bytes, 32));
}

static void
a_call_is_wiped(void **state)
{
	struct fixture *f = *state;
	Fob__V1__CreateAccountResponse *r;
	struct harness_secrets s;
	const struct call *call;
	ProtobufCMessage *m;

	searched_token = harness_token();
	m = request_new(&mutations[0], &searched_token, "acme");
	f->hc->look = has_secrets;
	assert_int_equal(harness_ask(f->hc, mutations[0].method, m), 0);
	f->hc->look = NULL;
	r = harness_body(f->hc, &fob__v1__create_account_response__descriptor);
	harness_take_secret(r->secret_key, s.secret);
	harness_take_secret(r->publishable_key, s.publishable);
	harness_settle(f->h);
	/* It is the one spare call. */
	assert_int_equal(f->h->service.n_spare_calls, 1);
	call = f->h->service.spare_calls;
	assert_false(is_in(call, sizeof(*call), s.secret + 8, 30));
	assert_false(is_in(call, sizeof(*call), s.publishable + 8, 30));
	assert_false(is_in(call, sizeof(*call), searched_token.bytes, 32));
	assert_false(is_in(call->scratch.bytes, LIMIT_ARENA, s.secret + 8, 30));
	assert_false(is_in(call->scratch.bytes, LIMIT_ARENA, searched_token.bytes, 32));
	free(m);

	/* The secret that authorises a roll, also when it is refused. */
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			memcpy(s.secret, s.publishable, sizeof(s.secret));
		ask_roll(f->hc, "acme", 1, NULL, 0, s.secret);
		assert_int_equal(f->hc->code, i == 0 ? 0 : FAULT_PERMISSION_DENIED);
		harness_settle(f->h);
		assert_ptr_equal(call, f->h->service.spare_calls);
		assert_false(is_in(call, sizeof(*call), s.secret + 8, 30));
		assert_false(is_in(call->scratch.bytes, LIMIT_ARENA, s.secret + 8, 30));
	}
}

#if !HARNESS_SANITIZED
/* Search the whole process: the test keeps the secret only in a disguised form, so any plain copy is a leak. */
#define MASK 0x5a
static uint8_t masked[2][30];
static _Atomic unsigned n_masked;

static void
mask_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	const uint8_t *at = memmem(bytes, len, "sk_live_", 8);

	for (unsigned i = 0; at != NULL && i < 30; i++)
		masked[n_masked][i] = at[8 + i] ^ MASK;
	(void)origin;
	(void)admitted;
	n_masked++;
}

static unsigned
count_in(const uint8_t *p, size_t len, const uint8_t *what)
{
	unsigned n = 0;

	for (size_t i = 0; i + 30 <= len; i++) {
		size_t k = 0;

		while (k < 30 && p[i + k] == (what[k] ^ MASK))
			k++;
		n += k == 30;
	}
	return n;
}

/* Count the copies in writable memory, and print where they are. */
static unsigned
count_in_process(const uint8_t *what, char where[256])
{
	enum { PIECE = 1 << 20 };
	uint8_t *buffer = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int mem = open("/proc/self/mem", O_RDONLY);
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512], mode[8];
	unsigned n = 0, here;
	ssize_t got;

	assert_true(buffer != MAP_FAILED && mem >= 0 && maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL) {
		assert_int_equal(sscanf(line, "%lx-%lx %7s", &from, &to, mode), 3);
		/* Not the 32 GiB of last-used times, which hold none. */
		if (mode[1] != 'w' || to - from > (1UL << 30) || (from <= (uintptr_t)buffer && (uintptr_t)buffer < to))
			continue;
		for (unsigned long at = from; at < to; at += PIECE - 64) {
			if ((got = pread(mem, buffer, to - at < PIECE ? to - at : PIECE, (off_t)at)) <= 0)
				break;
			if ((here = count_in(buffer, (size_t)got, what)) > 0)
				snprintf(where, 256, "%.200s", line);
			n += here;
		}
	}
	fclose(maps);
	close(mem);
	munmap(buffer, PIECE);
	return n;
}

static void
a_process_is_wiped(void **state)
{
	struct fixture *f = *state;
	ProtobufCMessage *m;
	char where[256] = "";
	struct harness_token token = harness_token();
	uint8_t *bytes, *copy;
	struct peer peer = { 0 };
	const struct origin origin = { .role = ROLE_ADMIN, .peer = &peer };
	struct worker worker;
	size_t len;

	n_masked = 0;
	f->h->transport.reply = mask_reply;
	assert_int_equal(worker_init(&worker, &f->h->service), 0);
	for (unsigned i = 0; i < 2; i++) {
		token = harness_token();
		m = request_new(&mutations[i], &token, "acme");
		bytes = harness_request(mutations[i].method, m, 0, &len);
		dispatch(&worker, &origin, bytes, len, clock_boot_ns());
		dispatch_end(&worker);
		while (n_masked == i)
			usleep(1000);
		free(bytes);
		free(m);
	}
	/* Let the writer's thread go to sleep. */
	usleep(20000);
	/* The search finds what there is. */
	copy = malloc(30);
	for (int i = 0; i < 30; i++)
		copy[i] = masked[0][i] ^ MASK;
	assert_int_not_equal(count_in_process(masked[0], where), 0);
	sodium_memzero(copy, 30);
	free(copy);
	for (int i = 0; i < 2; i++)
		if (count_in_process(masked[i], where) != 0)
			fail_msg("a secret is left in memory: %s", where);
	worker_fini(&worker);
	f->h->transport.reply = harness_reply;
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_largest_replies_fit),
		TEST(the_largest_accounts),
		TEST(create),
		TEST(roll),
		TEST(what_a_roll_may_ask),
		TEST(the_ninth_key_in_grace),
		TEST(a_grace_that_the_sweeper_cannot_end),
		TEST(who_asked),
		TEST(on_whose_behalf),
		TEST(on_another_behalf_under_one_token),
		TEST(revoke_key),
		TEST(suspend_and_resume),
		TEST(an_imported_key_is_a_key),
		TEST(an_import_changes_no_other_answer),
		TEST(an_imported_key_of_our_form),
		TEST(outcomes_of_an_import),
		TEST(an_account_without_keys),
		TEST(an_imported_key_authorises),
		TEST(the_largest_import),
		TEST(every_mutation_checks_its_fields),
		TEST(an_environment_that_is_not_served),
		TEST(the_digest_knows_every_field),
		TEST(the_digest_knows_the_method),
		TEST(the_digest_ignores_the_token),
		TEST(one_token_at_once),
		TEST(a_call_is_wiped),
#if !HARNESS_SANITIZED
		TEST(a_process_is_wiped),
#endif
	};

	return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
