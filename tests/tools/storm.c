/*
 * storm.c - one peer of fobd that is quicker than a script can be: connections without end, or requests without end.
 * Used by tests/lib/hostile.py. Knows SP's bytes and nothing of Fob's messages: a request comes from a file.
 *
 *     storm knock ADDRESS MS                  connect and close, again and again
 *     storm visit ADDRESS MS REQUEST          connect, one call, close, again and again: an ordinary client
 *     storm ask ADDRESS MS REQUEST DEPTH      calls on one connection, DEPTH under way at once
 *     storm deaf ADDRESS MS REQUEST COUNT     COUNT connections that send requests and never read; one that is closed
 *                                             is replaced
 *
 * ADDRESS is ipc://PATH or tcp://HOST:PORT, with a numeric HOST. It ends after MS, or at SIGTERM, and prints what it
 * counted as NAME=NUMBER words. Exit status 1: the server did not speak SP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/c/program.h"

#define REQUEST_MAX 65536
#define FRAME_MAX (13 + REQUEST_MAX)
#define READ_MAX (256U << 10)
#define DEAF_MAX 1024
#define CHECK(ok, what) ((ok) ? (void)0 : fail(what))

static const uint8_t greeting[8] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static const uint8_t greeting_of_peer[8] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

static struct sockaddr_storage address;
static socklen_t address_len;
static bool is_ipc;
static uint8_t frame[8 + FRAME_MAX]; /* behind a greeting */
static size_t frame_len;
static volatile sig_atomic_t ended;
static int64_t end_us;

_Noreturn static void
fail(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool
over(void)
{
	return ended != 0 || now_us() >= end_us;
}

static void
end_cb(int number)
{
	(void)number;
	ended = 1;
}

static void
address_set(const char *url)
{
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&address;
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&address;
	char host[64];
	unsigned port;

	is_ipc = strncmp(url, "ipc://", 6) == 0;
	if (is_ipc) {
		CHECK(strlen(url + 6) < sizeof(un->sun_path), "the path is too long");
		un->sun_family = AF_UNIX;
		strcpy(un->sun_path, url + 6);
		address_len = sizeof(*un);
		return;
	}
	CHECK(sscanf(url, "tcp://%63[0-9.]:%u", host, &port) == 2, "the address");
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)port);
	CHECK(inet_pton(AF_INET, host, &in->sin_addr) == 1, "the address");
	address_len = sizeof(*in);
}

static void
request_read(const char *path)
{
	uint8_t *at = frame + sizeof(greeting);
	uint8_t request[REQUEST_MAX];
	FILE *f = fopen(path, "rb");
	uint64_t len;

	CHECK(f != NULL, path);
	len = fread(request, 1, sizeof(request), f);
	fclose(f);
	memcpy(frame, greeting, sizeof(greeting));
	if (is_ipc)
		*at++ = 1;
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)((len + 4) >> (56 - 8 * i));
	memcpy(at + 8, "\x80\0\0\1", 4);
	memcpy(at + 12, request, len);
	frame_len = (size_t)(at + 12 + len - (frame + sizeof(greeting)));
}

/* A connected socket, or -1: try again. The address of a unix socket may be refused while its backlog is full. */
static int
connect_once(int flags)
{
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;

	CHECK(fd >= 0, "socket");
	if (!is_ipc)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&address, address_len) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

static void
knock(void)
{
	unsigned long connected = 0, again = 0;

	while (!over()) {
		int fd = connect_once(SOCK_NONBLOCK);

		if (fd < 0) {
			again++;
			continue;
		}
		connected++;
		close(fd);
	}
	printf("connected=%lu again=%lu\n", connected, again);
}

