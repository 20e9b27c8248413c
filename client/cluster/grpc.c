/*
 * grpc.c - gRPC's framing and statuses (see grpc.h).
 */
#include "client/cluster/grpc.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>


#define MESSAGE_MAX (8U << 20)

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum { INVALID_ARGUMENT = 3, PERMISSION_DENIED = 7, RESOURCE_EXHAUSTED = 8, FAILED_PRECONDITION = 9, UNAUTHENTICATED = 16 };

void
grpc_header(size_t len, uint8_t header[GRPC_HEADER_LEN])
{
	header[0] = 0;
	for (int i = 0; i < 4; i++)
		header[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

int
grpc_message(const uint8_t *bytes, size_t len, const uint8_t **message, size_t *message_len)
{
	size_t size;

	if (len < GRPC_HEADER_LEN)
		return 0;
	size = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
	if (bytes[0] != 0 || size > MESSAGE_MAX)
		return -1;
	if (len - GRPC_HEADER_LEN < size)
		return 0;
	*message = bytes + GRPC_HEADER_LEN;
	*message_len = size;
	return 1;
}

/* The value of a line "name: value", if it is of this name; without the blanks around it. */
static const char *
value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t n = strlen(name);

	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return NULL;
	for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
		;
	while (len > n && (unsigned char)line[len - 1] <= ' ')
		len--;
	*value_len = len - n;
	return line + n;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded; what is not printable is a question mark. */
static void
take_message(struct grpc_status *status, const char *value, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < sizeof(status->message); i++) {
		char c = value[i];

		if (c == '%' && i + 2 < len && hex(value[i + 1]) >= 0 && hex(value[i + 2]) >= 0) {
			c = (char)(hex(value[i + 1]) << 4 | hex(value[i + 2]));
			i += 2;
		}
		status->message[n++] = c >= ' ' && c <= '~' ? c : '?';
	}
	status->message[n] = '\0';
}

void
grpc_take_header(struct grpc_status *status, const char *line, size_t len)
{
	const char *value;
	size_t n;

	if ((value = value_of(line, len, "grpc-status", &n)) != NULL)
		status->code = n > 0 && n <= 2 && value[0] >= '0' && value[0] <= '9' ? atoi(value) : 2;
	else if ((value = value_of(line, len, "grpc-message", &n)) != NULL)
		take_message(status, value, n);
}

static bool
says(const struct grpc_status *status, const char *words)
{
	return strstr(status->message, words) != NULL;
}

/* The texts are those of etcd's api/v3rpc/rpctypes/error.go. */
Fob__V1__Result__Outcome
grpc_outcome(const struct grpc_status *status, bool *another, bool *tell)
{
	*another = false;
	*tell = true;
	switch (status->code) {
	case RESOURCE_EXHAUSTED:
		if (says(status, "database space exceeded"))
			return FOB__V1__RESULT__OUTCOME__NO_SPACE;
		return FOB__V1__RESULT__OUTCOME__NOT_SENT; /* too many requests; a request that is too large */
	case INVALID_ARGUMENT:
	case PERMISSION_DENIED:
	case FAILED_PRECONDITION:
	case UNAUTHENTICATED:
		return FOB__V1__RESULT__OUTCOME__NOT_SENT;
	default:
		/* No leader, a timeout, a member that ends: it may have been done, or may yet be. */
		*another = true;
		return FOB__V1__RESULT__OUTCOME__UNKNOWN;
	}
}
