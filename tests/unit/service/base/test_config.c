/*
 * test_config.c - the value and default of every setting, and for each kind of wrong file the line and the
 * text of the error. One TAP result for each wrong file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/config.h"
#include "service/base/log.h"

static char folder[256];
static char file[512];

static void
write_file(const char *text, size_t len)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(close(fd), 0);
}

static int
load(const char *text, struct config *c, char why[512])
{
	write_file(text, strlen(text));
	return config_load(file, c, why, 512);
}

/* Each is one line of the file. */
#define LISTEN "listen \"ipc:///v\" { role = verify }\n"
#define LIVE "environment \"live\" { path = \"/d/live\" pepper = \"/p/live\" }\n"
#define TEST "environment \"test\" { path = \"/d/test\" pepper = \"/p/test\" }\n"
#define BASE LISTEN LIVE
#define TLS "tls_cert = a tls_key = b tls_ca = c"

#define X8 "xxxxxxxx"
#define X64 X8 X8 X8 X8 X8 X8 X8 X8

struct wrong {
	const char *name;
	const char *text;
	const char *why; /* what follows the file's name */
};

static const struct wrong wrongs[] = {
	{ "empty file", "", ": has no listen; add" },
	{ "no listen", LIVE, ": has no listen; add" },
	{ "no environment", LISTEN, ": has no environment; add" },
	{ "unknown setting", BASE "timeuot = 5\n", ":3: no such option 'timeuot'; the fobd.conf" },
	{ "unknown setting in a section", LISTEN "environment live {\n\n colour = red\n}",
	    ":4: no such option 'colour'" },
	{ "unknown section", BASE "listener \"x\" { }\n", ":3: no such option 'listener'" },
	{ "lines are counted past comments", "# a\n## b\n\n" LISTEN "// c\n" LIVE "bogus = 1 # d\n",
	    ":7: no such option" },
	{ "text for a number", BASE "timeout = \"soon\"\n", ":3: invalid integer value for option 'timeout'" },
	{ "number too large for a long", BASE "timeout = 99999999999999999999\n",
	    ":3: integer value for option 'timeout'" },
	{ "text for a bool", "listen \"ipc:///a\" { role = admin\n insecure = maybe }", ":2: invalid boolean value" },
	{ "no equal sign", BASE "timeout 5\n", ":3: missing equal sign after option 'timeout'" },
	{ "no value", BASE "timeout =\n", ": premature end of file" },
	{ "list for a word", BASE "user = {\"a\", \"b\"}\n", ":3: unexpected token '{'" },
	{ "set twice", BASE "timeout = 1\n\ntimeout = 2\n", ":5: timeout is set twice, first on line 3; remove" },
	{ "set twice in a section", "listen \"ipc:///a\" {\n role = admin\n role = verify\n}",
	    ":3: role is set twice" },
	{ "string not closed", BASE "user = \"fob\n", ":3: a string is not closed on its line; end it with \"" },
	{ "string not closed, single quote", BASE "user = 'fob\n",
	    ":3: a string is not closed on its line; end it with '" },
	{ "escape", BASE "user = \"fo\\x00b\"\n", ":3: only \\\\ and \\\" may follow a backslash" },
	{ "section not closed", LISTEN "\nenvironment \"live\" {\n path = \"/d\"\n",
	    ":3: the { of this line is not closed" },
	{ "brace too many", BASE "}\n", ":3: unexpected closing brace" },
	{ "C comment", BASE "/* open\n", ":3: comments begin with #" },
	{ "environment variable that is not set", LISTEN "environment live {\npath = \"${FOB_NO_SUCH}\"\npepper = /p }",
	    ":3: path is empty; name a path" },

	{ "timeout 0", BASE "timeout = 0\n", ":3: timeout = 0 is out of range; give 1 to 60000" },
	{ "timeout too long", BASE "timeout = 60001\n", ":3: timeout = 60001 is out of range" },
	{ "timeout negative", BASE "timeout = -1\n", ":3: timeout = -1 is out of range" },
	{ "connections 0", BASE "connections = 0\n", ":3: connections = 0 is out of range; give 1 to 65536" },
	{ "connections 65537", BASE "connections = 65537\n", ":3: connections = 65537 is out of range" },
	{ "in_flight 0", BASE "in_flight = 0\n", ":3: in_flight = 0 is out of range; give 1 to 4096" },
	{ "in_flight 4097", BASE "in_flight = 4097\n", ":3: in_flight = 4097 is out of range" },
	{ "drain negative", BASE "drain = -1\n", ":3: drain = -1 is out of range; give 0 to 60000" },
	{ "drain 60001", BASE "drain = 60001\n", ":3: drain = 60001 is out of range" },
	{ "user empty", BASE "user = \"\"\n", ":3: user is empty" },
	{ "log_level", BASE "log_level = loud\n", ":3: log_level = \"loud\" is unknown; give \"error\"" },
	{ "log_format", BASE "log_format = xml\n", ":3: log_format = \"xml\" is unknown; give \"logfmt\"" },

	{ "no title", "listen { role = verify }\n", ":1: missing title for section 'listen'" },
	{ "no role", LIVE "\nlisten \"ipc:///a\" {\n mode = 0600\n}\n", ":3: listen needs role = \"verify\" or" },
	{ "unknown role", LIVE "listen \"ipc:///a\" {\n role = root\n}\n", ":3: role = \"root\" is unknown" },
	{ "unknown scheme", "listen \"http://a:1\" { role = verify }",
	    ":1: listen \"http://a:1\": a URL begins with ipc://" },
	{ "no scheme", "listen \"/run/a\" { role = verify }", ":1: listen \"/run/a\": a URL begins with" },
	{ "ipc without a path", "listen \"ipc://\" { role = verify }",
	    ":1: listen \"ipc://\": name the socket's path" },
	{ "ipc path too long", "listen \"ipc:///" X64 X8 X8 X8 X8 X8 "xxx\" { role = verify }",
	    ": the path has 108 bytes, and a unix socket's may have 107" },
	{ "space in a URL", "listen \"ipc:///a b\" { role = verify }",
	    ":1: listen \"ipc:///a b\": a URL may not hold a space" },
	{ "no port", "listen \"tcp://127.0.0.1\" { role = verify }", ":1: listen \"tcp://127.0.0.1\": give HOST:PORT" },
	{ "no host", "listen \"tcp://:7400\" { role = verify }", ":1: listen \"tcp://:7400\": give HOST:PORT" },
	{ "port 0", "listen \"tcp://h:0\" { role = verify }", ":1: listen \"tcp://h:0\": the port is out of range" },
	{ "port 65536", "listen \"tcp://h:65536\" { role = verify }",
	    ":1: listen \"tcp://h:65536\": the port is out of range" },
	{ "port with a path", "listen \"tcp://h:1/x\" { role = verify }",
	    ":1: listen \"tcp://h:1/x\": the port is out of range" },
	{ "IPv6 without brackets", "listen \"tcp://::1:7400\" { role = verify }",
	    ":1: listen \"tcp://::1:7400\": write an IPv6" },
	{ "one URL twice", LISTEN LISTEN LIVE, ":2: found duplicate title 'ipc:///v'" },
	{ "mode in decimal", "listen \"ipc:///a\" {\n role = verify\n mode = 660 }",
	    ":3: mode = 660 is not a mode for a socket" },
	{ "mode without its owner", "listen \"ipc:///a\" { role = verify\n mode = 0060 }",
	    ":2: mode = 48 is not a mode" },
	{ "mode of an admin socket", "listen \"ipc:///a\" { role = admin\n mode = 0666 }",
	    ":2: mode = 0666 lets every user" },
	{ "allow_users on tcp", "listen \"tcp://127.0.0.1:1\" { role = verify\n allow_users = root }",
	    ":2: allow_users is for ipc:// only" },
	{ "allow_users empty", "listen \"ipc:///a\" { role = verify\n allow_users = ' ' }",
	    ":2: allow_users is empty" },
	{ "allow_users nobody", "listen \"ipc:///a\" { role = verify\n allow_users = \"\" }",
	    ":2: allow_users is empty" },
	{ "allow_users too long", "listen \"ipc:///a\" { role = verify\n allow_users = \"" X64 "\" }",
	    " is not a user name; put spaces between names" },
	{ "allow_users unknown", "listen \"ipc:///a\" { role = verify\n allow_users = 'root no-such-user' }",
	    ":2: allow_users: \"no-such-user\": there is no such user" },
	{ "allow_users no number", "listen \"ipc:///a\" { role = verify\n allow_users = 0x1 }",
	    ":2: allow_users: \"0x1\" is not a user number" },
	{ "allow_users the number that is none", "listen \"ipc:///a\" { role = verify\n allow_users = 4294967295 }",
	    ":2: allow_users: \"4294967295\" is not a user number; give 0 to 4294967294" },
	{ "peer on ipc", LISTEN "listen \"ipc:///a\" {\n role = peer\n}", ":2: role = \"peer\" is for tls+tcp:// only" },
	{ "peer on tcp", LISTEN "listen \"tcp://127.0.0.1:1\" {\n role = peer\n}", ":2: peer over tcp:// lets anyone" },
	{ "peer everywhere", LISTEN "listen \"tcp://0.0.0.0:1\" {\n role = peer\n insecure = true\n}",
	    ":2: other nodes cannot reach this one at 0.0.0.0" },
	{ "advertised everywhere",
	    LISTEN "listen \"tcp://0.0.0.0:1\" {\n role = peer\n insecure = true\n advertise = 'tcp://[::]:1'\n}",
	    ":5: other nodes cannot reach this one at 0.0.0.0" },
	{ "advertised over TLS",
	    LISTEN "listen \"tcp://0.0.0.0:1\" {\n role = peer\n insecure = true\n advertise = 'tls+tcp://a:1'\n}",
	    ":5: advertise = \"tls+tcp://a:1\": give tcp://HOST:PORT" },
	{ "advertised without a port",
	    LISTEN "listen \"tcp://0.0.0.0:1\" {\n role = peer\n insecure = true\n advertise = 'tcp://a'\n}",
	    ":5: listen \"tcp://a\": give HOST:PORT" },
	{ "advertised at length",
	    LISTEN "listen \"tcp://0.0.0.0:1\" {\n role = peer\n insecure = true\n advertise = 'tcp://" X64 X64 ":1'\n}",
	    ":5: advertise has more than 127 bytes" },
	{ "verify advertised", "listen \"tcp://127.0.0.1:1\" {\n role = verify\n advertise = 'tcp://a:1'\n}",
	    ":3: advertise is for role = \"peer\" only" },
	{ "mode on tcp", "listen \"tcp://127.0.0.1:1\" { role = verify\n mode = 0600 }",
	    ":2: mode is for ipc:// only" },
	{ "admin on tcp", LISTEN "\nlisten \"tcp://127.0.0.1:1\" {\n role = admin\n}",
	    ":3: admin over tcp:// lets anyone" },
	{ "admin on tcp, insecure = false", "listen \"tcp://127.0.0.1:1\" {\n role = admin\n insecure = false\n}",
	    ":1: admin over tcp" },
	{ "verify on tcp", LISTEN "\nlisten \"tcp://10.0.0.5:1\" {\n role = verify\n}", ":3: over tcp:// keys cross" },
	{ "verify on all addresses", "listen \"tcp://0.0.0.0:1\" { role = verify }", ":1: over tcp:// keys cross" },
	{ "verify on all addresses, IPv6", "listen \"tcp://[::]:1\" { role = verify }", ":1: over tcp:// keys cross" },
	{ "verify on a mapped address", "listen \"tcp://[::ffff:10.0.0.5]:1\" { role = verify }",
	    ":1: over tcp:// keys cross" },
	{ "a name", "listen \"tcp://localhost:1\" { role = verify }",
	    ":1: listen \"tcp://localhost:1\": give an address" },
	{ "a name over tls", "listen \"tls+tcp://fob.example:1\" { role = verify " TLS " }", ": give an address" },
	{ "a short address", "listen \"tcp://127.1:1\" { role = verify }",
	    ":1: listen \"tcp://127.1:1\": give an address" },
	{ "an IPv4 address in brackets", "listen \"tcp://[127.0.0.1]:1\" { role = verify }", ": give an address" },
	{ "nothing in brackets", "listen \"tcp://[]:1\" { role = verify }", ": give an address" },
	{ "a long name", "listen \"tcp://" X64 X64 ":1\" { role = verify }", ": give an address" },
	{ "insecure on ipc", "listen \"ipc:///a\" { role = admin\n insecure = true }",
	    ":2: insecure is for tcp:// only" },
	{ "insecure tls", "listen \"tls+tcp://127.0.0.1:1\" { role = admin " TLS "\n insecure = true }",
	    ":2: insecure is for tcp:// only" },
	{ "tls without files", "listen \"tls+tcp://127.0.0.1:1\" { role = admin }",
	    ":1: tls+tcp:// needs tls_cert = \"PATH\"" },
	{ "tls without a key", "listen \"tls+tcp://127.0.0.1:1\" { role = admin tls_cert = a }",
	    ":1: tls+tcp:// needs tls_key" },
	{ "tls without a CA", "listen \"tls+tcp://127.0.0.1:1\" { role = verify tls_cert = a tls_key = b }",
	    ":1: tls+tcp:// needs tls_ca" },
	{ "tls with an empty name", "listen \"tls+tcp://127.0.0.1:1\" { role = admin\n tls_cert = \"\" }",
	    ":2: tls_cert is empty" },
	{ "tls_cert on ipc", "listen \"ipc:///a\" { role = verify\n tls_cert = a }",
	    ":2: tls_cert is for tls+tcp:// only" },
	{ "tls_ca on tcp", "listen \"tcp://127.0.0.1:1\" { role = verify\n tls_ca = a }",
	    ":2: tls_ca is for tls+tcp:// only" },

	{ "unknown environment", LISTEN "environment \"prod\" { }\n",
	    ":2: environment \"prod\" is unknown; give \"live\"" },
	{ "one environment twice", LISTEN LIVE LIVE, ":3: found duplicate title 'live'" },
	{ "no path", LISTEN "environment live {\n pepper = /p\n}", ":2: environment needs path = \"PATH\"" },
	{ "no pepper", LISTEN "environment live {\n path = /d\n}", ":2: environment needs pepper = \"PATH\"" },
	{ "control character", LISTEN "environment live { path = \"/d\1\"\n}", ":2: path holds a control character" },
	{ "pepper in the database", LISTEN "environment live { path = /d\n pepper = /d/pepper }",
	    ":3: the pepper is in its" },
	{ "pepper in the database, disguised", LISTEN "environment live { path = /d\n pepper = /./d//pepper }",
	    ":3: the pepper" },
	{ "shared path", BASE "environment test { pepper = /p/t\n path = /d/live }",
	    ":4: live and test share a folder" },
	{ "shared path, disguised", BASE "environment test { pepper = /p/t\n path = \"//d/./live/\" }",
	    ":4: live and test share" },
	{ "one path in the other", BASE "environment test { pepper = /p/t\n path = /d/live/test }",
	    ":4: live and test share" },
	{ "one path around the other", BASE "environment test { pepper = /p/t\n path = /d }",
	    ":4: live and test share a" },
	{ "shared pepper", BASE "environment test { path = /d/t\n pepper = /p/live }",
	    ":4: live and test share a pepper" },
	{ "ceiling too small", LISTEN "environment live { path = /d pepper = /p\n ceiling = 4194303 }",
	    ":3: ceiling = \"4194303\" is out" },
	{ "ceiling too large", LISTEN "environment live { path = /d pepper = /p\n ceiling = 2TiB }",
	    ":3: ceiling = \"2TiB\" is out of" },
	{ "ceiling overflows", LISTEN "environment live { path = /d pepper = /p\n ceiling = 16777217TiB }",
	    ":3: ceiling = \"16777217TiB\" is not a size" },
	{ "ceiling with a decimal unit", LISTEN "environment live { path = /d pepper = /p\n ceiling = 16GB }",
	    ":3: ceiling = \"16GB\" is not a size" },
	{ "ceiling without a number", LISTEN "environment live { path = /d pepper = /p\n ceiling = GiB }",
	    ":3: ceiling = \"GiB\" is not a size" },
	{ "ceiling with control characters",
	    LISTEN "environment live { path = /d pepper = /p\n ceiling = \"\r\x1b[2J1\" }",
	    ":3: ceiling = \"??[2J1\" is not a size" },
	{ "ceiling negative", LISTEN "environment live { path = /d pepper = /p\n ceiling = -1 }",
	    ":3: ceiling = \"-1\" is not a size" },
	{ "events_kept 999", LISTEN "environment live { path = /d pepper = /p\n events_kept = 999 }",
	    ":3: events_kept = 999 is out" },

	{ "operation empty", BASE "publishable_operations = {\"\"}\n",
	    ":3: publishable_operations: \"\" is not an operation" },
	{ "operation of 65", BASE "roll_operations = {\"" X64 "x\"}\n", ":3: roll_operations: \"xxx" },
	{ "operation with a space", BASE "roll_operations = {\"a b\"}\n",
	    ":3: roll_operations: \"a b\" is not an operation" },
	{ "publishable may roll", BASE "publishable_operations = {\"tokenize\",\n\"keys.roll\"}\n",
	    ":3: publishable_operations: \"keys.roll\" is in roll_operations, too" },
};
#define WRONGS (sizeof(wrongs) / sizeof(wrongs[0]))

