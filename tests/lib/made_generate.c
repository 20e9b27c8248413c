/*
 * made_generate.c - record each secret that the service makes inside a test program. Linked with
 * --wrap=secret_generate, so that the tests need no change.
 */
#include "service/keys/secret.h"
#include "tests/lib/made.h"

_Static_assert(MADE_SECRET_LEN == SECRET_LEN, "both lengths are a secret's");

/* The linker's names for the wrapped function and the wrapper. */
void __real_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN]);
void __wrap_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN]);

void
__wrap_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN])
{
	__real_secret_generate(environment, kind, out);
	made_secret(out);
}
