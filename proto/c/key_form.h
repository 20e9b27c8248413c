/*
 * key_form.h - text that may hold a key: an argument, an account's id, a line of a file. What is logged, stored or shown
 * in the clear must not.
 */
#ifndef KEY_FORM_H
#define KEY_FORM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * key_form_in(text, len):
 * Whether a key's prefix is anywhere in ${text}, followed by 12 or more letters and digits that are not all small
 * letters; or the same in base64, as a Basic header has it. So a key that is mistyped or cut off is found, and names
 * such as sk_live_acct_1.txt, disk_live_01 and sk_live_production are not.
 */
bool key_form_in(const void *text, size_t len);

#endif