static void
is_refused(void **state)
{
	const struct wrong *w = *state;
	struct config c, zero;
	char why[512];

	memset(&c, 0x5a, sizeof(c));
	memset(&zero, 0, sizeof(zero));
	assert_int_equal(load(w->text, &c, why), -1);
	assert_memory_equal(&c, &zero, sizeof(c));
	if (strncmp(why, file, strlen(file)) != 0 && strstr(w->why, "the path has") == NULL)
		fail_msg("does not begin with the file: %s", why);
	if (strstr(why, w->why) == NULL)
		fail_msg("said \"%s\", not \"...%s...\"", why, w->why);
	assert_null(strchr(why, '\n'));
}

static void
documented_file_is_the_defaults(void **state)
{
	struct config c;
	char why[512];

	(void)state;
	if (access("service/fobd.conf", R_OK) != 0)
		skip();
	assert_int_equal(config_load("service/fobd.conf", &c, why, sizeof(why)), 0);
	assert_int_equal(c.n_listeners, 2);
	assert_string_equal(c.listeners[0].url, "ipc:///run/fob/verify.sock");
	assert_int_equal(c.listeners[0].role, ROLE_VERIFY);
	assert_int_equal(c.listeners[1].role, ROLE_ADMIN);
	assert_string_equal(c.environments[ENVIRONMENT_TEST].pepper, "/etc/fob/test.pepper");
	config_fini(&c);
}

