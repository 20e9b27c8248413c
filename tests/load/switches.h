/*
 * switches.h - how often the threads of a process were switched, as Linux counts it.
 */
#ifndef LOAD_SWITCHES_H
#define LOAD_SWITCHES_H

#include <stdint.h>
#include <sys/types.h>

/*
 * switches_of(pid, count):
 * The voluntary and involuntary context switches of all threads that process ${pid} has now. Those of threads that
 * have ended are not in it.
 * Returns: 0; -1 when the process is not there or /proc cannot be read.
 */
int switches_of(pid_t pid, uint64_t *count);

#endif
