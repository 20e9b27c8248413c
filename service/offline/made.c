/*
 * made.c - the accounts and keys that were made after a copy was taken (see made.h). Holds names, never a digest.
 */
#include "service/offline/made.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/names.h"

static int
compare(const void *a, const void *b)
{
	const struct made_account *first = a, *second = b;

	return strcmp(first->account, second->account);
}

struct made_account *
made_find(const struct made *made, const char *account)
{
	struct made_account wanted = { .is_new = false };
	void *root = made->root, *found;

	snprintf(wanted.account, sizeof(wanted.account), "%s", account);
	found = tfind(&wanted, &root, compare);
	return found != NULL ? *(struct made_account **)found : NULL;
}

struct made_account *
made_add(struct made *made, const char *account)
{
	struct made_account *entry = made_find(made, account);

	if (entry != NULL || (entry = calloc(1, sizeof(*entry))) == NULL)
		return entry;
	snprintf(entry->account, sizeof(entry->account), "%s", account);
	if (tsearch(entry, &made->root, compare) == NULL) {
		free(entry);
		return NULL;
	}
	return entry;
}

struct telling {
	const char *environment;
	FILE *out;
};

static void
tell_missing(const struct made_account *m, FILE *out)
{
	if (m->is_new)
		fprintf(out, "was %s after the copy was taken, and is missing: %s it again",
		    m->imported ? "imported" : "made", m->imported ? "import" : "make");
	else
		fprintf(out, "has got a %s%s%s key by an import after the copy was taken, which is missing: import it again",
		    m->keys[KIND_SECRET - 1] ? kind_name(KIND_SECRET) : "",
		    m->keys[KIND_SECRET - 1] && m->keys[KIND_PUBLISHABLE - 1] ? " and a " : "",
		    m->keys[KIND_PUBLISHABLE - 1] ? kind_name(KIND_PUBLISHABLE) : "");
}

static void
tell_one(const void *node, VISIT visit, void *arg)
{
	const struct made_account *m = *(struct made_account *const *)node;
	const struct telling *t = arg;

	if (visit != postorder && visit != leaf)
		return;
	fprintf(t->out, "%s: %s ", t->environment, m->account);
	tell_missing(m, t->out);
	if (m->imported && m->last_ended > 0)
		fprintf(t->out, ", and end again what had ended by event %" PRIu64, m->last_ended);
	if (m->is_new && m->suspended)
		fputs(", and suspend it again", t->out);
	fputc('\n', t->out);
}

void
made_tell(const struct made *made, const char *environment, FILE *out)
{
	struct telling t = { .environment = environment, .out = out };

	twalk_r(made->root, tell_one, &t);
}

void
made_fini(struct made *made)
{
	tdestroy(made->root, free);
	made->root = NULL;
}
