/*
 * event_line.c - read an event from its line (see event_line.h). Called by restore.c, for who restores a backup; shares the
 * names of events with libfob, which prints them. Allocates nothing, and copies nothing that it has not looked at.
 *
 * Not a reader of JSON, and on purpose: what is read is one flat object of strings without escapes, numbers and words, which
 * is all that fob prints. So no parser of JSON is in the process that holds the keys, for the sake of a command that is
 * hardly ever used.
 */
#include "service/event_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/fob.h"

#define WORD_LEN (LIMIT_ACCOUNT + 8)

_Static_assert((int)EVENT_ACCOUNT_CREATED == (int)FOB_ACCOUNT_CREATED && (int)EVENT_RESTORED == (int)FOB_RESTORED,
    "events have the numbers of libfob's, whose names they are read by");

struct line {
	struct record_event event;
	enum environment environment;
	bool of_other; /* the other environment's */
	bool has_sequence, has_type, has_time;
};

static const char *
skip(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* A string without escapes, a number or a word, as text; what is longer than any that we ask for is cut. */
static const char *
take_value(const char *p, char out[WORD_LEN])
{
	bool quoted = *p == '"';
	size_t len;

	p += quoted;
	len = strcspn(p, quoted ? "\"\\" : ",} \t\r\n");
	if (quoted ? p[len] != '"' : len == 0)
		return NULL;
	snprintf(out, WORD_LEN, "%.*s", (int)(len < WORD_LEN ? len : WORD_LEN - 1), p);
	return p + len + quoted;
}

static bool
number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 19)
		return false;
	*out = strtoull(text, &end, 10);
	return *end == '\0' && *out <= max;
}

static bool
event_type(const char *name, enum event_type *out)
{
	for (unsigned i = EVENT_ACCOUNT_CREATED; i <= EVENT_RESTORED; i++)
		if (strcmp(name, fob_event_type_name((enum fob_event_type)i)) == 0) {
			*out = (enum event_type)i;
			return true;
		}
	return false;
}

/* One member. Those that we do not know say nothing to us. */
static bool
take_member(struct line *line, const char *name, const char *value)
{
	struct record_event *e = &line->event;
	uint64_t n = 0;

	if (strcmp(value, "null") == 0)
		return true;
	if (strcmp(name, "environment") == 0)
		line->of_other = strcmp(value, environment_name(line->environment)) != 0;
	else if (strcmp(name, "sequence") == 0)
		return line->has_sequence = number(value, UINT64_MAX - 1, &e->sequence);
	else if (strcmp(name, "event") == 0)
		return line->has_type = event_type(value, &e->type);
	else if (strcmp(name, "account") == 0 && !record_account_ok(value, strlen(value)))
		return false;
	else if (strcmp(name, "account") == 0)
		snprintf(e->account, sizeof(e->account), "%.*s", LIMIT_ACCOUNT, value);
	else if (strcmp(name, "kind") == 0)
		e->kind = strcmp(value, "secret") == 0 ? KIND_SECRET : KIND_PUBLISHABLE;
	else if (strcmp(name, "last4") == 0 && strlen(value) != sizeof(e->last4))
		return false;
	else if (strcmp(name, "last4") == 0)
		memcpy(e->last4, value, sizeof(e->last4));
	else if (strcmp(name, "generation") == 0 && !number(value, UINT32_MAX, &n))
		return false;
	else if (strcmp(name, "generation") == 0)
		e->generation = (uint32_t)n;
	else if ((strcmp(name, "time_ms") == 0 || strcmp(name, "expires_ms") == 0) && !number(value, INT64_MAX, &n))
		return false;
	else if (strcmp(name, "time_ms") == 0)
		line->has_time = (e->time_ms = (int64_t)n) > 0;
	else if (strcmp(name, "expires_ms") == 0)
		e->expires_ms = (int64_t)n;
	return true;
}

static bool
of_a_key(enum event_type type)
{
	return type == EVENT_KEY_ROLLED || type == EVENT_KEY_EXPIRED || type == EVENT_KEY_REVOKED;
}

static bool
is_complete(const struct line *line)
{
	const struct record_event *e = &line->event;

	return line->has_sequence && line->has_type && line->has_time &&
	    (e->type == EVENT_RESTORED || e->account[0] != '\0') &&
	    (!of_a_key(e->type) || (e->kind != 0 && e->generation > 0 && e->last4[0] != '\0'));
}

/* Returns what is wrong, or NULL. */
static const char *
take_members(struct line *line, const char *p)
{
	char name[WORD_LEN], value[WORD_LEN];

	p = skip(p);
	if (*p != '{')
		return "not an object: give what fob events --output json prints";
	do {
		p = skip(p + 1);
		if (*p != '"' || (p = take_value(p, name)) == NULL || *(p = skip(p)) != ':' ||
		    (p = take_value(skip(p + 1), value)) == NULL || !take_member(line, name, value))
			return "not an event, or one that this fobd does not know";
		p = skip(p);
	} while (*p == ',');
	return *p == '}' && *skip(p + 1) == '\0' ? NULL : "cut off, or more than one object";
}

int
event_line_read(const char *line, enum environment environment, struct record_event *event, const char **why)
{
	struct line l = { .environment = environment };

	if ((*why = take_members(&l, line)) != NULL)
		return -1;
	if (l.of_other)
		return 1;
	if (!is_complete(&l)) {
		*why = "an event without its sequence, event, time_ms, account, or its key's kind, generation, last4";
		return -1;
	}
	*event = l.event;
	return 0;
}
