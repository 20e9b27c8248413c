/*
 * settings_internal.h - what settings.c and settings_operator.c share.
 */
#ifndef HTTP_SETTINGS_INTERNAL_H
#define HTTP_SETTINGS_INTERNAL_H

#include "client/daemon/loader.h"
#include "client/http/settings.h"

/* Copy the setting ${name}, which is a header's name. Returns 0; -1 after loader_refuse(). */
int loader_header_name(struct loader *l, cfg_t *cfg, const char *name, char **out);

/*
 * settings_load_operator(l, cfg, out):
 * Check and copy the settings that only the role operator has, and refuse those that it has not; in the role auth the
 * other way round. ${out} has its role and the listen addresses.
 * Returns: 0; -1 after loader_refuse().
 */
int settings_load_operator(struct loader *l, cfg_t *cfg, struct settings *out);

#endif
