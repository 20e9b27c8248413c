/*
 * journal.c - compare a descriptor with JOURNAL_STREAM (see journal.h). By hand, as notify.c is: libsystemd would be much
 * code in a process that holds keys. Never writes.
 */
#include "proto/c/journal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A decimal number at *${text}, which then is behind it. Nothing but digits: strtoull() takes blanks and signs, too. */
static bool
read_number(const char **text, uint64_t *out)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*out = strtoumax(*text, &end, 10);
	*text = end;
	return errno == 0;
}

bool
journal_is_fd(int fd)
{
	const char *text = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;

	if (text == NULL || !read_number(&text, &device) || *text++ != ':' || !read_number(&text, &inode) || *text != '\0')
		return false;
	return fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

const char *
journal_prefix(int level)
{
	static const char *const prefixes[] = { "<3>", "<4>", "<6>", "<7>" }; /* syslog(3)'s err, warning, info, debug */

	assert(level >= 0 && level < 4);
	return prefixes[level];
}
