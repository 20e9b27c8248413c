/*
 * config_listen.c - the sections "listen" of the settings file, checked value by value.
 */
#include "service/base/config_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "service/base/log.h"

#define UNIX_PATH_MAX_LEN (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/* ---- the address ---- */

/* The address of a URL whose port was checked. Returns false when it is no address, but a name. */
static bool
parse_host(const char *url, struct in6_addr *v6, struct in_addr *v4, bool *is_v6)
{
	const char *host = strstr(url, "//") + 2, *colon = strrchr(host, ':');
	char text[INET6_ADDRSTRLEN];
	size_t len = (size_t)(colon - host);

	*is_v6 = host[0] == '[';
	if (*is_v6) {
		host++;
		len -= 2;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return inet_pton(*is_v6 ? AF_INET6 : AF_INET, text, *is_v6 ? (void *)v6 : (void *)v4) == 1;
}

/* A name may stand for several addresses, and for others at the next start: it would not be clear who can connect. */
static int
check_host(struct config_loader *l, int line, const char *url)
{
	struct in6_addr v6;
	struct in_addr v4;
	bool is_v6;

	if (parse_host(url, &v6, &v4, &is_v6))
		return 0;
	return config_refuse(l, line,
	    "listen \"%s\": give an address, such as 127.0.0.1 or [::1], not a name; 0.0.0.0 and [::] stand for all "
	    "addresses of this machine",
	    url);
}

/* Is this tcp:// address reached from this machine only? */
static bool
is_loopback(const char *url)
{
	struct in6_addr v6;
	struct in_addr v4;
	bool is_v6;

	if (!parse_host(url, &v6, &v4, &is_v6))
		return false;
	if (!is_v6)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET);
}

static bool
is_wildcard(const char *url)
{
	struct in6_addr v6;
	struct in_addr v4;
	bool is_v6;

	return parse_host(url, &v6, &v4, &is_v6) && (is_v6 ? IN6_IS_ADDR_UNSPECIFIED(&v6) : v4.s_addr == INADDR_ANY);
}

static int
check_port(struct config_loader *l, int line, const char *url)
{
	const char *address = strstr(url, "//") + 2, *colon = strrchr(address, ':');
	char *end;
	long port;

	if (colon == NULL || colon == address || colon[1] < '0' || colon[1] > '9')
		return config_refuse(
		    l, line, "listen \"%s\": give HOST:PORT after the //, such as 127.0.0.1:7400", url);
	if (address[0] == '[' ? colon[-1] != ']' : memchr(address, ':', (size_t)(colon - address)) != NULL)
		return config_refuse(
		    l, line, "listen \"%s\": write an IPv6 address in brackets, such as [::1]:7400", url);
	port = strtol(colon + 1, &end, 10);
	if (*end != '\0' || port < 1 || port > 65535)
		return config_refuse(l, line, "listen \"%s\": the port is out of range; give 1 to 65535", url);
	return 0;
}

static int
load_url(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	const char *url = cfg_title(section), *path;
	int line = config_section_line(l, section);

	for (const char *c = url; *c != '\0'; c++)
		if ((unsigned char)*c <= 0x20 || *c == 0x7f)
			return config_refuse(
			    l, line, "listen \"%s\": a URL may not hold a space or a control character", url);
	if ((path = config_ipc_path(url)) != NULL) {
		if (path[0] == '\0')
			return config_refuse(l, line, "listen \"%s\": name the socket's path after the //", url);
		if (config_resolve(l, "ipc://", path, &out->url) != 0)
			return -1;
		path = config_ipc_path(out->url);
		if (strlen(path) > UNIX_PATH_MAX_LEN)
			return config_refuse(l, line,
			    "%s: the path has %zu bytes, and a unix socket's may have %zu; choose a shorter path",
			    out->url, strlen(path), UNIX_PATH_MAX_LEN);
		return 0;
	}
	if (strncmp(url, "tcp://", 6) == 0 || strncmp(url, "tls+tcp://", 10) == 0) {
		if (check_port(l, line, url) != 0 || check_host(l, line, url) != 0)
			return -1;
		return config_copy(l, url, &out->url);
	}
	return config_refuse(l, line, "listen \"%s\": a URL begins with ipc://, tcp:// or tls+tcp://", url);
}

const char *
config_role_name(enum role role)
{
	static const char *const names[] = {
		[ROLE_VERIFY] = "verify", [ROLE_ADMIN] = "admin", [ROLE_CLUSTER] = "cluster", [ROLE_PEER] = "peer"
	};

	return names[role];
}

