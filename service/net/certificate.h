/*
 * certificate.h - whether a certificate and a private key belong together, which nng does not ask: with a key that is
 * another's it listens, and every handshake fails. certificate.c is the only file that knows mbedTLS.
 */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

/*
 * certificate_check(cert, key, warning):
 * Parse ${cert}, whose first certificate is the server's, and ${key}, both PEM and NUL-terminated, and have the key
 * sign what the certificate then verifies. *${warning} is NULL, or what clients will not like about the certificate's
 * dates.
 * Ownership: all borrowed, or static. What was parsed of the key is wiped.
 * Threads:   any.
 * Returns:   NULL; or what is wrong, for people, beginning with the setting's name.
 */
const char *certificate_check(const char *cert, const char *key, const char **warning);

#endif
