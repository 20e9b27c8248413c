#!/usr/bin/env bats
# The `fob` command against a real fobd: each command, its exit code, and what happens when something goes wrong.

load ../lib/daemon.bash

setup_file() {
	start_fobd "$BATS_FILE_TMPDIR/d"
}

teardown_file() {
	stop_fobd
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	export TERM=xterm TMPDIR=$BATS_TEST_TMPDIR
	unset NO_COLOR XDG_RUNTIME_DIR
	# An account of each test's own.
	account=acct_$BATS_TEST_NUMBER
}

# What a test that failed has left running.
teardown() {
	[[ -z ${LOSER_PID:-} ]] || kill "$LOSER_PID"
	[[ -z ${follower:-} ]] || kill "$follower" 2> /dev/null || true
	[[ $FOBD_DIR == "$BATS_FILE_TMPDIR"/* ]] || stop_fobd
}

# create: the account, its four keys in the files live.secret, live.publishable, test.secret and test.publishable.
create() {
	fob account create "$account" --output json > created.json 2> created.err
	local i
	for i in 0 1 2 3; do
		json "d['keys'][$i]['secret']" < created.json > secret
		mv secret "$(json "d['keys'][$i]['environment'] + '.' + d['keys'][$i]['kind']" < created.json)"
	done
}

# roll ARGUMENTS...: the account's live key; the new one in live.secret, the one before in live.old.
roll() {
	fob key roll "$account" --environment live --output json "$@" > rolled.json 2> rolled.err || return
	cp live.secret live.old
	json "d['new_key']['secret']" < rolled.json > live.secret
}

# states: of the account's live secret keys, by generation.
states() {
	fob key list "$account" --environment live --output json |
	    json '" ".join(k["state"] for k in d["keys"] if k["kind"] == "secret")'
}

@test "health: of all, of each service, of one that there is not; over ipc and tcp" {
	run -0 fob health
	[[ $output == *SERVING* && $output != *NOT_SERVING* ]]
	for s in fob.v1.Keys fob.v1.Admin live test; do
		run -0 fob health "$s"
	done
	run -3 fob health prod
	[[ $output == *NOT_FOUND* ]]
	run -0 fob health --address "$FOBD_VERIFY"
	run -0 fob health --address "$FOBD_TCP" --output json
	[[ $(json "d['status']" <<< "$output") == SERVING ]]
}

@test "account create: four keys on stdout, once; that it was the only time on stderr" {
	run --separate-stderr -0 fob account create "$account"
	for p in sk_live_ pk_live_ sk_test_ pk_test_; do
		[[ $(grep -cE "$p[0-9A-Za-z]{36}\$" <<< "$output") == 1 ]]
	done
	[[ ${#lines[@]} -eq 5 && $stderr == *"only time"* && $stderr != *k_live_* ]]
	# Aligned: every secret starts in the same column.
	[[ $(grep -oE '^.*(sk|pk)_' <<< "$output" | awk '{print length}' | sort -u | wc -l) -eq 1 ]]
	run -4 fob account create "$account"
	[[ $output == *live*ALREADY_EXISTS* && $output == *test*ALREADY_EXISTS* && $output != *k_live_* ]]
}

@test "account create where one of the two exists: the other's keys are shown, exit code 4" {
	run -0 fob account create "$account" --environment test
	[[ $output == *sk_test_* && $output != *sk_live_* ]]
	run --separate-stderr -4 fob account create "$account"
	[[ $output == *sk_live_* && $output == *pk_live_* && $output != *sk_test_* ]]
	[[ $stderr == *"test: ALREADY_EXISTS"* && $stderr == *"only time"* ]]
	run --separate-stderr -4 fob account create "$account" --output json
	[[ $(json "len(d['keys']), [f['fault'] for f in d['faults']]" <<< "$output") == "(0, ['ALREADY_EXISTS', 'ALREADY_EXISTS'])" ]]
}

@test "account create --output json: everything about the keys, times twice" {
	create
	[[ $(json "d['account']" < created.json) == "$account" ]]
	[[ $(json "d['faults']" < created.json) == "[]" ]]
	[[ $(json "sorted(k['environment'] + k['kind'] for k in d['keys'])" < created.json) == \
	    "['livepublishable', 'livesecret', 'testpublishable', 'testsecret']" ]]
	[[ $(json "all(k['secret'].endswith(k['last4']) and k['state'] == 'current' and k['generation'] == 1
	    and k['expires'] is None and k['expires_ms'] == 0 for k in d['keys'])" < created.json) == True ]]
	[[ $(json "__import__('datetime').datetime.fromisoformat(d['keys'][0]['created'].replace('Z', '+00:00')).timestamp() * 1000
	    - d['keys'][0]['created_ms']" < created.json) == 0.0 ]]
}

@test "verify: each key, from stdin, from a file, from an Authorization value" {
	create
	for k in live.secret live.publishable test.secret test.publishable; do
		run --separate-stderr -0 fob verify < "$k"
		[[ $output == *VALID* && $output == *"$account"* && $output != *"$(cat "$k")"* && -z $stderr ]]
		run -0 fob verify --secret-file "$k" --output json --address "$FOBD_TCP"
		[[ $(json "d['verdict'], d['account'], d['environment'] + '.' + d['kind'], d['livemode'], d['superseded']" <<< "$output") == \
		    "('VALID', '$account', '$k', $([[ $k == live.* ]] && echo True || echo False), False)" ]]
		printf 'Basic %s\r\n' "$(printf '%s:' "$(cat "$k")" | base64 -w0)" > basic
		run -0 fob verify --basic < basic
		run -0 fob verify --basic --secret-file basic
	done
}

@test "verify: verdicts that are no are exit code 3" {
	create
	run -3 fob verify <<< "not a key"
	[[ $output == *MALFORMED* ]]
	run -3 fob verify --basic < live.secret
	[[ $output == *MALFORMED* ]]
	run -3 fob verify --require test < live.secret
	[[ $output == *WRONG_ENVIRONMENT* ]]
	run -0 fob verify --require live < live.secret
	run -0 fob verify --operation tokenize < live.publishable
	run -3 fob verify --operation charges.create < live.publishable
	[[ $output == *FORBIDDEN* ]]
	run -0 fob verify --operation charges.create < live.secret
	run -3 fob verify --output json <<< "sk_live_0123456789abcdefghijklmnopqrst000000"
	[[ $(json "d['verdict'] != 'VALID', d['account']" <<< "$output") == "(True, None)" ]]
}

@test "an operation name that can never be is a usage error, not a verdict" {
	create
	run --separate-stderr -1 fob verify --operation 'a b' < live.secret
	[[ -z $output && $stderr == *INVALID_ARGUMENT* ]]
}

@test "key roll: the new key is valid, the old one superseded; key list shows both" {
	create
	roll
	[[ $(cat rolled.err) == *"only time"* ]]
	run -0 fob verify --output json < live.secret
	[[ $(json "d['generation'], d['superseded']" <<< "$output") == "(2, False)" ]]
	run -0 fob verify --output json < live.old
	[[ $(json "d['generation'], d['current_generation'], d['superseded'],
	    86390000 < d['expires_ms'] - __import__('time').time() * 1000 <= 86400000" <<< "$output") == "(1, 2, True, True)" ]]
	[[ $(states) == "grace current" ]]
	run -0 fob key list "$account"
	[[ ${#lines[@]} -eq 6 && $output == *grace* && $output != *sk_live_* ]]
}

@test "key roll --grace and --expected-generation" {
	create
	local before=$(date +%s%3N)
	roll --grace 90s
	local after=$(date +%s%3N)
	run -0 json "$before <= d['old_key']['expires_ms'] - 90000 <= $after" < rolled.json
	[[ $output == True ]]
	run -4 fob key roll "$account" --environment live --expected-generation 1
	[[ $output == *ABORTED* && $output != *sk_live_* ]]
	roll --expected-generation 2
	roll --grace 0 --yes
	[[ $(states) == "grace grace revoked current" ]]
	run -3 fob verify < live.old
	[[ $output == *REVOKED* ]]
	run -3 fob key roll nobody_here --environment live
	[[ $output == *NOT_FOUND* ]]
}

@test "key roll --authorize-from: the current key agrees, no other does" {
	create
	cp live.secret first
	roll --authorize-from live.secret
	run -3 fob key roll "$account" --environment live --authorize-from first
	run -3 fob key roll "$account" --environment live --authorize-from test.secret
	[[ $(states) == "grace current" ]]
	run -0 fob key roll "$account" --environment live --authorize-from - < live.secret
}

@test "--token-file: a rerun shows the same reply and changes nothing; another command is refused" {
	run -0 --separate-stderr fob account create "$account" --token-file t
	first=$output
	[[ $(stat -c %a t) == 600 ]]
	run -0 --separate-stderr fob account create "$account" --token-file t
	[[ $output == "$first" ]]
	run -0 --separate-stderr fob key roll "$account" --environment live --token-file r --output json
	first=$output
	run -0 --separate-stderr fob key roll "$account" --environment live --token-file r --output json
	[[ $output == "$first" && $(states) == "grace current" ]]
	run -4 fob key roll "$account" --environment live --grace 1h --token-file r
	[[ $output == *ALREADY_EXISTS* && $output != *sk_live_* && $(states) == "grace current" ]]
	run -0 fob account suspend "$account" --yes --token-file s
	run -0 fob account suspend "$account" --yes --token-file s
}

@test "no answer in time: it may have been applied; a rerun with the token kept by fob applies it once" {
	create
	lose_replies "$PWD/lossy"
	run --separate-stderr -2 fob key roll "$account" --environment live --timeout 1s --address "ipc://$PWD/lossy"
	[[ $(states) == "grace current" ]]
	[[ -z $output && $stderr == *"may or may not have been applied"* ]] || { echo "$stderr"; false; }
	token=$(grep -oE -- '--token-file [^ ]+' <<< "$stderr")
	[[ $(stat -c %a "${token#* }") == 600 ]]
	run --separate-stderr -0 fob key roll "$account" --environment live $token
	first=$output
	grep -oE 'sk_live_[0-9A-Za-z]{36}' <<< "$output" > live.secret
	run -0 fob verify < live.secret
	[[ $(states) == "grace current" ]]
	run --separate-stderr -0 fob key roll "$account" --environment live $token
	[[ $output == "$first" && $(states) == "grace current" ]]
}

@test "no answer in time with --token-file: the same file is named" {
	create
	lose_replies "$PWD/lossy"
	run --separate-stderr -2 fob key roll "$account" --environment live --timeout 1s --address "ipc://$PWD/lossy" --token-file t
	[[ $stderr == *"may or may not have been applied"* && $stderr == *"same --token-file"* ]]
	run -0 fob key roll "$account" --environment live --token-file t
	[[ $(states) == "grace current" ]]
}

@test "a new secret that cannot be written: said loudly, and the rerun that is named shows it" {
	create
	run -1 bash -c "'$FOB_BUILD/fob' key roll '$account' --environment live > /dev/full"
	[[ $output == *"COULD NOT BE WRITTEN"* && $output == *"No space left on device"* && $output != *sk_live_* ]]
	token=$(grep -oE -- '--token-file [^ ]+' <<< "$output")
	run -0 fob key roll "$account" --environment live $token
	grep -oE 'sk_live_[0-9A-Za-z]{36}' <<< "$output" > live.secret
	run -0 fob verify < live.secret
	[[ $(states) == "grace current" ]]
	run -1 bash -c "'$FOB_BUILD/fob' account create '$account.2' --token-file t >&-"
	[[ $output == *"COULD NOT BE WRITTEN"* && $output == *"same --token-file"* ]]
	run -0 fob account create "$account.2" --token-file t
	[[ $output == *sk_live_* && $output == *sk_test_* ]]
}

@test "key revoke by its name: refused from then on, again is no error, one that is not there is" {
	create
	run -1 fob key revoke "$account" --environment live --kind secret --generation 1 < /dev/null
	run -0 fob verify < live.secret
	run -0 fob key revoke "$account" --environment live --kind secret --generation 1 --yes
	[[ $output == *revoked* ]]
	run -3 fob verify < live.secret
	[[ $output == *REVOKED* ]]
	run -0 fob verify < test.secret
	run -0 fob key revoke "$account" --environment live --kind secret --generation 1 --yes
	run -3 fob key revoke "$account" --environment live --kind secret --generation 7 --yes
	run -0 fob key revoke "$account" --environment test --kind publishable --generation 1 --yes --output json
	[[ $(json "d['state'], d['kind'], d['ended_ms'] > 0" <<< "$output") == "('revoked', 'publishable', True)" ]]
}

@test "key revoke --secret-file: the key says whose it is" {
	create
	roll
	run -0 fob key revoke --secret-file live.old --yes --output json
	[[ $(json "d['account'], d['environment'], d['generation'], d['state']" <<< "$output") == "('$account', 'live', 1, 'revoked')" ]]
	run -0 fob verify < live.secret
	run -0 fob key revoke --secret-file - --yes < test.publishable
	run -3 fob verify < test.publishable
	run -3 fob key revoke --secret-file - --yes <<< "sk_live_0123456789abcdefghijklmnopqrst000000"
	[[ $output != *0123456789* ]]
}

@test "a terminal: the question names the key, only y changes anything" {
	create
	roll
	last4=$(tail -c 5 live.secret)
	run -1 on_terminal $'n\n' "$FOB_BUILD/fob" key revoke "$account" --environment live --kind secret --generation 2
	[[ $output == *"Revoke secret live key 2 (…$last4) of $account? [y/N]"* && $output == *"nothing was changed"* ]]
	run -1 on_terminal $'\n' "$FOB_BUILD/fob" key roll "$account" --environment live --grace 0
	[[ $output == *"secret live key 2 (…$last4) of $account at once? [y/N]"* ]]
	run -1 on_terminal $'nope\n' "$FOB_BUILD/fob" account suspend "$account"
	[[ $(states) == "grace current" ]]
	run -0 fob verify < live.secret
	run -0 on_terminal $'Y\n' "$FOB_BUILD/fob" key roll "$account" --environment live --grace 0
	[[ $output == *$'\e[32msk_live_'* ]]
	[[ $(states) == "grace revoked current" ]]
	run -0 on_terminal $'yes\n' "$FOB_BUILD/fob" key revoke "$account" --environment live --kind secret --generation 3
	run -3 on_terminal '' "$FOB_BUILD/fob" key revoke "$account" --environment live --kind secret --generation 9
	[[ $output == *NOT_FOUND* && $output != *"[y/N]"* ]]
}

@test "a terminal: a roll without grace ends the key that the question named, or none" {
	create
	WHEN_ASKED="fob key roll $account --environment live" \
	    run -4 on_terminal $'y\n' "$FOB_BUILD/fob" key roll "$account" --environment live --grace 0
	[[ $output == *"secret live key 1 "* && $output == *ABORTED* && $output != *sk_live_* ]]
	[[ $(states) == "grace current" ]]
}

@test "a terminal: a hidden prompt, how far away times are, colours unless they are unwanted" {
	create
	run -0 on_terminal "$(cat live.secret)"$'\n' "$FOB_BUILD/fob" verify
	[[ $output == *VALID* && $output != *"$(cat live.secret)"* && $output == *$'\e[32m'* ]]
	roll
	run -0 on_terminal '' "$FOB_BUILD/fob" key list "$account"
	[[ $output == *"(in 23h59m)"* && $output == *$'\e['* ]]
	run -0 on_terminal '' "$FOB_BUILD/fob" --no-color key list "$account"
	[[ $output != *$'\e['* ]]
	NO_COLOR=1 run -0 on_terminal '' "$FOB_BUILD/fob" key list "$account"
	[[ $output != *$'\e['* ]]
	run -0 fob key list "$account"
	[[ $output != *$'\e['* && $output != *"(in "* ]]
}

@test "account suspend and resume: both environments, or one" {
	create
	run -0 fob account suspend "$account" --yes
	[[ $(grep -c suspended <<< "$output") == 2 ]]
	for k in live.secret test.publishable; do
		run -3 fob verify < "$k"
		[[ $output == *SUSPENDED* ]]
	done
	run -0 fob account resume "$account" --environment test --output json
	[[ $(json "[(a['environment'], a['suspended']) for a in d['accounts']]" <<< "$output") == "[('test', False)]" ]]
	run -0 fob verify < test.secret
	run -3 fob verify < live.secret
	run -0 fob account resume "$account"
	run -0 fob verify < live.secret
	run -3 fob account suspend nobody_here --yes
	[[ $output == *live*NOT_FOUND* && $output == *test*NOT_FOUND* ]]
}

@test "account list: every account of both environments, in pages that nobody sees" {
	for i in 1 2 3; do
		fob account create "$account.$i" --environment live > /dev/null 2>&1
	done
	run -0 fob account list --output json
	[[ $(json "[a['account'] for a in d['accounts'] if a['account'].startswith('$account.')]" <<< "$output") == \
	    "['$account.1', '$account.2', '$account.3']" ]]
	run -0 fob account list --environment test
	[[ $output != *"$account."* && ${lines[0]} == ENVIRONMENT* ]]
}

@test "key list: last used, nobody's account, half an account" {
	create
	run -0 fob key list "$account" --output json
	[[ $(json "[k['last_used'] for k in d['keys']]" <<< "$output") == "[None, None, None, None]" ]]
	run -0 fob verify < live.secret
	run -0 fob key list "$account" --output json
	[[ $(json "[k['last_used_ms'] > 0 for k in d['keys']].count(True)" <<< "$output") == 1 ]]
	run -3 fob key list nobody_here
	[[ $output == *NOT_FOUND* ]]
	run -0 fob account create "$account.half" --environment test
	run -0 fob key list "$account.half"
	[[ ${#lines[@]} -eq 3 ]]
	run -3 fob key list "$account.half" --environment live
}

@test "events: by time, of both environments or one, of one account; NDJSON" {
	create
	roll
	fob account suspend "$account" --environment live --yes > /dev/null
	run -0 fob events --account "$account" --output json
	[[ $(while read -r line; do json "d['environment'] + ':' + d['event']" <<< "$line"; done <<< "$output" | tr '\n' ' ') == \
	    "live:account_created test:account_created live:key_rolled live:account_suspended " ]]
	[[ $output != *sk_live_* ]]
	[[ $(json "[d['uid'], d['pid'] > 0, d['peer'], d['certificate']]" <<< "${lines[0]}") == "[$(id -u), True, None, None]" ]]
	run -0 fob events --account "$account" --environment live
	[[ ${lines[1]} == *" uid=$(id -u) pid="* ]]
	run -0 fob events --account "$account" --environment test
	[[ ${#lines[@]} -eq 2 && $output == *account_created* ]]
	run -0 fob events
	[[ $output == *"$account"* ]]
}

@test "events --follow: what happens later appears; it ends when nobody reads" {
	"$FOB_BUILD/fob" events --follow --account "$account" --output json > followed 2> follow.err 3>&- &
	follower=$!
	create
	wait_until 10 grep -q '"test".*account_created' followed
	roll
	wait_until 10 grep -q key_rolled followed
	kill "$follower"
	[[ ! -s follow.err ]]
	run -1 bash -c "set -o pipefail; '$FOB_BUILD/fob' events --follow --output json 2> err | head -n 1"
	[[ $(wc -l <<< "$output") -eq 1 ]]
	[[ -s err ]]
}

@test "events --follow goes on through a restart of fobd" {
	start_fobd "$BATS_TEST_TMPDIR/d"
	"$FOB_BUILD/fob" events --follow --account "$account" --timeout 1s > followed 2> follow.err 3>&- &
	follower=$!
	fob account create "$account" --environment live > /dev/null 2>&1
	wait_until 10 grep -q account_created followed
	stop_fobd
	wait_until 10 grep -q 'waiting for it to come back' follow.err
	start_fobd "$FOBD_DIR"
	fob key roll "$account" --environment live > /dev/null 2>&1
	wait_until 10 grep -q key_rolled followed
	kill "$follower"
	stop_fobd
}

@test "a verify listener does not administer: denied, exit code 3" {
	start_fobd "$BATS_TEST_TMPDIR/d"
	run -3 fob account list --address "$FOBD_TCP"
	[[ $output == *PERMISSION_DENIED* ]]
	run -3 fob account create x --address "$FOBD_VERIFY"
	run -0 fob stats --address "$FOBD_VERIFY"
	stop_fobd
}

@test "a fobd with one environment: every command does with that one, and says so" {
	start_fobd "$BATS_TEST_TMPDIR/d" test
	run --separate-stderr -0 fob account create "$account"
	[[ $output == *sk_test_* && $output != *sk_live_* && $stderr == *"serves test only"* ]]
	for c in "account list" "key list $account" "account suspend --yes $account" "account resume $account" events; do
		run --separate-stderr -0 fob $c
		[[ $output == *"test "* && $stderr == *"serves test only"* ]]
		[[ $c == events ]] || run -4 fob $c --environment live
		[[ $output == *FAILED_PRECONDITION* || $c == events ]]
	done
	run -2 fob health live
	run -0 fob stats --output json
	[[ $(json "[e['environment'] for e in d['environments']]" <<< "$output") == "['test']" ]]
	stop_fobd
}

@test "stats: what was done is counted" {
	start_fobd "$BATS_TEST_TMPDIR/d"
	create
	fob verify < live.secret > /dev/null
	fob verify <<< "not a key" > /dev/null || true
	run -0 fob stats --output json
	[[ $(json "[(e['environment'], e['serving'], e['accounts'], e['keys'], e['verdicts']['VALID']) for e in d['environments']]" \
	    <<< "$output") == "[('live', True, 1, 2, 1), ('test', True, 1, 2, 0)]" ]]
	[[ $(json "d['requests'] >= 4, d['codes']['OK'] >= 4, d['start_ms'] > 0" <<< "$output") == "(True, True, True)" ]]
	[[ $(json "[(e['rotating'], e['pepper_lines'], e['rotation_records']) for e in d['environments']]" <<< "$output") == \
	    "[(False, 1, 0), (False, 1, 0)]" ]]
	run -0 fob stats
	[[ $output == *"environment"*live*"environment"*test* && $output == *commits* ]]
	stop_fobd
}