static int
check_role(struct config_loader *l, cfg_t *section, const struct config_listener *out)
{
	bool is_ipc = config_ipc_path(out->url) != NULL;

	if (out->role == ROLE_CLUSTER && !is_ipc)
		return config_refuse(l, config_section_line(l, section),
		    "role = \"cluster\" is for ipc:// only: fob-cluster runs on the same machine");
	if (out->role == ROLE_PEER && is_ipc)
		return config_refuse(l, config_section_line(l, section),
		    "role = \"peer\" is for tls+tcp:// only: it is for other machines");
	return 0;
}

static int
load_role(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	const char *role = config_string(section, "role");

	if (role == NULL)
		return config_refuse(
		    l, config_section_line(l, section), "listen needs role = \"verify\" or role = \"admin\"");
	for (enum role r = ROLE_VERIFY; r <= ROLE_PEER; r++)
		if (strcmp(role, config_role_name(r)) == 0) {
			out->role = r;
			return check_role(l, section, out);
		}
	return config_refuse(l, config_line(l, section, "role"),
	    "role = \"%s\" is unknown; give \"verify\" or \"admin\", in a cluster also \"cluster\" or \"peer\"", role);
}

static int
load_mode(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	int line = config_line(l, section, "mode");
	long mode;

	out->mode = out->role == ROLE_VERIFY ? 0660 : 0600;
	if (line == 0)
		return 0;
	if (config_ipc_path(out->url) == NULL)
		return config_refuse(l, line, "mode is for ipc:// only; remove it");
	mode = cfg_getint(section, "mode");
	if (mode < 0 || mode > 0777 || (mode & 0600) != 0600)
		return config_refuse(
		    l, line, "mode = %ld is not a mode for a socket; give an octal number such as 0660", mode);
	if (out->role != ROLE_VERIFY && (mode & 0007) != 0)
		return config_refuse(l, line, "mode = 0%03lo lets every user of this machine %s; give 0600 or 0660",
		    (unsigned long)mode, out->role == ROLE_ADMIN ? "roll keys" : "stop this node");
	out->mode = (mode_t)mode;
	return 0;
}

