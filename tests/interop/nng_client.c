/*
 * nng_client.c - every RPC of Fob, called by nng's own REQ socket: no libfob, only nng and the messages. It shows that
 * fobd, which speaks SP itself, is still a server for nng.
 *
 *     nng_client URL [CA.pem PAIR.pem NAME]     an admin listener; for tls+tcp its CA, our certificate with its key,
 *                                               and the server's name
 *
 * Prints "called METHOD" for each. Exit status 0: each was called in both environments, and each answer was right.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "proto/c/program.h"
#include "tests/lib/made.h"

#define ACCOUNT "by-nng"
#define TIMEOUT_MS 60000
#define CONTEXTS 16
#define ROUNDS 20
#define CHECK(ok, ...) ((ok) ? (void)0 : fail(__LINE__, __VA_ARGS__))
#define NNG(call) nng_check(call, #call)

static const ProtobufCServiceDescriptor *const services[] = { &fob__v1__keys__descriptor, &fob__v1__admin__descriptor,
	&fob__v1__health__descriptor };
static unsigned called[3][16];
static nng_socket sock;

__attribute__((format(printf, 2, 3))) _Noreturn static void
fail(int line, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "nng_client: line %d: ", line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void
nng_check(int rv, const char *what)
{
	CHECK(rv == 0, "%s: %s", what, nng_strerror(rv));
}

static ProtobufCBinaryData
text(const char *s)
{
	return (ProtobufCBinaryData){ strlen(s), (uint8_t *)(uintptr_t)s };
}

static bool
is(ProtobufCBinaryData data, const char *s)
{
	return data.len == strlen(s) && memcmp(data.data, s, data.len) == 0;
}

/* ---- one call ---- */

static nng_msg *
request_of(const ProtobufCServiceDescriptor *service, unsigned method, const ProtobufCMessage *message)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	char name[128];
	nng_msg *msg;

	snprintf(name, sizeof(name), "%s/%s", service->name, service->methods[method].name);
	request.method = text(name);
	request.body.len = protobuf_c_message_get_packed_size(message);
	request.body.data = malloc(request.body.len + 1);
	CHECK(request.body.data != NULL, "no memory");
	protobuf_c_message_pack(message, request.body.data);
	NNG(nng_msg_alloc(&msg, fob__rpc__v1__request__get_packed_size(&request)));
	fob__rpc__v1__request__pack(&request, nng_msg_body(msg));
	free(request.body.data);
	return msg;
}

/* The method's response, to be freed; ${wanted} is its code, and NULL is returned for any but OK. Takes ${msg}. */
static void *
response_of(nng_msg *msg, const ProtobufCMessageDescriptor *output, Fob__Rpc__V1__Code wanted)
{
	Fob__Rpc__V1__Response *response = fob__rpc__v1__response__unpack(NULL, nng_msg_len(msg), nng_msg_body(msg));
	void *result = NULL;

	CHECK(response != NULL, "a reply of %zu bytes is no Response", nng_msg_len(msg));
	CHECK(response->code == wanted, "code %d: %.*s", response->code, (int)response->message.len,
	    (const char *)response->message.data);
	if (wanted == FOB__RPC__V1__CODE__OK) {
		result = protobuf_c_message_unpack(output, NULL, response->body.len, response->body.data);
		CHECK(result != NULL, "the body is no %s", output->name);
	}
	fob__rpc__v1__response__free_unpacked(response, NULL);
	nng_msg_free(msg);
	return result;
}

static void *
call_for(const char *name, const void *message, Fob__Rpc__V1__Code wanted)
{
	const ProtobufCMessageDescriptor *input = ((const ProtobufCMessage *)message)->descriptor;

	for (unsigned s = 0; s < 3; s++)
		for (unsigned m = 0; m < services[s]->n_methods; m++) {
			nng_msg *msg;

			if (strcmp(services[s]->methods[m].name, name) != 0)
				continue;
			CHECK(services[s]->methods[m].input == input, "%s takes another message", name);
			called[s][m]++;
			NNG(nng_sendmsg(sock, request_of(services[s], m, message), 0));
			NNG(nng_recvmsg(sock, &msg, 0));
			return response_of(msg, services[s]->methods[m].output, wanted);
		}
	fail(__LINE__, "there is no method %s", name);
}

