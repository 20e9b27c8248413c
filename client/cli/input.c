/*
 * input.c - secrets, tokens and answers: from files, from stdin, from a person. Never takes anything from argv, never
 * goes through stdio (whose buffers cannot be wiped), never echoes.
 */
#include "client/cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "client/cli/out.h"
#include "client/cli/text.h"

#define TOKEN_HEX (2 * FOB_TOKEN_LEN)
#define TOKEN_KEPT_S 86400 /* the server answers from a token for so long */

/* ---- secrets ---- */

/*
 * Read ${fd} to its end into ${in}; or, if ${during} is given, to the end of a line, with that signal mask while
 * waiting, and not past a signal. Returns 0 or an errno: EFBIG for more than fits.
 */
static int
read_all(int fd, const sigset_t *during, struct input *in)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	in->len = 0;
	for (;;) {
		ssize_t n;

		if (during != NULL && ppoll(&readable, 1, NULL, during) < 0)
			return errno;
		n = read(fd, in->bytes + in->len, sizeof(in->bytes) - in->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		in->len += (size_t)n;
		if (n == 0 || (during != NULL && in->bytes[in->len - 1] == '\n'))
			return 0;
		if (in->len == sizeof(in->bytes))
			return EFBIG;
	}
}

static volatile sig_atomic_t interrupted;

static void
interrupt(int signal_number)
{
	interrupted = signal_number;
}

/*
 * Ask for ${what} on the terminal, without echo. The signals that would end us, or let the shell read on, are held back
 * until the terminal is as it was, and let in only while waiting: one that came just before would else be waited past.
 * Returns 0 or an errno.
 */
static int
read_hidden(const char *what, struct input *in)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
	struct sigaction action = { .sa_handler = interrupt }, before[sizeof(signals) / sizeof(signals[0])];
	struct termios shown, hidden;
	sigset_t held, mask;
	int rc;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return errno;
	interrupted = 0;
	sigemptyset(&action.sa_mask);
	sigemptyset(&held);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&held, signals[i]);
	sigprocmask(SIG_BLOCK, &held, &mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, &before[i]);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0) {
		out_ask("%s (not shown): ", what);
		rc = read_all(STDIN_FILENO, &mask, in);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
		fputc('\n', stderr);
	} else {
		rc = errno;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &before[i], NULL);
	if (interrupted != 0)
		raise(interrupted);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return rc;
}

static void
trim(struct input *in)
{
	size_t from;

	in->len = text_trim(in->bytes, in->len, &from);
	memmove(in->bytes, in->bytes + from, in->len);
}

int
input_read(const char *path, const char *what, struct input *in)
{
	bool standard = path == NULL || strcmp(path, "-") == 0;
	int fd = STDIN_FILENO, rc;

	in->len = 0;
	if (standard && input_can_ask()) {
		rc = read_hidden(what, in);
	} else if (!standard && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) < 0) {
		rc = errno;
	} else {
		rc = read_all(fd, NULL, in);
		if (!standard)
			close(fd);
	}
	if (rc == 0)
		trim(in);
	if (rc == 0 && in->len > 0 && !text_is_utf16(in->bytes, in->len))
		return 0;
	if (rc == 0 && in->len > 0)
		out_say("%s: %s is UTF-16: save it as UTF-8 or ASCII", what, standard ? "standard input" : path);
	else if (rc == 0)
		out_say("%s: nothing on %s", what, standard ? "standard input" : path);
	else if (rc == EFBIG)
		out_say("%s: more than %d bytes in %s", what, INPUT_MAX, standard ? "standard input" : path);
	else
		out_say("%s: cannot read %s: %s", what, standard ? "standard input" : path, strerror(rc));
	return -1;
}

void
input_fini(struct input *in)
{
	fob_wipe(in, sizeof(*in));
}

/* ---- yes and no ---- */

bool
input_can_ask(void)
{
	return isatty(STDIN_FILENO) == 1;
}

bool
input_yes(void)
{
	char answer[16];
	size_t len = 0;
	char c;

	/* A byte at a time: what follows the line is not ours. */
	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n') {
		if (len < sizeof(answer) - 1)
			answer[len++] = c;
	}
	answer[len] = '\0';
	return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

/* ---- tokens ---- */

/* Write ${token} to the new file ${fd}, so that it outlives a crash. Returns 0 or an errno. */
static int
token_write(const struct token *token, int fd)
{
	char hex[TOKEN_HEX + 2];
	ssize_t n;
	int rc = 0;

	sodium_bin2hex(hex, TOKEN_HEX + 1, token->bytes, sizeof(token->bytes));
	hex[TOKEN_HEX] = '\n';
	n = write(fd, hex, TOKEN_HEX + 1);
	if (n != TOKEN_HEX + 1)
		rc = n < 0 ? errno : ENOSPC;
	else if (fsync(fd) != 0)
		rc = errno;
	fob_wipe(hex, sizeof(hex));
	return rc;
}

