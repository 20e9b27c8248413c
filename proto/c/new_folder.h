/*
 * new_folder.h - a folder with one file, data.mdb, that appears whole or not at all: fobd and fob make a backup in one. It
 * has a temporary name beside its own until it is published, and the file in it has one, too, so that a copy that is not
 * whole is never taken for a database.
 */
#ifndef NEW_FOLDER_H
#define NEW_FOLDER_H

#include <limits.h>
#include <stddef.h>

struct new_folder {
	char dest[PATH_MAX];       /* without slashes at its end, as shells complete it */
	char folder[PATH_MAX];     /* DEST.partial.XXXXXX, until it is published; empty: there is none */
	char unfinished[PATH_MAX]; /* in ${folder}: where the caller writes the file */
	char data[PATH_MAX];       /* in ${folder}: its name from then on */
};

/*
 * new_folder_make(f, dest, why, why_len):    make it beside ${dest}, where nothing may be. The caller writes ${f}->unfinished.
 * new_folder_publish(f, why, why_len):       give the file, which the caller has synced, and then the folder its name.
 * Return 0; -1 with one line at ${why}. Whatever they return, new_folder_remove() removes what was not published.
 */
int new_folder_make(struct new_folder *f, const char *dest, char *why, size_t why_len);
int new_folder_publish(struct new_folder *f, char *why, size_t why_len);
void new_folder_remove(struct new_folder *f);

#endif
