/*
 * request.c - replies that every handler gives (see request.h). Nothing here knows a socket.
 */
#include "client/http/request.h"

#include <stdio.h>
#include <string.h>

#include "client/fob.h"

void
http_reply(struct http_request *request, const struct http_reply *reply)
{
	request->reply(request, reply);
}

bool
http_account_ok(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);

	return len > 0 && len < FOB_ACCOUNT_SIZE && strspn(text, letters) == len;
}

/* Copy ${text} as the inside of a JSON string that needs no escapes. */
static void
copy_plain(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < size; text++) {
		unsigned char c = (unsigned char)*text;

		out[n++] = c == '"' ? '\'' : c == '\\' ? '/' : c < 0x20 || c >= 0x7f ? '?' : *text;
	}
	out[n] = '\0';
}

size_t
http_error_body(const char *code, const char *message, char out[HTTP_ERROR_SIZE])
{
	char plain_code[40], plain[256];

	copy_plain(code, plain_code, sizeof(plain_code));
	copy_plain(message, plain, sizeof(plain));
	return (size_t)snprintf(
	    out, HTTP_ERROR_SIZE, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", plain_code, plain);
}

void
http_reply_error(struct http_request *request, int status, const char *code, const char *message)
{
	char body[HTTP_ERROR_SIZE];
	struct http_reply reply = { .status = status, .type = "application/json", .body = body };

	reply.body_len = http_error_body(code, message, body);
	http_reply(request, &reply);
}
