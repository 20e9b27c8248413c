/*
 * commands.h - what commands and options `fob` has. The arguments, the list of commands and the completion are made
 * from these tables.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cli/cli.h"

struct command {
	const char *name; /* "key roll": what must be typed, and what its help is found by */
	int (*run)(struct cli *cli);
	uint64_t options; /* its own, CLI_BIT each */
	size_t args_min, args_max;
	const char *args; /* for the list of commands and the completion: "ENV FOLDER", "[FILE]" */
	const char *summary;
	const char *help;
};

struct command_option {
	const char *name;  /* without its dashes */
	const char *value; /* NULL: it takes none; "live|test": it is one of these; "FILE"; otherwise anything */
	const char *summary;
};

extern const struct command commands[];
extern const size_t commands_n;
extern const struct command_option command_option_table[OPT_COUNT];

/* True for a command that takes fobd's settings, and so asks no fobd; `fob backup` does one or the other. */
bool command_is_offline(const struct command *command);

/* All options that ${command} takes, CLI_BIT each. */
uint64_t command_options(const struct command *command);

/* The option of that name, without its dashes; -1 if there is none. */
int command_option(const char *name, size_t len);

/* The command that the ${n} words start with, and how many of them are its name; NULL if none. */
const struct command *command_find(const char *const *word, size_t n, size_t *used);

/* The second word of ${command}, if its first is ${noun}; NULL if not, or if its name is one word. */
const char *command_verb(const struct command *command, const char *noun);

/* True for the first word of commands of two words. */
bool command_is_noun(const char *word);

#endif
