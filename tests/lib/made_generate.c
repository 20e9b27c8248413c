/*
 * made_generate.c - notes each secret that a test program with the service inside makes. Linked with
 * --wrap=secret_generate, so that its tests need not know.
 */
#include "service/keys/secret.h"
#include "tests/lib/made.h"

_Static_assert(MADE_SECRET_LEN == SECRET_LEN, "one length of a secret");

/* Names that the linker gives. */
void __real_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN]);
void __wrap_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN]);

void
__wrap_secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN])
{
	__real_secret_generate(environment, kind, out);
	made_secret(out);
}
