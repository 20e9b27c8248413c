/*
 * folder.h - sync a folder. A file that was made, linked or renamed survives a power cut only when its
 * folder was synced, too.
 */
#ifndef FOLDER_H
#define FOLDER_H

/* Sync the folder at ${path}. Returns 0, or an errno value. */
int folder_sync(const char *path);
/* Sync the folder that ${path} is in. Returns 0, or an errno value. */
int folder_sync_around(const char *path);

#endif
