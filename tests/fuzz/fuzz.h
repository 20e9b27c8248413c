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
/* Optional: how inputs are changed. Returns the new size, at most ${max}. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
/* libFuzzer's own way to change bytes; replay.c has one that does nothing. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Say what is wrong and abort, in release builds too. */
#define FUZZ_CHECK(ok, ...) ((ok) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A copy of exactly ${len} bytes, so that a look behind its end is seen. To be freed with free(). */
uint8_t *fuzz_copy(const void *bytes, size_t len);

/* ---- allocations that fail ---- */

/*
 * fault_arm(nth):
 * The ${nth} allocation of our own objects from here on fails, on whichever thread: malloc and its kin,
 * scratch_alloc(), and what protobuf-c asks for in scratch memory or in libfob's arena. 0: none fails.
 */
void fault_arm(unsigned nth);
/* No more. Returns true when one has failed. */
bool fault_disarm(void);

struct scratch;
/* Have protobuf-c's allocations in ${scratch} fail too, and watch their ends: once, after call_init(). */

/* ---- protobuf ---- */

/* A few random choices that follow from one seed. */
struct fuzz_random {
	uint64_t state;
};
uint32_t fuzz_below(struct fuzz_random *r, uint32_t n);

/*
 * Change a message as its wire format has it, at any depth, lengths included. Returns the new length, at most ${max}.
 */
size_t wire_mutate(uint8_t *message, size_t len, size_t max, struct fuzz_random *r);

#endif
