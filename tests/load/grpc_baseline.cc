/*
 * grpc_baseline.cc - the program grpc-baseline: a C++ gRPC service, by its callback API, that looks a key up in a hash map,
 * and a client that keeps calls in flight and measures as fob-load does.
 *
 * Built only where libgrpc++-dev and protobuf-compiler-grpc are installed. It hashes nothing, reads no database and
 * survives no restart: it is the least that such a service could do. Server and client are processes of their own.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc_baseline.grpc.pb.h"
#include "tests/load/server.h"

/* hist.h and report.h are C with C11 atomics, which C++ cannot read: see grpc_bridge.c. */
extern "C" {
struct grpc_hist;
struct grpc_hist *bridge_new(void);
void bridge_record(struct grpc_hist *, uint64_t ns);
void bridge_merge(struct grpc_hist *, const struct grpc_hist *);
int bridge_report(const struct grpc_hist *, const char *label, const char *address, unsigned callers, size_t keys,
    double warmup_s, double duration_s, uint64_t done_within, uint64_t failed, const char *json);
int64_t measure_now_ns(void);
}

static const char usage[] =
    "Usage: grpc-baseline --address HOST:PORT [--keys N] [--callers N] [--warmup S] [--duration S] [--label TEXT]\n"
    "                     [--json FILE]\n"
    "\n"
    "How fast a C++ gRPC service is here that looks one of N keys up in a hash map.\n";

struct flags {
	std::string address;
	const char *label = nullptr, *json = nullptr;
	size_t keys = 100000;
	unsigned callers = 64;
	double warmup_s = 1, duration_s = 10;
};

static std::string
secret_of(size_t i)
{
	char secret[64];

	snprintf(secret, sizeof(secret), "sk_live_%036zu", i);
	return (secret);
}

/* ---- the server ---- */

class service final : public baseline::Baseline::CallbackService {
public:
	explicit service(size_t keys)
	{
		records.reserve(keys);
		for (size_t i = 0; i < keys; i++)
			records.emplace(secret_of(i), std::string(64, 'r'));
	}

	grpc::ServerUnaryReactor *
	Lookup(grpc::CallbackServerContext *context, const baseline::LookupRequest *request,
	    baseline::LookupResponse *response) override
	{
		auto found = records.find(request->secret());

		if (found != records.end()) {
			response->set_verdict(1);
			response->set_record(found->second);
		}
		auto *reactor = context->DefaultReactor();
		reactor->Finish(grpc::Status::OK);
		return (reactor);
	}

private:
	std::unordered_map<std::string, std::string> records;
};

static void
serve(const void *arg, int ready)
{
	const flags &f = *static_cast<const flags *>(arg);
	service s(f.keys);
	grpc::ServerBuilder builder;
	int port = 0;

	builder.AddListeningPort(f.address, grpc::InsecureServerCredentials(), &port);
	builder.RegisterService(&s);
	std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
	if (server == nullptr || port == 0) {
		fprintf(stderr, "grpc-baseline: cannot listen on %s\n", f.address.c_str());
		_exit(1);
	}
	server_is_ready(ready);
	server->Wait();
}

/* ---- the client ---- */

struct load {
	const flags &f;
	std::unique_ptr<baseline::Baseline::Stub> stub;
	int64_t begin_ns, end_ns;
	std::atomic<uint64_t> done_within{0}, failed{0};
	std::mutex mutex;
	std::condition_variable changed;
	unsigned active;
};

struct caller {
	load *l;
	uint64_t random;
	struct grpc_hist *latency;
	int64_t from_ns;
	std::unique_ptr<grpc::ClientContext> context;
	baseline::LookupRequest request;
	baseline::LookupResponse response;

	void
	begin(int64_t now_ns)
	{
		random ^= random >> 12;
		random ^= random << 25;
		random ^= random >> 27;
		context = std::make_unique<grpc::ClientContext>();
		request.set_secret(secret_of((random * UINT64_C(0x2545F4914F6CDD1D) >> 32) % l->f.keys));
		from_ns = now_ns;
		l->stub->async()->Lookup(context.get(), &request, &response, [this](grpc::Status status) { ended(status); });
	}

