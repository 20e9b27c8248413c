/*
 * json.c - JSON bodies, and verify calls as JSON (see json.h). What is not exactly as it should be is refused: a member
 * with a typo would otherwise be a question that was not asked.
 */
#include "client/http/json.h"

#include <string.h>

/* ---- in ---- */

int
json_read(const char *text, size_t len, json_t **out, const char **why)
{
	json_error_t error;

	*out = json_loadb(len > 0 ? text : "", len, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(*out))
		return 0;
	/* The error's own text may quote a secret. */
	*why = *out == NULL ? "the body is not JSON" : "the body is not a JSON object";
	json_decref(*out);
	*out = NULL;
	return -1;
}

void
json_reply(struct http_request *request, const struct http_reply *shape, json_t *body)
{
	struct http_reply reply = *shape;
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_free_t free_text;

	json_decref(body);
	if (text == NULL) {
		http_reply_error(request, 503, "INTERNAL", "out of memory; try again");
		return;
	}
	reply.type = "application/json";
	reply.body = text;
	reply.body_len = strlen(text);
	http_reply(request, &reply);
	json_get_alloc_funcs(NULL, &free_text);
	free_text(text);
}

int
json_to_environment(const json_t *value, enum fob_environment *out)
{
	const char *text = json_string_value(value);

	if (text == NULL || (strcmp(text, "live") != 0 && strcmp(text, "test") != 0))
		return -1;
	*out = strcmp(text, "live") == 0 ? FOB_ENVIRONMENT_LIVE : FOB_ENVIRONMENT_TEST;
	return 0;
}

static const char *
read_member(const char *name, const json_t *value, struct fob_verify_request *out)
{
	if (strcmp(name, "require_environment") == 0)
		return json_to_environment(value, &out->require_environment) == 0 ?
		    NULL :
		    "require_environment is not \"live\" or \"test\"";
	if (!json_is_string(value))
		return "a member is not a string, or is not known";
	if (strcmp(name, "secret") == 0) {
		out->secret = json_string_value(value);
		out->secret_len = json_string_length(value);
	} else if (strcmp(name, "authorization") == 0) {
		out->authorization = json_string_value(value);
		out->authorization_len = json_string_length(value);
	} else if (strcmp(name, "operation") == 0)
		out->operation = json_string_value(value);
	else
		return "a member is not known; give secret or authorization, operation, require_environment";
	return NULL;
}

int
json_to_verify(const json_t *object, struct fob_verify_request *out, const char **why)
{
	const char *name;
	json_t *value;

	*out = (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT };
	*why = NULL;
	if (!json_is_object(object)) {
		*why = "an item is not a JSON object";
		return -1;
	}
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		if ((*why = read_member(name, value, out)) != NULL)
			return -1;
	}
	if ((out->secret == NULL) == (out->authorization == NULL)) {
		*why = "give secret or authorization, one of the two";
		return -1;
	}
	return 0;
}

int
json_to_verify_batch(const json_t *object, struct fob_verify_request out[FOB_BATCH_MAX], size_t *n, const char **why)
{
	const json_t *items = json_object_get(object, "items");

	*n = 0;
	if (!json_is_array(items) || json_object_size(object) != 1) {
		*why = "the body is not {\"items\": [...]}";
		return -1;
	}
	if (json_array_size(items) < 1 || json_array_size(items) > FOB_BATCH_MAX) {
		*why = "a batch has 1 to 256 items";
		return -1;
	}
	for (size_t i = 0; i < json_array_size(items); i++)
		if (json_to_verify(json_array_get(items, i), &out[i], why) != 0)
			return -1;
	*n = json_array_size(items);
	return 0;
}

/* ---- out ---- */

/* What is not known is null. */
static const char *
known(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

json_t *
json_from_verification(const struct fob_verification *v)
{
	return json_pack("{s:s, s:s, s:s?, s:s?, s:b, s:s?, s:I, s:I, s:b, s:I, s:I, s:s?}", "verdict",
	    fob_verdict_name(v->verdict), "detail", v->detail, "account", known(v->account), "environment",
	    v->environment != FOB_ENVIRONMENT_ANY ? fob_environment_name(v->environment) : NULL, "livemode",
	    (int)v->livemode, "kind", v->kind != FOB_KIND_ANY ? fob_kind_name(v->kind) : NULL, "generation",
	    (json_int_t)v->generation, "current_generation", (json_int_t)v->current_generation, "superseded",
	    (int)v->superseded, "created_ms", (json_int_t)v->created_ms, "expires_ms", (json_int_t)v->expires_ms,
	    "last4", known(v->last4));
}

static json_t *
item(const struct fob_verification *v, int fault)
{
	if (fault != 0)
		return json_pack("{s:s, s:s}", "code", fob_fault_name(fault), "message",
		    "this key could not be checked: nothing is known of it");
	return json_pack("{s:s, s:s, s:o}", "code", "OK", "message", "", "result", json_from_verification(v));
}

json_t *
json_from_batch(const struct fob_verification *results, const int *faults, size_t n)
{
	json_t *items = json_array();

	for (size_t i = 0; i < n && items != NULL; i++)
		if (json_array_append_new(items, item(&results[i], faults[i])) != 0) {
			json_decref(items);
			items = NULL;
		}
	return items != NULL ? json_pack("{s:o}", "items", items) : NULL;
}
