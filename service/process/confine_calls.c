/*
 * confine_calls.c - a seccomp filter for the serving daemon (see confine_calls.h).
 *
 * The list has the calls that strace saw in the whole integration suite on Debian 12, the calls that glibc
 * 2.41 and nng 1.10 of Debian 13 make instead of them, and close relatives of both (preadv beside pread),
 * which a library's next version may prefer.
 */
#include "service/process/confine_calls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "service/base/log.h"

/* clang-format off */
static const int allowed[] = {
	/* files: Landlock and file modes decide which ones */
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
	/* wait for descriptors */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
	SCMP_SYS(eventfd), SCMP_SYS(eventfd2), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
	/* sockets; socket() itself is allowed by family below */
	SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(shutdown),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(send), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
	SCMP_SYS(recv),
	/* memory; mmap and mprotect are allowed by argument below */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(mlock2),
	SCMP_SYS(munlock), SCMP_SYS(membarrier),
	/* threads; clone is allowed by argument below */
	SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(futex_waitv), SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(rseq), SCMP_SYS(gettid), SCMP_SYS(getpid),
	SCMP_SYS(getppid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
	/* signals */
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigtimedwait_time64), SCMP_SYS(rt_sigsuspend), SCMP_SYS(sigaltstack), SCMP_SYS(alarm),
	SCMP_SYS(setitimer), SCMP_SYS(pause),
	/* time, random bytes, and facts about this process */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(getrandom),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getgroups), SCMP_SYS(getrlimit),
	SCMP_SYS(ugetrlimit), SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

/* Calls that no library makes on its own. Of mmap, mprotect, clone and tgkill: the forms that are not allowed. */
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

/* Names by number, looked up before the filter is loaded: libseccomp allocates, and a signal handler must not. */
static char *names[NAMES];
static atomic_bool told[NAMES + 1];

/* ${rc} is sticky: after a rule has failed, later ones do nothing. */
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

	/* Threads, but not processes. clone3 passes its flags in memory, where a filter cannot see them: it is
	 * refused with ENOSYS, and glibc falls back to clone. */
	allow_if(f, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, (struct scmp_arg_cmp){ 0 });
	/* Memory is writable or executable, never both, and never becomes executable later. */
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
	/* glibc uses netlink to learn the machine's addresses, and does without if the socket is refused. */
	rule(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0));
	allow_if(f, SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	/* For abort(). */
	allow_if(f, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* An attacker who runs code in a thread must not replace the SIGSYS handler. */
	allow_if(f, SCMP_SYS(rt_sigaction), SCMP_A0(SCMP_CMP_NE, SIGSYS, 0));
	allow_if(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	allow_if(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_GET_NAME, 0));
	/* prlimit64 may read limits, not set them. TCGETS is isatty(). */
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

/* Set what the refused call returns. Returns false on a machine whose registers are not known here. */
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
 * The SIGSYS handler: runs on the calling thread, instead of the call. It may log: log_line() allocates
 * nothing and makes allowed calls only, so no thread can be here while it holds the log's lock.
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
		/* SIGSYS is blocked in its own handler: the kernel ends the process at a second one. */
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
	/* Errors are ignored, as an old kernel may lack these. Then a call of a foreign architecture ends its
	 * thread only, and threads that exist already are not bound. */
	(void)seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	(void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if ((f->rc = seccomp_attr_set(f->ctx, SCMP_FLTATR_API_SYSRAWRC, 1)) == 0)
		/* A binary tree instead of one comparison after another. */
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
		snprintf(why, why_len, "cannot make the filter of system calls: %s", strerror(-rc));
		seccomp_release(f.ctx);
		return -1;
	}
	rc = seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	if (rc == 0)
		return 1;
	snprintf(why, why_len, "%s: %s",
	    rc == -ENOMEM ? "cannot install the filter" : "this kernel or container takes no filter", strerror(-rc));
	return rc == -ENOMEM ? -1 : 0;
}
