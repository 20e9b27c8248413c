/*
 * config_value.c - one value of the settings file, checked and copied (see config_internal.h).
 */
#include "service/base/config_internal.h"

#include <stdio.h>
#include <string.h>

char *
config_string(cfg_t *section, const char *name)
{
	return cfg_size(section, name) > 0 ? cfg_getstr(section, name) : NULL;
}

int
config_copy(struct config_loader *l, const char *text, char **out)
{
	*out = strdup(text);
	return *out == NULL ? config_refuse(l, 0, "out of memory") : 0;
}

int
config_check_number(struct config_loader *l, cfg_t *section, const char *name, long min, long max)
{
	long value = cfg_getint(section, name);

	if (value < min || value > max)
		return config_refuse(l, config_line(l, section, name), "%s = %ld is out of range; give %ld to %ld",
		    name, value, min, max);
	return 0;
}

int
config_resolve(struct config_loader *l, const char *prefix, const char *path, char **out)
{
	const char *slash = strrchr(l->path, '/');
	int folder = path[0] == '/' || slash == NULL ? 0 : (int)(slash - l->path + 1);

	if (asprintf(out, "%s%.*s%s", prefix, folder, l->path, path) >= 0)
		return 0;
	*out = NULL;
	return config_refuse(l, 0, "out of memory");
}

int
config_load_file(struct config_loader *l, cfg_t *section, const char *name, const char *required, char **out)
{
	const char *text = config_string(section, name);
	int line = config_line(l, section, name);

	if (text == NULL)
		return config_refuse(l, config_section_line(l, section), "%s needs %s = \"PATH\"", required, name);
	if (text[0] == '\0')
		return config_refuse(l, line, "%s is empty; name a path", name);
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return config_refuse(l, line, "%s holds a control character", name);
	return config_resolve(l, "", text, out);
}
