/*
 * server_reply.c - replies leave (see server.h). evhttp has read the request; of the reply it learns only that it has
 * left. So a request of forward auth costs one write and no call of epoll_ctl(), where evhttp makes three.
 */
#include "client/http/server_internal.h"

#include <event2/http_struct.h>
#include <event2/util.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

#include "client/daemon/log.h"

/* At the end of this turn of the loop. */
static void
close_soon(struct connection *c)
{
	connection_enter(c, CONNECTION_LAST);
	event_active(c->listener->server->changed, EV_TIMEOUT, 0);
}

static void
on_sent(struct evhttp_request *request, void *arg)
{
	struct connection *c = arg;

	if (!c->close) {
		connection_enter(c, CONNECTION_IDLE);
		return;
	}
	/* evhttp looks for this after us, and closes; but never after CONNECT. */
	evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
	close_soon(c);
}

/* The same for a whole second. */
static const char *
date_now(struct server *server)
{
	time_t now = time(NULL);
	struct tm utc;

	if (now != server->date_s && gmtime_r(&now, &utc) != NULL) {
		evutil_date_rfc1123(server->date, sizeof(server->date), &utc);
		server->date_s = now;
	}
	return server->date;
}

/* Does the request ask that the connection stays, or ends, and does HTTP/1.0 take that for granted? */
static enum reply_connection
connection_of(struct evhttp_request *request, bool close)
{
	const char *asked = evhttp_find_header(evhttp_request_get_input_headers(request), "Connection");
	bool old = request->major == 1 && request->minor == 0;

	if (close || (asked != NULL && evutil_ascii_strcasecmp(asked, "close") == 0))
		return REPLY_CLOSE;
	if (!old)
		return REPLY_KEEP;
	return asked != NULL && evutil_ascii_strncasecmp(asked, "keep-alive", 10) == 0 ? REPLY_KEEP_OLD : REPLY_CLOSE;
}

static bool
add_reply(struct evbuffer *out, struct exchange *x, const struct http_reply *reply)
{
	struct connection *c = x->connection;
	char head[REPLY_HEAD_MAX];
	size_t n = reply_head(reply, connection_of(x->evhttp, c->close), date_now(c->listener->server), head);
	bool ok;

	if (n == 0) {
		log_line(LOG_ERROR, "a reply has a header that cannot be sent", NULL);
		return false;
	}
	ok = evbuffer_add(out, head, n) == 0;
	/* It may hold a session's cookie. */
	sodium_memzero(head, n);
	if (reply->type != NULL && evhttp_request_get_command(x->evhttp) != EVHTTP_REQ_HEAD)
		ok = ok && evbuffer_add(out, reply->body, reply->body_len) == 0;
	return ok;
}

/*
 * Most often the socket takes all of it. A rest, or an error, is the bufferevent's, whose reading stays off until the
 * reply has left.
 */
static void
write_now(struct bufferevent *bev)
{
	struct evbuffer *out = bufferevent_get_output(bev);

	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(bev));
	evbuffer_freeze(out, 1);
	if (evbuffer_get_length(out) == 0)
		bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
	else
		bufferevent_enable(bev, EV_WRITE);
}

static void
send_on(struct connection *c, struct exchange *x, const struct http_reply *reply)
{
	c->exchange = NULL;
	c->close = x->close || reply->close || c->listener->server->stopping;
	if (!add_reply(bufferevent_get_output(c->bev), x, reply)) {
		close_soon(c);
		return;
	}
	connection_enter(c, CONNECTION_WRITING);
	evhttp_request_set_on_complete_cb(x->evhttp, on_sent, c);
	/* Set by a chunked body, which was refused: evhttp would end the reply as one. */
	x->evhttp->chunked = 0;
	/* As there are bytes to be written, evhttp waits until they have been, and does no more. */
	evhttp_send_reply_end(x->evhttp);
	write_now(c->bev);
}

void
server_send(struct http_request *request, const struct http_reply *reply)
{
	struct exchange *x = (struct exchange *)request;

	if (x->connection != NULL)
		send_on(x->connection, x, reply);
	free(x);
}
