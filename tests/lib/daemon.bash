# daemon.bash - start and stop a real fobd for bats tests, and run the `fob` command.
# FOB_BUILD names the folder with fobd and fob. Load this file, then:
#
#   setup_file()    { start_fobd "$BATS_FILE_TMPDIR/d"; }
#   teardown_file() { stop_fobd; }
#   @test "..."     { run -0 fob health; }
#
# Every wait observes something, with a time limit.

FOB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FOB_BUILD=${FOB_BUILD:-$FOB_ROOT/build/gcc}
[[ $FOB_BUILD == /* ]] || FOB_BUILD=$FOB_ROOT/$FOB_BUILD
PYTHON=${PYTHON:-/usr/bin/python3}

bats_require_minimum_version 1.5.0

fob() {
	remembered "$FOB_BUILD/fob" "$@"
}

# remembered COMMAND...: run COMMAND. Under tests/run (see tests/lib/leaks.py) record the secrets on its standard output
# and the token in each token file that its arguments or errors name, and keep its standard error to be searched for
# secrets. The output is passed on when COMMAND has ended, standard error first. A test of a closed or full output, or of
# a command that does not end, calls "$FOB_BUILD/fob" itself.
#
# bats prints a failed test's output, which may hold keys that fob was asked to print. tests/run redacts them, and does not
# count them as a leak. A secret on fob's standard error, or on descriptor 3, is a leak, whether the test passes or fails.
remembered() {
	local place=$BATS_RUN_TMPDIR/said.$BASHPID out= err= rc=0
	if [[ ! -d ${FOB_TEST_LEAKS:-}/logs ]]; then
		"$@"
		return
	fi
	"$@" > "$place.out" 2> "$place.err" || rc=$?
	# read, not cat: there are a thousand calls, and each process takes time.
	IFS= read -r -d '' out < "$place.out" || true
	IFS= read -r -d '' err < "$place.err" || true
	remember_secrets "$out"
	remember_tokens "$* $err"
	printf %s "$err" >> "$FOB_TEST_LEAKS/logs/${BATS_TEST_FILENAME##*/}.stderr"
	printf %s "$err" >&2
	printf %s "$out"
	return "$rc"
}

