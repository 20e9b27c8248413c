/*
 * socket_file.c - what is at a unix socket's path, before nng makes one there and after, and its folder (see
 * socket_file.h). Never removes anything: nng does that.
 */
#include "service/net/socket_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/base/log.h"

#define PATH_LEN sizeof(((struct sockaddr_un *)0)->sun_path)

static void
name_folder(const char *path, char folder[PATH_LEN])
{
	const char *slash = strrchr(path, '/');

	snprintf(folder, PATH_LEN, "%.*s", slash == NULL ? 1 : (int)(slash - path) + (slash == path),
	    slash == NULL ? "." : path);
}

int
socket_file_folder(const char *path, char *why, size_t why_len)
{
	char folder[PATH_LEN];

	name_folder(path, folder);
	/* What is wrong with a folder that is there is socket_file_check()'s to say. */
	if (access(folder, F_OK) == 0)
		return 0;
	if (mkdir(folder, 0750) != 0 && errno != EEXIST) {
		snprintf(why, why_len, "ipc://%s: cannot make the socket's folder: %s", path, strerror(errno));
		return -1;
	}
	/* The umask has taken the group's rights. */
	if (chmod(folder, 0750) == 0)
		return 0;
	snprintf(why, why_len, "ipc://%s: cannot give the socket's folder its mode: %s", path, strerror(errno));
	return -1;
}

/* Who may rename in the socket's folder may put another in its place, and be told keys. */
static int
check_ipc_folder(const char *path, char *why, size_t why_len)
{
	char folder[PATH_LEN];
	struct stat st;

	name_folder(path, folder);
	if (stat(folder, &st) != 0) {
		snprintf(why, why_len, "ipc://%s: the socket's folder: %s", path, strerror(errno));
		return -1;
	}
	if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0) {
		snprintf(why, why_len,
		    "ipc://%s: every user may write in its folder, and put another socket in its place: chmod o-w %s",
		    path, folder);
		return -1;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid())
		LOG(LOG_WARN, "a socket's folder belongs to another user, who may put another socket in its place",
		    LOG_S("folder", folder), LOG_I("uid", st.st_uid));
	return 0;
}

/* Returns a descriptor, or -1 with errno. */
static int
connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, saved;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	/* A full backlog is told at once (EAGAIN); a blocking socket would wait for its end. */
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int
socket_file_check(const char *path, char *why, size_t why_len)
{
	struct stat st;
	int fd;

	if (strlen(path) >= PATH_LEN) {
		snprintf(why, why_len, "ipc://%s: the path is too long for a unix socket (107 bytes)", path);
		return -1;
	}
	if (check_ipc_folder(path, why, why_len) != 0)
		return -1;
	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, why_len, "ipc://%s: there is a file that is not a socket; it is left alone", path);
		return -1;
	}
	/* EAGAIN: its backlog is full, so a program listens. */
	if ((fd = connect_to(path)) >= 0 || errno == EAGAIN) {
		if (fd >= 0)
			close(fd);
		snprintf(why, why_len, "ipc://%s: the address is in use by another program", path);
		return -1;
	}
	return 0;
}

int
socket_file_made(const struct config_listener *config, const char *path, char *why, size_t why_len)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & 0777) == config->mode)
		return 0;
	snprintf(why, why_len,
	    "ipc://%s: is not a socket of ours with mode %04o: somebody else changes it, or its folder has a default ACL",
	    path, (unsigned)config->mode);
	return -1;
}
