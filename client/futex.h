/*
 * futex.h - a thread waits for a word to change, and others wake it.
 */
#ifndef CLIENT_FUTEX_H
#define CLIENT_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *${word} is ${seen}, until ${at_ms} of CLOCK_MONOTONIC, as one of ${bits}. May return early. */
static inline void
futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t at_ms, uint32_t bits)
{
	struct timespec at = { .tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, &at, NULL, bits);
}

/* Wake all who sleep there as one of ${bits}. */
static inline void
futex_wake(_Atomic uint32_t *word, uint32_t bits)
{
	syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

#endif
