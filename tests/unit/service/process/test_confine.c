/*
 * test_confine.c - each restriction in its own child process, which tries what it must no longer do and what it must still
 * be able to do. Tests are skipped where the kernel has no Landlock or takes no filter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/landlock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/process/confine.h"
#include "service/process/confine_calls.h"
#include "service/process/confine_files.h"

static char folder[256];
static char said[16384]; /* what the last child wrote to stderr */
static struct config config;
static char path_config[300], path_url[320], path_tls[320];
static int abi;
static bool filters;

#define HOLDS(condition) \
	do { \
		if (!(condition)) { \
			dprintf(STDERR_FILENO, "line %d does not hold: errno %d\n", __LINE__, errno); \
			return 1; \
		} \
	} while (0)

/* errno of what failed, as HOLDS wants it. */
#define FAILS(call, error) HOLDS((errno = 0, (call)) == -1 && errno == (error))

static int
run_child(int (*body)(void))
{
	size_t len = 0;
	int status, ends[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	if ((pid = fork()) == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		/* As harden_process() has done by then; root may do without. */
		_exit(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? body() : 3);
	}
	assert_true(pid > 0);
	close(ends[1]);
	while (len < sizeof(said) - 1 && (n = read(ends[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
passes(int (*body)(void))
{
	int status = run_child(body);

	if (status != 0)
		print_error("status %#x; it said:\n%s", (unsigned)status, said);
	assert_int_equal(status, 0);
}

/* The child ends by SIGSYS, and the log names the call. */
static void
dies(int (*body)(void), const char *call)
{
	int status = run_child(body);
	char word[64];

	snprintf(word, sizeof(word), "call=%s ", call);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS || strstr(said, word) == NULL)
		print_error("%s: status %#x; it said:\n%s", call, (unsigned)status, said);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	assert_non_null(strstr(said, "level=error"));
	assert_non_null(strstr(said, word));
}

static const char *
in(const char *name)
{
	static char paths[8][400];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int
touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	return write(fd, "x", 1) == 1 && close(fd) == 0 ? 0 : -1;
}

static int
can_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = read(fd, &byte, 1) >= 0 ? 0 : -1;
	close(fd);
	return rc;
}

static int
bind_unix(const char *path, size_t len)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path, path, len);
	if (bind(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0)
		return -1;
	return listen(fd, 1);
}

static int
with_port(int (*use)(int fd, const struct sockaddr *sa, socklen_t len), uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	rc = use(fd, (struct sockaddr *)&sa, sizeof(sa));
	int saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

/* ---- files ---- */

static bool
files(void)
{
	char why[256] = "";

	return confine_files(&config, path_config, false, why, sizeof(why)) == abi;
}

static int
databases_are_writable(void)
{
	HOLDS(files());
	HOLDS(touch(in("live/data.mdb")) == 0);
	HOLDS(touch(in("live/new")) == 0);
	HOLDS(can_read(in("live/new")) == 0);
	HOLDS(rename(in("live/new"), in("live/renamed")) == 0);
	HOLDS(unlink(in("live/renamed")) == 0);
	HOLDS(open(in("live"), O_RDONLY | O_DIRECTORY) >= 0);
	FAILS(mkdir(in("live/folder"), 0700), EACCES);
	FAILS(symlink("data.mdb", in("live/link")), EACCES);
	return 0;
}

static int
settings_are_readable(void)
{
	HOLDS(files());
	HOLDS(can_read(path_config) == 0);
	HOLDS(can_read(in("etc/live.pepper")) == 0);
	HOLDS(can_read(path_tls) == 0);
	FAILS(touch(path_config), EACCES);
	FAILS(touch(in("etc/new")), EACCES);
	FAILS(touch(in("etc/live.pepper")), EACCES);
	FAILS(unlink(in("etc/live.pepper")), EACCES);
	return 0;
}

/* A certificate is renewed by rename, and by changing a link. An unconfined child, started before, does it. */
static int
replaced_files_are_readable(void)
{
	int go[2], done[2];
	char byte = 0;
	pid_t pid;

	HOLDS(pipe(go) == 0 && pipe(done) == 0);
	if ((pid = fork()) == 0) {
		bool right = read(go[0], &byte, 1) == 1 && touch(in("etc/next")) == 0 &&
		    rename(in("etc/next"), path_config) == 0 && touch(in("archive/cert2")) == 0 &&
		    symlink("../archive/cert2", in("tls/next")) == 0 && rename(in("tls/next"), path_tls) == 0;
		_exit(right && write(done[1], &byte, 1) == 1 ? 0 : 1);
	}
	close(done[1]);
	HOLDS(files());
	HOLDS(write(go[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1 && waitpid(pid, NULL, 0) == pid);
	HOLDS(can_read(path_config) == 0);
	HOLDS(can_read(path_tls) == 0);
	return 0;
}

static int
all_else_is_closed(void)
{
	int fd = open(in("elsewhere/file"), O_RDONLY | O_CLOEXEC);

	HOLDS(fd >= 0);
	HOLDS(files());
	FAILS(can_read(in("elsewhere/file")), EACCES);
	FAILS(touch(in("elsewhere/new")), EACCES);
	FAILS(unlink(in("elsewhere/file")), EACCES);
	FAILS(touch(in("new")), EACCES);
	FAILS(can_read("/etc/group"), EACCES);
	FAILS(can_read("/proc/self/environ"), EACCES);
	FAILS(open("/", O_RDONLY | O_DIRECTORY), EACCES);
	FAILS(execl("/bin/true", "true", (char *)NULL), EACCES);
	/* Also not through descriptors that are open: they stay open, but lead to no other file. */
	FAILS(openat(fd, "/etc/group", O_RDONLY), EACCES);
	return 0;
}

static int
the_system_is_readable(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list;
	int before = getaddrinfo("localhost", "80", &hints, &list); /* a system may have no /etc/hosts */
	DIR *dir;

	HOLDS(files());
	HOLDS((dir = opendir("/proc/self/fd")) != NULL && readdir(dir) != NULL);
	HOLDS(access("/etc/hosts", F_OK) != 0 || can_read("/etc/hosts") == 0);
	HOLDS(getaddrinfo("localhost", "80", &hints, &list) == before);
	return 0;
}

static int
sockets_may_be_made(void)
{
	const char *path = in("run/v");

	HOLDS(files());
	HOLDS(bind_unix(path, strlen(path) + 1) == 0);
	HOLDS(chmod(path, 0600) == 0);
	HOLDS(unlink(path) == 0);
	FAILS(touch(in("run/file")), EACCES);
	path = in("elsewhere/s");
	FAILS(bind_unix(path, strlen(path) + 1), EACCES);
	return 0;
}

static int
ports_are_ours(void)
{
	HOLDS(files());
	HOLDS(with_port(bind, 17999) == 0 || errno == EADDRINUSE);
	FAILS(with_port(connect, 17999), ECONNREFUSED);
	FAILS(with_port(bind, 17998), EACCES);
	FAILS(with_port(connect, 17998), EACCES);
	return 0;
}

static int
others_are_out_of_reach(void)
{
	char name[64] = "";
	int len = snprintf(name + 1, sizeof(name) - 1, "fob-confine-%d", (int)getppid()) + 1;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	HOLDS(bind_unix(name, (size_t)len) == 0);
	HOLDS(files());
	memcpy(sa.sun_path, name, (size_t)len);
	FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&sa,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
	    EPERM);
	FAILS(kill(getppid(), 0), EPERM);
	HOLDS(kill(getpid(), 0) == 0);
	return 0;
}

/* A service manager at an abstract address still gets messages. */
static int
an_abstract_manager_is_reached(void)
{
	char name[64] = "", why[256];
	int len = snprintf(name + 1, sizeof(name) - 1, "fob-notify-%d", (int)getpid()) + 1;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	HOLDS(bind_unix(name, (size_t)len) == 0);
	HOLDS(confine_files(&config, path_config, true, why, sizeof(why)) == abi);
	memcpy(sa.sun_path, name, (size_t)len);
	HOLDS(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&sa,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) == 0);
	return 0;
}

static void
need_abi(int least)
{
	if (abi < least) {
		print_message("the kernel's Landlock has ABI %d; this takes %d\n", abi, least);
		skip();
	}
}

#define FILES_TEST(name, least) \
	static void test_##name(void **state) \
	{ \
		(void)state; \
		need_abi(least); \
		passes(name); \
	}

FILES_TEST(databases_are_writable, 1)
FILES_TEST(settings_are_readable, 1)
FILES_TEST(replaced_files_are_readable, 1)
FILES_TEST(all_else_is_closed, 1)
FILES_TEST(the_system_is_readable, 1)
FILES_TEST(sockets_may_be_made, 1)
FILES_TEST(ports_are_ours, 4)
FILES_TEST(others_are_out_of_reach, 6)
FILES_TEST(an_abstract_manager_is_reached, 1)

/* ---- calls ---- */

static bool
calls(void)
{
	char why[256] = "";

	return confine_calls(why, sizeof(why)) == 1;
}

#define DEADLY(name, call) \
	static int name(void) \
	{ \
		HOLDS(calls()); \
		(void)!(call); \
		return 2; \
	}

static char *const no_words[] = { NULL };

DEADLY(executes, execve("/bin/true", no_words, no_words))
DEADLY(executes_at, syscall(SYS_execveat, AT_FDCWD, "/bin/true", no_words, no_words, 0))
DEADLY(forks, fork())
DEADLY(clones, syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL))
DEADLY(traces, syscall(SYS_ptrace, 0, 0, 0, 0))
DEADLY(reads_another, syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0))
DEADLY(kills_another, kill(getppid(), 0))
DEADLY(kills_a_foreign_thread, syscall(SYS_tgkill, getppid(), getppid(), 0))
DEADLY(becomes_another, setuid(getuid()))
DEADLY(mounts, syscall(SYS_mount, "a", "b", "c", 0, NULL))
DEADLY(loads_a_filter, syscall(SYS_bpf, 0, NULL, 0))
DEADLY(rings, syscall(SYS_io_uring_setup, 1, NULL))
DEADLY(has_a_key, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
DEADLY(unshares, unshare(CLONE_NEWUSER))
DEADLY(writes_code, mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
DEADLY(runs_data, mprotect((void *)((uintptr_t)&said & ~(uintptr_t)4095), 4096, PROT_READ | PROT_EXEC))

static void
test_what_an_attacker_would_do_ends_it(void **state)
{
	static const struct {
		int (*body)(void);
		const char *call;
	} cases[] = { { executes, "execve" }, { executes_at, "execveat" }, { clones, "clone" }, { traces, "ptrace" },
		{ reads_another, "process_vm_readv" }, { kills_another, "kill" }, { kills_a_foreign_thread, "tgkill" },
		{ becomes_another, "setuid" }, { mounts, "mount" }, { loads_a_filter, "bpf" },
		{ rings, "io_uring_setup" }, { has_a_key, "keyctl" }, { unshares, "unshare" }, { writes_code, "mmap" },
		{ runs_data, "mprotect" } };

	(void)state;
	if (!filters)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		dies(cases[i].body, cases[i].call);
}

/* A later glibc forks with all signals blocked, and then there is no line. */
static void
test_a_fork_ends_it(void **state)
{
	int status;

	(void)state;
	if (!filters)
		skip();
	status = run_child(forks);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int
the_alarm_cannot_be_silenced(void)
{
	sigset_t set;

	HOLDS(calls());
	FAILS(signal(SIGSYS, SIG_IGN) == SIG_ERR ? -1 : 0, ENOSYS);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	HOLDS(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	execve("/bin/true", no_words, no_words);
	return 2;
}

static void
test_the_alarm_cannot_be_silenced(void **state)
{
	int status;

	(void)state;
	if (!filters)
		skip();
	status = run_child(the_alarm_cannot_be_silenced);
	assert_null(strstr(said, "does not hold"));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int
the_rest_is_refused(void)
{
	struct rlimit limit;

	HOLDS(getrlimit(RLIMIT_CORE, &limit) == 0);
	HOLDS(calls());
	FAILS(syscall(SYS_sethostname, "x", 1), ENOSYS);
	FAILS(syscall(SYS_sethostname, "x", 1), ENOSYS);
	FAILS(syscall(SYS_swapoff, "x"), ENOSYS);
	FAILS(syscall(SYS_clone3, NULL, 0), ENOSYS);
	FAILS(syscall(100000), ENOSYS);
	/* What was given up at start stays given up. */
	FAILS(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), ENOSYS);
	FAILS(setrlimit(RLIMIT_CORE, &limit), ENOSYS);
	HOLDS(getrlimit(RLIMIT_CORE, &limit) == 0);
	FAILS(socket(AF_NETLINK, SOCK_RAW, 0), EAFNOSUPPORT);
	FAILS(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT);
	FAILS(socket(AF_ALG, SOCK_SEQPACKET, 0), EAFNOSUPPORT);
	FAILS(socket(AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT);
	return 0;
}

static void
test_the_rest_is_refused_and_told_once(void **state)
{
	const char *first;

	(void)state;
	if (!filters)
		skip();
	passes(the_rest_is_refused);
	first = strstr(said, "call=sethostname ");
	assert_non_null(first);
	assert_null(strstr(first + 1, "call=sethostname "));
	assert_non_null(strstr(said, "call=swapoff "));
	assert_non_null(strstr(said, "call=socket "));
	assert_non_null(strstr(said, "call=unknown number=100000"));
	/* glibc falls back from the one, and does without the other: no news. */
	assert_null(strstr(said, "call=clone3 "));
}

static void *
a_thread(void *arg)
{
	if (arg != NULL) /* made before the filter: waits for it */
		while (!atomic_load((atomic_bool *)arg))
			sched_yield();
	return syscall(SYS_sethostname, "x", 1) == -1 && errno == ENOSYS ? &said : NULL;
}

static int
all_threads_are_bound(void)
{
	atomic_bool go = false;
	pthread_t before, after;
	void *bound;

	HOLDS(pthread_create(&before, NULL, a_thread, &go) == 0);
	HOLDS(calls());
	atomic_store(&go, true);
	HOLDS(pthread_join(before, &bound) == 0 && bound != NULL);
	HOLDS(pthread_create(&after, NULL, a_thread, NULL) == 0);
	HOLDS(pthread_join(after, &bound) == 0 && bound != NULL);
	return 0;
}

static int
what_a_server_does_works(void)
{
	char *page;

	HOLDS(calls());
	HOLDS((page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
	HOLDS(mprotect(page, 4096, PROT_NONE) == 0 && munmap(page, 4096) == 0);
	HOLDS(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) >= 0 && socket(AF_INET, SOCK_STREAM, 0) >= 0);
	HOLDS(prctl(PR_SET_NAME, "name", 0, 0, 0) == 0);
	HOLDS(touch(in("live/file")) == 0 && unlink(in("live/file")) == 0);
	HOLDS(alarm(0) == 0);
	return 0;
}

static int
aborts(void)
{
	HOLDS(calls());
	abort();
}

static void
test_threads_and_servers(void **state)
{
	int status;

	(void)state;
	if (!filters)
		skip();
	passes(all_threads_are_bound);
	passes(what_a_server_does_works);
	assert_string_equal(said, "");
	status = run_child(aborts);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- kernels and containers with less ---- */

/* A container whose filter hides both Landlock and seccomp. */
static bool
hide(uint32_t landlock, uint32_t seccomp)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	bool done = ctx != NULL &&
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(landlock), (int)SYS_landlock_create_ruleset, 0) == 0 &&
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(seccomp), SCMP_SYS(seccomp), 0) == 0 &&
	    seccomp_rule_add(
		ctx, SCMP_ACT_ERRNO(seccomp), SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP, 0)) == 0 &&
	    seccomp_load(ctx) == 0;

	seccomp_release(ctx);
	return done;
}

static int
without_either(void)
{
	char why[256];

	HOLDS(hide(ENOSYS, ENOSYS));
	HOLDS(confine_process(&config, path_config, false, why, sizeof(why)) == 0);
	HOLDS(can_read("/etc/group") == 0);
	return 0;
}

static int
with_landlock_switched_off(void)
{
	char why[256] = "";

	HOLDS(hide(EOPNOTSUPP, EPERM));
	HOLDS(confine_files(&config, path_config, false, why, sizeof(why)) == 0);
	HOLDS(strcmp(why, "it is switched off in this kernel") == 0);
	HOLDS(confine_calls(why, sizeof(why)) == 0);
	HOLDS(strstr(why, "this kernel or container takes no filter") != NULL);
	return 0;
}

static void
test_less_is_a_warning(void **state)
{
	(void)state;
	if (!filters)
		skip();
	passes(without_either);
	assert_non_null(strstr(said, "level=warn msg=\"not confined by Landlock"));
	assert_non_null(strstr(said, "this kernel has no Landlock, or a container's filter hides it"));
	assert_non_null(strstr(said, "level=warn msg=\"not confined by seccomp"));
	assert_non_null(strstr(said, "msg=confined seccomp=off landlock=off no_new_privs="));
	passes(with_landlock_switched_off);
}

/* In a container that has a filter already. */
static int
within_a_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	char why[256];

	HOLDS(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(sethostname), 0) == 0 && seccomp_load(ctx) == 0);
	HOLDS(confine_process(&config, path_config, false, why, sizeof(why)) == 0);
	FAILS(can_read("/etc/group"), EACCES);
	HOLDS(can_read(path_config) == 0);
	execve("/bin/true", no_words, no_words);
	return 2;
}

static void
test_a_filter_in_a_filter(void **state)
{
	char landlock[64];

	(void)state;
	if (!filters)
		skip();
	need_abi(1);
	dies(within_a_filter, "execve");
	snprintf(landlock, sizeof(landlock), "msg=confined seccomp=on landlock=abi%d ", abi);
	assert_non_null(strstr(said, landlock));
}

/* ---- */

static int
put(const char *name)
{
	return touch(in(name));
}

static int
set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/fob-unit-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	for (const char *const *name =
		 (const char *const[]){ "live", "etc", "run", "tls", "archive", "elsewhere", NULL };
	     *name != NULL; name++)
		assert_int_equal(mkdir(in(*name), 0700), 0);
	assert_true(put("etc/fobd.conf") == 0 && put("etc/live.pepper") == 0 && put("archive/cert1") == 0 &&
	    put("elsewhere/file") == 0);
	assert_int_equal(symlink("../archive/cert1", in("tls/cert")), 0);
	snprintf(path_config, sizeof(path_config), "%s/etc/fobd.conf", folder);
	snprintf(path_url, sizeof(path_url), "ipc://%s/run/v", folder);
	snprintf(path_tls, sizeof(path_tls), "%s/tls/cert", folder);
	config.n_listeners = 2;
	config.listeners[0].url = path_url;
	config.listeners[1].url = strdup("tls+tcp://127.0.0.1:17999");
	config.listeners[1].tls_cert = path_tls;
	config.environments[ENVIRONMENT_LIVE].configured = true;
	config.environments[ENVIRONMENT_LIVE].path = strdup(in("live"));
	config.environments[ENVIRONMENT_LIVE].pepper = strdup(in("etc/live.pepper"));
	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	filters = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
	return 0;
}

static int
removes(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
tear_down(void **state)
{
	(void)state;
	free(config.listeners[1].url);
	free(config.environments[ENVIRONMENT_LIVE].path);
	free(config.environments[ENVIRONMENT_LIVE].pepper);
	return nftw(folder, removes, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_databases_are_writable),
		cmocka_unit_test(test_settings_are_readable),
		cmocka_unit_test(test_replaced_files_are_readable),
		cmocka_unit_test(test_all_else_is_closed),
		cmocka_unit_test(test_the_system_is_readable),
		cmocka_unit_test(test_sockets_may_be_made),
		cmocka_unit_test(test_ports_are_ours),
		cmocka_unit_test(test_others_are_out_of_reach),
		cmocka_unit_test(test_an_abstract_manager_is_reached),
		cmocka_unit_test(test_what_an_attacker_would_do_ends_it),
		cmocka_unit_test(test_a_fork_ends_it),
		cmocka_unit_test(test_the_alarm_cannot_be_silenced),
		cmocka_unit_test(test_the_rest_is_refused_and_told_once),
		cmocka_unit_test(test_threads_and_servers),
		cmocka_unit_test(test_less_is_a_warning),
		cmocka_unit_test(test_a_filter_in_a_filter),
	};

	if (CONFINE_SANITIZED) {
		printf("1..0 # SKIP a sanitizer's runtime is not confined\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
