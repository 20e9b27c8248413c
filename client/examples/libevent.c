/*
 * libevent.c - verify keys from a libevent loop: one thread, no waiting, any number of calls at once. Reads keys from a
 * pipe or a terminal, one a line, and prints each line's number, verdict and account, in the order of the answers.
 *
 *	cc -o fob-libevent libevent.c $(pkg-config --cflags --libs fob libevent_core)
 *	cat keys.txt | ./fob-libevent ipc:///run/fob/verify.sock
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include <fob.h>

static struct event_base *base;
static struct event *keys_event;
static struct fob_client *client;
static struct evbuffer *input;
static uintptr_t lines, answers;

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	printf("%ju %s %s\n", (uintmax_t)(uintptr_t)arg,
	    fault == 0 ? fob_verdict_name(v->verdict) : fob_fault_name(fault),
	    fault == 0 ? v->account : error->message);
	answers++;
	if (answers == lines && !event_pending(keys_event, EV_READ, NULL))
		event_base_loopbreak(base);
}

/* libfob has something to do: a socket is ready, or a deadline has passed. */
static void
fob_is_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fob_client_dispatch(client);
}

static void
keys_are_ready(evutil_socket_t fd, short what, void *arg)
{
	char *key;
	size_t len;

	(void)what;
	(void)arg;
	if (evbuffer_read(input, fd, -1) <= 0)
		event_del(keys_event);
	while ((key = evbuffer_readln(input, &len, EVBUFFER_EOL_LF)) != NULL) {
		const struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .secret = key, .secret_len = len };
		struct fob_error error;
		int fault = fob_verify_async(client, &request, verified, (void *)++lines, NULL, &error);

		fob_wipe(key, len);
		free(key);
		/* It was not taken, so it has no callback: the queue is full, say. */
		if (fault != 0)
			verified((void *)lines, fault, NULL, &error);
	}
	if (answers == lines && !event_pending(keys_event, EV_READ, NULL))
		event_base_loopbreak(base);
}

int
main(int argc, char *argv[])
{
	struct fob_options *options = fob_options_new();
	struct fob_error error = { .fault = 0 };
	struct event *fob_event;

	if (argc != 2 || fob_options_set_address(options, argv[1]) != 0 || fob_options_set_loop(options, true) != 0 ||
	    fob_client_new(options, &client, &error) != 0) {
		fprintf(stderr, "usage: fob-libevent ADDRESS\n%s\n", error.message);
		return 2;
	}
	fob_options_free(options);
	base = event_base_new();
	input = evbuffer_new();
	fob_event = event_new(base, fob_client_fd(client), EV_READ | EV_PERSIST, fob_is_ready, NULL);
	keys_event = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, keys_are_ready, NULL);
	event_add(fob_event, NULL);
	event_add(keys_event, NULL);
	event_base_dispatch(base);
	event_free(keys_event);
	event_free(fob_event);
	fob_client_free(client);
	evbuffer_free(input);
	event_base_free(base);
	return 0;
}
