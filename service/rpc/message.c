/*
 * message.c - fill and read the messages that several handlers share (see message.h). Decides nothing.
 */
#include "service/rpc/message.h"

#include <string.h>

#include "proto/c/key_form.h"

void
message_bytes(ProtobufCBinaryData *field, const void *bytes, size_t len)
{
	/* protobuf-c's field is not const, but packing only reads it. */
	field->data = (uint8_t *)(uintptr_t)bytes;
	field->len = len;
}

void
message_text(ProtobufCBinaryData *field, const char *text)
{
	message_bytes(field, text, strlen(text));
}

bool
message_copy(struct call *call, ProtobufCBinaryData *field, const void *bytes, size_t len)
{
	void *copy;

	if ((copy = scratch_alloc(&call->scratch, len)) == NULL)
		return false;
	if (len > 0)
		memcpy(copy, bytes, len);
	message_bytes(field, copy, len);
	return true;
}

void
message_key(const struct engine *engine, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key,
    int64_t now_ms, Fob__V1__Key *out)
{
	bool over = key->state == KEY_GRACE && now_ms >= key->expires_ms;

	fob__v1__key__init(out);
	message_text(&out->account, key->account);
	out->environment = (Fob__V1__Environment)(engine->environment + 1);
	out->kind = (Fob__V1__KeyKind)key->kind;
	out->generation = key->generation;
	message_bytes(&out->last4, key->last4, sizeof(key->last4));
	out->state = over ? FOB__V1__KEY_STATE__KEY_STATE_EXPIRED : (Fob__V1__KeyState)key->state;
	out->created_ms = key->created_ms;
	out->expires_ms = key->expires_ms;
	out->ended_ms = over ? key->expires_ms : key->ended_ms;
	out->last_used_ms = lastused_get(engine->lastused, store_pepper(engine->store), key->serial, digest);
	/* The beginning of a minute, which may be before the key. */
	if (out->last_used_ms != 0 && out->last_used_ms < key->created_ms)
		out->last_used_ms = key->created_ms;
}

void
message_account(const struct engine *engine, const struct record_account *account, Fob__V1__Account *out)
{
	fob__v1__account__init(out);
	message_text(&out->account, account->account);
	out->environment = (Fob__V1__Environment)(engine->environment + 1);
	out->created_ms = account->created_ms;
	out->suspended = account->suspended_ms != 0;
	out->suspended_ms = account->suspended_ms;
	out->secret_generation = account->secret_generation;
	out->publishable_generation = account->publishable_generation;
	out->keys_in_grace = account->n_grace;
}

int
message_take_account(struct call *call, const ProtobufCBinaryData *field, char account[LIMIT_ACCOUNT + 1])
{
	if (!record_account_ok(field->data, field->len))
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "account: must be 1 to %d bytes of [A-Za-z0-9._-]", LIMIT_ACCOUNT);
	/* The id is stored, logged and shown in the clear, and must not hold a secret that was pasted there. */
	if (key_form_in(field->data, field->len))
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "account: holds what looks like a key: give the account's id");
	memcpy(account, field->data, field->len);
	account[field->len] = '\0';
	return 0;
}
