/*
 * fault.c - allocations that fail when a target says so, and memory whose ends a sanitizer watches (see fuzz.h).
 * The linker's --wrap (see the Makefile) calls these functions instead of malloc, scratch_alloc and the like. Fails
 * an allocation only when it is armed: libFuzzer's own allocations go through here, too.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/arena.h"
#include "service/base/sanitizer.h"
#include "service/rpc/scratch.h"
#include "tests/fuzz/fuzz.h"

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#define POISON(p, len) __asan_poison_memory_region(p, len)
#define UNPOISON(p, len) __asan_unpoison_memory_region(p, len)
#else
#define POISON(p, len) ((void)(p))
#define UNPOISON(p, len) ((void)(p))
#endif

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
int __real_scratch_init(struct scratch *scratch);
void *__real_scratch_alloc(struct scratch *scratch, size_t size);
void __real_scratch_reset(struct scratch *scratch);
void __real_arena_init(struct arena *arena, size_t budget);
void __real_arena_fini(struct arena *arena);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_scratch_init(struct scratch *scratch);
void *__wrap_scratch_alloc(struct scratch *scratch, size_t size);
void __wrap_scratch_reset(struct scratch *scratch);
void __wrap_arena_init(struct arena *arena, size_t budget);
void __wrap_arena_fini(struct arena *arena);

/* ---- checks ---- */

void
fuzz_fail(const char *file, int line, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(stderr);
	abort();
}

uint8_t *
fuzz_copy(const void *bytes, size_t len)
{
	uint8_t *copy = __real_malloc(len + (len == 0));

	FUZZ_CHECK(copy != NULL, "out of memory");
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

/* ---- allocations that fail ---- */

static _Atomic unsigned countdown; /* 0: none */
static _Atomic bool failed;

void
fault_arm(unsigned nth)
{
	failed = false;
	countdown = nth;
}

bool
fault_disarm(void)
{
	countdown = 0;
	return failed;
}

static bool
fail_now(void)
{
	unsigned n = countdown;

	while (n != 0 && !atomic_compare_exchange_weak(&countdown, &n, n - 1))
		;
	if (n == 1)
		failed = true;
	return n == 1;
}

void *
__wrap_malloc(size_t size)
{
	return fail_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fail_now() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fail_now() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strdup(const char *s)
{
	return fail_now() ? NULL : __real_strdup(s);
}

int
__wrap_asprintf(char **out, const char *format, ...)
{
	va_list ap;
	int n;

	if (fail_now())
		return -1;
	va_start(ap, format);
	n = vasprintf(out, format, ap);
	va_end(ap);
	return n;
}

/* ---- watched ends: the pieces of an arena are adjacent, and a sanitizer sees one block without this ---- */

#define GAP 16
#define GAPS_MAX 4096 /* beyond it they go unwatched */

/* A change's memory is used by the writer's thread, a question's by the asking one. */
static struct {
	pthread_mutex_t mutex;
	uint8_t *p[GAPS_MAX];
	size_t n;
} gaps = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* ${p} has room for ${size} bytes and a gap. */
static void *
watch(uint8_t *p, size_t size)
{
	pthread_mutex_lock(&gaps.mutex);
	if (p != NULL && gaps.n < GAPS_MAX) {
		POISON(p + size, GAP);
		gaps.p[gaps.n++] = p + size;
	}
	pthread_mutex_unlock(&gaps.mutex);
	return p;
}

static void
unwatch(void)
{
	pthread_mutex_lock(&gaps.mutex);
	while (gaps.n > 0) {
		gaps.n--;
		UNPOISON(gaps.p[gaps.n], GAP);
	}
	pthread_mutex_unlock(&gaps.mutex);
}

static void *
scratch_take(struct scratch *scratch, size_t size)
{
	if (fail_now()) {
		scratch->exhausted = true;
		return NULL;
	}
	if (size > SIZE_MAX - GAP)
		return __real_scratch_alloc(scratch, size);
	return watch(__real_scratch_alloc(scratch, size + GAP), size);
}

static void *
scratch_take_for_protobuf(void *data, size_t size)
{
	return scratch_take(data, size);
}

void *
__wrap_scratch_alloc(struct scratch *scratch, size_t size)
{
	return scratch_take(scratch, size);
}

void
__wrap_scratch_reset(struct scratch *scratch)
{
	unwatch();
	__real_scratch_reset(scratch);
}

int
__wrap_scratch_init(struct scratch *scratch)
{
	int rc = __real_scratch_init(scratch);

	scratch->allocator.alloc = scratch_take_for_protobuf;
	return rc;
}

/* These targets decode one reply at a time, so there is one arena. */
static void *(*arena_take)(void *data, size_t size);

static void *
arena_take_for_protobuf(void *data, size_t size)
{
	if (fail_now())
		return NULL;
	if (size > SIZE_MAX - GAP)
		return arena_take(data, size);
	return watch(arena_take(data, size + GAP), size);
}

void
__wrap_arena_init(struct arena *arena, size_t budget)
{
	__real_arena_init(arena, budget);
	arena_take = arena->allocator.alloc;
	arena->allocator.alloc = arena_take_for_protobuf;
}

void
__wrap_arena_fini(struct arena *arena)
{
	unwatch();
	__real_arena_fini(arena);
}
