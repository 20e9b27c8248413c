/*
 * confine_files.c - a Landlock ruleset for the serving daemon (see confine_files.h). Never opens a file to
 * read it.
 */
#include "service/process/confine_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's header. The kernel's ABI version tells which of these it knows. */
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
/* The rights that the kernel accepts for a path that is not a folder. */
#define FS_OF_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define FS_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FS_DATABASE \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define FS_SOCKET (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)

/* The kernel's structs of ABI 6 and 4. An older kernel accepts the longer struct if the rest is zero. */
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
	int error; /* sticky: errno of the first rule that the kernel refused */
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

/* A path that cannot be opened is skipped: the code that needs it reports that with a better error. */
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

/* Allow ${access} below the folder that ${path} is in. */
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

/* Allow the folder rather than the file: a rule does not cover a file that replaces it later. */
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
	/* Users of allow_users are looked up at a reload. Names of machines are never looked up. */
	static const char *const readable[] = { "/etc/nsswitch.conf", "/etc/passwd", "/etc/localtime",
		"/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib", "/usr/lib64", "/lib", "/lib64",
		"/sys/devices/system/cpu" };

	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		allow_path(r, readable[i], FS_READ);
	/* fobd counts the entries of /proc/self/fd. The rule is for /proc: procfs may recreate the inodes below it,
	 * and a rule for those would be lost. */
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
			errno == ENOSYS ? "this kernel has no Landlock, or a container's filter hides it" :
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
