/*
 * harden.c - give up privileges and raise the limit of open files (see harden.h). Never goes on after a
 * step that failed.
 */
#include "service/process/harden.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/limits.h"

int
harden_process(char *why, size_t why_len)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		snprintf(why, why_len, "cannot turn off core dumps, which would hold keys: %s", strerror(errno));
		return -1;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		snprintf(why, why_len, "cannot set no_new_privs: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int
harden_descriptors(unsigned connections, char *why, size_t why_len)
{
	rlim_t need = (rlim_t)connections + LIMIT_LEFT(connections) + LIMIT_DESCRIPTORS_OWN;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
		snprintf(why, why_len, "cannot read the limit of open files: %s", strerror(errno));
		return -1;
	}
	if (limit.rlim_cur >= need)
		return 0;
	limit.rlim_cur = need;
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		snprintf(why, why_len,
		    "connections = %u needs %lu open files, more than this process may have: "
		    "lower connections, or raise the limit (ulimit -Hn, systemd's LimitNOFILE=)",
		    connections, (unsigned long)need);
		return -1;
	}
	return 0;
}

/* Returns 1 when every id is the new one and the kernel refuses a return to root. */
static int
drop_is_final(uid_t uid, gid_t gid)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (getresuid(&r, &e, &s) != 0 || r != uid || e != uid || s != uid)
		return 0;
	if (getresgid(&rg, &eg, &sg) != 0 || rg != gid || eg != gid || sg != gid)
		return 0;
	return setuid(0) == -1 && seteuid(0) == -1 && (gid == 0 || (setgid(0) == -1 && setegid(0) == -1));
}

static int
become(const struct passwd *pw)
{
	if (initgroups(pw->pw_name, pw->pw_gid) != 0)
		return -1;
	if (setgid(pw->pw_gid) != 0)
		return -1;
	/* As root this sets the real, the effective and the saved id, and clears every capability. */
	return setuid(pw->pw_uid);
}

int
harden_drop(const char *user, char *why, size_t why_len)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL) {
		snprintf(
		    why, why_len, "user = \"%s\": %s", user, errno == 0 ? "there is no such user" : strerror(errno));
		return -1;
	}
	if (pw->pw_uid == 0) {
		snprintf(why, why_len, "user = \"%s\" is root: name another user, or leave the setting out", user);
		return -1;
	}
	if (geteuid() == pw->pw_uid && getuid() == pw->pw_uid)
		return 0;
	if (geteuid() != 0) {
		snprintf(why, why_len, "user = \"%s\": only root can become another user; start as root", user);
		return -1;
	}
	if (become(pw) != 0) {
		snprintf(why, why_len, "cannot become user \"%s\": %s", user, strerror(errno));
		return -1;
	}
	if (!drop_is_final(pw->pw_uid, pw->pw_gid)) {
		snprintf(why, why_len, "became user \"%s\", but could become root again: not starting", user);
		return -1;
	}
	/* The change of user has reset the flag (fs.suid_dumpable). */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		snprintf(why, why_len, "cannot turn off core dumps after becoming \"%s\": %s", user, strerror(errno));
		return -1;
	}
	return 0;
}
