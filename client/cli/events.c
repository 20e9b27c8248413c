/*
 * events.c - fob events: what happened, in both environments, oldest first; once, or from then on.
 * Called by fob.c; calls libfob. Each environment has its own events and cursor; they are merged by time, with a
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
			   "                          restarts of fobd, until Ctrl-C\n"
			   "\n"
			   "Each environment numbers its events from 1 without gaps (SEQUENCE). For\n"
			   "key_rolled, GENERATION is the new key's and EXPIRES is when the old one ends.\n"
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
};

static void
event_table(void)
{
	static const char *const titles[] = { "TIME", "ENVIRONMENT", "SEQUENCE", "EVENT", "ACCOUNT", "KIND",
		"GENERATION", "LAST4", "EXPIRES" };

	out_table(titles, sizeof(titles) / sizeof(titles[0]));
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
		out_json_time(o, "expires", e->expires_ms);
		out_json(o);
		return;
	}
	out_cell_time(e->time_ms);
	out_cell(OUT_PLAIN, "%s", fob_environment_name(env));
	out_cell(OUT_PLAIN, "%llu", (unsigned long long)e->sequence);
	out_cell(OUT_PLAIN, "%s", fob_event_type_name(e->type));
	out_cell(OUT_PLAIN, "%s", e->account[0] != '\0' ? e->account : "-");
	out_cell(OUT_PLAIN, "%s", of_key ? fob_kind_name(e->kind) : "-");
	if (of_key)
		out_cell(OUT_PLAIN, "%u", (unsigned)e->generation);
	else
		out_cell(OUT_PLAIN, "-");
	out_cell(OUT_PLAIN, "%s", e->last4[0] != '\0' ? e->last4 : "-");
	out_cell_time(e->expires_ms);
}

/* Let ${s} stand on an event, unless there is none right now. A page of a filtered list may be empty: go on. */
static int
stream_fill(struct cli *cli, struct stream *s, struct fob_error *error)
{
	int rc;

	while (s->page == NULL || s->next == s->page->n) {
		if (s->page != NULL && s->cursor.done)
			return 0;
		fob_event_page_free(s->page);
		s->page = NULL;
		s->next = 0;
		rc = fob_list_events(
		    cli->client, s->env, cli->options[OPT_ACCOUNT], FOB_PAGE_MAX, &s->cursor, &s->page, error);
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
	return s->page != NULL && s->next < s->page->n ? &s->page->events[s->next] : NULL;
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

/* Wait until it is time to ask again; false when nobody reads our output any more. */
static bool
wait_a_round(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, FOLLOW_MS) <= 0 || (out.revents & (POLLERR | POLLNVAL)) == 0;
}

static int
show_all(struct cli *cli, struct stream *streams, size_t n)
{
	bool follow = cli->options[OPT_FOLLOW] != NULL, troubled = false;

	for (;;) {
		struct stream *failed;
		struct fob_error error;
		int rc = round_show(cli, streams, n, &failed, &error);

		if (!out_is_json())
			out_rows();
		if (out_flush() != 0)
			return CLI_LOCAL;
		if (rc != 0 && (!follow || (rc != FOB_EDEADLINE_EXCEEDED && rc != FOB_EUNAVAILABLE)))
			return cli_fault(cli, fob_environment_name(failed->env), rc, &error);
		if (!follow)
			return CLI_OK;
		if (rc != 0 && !troubled)
			(void)cli_fault(cli, fob_environment_name(failed->env), rc, &error);
		if (rc != 0 && !troubled)
			out_say("%s: waiting for it to come back", cli->name);
		troubled = rc != 0;
		streams_again(streams, n);
		if (!wait_a_round()) {
			out_say("%s: nobody reads standard output any more", cli->name);
			return CLI_LOCAL;
		}
	}
}

int
events_list(struct cli *cli)
{
	struct stream streams[2] = { 0 };
	enum fob_environment envs[2];
	size_t n;
	int rc;

	if (cli_environments(cli, envs, &n) != CLI_OK ||
	    (cli->options[OPT_ACCOUNT] != NULL && cli_account(cli, cli->options[OPT_ACCOUNT]) != CLI_OK))
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK)
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