/* ${text}: a user name of this machine, or a number. */
static int
find_uid(struct config_loader *l, int line, const char *text, uid_t *out)
{
	const struct passwd *pw;
	char *end;
	unsigned long number;

	if (text[0] < '0' || text[0] > '9') {
		errno = 0;
		if ((pw = getpwnam(text)) == NULL)
			return config_refuse(l, line,
			    "allow_users: \"%.80s\": %s; give users of this machine, or numbers", text,
			    errno == 0 ? "there is no such user" : strerror(errno));
		*out = pw->pw_uid;
		return 0;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	/* To the kernel the highest number means "no user". */
	if (*end != '\0' || errno != 0 || number >= UINT32_MAX)
		return config_refuse(
		    l, line, "allow_users: \"%.80s\" is not a user number; give 0 to 4294967294", text);
	*out = (uid_t)number;
	return 0;
}

/*
 * The setting is words in one string, not a list: libconfuse does not tell an empty list from an absent
 * one, and an absent one allows every user.
 */
static int
load_allow_users(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	const char *text = config_string(section, "allow_users");
	int line = config_line(l, section, "allow_users");
	char name[64];

	if (text == NULL)
		return 0;
	if (config_ipc_path(out->url) == NULL)
		return config_refuse(
		    l, line, "allow_users is for ipc:// only: over TCP the peer's user is not known; remove it");
	while (text += strspn(text, " "), *text != '\0') {
		int len = (int)strcspn(text, " ");

		if (out->n_allow_uids == LIMIT_ALLOW_USERS)
			return config_refuse(
			    l, line, "allow_users has more than %d names; remove some", LIMIT_ALLOW_USERS);
		if (len >= (int)sizeof(name))
			return config_refuse(
			    l, line, "allow_users: \"%.*s\" is not a user name; put spaces between names", len, text);
		snprintf(name, sizeof(name), "%.*s", len, text);
		if (find_uid(l, line, name, &out->allow_uids[out->n_allow_uids]) != 0)
			return -1;
		out->n_allow_uids++;
		text += len;
	}
	if (out->n_allow_uids == 0)
		return config_refuse(
		    l, line, "allow_users is empty and would refuse every user; name one, or remove it");
	return 0;
}

static int
load_tls(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	static const char *const names[] = { "tls_cert", "tls_key", "tls_ca" };
	char **const outs[] = { &out->tls_cert, &out->tls_key, &out->tls_ca };
	bool tls = strncmp(out->url, "tls+tcp://", 10) == 0;

	for (size_t i = 0; i < 3; i++) {
		int line = config_line(l, section, names[i]);

		if (!tls && line != 0)
			return config_refuse(
			    l, line, "%s is for tls+tcp:// only; remove it, or change the URL", names[i]);
		if (tls && config_load_file(l, section, names[i], "tls+tcp://", outs[i]) != 0)
			return -1;
	}
	return 0;
}

static int
load_insecure(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	bool plain = strncmp(out->url, "tcp://", 6) == 0;

	out->insecure = cfg_getbool(section, "insecure") == cfg_true;
	out->exposed = plain && (out->role == ROLE_ADMIN || out->role == ROLE_PEER || !is_loopback(out->url));
	if (out->insecure && !plain)
		return config_refuse(l, config_line(l, section, "insecure"), "insecure is for tcp:// only; remove it");
	if (!out->exposed || out->insecure)
		return 0;
	if (out->role == ROLE_ADMIN)
		return config_refuse(l, config_section_line(l, section),
		    "admin over tcp:// lets anyone who reaches the port make and "
		    "roll keys; use ipc:// or tls+tcp://, or set insecure = true");
	if (out->role == ROLE_PEER)
		return config_refuse(l, config_section_line(l, section),
		    "peer over tcp:// lets anyone who reaches the port keep this node busy; use tls+tcp://, or set "
		    "insecure = true");
	return config_refuse(l, config_section_line(l, section),
	    "over tcp:// keys cross the network in clear; use ipc://, tls+tcp:// or a loopback address, or set "
	    "insecure = true");
}

/* The nodes tell one another the address, so it must be one that others can reach. */
static int
load_advertise(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	const char *url = config_string(section, "advertise"), *host;
	int line = config_line(l, section, "advertise");
	size_t scheme;

	if (out->role != ROLE_PEER)
		return url == NULL ? 0 : config_refuse(l, line, "advertise is for role = \"peer\" only; remove it");
	if (url == NULL) {
		url = out->url;
		line = config_section_line(l, section);
	}
	host = strstr(out->url, "//") + 2;
	scheme = (size_t)(host - out->url);
	if (strncmp(url, out->url, scheme) != 0 || strpbrk(url, " \t\"") != NULL)
		return config_refuse(l, line, "advertise = \"%.160s\": give %.*sHOST:PORT, at which other nodes reach this one",
		    url, (int)scheme, out->url);
	if (strlen(url) > LIMIT_ADVERTISE)
		return config_refuse(l, line, "advertise has more than %d bytes; give a shorter name", LIMIT_ADVERTISE);
	if (check_port(l, line, url) != 0)
		return -1;
	if (is_wildcard(url))
		return config_refuse(l, line,
		    "other nodes cannot reach this one at 0.0.0.0 or [::]; add advertise = \"%.*sHOST:PORT\"", (int)scheme,
		    out->url);
	return config_copy(l, url, &out->advertise);
}

static int
load_listener(struct config_loader *l, cfg_t *section, struct config_listener *out)
{
	if (load_url(l, section, out) != 0 || load_role(l, section, out) != 0 || load_mode(l, section, out) != 0 ||
	    load_allow_users(l, section, out) != 0 || load_tls(l, section, out) != 0 ||
	    load_insecure(l, section, out) != 0 || load_advertise(l, section, out) != 0)
		return -1;
	if (config_line(l, section, "contexts") != 0)
		LOG(LOG_WARN, "the setting contexts has no effect any more: remove it", LOG_S("file", l->path),
		    LOG_I("line", config_line(l, section, "contexts")));
	return 0;
}

int
config_load_listeners(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	unsigned n = cfg_size(cfg, "listen");

	if (n == 0)
		return config_refuse(
		    l, 0, "has no listen; add listen \"ipc:///run/fob/verify.sock\" { role = \"verify\" }");
	for (unsigned i = 0; i < n; i++) {
		cfg_t *section = cfg_getnsec(cfg, "listen", i);

		if (i == LIMIT_LISTENERS)
			return config_refuse(l, config_section_line(l, section),
			    "there are more than %d listeners; remove some", LIMIT_LISTENERS);
		out->n_listeners++;
		if (load_listener(l, section, &out->listeners[i]) != 0)
			return -1;
		/* Two different titles may resolve to the same path. */
		for (unsigned j = 0; j < i; j++)
			if (strcmp(out->listeners[i].url, out->listeners[j].url) == 0)
				return config_refuse(l, config_section_line(l, section),
				    "%s is listened on twice; remove one", out->listeners[i].url);
	}
	return 0;
}
