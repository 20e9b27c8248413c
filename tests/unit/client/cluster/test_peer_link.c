/*
 * test_peer_link.c - one connection to another node: all addresses of its name are tried, and why each failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cluster/peer_link.h"

#define LONG_MS 20000

static char ca[64];

static int
listen_tcp(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(0, bind(fd, (struct sockaddr *)a, sizeof(*a)));
	assert_int_equal(0, listen(fd, 16));
	assert_int_equal(0, getsockname(fd, (struct sockaddr *)a, &len));
	return fd;
}

/* A certificate that is good for nothing but to be read. */
static void
write_ca(void)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *f = fopen(ca, "w");

	assert_non_null(f);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	assert_int_not_equal(0, X509_sign(x, key, EVP_sha256()));
	assert_int_equal(1, PEM_write_X509(f, x));
	fclose(f);
	EVP_PKEY_free(key);
	X509_free(x);
}

/* Turns until there is an end, or the connection has gone to ${to}. */
static int
turn_until(struct peer_link *l, unsigned to)
{
	int rv;

	while ((rv = peer_link_turn(l, 0)) == 0 && l->endpoint != to) {
		struct pollfd pfd = { .fd = l->fd, .events = peer_link_events(l) };

		assert_int_equal(1, poll(&pfd, 1, LONG_MS));
	}
	return rv;
}

static void
test_all_addresses_of_a_name(void **state)
{
	struct peer_link_files files = { .ca = ca };
	struct sockaddr_in a, b;
	int listeners[] = { listen_tcp(&a), listen_tcp(&b) }, fd;
	char text[64], why[200];
	uint8_t record = 0;
	struct peer_link *l;

	(void)state;
	snprintf(text, sizeof(text), "tls+tcp://127.0.0.1:%d", ntohs(a.sin_port));
	l = peer_link_new(text, &files, 0, why, sizeof(why));
	if (l == NULL)
		fail_msg("%s", why);
	assert_int_equal(1, l->endpoints.n);
	memcpy(&l->endpoints.list[1], &b, sizeof(b));
	l->endpoints.len[1] = sizeof(b);
	l->endpoints.n = 2;
	/* The first does not speak TLS. */
	assert_true((fd = accept(listeners[0], NULL, NULL)) >= 0);
	assert_int_equal(8, send(fd, "HTTP/1.1", 8, MSG_NOSIGNAL));
	assert_int_equal(0, turn_until(l, 1));
	close(fd);
	/* The second gets a handshake, and goes away. */
	assert_true((fd = accept(listeners[1], NULL, NULL)) >= 0);
	while (peer_link_turn(l, 0) == 0 && recv(fd, &record, 1, MSG_DONTWAIT) != 1)
		poll(NULL, 0, 1);
	assert_int_equal(0x16, record);
	shutdown(fd, SHUT_RDWR);
	assert_int_equal(-1, turn_until(l, 3));
	assert_non_null(strstr(l->why, "closes the TLS connection"));
	peer_link_free(l);
	close(fd);
	close(listeners[0]);
	close(listeners[1]);
}

static void
test_files(void **state)
{
	static const struct peer_link_files absent = { .ca = "/nowhere" };
	struct peer_link_files no_key = { .ca = ca, .cert = ca, .key = ca };
	char why[200];

	(void)state;
	assert_null(peer_link_new("tls+tcp://127.0.0.1:1", &absent, 0, why, sizeof(why)));
	assert_string_equal("/nowhere: No such file or directory", why);
	assert_null(peer_link_new("tls+tcp://127.0.0.1:1", &no_key, 0, why, sizeof(why)));
	assert_non_null(strstr(why, "it holds no private key as PEM"));
	peer_link_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_addresses_of_a_name),
		cmocka_unit_test(test_files) };
	const char *tmp = getenv("TMPDIR");
	int rc;

	snprintf(ca, sizeof(ca), "%s/ca.%d", tmp != NULL && strlen(tmp) < 48 ? tmp : "/tmp", (int)getpid());
	write_ca();
	rc = cmocka_run_group_tests_name("client/cluster/peer_link", tests, NULL, NULL);
	unlink(ca);
	return rc;
}
