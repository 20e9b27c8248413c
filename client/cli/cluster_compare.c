/*
 * cluster_compare.c - fob cluster compare: have two nodes of a cluster the same accounts, keys and events? Both are read over
 * their admin sockets. What is found is exact when neither has applied an entry meanwhile; otherwise it is read again.
 */
#include "client/cli/cluster.h"

#include <inttypes.h>
#include <string.h>

#include "client/cli/out.h"

#define ATTEMPTS 5
#define WHAT_LEN 200

const char cluster_compare_help[] =
    "Usage: fob cluster compare ADDRESS [--environment live|test]\n"
    "\n"
    "Compare the accounts, keys and events of the fobd of --address with those of the\n"
    "fobd at ADDRESS, which is another node of the cluster: in all but last-used times,\n"
    "which each node keeps for itself, and events that only one keeps. Reads both lists\n"
    "over admin sockets, with the same --tls options. If entries are applied meanwhile,\n"
    "it reads again, five times at most. Exit code 4: they differ.\n"
    "\n"
    "  ADDRESS                 of the other node's admin socket\n"
    "  --environment live|test only there\n"
    "\n"
    "Example:\n"
    "  fob cluster compare tls+tcp://node2.example:7401 --address tls+tcp://node1.example:7401 \\\n"
    "    --tls-ca ca.pem --tls-cert me.pem --tls-key me.key\n";

struct comparison {
	struct cli *cli;
	struct fob_client *clients[2];
	enum fob_environment env;
	uint64_t entry; /* that both had applied */
	uint64_t accounts, keys, events;
	char what[WHAT_LEN]; /* the first difference; empty: none */
};

static int
differ(struct comparison *c, const char *kind, const char *name)
{
	snprintf(c->what, sizeof(c->what), "%s %s", kind, name);
	return CLI_OK;
}

static bool
is_equal(const struct comparison *c)
{
	return c->what[0] == '\0';
}

/* ---- keys ---- */

static bool
same_key(const struct fob_key *a, const struct fob_key *b)
{
	return a->kind == b->kind && a->state == b->state && a->generation == b->generation &&
	    a->created_ms == b->created_ms && a->expires_ms == b->expires_ms && a->ended_ms == b->ended_ms &&
	    strcmp(a->account, b->account) == 0 && strcmp(a->last4, b->last4) == 0;
}

static int
compare_key_page(struct comparison *c, const struct fob_list_request *request, struct fob_cursor cursors[2])
{
	struct fob_key_page *pages[2] = { NULL, NULL };
	struct fob_error error;
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = fob_list_keys(c->clients[i], request, &cursors[i], &pages[i], &error);
	if (rc == 0) {
		c->keys += pages[0]->n;
		if (pages[0]->n != pages[1]->n || cursors[0].done != cursors[1].done)
			differ(c, "the number of keys of account", request->account);
		for (size_t i = 0; i < pages[0]->n && is_equal(c); i++)
			if (!same_key(pages[0]->keys[i], pages[1]->keys[i]))
				differ(c, "a key of account", request->account);
	} else {
		rc = cli_fault(c->cli, fob_environment_name(c->env), rc, &error);
	}
	fob_key_page_free(pages[0]);
	fob_key_page_free(pages[1]);
	return rc;
}

static int
compare_keys(struct comparison *c, const char *account)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = c->env, .account = account,
		.page_size = FOB_PAGE_MAX };
	struct fob_cursor cursors[2] = { { .done = false } };
	int rc = CLI_OK;

	while (rc == CLI_OK && is_equal(c) && !cursors[0].done)
		rc = compare_key_page(c, &request, cursors);
	return rc;
}

/* ---- accounts ---- */

static bool
same_account(const struct fob_account *a, const struct fob_account *b)
{
	return strcmp(a->account, b->account) == 0 && a->suspended == b->suspended &&
	    a->secret_generation == b->secret_generation && a->publishable_generation == b->publishable_generation &&
	    a->keys_in_grace == b->keys_in_grace && a->created_ms == b->created_ms && a->suspended_ms == b->suspended_ms;
}

