/*
 * admin_json_out.c - Admin calls as JSON, out (see admin_json.h).
 */
#include "client/http/admin_json.h"

#include <sodium.h>

#define PAGE_TOKEN_SIZE sodium_base64_ENCODED_LEN(sizeof(((struct fob_cursor *)0)->bytes), VARIANT)
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* What is not known is null. */
static const char *
known(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static const char *
kind(enum fob_kind value)
{
	return value != FOB_KIND_ANY ? fob_kind_name(value) : NULL;
}

json_t *
admin_json_key(const struct fob_key *k)
{
	if (k == NULL)
		return json_null();
	return json_pack("{s:s, s:s, s:s?, s:I, s:s?, s:s, s:I, s:I, s:I, s:I}", "account", k->account, "environment",
	    fob_environment_name(k->environment), "kind", kind(k->kind), "generation", (json_int_t)k->generation,
	    "last4", known(k->last4), "state", fob_key_state_name(k->state), "created_ms", (json_int_t)k->created_ms,
	    "expires_ms", (json_int_t)k->expires_ms, "ended_ms", (json_int_t)k->ended_ms, "last_used_ms",
	    (json_int_t)k->last_used_ms);
}

json_t *
admin_json_new_key(const struct fob_new_key *k)
{
	return json_pack("{s:o, s:s}", "key", admin_json_key(k->key), "secret", k->secret);
}

json_t *
admin_json_account(const struct fob_account *a)
{
	return json_pack("{s:s, s:s, s:I, s:b, s:I, s:I, s:I, s:I}", "account", a->account, "environment",
	    fob_environment_name(a->environment), "created_ms", (json_int_t)a->created_ms, "suspended",
	    (int)a->suspended, "suspended_ms", (json_int_t)a->suspended_ms, "secret_generation",
	    (json_int_t)a->secret_generation, "publishable_generation", (json_int_t)a->publishable_generation,
	    "keys_in_grace", (json_int_t)a->keys_in_grace);
}

/* As Origin: over TCP the address, over a unix socket the user. */
static json_t *
origin(const struct fob_event *e)
{
	if (e->has_user)
		return json_pack("{s:n, s:n, s:I, s:I, s:s?}", "address", "certificate", "uid", (json_int_t)e->uid,
		    "pid", (json_int_t)e->pid, "on_behalf_of", known(e->on_behalf_of));
	if (e->address[0] == '\0')
		return json_null();
	return json_pack("{s:s, s:s?, s:n, s:n, s:s?}", "address", e->address, "certificate", known(e->certificate),
	    "uid", "pid", "on_behalf_of", known(e->on_behalf_of));
}

static json_t *
event(const struct fob_event *e)
{
	return json_pack("{s:I, s:I, s:s, s:s?, s:s?, s:I, s:s?, s:I, s:o}", "sequence", (json_int_t)e->sequence,
	    "time_ms", (json_int_t)e->time_ms, "type", fob_event_type_name(e->type), "account", known(e->account),
	    "kind", kind(e->kind), "generation", (json_int_t)e->generation, "last4", known(e->last4), "expires_ms",
	    (json_int_t)e->expires_ms, "origin", origin(e));
}

static json_t *
page_token(const struct fob_cursor *next)
{
	char text[PAGE_TOKEN_SIZE];

	sodium_bin2base64(text, sizeof(text), next->bytes, next->len, VARIANT);
	return json_string(text);
}

/* ${items} is taken. An allocation that fails ends the process (wipe.h), so no list is ever short. */
static json_t *
page(const char *name, json_t *items, const struct fob_cursor *next)
{
	return json_pack("{s:o, s:o}", name, items, "next_page_token", page_token(next));
}

json_t *
admin_json_keys(const struct fob_key_page *p, const struct fob_cursor *next)
{
	json_t *items = json_array();

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(items, admin_json_key(p->keys[i]));
	return page("keys", items, next);
}

json_t *
admin_json_accounts(const struct fob_account_page *p, const struct fob_cursor *next)
{
	json_t *items = json_array();

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(items, admin_json_account(p->accounts[i]));
	return page("accounts", items, next);
}

json_t *
admin_json_events(const struct fob_event_page *p, const struct fob_cursor *next)
{
	json_t *items = json_array(), *out;

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(items, event(p->events[i]));
	if ((out = page("events", items, next)) != NULL)
		json_object_set_new(out, "more", json_boolean(!next->done));
	return out;
}
