/*
 * grpc.c - gRPC's frames and status (see grpc.h). Bytes in, bytes out.
 */
#include "client/cluster/grpc.h"

#include <string.h>
#include <strings.h>

static uint32_t
get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
grpc_prefix(uint32_t len, uint8_t out[GRPC_PREFIX])
{
	out[0] = 0;
	for (int i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

/* ---- status ---- */

void
grpc_status_init(struct grpc_status *s)
{
	s->code = GRPC_NONE;
	s->reason[0] = '\0';
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-encoded. It goes to a log and to fobd, so what is not printable becomes a question mark. */
static void
copy_reason(char *to, const char *from, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < GRPC_REASON_MAX; i++) {
		int c = (unsigned char)from[i];

		if (c == '%' && i + 2 < len && hex(from[i + 1]) >= 0 && hex(from[i + 2]) >= 0) {
			c = hex(from[i + 1]) * 16 + hex(from[i + 2]);
			i += 2;
		}
		to[n++] = c >= ' ' && c < 0x7f ? (char)c : '?';
	}
	to[n] = '\0';
}

/* Returns: the value's place, when the line has that name; else NULL. */
static const char *
value_of(const char *line, size_t *len, const char *name)
{
	size_t n = strlen(name);

	if (*len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return NULL;
	line += n + 1;
	*len -= n + 1;
	while (*len > 0 && *line == ' ') {
		line++;
		--*len;
	}
	while (*len > 0 && (line[*len - 1] == '\r' || line[*len - 1] == '\n' || line[*len - 1] == ' '))
		--*len;
	return line;
}

void
grpc_status_header(struct grpc_status *s, const char *line, size_t len)
{
	size_t n = len;
	const char *value = value_of(line, &n, "grpc-status");
	int code = 0;

	if (value != NULL) {
		for (size_t i = 0; i < n; i++) {
			if (value[i] < '0' || value[i] > '9' || code > 1000)
				return;
			code = code * 10 + value[i] - '0';
		}
		if (n > 0)
			s->code = code;
		return;
	}
	n = len;
	if ((value = value_of(line, &n, "grpc-message")) != NULL)
		copy_reason(s->reason, value, n);
}

/* ---- frames ---- */

enum grpc_result
grpc_message(const uint8_t *bytes, size_t len, const uint8_t **body, size_t *body_len)
{
	uint32_t n;

	if (len > 0 && bytes[0] != 0)
		return GRPC_BROKEN;
	if (len < GRPC_PREFIX)
		return GRPC_MORE;
	n = get_be32(bytes + 1);
	if (n > GRPC_MESSAGE_MAX)
		return GRPC_BROKEN;
	if (len - GRPC_PREFIX < n)
		return GRPC_MORE;
	*body = bytes + GRPC_PREFIX;
	*body_len = n;
	return GRPC_MESSAGE;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

int
grpc_stream_add(struct grpc_stream *s, const uint8_t *bytes, size_t len, grpc_on_message *on_message, void *arg)
{
	size_t n;

	while (len > 0) {
		if (s->have < GRPC_PREFIX) {
			s->prefix[s->have++] = *bytes++;
			len--;
			if (s->have < GRPC_PREFIX)
				continue;
			if (s->prefix[0] != 0)
				return -1;
			s->len = get_be32(s->prefix + 1);
			s->got = 0;
		}
		n = smaller(len, s->len - s->got);
		if (s->got < GRPC_HEAD_MAX)
			memcpy(s->head + s->got, bytes, smaller(n, GRPC_HEAD_MAX - s->got));
		s->got += (uint32_t)n;
		bytes += n;
		len -= n;
		if (s->got == s->len) {
			s->have = 0;
			on_message(arg, s->head, smaller(s->len, GRPC_HEAD_MAX), s->len);
		}
	}
	return 0;
}