static int
compare_account_page(struct comparison *c, const struct fob_list_request *request, struct fob_cursor cursors[2])
{
	struct fob_account_page *pages[2] = { NULL, NULL };
	struct fob_error error;
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = fob_list_accounts(c->clients[i], request, &cursors[i], &pages[i], &error);
	if (rc != 0)
		rc = cli_fault(c->cli, fob_environment_name(c->env), rc, &error);
	for (size_t i = 0; rc == CLI_OK && i < pages[0]->n && i < pages[1]->n && is_equal(c); i++) {
		c->accounts++;
		if (!same_account(pages[0]->accounts[i], pages[1]->accounts[i]))
			differ(c, "account", pages[0]->accounts[i]->account);
		else
			rc = compare_keys(c, pages[0]->accounts[i]->account);
	}
	if (rc == CLI_OK && is_equal(c) && (pages[0]->n != pages[1]->n || cursors[0].done != cursors[1].done))
		differ(c, "the number of accounts", "");
	fob_account_page_free(pages[0]);
	fob_account_page_free(pages[1]);
	return rc;
}

static int
compare_accounts(struct comparison *c)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = c->env, .page_size = FOB_PAGE_MAX };
	struct fob_cursor cursors[2] = { { .done = false } };
	int rc = CLI_OK;

	while (rc == CLI_OK && is_equal(c) && !cursors[0].done)
		rc = compare_account_page(c, &request, cursors);
	return rc;
}

/* ---- events: each node may keep another number of them ---- */

struct events {
	struct fob_cursor cursor;
	struct fob_event_page *page;
	size_t at;
};

/* The next event; *${event} is NULL after the last one. */
static int
next_event(struct comparison *c, int i, struct events *e, const struct fob_event **event)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = c->env, .page_size = FOB_PAGE_MAX };
	struct fob_error error;
	int rc;

	*event = NULL;
	while (e->page == NULL || e->at == e->page->n) {
		if (e->page != NULL && e->cursor.done)
			return CLI_OK;
		fob_event_page_free(e->page);
		e->page = NULL;
		e->at = 0;
		if ((rc = fob_list_events(c->clients[i], &request, &e->cursor, &e->page, &error)) != 0)
			return cli_fault(c->cli, fob_environment_name(c->env), rc, &error);
	}
	*event = e->page->events[e->at++];
	return CLI_OK;
}

static bool
same_event(const struct fob_event *a, const struct fob_event *b)
{
	return a->sequence == b->sequence && a->time_ms == b->time_ms && a->type == b->type && a->kind == b->kind &&
	    a->generation == b->generation && a->expires_ms == b->expires_ms && strcmp(a->account, b->account) == 0 &&
	    strcmp(a->last4, b->last4) == 0;
}

static int
compare_events(struct comparison *c)
{
	struct events lists[2] = { { .page = NULL } };
	const struct fob_event *a, *b;
	char number[24];
	int rc;

	rc = cli_worse(next_event(c, 0, &lists[0], &a), next_event(c, 1, &lists[1], &b));
	while (rc == CLI_OK && a != NULL && b != NULL && a->sequence != b->sequence)
		rc = a->sequence < b->sequence ? next_event(c, 0, &lists[0], &a) : next_event(c, 1, &lists[1], &b);
	while (rc == CLI_OK && is_equal(c) && (a != NULL || b != NULL)) {
		if (a == NULL || b == NULL || !same_event(a, b)) {
			snprintf(number, sizeof(number), "%" PRIu64, a != NULL ? a->sequence : b->sequence);
			differ(c, "event", number);
		}
		c->events++;
		rc = cli_worse(next_event(c, 0, &lists[0], &a), next_event(c, 1, &lists[1], &b));
	}
	fob_event_page_free(lists[0].page);
	fob_event_page_free(lists[1].page);
	return rc;
}

/* ---- both nodes ---- */

