/*
 * events.c - fob events: what happened, in both environments, oldest first; once, or from then on.
 * Each environment has its own events and cursor; they are merged by time, with a
 * page of each in memory.
 */
#include "client/cli/cli.h"

#include <poll.h>
#include <unistd.h>

#include "client/cli/out.h"

#define FOLLOW_MS 1000

const char events_help[] = "Usage: fob events [--account ACCOUNT] [--environment live|test] [--follow]\n"
			   "\n"
			   "What happened to accounts and keys, oldest first: created, imported, rolled,\n"
			   "expired, revoked, suspended, resumed, restored. With --output json one object a\n"
			   "line.\n"
			   "\n"
			   "  --account ACCOUNT       only of that account\n"
			   "  --environment live|test only there; otherwise both, by time\n"
			   "  --follow                then go on: show each event as it happens, through\n"
			   "                          restarts of fobd, until Ctrl-C, or until a database\n"
			   "                          was restored to what it was before (exit status 4)\n"
			   "\n"
			   "Each environment numbers its events from 1 without gaps (SEQ). For key_rolled,\n"
			   "GEN is the new key's generation and EXPIRES is when the old one ends. \"for ada\"\n"
			   "is the client's word: fob-http names the user for whom it asks. With --output\n"
			   "json an event also says which client that was: a user and process of the\n"
			   "server's machine, or an address, with the name in the certificate over TLS.\n"
			   "\n"
			   "Examples:\n"
			   "  fob events --account acct_42\n"
			   "  fob events --follow --output json\n";

/* One environment's events: a page and the place in it. */
struct stream {
	enum fob_environment env;
	struct fob_cursor cursor;
	struct fob_event_page *page; /* NULL: to be fetched */
	size_t next;
	struct fob_cursor anchor; /* to follow: from here the next event is ${last} */
	struct fob_event last;    /* sequence 0: there was none yet */
};

static void
event_table(void)
{
	static const char *const titles[] = { "TIME", "ENV", "SEQ", "EVENT", "ACCOUNT", "KIND", "GEN", "LAST4",
		"EXPIRES" };

	out_table(titles, sizeof(titles) / sizeof(titles[0]));
}

/* A key that was revoked does not live until it would have expired. */
static int64_t
expires_ms(const struct fob_event *e)
{
	return e->type == FOB_EVENT_TYPE_KEY_REVOKED ? 0 : e->expires_ms;
}

/* Who asked, with the names that fobd's log has. */
static void
event_json_by(json_t *o, const struct fob_event *e)
{
	if (o == NULL)
		return;
	json_object_set_new(o, "uid", e->has_user ? json_integer((json_int_t)e->uid) : json_null());
	json_object_set_new(o, "pid", e->has_user ? json_integer((json_int_t)e->pid) : json_null());
	json_object_set_new(o, "peer", e->address[0] != '\0' ? json_string(e->address) : json_null());
	json_object_set_new(o, "certificate", e->certificate[0] != '\0' ? json_string(e->certificate) : json_null());
	json_object_set_new(o, "on_behalf_of", e->on_behalf_of[0] != '\0' ? json_string(e->on_behalf_of) : json_null());
}

static void
event_show(enum fob_environment env, const struct fob_event *e)
{
	bool of_key = e->generation != 0;

	if (out_is_json()) {
		json_t *o =
		    json_pack("{s:s, s:I, s:s, s:s?, s:s?, s:I, s:s?}", "environment", fob_environment_name(env),
			"sequence", (json_int_t)e->sequence, "event", fob_event_type_name(e->type), "account",
			e->account[0] != '\0' ? e->account : NULL, "kind", of_key ? fob_kind_name(e->kind) : NULL,
			"generation", (json_int_t)e->generation, "last4", e->last4[0] != '\0' ? e->last4 : NULL);

		out_json_time(o, "time", e->time_ms);
		out_json_time(o, "expires", expires_ms(e));
		event_json_by(o, e);
		out_json(o);
		return;
	}
	out_cell_time(e->time_ms);
	out_cell(OUT_PLAIN, "%s", fob_environment_name(env));
	out_cell(OUT_PLAIN, "%llu", (unsigned long long)e->sequence);
	out_cell(OUT_PLAIN, "%s%s%s", fob_event_type_name(e->type), e->on_behalf_of[0] != '\0' ? " for " : "",
	    e->on_behalf_of);
	out_cell(OUT_PLAIN, "%s", e->account[0] != '\0' ? e->account : "-");
	out_cell(OUT_PLAIN, "%s", of_key ? fob_kind_name(e->kind) : "-");
	if (of_key)
		out_cell(OUT_PLAIN, "%u", (unsigned)e->generation);
	else
		out_cell(OUT_PLAIN, "-");
	out_cell(OUT_PLAIN, "%s", e->last4[0] != '\0' ? e->last4 : "-");
	out_cell_time(expires_ms(e));
}

