/*
 * grpc_bridge.c - hist.h and report.h for C++, which does not read C11's atomics. grpc_baseline.cc declares these
 * functions itself.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/load/report.h"

struct grpc_hist;
struct grpc_hist *bridge_new(void);
void bridge_record(struct grpc_hist *h, uint64_t ns);
void bridge_merge(struct grpc_hist *to, const struct grpc_hist *from);
int bridge_report(const struct grpc_hist *h, const char *label, const char *address, unsigned callers, size_t keys,
    double warmup_s, double duration_s, uint64_t done_within, uint64_t failed, const char *json);

struct grpc_hist {
	struct hist hist;
};

struct grpc_hist *
bridge_new(void)
{
	struct grpc_hist *h = calloc(1, sizeof(*h));

	if (h == NULL)
		abort();
	return h;
}

void
bridge_record(struct grpc_hist *h, uint64_t ns)
{
	hist_record(&h->hist, ns, 1);
}

void
bridge_merge(struct grpc_hist *to, const struct grpc_hist *from)
{
	hist_merge(&to->hist, &from->hist);
}

int
bridge_report(const struct grpc_hist *h, const char *label, const char *address, unsigned callers, size_t keys,
    double warmup_s, double duration_s, uint64_t done_within, uint64_t failed, const char *json)
{
	struct recorder *sum = calloc(1, sizeof(*sum));
	struct report r = { .tool = "grpc",
		.label = label,
		.address = address,
		.callers = callers,
		.sockets = 1,
		.batch = 1,
		.keys = keys,
		.warmup_s = warmup_s,
		.duration_s = duration_s,
		.unit = { [OP_VERIFY] = "lookup" },
		.sum = sum };
	int rc;

	if (sum == NULL)
		abort();
	hist_merge(&sum->latency[OP_VERIFY], &h->hist);
	sum->done_within[OP_VERIFY] = done_within;
	sum->failed = failed;
	rc = report_write(&r, json, NULL) == 0 ? 0 : 1;
	free(sum);
	return rc != 0 ? rc : failed > 0 ? 2 : 0;
}
