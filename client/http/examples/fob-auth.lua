-- The action lua.fob_auth for HAProxy: ask fob-http whether the request is allowed. It decides nothing itself. It
-- sets txn.fob_status to the status of fob-http's reply, or leaves it unset when there is none, and on a 200 the
-- variables of the X-Fob-* headers. haproxy.cfg acts on them.
--
-- It does not use core.httpclient(): that tries four times, so that a request would wait four times as long, and a slow
-- fob-http would get four times the requests.

local FOB_HTTP = "unix@/run/fob-http/auth.sock"
local TIMEOUT_S = 2
local HEADERS_MAX = 64
local FIELDS = { "account", "environment", "livemode", "kind", "generation", "superseded", "expires" }

-- All values of a header, as the client sent them: fob-http refuses a request with two of one.
local function copy(lines, received, name)
	local values = received[name]
	for i = 0, values and #values or -1 do
		lines[#lines + 1] = name .. ": " .. values[i]
	end
end

local function request(txn)
	local received = txn.http:req_get_headers()
	local lines = {
		"GET /v1/auth HTTP/1.1",
		"host: fob-http",
		"connection: close",
		"x-original-method: " .. txn.sf:method(),
		"x-original-uri: " .. txn.sf:pathq(),
	}

	copy(lines, received, "authorization")
	copy(lines, received, "traceparent")
	return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- The status and the headers of the reply, or nil.
local function reply(socket)
	local line = socket:receive("*l")
	local status = line and tonumber(line:match("^HTTP/1%.1 (%d%d%d) "))
	local headers = {}

	for _ = 1, HEADERS_MAX do
		line = socket:receive("*l")
		if line == nil then
			return nil
		end
		line = line:gsub("\r$", "")
		if line == "" then
			return status, headers
		end
		local name, value = line:match("^([^:]+):%s*(.-)%s*$")
		if name ~= nil then
			headers[name:lower()] = value
		end
	end
	return nil
end

local function ask(txn)
	local socket = core.tcp()
	local status, headers

	socket:settimeout(TIMEOUT_S)
	if socket:connect(FOB_HTTP) and socket:send(request(txn)) then
		status, headers = reply(socket)
	end
	socket:close()
	return status, headers
end

core.register_action("fob_auth", { "http-req" }, function(txn)
	local status, headers = ask(txn)

	if status == nil then
		return
	end
	if status == 401 then
		txn:set_var("txn.fob_challenge", headers["www-authenticate"])
	end
	for _, field in ipairs(status == 200 and FIELDS or {}) do
		local value = headers["x-fob-" .. field]
		if value == nil or value == "" then
			return
		end
		txn:set_var("txn.fob_" .. field, value)
	end
	txn:set_var("txn.fob_status", status)
end, 0)
