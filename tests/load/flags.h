/*
 * flags.h - what the command lines of this folder's programs have in common. All of it says what is wrong, with the
 * program's name, on standard error, and ends the process with 1.
 */
#ifndef LOAD_FLAGS_H
#define LOAD_FLAGS_H

__attribute__((noreturn, format(printf, 1, 2))) void flags_fail(const char *format, ...);

/* The value ${text} of --${name}: a number; a whole number. */
double flags_real(const char *name, const char *text, double min, double max);
unsigned flags_number(const char *name, const char *text, double min, double max);

#endif
