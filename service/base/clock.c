/*
 * clock.c - the effective time, as an offset to CLOCK_BOOTTIME that only grows (see clock.h). Takes no
 * lock, never blocks.
 */
#include "service/base/clock.h"

#include <time.h>

#define NS_PER_MS 1000000

static int64_t
read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t
system_wall_ns(void *arg)
{
	(void)arg;
	return read_ns(CLOCK_REALTIME);
}

static int64_t
system_boot_ns(void *arg)
{
	(void)arg;
	return read_ns(CLOCK_BOOTTIME);
}

void
clock_init(struct clock *clock)
{
	clock_init_with(clock, system_wall_ns, system_boot_ns, NULL);
}

void
clock_init_with(struct clock *clock, int64_t (*wall_ns)(void *), int64_t (*boot_ns)(void *), void *arg)
{
	clock->wall_ns = wall_ns;
	clock->boot_ns = boot_ns;
	clock->arg = arg;
	atomic_init(&clock->offset_ns, INT64_MIN / 2);
}

static void
raise_offset(struct clock *clock, int64_t candidate)
{
	int64_t offset = atomic_load_explicit(&clock->offset_ns, memory_order_relaxed);

	while (candidate > offset &&
	    !atomic_compare_exchange_weak_explicit(
		&clock->offset_ns, &offset, candidate, memory_order_relaxed, memory_order_relaxed))
		;
}

int64_t
clock_now_ms(struct clock *clock)
{
	/* The wall clock is read first. If the thread is delayed between the readings the offset is too small,
	 * and the next reading corrects it. In the other order it would be too large, for ever. */
	int64_t wall_ns = clock->wall_ns(clock->arg);
	int64_t boot_ns = clock->boot_ns(clock->arg);

	raise_offset(clock, wall_ns - boot_ns);
	return (boot_ns + atomic_load_explicit(&clock->offset_ns, memory_order_relaxed)) / NS_PER_MS;
}

void
clock_not_before(struct clock *clock, int64_t floor_ms)
{
	/* An absurd floor (after the year 2116) must not overflow into the past. */
	if (floor_ms > INT64_MAX / NS_PER_MS / 2)
		floor_ms = INT64_MAX / NS_PER_MS / 2;
	raise_offset(clock, floor_ms * NS_PER_MS - clock->boot_ns(clock->arg));
}

int64_t
clock_boot_ms(void)
{
	return read_ns(CLOCK_BOOTTIME) / NS_PER_MS;
}

int64_t
clock_boot_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

int64_t
clock_wall_ms(void)
{
	return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}
