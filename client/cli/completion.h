/*
 * completion.h - what can come next on a command line of `fob`, for the completions of bash, zsh and fish.
 */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

/* Not in the help: only fob.bash, fob.zsh and fob.fish call it. */
#define COMPLETION_COMMAND "__complete"

/*
 * completion():
 * Read the words after "fob" from standard input, a line each, the one to be completed last; it may be empty. Print
 * each word that it can become, a tab and what that is; or a line ":files" when it is the name of a file. The words come
 * by standard input because there may be a key among them, which must not be in the arguments of a process. fobd is not
 * asked.
 * Returns: CLI_OK, also when there is nothing to offer.
 */
int completion(void);

#endif
