/*
 * confine.c - Landlock and a seccomp filter around the serving daemon (see confine.h). Called by main.c, after root was
 * given up and before the first thread, pepper or peer; calls libseccomp, the system, probe.c for the path in an
 * address, and log.c, also from its SIGSYS handler. Never opens a file to read it; never gives back what it took.
 *
 * The list of calls is what strace saw of the whole integration suite on Debian 12, what glibc 2.41 and nng 1.10 of
 * Debian 13 do in their place, and the near relatives of both (pread for preadv): a library's next version may prefer
 * one.
 */
#include "service/process/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "service/base/log.h"

/* ---- files and ports ---- */

/* What the header of Debian 12 does not have yet. A kernel's ABI version says which of these it knows. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP (1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL (1ULL << 1)
#endif
#define RULE_NET_PORT ((enum landlock_rule_type)2)

#define ABI_REFER 2
#define ABI_TRUNCATE 3
#define ABI_NET 4
#define ABI_IOCTL_DEV 5
#define ABI_SCOPE 6

#define FS_ABI_1 (LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1)
/* What the kernel takes for a path that is no folder, such as a database's that is set wrongly. */
#define FS_OF_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define FS_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FS_DATABASE \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define FS_SOCKET (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)

/* The kernel's structs as of ABI 6 and 4: it takes a longer one than it knows, when the rest is zero. */
struct ruleset {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct port_rule {
	uint64_t access;
	uint64_t port;
};

struct rules {
	int fd;
	struct ruleset handled;
	int error; /* sticky: of the first rule that the kernel refused */
};

static struct ruleset
handled_by(int abi, bool abstract_notify)
{
	struct ruleset r = { .fs = FS_ABI_1 };

	if (abi >= ABI_REFER)
		r.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= ABI_TRUNCATE)
		r.fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= ABI_IOCTL_DEV)
		r.fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	if (abi >= ABI_NET)
		r.net = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
	if (abi >= ABI_SCOPE)
		r.scoped = LANDLOCK_SCOPE_SIGNAL | (abstract_notify ? 0 : LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET);
	return r;
}

/* Nothing is lost by a path that cannot be opened: who needs it will say so in better words. */
static void
allow_path(struct rules *r, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access & r->handled.fs };
	struct stat st;

	if ((rule.parent_fd = open(path, O_PATH | O_CLOEXEC)) < 0)
		return;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= FS_OF_A_FILE;
	if (rule.allowed_access != 0 &&
	    syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 && r->error == 0)
		r->error = errno;
	close(rule.parent_fd);
}

/* The folder that ${path} is in. */
static void
allow_around(struct rules *r, const char *path, uint64_t access)
{
	const char *slash = strrchr(path, '/');
	char folder[4096];
	size_t len = slash == path ? 1 : slash != NULL ? (size_t)(slash - path) : 0;

	if (len >= sizeof(folder))
		return;
	memcpy(folder, path, len);
	folder[len] = '\0';
	allow_path(r, len > 0 ? folder : ".", access);
}

/* Folders, not files: a file that is replaced is another one to the kernel, and a link may lead elsewhere. */
static void
allow_reading(struct rules *r, const char *path)
{
	char *real;

	if (path == NULL)
		return;
	allow_around(r, path, FS_READ);
	if ((real = realpath(path, NULL)) != NULL)
		allow_around(r, real, FS_READ);
	free(real);
}

static void
allow_port(struct rules *r, const char *url)
{
	struct port_rule rule = { .access = r->handled.net };

	if (r->handled.net == 0)
		return;
	rule.port = strtoull(strrchr(url, ':') + 1, NULL, 10);
	if (syscall(SYS_landlock_add_rule, r->fd, RULE_NET_PORT, &rule, 0) != 0 && r->error == 0)
		r->error = errno;
}

static void
allow_settings(struct rules *r, const struct config *config, const char *config_path)
{
	allow_reading(r, config_path);
	for (size_t i = 0; i < ENVIRONMENTS; i++) {
		if (!config->environments[i].configured)
			continue;
		allow_path(r, config->environments[i].path, FS_DATABASE);
		allow_reading(r, config->environments[i].pepper);
	}
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *l = &config->listeners[i];

		if (config_ipc_path(l->url) != NULL)
			allow_around(r, config_ipc_path(l->url), FS_SOCKET);
		else
			allow_port(r, l->url);
		allow_reading(r, l->tls_cert);
		allow_reading(r, l->tls_key);
		allow_reading(r, l->tls_ca);
	}
}

static void
allow_system(struct rules *r)
{
	static const char *const readable[] = { "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf",
		"/etc/resolv.conf", "/etc/gai.conf", "/etc/services", "/etc/passwd", "/etc/localtime",
		"/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib", "/usr/lib64", "/lib", "/lib64",
		"/sys/devices/system/cpu" };

	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		allow_path(r, readable[i], FS_READ);
	/*
	 * fobd counts the entries of /proc/self/fd. The root: procfs may forget and remake what is below it.
	 */
	allow_path(r, "/proc", LANDLOCK_ACCESS_FS_READ_DIR);
}

