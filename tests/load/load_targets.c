/*
 * load_targets.c - which of the keys are rolled (see load_internal.h).
 */
#include "tests/load/load_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
swap_keys(struct keys *keys, size_t a, size_t b)
{
	char t[FOB_SECRET_SIZE];

	memcpy(t, keys->secrets[a], sizeof(t));
	memcpy(keys->secrets[a], keys->secrets[b], sizeof(t));
	memcpy(keys->secrets[b], t, sizeof(t));
	fob_wipe(t, sizeof(t));
}

/* Of ${n} keys from ${from} on, those that are current secret keys become targets, and go to the front of the keys. */
static int
find_targets_in(struct load *l, size_t from, size_t n, size_t wanted, char *why, size_t why_len)
{
	struct fob_verify_request requests[FOB_BATCH_MAX];
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = requests, .n = n };
	struct fob_verification found[FOB_BATCH_MAX];
	int faults[FOB_BATCH_MAX], rc;
	struct fob_error error;
	size_t i;

	for (i = 0; i < n; i++) {
		requests[i] = (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT,
			.secret = l->keys->secrets[from + i], .secret_len = strlen(l->keys->secrets[from + i]) };
	}
	if ((rc = fob_verify_batch(l->admins[0], &batch, found, faults, &error)) != 0) {
		snprintf(why, why_len, "%s: %s (%s)", l->config->admin_address, error.message, fob_fault_name(rc));
		return -1;
	}
	for (i = 0; i < n && l->n_targets < wanted; i++) {
		if (faults[i] != 0 || !fob_allows(&found[i]) || found[i].kind != FOB_KIND_SECRET || found[i].superseded)
			continue;
		l->targets[l->n_targets].environment = found[i].environment;
		l->targets[l->n_targets].generation = found[i].generation;
		memcpy(l->targets[l->n_targets].account, found[i].account, sizeof(found[i].account));
		swap_keys(l->keys, l->n_targets++, from + i);
	}
	return 0;
}

int
find_targets(struct load *l, char *why, size_t why_len)
{
	size_t from, n, wanted = l->config->roll_keys;

	if (wanted > (l->keys->n + 1) / 2)
		wanted = (l->keys->n + 1) / 2;
	if ((l->targets = calloc(wanted, sizeof(l->targets[0]))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	for (from = 0; from < l->keys->n && l->n_targets < wanted; from += n) {
		n = l->keys->n - from < FOB_BATCH_MAX ? l->keys->n - from : FOB_BATCH_MAX;
		if (find_targets_in(l, from, n, wanted, why, why_len) != 0)
			return -1;
	}
	if (l->n_targets > 0)
		return 0;
	snprintf(why, why_len, "none of the keys is a current secret key, to be rolled");
	return -1;
}