static void *
call(const char *name, const void *message)
{
	return call_for(name, message, FOB__RPC__V1__CODE__OK);
}

static void
done(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- Keys ---- */

static void
verify(const char *secret, Fob__V1__Verdict verdict, Fob__V1__Environment environment)
{
	Fob__V1__VerifyKeyRequest one = FOB__V1__VERIFY_KEY_REQUEST__INIT, *items[] = { &one, &one, &one };
	Fob__V1__VerifyKeysRequest many = FOB__V1__VERIFY_KEYS_REQUEST__INIT;
	Fob__V1__VerifyKeyResponse *r;
	Fob__V1__VerifyKeysResponse *batch;

	one.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	one.secret = text(secret);
	r = call("VerifyKey", &one);
	CHECK(r->verdict == verdict, "the verdict is %d, not %d", r->verdict, verdict);
	CHECK(r->environment == environment && r->livemode == (environment == FOB__V1__ENVIRONMENT__LIVE),
	    "a key of environment %d", r->environment);
	many.n_items = 3;
	many.items = items;
	batch = call("VerifyKeys", &many);
	CHECK(batch->n_items == 3, "%zu items", batch->n_items);
	for (size_t i = 0; i < 3; i++) {
		CHECK(
		    batch->items[i]->code == FOB__RPC__V1__CODE__OK && batch->items[i]->result != NULL, "item %zu", i);
		CHECK(batch->items[i]->result->verdict == verdict, "item %zu: verdict %d", i,
		    batch->items[i]->result->verdict);
	}
	done(r);
	done(batch);
}

/* ---- Admin ---- */

/* For any of the messages, which have these three fields under the same names. */
#define FILL(request, env) \
	do { \
		static uint8_t token_[32]; \
\
		randombytes_buf(token_, sizeof(token_)); \
		(request).request_token = (ProtobufCBinaryData){ sizeof(token_), token_ }; \
		(request).environment = (env); \
	} while (0)

static void
keep(ProtobufCBinaryData secret, char out[MADE_SECRET_LEN + 1])
{
	CHECK(secret.len == MADE_SECRET_LEN, "a secret of %zu bytes", secret.len);
	memcpy(out, secret.data, secret.len);
	out[secret.len] = '\0';
	made_secret(out);
}

static void
check_lists(Fob__V1__Environment env)
{
	Fob__V1__ListKeysRequest keys_of = FOB__V1__LIST_KEYS_REQUEST__INIT;
	Fob__V1__ListAccountsRequest accounts_of = FOB__V1__LIST_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ListEventsRequest events_of = FOB__V1__LIST_EVENTS_REQUEST__INIT;
	static const Fob__V1__EventType types[] = { FOB__V1__EVENT_TYPE__ACCOUNT_CREATED,
		FOB__V1__EVENT_TYPE__KEY_ROLLED, FOB__V1__EVENT_TYPE__KEY_REVOKED,
		FOB__V1__EVENT_TYPE__ACCOUNT_SUSPENDED, FOB__V1__EVENT_TYPE__ACCOUNT_RESUMED };
	Fob__V1__ListKeysResponse *keys;
	Fob__V1__ListAccountsResponse *accounts;
	Fob__V1__ListEventsResponse *events;

	keys_of.environment = accounts_of.environment = events_of.environment = env;
	keys_of.account = events_of.account = text(ACCOUNT);
	keys = call("ListKeys", &keys_of);
	CHECK(keys->n_keys == 3, "%zu keys", keys->n_keys);
	CHECK(keys->keys[0]->state == FOB__V1__KEY_STATE__KEY_STATE_REVOKED &&
		keys->keys[1]->state == FOB__V1__KEY_STATE__KEY_STATE_CURRENT && keys->keys[1]->generation == 2,
	    "states %d and %d", keys->keys[0]->state, keys->keys[1]->state);
	accounts = call("ListAccounts", &accounts_of);
	CHECK(accounts->n_accounts == 2 && is(accounts->accounts[0]->account, ACCOUNT), "%zu accounts",
	    accounts->n_accounts);
	events = call("ListEvents", &events_of);
	CHECK(events->n_events == 5, "%zu events", events->n_events);
	for (size_t i = 0; i < 5; i++)
		CHECK(events->events[i]->type == types[i], "event %zu is %d", i, events->events[i]->type);
	done(keys);
	done(accounts);
	done(events);
}

static void
import(Fob__V1__Environment env)
{
	Fob__V1__ImportAccountsRequest request = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ImportItem item = FOB__V1__IMPORT_ITEM__INIT, *items[] = { &item };
	Fob__V1__ImportAccountsResponse *r;
	char secret[64];
	uint8_t sha256[32];

	snprintf(
	    secret, sizeof(secret), "sk_%s_moved-from-elsewhere", env == FOB__V1__ENVIRONMENT__LIVE ? "live" : "test");
	crypto_hash_sha256(sha256, (const unsigned char *)secret, strlen(secret));
	FILL(request, env);
	request.n_items = 1;
	request.items = items;
	item.account = text("moved");
	item.secret_sha256 = (ProtobufCBinaryData){ sizeof(sha256), sha256 };
	item.secret_last4 = text("here");
	r = call("ImportAccounts", &request);
	CHECK(r->n_outcomes == 1 && r->outcomes[0] == FOB__V1__IMPORT_OUTCOME__IMPORTED, "it was not imported");
	verify(secret, FOB__V1__VERDICT__VALID, env);
	done(r);
}

/* A backup, part by part: of the size and the SHA-256 that the server says. */
static void
back_up(Fob__V1__Environment env)
{
	Fob__V1__ReadBackupRequest request = FOB__V1__READ_BACKUP_REQUEST__INIT;
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint8_t id[16], sha256[crypto_hash_sha256_BYTES], got[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	Fob__V1__ReadBackupResponse *r;
	uint64_t size;
	bool same;

	randombytes_buf(id, sizeof(id));
	request.environment = env;
	request.backup = (ProtobufCBinaryData){ sizeof(id), id };
	crypto_hash_sha256_init(&state);
	do {
		r = call("ReadBackup", &request);
		size = r->size;
		crypto_hash_sha256_update(&state, r->data.data, r->data.len);
		request.offset += r->data.len;
		same = r->sha256.len == sizeof(sha256);
		if (same)
			memcpy(sha256, r->sha256.data, sizeof(sha256));
		else
			nanosleep(&pause, NULL);
		done(r);
	} while (size == 0 || request.offset < size);
	crypto_hash_sha256_final(&state, got);
	CHECK(same && request.offset == size && memcmp(got, sha256, sizeof(got)) == 0, "another backup, of %llu bytes",
	    (unsigned long long)size);
}

/* This database is in no cluster, and stays so. */
static void
cluster(Fob__V1__Environment env)
{
	Fob__V1__InitClusterRequest init = FOB__V1__INIT_CLUSTER_REQUEST__INIT;
	Fob__V1__ForgetNodeRequest forget = FOB__V1__FORGET_NODE_REQUEST__INIT;
	Fob__V1__ClusterStatusRequest status = FOB__V1__CLUSTER_STATUS_REQUEST__INIT;

	init.environment = forget.environment = status.environment = env;
	call_for("InitCluster", &init, FOB__RPC__V1__CODE__INVALID_ARGUMENT);
	call_for("ForgetNode", &forget, FOB__RPC__V1__CODE__FAILED_PRECONDITION);
	call_for("ClusterStatus", &status, FOB__RPC__V1__CODE__FAILED_PRECONDITION);
}

static void
life(Fob__V1__Environment env)
{
	Fob__V1__CreateAccountRequest create = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;
	Fob__V1__RollKeyRequest roll = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__RevokeKeyRequest revoke = FOB__V1__REVOKE_KEY_REQUEST__INIT;
	Fob__V1__SuspendAccountRequest suspend = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;
	Fob__V1__ResumeAccountRequest resume = FOB__V1__RESUME_ACCOUNT_REQUEST__INIT;
	Fob__V1__CreateAccountResponse *created, *again;
	Fob__V1__RollKeyResponse *rolled;
	Fob__V1__RevokeKeyResponse *revoked;
	Fob__V1__SuspendAccountResponse *suspended;
	Fob__V1__ResumeAccountResponse *resumed;
	char first[MADE_SECRET_LEN + 1], second[MADE_SECRET_LEN + 1];

	FILL(create, env);
	create.account = roll.account = revoke.account = suspend.account = resume.account = text(ACCOUNT);
	created = call("CreateAccount", &create);
	CHECK(is(created->account->account, ACCOUNT) && created->account->environment == env, "another account");
	keep(created->secret_key->secret, first);
	verify(first, FOB__V1__VERDICT__VALID, env);
	again = call("CreateAccount", &create); /* as a REQ socket sends it again by itself */
	CHECK(is(again->secret_key->secret, first), "the same token gave another secret");
	FILL(create, env);
	CHECK(call_for("CreateAccount", &create, FOB__RPC__V1__CODE__ALREADY_EXISTS) == NULL, "it was made twice");

	FILL(roll, env);
	roll.authorizing_secret = text(first);
	rolled = call("RollKey", &roll);
	keep(rolled->new_key->secret, second);
	CHECK(rolled->new_key->key->generation == 2 && rolled->old_key->generation == 1, "generation %u",
	    rolled->new_key->key->generation);
	verify(first, FOB__V1__VERDICT__VALID, env); /* in grace */
	FILL(revoke, env);
	revoke.kind = FOB__V1__KEY_KIND__SECRET;
	revoke.generation = 1;
	revoked = call("RevokeKey", &revoke);
	CHECK(revoked->key->state == FOB__V1__KEY_STATE__KEY_STATE_REVOKED, "state %d", revoked->key->state);
	verify(first, FOB__V1__VERDICT__REVOKED, env);
	FILL(suspend, env);
	suspended = call("SuspendAccount", &suspend);
	CHECK(suspended->account->suspended, "it is not suspended");
	verify(second, FOB__V1__VERDICT__SUSPENDED, env);
	FILL(resume, env);
	resumed = call("ResumeAccount", &resume);
	CHECK(!resumed->account->suspended, "it is still suspended");
	verify(second, FOB__V1__VERDICT__VALID, env);
	import(env);
	check_lists(env);
	back_up(env);
	done(created);
	done(again);
	done(rolled);
	done(revoked);
	done(suspended);
	done(resumed);
}

/* ---- Health ---- */

static void
health(void)
{
	Fob__V1__CheckRequest check = FOB__V1__CHECK_REQUEST__INIT;
	Fob__V1__StatsRequest stats = FOB__V1__STATS_REQUEST__INIT;
	Fob__V1__CheckResponse *checked = call("Check", &check);
	Fob__V1__StatsResponse *counted = call("Stats", &stats);

	CHECK(checked->status == FOB__V1__CHECK_RESPONSE__SERVING_STATUS__SERVING, "status %d", checked->status);
	CHECK(counted->requests >= 40 && counted->connections >= 1 && counted->n_environments == 2, "%llu requests",
	    (unsigned long long)counted->requests);
	check.service = text("nothing");
	CHECK(call_for("Check", &check, FOB__RPC__V1__CODE__NOT_FOUND) == NULL, "there is a service \"nothing\"");
	done(checked);
	done(counted);
}

/* Requests under way at once on one connection, each on a context: each gets its own answer. */
static void
at_once(void)
{
	nng_ctx contexts[CONTEXTS];
	nng_aio *aios[CONTEXTS];

	for (unsigned i = 0; i < CONTEXTS; i++) {
		NNG(nng_ctx_open(&contexts[i], sock));
		NNG(nng_aio_alloc(&aios[i], NULL, NULL));
		nng_aio_set_timeout(aios[i], TIMEOUT_MS);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < CONTEXTS; i++) {
			Fob__V1__VerifyKeyRequest one = FOB__V1__VERIFY_KEY_REQUEST__INIT, *items[CONTEXTS];
			Fob__V1__VerifyKeysRequest many = FOB__V1__VERIFY_KEYS_REQUEST__INIT;

			one.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
			for (unsigned j = 0; j < CONTEXTS; j++)
				items[j] = &one;
			many.n_items = i + 1; /* by which the answer is known */
			many.items = items;
			nng_aio_set_msg(aios[i], request_of(&fob__v1__keys__descriptor, 1, &many.base));
			nng_ctx_send(contexts[i], aios[i]);
		}
		for (unsigned i = 0; i < CONTEXTS; i++) {
			nng_aio_wait(aios[i]);
			NNG(nng_aio_result(aios[i]));
			nng_ctx_recv(contexts[i], aios[i]);
		}
		for (unsigned i = 0; i < CONTEXTS; i++) {
			Fob__V1__VerifyKeysResponse *r;

			nng_aio_wait(aios[i]);
			NNG(nng_aio_result(aios[i]));
			r = response_of(nng_aio_get_msg(aios[i]), fob__v1__keys__descriptor.methods[1].output,
			    FOB__RPC__V1__CODE__OK);
			CHECK(
			    r->n_items == i + 1, "the answer of another context: %zu items, not %u", r->n_items, i + 1);
			done(r);
		}
	}
	for (unsigned i = 0; i < CONTEXTS; i++) {
		nng_aio_free(aios[i]);
		nng_ctx_close(contexts[i]);
	}
}

static void
dial(int argc, char **argv)
{
	nng_tls_config *tls;
	nng_dialer dialer;

	NNG(nng_req0_open(&sock));
	NNG(nng_socket_set_ms(sock, NNG_OPT_SENDTIMEO, TIMEOUT_MS));
	NNG(nng_socket_set_ms(sock, NNG_OPT_RECVTIMEO, TIMEOUT_MS));
	NNG(nng_socket_set_ms(sock, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE));
	NNG(nng_dialer_create(&dialer, sock, argv[1]));
	if (argc == 5) {
		NNG(nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT));
		NNG(nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED));
		NNG(nng_tls_config_ca_file(tls, argv[2]));
		NNG(nng_tls_config_cert_key_file(tls, argv[3], NULL));
		NNG(nng_tls_config_server_name(tls, argv[4]));
		NNG(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls));
		nng_tls_config_free(tls);
	}
	NNG(nng_dialer_start(dialer, 0));
}

int
main(int argc, char **argv)
{
	if (program_begin() != 0)
		return 1;
	if (argc != 2 && argc != 5) {
		fprintf(stderr, "usage: nng_client URL [CA.pem PAIR.pem NAME]\n");
		return 2;
	}
	CHECK(sodium_init() >= 0, "libsodium");
	dial(argc, argv);
	life(FOB__V1__ENVIRONMENT__LIVE);
	life(FOB__V1__ENVIRONMENT__TEST);
	cluster(FOB__V1__ENVIRONMENT__LIVE);
	health();
	at_once();
	nng_close(sock);
	for (unsigned s = 0; s < 3; s++)
		for (unsigned m = 0; m < services[s]->n_methods; m++) {
			CHECK(called[s][m] > 0, "%s was not called", services[s]->methods[m].name);
			printf("called %s/%s\n", services[s]->name, services[s]->methods[m].name);
		}
	nng_fini();
	return 0;
}
