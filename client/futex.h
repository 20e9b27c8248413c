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

/* Sleep while *${word} is ${seen}, until ${at_ms} of CLOCK_MONOTONIC. May return early. */
static inline void
futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t at_ms)
{
	struct timespec at = { .tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, &at, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* The word's memory may be gone by then: the kernel looks at its address only. */
static inline void
futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