	void
	ended(const grpc::Status &status)
	{
		int64_t now_ns = measure_now_ns();
		bool good = status.ok() && response.verdict() == 1;

		if (!good)
			l->failed++;
		else if (now_ns >= l->begin_ns && now_ns < l->end_ns)
			l->done_within++;
		if (from_ns >= l->begin_ns && from_ns < l->end_ns)
			bridge_record(latency, static_cast<uint64_t>(now_ns - from_ns));
		if (status.ok() && now_ns < l->end_ns) {
			begin(now_ns);
			return;
		}
		std::lock_guard<std::mutex> lock(l->mutex);
		l->active--;
		l->changed.notify_one();
	}
};

static int
run(const flags &f)
{
	auto channel = grpc::CreateChannel(f.address, grpc::InsecureChannelCredentials());
	int64_t now_ns = measure_now_ns();
	load l{f, baseline::Baseline::NewStub(channel), now_ns + static_cast<int64_t>(f.warmup_s * 1e9), 0, {0}, {0}, {}, {},
	    f.callers};
	std::vector<caller> callers(f.callers);
	struct grpc_hist *sum = bridge_new();

	l.end_ns = l.begin_ns + static_cast<int64_t>(f.duration_s * 1e9);
	for (unsigned i = 0; i < f.callers; i++) {
		callers[i].l = &l;
		callers[i].random = UINT64_C(0x9E3779B97F4A7C15) * (i + 1);
		callers[i].latency = bridge_new();
		callers[i].begin(now_ns);
	}
	std::unique_lock<std::mutex> lock(l.mutex);
	l.changed.wait(lock, [&l] { return (l.active == 0); });
	for (const caller &c : callers)
		bridge_merge(sum, c.latency);
	return (bridge_report(sum, f.label, f.address.c_str(), f.callers, f.keys, f.warmup_s, f.duration_s, l.done_within, l.failed,
	    f.json));
}

/* ---- flags ---- */

static double
number(const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (end != text && *end == '\0' && value >= min && value <= max)
		return (value);
	fprintf(stderr, "grpc-baseline: %s: a number from %g to %g\n", text, min, max);
	exit(1);
}

static void
flags_parse(int argc, char *argv[], flags *f)
{
	static const struct option options[] = {
		{ "address", required_argument, nullptr, 'a' },
		{ "keys", required_argument, nullptr, 'k' },
		{ "callers", required_argument, nullptr, 'c' },
		{ "warmup", required_argument, nullptr, 'w' },
		{ "duration", required_argument, nullptr, 'd' },
		{ "label", required_argument, nullptr, 'l' },
		{ "json", required_argument, nullptr, 'j' },
		{ "quiet", no_argument, nullptr, 'q' },
		{ "help", no_argument, nullptr, 'h' },
		{ nullptr, 0, nullptr, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, nullptr)) != -1) {
		switch (c) {
		case 'a': f->address = optarg; break;
		case 'k': f->keys = static_cast<size_t>(number(optarg, 1, 1e7)); break;
		case 'c': f->callers = static_cast<unsigned>(number(optarg, 1, 65536)); break;
		case 'w': f->warmup_s = number(optarg, 0, 86400); break;
		case 'd': f->duration_s = number(optarg, 0.01, 86400); break;
		case 'l': f->label = optarg; break;
		case 'j': f->json = optarg; break;
		case 'q': break; /* it never shows progress */
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(1);
		}
	}
	if (f->address.empty() || optind < argc) {
		fputs(usage, stderr);
		exit(1);
	}
}

int
main(int argc, char *argv[])
{
	flags f;
	pid_t server;
	int rc;

	flags_parse(argc, argv, &f);
	server = server_start(serve, &f); /* before gRPC makes a thread */
	rc = run(f);
	server_stop(server);
	return (rc);
}
