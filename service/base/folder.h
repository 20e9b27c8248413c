/*
 * folder.h - the disk's record of a folder: a file that was made, linked or renamed is there after a power cut only
 * when the folder that has its name was synced, too.
 */
#ifndef FOLDER_H
#define FOLDER_H

/* Sync the folder at ${path}. Returns 0, or an errno value. */
int folder_sync(const char *path);
/* Sync the folder that ${path} is in. Returns 0, or an errno value. */
int folder_sync_around(const char *path);

#endif
