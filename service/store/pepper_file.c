/*
 * pepper_file.c - a pepper's file is made, read, and gets a new line (see pepper.h). All that it reads and writes is wiped
 * from memory. A file is written beside its place, under the one name that may be left over after a kill, and the next
 * writer removes it.
 */
#include "service/store/pepper_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/folder.h"

#define NEW ".fobd.tmp"
#define LOCK_MS 5000 /* how long to wait for another process that makes or rotates a pepper in the same folder */

static int
refuse(char *why, size_t why_len, const char *path, const char *what, const char *reason)
{
	snprintf(why, why_len, "%s: %s: %s", path, what, reason);
	return -1;
}

static int
refuse_lock(char *why, size_t why_len, const char *path)
{
	return refuse(why, why_len, path, "cannot make the pepper file",
	    errno == EWOULDBLOCK ? "another process is writing a pepper in this folder: try again" : strerror(errno));
}

static void
wipe(struct pepper_masters *masters)
{
	sodium_memzero(masters, sizeof(*masters));
}

/* ---- writing ---- */

/* Write a file of ${masters}, synced, at ${path}. Returns 0; an errno value, and there is no file. */
static int
write_new(const char *path, const struct pepper_masters *masters)
{
	char text[PEPPER_LINES_MAX * PEPPER_LINE_LEN];
	size_t len = pepper_text_write(masters, text);
	int fd, fault = 0;
	ssize_t n;

	if ((unlink(path) != 0 && errno != ENOENT) ||
	    (fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		fault = errno;
	else {
		if ((n = write(fd, text, len)) != (ssize_t)len)
			fault = n < 0 ? errno : ENOSPC;
		else if (fsync(fd) != 0)
			fault = errno;
		close(fd);
		if (fault != 0)
			unlink(path);
	}
	sodium_memzero(text, sizeof(text));
	return fault;
}

/*
 * Give a whole file of ${masters} the name ${path}. ${replace}: in the place of another file. If not, and there is one,
 * that is EEXIST. Threads and processes: under the folder's lock. Returns 0, or an errno value.
 */
static int
publish(const char *path, const struct pepper_masters *masters, bool replace)
{
	char new[PATH_MAX];
	int fault;

	if (snprintf(new, sizeof(new), "%s" NEW, path) >= (int)sizeof(new))
		return ENAMETOOLONG;
	if ((fault = write_new(new, masters)) != 0)
		return fault;
	if ((replace ? rename(new, path) : link(new, path)) != 0)
		fault = errno;
	if (!replace || fault != 0)
		unlink(new);
	return fault != 0 ? fault : folder_sync_around(path);
}

/* It gets its name when it is whole, so that a crash leaves no half of one there: by link(2), which replaces nothing. */
int
pepper_create(const char *path, char *why, size_t why_len)
{
	struct pepper_masters masters = { .n = 1 };
	struct stat st;
	int lock, fault;

	if (lstat(path, &st) == 0)
		return 1;
	if ((lock = folder_lock_around(path, LOCK_MS)) < 0)
		return refuse_lock(why, why_len, path);
	randombytes_buf(masters.bytes[0], sizeof(masters.bytes[0]));
	fault = publish(path, &masters, false);
	wipe(&masters);
	close(lock);
	if (fault == EEXIST)
		return 1;
	return fault == 0 ? 0 : refuse(why, why_len, path, "cannot write the pepper file", strerror(fault));
}

/* ---- reading ---- */

/*
 * The name of ${uid}, or its number. From the file, and from no service behind it: a confined fobd asks here, too, and
 * may not ask those.
 */
static void
name_user(uid_t uid, char *name, size_t len)
{
	struct passwd entry, *found;
	char text[1024];
	FILE *users;

	snprintf(name, len, "%u", (unsigned)uid);
	if ((users = fopen("/etc/passwd", "re")) == NULL)
		return;
	while (fgetpwent_r(users, &entry, text, sizeof(text), &found) == 0) {
		if (entry.pw_uid == uid) {
			snprintf(name, len, "%s", entry.pw_name);
			break;
		}
	}
	fclose(users);
}

static bool
is_in_group(gid_t gid)
{
	gid_t groups[NGROUPS_MAX];
	int n = getgroups(NGROUPS_MAX, groups);

	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return gid == getegid();
}

/*
 * Returns NULL, or what is wrong with the mode. The group may read a file of root's if it is root's own or one of this
 * process's: container secrets are 0440, and so is what systemd's LoadCredential= shows, where the kernel gives the
 * service alone the right to read by an access control list.
 */
static const char *
mode_fault(const struct stat *st)
{
	if ((st->st_mode & 077) == 0)
		return NULL;
	if (st->st_uid != 0 || (st->st_mode & 037) != 0)
		return "others may read it: chmod 0600";
	if (st->st_gid != 0 && !is_in_group(st->st_gid))
		return "others may read it: chmod 0600, or give it to a group that this runs in";
	return NULL;
}

/* Returns NULL, or a sentence, perhaps at ${text}, on what is wrong with the file's type, owner or mode. */
static const char *
file_fault(int fd, char *text, size_t len)
{
	char owner[64], us[64];
	const char *fault;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if ((fault = mode_fault(&st)) != NULL)
		return fault;
	if (st.st_uid == geteuid() || st.st_uid == 0)
		return NULL;
	name_user(st.st_uid, owner, sizeof(owner));
	name_user(geteuid(), us, sizeof(us));
	snprintf(text, len, "it belongs to another user, %s, and this runs as %s: run it as %s", owner, us, owner);
	return text;
}

static int
read_text(const char *path, int fd, struct pepper_masters *masters, char *why, size_t why_len)
{
	char text[PEPPER_FILE_MAX + 1], what[128];
	ssize_t len;
	int rc = -1;

	if ((len = read(fd, text, sizeof(text))) < 0)
		refuse(why, why_len, path, "cannot read the pepper", strerror(errno));
	else if ((size_t)len > PEPPER_FILE_MAX)
		refuse(why, why_len, path, "not a pepper file", "it is too long");
	else if (pepper_text_read(text, (size_t)len, masters, what, sizeof(what)) != 0)
		refuse(why, why_len, path, "not a pepper file", what);
	else
		rc = 0;
	sodium_memzero(text, sizeof(text));
	return rc;
}

/* Returns 0, or -1 with a line at ${why}. The caller wipes ${masters} in both cases. */
static int
read_file(const char *path, struct pepper_masters *masters, char *why, size_t why_len)
{
	char owner[256], reason[256];
	const char *fault;
	int fd, rc = -1;

	/* Without O_NONBLOCK, opening a FIFO would block; it is refused below. */
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0) {
		folder_explain(path, errno, reason, sizeof(reason));
		snprintf(why, why_len, "%s: cannot read the pepper: %s%s", path, reason,
		    errno == ENOENT ? ". `fobd --init` makes one for a new database; an old database needs its own" :
				      "");
		return -1;
	}
	if ((fault = file_fault(fd, owner, sizeof(owner))) != NULL)
		refuse(why, why_len, path, "the pepper is refused", fault);
	else
		rc = read_text(path, fd, masters, why, why_len);
	close(fd);
	return rc;
}

int
pepper_load(const char *path, struct pepper **pepper, char *why, size_t why_len)
{
	struct pepper_masters masters;
	int rc;

	if ((rc = read_file(path, &masters, why, why_len)) == 0 && (*pepper = pepper_from_masters(&masters)) == NULL)
		rc = refuse(why, why_len, path, "no locked memory for the pepper", "raise RLIMIT_MEMLOCK");
	wipe(&masters);
	return rc;
}

/* ---- rotating ---- */

static int
append(const char *path, char *why, size_t why_len)
{
	struct pepper_masters masters;
	int fault, rc;

	if ((rc = read_file(path, &masters, why, why_len)) == 0 && masters.n == PEPPER_LINES_MAX) {
		snprintf(why, why_len, "%s: the pepper was rotated %d times, which is the limit", path,
		    PEPPER_LINES_MAX - 1);
		rc = -1;
	} else if (rc == 0) {
		randombytes_buf(masters.bytes[masters.n], sizeof(masters.bytes[0]));
		masters.n++;
		if ((fault = publish(path, &masters, true)) != 0)
			rc = refuse(why, why_len, path, "cannot write the pepper file", strerror(fault));
	}
	wipe(&masters);
	return rc;
}

/* Two at once would each add a line to the same file, and one line, which fobd may have read by then, would be lost. */
int
pepper_append(const char *path, char *why, size_t why_len)
{
	char real[PATH_MAX];
	int lock, rc;

	/* The file that a link points to is replaced, not the link. If there is none, read_file() reports it. */
	if (realpath(path, real) == NULL && snprintf(real, sizeof(real), "%s", path) >= (int)sizeof(real))
		return refuse(why, why_len, path, "cannot read the pepper", strerror(ENAMETOOLONG));
	if ((lock = folder_lock_around(real, LOCK_MS)) < 0)
		return refuse_lock(why, why_len, real);
	rc = append(real, why, why_len);
	close(lock);
	return rc;
}