int
confine_files(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len)
{
	struct rules r = { .fd = -1 };
	long abi;

	if ((abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)) < 1) {
		snprintf(why, why_len, "%s",
		    errno == EOPNOTSUPP ? "it is switched off in this kernel" :
			errno == ENOSYS ? "this kernel has none, or a container's filter hides it" :
					  strerror(errno));
		return 0;
	}
	r.handled = handled_by((int)abi, abstract_notify);
	if ((r.fd = (int)syscall(SYS_landlock_create_ruleset, &r.handled, sizeof(r.handled), 0)) < 0) {
		snprintf(why, why_len, "cannot make a Landlock ruleset: %s", strerror(errno));
		return -1;
	}
	allow_settings(&r, config, config_path);
	allow_system(&r);
	if (r.error == 0 && syscall(SYS_landlock_restrict_self, r.fd, 0) != 0)
		r.error = errno;
	close(r.fd);
	if (r.error != 0) {
		snprintf(why, why_len, "cannot confine this process to its files: %s", strerror(r.error));
		return -1;
	}
	return (int)abi;
}

/* ---- system calls ---- */

/* clang-format off */
static const int allowed[] = {
	/* files: which ones is for Landlock and file modes to say */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64),
	SCMP_SYS(preadv), SCMP_SYS(preadv2), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(msync),
	SCMP_SYS(sync_file_range), SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64), SCMP_SYS(fallocate), SCMP_SYS(flock),
	SCMP_SYS(fadvise64), SCMP_SYS(fcntl), SCMP_SYS(fcntl64), SCMP_SYS(stat), SCMP_SYS(stat64), SCMP_SYS(lstat),
	SCMP_SYS(lstat64), SCMP_SYS(fstat), SCMP_SYS(fstat64), SCMP_SYS(newfstatat), SCMP_SYS(fstatat64), SCMP_SYS(statx),
	SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(statfs64), SCMP_SYS(fstatfs64), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(umask),
	/* waiting for descriptors */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
	SCMP_SYS(eventfd), SCMP_SYS(eventfd2), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
	/* sockets, of the families below */
	SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(shutdown),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(send), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
	SCMP_SYS(recv),
	/* memory; with mmap and mprotect below */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(mlock2),
	SCMP_SYS(munlock), SCMP_SYS(membarrier),
	/* threads, with clone below */
	SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(futex_waitv), SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(rseq), SCMP_SYS(gettid), SCMP_SYS(getpid),
	SCMP_SYS(getppid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
	/* signals */
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigtimedwait_time64), SCMP_SYS(rt_sigsuspend), SCMP_SYS(sigaltstack), SCMP_SYS(alarm),
	SCMP_SYS(setitimer), SCMP_SYS(pause),
	/* time, chance, and what may be asked about ourselves */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(getrandom),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrlimit),
	SCMP_SYS(ugetrlimit), SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

/* No library asks for these behind our back. Of mmap, mprotect and clone: the forms that are not allowed. */
static const int deadly[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(clone),
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),
	SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect), SCMP_SYS(remap_file_pages),
	SCMP_SYS(memfd_create), SCMP_SYS(userfaultfd), SCMP_SYS(personality),
	SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid), SCMP_SYS(setresuid),
	SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid), SCMP_SYS(setgroups), SCMP_SYS(capset),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(mknod), SCMP_SYS(mknodat),
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl), SCMP_SYS(add_key),
	SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(kexec_load), SCMP_SYS(reboot),
	SCMP_SYS(iopl), SCMP_SYS(ioperm),
};
/* clang-format on */

#define NAMES 512

/* Looked up beforehand: libseccomp allocates for it, which a signal handler must not. */
static char *names[NAMES];
static atomic_bool told[NAMES + 1];

/* Sticky, like a transaction: the first rule that fails is the result of all. */
struct filter {
	scmp_filter_ctx ctx;
	int rc;
};

static void
rule(struct filter *f, uint32_t action, int call, unsigned n, struct scmp_arg_cmp compare)
{
	if (f->rc == 0 && call >= 0)
		f->rc = seccomp_rule_add_array(f->ctx, action, call, n, n > 0 ? &compare : NULL);
}

static void
allow_if(struct filter *f, int call, struct scmp_arg_cmp compare)
{
	rule(f, SCMP_ACT_ALLOW, call, 1, compare);
}

static void
allow_threads_and_memory(struct filter *f)
{
	const int map = SCMP_SYS(mmap) >= 0 ? SCMP_SYS(mmap) : SCMP_SYS(mmap2);
	const scmp_datum_t write_exec = PROT_WRITE | PROT_EXEC;

	/* A process shares less than a thread. clone3's flags are in memory, which no filter sees: glibc falls back. */
	allow_if(f, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, (struct scmp_arg_cmp){ 0 });
	/* Written or run, not both, and nothing that was written becomes what is run. */
	allow_if(f, map, SCMP_A2(SCMP_CMP_MASKED_EQ, write_exec, 0));
	allow_if(f, map, SCMP_A2(SCMP_CMP_MASKED_EQ, write_exec, PROT_WRITE));
	allow_if(f, map, SCMP_A2(SCMP_CMP_MASKED_EQ, write_exec, PROT_EXEC));
	allow_if(f, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static void
allow_by_argument(struct filter *f)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		allow_if(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	/* glibc asks it which addresses the machine has, and does without an answer. */
	rule(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0));
	allow_if(f, SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	/* For abort(). */
	allow_if(f, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* Whoever takes over a thread is not to silence the alarm. */
	allow_if(f, SCMP_SYS(rt_sigaction), SCMP_A0(SCMP_CMP_NE, SIGSYS, 0));
	allow_if(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	allow_if(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_GET_NAME, 0));
	/* To ask, not to set; TCGETS is isatty(). */
	allow_if(f, SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0, 0));
	allow_if(f, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, TCGETS, 0));
	allow_if(f, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONREAD, 0));
	allow_if(f, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONBIO, 0));
}

