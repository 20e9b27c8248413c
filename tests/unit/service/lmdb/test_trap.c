/*
 * test_trap.c - trap.c: an access that fails under a trap springs it; a signal that somebody has sent does not, and ends
 * the process, under a trap as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/lmdb/trap.h"

static const int signals[] = { SIGSEGV, SIGBUS };

/* Without the handlers of cmocka and of a sanitizer, which would print and exit. */
static void
begin_child(void)
{
	static const struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	for (int i = 0; i < 2; i++)
		signal(signals[i], SIG_DFL);
	trap_install();
}

static void
ended_by(pid_t pid, int signal_number)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signal_number);
}

/* What a child does between its beginning and its end. A trap that springs ends it with 0. */
static _Noreturn void
run_child(bool with_trap, void (*body)(void))
{
	static sigjmp_buf trap;

	begin_child();
	if (sigsetjmp(trap, 0) != 0)
		_exit(0);
	if (with_trap)
		trap_set(&trap);
	body();
	_exit(1);
}

static pid_t
start_child(bool with_trap, void (*body)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		run_child(with_trap, body);
	return pid;
}

static void
send_segv(void)
{
	kill(getpid(), SIGSEGV);
}

static void
send_bus(void)
{
	kill(getpid(), SIGBUS);
}

static void
touch_nothing(void)
{
	const volatile char *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)nothing[0];
}

static void
a_signal_that_was_sent(void **state)
{
	(void)state;
	for (int with_trap = 0; with_trap < 2; with_trap++) {
		ended_by(start_child(with_trap, send_segv), SIGSEGV);
		ended_by(start_child(with_trap, send_bus), SIGBUS);
	}
}

static void
an_access_that_failed(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	ended_by(start_child(false, touch_nothing), SIGSEGV);
	pid = start_child(true, touch_nothing);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signal_that_was_sent),
		cmocka_unit_test(an_access_that_failed),
	};

	return cmocka_run_group_tests_name("trap", tests, NULL, NULL);
}