/* Sync the folder that ${path} is in, so that a new name in it outlives a crash as well. Returns 0 or an errno. */
static int
folder_sync(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	int fd, rc = 0;

	if (slash == NULL)
		snprintf(folder, sizeof(folder), ".");
	else if ((size_t)(slash - path) + 2 > sizeof(folder))
		return ENAMETOOLONG;
	else
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
	if ((fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return errno;
	/* Some file systems cannot sync a folder and say EINVAL; there is nothing more to be done on them. */
	if (fsync(fd) != 0 && errno != EINVAL)
		rc = errno;
	close(fd);
	return rc;
}

static int
token_create(struct token *token, int fd)
{
	int rc = token_write(token, fd);

	close(fd);
	if (rc == 0)
		rc = folder_sync(token->path);
	if (rc == 0)
		return 0;
	out_say("%s: cannot keep the token there: %s", token->path, strerror(rc));
	unlink(token->path);
	return -1;
}

/*
 * Make a token in the new file ${path}, which has all of it when it appears, so that two commands with one new file use
 * one token. Returns 0 or an errno: EEXIST when there is a file.
 */
static int
token_link(struct token *token, const char *path)
{
	char aside[PATH_MAX];
	int fd, rc, n = snprintf(aside, sizeof(aside), "%s.XXXXXX", path);

	if (n < 0 || (size_t)n >= sizeof(aside))
		return ENAMETOOLONG;
	if ((fd = mkostemp(aside, O_CLOEXEC)) < 0)
		return errno;
	randombytes_buf(token->bytes, sizeof(token->bytes));
	rc = token_write(token, fd);
	close(fd);
	if (rc == 0 && link(aside, path) != 0)
		rc = errno;
	/* Some file systems have no hard links. */
	if ((rc == EPERM || rc == EOPNOTSUPP) && renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		rc = 0;
	unlink(aside);
	return rc == 0 ? folder_sync(path) : rc;
}

/* Why the open file ${fd} is not to be used as a token: NULL if it is. Fills the token in. */
static const char *
token_read(struct token *token, int fd)
{
	char text[2 * TOKEN_HEX];
	const char *why = NULL;
	size_t hex_len, from, len;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if ((st.st_mode & 077) != 0)
		return "others may read it; make it 0600 (chmod 600), or remove it to begin anew";
	if (time(NULL) - st.st_mtim.tv_sec >= TOKEN_KEPT_S)
		return "made more than 24 hours ago, and the server has forgotten it: a rerun would be a second "
		       "change. Look at what is there first; remove the file to begin anew";
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return strerror(errno);
	hex_len = text_trim(text, (size_t)n, &from);
	if (hex_len != TOKEN_HEX ||
	    sodium_hex2bin(token->bytes, sizeof(token->bytes), text + from, TOKEN_HEX, NULL, &len, NULL) != 0 ||
	    len != sizeof(token->bytes))
		why = "not a token (64 hex digits): name a file that is not there yet, or the one of an earlier run";
	fob_wipe(text, sizeof(text));
	return why;
}

int
token_init(struct token *token, const char *path)
{
	const char *why;
	int fd, rc;

	*token = (struct token){ .path = path };
	if (sodium_init() < 0) {
		out_say("no randomness from the system");
		return -1;
	}
	if (path == NULL) {
		randombytes_buf(token->bytes, sizeof(token->bytes));
		return 0;
	}
	/* O_NONBLOCK: a pipe of that name is refused rather than waited for. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) < 0 && errno == ENOENT) {
		if ((rc = token_link(token, path)) == 0)
			return 0;
		/* Another command has made it meanwhile. */
		if (rc == EEXIST)
			fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		else
			errno = rc;
	}
	if (fd < 0) {
		out_say("%s: %s", path, strerror(errno));
		return -1;
	}
	why = token_read(token, fd);
	close(fd);
	if (why != NULL)
		out_say("%s: %s", path, why);
	return why == NULL ? 0 : -1;
}

const char *
token_keep(struct token *token)
{
	static char path[PATH_MAX];
	const char *const folders[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && token->path == NULL; i++) {
		int fd, n;

		if (folders[i] == NULL || folders[i][0] == '\0')
			continue;
		n = snprintf(path, sizeof(path), "%s/fob-token-XXXXXX", folders[i]);
		if (n < 0 || (size_t)n >= sizeof(path) || (fd = mkostemp(path, O_CLOEXEC)) < 0)
			continue;
		token->path = path;
		if (token_create(token, fd) != 0)
			token->path = NULL;
	}
	if (token->path == NULL)
		out_say("its token could not be kept in any of $XDG_RUNTIME_DIR, $TMPDIR and /tmp");
	return token->path;
}

void
token_fini(struct token *token)
{
	fob_wipe(token, sizeof(*token));
}
