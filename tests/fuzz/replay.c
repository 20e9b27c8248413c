/*
 * replay.c - main() of a fuzz target without libFuzzer: passes each file of the named folders to the target once.
 * tests/fuzz/run reads its last line.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (4U << 20)

size_t
LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
{
	(void)data;
	(void)max;
	return size;
}

static void
feed(const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	uint8_t *copy;
	size_t len;

	FUZZ_CHECK(f != NULL, "%s: %s", path, strerror(errno));
	len = fread(bytes, 1, sizeof(bytes), f);
	FUZZ_CHECK(!ferror(f) && feof(f), "%s cannot be read, or is too long", path);
	fclose(f);
	/* Printed before the call, so that a crash can be attributed. */
	fprintf(stderr, "Running: %s\n", path);
	copy = fuzz_copy(bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static unsigned
feed_folder(const char *folder)
{
	struct dirent **names;
	char path[4096];
	unsigned fed = 0;
	int n = scandir(folder, &names, NULL, alphasort);

	FUZZ_CHECK(n >= 0, "%s: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
			feed(path);
			fed++;
		}
		free(names[i]);
	}
	free(names);
	return fed;
}

int
main(int argc, char **argv)
{
	unsigned fed = 0;

	for (int i = 1; i < argc; i++)
		fed += feed_folder(argv[i]);
	fprintf(stderr, "Done %u runs\n", fed);
	return fed > 0 ? 0 : 1;
}