static void
defaults(void **state)
{
	struct config c;
	char why[512];

	(void)state;
	assert_int_equal(load(LISTEN "listen \"ipc:///a\" { role = admin }\n" TEST, &c, why), 0);
	assert_int_equal(c.n_listeners, 2);
	assert_int_equal(c.listeners[0].mode, 0660);
	assert_int_equal(c.listeners[1].mode, 0600);
	assert_false(c.listeners[1].insecure);
	assert_null(c.listeners[1].tls_ca);
	assert_false(c.environments[ENVIRONMENT_LIVE].configured);
	assert_null(c.environments[ENVIRONMENT_LIVE].path);
	assert_true(c.environments[ENVIRONMENT_TEST].configured);
	assert_int_equal(c.environments[ENVIRONMENT_TEST].ceiling_bytes, 16ULL << 30);
	assert_int_equal(c.environments[ENVIRONMENT_TEST].events_kept, 1000000);
	assert_int_equal(c.n_publishable_operations, 1);
	assert_string_equal(c.publishable_operations[0], "tokenize");
	assert_int_equal(c.n_roll_operations, 1);
	assert_string_equal(c.roll_operations[0], "keys.roll");
	assert_null(c.user);
	assert_int_equal(c.timeout_ms, 5000);
	assert_int_equal(c.connections, 8192);
	assert_int_equal(c.in_flight, 64);
	assert_int_equal(c.drain_ms, 1000);
	assert_int_equal(c.log_level, LOG_INFO);
	assert_false(c.log_json);
	config_fini(&c);
	config_fini(&c);
}