static int
list(struct cli *cli, const struct stream *s, uint32_t page_size, struct fob_cursor *cursor,
    struct fob_event_page **page, struct fob_error *error)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = s->env,
		.account = cli->options[OPT_ACCOUNT], .page_size = page_size };

	return fob_list_events(cli->client, &request, cursor, page, error);
}

/* Note the last event of the page that was fetched from ${from}, and a cursor that leads to it. */
static int
anchor_set(struct cli *cli, struct stream *s, struct fob_cursor from, struct fob_error *error)
{
	struct fob_event_page *before = NULL;
	size_t n = s->page->n, behind = 0;
	int rc;

	if (n == 0)
		return 0;
	if (n > 1) {
		if ((rc = list(cli, s, (uint32_t)n - 1, &from, &before, error)) != 0)
			return rc;
		behind = before->n;
		fob_event_page_free(before);
	}
	s->anchor = from;
	s->last = behind == n - 1 ? *s->page->events[n - 1] : (struct fob_event){ 0 };
	return 0;
}

/*
 * Is the last event of ${s} still what it was? After a restore the server may have fewer events, or others of the same
 * numbers, and to go on behind the last number would pass them over in silence. One that the server has forgotten since
 * cannot be compared. Returns 0 with *${same}, or a fault.
 */
static int
anchor_check(struct cli *cli, const struct stream *s, bool *same, struct fob_error *error)
{
	struct fob_cursor at = s->anchor;
	struct fob_event_page *page = NULL;
	const struct fob_event *e;
	int rc;

	*same = true;
	if (s->last.sequence == 0)
		return 0;
	do {
		fob_event_page_free(page);
		page = NULL;
		if ((rc = list(cli, s, 1, &at, &page, error)) != 0)
			return rc;
	} while (page->n == 0 && !at.done);
	e = page->n > 0 ? page->events[0] : NULL;
	*same = e != NULL &&
	    (e->sequence > s->last.sequence ||
		(e->sequence == s->last.sequence && e->time_ms == s->last.time_ms && e->type == s->last.type));
	fob_event_page_free(page);
	return 0;
}

/* Let ${s} stand on an event, unless there is none right now. A page of a filtered list may be empty: go on. */
static int
stream_fill(struct cli *cli, struct stream *s, struct fob_error *error)
{
	struct fob_cursor from;
	int rc;

	while (s->page == NULL || s->next == s->page->n) {
		if (s->page != NULL && s->cursor.done)
			return 0;
		fob_event_page_free(s->page);
		s->page = NULL;
		s->next = 0;
		from = s->cursor;
		rc = list(cli, s, FOB_PAGE_MAX, &s->cursor, &s->page, error);
		if (rc == 0 && cli->options[OPT_FOLLOW] != NULL && (rc = anchor_set(cli, s, from, error)) != 0) {
			fob_event_page_free(s->page);
			s->cursor = from;
		}
		if (rc != 0) {
			s->page = NULL;
			return rc;
		}
	}
	return 0;
}

static const struct fob_event *
stream_event(const struct stream *s)
{
	return s->page != NULL && s->next < s->page->n ? s->page->events[s->next] : NULL;
}

/* Show all that there is now, by time. Returns 0 or the fault of *${failed}, with what came before it shown. */
static int
round_show(struct cli *cli, struct stream *streams, size_t n, struct stream **failed, struct fob_error *error)
{
	for (;;) {
		struct stream *oldest = NULL;
		const struct fob_event *e;

		for (size_t i = 0; i < n; i++) {
			int rc = stream_fill(cli, &streams[i], error);

			if (rc != 0) {
				*failed = &streams[i];
				return rc;
			}
			e = stream_event(&streams[i]);
			if (e != NULL && (oldest == NULL || e->time_ms < stream_event(oldest)->time_ms))
				oldest = &streams[i];
		}
		if (oldest == NULL || out_flush() != 0)
			return 0;
		event_show(oldest->env, stream_event(oldest));
		oldest->next++;
	}
}

