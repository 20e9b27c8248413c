/*
 * key_form.c - text that may hold a key (see key_form.h). Keeps nothing of it.
 */
#include "proto/c/key_form.h"

#include <string.h>

#define RUN_MIN 12 /* of a key's 36 characters */

static const char digits[] = "0123456789";
static const char small[] = "abcdefghijklmnopqrstuvwxyz";
static const char large[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* The last four are how base64 begins when the text begins with one of the first four. */
static const char *const marks[] = { "sk_live_", "pk_live_", "sk_test_", "pk_test_", "c2tfbGl2ZV", "cGtfbGl2ZV",
	"c2tfdGVzdF", "cGtfdGVzdF" };

static bool
is_in(const char *set, char c)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* Whether what is behind a mark could be the random part of a key. */
static bool
run_is_random(const char *text, size_t len)
{
	bool mixed = false;
	size_t n;

	for (n = 0; n < len && n < RUN_MIN; n++) {
		if (is_in(digits, text[n]) || is_in(large, text[n]))
			mixed = true;
		else if (!is_in(small, text[n]))
			return false;
	}
	return n == RUN_MIN && mixed;
}

bool
key_form_in(const void *text, size_t len)
{
	const char *at = text;

	for (size_t i = 0; i < len; i++) {
		for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
			size_t n = strlen(marks[m]);

			if (len - i >= n && memcmp(at + i, marks[m], n) == 0 && run_is_random(at + i + n, len - i - n))
				return true;
		}
	}
	return false;
}
