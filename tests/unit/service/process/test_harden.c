/*
 * test_harden.c - each step of harden.c in its own child process. The kernel is asked what was given up, and the child
 * tries to get it back. Tests that become another user need root, and are skipped otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/process/harden.h"

/* The line of the check that failed; 0 when none did. */
static int
in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define HOLDS(condition) \
	do { \
		if (!(condition)) \
			return __LINE__ & 0xff; \
	} while (0)

static int
process(void)
{
	struct rlimit core;
	char why[256] = "";

	umask(022);
	HOLDS(harden_process(why, sizeof(why)) == 0);
	HOLDS(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
	HOLDS(umask(0) == 077);
	HOLDS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	HOLDS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	return 0;
}

static int
descriptors_are_raised(void)
{
	struct rlimit limit = { 64, 4096 };
	char why[256] = "";

	HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	HOLDS(harden_descriptors(1000, why, sizeof(why)) == 0);
	HOLDS(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 1000 && limit.rlim_cur <= 4096);
	/* Enough already: left alone. */
	HOLDS(harden_descriptors(1, why, sizeof(why)) == 0);
	HOLDS(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 1000);
	return 0;
}

static int
descriptors_are_refused(void)
{
	struct rlimit limit = { 64, 512 };
	char why[256] = "";

	HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	/* Root may raise the hard limit too. */
	if (geteuid() == 0)
		HOLDS(setgid(65534) == 0 && setuid(65534) == 0);
	HOLDS(harden_descriptors(1000, why, sizeof(why)) == -1);
	HOLDS(strstr(why, "connections = 1000 needs") != NULL && strstr(why, "LimitNOFILE") != NULL);
	return 0;
}

static int
root_raises_the_hard_limit(void)
{
	struct rlimit limit = { 64, 512 };
	char why[256] = "";

	HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	/* A container's root often lacks CAP_SYS_RESOURCE: then there is an error, and nothing has changed. */
	if (harden_descriptors(1000, why, sizeof(why)) == 0)
		HOLDS(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 1000);
	else
		HOLDS(strstr(why, "LimitNOFILE") && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
	return 0;
}

/* Has this process the groups of ${user}, as the system lists them, and no other? */
static int
has_groups_of(const struct passwd *user)
{
	gid_t has[64], listed[64];
	int n = getgroups(64, has), most = 64;

	HOLDS(n >= 0 && getgrouplist(user->pw_name, user->pw_gid, listed, &most) >= 0);
	for (int i = 0; i < n; i++) {
		int j = 0;

		while (j < most && listed[j] != has[i])
			j++;
		HOLDS(j < most);
	}
	return 0;
}

static int
drop_for_good(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	char why[256] = "";
	uid_t r, e, s;

	/* What must be gone afterwards: a group of root's, and (with a lax fs.suid_dumpable) being dumpable. */
	HOLDS(setgroups(2, (const gid_t[]){ 0, 4 }) == 0);
	HOLDS(harden_drop("nobody", why, sizeof(why)) == 0);
	HOLDS(getresuid(&r, &e, &s) == 0 && r == nobody->pw_uid && e == r && s == r);
	HOLDS(getgid() == nobody->pw_gid && getegid() == nobody->pw_gid);
	HOLDS(has_groups_of(nobody) == 0);
	HOLDS(setuid(0) == -1 && setgid(0) == -1 && seteuid(0) == -1);
	HOLDS(open("/etc/shadow", O_RDONLY) == -1);
	HOLDS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	/* The same user again: nothing to do. Another user: refused. */
	HOLDS(harden_drop("nobody", why, sizeof(why)) == 0);
	HOLDS(harden_drop("daemon", why, sizeof(why)) == -1);
	HOLDS(strstr(why, "only root can become another user") != NULL);
	return 0;
}

static int
drop_to_root(void)
{
	char why[256] = "";

	HOLDS(harden_drop("root", why, sizeof(why)) == -1);
	HOLDS(strcmp(why, "user = \"root\" is root: name another user, or leave the setting out") == 0);
	return 0;
}

static int
drop_to_nobody_at_all(void)
{
	char why[256] = "";

	HOLDS(harden_drop("no-such-user", why, sizeof(why)) == -1);
	HOLDS(strcmp(why, "user = \"no-such-user\": there is no such user") == 0);
	return 0;
}

static void
holds(void **state)
{
	int line = in_child(*(int (**)(void)) * state);

	if (line != 0)
		fail_msg("line %d (modulo 256) did not hold", line);
}

static void
holds_as_root(void **state)
{
	if (geteuid() != 0)
		skip();
	holds(state);
}

/* Pointers to functions do not fit into cmocka's void *; pointers to these do. */
static int (*bodies[])(void) = { process, descriptors_are_raised, descriptors_are_refused, drop_to_root,
	drop_to_nobody_at_all, root_raises_the_hard_limit, drop_for_good };

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "process", holds, NULL, NULL, &bodies[0] },
		{ "descriptors_are_raised", holds, NULL, NULL, &bodies[1] },
		{ "descriptors_are_refused", holds, NULL, NULL, &bodies[2] },
		{ "drop_to_root", holds, NULL, NULL, &bodies[3] },
		{ "drop_to_nobody_at_all", holds, NULL, NULL, &bodies[4] },
		{ "root_raises_the_hard_limit", holds_as_root, NULL, NULL, &bodies[5] },
		{ "drop_for_good", holds_as_root, NULL, NULL, &bodies[6] },
	};

	return cmocka_run_group_tests_name("harden", tests, NULL, NULL);
}
