/*
 * reload.c - swap the settings under running requests (see reload.h). Never changes settings that have been published:
 * each reload makes new ones.
 *
 * Why no request reads settings that are freed: a request loads service->config, and its listener's part of it, only
 * while its thread's workspace is marked busy; all of these accesses are sequentially consistent. So a workspace that is
 * seen idle after the pointers were swapped has let go of the old settings, and its next request loads the new ones.
 * server_passed() says when each workspace has been seen idle since the last swap. Then no request can read what was
 * swapped out before, except settings that a listener still uses (server_uses()). A request pays nothing for it.
 */
#include "service/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/log.h"
#include "service/base/names.h"

struct retired {
	struct config config;
	struct retired *next;
};

/* ---- what needs a restart ---- */

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
warn(const char *setting, const char *of)
{
	LOG(LOG_WARN, "this setting has changed and needs a restart", LOG_S("setting", setting), LOG_S("of", of));
}

static const struct config_listener *
find_listener(const struct config *config, const char *url)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (strcmp(config->listeners[i].url, url) == 0)
			return &config->listeners[i];
	return NULL;
}

static void
warn_listeners(const struct config *start, const struct config *fresh)
{
	for (size_t i = 0; i < start->n_listeners; i++) {
		const struct config_listener *a = &start->listeners[i], *b = find_listener(fresh, a->url);

		if (b == NULL) {
			warn("listen", a->url);
			continue;
		}
		if (a->role != b->role)
			warn("role", a->url);
		if (a->insecure != b->insecure)
			warn("insecure", a->url);
		if (a->mode != b->mode)
			warn("mode", a->url);
	}
	for (size_t i = 0; i < fresh->n_listeners; i++)
		if (find_listener(start, fresh->listeners[i].url) == NULL)
			warn("listen", fresh->listeners[i].url);
}

static void
warn_environment(enum environment e, const struct config_environment *a, const struct config_environment *b)
{
	const char *name = environment_name(e);

	if (a->configured != b->configured) {
		warn("environment", name);
		return;
	}
	if (!same(a->path, b->path))
		warn("path", name);
	if (!same(a->pepper, b->pepper))
		warn("pepper", name);
	if (a->ceiling_bytes != b->ceiling_bytes)
		warn("ceiling", name);
	if (a->events_kept != b->events_kept)
		warn("events_kept", name);
}

static void
warn_all(const struct config *start, const struct config *fresh)
{
	warn_listeners(start, fresh);
	for (int e = 0; e < ENVIRONMENTS; e++)
		warn_environment((enum environment)e, &start->environments[e], &fresh->environments[e]);
	if (start->connections != fresh->connections)
		warn("connections", NULL);
	if (start->max_staleness_ms != fresh->max_staleness_ms)
		warn("max_staleness", NULL);
	if (!same(start->user, fresh->user))
		warn("user", NULL);
}

/* ---- the swap ---- */

void
reload_init(struct reload *r, struct service *service, struct server *server, const struct config *start)
{
	*r = (struct reload){ .service = service, .server = server, .start = start };
}

static void
free_all(struct retired *list)
{
	struct retired *next;

	for (; list != NULL; list = next) {
		next = list->next;
		config_fini(&list->config);
		free(list);
	}
}

void
reload_fini(struct reload *r)
{
	r->service->config = r->start;
	free_all(r->current);
	free_all(r->retired);
	r->current = r->retired = NULL;
}

int
reload_apply(struct reload *r, struct config *config, char *why, size_t why_len)
{
	struct retired *fresh;

	if ((fresh = calloc(1, sizeof(*fresh))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	/* Where it stays: the listeners keep what they read of it. */
	fresh->config = *config;
	if (server_reload(r->server, &fresh->config, why, why_len) != 0) {
		free(fresh);
		return -1;
	}
	memset(config, 0, sizeof(*config));
	r->service->config = &fresh->config;
	if (r->current != NULL) {
		r->current->next = r->retired;
		r->retired = r->current;
		server_mark(r->server);
	}
	r->current = fresh;
	/* Said at the level that was asked for before, if that says more. */
	LOG(LOG_INFO, "settings reloaded", LOG_I("publishable_operations", fresh->config.n_publishable_operations),
	    LOG_I("roll_operations", fresh->config.n_roll_operations));
	warn_all(r->start, &fresh->config);
	log_setup(fresh->config.log_level, fresh->config.log_json);
	return 0;
}

/* What is in the file is for the writer to judge, which alone knows which lines are in use. */
void
reload_peppers(struct reload *r)
{
	struct pepper *pepper;
	char why[512];

	for (int e = 0; e < ENVIRONMENTS; e++) {
		if (r->service->engines[e] == NULL)
			continue;
		if (pepper_load(r->start->environments[e].pepper, &pepper, why, sizeof(why)) == 0)
			writer_offer_pepper(r->service->engines[e]->writer, pepper);
		else
			LOG(LOG_ERROR, "the pepper's new file is refused, and the pepper in use stays in use",
			    LOG_S("environment", environment_name((enum environment)e)), LOG_S("reason", why));
	}
}

void
reload_tidy(struct reload *r)
{
	struct retired **at = &r->retired, *old;

	if (r->retired == NULL || !server_passed(r->server))
		return;
	while ((old = *at) != NULL) {
		if (server_uses(r->server, &old->config)) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		old->next = NULL;
		free_all(old);
	}
}