static bool
is_deadly(int call)
{
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		if (deadly[i] == call)
			return true;
	return false;
}

/* What the call that was not made returns. False where we do not know how to say it. */
static bool
set_result(void *context, long result)
{
	ucontext_t *u = context;

#if defined(__x86_64__)
	u->uc_mcontext.gregs[REG_RAX] = result;
	return true;
#elif defined(__aarch64__)
	u->uc_mcontext.regs[0] = (unsigned long long)result;
	return true;
#else
	(void)u;
	(void)result;
	return false;
#endif
}

/*
 * On the thread that asked, in the place of the call. log_line() allocates nothing, makes listed calls only, and its
 * lock is never held over another.
 */
static void
on_refused(int signal_number, siginfo_t *info, void *context)
{
	int call = info->si_syscall, saved = errno;
	unsigned slot = call >= 0 && call < NAMES ? (unsigned)call : NAMES;
	const char *name = slot < NAMES && names[slot] != NULL ? names[slot] : "unknown";
	bool first = !atomic_exchange(&told[slot], true);

	(void)signal_number;
	if (is_deadly(call) || !set_result(context, call == SCMP_SYS(socket) ? -EAFNOSUPPORT : -ENOSYS)) {
		LOG(LOG_ERROR, "a system call that fobd never makes; ending by SIGSYS", LOG_S("call", name),
		    LOG_I("number", call));
		/*
		 * SIGSYS is blocked in its own handler, and a second one ends the process, whoever may handle signals.
		 */
		syscall(SYS_ptrace, -1, 0, 0, 0);
		_exit(1);
	}
	if (first)
		LOG(LOG_WARN, "a system call that is not on the list was refused", LOG_S("call", name),
		    LOG_I("number", call));
	errno = saved;
}

static int
install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO };

	for (int i = 0; i < NAMES; i++)
		if (names[i] == NULL)
			names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
	sigemptyset(&action.sa_mask);
	return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : -errno;
}

static int
build_filter(struct filter *f)
{
	/*
	 * An old kernel may lack these: then a foreign call ends its thread only, and threads that are there are not
	 * bound.
	 */
	(void)seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	(void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if ((f->rc = seccomp_attr_set(f->ctx, SCMP_FLTATR_API_SYSRAWRC, 1)) == 0)
		/* A tree, not a row of comparisons. */
		f->rc = seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		rule(f, SCMP_ACT_ALLOW, allowed[i], 0, (struct scmp_arg_cmp){ 0 });
	allow_threads_and_memory(f);
	allow_by_argument(f);
	return f->rc;
}

int
confine_calls(char *why, size_t why_len)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_TRAP) };
	int rc;

	if (f.ctx == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if ((rc = build_filter(&f)) != 0 || (rc = install_handler()) != 0) {
		snprintf(why, why_len, "cannot make the list of system calls: %s", strerror(-rc));
		seccomp_release(f.ctx);
		return -1;
	}
	rc = seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	if (rc == 0)
		return 1;
	snprintf(why, why_len, "%s: %s",
	    rc == -ENOMEM ? "cannot install the list of system calls" : "this kernel or container takes none",
	    strerror(-rc));
	return rc == -ENOMEM ? -1 : 0;
}

/* ---- both ---- */

static void
warn_missing(const char *message, const char *reason)
{
	LOG(LOG_WARN, message, LOG_S("reason", reason));
}

int
confine_process(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len)
{
	bool no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	char landlock[16] = "off";
	int abi = 0, calls = 0;

	snprintf(why, why_len, "this is a build with a sanitizer");
	if (!CONFINE_SANITIZED && (abi = confine_files(config, config_path, abstract_notify, why, why_len)) < 0)
		return -1;
	if (abi > 0)
		snprintf(landlock, sizeof(landlock), "abi%d", abi);
	else
		warn_missing("not confined by Landlock: fobd may touch every file that its user may", why);
	if (!CONFINE_SANITIZED && (calls = confine_calls(why, why_len)) < 0)
		return -1;
	if (calls == 0)
		warn_missing("not confined by seccomp: fobd may make every system call", why);
	LOG(LOG_INFO, "confined", LOG_S("seccomp", calls == 1 ? "on" : "off"), LOG_S("landlock", landlock),
	    LOG_T("no_new_privs", no_new_privs), LOG_I("uid", geteuid()));
	return 0;
}
