/*
 * switches.c - reads /proc/PID/task/TID/status (see switches.h and proc(5)).
 */
#include "tests/load/switches.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Add what one status file says. A thread may end while it is read: then nothing is added. */
static void
add_thread(int pid, const char *tid, uint64_t *count, unsigned *lines)
{
	char path[300], line[256];
	uint64_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, tid);
	if ((f = fopen(path, "re")) == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &n) == 1) {
			*count += n;
			(*lines)++;
		}
	}
	fclose(f);
}

int
switches_of(pid_t pid, uint64_t *count)
{
	const struct dirent *entry;
	unsigned lines = 0;
	char path[64];
	DIR *tasks;

	*count = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((tasks = opendir(path)) == NULL)
		return -1;
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.')
			add_thread((int)pid, entry->d_name, count, &lines);
	}
	closedir(tasks);
	return lines > 0 ? 0 : -1;
}