/* *${entry}: that both have applied; UINT64_MAX: they are not at the same one. */
static int
look(struct comparison *c, uint64_t *entry)
{
	const struct fob_cluster_status_request request = { FOB_CLUSTER_STATUS_REQUEST_INIT, .environment = c->env };
	struct fob_cluster_status *s[2] = { NULL, NULL };
	struct fob_error error;
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = fob_cluster_status(c->clients[i], &request, &s[i], &error);
	if (rc != 0) {
		rc = cli_fault(c->cli, fob_environment_name(c->env), rc, &error);
	} else if (memcmp(s[0]->cluster, s[1]->cluster, FOB_CLUSTER_ID_LEN) != 0) {
		out_say("%s: %s: the two are in different clusters", c->cli->name, fob_environment_name(c->env));
		rc = CLI_CONFLICT;
	} else if (memcmp(s[0]->replica, s[1]->replica, FOB_CLUSTER_ID_LEN) == 0) {
		out_say("%s: %s: both addresses are the same node's", c->cli->name, fob_environment_name(c->env));
		rc = CLI_LOCAL;
	} else {
		*entry = s[0]->applied == s[1]->applied ? s[0]->applied : UINT64_MAX;
	}
	fob_cluster_status_free(s[0]);
	fob_cluster_status_free(s[1]);
	return rc;
}

static int
compare_once(struct comparison *c, bool *exact)
{
	uint64_t before = 0, after = 0;
	int rc;

	c->accounts = c->keys = c->events = 0;
	c->what[0] = '\0';
	if ((rc = look(c, &before)) != CLI_OK || (rc = compare_accounts(c)) != CLI_OK ||
	    (rc = compare_events(c)) != CLI_OK || (rc = look(c, &after)) != CLI_OK)
		return rc;
	*exact = before == after && before != UINT64_MAX;
	c->entry = before;
	return CLI_OK;
}

static int
tell(const struct comparison *c)
{
	const char *env = fob_environment_name(c->env);

	if (out_is_json())
		out_item(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:s?}", "environment", env, "equal", (int)is_equal(c),
		    "entry", (json_int_t)c->entry, "accounts", (json_int_t)c->accounts, "keys", (json_int_t)c->keys, "events",
		    (json_int_t)c->events, "difference", is_equal(c) ? NULL : c->what));
	else if (is_equal(c))
		out_pair(OUT_GOOD, env, "equal at entry %" PRIu64 ": %" PRIu64 " accounts, %" PRIu64 " keys, %" PRIu64 " events",
		    c->entry, c->accounts, c->keys, c->events);
	else
		out_pair(OUT_BAD, env, "they differ at entry %" PRIu64 ": %s", c->entry, c->what);
	return is_equal(c) ? CLI_OK : CLI_CONFLICT;
}

static int
compare_in(struct comparison *c)
{
	bool exact = false;
	int rc;

	for (int i = 0; i < ATTEMPTS && !exact; i++)
		if ((rc = compare_once(c, &exact)) != CLI_OK)
			return rc;
	if (exact)
		return tell(c);
	out_say("%s: %s: entries are applied all the time, so nothing can be said: compare at a quieter time", c->cli->name,
	    fob_environment_name(c->env));
	return CLI_FAULT;
}

/* Those environments of ${envs} that are in a cluster at the first node; all, if one was asked for by name. */
static int
choose(struct cli *cli, enum fob_environment envs[2], size_t *n)
{
	struct fob_cluster_status *status;
	size_t absent = 0, left = 0, before = *n;
	int rc;

	for (size_t i = 0; i < before; i++) {
		if ((rc = cluster_status_of(cli, envs[i], &status, &absent)) != CLI_OK)
			return rc;
		if (status != NULL)
			envs[left++] = envs[i];
		fob_cluster_status_free(status);
	}
	*n = left;
	return cluster_all_absent(cli, envs, before, absent, CLI_OK);
}

int
cli_cluster_compare(struct cli *cli)
{
	struct comparison c = { .cli = cli };
	enum fob_environment envs[2];
	size_t n;
	int rc;

	if ((rc = cluster_begin(cli, envs, &n)) != CLI_OK || (rc = choose(cli, envs, &n)) != CLI_OK)
		return rc;
	c.clients[0] = cli->client;
	cli->client = NULL;
	cli->address = cli->args[0];
	if ((rc = cli_connect(cli)) == CLI_OK) {
		c.clients[1] = cli->client;
		if (out_is_json()) {
			out_open();
			out_array("compared");
		}
		for (size_t i = 0; i < n; i++) {
			c.env = envs[i];
			rc = cli_worse(rc, compare_in(&c));
		}
		if (out_is_json() && (rc == CLI_OK || rc == CLI_CONFLICT)) {
			out_array_end();
			out_close();
		}
	}
	fob_client_free(c.clients[0]);
	return rc;
}
