/*
 * test_notify.c - notify.c against the test's own datagram socket: the bytes of each message, paths and abstract names,
 * valid and invalid environment variables, and that without a listener nothing blocks or fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/process/notify.h"

static char path[108];

static int
no_environment(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

/* A manager that listens at ${name} ('@': abstract), which is put into the environment. */
static int
manager_open(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	unlink(name);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static const char *
manager_next(int fd)
{
	static char text[512];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
every_message(int fd)
{
	struct notify n;
	unsigned long long usec;
	char end;

	assert_int_equal(notify_init(&n), 0);
	assert_int_equal(notify_ready(&n), 0);
	assert_string_equal(manager_next(fd), "READY=1");
	assert_int_equal(notify_stopping(&n), 0);
	assert_string_equal(manager_next(fd), "STOPPING=1");
	assert_int_equal(notify_reloading(&n), 0);
	assert_int_equal(sscanf(manager_next(fd), "RELOADING=1\nMONOTONIC_USEC=%llu%c", &usec, &end), 1);
	assert_true(usec > 0);
	assert_int_equal(notify_watchdog(&n), 0); /* none was asked for */
	assert_string_equal(manager_next(fd), "");
	assert_int_equal(notify_status(&n, "%s %d", "serving", 3), 0);
	assert_string_equal(manager_next(fd), "STATUS=serving 3");
	assert_int_equal(notify_status(&n, "a\nREADY=1\x7f"), 0);
	assert_string_equal(manager_next(fd), "STATUS=a READY=1 ");
	assert_int_equal(notify_status(&n, "%0500d", 7), 0);
	assert_int_equal(strlen(manager_next(fd)), strlen("STATUS=") + 200);
	notify_fini(&n);
	assert_int_equal(notify_ready(&n), 0);
	assert_string_equal(manager_next(fd), "");
	notify_fini(&n);
}

static void
to_a_path(void **state)
{
	int fd = manager_open(path);

	(void)state;
	every_message(fd);
	close(fd);
	unlink(path);
}

static void
to_an_abstract_name(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@fob-test-notify-%d", (int)getpid());
	fd = manager_open(name);
	every_message(fd);
	close(fd);
}

static void
nobody_to_tell(void **state)
{
	struct notify n;

	(void)state;
	setenv("WATCHDOG_USEC", "1000000", 1);
	assert_int_equal(notify_init(&n), 0);
	assert_int_equal(n.fd, -1);
	assert_int_equal(n.watchdog_ms, 0);
	assert_int_equal(notify_ready(&n), 0);
	assert_int_equal(notify_reloading(&n), 0);
	assert_int_equal(notify_stopping(&n), 0);
	assert_int_equal(notify_watchdog(&n), 0);
	assert_int_equal(notify_status(&n, "x"), 0);
	notify_fini(&n);
}

static void
addresses_that_are_none(void **state)
{
	static const struct {
		const char *value;
		int error;
	} wrong[] = { { "", EAFNOSUPPORT }, { "/", EAFNOSUPPORT }, { "@", EAFNOSUPPORT },
		{ "relative/path", EAFNOSUPPORT }, { "vsock:2:1234", EAFNOSUPPORT } };
	char longer[200];
	struct notify n;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		setenv("NOTIFY_SOCKET", wrong[i].value, 1);
		assert_int_equal(notify_init(&n), -1);
		assert_int_equal(errno, wrong[i].error);
		assert_int_equal(notify_ready(&n), 0);
		notify_fini(&n);
	}
	memset(longer, 'a', sizeof(longer));
	longer[0] = '/';
	longer[108] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	assert_int_equal(notify_init(&n), -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

static void
a_manager_that_left_or_does_not_read(void **state)
{
	struct notify n;
	int fd = manager_open(path), rc = 0;

	(void)state;
	assert_int_equal(notify_init(&n), 0);
	for (int i = 0; i < 10000 && rc == 0; i++)
		rc = notify_ready(&n);
	assert_int_equal(rc, -1); /* its queue is full: told so, not made to wait */
	assert_int_equal(errno, EAGAIN);
	close(fd);
	assert_int_equal(notify_ready(&n), -1);
	assert_int_equal(errno, ECONNREFUSED);
	/* It comes back, as at a daemon-reexec. */
	fd = manager_open(path);
	assert_int_equal(notify_ready(&n), 0);
	assert_string_equal(manager_next(fd), "READY=1");
	notify_fini(&n);
	close(fd);
	unlink(path);
}

static void
the_watchdogs_interval(void **state)
{
	static const struct {
		const char *usec, *pid;
		uint32_t ms;
	} table[] = { { "30000000", NULL, 30000 }, { "30000000", "self", 30000 }, { "30000000", "1", 0 },
		{ "30000000", "x", 0 }, { NULL, NULL, 0 }, { "0", NULL, 0 }, { "", NULL, 0 }, { "-5", NULL, 0 },
		{ "12000000s", NULL, 0 }, { "999", NULL, 0 }, { "99999999999999999999999", NULL, 0 },
		{ "9223372036854775807", NULL, UINT32_MAX } };
	int fd = manager_open(path);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct notify n;
		char pid[16];

		unsetenv("WATCHDOG_USEC");
		unsetenv("WATCHDOG_PID");
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		if (table[i].usec != NULL)
			setenv("WATCHDOG_USEC", table[i].usec, 1);
		if (table[i].pid != NULL)
			setenv("WATCHDOG_PID", strcmp(table[i].pid, "self") == 0 ? pid : table[i].pid, 1);
		assert_int_equal(notify_init(&n), 0);
		assert_int_equal(n.watchdog_ms, table[i].ms);
		assert_int_equal(notify_watchdog(&n), 0);
		assert_string_equal(manager_next(fd), table[i].ms != 0 ? "WATCHDOG=1" : "");
		notify_fini(&n);
	}
	close(fd);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(to_a_path, no_environment),
		cmocka_unit_test_setup(to_an_abstract_name, no_environment),
		cmocka_unit_test_setup(nobody_to_tell, no_environment),
		cmocka_unit_test_setup(addresses_that_are_none, no_environment),
		cmocka_unit_test_setup(a_manager_that_left_or_does_not_read, no_environment),
		cmocka_unit_test_setup(the_watchdogs_interval, no_environment),
	};
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%s/notify.%d", tmp != NULL ? tmp : "/tmp", (int)getpid());
	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
