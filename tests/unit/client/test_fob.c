/*
 * libfob as a guest: what it does to the program that it is in, loaded as the shared library that is installed. Its
 * threads, signals, children, descriptors, output, and what is left when it is unloaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fob.h"
#include "fob/v1/keys.pb-c.h"
#include "tests/lib/fake_server.h"

static struct fake fake;

/* The library's functions, as dlsym() finds them. */
static struct {
	void *handle;
	__typeof__(&fob_options_new) options_new;
	__typeof__(&fob_options_free) options_free;
	__typeof__(&fob_options_set_address) options_set_address;
	__typeof__(&fob_options_set_loop) options_set_loop;
	__typeof__(&fob_client_new) client_new;
	__typeof__(&fob_client_free) client_free;
	__typeof__(&fob_client_fd) client_fd;
	__typeof__(&fob_client_dispatch) client_dispatch;
	__typeof__(&fob_verify) verify;
	__typeof__(&fob_verify_async) verify_async;
} lib;

static void
lib_function(const char *name, void *to)
{
	void *function = dlsym(lib.handle, name);

	if (function == NULL)
		fail_msg("%s", dlerror());
	memcpy(to, &function, sizeof(function));
}

/* Two folders above the one that this program is in: see the Makefile. */
static void
lib_load(void)
{
	char path[4096] = "";

	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 32) > 0);
	strcat(dirname(path), "/../../../libfob.so.0");
	if ((lib.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL)
		fail_msg("%s", dlerror());
	lib_function("fob_options_new", &lib.options_new);
	lib_function("fob_options_free", &lib.options_free);
	lib_function("fob_options_set_address", &lib.options_set_address);
	lib_function("fob_options_set_loop", &lib.options_set_loop);
	lib_function("fob_client_new", &lib.client_new);
	lib_function("fob_client_free", &lib.client_free);
	lib_function("fob_client_fd", &lib.client_fd);
	lib_function("fob_client_dispatch", &lib.client_dispatch);
	lib_function("fob_verify", &lib.verify);
	lib_function("fob_verify_async", &lib.verify_async);
}

/* ---- the server and the calls ---- */

static bool
serve(void *arg, struct fake_request *q)
{
	Fob__V1__VerifyKeyResponse m = FOB__V1__VERIFY_KEY_RESPONSE__INIT;
	char account[] = "acct_1";

	(void)arg;
	m.verdict = FOB__V1__VERDICT__VALID;
	m.account = (ProtobufCBinaryData){ .len = strlen(account), .data = (uint8_t *)account };
	m.environment = FOB__V1__ENVIRONMENT__LIVE;
	m.livemode = 1;
	return fake_reply(q->connection, q->id, 0, NULL, &m.base);
}

static struct fob_client *
client_of(bool loop)
{
	struct fob_options *o = lib.options_new();
	struct fob_client *c = NULL;

	assert_int_equal(lib.options_set_address(o, fake.address), 0);
	assert_int_equal(lib.options_set_loop(o, loop), 0);
	assert_int_equal(lib.client_new(o, &c, NULL), 0);
	lib.options_free(o);
	return c;
}

static const struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .secret = "sk_live_x", .secret_len = 9 };

static bool
verify(struct fob_client *c)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };

	return lib.verify(c, &request, &v, NULL) == 0 && v.verdict == FOB_VERDICT_VALID;
}

/* The pipe tells that the callback has been called, also where a lock cannot. */
static void
called(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	char valid = fault == 0 && v->verdict == FOB_VERDICT_VALID ? 'v' : '-';

	(void)error;
	assert(write(*(int *)arg, &valid, 1) == 1);
}

static bool
verify_async(struct fob_client *c)
{
	char said = 0;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(lib.verify_async(c, &request, called, &ends[1], NULL, NULL), 0);
	assert_int_equal(read(ends[0], &said, 1), 1);
	close(ends[0]);
	close(ends[1]);
	return said == 'v';
}

static unsigned
entries(const char *folder)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
setup(void **state)
{
	(void)state;
	fake_init(&fake, serve, NULL);
	fake_start(&fake);
	lib_load();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (lib.handle != NULL)
		dlclose(lib.handle);
	fake_stop(&fake);
	fake_fini(&fake);
	return 0;
}

/* ---- tests ---- */

