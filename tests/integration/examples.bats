#!/usr/bin/env bats
# The programs of client/examples against a real fobd: what README shows works as it stands.

load ../lib/daemon.bash

setup_file() {
	start_fobd "$BATS_FILE_TMPDIR/d"
	cd "$BATS_FILE_TMPDIR"
	create_account acct_1
	echo sk_live_000000000000000000000000000000000000 > mistyped
}

teardown_file() {
	stop_fobd
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	examples=$FOB_BUILD/client/examples
}

# loop EXAMPLE: 1,000 keys of four sorts through one connection, and the end of input while calls are under way.
loop() {
	[[ -x $examples/$1 ]] || skip "not built: there is no $1"
	local i four
	four=$(cat live.secret mistyped test.publishable mistyped)
	for ((i = 0; i < 250; i++)); do
		printf '%s\n' "$four"
	done > "$BATS_TEST_TMPDIR/keys"
	# Through a pipe: epoll does not wait for a file.
	# shellcheck disable=SC2002
	cat "$BATS_TEST_TMPDIR/keys" | "$examples/$1" "$FOBD_VERIFY" > "$BATS_TEST_TMPDIR/answers"
	sort -n "$BATS_TEST_TMPDIR/answers" | awk '
		$1 != NR || $2 != (NR % 2 == 0 ? "MALFORMED" : "VALID") || $3 != (NR % 2 == 0 ? "" : "acct_1") {
			print "line " NR ": " $0
			exit 1
		}
		END { exit NR != 1000 }'
}

@test "verify: libfob, one call" {
	run -0 "$examples/verify" "$FOBD_VERIFY" < live.secret
	[ "$output" = "acct_1, live mode" ]
	run -0 "$examples/verify" "$FOBD_TCP" < test.secret
	[ "$output" = "acct_1, test mode" ]
	run -1 "$examples/verify" "$FOBD_VERIFY" < live.publishable
	[[ $output == FORBIDDEN:* ]]
	run -1 "$examples/verify" "$FOBD_VERIFY" < mistyped
	[[ $output == MALFORMED:* ]]
	run -2 "$examples/verify" nonsense < live.secret
	# Without a fobd it does not wait for the default timeout.
	run -2 timeout 4 "$examples/verify" ipc:///nowhere/verify.sock < live.secret
	[[ $output == "UNAVAILABLE: not connected to ipc:///nowhere/verify.sock: No such file or directory" ]]
}

@test "nng_req: the same question from a bare nng socket" {
	run -0 "$examples/nng_req" "$FOBD_VERIFY" < live.secret
	[ "$output" = "acct_1, live mode" ]
	run -0 "$examples/nng_req" "$FOBD_TCP" < test.secret
	[ "$output" = "acct_1, test mode" ]
	run -1 "$examples/nng_req" "$FOBD_VERIFY" < live.publishable
	[[ $output == "verdict 8: "* ]]
	run -1 "$examples/nng_req" "$FOBD_VERIFY" < mistyped
	[[ $output == "verdict 2: "* ]]
	run -2 "$examples/nng_req" ipc:///nowhere/fob.sock < live.secret
}

@test "libevent: many calls from an event loop" {
	loop libevent
}

@test "libuv: many calls from an event loop" {
	loop libuv
}
