/*
 * confine.c - both restrictions of the serving daemon, and the log line that says which are in effect (see
 * confine.h).
 */
#include "service/process/confine.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "service/base/log.h"
#include "service/process/confine_calls.h"
#include "service/process/confine_files.h"

static void
warn_missing(const char *message, const char *reason)
{
	LOG(LOG_WARN, message, LOG_S("reason", reason));
}

int
confine_process(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len)
{
	bool no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	char landlock[16] = "off";
	int abi = 0, calls = 0;

	snprintf(why, why_len, "this is a build with a sanitizer");
	if (!CONFINE_SANITIZED && (abi = confine_files(config, config_path, abstract_notify, why, why_len)) < 0)
		return -1;
	if (abi > 0)
		snprintf(landlock, sizeof(landlock), "abi%d", abi);
	else
		warn_missing("not confined by Landlock: fobd may touch every file that its user may", why);
	if (!CONFINE_SANITIZED && (calls = confine_calls(why, why_len)) < 0)
		return -1;
	if (calls == 0)
		warn_missing("not confined by seccomp: fobd may make every system call", why);
	LOG(LOG_INFO, "confined", LOG_S("seccomp", calls == 1 ? "on" : "off"), LOG_S("landlock", landlock),
	    LOG_T("no_new_privs", no_new_privs), LOG_I("uid", geteuid()));
	return 0;
}
