/*
 * backup.c - copy a database while a fobd serves it (see backup.h). Never leaves a copy that fobd would serve:
 * the folder and the file in it have temporary names until the copy is marked as one.
 */
#include "service/offline/backup.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "proto/c/new_folder.h"
#include "service/base/names.h"
#include "service/store/copy.h"

static int
copy(const struct new_folder *folder, const struct store_options *options, struct record_copy *copied, char *why,
    size_t why_len)
{
	struct store *store;
	int fault;

	if (store_open(options, &store, why, why_len) != 0)
		return -1;
	fault = store_copy(store, options, folder->unfinished, NULL, copied, why, why_len);
	store_close(store);
	return fault == 0 ? 0 : -1;
}

static void
tell(const char *dest, const struct store_options *options, const struct record_copy *copied, FILE *out)
{
	char name[PATH_MAX + 16];
	struct stat st = { 0 };

	snprintf(name, sizeof(name), "%s/data.mdb", dest);
	(void)stat(name, &st);
	fprintf(out,
	    "%s: copied to %s: revision %" PRIu64 ", events to %" PRIu64
	    ", %lld bytes. The copy opens only with the pepper (%s), which is not in it: keep a copy of the pepper "
	    "elsewhere\n",
	    environment_name(options->environment), dest, copied->revision, copied->event_sequence,
	    (long long)st.st_size, options->pepper);
}

int
backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len)
{
	struct new_folder folder;
	struct record_copy copied;

	if (new_folder_make(&folder, dest, why, why_len) != 0)
		return -1;
	if (copy(&folder, options, &copied, why, why_len) != 0 || new_folder_publish(&folder, why, why_len) != 0) {
		new_folder_remove(&folder);
		return -1;
	}
	tell(folder.dest, options, &copied, out);
	return 0;
}