/* As editors leave a file: a byte order mark, CRLF, no end of the last line. */
static void
what_editors_do(void **state)
{
	static const char text[] = "\xef\xbb\xbf" BASE "# note\r\nroll_operations = {\"a\",\r\n \"b\"}\r\ndrain = 7";
	struct config c;
	char why[512] = "";

	(void)state;
	if (load(text, &c, why) != 0)
		fail_msg("%s", why);
	assert_int_equal(c.drain_ms, 7);
	assert_int_equal(c.n_roll_operations, 2);
	config_fini(&c);
	/* The line of an error is the file's. */
	assert_int_equal(load("\xef\xbb\xbf"
			      "timeout = 0\n" BASE,
			     &c, why),
	    -1);
	assert_non_null(strstr(why, ":1: timeout = 0 is out of range"));
}

/* Plain TCP needs no setting where no network is crossed. */
static void
exposed_listeners(void **state)
{
	static const struct {
		const char *listen;
		bool exposed;
	} table[] = { { "ipc:///v\" { role = verify }", false }, { "ipc:///v\" { role = admin }", false },
		{ "tcp://127.0.0.1:1\" { role = verify }", false }, { "tcp://127.9.8.7:1\" { role = verify }", false },
		{ "tcp://[::1]:1\" { role = verify }", false },
		{ "tcp://[::ffff:127.0.0.1]:1\" { role = verify }", false },
		{ "tcp://127.0.0.1:1\" { role = verify insecure = true }", false },
		{ "tcp://127.0.0.1:1\" { role = admin insecure = true }", true },
		{ "tcp://0.0.0.0:1\" { role = verify insecure = true }", true },
		{ "tcp://[::]:1\" { role = verify insecure = true }", true },
		{ "tcp://10.0.0.5:1\" { role = verify insecure = true }", true },
		{ "tls+tcp://10.0.0.5:1\" { role = admin " TLS " }", false } };
	char text[400], why[512] = "";
	struct config c;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		snprintf(text, sizeof(text), "listen \"%s\n" LIVE, table[i].listen);
		if (load(text, &c, why) != 0)
			fail_msg("%s: %s", table[i].listen, why);
		assert_int_equal(c.listeners[0].exposed, table[i].exposed);
		config_fini(&c);
	}
}

