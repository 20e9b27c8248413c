/*
 * completion.c - what can come next on a command line (see completion.h), from the tables of commands.c.
 * Never asks fobd, and never prints a word that it was given.
 */
#include "client/cli/completion.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/commands.h"
#include "client/cli/out.h"

#define LINE_MAX_LEN 16384
#define WORDS_MAX 4 /* a command of two words and two arguments; what is after them cannot be completed */

/* What is before the word to be completed, and that word. */
struct line {
	const char *word[WORDS_MAX]; /* neither options nor their values */
	size_t n;
	bool help;       /* "fob help ..." */
	bool only_words; /* "--" was there */
	int option;      /* whose value the current word is; -1: none */
	const char *current;
};

/* The arguments of commands, by the names that they have in the table. Others can be anything. */
static const struct {
	const char *name, *value;
} arguments[] = {
	{ "ENV", "live|test" },
	{ "FILE", "FILE" },
	{ "FOLDER", "FILE" },
	{ "SERVICE", "fob.v1.Keys|fob.v1.Admin|live|test" },
};

/* ---- what is offered ---- */

/* ${before} is what of the current word is no part of ${word}: "--kind=", or nothing. */
static void
offer(const struct line *line, const char *before, const char *word, size_t len, const char *summary)
{
	char out[256];
	int n = snprintf(out, sizeof(out), "%s%.*s\t%s\n", before, (int)len, word, summary);
	const char *tab = strchr(out, '\t');

	if (n > 0 && (size_t)n < sizeof(out) && strlen(line->current) <= (size_t)(tab - out) &&
	    strncmp(out, line->current, strlen(line->current)) == 0)
		out_text(out);
}

/* ${value}: as in the table. */
static void
offer_value(const struct line *line, const char *before, const char *value)
{
	if (strcmp(value, "FILE") == 0) {
		out_text(":files\n");
		return;
	}
	if (strchr(value, '|') == NULL)
		return;
	while (*value != '\0') {
		size_t len = strcspn(value, "|");

		offer(line, before, value, len, "");
		value += len + (value[len] == '|');
	}
}

/* Those of ${options} from the ${first} to the one before ${end}. */
static void
offer_options(const struct line *line, uint64_t options, int first, int end)
{
	char name[64];

	for (int i = first; i < end; i++) {
		snprintf(name, sizeof(name), "--%s", command_option_table[i].name);
		if ((options & CLI_BIT(i)) != 0)
			offer(line, "", name, strlen(name), command_option_table[i].summary);
	}
}

/* The commands of two words that begin with that of ${i}: "list, roll, revoke". */
static void
second_words(size_t i, char *out, size_t size)
{
	size_t noun = strcspn(commands[i].name, " ") + 1, len = 0;

	for (; i < commands_n && len < size && strncmp(commands[i].name, commands[i - (len > 0)].name, noun) == 0; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", commands[i].name + noun);
}

/* The next word of commands that begin with ${noun}. */
static void
offer_second(const struct line *line, const char *noun)
{
	for (size_t i = 0; i < commands_n; i++) {
		const char *verb = command_verb(&commands[i], noun);

		if (verb != NULL)
			offer(line, "", verb, strlen(verb), commands[i].summary);
	}
}

static void
offer_first(const struct line *line)
{
	char seconds[128];

	for (size_t i = 0; i < commands_n; i++) {
		const char *name = commands[i].name;
		size_t len = strcspn(name, " ");

		if (name[len] == '\0') {
			offer(line, "", name, len, commands[i].summary);
		} else if (i == 0 || strncmp(commands[i - 1].name, name, len + 1) != 0) {
			/* A noun once: its commands stand together in the table. */
			second_words(i, seconds, sizeof(seconds));
			offer(line, "", name, len, seconds);
		}
	}
	if (!line->help)
		offer(line, "", "help", strlen("help"), "explain a command");
}

/* The ${i}th argument of ${command}. */
static void
offer_argument(const struct line *line, const struct command *command, size_t i)
{
	const char *name = command->args + strspn(command->args, "[ ");
	size_t len;

	for (; i > 0 && *name != '\0'; i--) {
		name += strcspn(name, "[] ");
		name += strspn(name, "[] ");
	}
	len = strcspn(name, "[] ");
	for (size_t a = 0; a < sizeof(arguments) / sizeof(arguments[0]); a++) {
		if (strlen(arguments[a].name) == len && memcmp(arguments[a].name, name, len) == 0)
			offer_value(line, "", arguments[a].value);
	}
}

/* ---- the line ---- */

static void
take_word(struct line *line, const char *word)
{
	const char *equals = strchr(word, '=');

	if (line->option >= 0) {
		line->option = -1;
	} else if (!line->only_words && strcmp(word, "--") == 0) {
		line->only_words = true;
	} else if (!line->only_words && strncmp(word, "--", 2) == 0) {
		line->option = equals != NULL ? -1 : command_option(word + 2, strlen(word + 2));
		if (line->option >= 0 && command_option_table[line->option].value == NULL)
			line->option = -1;
	} else if (!line->only_words && word[0] == '-' && word[1] != '\0') {
		return;
	} else if (line->n == 0 && !line->help && strcmp(word, "help") == 0) {
		line->help = true;
	} else if (line->n < WORDS_MAX) {
		line->word[line->n++] = word;
	}
}

static void
complete(const struct line *line)
{
	size_t used, len = strcspn(line->current, "=");
	const struct command *command = command_find(line->word, line->n, &used);
	char before[64];
	int option;

	if (line->option >= 0) {
		offer_value(line, "", command_option_table[line->option].value);
	} else if (!line->only_words && line->current[0] == '-' && line->current[len] == '=' && len > 2 && len < 60) {
		option = command_option(line->current + 2, len - 2);
		snprintf(before, sizeof(before), "%.*s=", (int)len, line->current);
		if (option >= 0 && command_option_table[option].value != NULL)
			offer_value(line, before, command_option_table[option].value);
	} else if (!line->only_words && line->current[0] == '-') {
		/* A command's own come first. */
		if (command != NULL)
			offer_options(line, command_options(command), OPT_ENVIRONMENT, OPT_COUNT);
		offer_options(line, command != NULL ? command_options(command) : UINT64_MAX, 0, OPT_ENVIRONMENT);
	} else if (command != NULL && !line->help) {
		offer_argument(line, command, line->n - used);
	} else if (line->n == 0) {
		offer_first(line);
	} else if (line->n == 1 && command == NULL) {
		offer_second(line, line->word[0]);
	}
}

int
completion(void)
{
	char text[LINE_MAX_LEN], *word = text, *end;
	struct line line = { .option = -1, .current = "" };
	size_t len = 0;
	ssize_t n;

	out_setup(false, false);
	while (len < sizeof(text) - 1 &&
	    ((n = read(STDIN_FILENO, text + len, sizeof(text) - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
		len += n > 0 ? (size_t)n : 0;
	text[len] = '\0';
	while ((end = strchr(word, '\n')) != NULL) {
		*end = '\0';
		if (end[1] == '\0')
			line.current = word;
		else
			take_word(&line, word);
		word = end + 1;
	}
	if (len > 0 && len < sizeof(text) - 1 && *word == '\0')
		complete(&line);
	fob_wipe(text, sizeof(text));
	return CLI_OK;
}