/* A child makes clients of its own, whether its parent has had some, or has one. */
static void
test_fork(void **state)
{
	struct fob_client *c, *mine;
	int round, status;
	pid_t child;

	(void)state;
	for (round = 0; round < 2; round++) {
		c = client_of(false);
		assert_true(verify(c));
		assert_true(verify_async(c));
		if (round == 0)
			lib.client_free(c);
		assert_true((child = fork()) >= 0);
		if (child == 0) {
			alarm(30);
			mine = client_of(false);
			status = verify(mine) && verify_async(mine) ? 0 : 1;
			lib.client_free(mine);
			_exit(status);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		if (round == 1) {
			assert_true(verify(c) && verify_async(c));
			lib.client_free(c);
		}
	}
}

static pthread_t main_thread;
static _Atomic unsigned signals_here, signals_elsewhere;

static void
on_signal(int number)
{
	(void)number;
	if (pthread_equal(pthread_self(), main_thread))
		signals_here++;
	else
		signals_elsewhere++;
}

/*
 * A program that blocks its signals and takes them in ppoll(): with a thread of the library about that does not block
 * them, the kernel would give them to that one. The server's threads are of this program, so they are told to block them.
 */
static void
test_signals(void **state)
{
	struct sigaction action = { .sa_handler = on_signal }, before;
	sigset_t blocked, old, none;
	struct fob_client *c;
	unsigned i;

	(void)state;
	fake_stop(&fake);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, &old);
	fake_start(&fake);
	main_thread = pthread_self();
	sigaction(SIGUSR1, &action, &before);
	c = client_of(false);
	assert_true(verify_async(c));
	none = old;
	for (i = 0; i < 50; i++) {
		kill(getpid(), SIGUSR1);
		assert_int_equal(ppoll(NULL, 0, &(struct timespec){ .tv_sec = 20 }, &none), -1);
		assert_int_equal(signals_here, i + 1);
	}
	assert_int_equal(signals_elsewhere, 0);
	lib.client_free(c);
	sigaction(SIGUSR1, &before, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* The connection is written to after its peer has left. With SIGPIPE as it is by default this program would end. */
static void
test_no_sigpipe(void **state)
{
	struct fob_client *c = client_of(false);
	int i;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	for (i = 0; i < 5; i++) {
		assert_true(verify(c));
		fake_stop(&fake);
		fake_start(&fake);
		assert_true(verify(c));
		assert_true(verify_async(c));
	}
	lib.client_free(c);
}

/* As promised in fob.h: none for synchronous calls and for a loop, otherwise one. And the descriptors. */
static void
test_threads_and_descriptors(void **state)
{
	unsigned threads, fds, called_back = 0;
	struct fob_client *c, *d, *l;
	struct pollfd pfd = { .events = POLLIN };
	int ends[2];
	char said;

	(void)state;
	/* The server's thread for the connection is there when the client has been answered. */
	c = client_of(false);
	assert_true(verify(c));
	threads = entries("/proc/self/task");
	fds = entries("/proc/self/fd");
	d = client_of(false);
	assert_true(verify(d));
	assert_int_equal(entries("/proc/self/task"), threads + 1); /* the server's */
	assert_int_equal(entries("/proc/self/fd"), fds + 2);       /* both ends of the connection */
	assert_true(verify_async(d));
	assert_true(verify_async(d));
	assert_int_equal(entries("/proc/self/task"), threads + 2);
	assert_int_equal(entries("/proc/self/fd"), fds + 3);
	lib.client_free(d);
	/* The server's thread notices; its descriptor stays open until the server stops. */
	while (entries("/proc/self/task") > threads)
		sched_yield();
	fds = entries("/proc/self/fd");
	assert_int_equal(pipe(ends), 0);
	l = client_of(true);
	assert_int_equal(lib.verify_async(l, &request, called, &ends[1], NULL, NULL), 0);
	pfd.fd = lib.client_fd(l);
	while (called_back == 0 && poll(&pfd, 1, 20000) == 1)
		called_back = (unsigned)lib.client_dispatch(l);
	assert_int_equal(read(ends[0], &said, 1), 1);
	assert_int_equal(said, 'v');
	assert_int_equal(entries("/proc/self/task"), threads + 1);
	assert_int_equal(entries("/proc/self/fd"), fds + 2 + 2 + 3); /* the pipe, the connection, the loop's */
	close(ends[0]);
	close(ends[1]);
	lib.client_free(l);
	lib.client_free(c);
}

/* With no client left it can go, and come again; nothing of it runs any more. */
static void
test_unload(void **state)
{
	struct fob_client *c;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		c = client_of(false);
		assert_true(verify(c));
		assert_true(verify_async(c));
		lib.client_free(c);
		assert_int_equal(dlclose(lib.handle), 0);
		assert_null(dlsym(RTLD_DEFAULT, "fob_client_new"));
		lib_load();
	}
}

int
main(void)
{
	const unsigned whole_s = 120;
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_sigpipe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads_and_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unload, setup, teardown) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/fob", tests, NULL, NULL);
}
