/*
 * clock.h - the effective time, which decides whether a key has ended. It never runs backwards: within the
 * process it follows CLOCK_BOOTTIME between readings of the wall clock, and it is never behind the newest
 * time that its environment has committed. Each environment has its own clock, so that a wrong time in one
 * database cannot end a key in the other.
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

/* With the system's clocks. */
void clock_init(struct clock *clock);
/* With other clocks, for tests. */
void clock_init_with(struct clock *clock, int64_t (*wall_ns)(void *), int64_t (*boot_ns)(void *), void *arg);

/*
 * clock_now_ms(clock):
 * The effective time in milliseconds since the Unix epoch, rounded down. `now < deadline` is exact.
 * Threads: any.
 */
int64_t clock_now_ms(struct clock *clock);

/* From now on the time is not before ${floor_ms}, a time that was committed. */
void clock_not_before(struct clock *clock, int64_t floor_ms);

/* CLOCK_BOOTTIME: for timeouts and durations, which a change of the wall clock must not affect. */
int64_t clock_boot_ms(void);
int64_t clock_boot_ns(void);

/* The wall clock in milliseconds, for commands that do not serve and so have no effective time. */
int64_t clock_wall_ms(void);

#endif
