/*
 * settings_operator.c - settings of the role operator (see settings_internal.h): how people sign in, and from where.
 */
#include "client/http/settings_internal.h"

#include <string.h>

#include "client/http/listen.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SESSION_IDLE_MAX_S 28800
#define ORIGIN_MAX 200

/* A setting without a meaning in this role is a mistake, perhaps in the role. */
static int
refuse_other_role(struct loader *l, const struct settings *out)
{
	static const char *const of_auth[] = { "original", "original_method", "original_uri", "routes", "realm",
		"bearer", "error_body" };
	static const char *const of_operator[] = { "token_file", "user_header", "origin", "session_idle", "insecure" };
	bool people = out->role == ROLE_OPERATOR;
	const char *const *names = people ? of_auth : of_operator;

	for (size_t i = 0; i < (people ? COUNT(of_auth) : COUNT(of_operator)); i++)
		if (loader_line(l, names[i]) != 0)
			return loader_refuse(l, loader_line(l, names[i]),
			    "%s is for role = \"%s\"; remove it, as a file has one role", names[i],
			    people ? "auth" : "operator");
	return 0;
}

static const char *
given(cfg_t *cfg, const char *name)
{
	return cfg_size(cfg, name) > 0 ? cfg_getstr(cfg, name) : NULL;
}

static int
load_sign_in(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *file = given(cfg, "token_file");
	bool header = given(cfg, "user_header") != NULL;

	if ((file != NULL) == header)
		return loader_refuse(l, loader_line(l, "user_header"),
		    "%s of token_file and user_header; give one of them, which says how people sign in",
		    header ? "both" : "none");
	if (!header) {
		if (file[0] != '/')
			return loader_refuse(l, loader_line(l, "token_file"),
			    "token_file = \"%.120s\" is no absolute path; give one such as "
			    "\"/run/fob-http-operator/token\"",
			    file);
		return loader_copy(l, file, &out->token_file);
	}
	if (loader_header_name(l, cfg, "user_header", &out->user_header) != 0)
		return -1;
	for (size_t i = 0; i < out->n_listen; i++)
		if (strncmp(out->listen[i], "unix:", 5) != 0 && out->n_trusted == 0)
			return loader_refuse(l, loader_line(l, "user_header"),
			    "user_header is believed from trusted peers only, and there are none; add trusted, or "
			    "listen at "
			    "unix sockets only");
	return 0;
}

static int
load_origin(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *origin = given(cfg, "origin"), *host;

	if (origin == NULL)
		return 0;
	host = strncmp(origin, "https://", 8) == 0 ? origin + 8 : strncmp(origin, "http://", 7) == 0 ? origin + 7 : "";
	if (host[0] == '\0' || strlen(origin) > ORIGIN_MAX ||
	    host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]")] != '\0')
		return loader_refuse(l, loader_line(l, "origin"),
		    "origin = \"%.120s\" is not what a browser sends; give one such as "
		    "\"https://fob.example.com\", in small "
		    "letters and without a path",
		    origin);
	return loader_copy(l, origin, &out->origin);
}

static int
check_listen(struct loader *l, cfg_t *cfg, const struct settings *out)
{
	if (cfg_getbool(cfg, "insecure") == cfg_true)
		return 0;
	for (size_t i = 0; i < out->n_listen; i++)
		if (!listen_address_is_local(out->listen[i]))
			return loader_refuse(l, loader_line(l, "listen"),
			    "listen: %.120s is not a loopback address, and there is no TLS; give \"127.0.0.1:8490\" "
			    "or a unix "
			    "socket, or set insecure = true if the network is trusted with keys",
			    out->listen[i]);
	return 0;
}

int
settings_load_operator(struct loader *l, cfg_t *cfg, struct settings *out)
{
	long idle = cfg_getint(cfg, "session_idle");

	if (refuse_other_role(l, out) != 0)
		return -1;
	if (out->role != ROLE_OPERATOR)
		return 0;
	if (check_listen(l, cfg, out) != 0 || load_sign_in(l, cfg, out) != 0 || load_origin(l, cfg, out) != 0)
		return -1;
	if (idle < 1 || idle > SESSION_IDLE_MAX_S)
		return loader_refuse(l, loader_line(l, "session_idle"),
		    "session_idle = %ld is out of range; give 1 to %d", idle, SESSION_IDLE_MAX_S);
	out->session_idle_s = (unsigned)idle;
	return 0;
}
