/*
 * libuv.c - verify keys from a libuv loop: one thread, no waiting, any number of calls at once. Reads keys from a pipe,
 * one a line, and prints each line's number, verdict and account, in the order of the answers.
 *
 *	cc -o fob-libuv libuv.c $(pkg-config --cflags --libs fob libuv)
 *	cat keys.txt | ./fob-libuv ipc:///run/fob/verify.sock
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include <fob.h>

static struct fob_client *client;
static uv_poll_t fob_poll;
static uv_pipe_t keys;
static char input[65536]; /* what has been read of lines that have not ended */
static size_t input_len;
static uintptr_t lines, answers;
static bool at_end;

/* The loop ends when nothing is watched any more. */
static void
end_if_done(void)
{
	if (at_end && answers == lines)
		uv_poll_stop(&fob_poll);
}

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	printf("%ju %s %s\n", (uintmax_t)(uintptr_t)arg,
	    fault == 0 ? fob_verdict_name(v->verdict) : fob_fault_name(fault),
	    fault == 0 ? v->account : error->message);
	answers++;
	end_if_done();
}

/* libfob has something to do: a socket is ready, or a deadline has passed. */
static void
fob_is_ready(uv_poll_t *poll, int status, int events)
{
	(void)poll;
	(void)status;
	(void)events;
	fob_client_dispatch(client);
}

static void
verify(const char *key, size_t len)
{
	const struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .secret = key, .secret_len = len };
	struct fob_error error;
	int fault = fob_verify_async(client, &request, verified, (void *)++lines, NULL, &error);

	/* It was not taken, so it has no callback: the queue is full, say. */
	if (fault != 0)
		verified((void *)lines, fault, NULL, &error);
}

static void
room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	(void)handle;
	(void)suggested;
	*buffer = uv_buf_init(input + input_len, (unsigned)(sizeof(input) - input_len));
}

static void
keys_are_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	char *line = input, *end;

	(void)buffer;
	if (n < 0) {
		at_end = true;
		uv_close((uv_handle_t *)stream, NULL);
		end_if_done();
		return;
	}
	input_len += (size_t)n;
	for (; (end = memchr(line, '\n', (size_t)(input + input_len - line))) != NULL; line = end + 1)
		verify(line, (size_t)(end - line));
	input_len = (size_t)(input + input_len - line);
	memmove(input, line, input_len);
	fob_wipe(input + input_len, sizeof(input) - input_len);
}

int
main(int argc, char *argv[])
{
	struct fob_options *options = fob_options_new();
	struct fob_error error = { .fault = 0 };

	if (argc != 2 || fob_options_set_address(options, argv[1]) != 0 || fob_options_set_loop(options, true) != 0 ||
	    fob_client_new(options, &client, &error) != 0) {
		fprintf(stderr, "usage: fob-libuv ADDRESS\n%s\n", error.message);
		return 2;
	}
	fob_options_free(options);
	uv_poll_init(uv_default_loop(), &fob_poll, fob_client_fd(client));
	uv_poll_start(&fob_poll, UV_READABLE, fob_is_ready);
	uv_pipe_init(uv_default_loop(), &keys, 0);
	if (uv_pipe_open(&keys, STDIN_FILENO) != 0 || uv_read_start((uv_stream_t *)&keys, room, keys_are_read) != 0) {
		fprintf(stderr, "fob-libuv: standard input is no pipe\n");
		return 2;
	}
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&fob_poll, NULL);
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	uv_loop_close(uv_default_loop());
	fob_client_free(client);
	return 0;
}
