/*
 * test_settings.c - client/http/settings.c: what a file means, and FILE:LINE of what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/http/settings.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OPERATOR "role = operator\nfob = {\"ipc:///run/a\"}\nlisten = {\"unix:/run/h\", \"127.0.0.1:8490\"}\n"
#define HEAD "role = \"auth\"\nfob = {\"ipc:///run/v\"}\nlisten = {\"unix:/run/h\", \"127.0.0.1:8480\"}\n"

static char path[64];

static int
load(const char *text, struct settings **out, char *why, size_t why_len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return settings_load(path, out, why, why_len);
}

static void
defaults(void **state)
{
	struct settings *s;
	char why[512];

	(void)state;
	if (load(HEAD, &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_int_equal(s->n_fob, 1);
	assert_string_equal(s->fob[0], "ipc:///run/v");
	assert_int_equal(s->n_listen, 2);
	assert_null(s->metrics);
	assert_int_equal(s->n_trusted, 0);
	assert_int_equal(s->original, ORIGINAL_HEADERS);
	assert_string_equal(s->original_method, "X-Original-Method");
	assert_string_equal(s->original_uri, "X-Original-URI");
	assert_int_equal(s->routes.n, 0);
	assert_string_equal(s->realm, "API keys");
	assert_false(s->bearer);
	assert_true(s->error_body);
	assert_int_equal(s->socket_mode, 0660);
	assert_int_equal(s->connections, 16384);
	assert_int_equal(s->timeout_ms, 1000);
	assert_int_equal(s->log_level, LOG_INFO);
	assert_false(s->log_json);
	settings_unref(settings_ref(s));
	assert_string_equal(s->realm, "API keys");
	settings_unref(s);
	settings_unref(NULL);
}

/* The file that is installed, with nothing changed and with each setting that it only shows. */
static void
the_file_that_comes_with_it(void **state)
{
	struct settings *s;
	char why[512];

	(void)state;
	if (settings_load("client/http/fob-http.conf", &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_true(s->routes.n > 0);
	settings_unref(s);
}

static void
others(void **state)
{
	struct settings *s;
	char why[512];

	(void)state;
	if (load(HEAD "metrics = \"[::1]:1\"\ntrusted = {\"10.0.0.0/8\", \"::1\"} # a \"comment\n"
		      "original = request\noriginal_method = 'A-B'\noriginal_uri = C\nsocket_mode = 0600\n"
		      "routes = {\"GET /a = b\",\n\t\"GET /{x} = c\"}\nrealm = 'x'\nbearer = true\nerror_body = false\n"
		      "connections = 5\ntimeout = 60000\nlog_level = debug\nlog_format = json\n",
		&s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_string_equal(s->metrics, "[::1]:1");
	assert_int_equal(s->n_trusted, 2);
	assert_int_equal(s->original, ORIGINAL_REQUEST);
	assert_string_equal(s->original_method, "A-B");
	assert_int_equal(s->routes.n, 2);
	assert_true(s->bearer);
	assert_false(s->error_body);
	assert_int_equal(s->socket_mode, 0600);
	assert_int_equal(s->connections, 5);
	assert_int_equal(s->log_level, LOG_DEBUG);
	assert_true(s->log_json);
	settings_unref(s);
}

static void
of_an_operator(void **state)
{
	struct settings *s;
	char why[512];

	(void)state;
	if (load(OPERATOR "token_file = \"/run/t\"\n", &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_int_equal(s->role, ROLE_OPERATOR);
	assert_string_equal(s->token_file, "/run/t");
	assert_null(s->user_header);
	assert_null(s->origin);
	assert_int_equal(s->session_idle_s, 900);
	settings_unref(s);
	if (load(OPERATOR
		"user_header = X-User\ntrusted = {\"127.0.0.1\"}\norigin = \"https://a.b:1\"\nsession_idle = 1\n",
		&s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_string_equal(s->user_header, "X-User");
	assert_string_equal(s->origin, "https://a.b:1");
	assert_int_equal(s->session_idle_s, 1);
	settings_unref(s);
	/* A unix socket's peers are trusted. An address that others can reach is taken if the file says so. */
	if (load("role = operator\nfob = {\"ipc://a\"}\nlisten = {\"unix:/run/h\"}\nuser_header = X-User\n", &s, why,
		sizeof(why)) != 0)
		fail_msg("%s", why);
	settings_unref(s);
	if (load("role = operator\nfob = {\"ipc://a\"}\nlisten = {\"[::]:1\"}\ntoken_file = \"/t\"\ninsecure = true\n",
		&s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	settings_unref(s);
	if (settings_load("client/http/fob-http-operator.conf", &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	settings_unref(s);
}

static void
refused(void **state)
{
	static const struct {
		const char *text, *why; /* of ${why}, what stands behind the path */
	} cases[] = { { "", ": has no role" },
		{ "role = \"auth\"\nrole = \"operator\"\n", ":2: role is set twice, first on line 1" },
		{ "role = {\"auth\", \"operator\"}\n", ":1: " }, { "role = \"operator\"\n", ": fob names no fobd" },
		{ "# a\n# b\nrole = \"x\"\n", ":3: role = \"x\" is unknown" },
		{ "role = \"auth\"\n", ": fob names no fobd" },
		{ HEAD "nonsense = 1\n", ":4: no such option 'nonsense'; the fob-http.conf" },
		{ "role = auth\nfob = {}\n", ": fob names no fobd" },
		{ "role = auth\nfob = {\"x\"}\n", ":2: fob: \"x\" is no address" },
		{ "role = auth\nfob = {\"tls+tcp://a:1\"}\n", ":2: fob: \"tls+tcp://a:1\" is no address" },
		{ "role = auth\nfob = {\"ipc://v\"}\n", ": there is no listen" },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"localhost:1\"}\n",
		    ":3: listen: \"localhost:1\" is no address" },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"unix:\"}\n", ":3: listen: \"unix:\"" },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"127.0.0.1:0\"}\n", ":3: " },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"127.0.0.1:65536\"}\n", ":3: " },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"::1:80\"}\n", ":3: " },
		{ "role = auth\nfob = {\"ipc://v\"}\nlisten = {\"unix:a\", \"unix:a\"}\n",
		    ":3: listen has unix:a twice" },
		{ HEAD "metrics = \"x\"\n", ":4: metrics" },
		{ HEAD "metrics = \"127.0.0.1:8480\"\n", ":4: metrics and listen share" },
		{ HEAD "\n\ntrusted = {\"10.0.0.0/7\", \"10.0.0.1/8\"}\n", ":6: trusted: \"10.0.0.1/8\"" },
		{ HEAD "trusted = {\"all\"}\n", ":4: trusted: \"all\" is no address" },
		{ HEAD "original = both\n", ":4: original = \"both\" is unknown" },
		{ HEAD "original_method = \"a b\"\n", ":4: original_method" },
		{ HEAD "original_uri = \"Host\"\n", ":4: original_uri" },
		{ HEAD "original_uri = \"x-original-method\"\n", ":4: original_method and original_uri are the same" },
		{ HEAD "routes = {\"GET /a = b\", \"GET /../b = c\"}\n",
		    ":4: routes: \"GET /../b = c\": the path holds . or .." },
		{ HEAD "realm = 'a\"b'\n", ":4: realm is not taken" }, { HEAD "bearer = maybe\n", ":4: " },
		{ HEAD "socket_mode = 1000\n", ":4: socket_mode" }, { HEAD "socket_mode = 0060\n", ":4: socket_mode" },
		{ HEAD "connections = 0\n", ":4: connections = 0 is out of range; give 1 to" },
		{ HEAD "timeout = 60001\n", ":4: timeout = 60001 is out of range; give 1 to 60000" },
		{ HEAD "timeout = x\n", ":4: " }, { HEAD "log_level = loud\n", ":4: log_level" },
		{ HEAD "log_format = xml\n", ":4: log_format" }, { HEAD "realm = \"a\n", ":4: a string is not closed" },
		{ OPERATOR, ": none of token_file and user_header; give one" },
		{ OPERATOR "token_file = \"/t\"\nuser_header = X\ntrusted = {\"::1\"}\n",
		    ":5: both of token_file and user_header" },
		{ OPERATOR "token_file = \"t\"\n", ":4: token_file = \"t\" is no absolute path" },
		{ OPERATOR "user_header = X\n", ":4: user_header is believed from trusted peers only" },
		{ OPERATOR "user_header = cookie\n", ":4: user_header = \"cookie\" has a meaning of its own" },
		{ OPERATOR "token_file = \"/t\"\nroutes = {\"GET /a = b\"}\n", ":5: routes is for role = \"auth\"" },
		{ HEAD "session_idle = 5\n", ":4: session_idle is for role = \"operator\"" },
		{ HEAD "insecure = true\n", ":4: insecure is for role = \"operator\"" },
		{ OPERATOR "token_file = \"/t\"\nsession_idle = 0\n", ":5: session_idle = 0 is out of range" },
		{ OPERATOR "token_file = \"/t\"\norigin = \"a.b\"\n", ":5: origin = \"a.b\" is not" },
		{ OPERATOR "token_file = \"/t\"\norigin = \"https://a/b\"\n", ":5: origin" },
		{ OPERATOR "token_file = \"/t\"\norigin = \"https://\"\n", ":5: origin" },
		{ "role = operator\nfob = {\"ipc://a\"}\nlisten = {\"10.0.0.1:1\"}\ntoken_file = \"/t\"\n",
		    ":3: listen: 10.0.0.1:1 is not" },
		{ "role = operator\nfob = {\"ipc://a\"}\nlisten = {\"[::]:1\"}\ntoken_file = \"/t\"\n",
		    ":3: listen: [::]:1 is not" },
		{ HEAD "/* a */\n", ":4: comments begin with #" },
		{ HEAD "routes = {\n", ":5: premature end of file" } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct settings *s = NULL;
		char why[512] = "";

		if (load(cases[i].text, &s, why, sizeof(why)) != -1)
			fail_msg("taken: %s", cases[i].text);
		assert_null(s);
		if (strncmp(why, path, strlen(path)) != 0 ||
		    strncmp(why + strlen(path), cases[i].why, strlen(cases[i].why)) != 0 || strchr(why, '\n') != NULL)
			fail_msg("%s: %s", cases[i].text, why);
	}
}

static void
a_file_that_is_none(void **state)
{
	struct settings *s;
	char why[512];

	(void)state;
	assert_int_equal(settings_load("/nonexistent/x", &s, why, sizeof(why)), -1);
	assert_string_equal(why, "/nonexistent/x: cannot be read: No such file or directory; --config names another");
	assert_int_equal(settings_load("/", &s, why, sizeof(why)), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(defaults), cmocka_unit_test(the_file_that_comes_with_it),
		cmocka_unit_test(others), cmocka_unit_test(of_an_operator), cmocka_unit_test(refused),
		cmocka_unit_test(a_file_that_is_none) };
	const char *tmp = getenv("TMPDIR");
	int rc;

	snprintf(path, sizeof(path), "%s/fob-http.XXXXXX", tmp != NULL ? tmp : "/tmp");
	close(mkstemp(path));
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
