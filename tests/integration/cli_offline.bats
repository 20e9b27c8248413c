#!/usr/bin/env bats
# What the `fob` command does without a daemon: usage, help, exit codes, what it refuses to take.

load ../lib/daemon.bash

setup() {
	cd "$BATS_TEST_TMPDIR"
	export TERM=xterm TMPDIR=$BATS_TEST_TMPDIR
	unset FOB_ADDR NO_COLOR XDG_RUNTIME_DIR
	# No fobd listens there: a command that gets as far as connecting ends with 2, one that is refused before with 1.
	export FOB_ADDR=tcp://127.0.0.1:1
	key=sk_live_0123456789abcdefghijklmnopqrst000000
}

# refused WORDS COMMAND...: exit code 1, nothing on stdout, WORDS on stderr.
refused() {
	local words=$1
	shift
	run --separate-stderr -1 fob "$@" < /dev/null
	[[ -z $output ]]
	[[ $stderr == *"$words"* ]] || { echo "not '$words' but: $stderr"; false; }
}

offline=(check backup restore "pepper rotate")
commands=("account create" "account list" "account suspend" "account resume" "account import" "key list" "key roll"
	"key revoke" verify events health stats "${offline[@]}")

@test "help of every command is on stdout, has a usage, examples, the common options and the exit codes" {
	for c in "${commands[@]}"; do
		run --separate-stderr -0 fob $c --help
		[[ $output == "Usage: fob $c"* && $output == *Example* && $output == *--address* && -z $stderr ]] || { echo "$c"; false; }
		[[ $(grep -c "^Exit codes: 0 done" <<<"$output") -eq 1 ]] || { echo "$c"; false; }
		by_option=$output
		run -0 fob help $c
		[[ $output == "$by_option" ]]
		run -0 fob --help $c
		[[ $output == "$by_option" ]]
	done
}

@test "the overview names every command and the exit codes" {
	run --separate-stderr -0 fob --help
	for c in "${commands[@]}"; do
		[[ $output == *"  $c"* ]]
	done
	[[ $output == *"Exit codes"* && $output == *FOB_ADDR* ]]
	[[ $(fob help) == "$output" ]]
	[[ $(fob -h) == "$output" ]]
	run -0 fob key --help
	[[ $output == *"fob key roll ACCOUNT"* && $output != *"account create"* ]]
}

@test "what is done here takes no option of a connection" {
	for c in check restore "pepper rotate"; do
		for o in "--address tcp://127.0.0.1:1" "--timeout 1s" "--output json" "--tls-ca f"; do
			refused "$c takes no ${o%% *}; see fob $c --help" $c live $o
		done
	done
	refused "with --config no fobd is asked" backup --config f live d --address tcp://127.0.0.1:1
	refused "with --config no fobd is asked" backup --config f live d --timeout 1s
	# These say nothing that would not be so.
	refused "/absent" --no-color --yes check --config "$PWD/absent"
}