static void
every_setting(void **state)
{
	static const char text[] =
	    "listen \"ipc:///v\" { role = \"verify\" mode = 0666 contexts = 1 allow_users = ' root  1001' }\n"
	    "listen \"tcp://0.0.0.0:1\" { role = admin insecure = true contexts = 4096 }\n"
	    "listen \"tls+tcp://[::1]:65535\" { role = admin " TLS " }\r\n"
	    "environment live { path = '/d/#live' pepper = \"/p/{\\\"live\" ceiling = \"4MiB\" events_kept = 1000 }\n"
	    "environment test { path = /d//test pepper = /p/test ceiling = \"1 TiB\" } # closed\n"
	    "publishable_operations = {} // none\nroll_operations = {\"a:b/c-d.e_f\", \"B\"}\n"
	    "timeout = 60000\nconnections = 65536\nin_flight = 1\ndrain = 0\nuser = fob\n"
	    "log_level = debug\nlog_format = json";
	struct config c;
	char why[512] = "", path[600];

	(void)state;
	if (load(text, &c, why) != 0)
		fail_msg("%s", why);
	assert_int_equal(c.n_listeners, 3);
	assert_int_equal(c.listeners[0].mode, 0666);
	assert_int_equal(c.listeners[0].n_allow_uids, 2);
	assert_int_equal(c.listeners[0].allow_uids[0], 0);
	assert_int_equal(c.listeners[0].allow_uids[1], 1001);
	assert_int_equal(c.listeners[1].n_allow_uids, 0);
	assert_true(c.listeners[1].insecure);
	assert_string_equal(c.listeners[2].url, "tls+tcp://[::1]:65535");
	snprintf(path, sizeof(path), "%s/a", folder);
	assert_string_equal(c.listeners[2].tls_cert, path);
	assert_string_equal(c.environments[0].path, "/d/#live");
	assert_string_equal(c.environments[0].pepper, "/p/{\"live");
	assert_int_equal(c.environments[0].ceiling_bytes, 4 << 20);
	assert_int_equal(c.environments[0].events_kept, 1000);
	assert_int_equal(c.environments[1].ceiling_bytes, 1ULL << 40);
	assert_int_equal(c.n_publishable_operations, 0);
	assert_int_equal(c.n_roll_operations, 2);
	assert_string_equal(c.roll_operations[0], "a:b/c-d.e_f");
	assert_int_equal(c.timeout_ms, 60000);
	assert_int_equal(c.connections, 65536);
	assert_int_equal(c.in_flight, 1);
	assert_int_equal(c.drain_ms, 0);
	assert_string_equal(c.user, "fob");
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_true(c.log_json);
	config_fini(&c);
}

