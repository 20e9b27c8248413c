-- For wrk: requests of forward auth, each with the next key of a file of Authorization headers, and the result as JSON.

local requests, at = {}, 0

function init(args)
	for authorization in io.lines(args[1]) do
		requests[#requests + 1] = wrk.format("POST", nil, {
			["Host"] = "bench",
			["Authorization"] = authorization,
			["X-Original-Method"] = "POST",
			["X-Original-URI"] = "/v1/tokens",
		})
	end
end

function request()
	at = at % #requests + 1
	return requests[at]
end

function done(summary, latency, _)
	local e = summary.errors
	io.write(string.format('{"calls": %d, "seconds": %f, "failed": %d, "p50": %f, "p99": %f, "max": %f}\n',
		summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
		latency:percentile(50), latency:percentile(99), latency.max))
end
