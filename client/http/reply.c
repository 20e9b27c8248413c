/*
 * reply.c - the head of a reply (see reply.h). Nothing here knows a socket.
 */
#include "client/http/reply.h"

#include <stdio.h>
#include <string.h>

struct text {
	char *p;
	size_t len;
	bool bad; /* it did not fit, or a part may not stand in a head */
};

/* RFC 9110, 15, and RFC 6585 for 429: those that handlers give. A client goes by the number. */
static const char *
reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = { { 200, "OK" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 409, "Conflict" }, { 412, "Precondition Failed" },
		{ 429, "Too Many Requests" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" } };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Other";
}

static void
add(struct text *t, const char *part)
{
	size_t n = strlen(part);

	if (t->bad || n > REPLY_HEAD_MAX - t->len) {
		t->bad = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		t->bad |= (unsigned char)part[i] < 0x20 || part[i] == 0x7f;
	memcpy(t->p + t->len, part, n);
	t->len += n;
}

static void
end_line(struct text *t)
{
	if (t->bad || REPLY_HEAD_MAX - t->len < 2) {
		t->bad = true;
		return;
	}
	memcpy(t->p + t->len, "\r\n", 2);
	t->len += 2;
}

static void
add_line(struct text *t, const char *name, const char *value)
{
	add(t, name);
	add(t, ": ");
	add(t, value);
	end_line(t);
}

static void
add_status(struct text *t, int status)
{
	char number[16];

	snprintf(number, sizeof(number), "%d ", status);
	add(t, "HTTP/1.1 ");
	add(t, number);
	add(t, reason(status));
	end_line(t);
}

size_t
reply_head(const struct http_reply *reply, enum reply_connection connection, const char *date, char out[REPLY_HEAD_MAX])
{
	struct text t = { .p = out };
	char length[24];

	add_status(&t, reply->status);
	add_line(&t, "Date", date);
	snprintf(length, sizeof(length), "%zu", reply->type != NULL ? reply->body_len : 0);
	add_line(&t, "Content-Length", length);
	add_line(&t, "Cache-Control", "no-store");
	if (reply->type != NULL)
		add_line(&t, "Content-Type", reply->type);
	if (connection != REPLY_KEEP)
		add_line(&t, "Connection", connection == REPLY_CLOSE ? "close" : "keep-alive");
	for (size_t i = 0; i < reply->n_headers; i++)
		add_line(&t, reply->headers[i].name, reply->headers[i].value);
	end_line(&t);
	return t.bad ? 0 : t.len;
}
