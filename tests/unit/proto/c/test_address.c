/* What the addresses of the options stand for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "proto/c/address.h"

static void
test_forms(void **state)
{
	static const struct {
		const char *text;
		enum address_scheme scheme;
		const char *host, *port;
		bool name;
		int family;
	} cases[] = { { "ipc:///run/fob/verify.sock", ADDRESS_IPC, "/run/fob/verify.sock", NULL, false, AF_UNIX },
		{ "ipc://s", ADDRESS_IPC, "s", NULL, false, AF_UNIX },
		{ "tcp://127.0.0.1:7400", ADDRESS_TCP, "127.0.0.1", "7400", false, AF_INET },
		{ "tcp://[::1]:7400", ADDRESS_TCP, "::1", "7400", false, AF_INET6 },
		{ "tls+tcp://[::1]:1", ADDRESS_TLS, "::1", "1", false, AF_INET6 },
		{ "tls+tcp://192.0.2.1:65535", ADDRESS_TLS, "192.0.2.1", "65535", false, AF_INET },
		{ "tcp://localhost:80", ADDRESS_TCP, "localhost", "80", true, AF_UNSPEC } };
	struct endpoints e;
	struct address a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(address_init(&a, cases[i].text), 0);
		assert_int_equal(a.scheme, cases[i].scheme);
		assert_string_equal(a.text, cases[i].text);
		assert_string_equal(a.host, cases[i].host);
		if (cases[i].port != NULL)
			assert_string_equal(a.port, cases[i].port);
		assert_int_equal(address_is_name(&a), cases[i].name);
		/* A system may have no name: not even localhost. */
		if (!cases[i].name) {
			assert_null(address_resolve(&a, &e));
			assert_true(e.n >= 1);
			assert_int_equal(e.list[0].any.sa_family, cases[i].family);
		}
		address_fini(&a);
	}
}

static void
test_no_such_name(void **state)
{
	struct endpoints e;
	struct address a;

	(void)state;
	/* RFC 6761: there is never such a name. Without a name server the reason is another one. */
	assert_int_equal(address_init(&a, "tcp://nobody.invalid:1"), 0);
	assert_true(address_is_name(&a));
	assert_non_null(address_resolve(&a, &e));
	assert_int_equal(e.n, 0);
	address_fini(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms), cmocka_unit_test(test_no_such_name) };

	return cmocka_run_group_tests_name("proto/c/address", tests, NULL, NULL);
}
