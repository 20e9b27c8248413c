/*
 * orphans.c - which sockets stay open that their peers have left (see orphans.h). Called by listen_guard.c; calls
 * descriptors.c. Never reads from a socket, nor closes one.
 */
#include "service/net/orphans.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

#include "service/net/descriptors.h"

#define STEP 256

struct look {
	const struct orphans *former;
	struct orphan *seen;
	size_t n, room;
};

static int
by_cookie(const void *a, const void *b)
{
	const struct orphan *x = a, *y = b;

	return (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

static unsigned
former_looks(const struct orphans *former, uint64_t cookie)
{
	const struct orphan wanted = { .cookie = cookie }, *found;

	found = former->n > 0 ? bsearch(&wanted, former->seen, former->n, sizeof(wanted), by_cookie) : NULL;
	return found != NULL ? found->looks : 0;
}

static bool
make_room(struct look *look)
{
	struct orphan *more;

	if (look->n < look->room)
		return true;
	if ((more = realloc(look->seen, (look->room + STEP) * sizeof(*more))) == NULL)
		return false;
	look->seen = more;
	look->room += STEP;
	return true;
}

static void
visit(void *arg, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLRDHUP };
	struct look *look = arg;
	uint64_t cookie;

	if (descriptors_cookie(fd, &cookie) && poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLRDHUP | POLLHUP)) != 0 &&
	    make_room(look))
		look->seen[look->n++] =
		    (struct orphan){ .cookie = cookie, .looks = former_looks(look->former, cookie) + 1 };
}

void
orphans_look(struct orphans *orphans, unsigned *open)
{
	struct look look = { .former = orphans };

	*open = descriptors_each(visit, &look);
	free(orphans->seen);
	orphans->seen = look.seen;
	orphans->n = look.n;
	if (look.n > 0)
		qsort(look.seen, look.n, sizeof(look.seen[0]), by_cookie);
}

unsigned
orphans_since(const struct orphans *orphans, unsigned looks)
{
	unsigned n = 0;

	for (size_t i = 0; i < orphans->n; i++)
		n += orphans->seen[i].looks >= looks;
	return n;
}

void
orphans_fini(struct orphans *orphans)
{
	free(orphans->seen);
	*orphans = (struct orphans){ 0 };
}