/* Start to ask again for what is newer: the page that was shown to its end is done with. */
static void
streams_again(struct stream *streams, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (stream_event(&streams[i]) != NULL)
			continue;
		fob_event_page_free(streams[i].page);
		streams[i].page = NULL;
		streams[i].next = 0;
	}
}

/* Wait until it is time to ask again; false when standard output has no reader any more, which poll() always tells. */
static bool
wait_a_round(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, FOLLOW_MS) <= 0;
}

/* All anchors. Returns 0 with *${restored}: one whose event is not what it was, or NULL; or the fault of *${failed}. */
static int
anchors_check(struct cli *cli, struct stream *streams, size_t n, struct stream **restored, struct stream **failed,
    struct fob_error *error)
{
	bool same;
	int rc;

	*restored = NULL;
	for (size_t i = 0; i < n && *restored == NULL; i++) {
		if ((rc = anchor_check(cli, &streams[i], &same, error)) != 0) {
			*failed = &streams[i];
			return rc;
		}
		if (!same)
			*restored = &streams[i];
	}
	return 0;
}

static int
show_all(struct cli *cli, struct stream *streams, size_t n)
{
	bool follow = cli->options[OPT_FOLLOW] != NULL, troubled = false;

	for (;;) {
		struct stream *failed, *restored;
		struct fob_error error;
		int rc = anchors_check(cli, streams, n, &restored, &failed, &error);

		if (rc == 0 && restored != NULL) {
			out_say(
			    "%s: %s: event %llu is not there any more, or is another one: the database was restored. "
			    "Keep what was shown so far as it is, and begin anew, in a new file",
			    cli->name, fob_environment_name(restored->env),
			    (unsigned long long)restored->last.sequence);
			return CLI_CONFLICT;
		}
		if (rc == 0)
			rc = round_show(cli, streams, n, &failed, &error);
		if (!out_is_json())
			out_rows();
		/* main() says why, unless its reader has left. */
		if (out_flush() != 0)
			return CLI_OK;
		if (rc != 0 && (!follow || (rc != FOB_EDEADLINE_EXCEEDED && rc != FOB_EUNAVAILABLE)))
			return cli_fault(cli, fob_environment_name(failed->env), rc, &error);
		if (!follow)
			return CLI_OK;
		if (rc != 0 && !troubled) {
			(void)cli_fault(cli, fob_environment_name(failed->env), rc, &error);
			out_say("%s: waiting for it to come back", cli->name);
		}
		troubled = rc != 0;
		streams_again(streams, n);
		if (!wait_a_round())
			return CLI_OK;
	}
}

/*
 * An account that none of the environments has is told, rather than that nothing happened to it. To follow, it may be
 * made yet. Returns CLI_OK, or the exit code with the reason said.
 */
static int
account_check(struct cli *cli, const enum fob_environment *envs, size_t n)
{
	const char *account = cli->options[OPT_ACCOUNT];

	for (size_t i = 0; account != NULL && i < n; i++) {
		const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = envs[i],
			.account = account, .page_size = 1 };
		struct fob_cursor cursor = { 0 };
		struct fob_key_page *page;
		struct fob_error error;
		int rc = fob_list_keys(cli->client, &request, &cursor, &page, &error);

		fob_key_page_free(page);
		/* Another fault is told with the events. */
		if (rc != FOB_ENOT_FOUND)
			return CLI_OK;
	}
	if (account == NULL)
		return CLI_OK;
	out_say("%s: NOT_FOUND: no account %s%s", cli->name, account,
	    cli->options[OPT_FOLLOW] != NULL ? " yet: waiting for it" : "");
	return cli->options[OPT_FOLLOW] != NULL ? CLI_OK : CLI_DENIED;
}

int
cli_events(struct cli *cli)
{
	struct stream streams[2] = { 0 };
	enum fob_environment envs[2];
	size_t n;
	int rc;

	if (cli_environments(cli, envs, &n) != CLI_OK ||
	    (cli->options[OPT_ACCOUNT] != NULL && cli_account(cli, cli->options[OPT_ACCOUNT]) != CLI_OK))
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK ||
	    (rc = account_check(cli, envs, n)) != CLI_OK)
		return rc;
	for (size_t i = 0; i < n; i++)
		streams[i].env = envs[i];
	if (!out_is_json())
		event_table();
	rc = show_all(cli, streams, n);
	for (size_t i = 0; i < n; i++)
		fob_event_page_free(streams[i].page);
	return rc;
}
