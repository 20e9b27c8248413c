/*
 * fuzz.h - what the fuzz targets share: checks that stop the process, allocations that fail on demand, memory whose
 * ends a sanitizer watches, and mutations that keep a protobuf message well formed.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target, https://llvm.org/docs/LibFuzzer.html. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional: a target's own mutations. Returns the new size, at most ${max}. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
/* libFuzzer's mutation of bytes; replay.c has one that does nothing. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Print what is wrong and abort, also in release builds. */
#define FUZZ_CHECK(ok, ...) ((ok) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A copy of exactly ${len} bytes, so that a sanitizer notices a read behind its end. Free it with free(). */
uint8_t *fuzz_copy(const void *bytes, size_t len);

/* ---- allocations that fail ---- */

/*
 * fault_arm(nth):
 * The ${nth} allocation from now on fails, on any thread, among those of Fob's own code: malloc and the like,
 * scratch_alloc(), and protobuf-c's allocations in scratch memory or in libfob's arena. 0: none fails.
 */
void fault_arm(unsigned nth);
/* From now on no allocation fails. Returns whether one has failed. */
bool fault_disarm(void);

/* ---- protobuf ---- */

/* Random choices from one seed. */
struct fuzz_random {
	uint64_t state;
};
uint32_t fuzz_below(struct fuzz_random *r, uint32_t n);

/*
 * Change a field of a message, at any depth, and correct the lengths around it. Returns the new length, at most ${max}.
 */
size_t wire_mutate(uint8_t *message, size_t len, size_t max, struct fuzz_random *r);

#endif
