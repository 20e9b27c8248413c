/*
 * test_peer.c - client/http/peer.c: addresses, blocks, and who is trusted.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/peer.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct peer
peer(const char *text)
{
	struct sockaddr_storage storage = { .ss_family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET };
	void *to = storage.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&storage)->sin_addr :
						  (void *)&((struct sockaddr_in6 *)&storage)->sin6_addr;

	assert_int_equal(inet_pton(storage.ss_family, text, to), 1);
	return peer_of(&storage);
}

static void
blocks(void **state)
{
	static const struct {
		const char *block, *peer;
		bool in;
	} cases[] = { { "127.0.0.1", "127.0.0.1", true }, { "127.0.0.1", "127.0.0.2", false },
		{ "127.0.0.1", "::ffff:127.0.0.1", true }, { "10.0.0.0/8", "10.255.1.2", true },
		{ "10.0.0.0/8", "11.0.0.0", false }, { "10.0.0.0/8", "::a00:1", false },
		{ "192.168.4.0/22", "192.168.7.255", true }, { "192.168.4.0/22", "192.168.8.0", false },
		{ "1.2.3.4/32", "1.2.3.4", true }, { "1.2.3.4/31", "1.2.3.5", true }, { "0.0.0.0/0", "1.2.3.4", true },
		{ "0.0.0.0/0", "::1", false }, { "::/0", "1.2.3.4", true }, { "::1", "::1", true },
		{ "::1", "::2", false }, { "fe80::/10", "febf::1", true }, { "fe80::/10", "fec0::1", false } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct peer_block block;
		struct peer p = peer(cases[i].peer);

		assert_int_equal(peer_block_parse(cases[i].block, &block), 0);
		if (peer_is_trusted(&p, &block, 1) != cases[i].in)
			fail_msg("%s in %s", cases[i].peer, cases[i].block);
		assert_false(peer_is_trusted(&p, &block, 0));
	}
}

static void
bad_blocks(void **state)
{
	static const char *const cases[] = { "", "/", "a", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1",
		"1.2.3.4/ 8", "1.2.3.4/8", "::1/129", "::1/127", "[::1]", "1.2.3.4/0008", "localhost", "1.2.3.4/8/8",
		"::1%lo", "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111" };
	struct peer_block block;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (peer_block_parse(cases[i], &block) != -1)
			fail_msg("taken: %s", cases[i]);
}

static void
a_unix_socket_is_trusted(void **state)
{
	struct sockaddr_storage storage = { .ss_family = AF_UNIX };
	struct peer p = peer_of(&storage);

	(void)state;
	assert_true(peer_is_trusted(&p, NULL, 0));
	storage.ss_family = AF_UNSPEC;
	p = peer_of(&storage);
	assert_false(peer_is_trusted(&p, NULL, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(blocks), cmocka_unit_test(bad_blocks),
		cmocka_unit_test(a_unix_socket_is_trusted) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
