/*
 * fuzz_event.c - event_line_read() on any line: an accepted event can be stored as a record, and reads the same when it
 * is printed again; a refused line has a reason and leaves the event untouched.
 *
 *	input: the line
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/fob.h"
#include "service/base/names.h"
#include "service/offline/event_line.h"
#include "tests/fuzz/fuzz.h"

static bool
is_printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return true;
}

static void
check(const struct record_event *e)
{
	FUZZ_CHECK(e->sequence > 0 && e->time_ms > 0 && e->expires_ms >= 0, "numbers that are none");
	FUZZ_CHECK(e->type >= EVENT_ACCOUNT_CREATED && e->type <= EVENT_RESTORED, "a type that is none");
	FUZZ_CHECK(e->type == EVENT_RESTORED || record_account_ok(e->account, strlen(e->account)), "no account");
	FUZZ_CHECK(e->kind == 0 || e->kind == KIND_SECRET || e->kind == KIND_PUBLISHABLE, "a kind that is none");
	FUZZ_CHECK(e->last4[0] == '\0' || is_printable(e->last4, sizeof(e->last4)), "a last4 that is none");
	FUZZ_CHECK(memchr(e->by.address, '\0', sizeof(e->by.address)) != NULL, "an address without an end");
	FUZZ_CHECK(memchr(e->by.certificate, '\0', sizeof(e->by.certificate)) != NULL, "a name without an end");
	FUZZ_CHECK(memchr(e->on_behalf_of, '\0', sizeof(e->on_behalf_of)) != NULL, "a person's name without an end");
}

static void
print_member(FILE *f, const char *name, const char *value, size_t len)
{
	if (len > 0)
		fprintf(f, "\"%s\": \"%.*s\", ", name, (int)len, value);
	else
		fprintf(f, "\"%s\": null, ", name);
}

static void
read_again(const struct record_event *e, enum environment environment)
{
	const char *kind = e->kind != 0 ? kind_name(e->kind) : "", *why;
	struct record_event again;
	char line[1024];
	FILE *f = fmemopen(line, sizeof(line), "w");

	FUZZ_CHECK(f != NULL, "no memory");
	fprintf(f, "{\"environment\": \"%s\", \"sequence\": %" PRIu64 ", \"event\": \"%s\", ",
	    environment_name(environment), e->sequence, fob_event_type_name((enum fob_event_type)e->type));
	print_member(f, "account", e->account, strlen(e->account));
	print_member(f, "kind", kind, strlen(kind));
	print_member(f, "last4", e->last4, e->last4[0] != '\0' ? sizeof(e->last4) : 0);
	print_member(f, "peer", e->by.address, strlen(e->by.address));
	print_member(f, "certificate", e->by.certificate, strlen(e->by.certificate));
	print_member(f, "on_behalf_of", e->on_behalf_of, strlen(e->on_behalf_of));
	if (e->by.known)
		fprintf(f, "\"uid\": %" PRIu32 ", ", e->by.uid);
	fprintf(f, "\"pid\": %" PRIu32 ", ", e->by.pid);
	fprintf(f, "\"generation\": %" PRIu32 ", \"time_ms\": %" PRId64 ", \"expires_ms\": %" PRId64 "}\n",
	    e->generation, e->time_ms, e->expires_ms);
	FUZZ_CHECK(fclose(f) == 0, "too long");
	FUZZ_CHECK(event_line_read(line, environment, &again, &why) == 0, "not read again: %s", line);
	FUZZ_CHECK(memcmp(&again, e, sizeof(again)) == 0, "something else when it is read again");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);
	struct record_event e, before;

	FUZZ_CHECK(line != NULL, "no memory");
	memcpy(line, data, size);
	line[size] = '\0';
	for (int environment = 0; environment < ENVIRONMENTS; environment++) {
		const char *why = NULL;
		int rc;

		memset(&e, 0xaa, sizeof(e));
		before = e;
		rc = event_line_read(line, (enum environment)environment, &e, &why);
		FUZZ_CHECK(rc == 0 || rc == 1 || (rc == -1 && why != NULL && why[0] != '\0'), "it says %d", rc);
		if (rc != 0) {
			FUZZ_CHECK(memcmp(&e, &before, sizeof(e)) == 0, "an event of no line");
			continue;
		}
		check(&e);
		read_again(&e, (enum environment)environment);
	}
	free(line);
	return 0;
}