remember_secrets() {
	local rest=$1
	while [[ $rest =~ [sp]k_(live|test)_[0-9A-Za-z]{36} ]]; do
		echo "s ${BASH_REMATCH[0]}" >> "$FOB_TEST_LEAKS/made"
		rest=${rest#*"${BASH_REMATCH[0]}"}
	done
}

remember_tokens() {
	local rest=$1 token
	while [[ $rest =~ --token-file[\ =]([^[:space:]]+) ]]; do
		rest=${rest#*"${BASH_REMATCH[0]}"}
		[[ -f ${BASH_REMATCH[1]} ]] || continue
		IFS= read -r token < "${BASH_REMATCH[1]}" || true
		[[ ! $token =~ ^[0-9a-f]{64}$ ]] || echo "t $token" >> "$FOB_TEST_LEAKS/made"
	done
}
# WHEN_ASKED (below) runs in another bash.
export FOB_BUILD
export -f fob remembered remember_secrets remember_tokens

# free_port: a port of 127.0.0.1 that is not in use now.
free_port() {
	"$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# write_fobd_config DIR [ENVIRONMENT...]: DIR/fobd.conf with ipc sockets for both roles and tcp for verify.
write_fobd_config() {
	local dir=$1 environment
	shift
	{
		echo "listen \"ipc://$dir/verify.sock\" { role = \"verify\" }"
		echo "listen \"ipc://$dir/admin.sock\" { role = \"admin\" }"
		echo "listen \"tcp://127.0.0.1:$(free_port)\" { role = \"verify\" }"
		for environment in "$@"; do
			echo "environment \"$environment\" {"
			echo "	path = \"$dir/$environment\""
			echo "	pepper = \"$dir/$environment.pepper\""
			echo "}"
		done
	} > "$dir/fobd.conf"
}

# start_fobd DIR [ENVIRONMENT...]: start fobd with its data, settings and log in DIR, which is made if absent; by default
# with both environments. With the same DIR again it has the same data and addresses. Returns when fobd serves, and exports
# FOB_ADDR (admin), FOBD_VERIFY, FOBD_TCP, FOBD_DIR and FOBD_PID. DIR must be short, as it holds sockets.
start_fobd() {
	FOBD_DIR=$1
	shift
	mkdir -p "$FOBD_DIR"
	if [[ ! -e $FOBD_DIR/fobd.conf ]]; then
		(($# > 0)) || set -- live test
		write_fobd_config "$FOBD_DIR" "$@"
		"$FOB_BUILD/fobd" --init --config "$FOBD_DIR/fobd.conf" >> "$FOBD_DIR/log" 2>&1 || {
			cat "$FOBD_DIR/log" >&2
			return 1
		}
	fi
	# Close descriptor 3: bats waits until no process has it open.
	"$FOB_BUILD/fobd" --config "$FOBD_DIR/fobd.conf" >> "$FOBD_DIR/log" 2>&1 < /dev/null 3>&- &
	FOBD_PID=$!
	FOB_ADDR=ipc://$FOBD_DIR/admin.sock
	FOBD_VERIFY=ipc://$FOBD_DIR/verify.sock
	FOBD_TCP=$(sed -n 's/^listen "\(tcp:[^"]*\)".*/\1/p' "$FOBD_DIR/fobd.conf")
	export FOBD_DIR FOBD_PID FOB_ADDR FOBD_VERIFY FOBD_TCP
	wait_until 30 fobd_serves || {
		echo "fobd does not serve; its log:" >&2
		cat "$FOBD_DIR/log" >&2
		kill -KILL "$FOBD_PID" 2> /dev/null
		return 1
	}
}

# Returns 2 when fobd has ended, which ends wait_until.
fobd_serves() {
	kill -0 "$FOBD_PID" 2> /dev/null || return 2
	fob health --timeout 1s > /dev/null 2>&1 || return 1
}

# stop_fobd: SIGTERM, and wait until it has ended; SIGKILL and a failure after 20 seconds.
stop_fobd() {
	local rc=0
	[[ -n ${FOBD_PID:-} ]] || return 0
	end_fobd || rc=$?
	# For tests/lib/leaks.py.
	[[ ! -d ${FOB_TEST_LEAKS:-}/logs ]] || cp "$FOBD_DIR/log" "$FOB_TEST_LEAKS/logs/bats.$FOBD_PID"
	return "$rc"
}

end_fobd() {
	kill -TERM "$FOBD_PID" 2> /dev/null || return 0
	if wait_until 20 fobd_gone; then
		return 0
	fi
	echo "fobd did not end in 20 seconds" >&2
	kill -KILL "$FOBD_PID"
	return 1
}

# fobd is a child of setup_file's shell only, so `wait` does not work in a test. A zombie counts as ended.
fobd_gone() {
	! grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$FOBD_PID/status"
}

# wait_until SECONDS COMMAND...: repeat COMMAND until it succeeds; give up when it returns 2, or after SECONDS.
wait_until() {
	local end=$((SECONDS + $1)) rc
	shift
	while true; do
		rc=0
		"$@" || rc=$?
		((rc != 0)) || return 0
		((rc != 2 && SECONDS < end)) || return 1
		sleep 0.02
	done
}

# lose_replies SOCKET: listen on SOCKET, pass all that clients send on to fobd's admin socket, and pass back fobd's
# greeting but no reply. Returns when it listens, with LOSER_PID, which the test must kill.
lose_replies() {
	"$PYTHON" -c '
import socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
def pump(source, sink, most):
    while part := source.recv(4096):
        sink.sendall(part[:most])
        most -= min(most, len(part))
while True:
    client, server = listener.accept()[0], socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[2])
    threading.Thread(target=pump, args=(client, server, 1 << 62), daemon=True).start()
    threading.Thread(target=pump, args=(server, client, 8), daemon=True).start()
' "$1" "$FOBD_DIR/admin.sock" < /dev/null > /dev/null 2>&1 3>&- &
	# shellcheck disable=SC2034 # for the caller
	LOSER_PID=$!
	wait_until 10 test -S "$1"
}

# json EXPRESSION: print the value of a Python EXPRESSION, in which d is the JSON on standard input.
json() {
	"$PYTHON" -c 'import json, sys; d = json.load(sys.stdin); print(eval("(" + sys.argv[1] + ")"))' "$1"
}

# create_account ACCOUNT: its four keys in the files live.secret, live.publishable, test.secret and test.publishable, and
# what `fob` printed in created.json and created.err. One Python for all: each takes a twentieth of a second.
create_account() {
	fob account create "$1" --output json > created.json 2> created.err
	"$PYTHON" -c '
import json
for key in json.load(open("created.json"))["keys"]:
    with open(key["environment"] + "." + key["kind"], "w") as f:
        print(key["secret"], file=f)'
}

# on_terminal INPUT COMMAND...: run COMMAND on a terminal of its own, type INPUT when it asks, and print what the
# terminal shows. Returns COMMAND's exit code, or 128 plus its signal. The bash command in WHEN_ASKED is run after the
# question and before INPUT.
on_terminal() {
	remembered "$PYTHON" -c '
import os, pty, subprocess, sys
typed = sys.argv[1].encode()
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if typed and (b"[y/N] " in shown or b"(not shown): " in shown):
        subprocess.run(["bash", "-c", os.environ.get("WHEN_ASKED", "true")], capture_output=True)
        os.write(fd, typed)
        typed = b""
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
sys.exit(code if code >= 0 else 128 - code)
' "$@"
}