static void
relative_paths_are_below_the_files_folder(void **state)
{
	struct config c;
	char why[512] = "", expected[600];

	(void)state;
	if (load("listen \"ipc://v.sock\" { role = verify }\n"
		 "environment live { path = live pepper = p/live }",
		&c, why) != 0)
		fail_msg("%s", why);
	snprintf(expected, sizeof(expected), "ipc://%s/v.sock", folder);
	assert_string_equal(c.listeners[0].url, expected);
	snprintf(expected, sizeof(expected), "%s/live", folder);
	assert_string_equal(c.environments[0].path, expected);
	snprintf(expected, sizeof(expected), "%s/p/live", folder);
	assert_string_equal(c.environments[0].pepper, expected);
	config_fini(&c);
}

/* The title "v.sock" and its resolved path name the same socket. */
static void
one_socket_by_two_paths(void **state)
{
	struct config c;
	char why[512], text[1024];

	(void)state;
	snprintf(text, sizeof(text),
	    LIVE "listen \"ipc://v.sock\" { role = verify }\n"
		 "listen \"ipc://%s/v.sock\" { role = verify }\n",
	    folder);
	assert_int_equal(load(text, &c, why), -1);
	assert_non_null(strstr(why, ":3: ipc://"));
	assert_non_null(strstr(why, "is listened on twice"));
}

