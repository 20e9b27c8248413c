/*
 * fuzz_config.c - config_load() on any text: an error is one line that names the file, and leaves nothing behind;
 * accepted settings keep every limit. The file is in memory.
 *
 *	input: 1 byte: which allocation fails, 0 none; the text
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service/base/config.h"
#include "tests/fuzz/fuzz.h"

static char path[64];
static int fd = -1;

static void
put_text(const uint8_t *text, size_t len)
{
	if (fd < 0) {
		FUZZ_CHECK((fd = memfd_create("fobd.conf", MFD_CLOEXEC)) >= 0, "no file in memory");
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		/* A fixed environment, as a settings file may name environment variables. */
		clearenv();
		setenv("HOME", "/root", 1);
	}
	FUZZ_CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len, "cannot write");
}

static void
check_refusal(const struct config *c, const char *why)
{
	static const struct config zero;
	size_t len = strlen(why);

	FUZZ_CHECK(memcmp(c, &zero, sizeof(zero)) == 0, "refused, but something is left: %s", why);
	FUZZ_CHECK(strncmp(why, path, strlen(path)) == 0 && why[strlen(path)] == ':', "no file is named: %s", why);
	FUZZ_CHECK(len > strlen(path) + 3 && strpbrk(why, "\r\n") == NULL, "not one line: %s", why);
}

static void
check_listener(const struct config_listener *l)
{
	bool tls = strncmp(l->url, "tls+tcp://", 10) == 0, tcp = strncmp(l->url, "tcp://", 6) == 0;

	FUZZ_CHECK(tls || tcp || strncmp(l->url, "ipc://", 6) == 0, "a URL of no transport: %s", l->url);
	FUZZ_CHECK(l->role == ROLE_VERIFY || l->role == ROLE_ADMIN, "no role");
	FUZZ_CHECK(!(l->role == ROLE_ADMIN && tcp) || l->exposed, "admin over plain TCP is not called exposed");
	FUZZ_CHECK(!l->exposed || l->insecure, "exposed over plain TCP without insecure = true");
	FUZZ_CHECK(!(l->role == ROLE_ADMIN && tls) || (l->tls_cert != NULL && l->tls_key != NULL && l->tls_ca != NULL),
	    "admin over TLS without all three files");
	FUZZ_CHECK(tls || tcp || (l->mode & ~(mode_t)0777) == 0, "mode %o", l->mode);
	FUZZ_CHECK(
	    tls || tcp || l->role != ROLE_ADMIN || (l->mode & 07) == 0, "an admin socket that every user may open");
}

static void
check_names(char *const *names, size_t n)
{
	FUZZ_CHECK(n <= LIMIT_OPERATIONS, "%zu operations", n);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(strlen(names[i]) >= 1 && strlen(names[i]) <= LIMIT_OPERATION, "operation %s", names[i]);
}

static void
check_accepted(const struct config *c)
{
	const struct config_environment *e = c->environments;

	FUZZ_CHECK(c->n_listeners >= 1 && c->n_listeners <= LIMIT_LISTENERS, "%zu listeners", c->n_listeners);
	for (size_t i = 0; i < c->n_listeners; i++) {
		check_listener(&c->listeners[i]);
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(strcmp(c->listeners[i].url, c->listeners[k].url) != 0, "two listeners on one URL");
	}
	FUZZ_CHECK(e[0].configured || e[1].configured, "no environment");
	for (int i = 0; i < ENVIRONMENTS; i++)
		FUZZ_CHECK(!e[i].configured ||
			(e[i].path[0] != '\0' && e[i].pepper[0] != '\0' && e[i].ceiling_bytes >= 4U << 20 &&
			    e[i].ceiling_bytes <= 1ULL << 40 && e[i].events_kept >= 1000),
		    "an environment that is none");
	if (e[0].configured && e[1].configured)
		FUZZ_CHECK(strcmp(e[0].path, e[1].path) != 0 && strcmp(e[0].pepper, e[1].pepper) != 0,
		    "the environments share something");
	check_names(c->publishable_operations, c->n_publishable_operations);
	check_names(c->roll_operations, c->n_roll_operations);
	FUZZ_CHECK(c->timeout_ms >= 1 && c->timeout_ms <= LIMIT_TIMEOUT_MS, "timeout %u", c->timeout_ms);
	FUZZ_CHECK(c->connections >= 1 && c->in_flight >= 1 && c->drain_ms <= LIMIT_TIMEOUT_MS, "numbers");
	FUZZ_CHECK(c->user == NULL || c->user[0] != '\0', "an empty user");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config;
	char why[512] = "";
	bool failed;
	int rc;

	if (size < 1)
		return 0;
	put_text(data + 1, size - 1);
	fault_arm(data[0]);
	rc = config_load(path, &config, why, sizeof(why));
	failed = fault_disarm();
	FUZZ_CHECK(rc == 0 || rc == -1, "config_load returns %d", rc);
	if (rc != 0) {
		check_refusal(&config, why);
	} else {
		FUZZ_CHECK(!failed, "accepted, though an allocation failed");
		check_accepted(&config);
		config_fini(&config);
	}
	return 0;
}

/* ---- mutations: of words, and of "name = value" ---- */

#define WORDS_MAX 512

static size_t
find_words(const uint8_t *text, size_t len, size_t at[WORDS_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < WORDS_MAX; i++)
		if (text[i] > ' ' && (i == 0 || text[i - 1] <= ' '))
			at[n++] = i;
	at[n] = len;
	return n;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	struct fuzz_random r = { seed };
	size_t at[WORDS_MAX + 1], n, from, to, len;
	uint8_t *copy;

	if (size > 1 && fuzz_below(&r, 10) == 0)
		data[0] = (uint8_t)(fuzz_below(&r, 2) * fuzz_below(&r, 40));
	if (size < 2 || size > max || fuzz_below(&r, 2) == 0 || (n = find_words(data + 1, size - 1, at)) == 0)
		return LLVMFuzzerMutate(data, size, max);
	from = fuzz_below(&r, (uint32_t)n);
	to = from + (fuzz_below(&r, 2) == 0 ? 1 : 3);
	if (to > n)
		to = n;
	len = at[to] - at[from];
	if (fuzz_below(&r, 2) == 0) {
		memmove(data + 1 + at[from], data + 1 + at[to], size - 1 - at[to]);
		return size - len;
	}
	if (size + len > max)
		return size;
	copy = fuzz_copy(data + 1 + at[from], len);
	to = at[fuzz_below(&r, (uint32_t)n)];
	memmove(data + 1 + to + len, data + 1 + to, size - 1 - to);
	memcpy(data + 1 + to, copy, len);
	free(copy);
	return size + len;
}
