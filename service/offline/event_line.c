/*
 * event_line.c - read an event from its line (see event_line.h). Allocates nothing, and copies no text before
 * it has checked it.
 *
 * This is no JSON parser: it reads one flat object of strings without escapes, numbers and words, which is all
 * that fob prints. fobd holds keys and so does without a JSON library, which only this command would use.
 */
#include "service/offline/event_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/c/names.h"
#include "service/base/names.h"

#define WORD_LEN (LIMIT_ACCOUNT + 8)

_Static_assert(EVENT_ACCOUNT_CREATED == 1 && EVENT_RESTORED == 8, "events have the wire's numbers, as names.h does");

struct line {
	struct record_event event;
	enum environment environment;
	bool has_environment, has_sequence, has_type, has_time;
};

struct word {
	bool quoted;
	char text[WORD_LEN];
};

static const char *
skip(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* Take a string without escapes, a number or a word. A value longer than any valid one is cut. */
static const char *
take_word(const char *p, struct word *out)
{
	size_t len;

	out->quoted = *p == '"';
	p += out->quoted;
	len = strcspn(p, out->quoted ? "\"\\" : ",} \t\r\n");
	if (out->quoted ? p[len] != '"' : len == 0)
		return NULL;
	snprintf(out->text, WORD_LEN, "%.*s", (int)(len < WORD_LEN ? len : WORD_LEN - 1), p);
	return p + len + out->quoted;
}

/* ---- members: the text is without its quotes; false for an invalid value ---- */

static bool
number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 19)
		return false;
	*out = strtoull(text, &end, 10);
	return *end == '\0' && *out >= min && *out <= max;
}

static bool
take_environment(struct line *line, const char *text)
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		if (strcmp(text, environment_name((enum environment)e)) == 0) {
			line->environment = (enum environment)e;
			return line->has_environment = true;
		}
	return false;
}

static bool
take_sequence(struct line *line, const char *text)
{
	return line->has_sequence = number(text, 1, UINT64_MAX - 1, &line->event.sequence);
}

static bool
take_type(struct line *line, const char *text)
{
	for (unsigned i = EVENT_ACCOUNT_CREATED; i <= EVENT_RESTORED; i++)
		if (strcmp(text, name_event_type((unsigned)i)) == 0) {
			line->event.type = (enum event_type)i;
			return line->has_type = true;
		}
	return false;
}

static bool
take_account(struct line *line, const char *text)
{
	size_t len = strlen(text);

	if (!record_account_ok(text, len))
		return false;
	memset(line->event.account, 0, sizeof(line->event.account));
	memcpy(line->event.account, text, len);
	return true;
}

static bool
take_kind(struct line *line, const char *text)
{
	bool secret = strcmp(text, kind_name(KIND_SECRET)) == 0;

	line->event.kind = secret ? KIND_SECRET : KIND_PUBLISHABLE;
	return secret || strcmp(text, kind_name(KIND_PUBLISHABLE)) == 0;
}

static bool
take_last4(struct line *line, const char *text)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t len = strlen(text);

	if (len != sizeof(line->event.last4) || strspn(text, digits) != len)
		return false;
	memcpy(line->event.last4, text, len);
	return true;
}

static bool
take_generation(struct line *line, const char *text)
{
	uint64_t n;

	if (!number(text, 0, UINT32_MAX, &n))
		return false;
	line->event.generation = (uint32_t)n;
	return true;
}

static bool
take_time(const char *text, int64_t *out)
{
	uint64_t n;

	if (!number(text, 0, INT64_MAX, &n))
		return false;
	*out = (int64_t)n;
	return true;
}

static bool
take_time_ms(struct line *line, const char *text)
{
	return line->has_time = take_time(text, &line->event.time_ms) && line->event.time_ms > 0;
}

static bool
take_expires_ms(struct line *line, const char *text)
{
	return take_time(text, &line->event.expires_ms);
}

