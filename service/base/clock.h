/*
 * clock.h - the time that keys end by. It never runs backwards: within the process it follows CLOCK_BOOTTIME between
 * readings of the wall clock, and it is never behind the newest time that its environment has committed. Each
 * environment has its own, so that a wrong time in one database cannot end a key in the other.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct clock {
	int64_t (*wall_ns)(void *arg);
	int64_t (*boot_ns)(void *arg);
	void *arg;
	_Atomic int64_t offset_ns; /* effective time minus CLOCK_BOOTTIME; it only grows */
};

/* The system's clocks. */
void clock_init(struct clock *clock);
/* Others, for tests. */
void clock_init_with(struct clock *clock, int64_t (*wall_ns)(void *), int64_t (*boot_ns)(void *), void *arg);

/*
 * clock_now_ms(clock):
 * The effective time, in milliseconds since the Unix epoch, rounded down: `now < deadline` is exact.
 * Threads: any.
 */
int64_t clock_now_ms(struct clock *clock);

/* From now on, never earlier than ${floor_ms}, a time that has been committed. */
void clock_not_before(struct clock *clock, int64_t floor_ms);

/* CLOCK_BOOTTIME in milliseconds: for timeouts, which no wall clock may touch. */
int64_t clock_boot_ms(void);

#endif