/* Whether all of ${len} bytes came. */
static bool
read_all(int fd, uint8_t *to, size_t len)
{
	return recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

static void
visit(void)
{
	static const struct timeval limit = { 30, 0 };
	static uint8_t reply[READ_MAX];
	unsigned long served = 0, refused = 0, again = 0;
	size_t head = is_ipc ? 9 : 8;
	int64_t slowest_us = 0;

	while (!over()) {
		int64_t start_us = now_us();
		uint64_t len = 0;
		int fd = connect_once(0);

		if (fd < 0) {
			again++;
			poll(NULL, 0, 1);
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (send(fd, frame, sizeof(greeting) + frame_len, MSG_NOSIGNAL) > 0 && read_all(fd, reply, 8 + head)) {
			CHECK(memcmp(reply, greeting_of_peer, 8) == 0, "the greeting");
			for (int i = 0; i < 8; i++)
				len = len << 8 | reply[head + (size_t)i];
			CHECK(len >= 4 && len <= sizeof(reply), "a reply's length");
		}
		if (len > 0 && read_all(fd, reply, len))
			served++;
		else
			refused++;
		close(fd);
		if (now_us() - start_us > slowest_us)
			slowest_us = now_us() - start_us;
	}
	printf("served=%lu refused=%lu again=%lu slowest_us=%lld\n", served, refused, again, (long long)slowest_us);
}

struct replies {
	uint8_t bytes[READ_MAX];
	size_t len;
	unsigned long ok, not_ok;
};

/* Count the frames that are whole, and keep the rest. */
static unsigned long
replies_count(struct replies *r)
{
	size_t head = is_ipc ? 9 : 8, at = 0;
	unsigned long n = 0;

	for (; r->len - at >= head; n++) {
		uint64_t len = 0;

		for (int i = 0; i < 8; i++)
			len = len << 8 | r->bytes[at + head - 8 + (size_t)i];
		CHECK(len >= 4 && len < sizeof(r->bytes) - head, "a reply's length");
		if (r->len - at < head + len)
			break;
		/* A Response that begins with field 1, its code, is not OK. */
		if (len > 4 && r->bytes[at + head + 4] == 0x08)
			r->not_ok++;
		else
			r->ok++;
		at += head + (size_t)len;
	}
	memmove(r->bytes, r->bytes + at, r->len - at);
	r->len -= at;
	return n;
}

/* As many whole frames in one buffer as one send shall take. */
static uint8_t *
burst_make(size_t *n)
{
	uint8_t *burst;

	*n = frame_len > 65536 / 2 ? 1 : 65536 / frame_len;
	burst = malloc(*n * frame_len);
	CHECK(burst != NULL, "memory");
	for (size_t i = 0; i < *n; i++)
		memcpy(burst + i * frame_len, frame + sizeof(greeting), frame_len);
	return burst;
}

static void
ask(unsigned long depth)
{
	static struct replies replies;
	unsigned long under_way = 0;
	int64_t last_us, slowest_us = 0;
	size_t at = 0, burst_n; /* bytes of the frame that is sent in part */
	uint8_t *burst = burst_make(&burst_n), hello[8];
	int fd;

	while ((fd = connect_once(0)) < 0)
		poll(NULL, 0, 1);
	CHECK(send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL) == 8 && read_all(fd, hello, 8), "the greeting");
	CHECK(memcmp(hello, greeting_of_peer, 8) == 0, "the greeting");
	last_us = now_us();
	while (!over()) {
		bool full = false;
		ssize_t n;

		while (under_way < depth && !full) {
			size_t want = (depth - under_way < burst_n ? depth - under_way : burst_n) * frame_len - at;

			n = send(fd, burst + at, want, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && errno == EAGAIN)
				break;
			CHECK(n > 0, "send");
			full = (size_t)n < want;
			under_way += (at + (size_t)n) / frame_len;
			at = (at + (size_t)n) % frame_len;
		}
		n = recv(fd, replies.bytes + replies.len, sizeof(replies.bytes) - replies.len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		CHECK(n > 0, "the connection was closed");
		if (now_us() - last_us > slowest_us)
			slowest_us = now_us() - last_us;
		last_us = now_us();
		replies.len += (size_t)n;
		under_way -= replies_count(&replies);
	}
	close(fd);
	free(burst);
	printf("ok=%lu not_ok=%lu slowest_us=%lld\n", replies.ok, replies.not_ok, (long long)slowest_us);
}

static void
deaf(unsigned count)
{
	static size_t at[DEAF_MAX]; /* bytes of the frame that is sent in part */
	struct pollfd fds[DEAF_MAX];
	unsigned long closed = 0, sent = 0;
	size_t burst_n;
	uint8_t *burst = burst_make(&burst_n);

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLOUT };
	while (!over()) {
		for (unsigned i = 0; i < count; i++) {
			if (fds[i].fd >= 0 || (fds[i].fd = connect_once(0)) < 0)
				continue;
			at[i] = 0;
			if (send(fds[i].fd, greeting, sizeof(greeting), MSG_NOSIGNAL) !=
			    8) { /* of tcp: not yet connected */
				close(fds[i].fd);
				fds[i].fd = -1;
			}
		}
		if (poll(fds, count, 20) < 0)
			continue;
		for (unsigned i = 0; i < count; i++) {
			ssize_t n = 0;

			if (fds[i].fd < 0 || fds[i].revents == 0)
				continue;
			if ((fds[i].revents & (POLLHUP | POLLERR)) == 0)
				n = send(
				    fds[i].fd, burst + at[i], burst_n * frame_len - at[i], MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n > 0) {
				sent += (at[i] + (size_t)n) / frame_len;
				at[i] = (at[i] + (size_t)n) % frame_len;
			} else if (n == 0 || errno != EAGAIN) {
				closed++;
				close(fds[i].fd);
				fds[i].fd = -1;
			}
		}
	}
	free(burst);
	printf("sent=%lu closed=%lu\n", sent, closed);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 3 ? argv[1] : "";

	if (program_begin() != 0)
		return 1;
	signal(SIGTERM, end_cb);
	if (argc > 3) {
		address_set(argv[2]);
		end_us = now_us() + atoll(argv[3]) * 1000;
	}
	if (argc > 4)
		request_read(argv[4]);
	if (strcmp(mode, "knock") == 0 && argc == 4) {
		knock();
	} else if (strcmp(mode, "visit") == 0 && argc == 5) {
		visit();
	} else if (strcmp(mode, "ask") == 0 && argc == 6) {
		ask(strtoul(argv[5], NULL, 10));
	} else if (strcmp(mode, "deaf") == 0 && argc == 6 && atoi(argv[5]) <= DEAF_MAX) {
		deaf((unsigned)atoi(argv[5]));
	} else {
		fprintf(stderr, "usage: storm knock|visit|ask|deaf ADDRESS MS [REQUEST [DEPTH|COUNT]]\n");
		return 2;
	}
	return 0;
}
