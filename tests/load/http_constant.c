/*
 * http_constant.c - the program http-constant: evhttp that answers every request with 200 and no body, one loop a core
 * over SO_REUSEPORT, as fob-http has. What fob-http's forward auth is compared with.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/http.h>

#define CORES_MAX 64
#define BACKLOG 4096

static _Noreturn void
fail(const char *why)
{
	fprintf(stderr, "http-constant: %s\n", why);
	exit(1);
}

static int
listen_at(const char *address, unsigned port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, BACKLOG) != 0)
		fail("cannot listen");
	return fd;
}

static void
answer(struct evhttp_request *request, void *arg)
{
	(void)arg;
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Length", "0");
	evhttp_send_reply(request, HTTP_OK, NULL, NULL);
}

static void *
serve(void *arg)
{
	event_base_dispatch(arg);
	return NULL;
}

static struct event_base *
prepare(int fd)
{
	struct event_config *config = event_config_new();
	struct event_base *base;
	struct evhttp *http;

	if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0 ||
	    (base = event_base_new_with_config(config)) == NULL || (http = evhttp_new(base)) == NULL ||
	    evhttp_accept_socket(http, fd) != 0)
		fail("cannot start");
	event_config_free(config);
	evhttp_set_gencb(http, answer, NULL);
	return base;
}

int
main(int argc, char *argv[])
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct event_base *bases[CORES_MAX];
	pthread_t thread;

	if (argc != 3) {
		fputs("Usage: http-constant ADDRESS PORT\n", stderr);
		return 1;
	}
	cores = cores < 1 ? 1 : cores > CORES_MAX ? CORES_MAX : cores;
	for (long i = 0; i < cores; i++)
		bases[i] = prepare(listen_at(argv[1], (unsigned)strtoul(argv[2], NULL, 10)));
	for (long i = 1; i < cores; i++)
		if (pthread_create(&thread, NULL, serve, bases[i]) != 0)
			fail("cannot start a thread");
	serve(bases[0]);
	return 0;
}