static bool
take_uid(struct line *line, const char *text)
{
	uint64_t n;

	if (!number(text, 0, UINT32_MAX, &n))
		return false;
	line->event.by.uid = (uint32_t)n;
	return line->event.by.known = true;
}

static bool
take_pid(struct line *line, const char *text)
{
	uint64_t n;

	if (!number(text, 0, UINT32_MAX, &n))
		return false;
	line->event.by.pid = (uint32_t)n;
	return true;
}

static bool
take_printable(const char *text, char *out, size_t size)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	memset(out, 0, size);
	memcpy(out, text, len);
	return true;
}

static bool
take_peer(struct line *line, const char *text)
{
	return take_printable(text, line->event.by.address, sizeof(line->event.by.address));
}

static bool
take_certificate(struct line *line, const char *text)
{
	return take_printable(text, line->event.by.certificate, sizeof(line->event.by.certificate));
}

static bool
take_on_behalf_of(struct line *line, const char *text)
{
	return take_printable(text, line->event.on_behalf_of, sizeof(line->event.on_behalf_of));
}

static const struct {
	const char *name;
	bool quoted;
	bool (*take)(struct line *line, const char *text);
} members[] = {
	{ "environment", true, take_environment },
	{ "sequence", false, take_sequence },
	{ "event", true, take_type },
	{ "account", true, take_account },
	{ "kind", true, take_kind },
	{ "generation", false, take_generation },
	{ "last4", true, take_last4 },
	{ "time_ms", false, take_time_ms },
	{ "expires_ms", false, take_expires_ms },
	{ "uid", false, take_uid },
	{ "pid", false, take_pid },
	{ "peer", true, take_peer },
	{ "certificate", true, take_certificate },
	{ "on_behalf_of", true, take_on_behalf_of },
};

/* Unknown members are ignored; null means that the member is absent. */
static bool
take_member(struct line *line, const char *name, const struct word *value)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (strcmp(name, members[i].name) != 0)
			continue;
		if (!value->quoted && strcmp(value->text, "null") == 0)
			return true;
		return value->quoted == members[i].quoted && members[i].take(line, value->text);
	}
	return true;
}

/* ---- the line ---- */

static bool
of_a_key(enum event_type type)
{
	return type == EVENT_KEY_ROLLED || type == EVENT_KEY_EXPIRED || type == EVENT_KEY_REVOKED;
}

static bool
is_complete(const struct line *line)
{
	const struct record_event *e = &line->event;

	return line->has_environment && line->has_sequence && line->has_type && line->has_time &&
	    (e->type == EVENT_RESTORED || e->account[0] != '\0') &&
	    (!of_a_key(e->type) || (e->kind != 0 && e->generation > 0 && e->last4[0] != '\0'));
}

/* Returns what is wrong, or NULL. */
static const char *
take_members(struct line *line, const char *p)
{
	struct word name, value;

	p = skip(p);
	if (*p != '{')
		return "not an object: give what fob events --output json prints";
	do {
		p = skip(p + 1);
		if (*p != '"' || (p = take_word(p, &name)) == NULL || *(p = skip(p)) != ':' ||
		    (p = take_word(skip(p + 1), &value)) == NULL || !take_member(line, name.text, &value))
			return "not an event, or one that this fobd does not know";
		p = skip(p);
	} while (*p == ',');
	return *p == '}' && *skip(p + 1) == '\0' ? NULL : "cut off, or more than one object";
}

int
event_line_read(const char *line, enum environment environment, struct record_event *event, const char **why)
{
	struct line l = { .has_environment = false };

	if ((*why = take_members(&l, line)) != NULL)
		return -1;
	if (!is_complete(&l)) {
		*why =
		    "an event without its environment, sequence, event, time_ms, account, or its key's kind, generation, "
		    "last4";
		return -1;
	}
	if (l.environment != environment)
		return 1;
	*event = l.event;
	return 0;
}
