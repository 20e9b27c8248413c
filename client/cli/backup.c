/*
 * backup.c - fob backup: a copy of a database that fobd makes and sends, into a new folder. Never leaves a folder of
 * that name that is not whole, synced and what fobd sent. With --config the database is copied here instead
 * (offline.c).
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/out.h"
#include "proto/c/new_folder.h"

#define PAUSE_MS 50 /* between looks at a copy that is being made */

const char backup_help[] = "Usage: fob backup [--config FILE] live|test FOLDER\n"
			   "\n"
			   "Copy the database of one environment to a new folder, while fobd serves it and\n"
			   "keys are made and ended. fobd makes the copy and sends it over its admin socket.\n"
			   "FOLDER appears when the copy is whole and on the disk, or not at all.\n"
			   "\n"
			   "  --config FILE  fobd's settings: ask no fobd, but copy the database here, also\n"
			   "                 when no fobd runs, as the user that fobd runs as\n"
			   "\n"
			   "The copy opens only with the pepper, which is not in it: keep a copy of that,\n"
			   "elsewhere. Keep the events too, as often as you can, because they say what has\n"
			   "ended since a backup: see fob restore --help. Until it is read, the copy also\n"
			   "takes room on fobd's own disk.\n"
			   "\n"
			   "Examples:\n"
			   "  fob backup live /backup/live-2026-01-31\n"
			   "  fob events --follow --output json >> /elsewhere/events.json\n";

struct backup {
	struct cli *cli;
	enum fob_environment env;
	uint8_t id[FOB_BACKUP_LEN];
	struct new_folder folder;
	int fd;
	uint64_t len; /* bytes so far */
	crypto_hash_sha256_state hash;
	struct fob_backup_part last; /* without its data */
};

static int
fail(const struct backup *b, const char *what, const char *path)
{
	out_say("%s: %s: %s: %s", b->cli->name, path, what, strerror(errno));
	return CLI_LOCAL;
}

static int
make_folder(struct backup *b)
{
	char why[PATH_MAX + 256];

	if (new_folder_make(&b->folder, b->cli->args[1], why, sizeof(why)) != 0) {
		out_say("%s: %s", b->cli->name, why);
		return CLI_LOCAL;
	}
	if ((b->fd = open(b->folder.unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		return fail(b, "cannot make this file", b->folder.unfinished);
	return CLI_OK;
}

static int
write_part(struct backup *b, const struct fob_backup_part *part)
{
	size_t done = 0;
	ssize_t n;

	while (done < part->len) {
		if ((n = write(b->fd, part->data + done, part->len - done)) < 0 && errno != EINTR)
			return fail(b, "cannot write the copy", b->folder.unfinished);
		done += n > 0 ? (size_t)n : 0;
	}
	crypto_hash_sha256_update(&b->hash, part->data, part->len);
	b->len += part->len;
	return CLI_OK;
}

/* Read the next part. Sets b->last. */
static int
next_part(struct backup *b)
{
	const struct fob_backup_request request = { FOB_BACKUP_REQUEST_INIT, .environment = b->env, .backup = b->id,
		.offset = b->len };
	struct fob_backup_part *part;
	struct fob_error error;
	int rc;

	if ((rc = fob_read_backup(b->cli->client, &request, &part, &error)) != 0)
		return cli_fault(b->cli, b->cli->args[0], rc, &error);
	if (part->total > 0 && (part->len > part->total - b->len || (part->len == 0 && b->len < part->total))) {
		out_say("%s: fobd sent a part that does not fit", b->cli->name);
		rc = CLI_FAULT;
	} else {
		rc = write_part(b, part);
	}
	b->last = *part;
	b->last.data = NULL;
	fob_backup_part_free(part);
	return rc;
}

static int
fetch(struct backup *b)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	int rc;

	do {
		if ((rc = next_part(b)) != CLI_OK)
			return rc;
		if (b->last.total == 0)
			nanosleep(&pause, NULL);
	} while (b->last.total == 0 || b->len < b->last.total);
	return CLI_OK;
}

/* Is it what fobd sent? Then put it on the disk, and give it its name. */
static int
publish(struct backup *b)
{
	uint8_t sha256[FOB_SHA256_LEN];
	char why[PATH_MAX + 256];

	crypto_hash_sha256_final(&b->hash, sha256);
	if (memcmp(sha256, b->last.sha256, sizeof(sha256)) != 0) {
		out_say("%s: the copy did not arrive as fobd sent it; try again", b->cli->name);
		return CLI_FAULT;
	}
	if (fsync(b->fd) != 0)
		return fail(b, "cannot sync the copy", b->folder.unfinished);
	if (new_folder_publish(&b->folder, why, sizeof(why)) != 0) {
		out_say("%s: %s", b->cli->name, why);
		return CLI_LOCAL;
	}
	return CLI_OK;
}

static void
clean_up(struct backup *b)
{
	if (b->fd >= 0)
		close(b->fd);
	new_folder_remove(&b->folder);
}

static void
show(const struct backup *b)
{
	const char *name = fob_environment_name(b->env);
	char line[PATH_MAX + 256];

	if (out_is_json()) {
		out_json(json_pack("{s:s, s:s, s:I, s:I, s:I}", "environment", name, "folder", b->folder.dest,
		    "revision", (json_int_t)b->last.revision, "event_sequence", (json_int_t)b->last.event_sequence,
		    "bytes", (json_int_t)b->len));
		return;
	}
	snprintf(line, sizeof(line),
	    "%s: copied to %s: revision %" PRIu64 ", events to %" PRIu64 ", %" PRIu64
	    " bytes. The copy opens only with the pepper, which is not in it: keep a copy of the pepper elsewhere\n",
	    name, b->folder.dest, b->last.revision, b->last.event_sequence, b->len);
	out_text(line);
}

/* Options of a connection are not to be thought to matter where no fobd is asked. */
static int
copy_here(struct cli *cli)
{
	static const enum cli_option of_connection[] = { OPT_ADDRESS, OPT_TIMEOUT, OPT_OUTPUT, OPT_TLS_CA, OPT_TLS_CERT,
		OPT_TLS_KEY, OPT_TLS_SERVER_NAME };

	for (size_t i = 0; i < sizeof(of_connection) / sizeof(of_connection[0]); i++)
		if (cli->options[of_connection[i]] != NULL) {
			out_say(
			    "%s: with --config no fobd is asked: leave out --address, --timeout, --output and --tls-...",
			    cli->name);
			return CLI_LOCAL;
		}
	return cli_become_fobd(cli, "--backup");
}

int
cli_backup(struct cli *cli)
{
	struct backup b = { .cli = cli, .fd = -1 };
	int rc;

	if (cli->options[OPT_CONFIG] != NULL)
		return copy_here(cli);
	if (strcmp(cli->args[0], "live") != 0 && strcmp(cli->args[0], "test") != 0) {
		out_say("%s: \"%s\" is not an environment: live or test", cli->name, cli->args[0]);
		return CLI_LOCAL;
	}
	b.env = strcmp(cli->args[0], "live") == 0 ? FOB_ENVIRONMENT_LIVE : FOB_ENVIRONMENT_TEST;
	randombytes_buf(b.id, sizeof(b.id));
	crypto_hash_sha256_init(&b.hash);
	if ((rc = cli_connect(cli)) != CLI_OK)
		out_say("if no fobd runs: fob backup --config FILE copies the database without one");
	else if ((rc = make_folder(&b)) == CLI_OK && (rc = fetch(&b)) == CLI_OK && (rc = publish(&b)) == CLI_OK)
		show(&b);
	clean_up(&b);
	return rc;
}
