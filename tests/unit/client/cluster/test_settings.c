/*
 * test_settings.c - client/cluster/settings.c: which certificates' files are used, and FILE:LINE of what is refused.
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

#include "client/cluster/settings.h"

#define HEAD "environment = live\nendpoints = {\"https://etcd:2379\"}\n"
#define ETCD HEAD "ca = \"/dev/null\"\n"

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

/* NULL or the same text. */
static void
is(const char *expected, const char *have)
{
	assert_int_equal(expected == NULL, have == NULL);
	if (expected != NULL)
		assert_string_equal(expected, have);
}

static void
files(void **state)
{
	static const struct {
		const char *text, *ca, *cert, *key;
	} cases[] = { { ETCD, "/dev/null", NULL, NULL },
		{ ETCD "cert = \"/dev/zero\"\nkey = \"/dev/full\"\n", "/dev/null", "/dev/zero", "/dev/full" },
		{ ETCD "cert = \"/dev/zero\"\nkey = \"/dev/full\"\npeer_ca = \"/dev/urandom\"\n", "/dev/urandom",
		    "/dev/zero", "/dev/full" },
		{ ETCD "cert = \"/dev/zero\"\nkey = \"/dev/full\"\npeer_cert = \"/\"\npeer_key = \"/dev\"\n",
		    "/dev/null", "/", "/dev" },
		{ ETCD "peer_cert = \"/\"\npeer_key = \"/dev\"\n", "/dev/null", "/", "/dev" } };
	struct settings *s;
	char why[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (load(cases[i].text, &s, why, sizeof(why)) != 0)
			fail_msg("%s", why);
		is("/dev/null", s->ca);
		is(cases[i].ca, s->peer_ca);
		is(cases[i].cert, s->peer_cert);
		is(cases[i].key, s->peer_key);
		assert_string_equal("/fob/live/", s->prefix);
		settings_free(s);
	}
	settings_free(NULL);
}

static void
refused(void **state)
{
	static const struct {
		const char *text, *line, *why;
	} cases[] = { { HEAD, "", "has no ca" }, { ETCD "cert = \"/\"\n", ":4", "cert and key belong together" },
		{ ETCD "key = \"/\"\n", ":4", "cert and key belong together" },
		{ ETCD "\npeer_cert = \"/\"\n", ":5", "peer_cert and peer_key belong together" },
		{ ETCD "cert = \"/\"\nkey = \"/\"\npeer_key = \"/\"\n", ":6",
		    "peer_cert and peer_key belong together" },
		{ ETCD "peer_ca = \"/nowhere\"\n", ":4", "peer_ca = \"/nowhere\" cannot be read" },
		{ ETCD "peer_cert = \"/nowhere\"\npeer_key = \"/\"\n", ":4",
		    "peer_cert = \"/nowhere\" cannot be read" },
		{ ETCD "peer_cert = \"/\"\npeer_key = \"/nowhere\"\n", ":5", "peer_key = \"/nowhere\" cannot be read" },
		{ ETCD "peer_ca = \"/\"\npeer_ca = \"/\"\n", ":5", "peer_ca" },
		{ "environment = both\n", ":1", "unknown" },
		{ "environment = live\nendpoints = {\"http://etcd:2379\"}\n", ":2", "no endpoint" } };
	struct settings *s;
	char why[512], start[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(-1, load(cases[i].text, &s, why, sizeof(why)));
		assert_null(s);
		snprintf(start, sizeof(start), "%s%s", path, cases[i].line);
		if (strncmp(why, start, strlen(start)) != 0 || strstr(why, cases[i].why) == NULL)
			fail_msg("%s\nbut: %s ... %s", why, start, cases[i].why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(files), cmocka_unit_test(refused) };
	const char *tmp = getenv("TMPDIR");
	int rc;

	snprintf(path, sizeof(path), "%s/s.%d", tmp != NULL && strlen(tmp) < 48 ? tmp : "/tmp", (int)getpid());
	rc = cmocka_run_group_tests_name("client/cluster/settings", tests, NULL, NULL);
	unlink(path);
	return rc;
}