@test "--version" {
	run -0 fob --version
	[[ $output =~ ^fob\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "no command, half a command, an unknown one" {
	refused "which command?"
	refused "which command?" key
	refused "unknown command frobnicate" frobnicate
	refused "unknown command key frobnicate" key frobnicate
	refused "unknown command frobnicate" help frobnicate
}

@test "arguments: too few, too many, of no form" {
	refused "needs ACCOUNT" account create
	refused "too many arguments, from b" account create a b
	refused "too many arguments" account create a b c d
	refused "too many arguments" stats x
	refused "an account is 1 to 64 characters" key list "a b"
	refused "an account is 1 to 64 characters" key list ""
	refused "an account is 1 to 64 characters" key list "$(printf 'a%.0s' {1..65})"
	refused "an account is 1 to 64 characters" events --account 'a/b'
}

@test "options: unknown, without a value, with one too many, of another command" {
	refused "unknown option --frobnicate" --frobnicate
	refused "unknown option -x" health -x
	refused "--timeout needs a value" health --timeout
	refused "--address needs a value" health --address=
	refused "--yes takes no value" health --yes=1
	refused "key list takes no --grace" key list a --grace 0
	refused "unknown option --time" health --time 5s
}

@test "options: values that make no sense" {
	refused "--output is table or json" health --output xml
	for t in 5 0 0s 61s 5x s 1s2 -1s 99999999999999999999s; do
		refused "--timeout is a time with its unit" health --timeout "$t"
	done
	for t in 90 25h 1500ms 24h1s "" h; do
		[[ -z $t ]] || refused "--grace is a time with its unit" key roll a --environment live --grace "$t"
	done
	refused "--environment live or --environment test" key roll a
	refused "--environment live or --environment test" key roll a --environment prod
	refused "--environment live or --environment test" account list --environment LIVE
	refused "--require live or --require test" verify --require prod
	for n in 0 -1 x 1x 4294967296; do
		refused "--expected-generation is a number" key roll a --environment live --expected-generation "$n"
		refused "needs --generation" key revoke a --environment live --kind secret --generation "$n"
	done
	refused "needs --kind secret" key revoke a --environment live --generation 1
	refused "takes --kind secret" key revoke a --environment live --kind private --generation 1
	refused "needs an account, or --secret-file" key revoke
	refused "takes either" key revoke a --secret-file f
	refused "takes either" key revoke --secret-file f --generation 1
	refused "is not an address" health --address http://localhost
	refused "go together" health --address tls+tcp://127.0.0.1:1 --tls-ca f --tls-cert f
}

@test "a key as an argument is refused wherever it stands, and not repeated" {
	basic=$(printf '%s:' "$key" | base64 -w0)
	for a in "$key" "${key/sk_/pk_}" "${key/live/test}" "--secret-file=$key" "Basic $basic" "$basic" "${key:0:24}" "x$key"; do
		for before in verify "verify --secret-file" "key revoke" "account create" "" "--address" "verify --"; do
			run -1 fob $before "$a" < /dev/null
			[[ $output == *"never taken from the command line"* && $output == *"--secret-file"* ]] || { echo "$output"; false; }
			[[ $output != *0123456789* && $output != *"$basic"* ]]
			[[ ${#lines[@]} -eq 1 ]]
		done
	done
}

@test "options may stand before and after the command, apart or with =" {
	for a in "--timeout 200ms health" "health --timeout 200ms" "health --timeout=200ms" "--output=json health live --timeout 200ms"; do
		run -2 fob $a
		[[ $output == *UNAVAILABLE* || $output == *DEADLINE_EXCEEDED* ]]
	done
	run -2 fob health --timeout 200ms -- --help
	[[ $output != *Usage* && $output == *"--help: UNAVAILABLE"* ]]
}

@test "an empty FOB_ADDR is none, --address goes before it" {
	FOB_ADDR=bogus run -1 fob health
	[[ $output == *"bogus is not an address"* ]]
	FOB_ADDR=bogus run -2 fob health --address tcp://127.0.0.1:1 --timeout 200ms
	# A fobd may be at the default address.
	FOB_ADDR= run fob health --timeout 200ms
	[[ $status -eq 0 || $status -eq 2 && $output == *"ipc:///run/fob/admin.sock"* ]]
}

@test "a socket that is absent, or is no socket, is told at once" {
	run -2 fob health --address "ipc://$PWD/absent" --timeout 60s
	[[ $output == *"No such file or directory"* && $output == *"Is fobd running?"* ]]
	touch plain
	run -2 fob health --address "ipc://$PWD/plain" --timeout 60s
	[[ $output == *"$PWD/plain"* ]]
}

@test "nobody listens: a fault, exit code 2, nothing on stdout" {
	run --separate-stderr -2 fob verify --timeout 300ms <<< "$key"
	[[ -z $output && $stderr == *127.0.0.1:1* && $stderr != *0123456789* ]]
}

@test "without a terminal and --yes nothing that stops keys is done" {
	refused "add --yes" key revoke a --environment live --kind secret --generation 1
	refused "add --yes" key revoke --secret-file /dev/null
	refused "add --yes" key roll a --environment live --grace 0
	refused "add --yes" key roll a --environment live --grace 0s
	refused "add --yes" account suspend a
	run -2 fob account suspend a --yes --timeout 300ms
	run -2 fob account resume a --timeout 300ms
}

@test "a secret that cannot be read" {
	refused "nothing on standard input" verify
	refused "No such file" verify --secret-file absent
	mkdir folder
	refused "Is a directory" verify --secret-file folder
	echo > empty
	refused "nothing on empty" verify --secret-file empty
	head -c 20000 /dev/zero | tr '\0' a > large
	refused "more than 16384 bytes" verify --secret-file large
	run -1 bash -c "'$FOB_BUILD/fob' verify <&-"
	[[ $output == *"standard input"* ]]
}

@test "a token file: made 0600; not one that others may read, that is none, or that is too old" {
	timeout=300ms
	run -2 fob account resume a --environment live --token-file t --timeout $timeout
	[[ $(stat -c %a t) == 600 && $(cat t) =~ ^[0-9a-f]{64}$ ]]
	before=$(cat t)
	run -2 fob account resume a --environment live --token-file t --timeout $timeout
	[[ $(cat t) == "$before" ]]
	chmod 640 t
	refused "others may read it" account resume a --environment live --token-file t
	chmod 600 t
	touch -d '24 hours ago' t
	refused "the server has forgotten it" account resume a --environment live --token-file t
	for bad in "" "${before:1}" "${before}0" "${before:1}g" "$before"$'\nx'; do
		rm -f t
		(umask 077; printf '%s' "$bad" > t)
		refused "not a token" account resume a --environment live --token-file t
	done
	mkdir -m 700 folder
	refused "not a regular file" account resume a --environment live --token-file folder
	(umask 077; mkfifo pipe)
	refused "not a regular file" account resume a --environment live --token-file pipe
	refused "No such file" account resume a --environment live --token-file absent/t
	ln -s absent link
	refused "link" account resume a --environment live --token-file link
}

@test "no token file is left behind by what was refused before it was sent" {
	refused "an account is" account create "a b" --token-file t
	run -2 fob account create a --token-file t --address "ipc://$PWD/absent"
	[[ ! -e t ]]
}

@test "help into a full disk or a closed stdout: exit code 1 and why; a reader that has left is no error" {
	run --separate-stderr -1 bash -c "'$FOB_BUILD/fob' --help > /dev/full"
	[[ $stderr == *"No space left on device"* ]]
	run --separate-stderr -1 bash -c "'$FOB_BUILD/fob' --help >&-"
	[[ $stderr == *"Bad file descriptor"* ]]
	# More than a pipe holds is not needed: the reader is gone before the first byte.
	run -0 bash -c "set -o pipefail; (exec 2> err; sleep 0.2; exec '$FOB_BUILD/fob' --help) | true"
	[[ ! -s err ]]
}

@test "a hidden prompt does not show what is typed, and Ctrl-C leaves the terminal as it was" {
	run -2 on_terminal "$key"$'\n' "$FOB_BUILD/fob" verify --timeout 300ms
	[[ $output == *"key (not shown): "* && $output != *0123456789* ]]
	run -0 on_terminal $'\x03' bash -c "trap : INT; '$FOB_BUILD/fob' verify; stty -a"
	[[ $output == *" echo "* ]]
	run -130 on_terminal $'\x03' "$FOB_BUILD/fob" verify
}

@test "no core dump, and hostile text reaches no terminal" {
	run -1 fob $'\e[31mred'
	[[ $output == *'\x1b[31mred'* && $output != *$'\e'* ]]
	mkfifo waits
	exec 8<> waits
	"$FOB_BUILD/fob" verify < waits > /dev/null 2>&1 3>&- 8>&- &
	pid=$!
	wait_until 4 grep -q 'Max core file size *0 *0' "/proc/$pid/limits"
	# The /proc files of a process that cannot be dumped belong to root.
	[[ $(stat -c %u "/proc/$pid/environ") == 0 ]]
	kill "$pid"
	exec 8>&-
}
