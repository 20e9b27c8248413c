#ifndef NNG_QUIRKS_H
#define NNG_QUIRKS_H

/*
 * nng_quirks: two faults of libnng 1, corrected from inside the daemon.
 *
 * Linking nng_quirks.c into an executable replaces, for the whole process, the
 * functions sendmsg, nng_stream_send and nng_stream_recv, which libnng then
 * calls instead of libc's and its own.  That is a liberty only an executable
 * may take: never link this file into a library.
 *
 * Which of the two is compiled in depends on nng's headers:
 *
 *     headers          sendmsg      nng_stream_send, nng_stream_recv
 *     before 1.6       replaced     replaced
 *     1.6 to 1.x       -            replaced
 *     2.0 and later    -            -
 *
 * What was compiled in and is not needed by the library found at run time
 * passes every call through unchanged.
 */

#include <stdbool.h>
#include <stdint.h>

struct nng_quirks_stats {
	uint64_t epipe;        /* EPIPE reported as ECONNRESET */
	uint64_t refused_send; /* sends that nng dropped in silence, finished */
	uint64_t refused_recv; /* the same for receives */
};

/*
 * nng_quirks_check(why):
 * Find out whether the running libnng needs the corrections, and if it does,
 * prove that they are in effect: by where the dynamic linker resolves the
 * names, and by provoking each fault once through libnng.  Starts nng's
 * threads and needs AF_UNIX.  Takes 1 to 5 milliseconds, at most 2 s a step.
 * Ownership: *${why} becomes a static text, for the log; ${why} may be NULL.
 * Threads:   call once, from main, before the first listener starts and after
 *            the last fork.
 * Returns:   0 in effect, or not needed; -ENOSYS the library needs corrections
 *            that this executable was built without; -EXDEV compiled in, but
 *            libnng does not call them; -EPROTO libnng calls them and the fault
 *            shows all the same; -EIO the probe itself could not run.  On any
 *            but 0 the daemon must not open a listener.
 */
int nng_quirks_check(const char **why);

/*
 * nng_quirks_stats(out):
 * Copy to *${out} how often each correction has acted since the process began.
 * The probe of nng_quirks_check() is not counted.
 * Threads:   any.
 */
void nng_quirks_stats(struct nng_quirks_stats *out);

/*
 * nng_quirks_needed(version, need_sendmsg, need_stream):
 * Decide from a ${version} as nng_version() gives it ("1.5.2") which of the two
 * corrections that library needs.  A version that cannot be read needs both.
 * Ownership: ${version} borrowed, may be NULL.
 * Threads:   any.
 */
void nng_quirks_needed(const char *version, bool *need_sendmsg, bool *need_stream);

#endif