static void
folders_that_are_one_by_a_link(void **state)
{
	struct config c;
	char why[512], path[600], link[600], text[2048];

	(void)state;
	snprintf(path, sizeof(path), "%s/real", folder);
	snprintf(link, sizeof(link), "%s/link", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(symlink(path, link), 0);
	snprintf(text, sizeof(text),
	    LISTEN "environment live { path = real pepper = a }\n"
		   "environment test { path = link pepper = b }\n");
	assert_int_equal(load(text, &c, why), -1);
	assert_non_null(strstr(why, ":3: live and test share a folder"));
	unlink(link);
	rmdir(path);
}

static void
limits_of_lists(void **state)
{
	char *text = calloc(1, 65536), why[512];
	struct config c;
	size_t at;

	(void)state;
	assert_non_null(text);
	at = (size_t)sprintf(text, "%s", LIVE);
	for (int i = 0; i < LIMIT_LISTENERS; i++)
		at += (size_t)sprintf(text + at, "listen \"ipc:///%d\" { role = verify }\n", i);
	assert_int_equal(load(text, &c, why), 0);
	config_fini(&c);
	sprintf(text + at, "listen \"ipc:///more\" { role = verify }\n");
	assert_int_equal(load(text, &c, why), -1);
	assert_non_null(strstr(why, ":18: there are more than 16 listeners"));

	at = (size_t)sprintf(text, "%s%spublishable_operations = {a", LIVE, LISTEN);
	for (int i = 1; i < LIMIT_OPERATIONS; i++)
		at += (size_t)sprintf(text + at, ",\n\"op%d\"", i);
	sprintf(text + at, "}\n");
	assert_int_equal(load(text, &c, why), 0);
	assert_int_equal(c.n_publishable_operations, LIMIT_OPERATIONS);
	config_fini(&c);
	sprintf(text + at, ", one.more}\n");
	assert_int_equal(load(text, &c, why), -1);
	assert_non_null(strstr(why, ":3: publishable_operations has more than 256 names"));

	at = (size_t)sprintf(text, "%s", LISTEN);
	for (int i = 0; i < 70; i++)
		at += (size_t)sprintf(text + at, "environment \"%d\" { path = a pepper = b }\n", i);
	assert_int_equal(load(text, &c, why), -1);
	assert_non_null(strstr(why, ":65: there are more than 64 sections"));
	free(text);
}

static void
files_that_are_none(void **state)
{
	struct config c;
	char why[512], tiny[20], *large;

	(void)state;
	assert_int_equal(config_load("/nonexistent/fobd.conf", &c, why, sizeof(why)), -1);
	assert_string_equal(
	    why, "/nonexistent/fobd.conf: cannot be read: No such file or directory; --config names another");
	assert_int_equal(config_load(folder, &c, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "Is a directory"));
	write_file("timeout = 1\0\n", 13);
	assert_int_equal(config_load(file, &c, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "holds a NUL byte"));
	write_file("\xff\xfet\0i\0", 6);
	assert_int_equal(config_load(file, &c, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "is UTF-16"));
	large = malloc(300000);
	assert_non_null(large);
	memset(large, '\n', 300000);
	write_file(large, 300000);
	free(large);
	assert_int_equal(config_load(file, &c, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "is larger than 262144 bytes"));
	/* A reason that is too long for the buffer is cut. */
	memset(tiny, 'z', sizeof(tiny));
	assert_int_equal(config_load("/nonexistent/fobd.conf", &c, tiny, 10), -1);
	assert_string_equal(tiny, "/nonexist");
	assert_int_equal(tiny[10], 'z');
	assert_int_equal(config_load("/nonexistent/fobd.conf", &c, tiny, 1), -1);
	assert_string_equal(tiny, "");
}

/* libconfuse's lexer is global: a file that was refused half-way must not affect the next one. */
static void
a_refused_file_leaves_nothing_behind(void **state)
{
	struct config c;
	char why[512] = "";

	(void)state;
	for (size_t i = 0; i < WRONGS; i++) {
		assert_int_equal(load(wrongs[i].text, &c, why), -1);
		if (load(BASE, &c, why) != 0)
			fail_msg("after \"%s\": %s", wrongs[i].name, why);
		config_fini(&c);
	}
}

static int
make_folder(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/config.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/fobd.conf", folder);
	return 0;
}

static int
remove_folder(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest fixed[] = {
		cmocka_unit_test(documented_file_is_the_defaults),
		cmocka_unit_test(defaults),
		cmocka_unit_test(exposed_listeners),
		cmocka_unit_test(what_editors_do),
		cmocka_unit_test(every_setting),
		cmocka_unit_test(relative_paths_are_below_the_files_folder),
		cmocka_unit_test(one_socket_by_two_paths),
		cmocka_unit_test(folders_that_are_one_by_a_link),
		cmocka_unit_test(limits_of_lists),
		cmocka_unit_test(files_that_are_none),
		cmocka_unit_test(a_refused_file_leaves_nothing_behind),
	};
	enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };
	struct CMUnitTest tests[FIXED + WRONGS];

	memcpy(tests, fixed, sizeof(fixed));
	for (size_t i = 0; i < WRONGS; i++)
		tests[FIXED + i] = (struct CMUnitTest){
			.name = wrongs[i].name, .test_func = is_refused, .initial_state = (void *)(uintptr_t)&wrongs[i]
		};
	return cmocka_run_group_tests_name("config", tests, make_folder, remove_folder);
}
