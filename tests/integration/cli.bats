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
	kill -CONT "$FOBD_PID" 2> /dev/null || true
	[[ $FOBD_DIR == "$BATS_FILE_TMPDIR"/* ]] || stop_fobd
}

# create: the account, its four keys in the files live.secret, live.publishable, test.secret and test.publishable.
create() {
	create_account "$account"
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

@test "addresses that cannot be, and a fobd that is not there, at once" {
	run -1 fob health --address "ipc:///$(printf '%0107d' 0)"
	[[ $output == *"at most 107 bytes"*"has 108"* ]]
	run -1 fob health --address 127.0.0.1:7400
	[[ $output == *"is not an address"* ]]
	run -1 fob health --address tls+tcp://127.0.0.1:1
	[[ $output == *"needs --tls-ca FILE"* && $output != *fob_options* ]]
	run -1 fob health --tls-ca x
	[[ $output == *"--tls-ca is for tls+tcp:// only"* ]]
	run -2 timeout 30 "$FOB_BUILD/fob" health --timeout 60s --address tcp://127.0.0.1:1
	[[ $output == *"Connection refused"* ]]
}

@test "account create: four keys on stdout, once; that it was the only time on stderr" {
	run --separate-stderr -0 fob account create "$account"
	for p in sk_live_ pk_live_ sk_test_ pk_test_; do
		[[ $(grep -cE "${p}[0-9A-Za-z]{36}\$" <<< "$output") == 1 ]]
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

@test "--token-file: commands at once with one new file use one token" {
	create
	for i in {1..12}; do
		"$FOB_BUILD/fob" account suspend "$account" --environment live --yes --token-file t > /dev/null 2> "err.$i" 3>&- &
		jobs[i]=$!
	done
	for i in {1..12}; do
		wait "${jobs[i]}" || { cat err.*; false; }
	done
	[[ -z $(compgen -G "t.??????") ]]
}

@test "--token-file: what cannot be used, and why" {
	echo "not a token" > t
	chmod 600 t
	run -1 fob account create "$account" --token-file t
	[[ $output == *"t: not a token"* ]]
	run -0 fob account create "$account" --token-file u
	printf '\xef\xbb\xbf%s\r\n' "$(cat u)" > t
	run -0 fob account create "$account" --token-file t
	run -4 fob account create "$account.2" --token-file u
	[[ $output == *"the token in u was used for another command"* && $output != *request_token* ]]
	run -1 fob account create "$account.2" --token-file no/u
	[[ $output == *"no/u: No such file or directory"* ]]
}

@test "a secret with a byte order mark, blanks or line ends around it; UTF-16 is named" {
	create
	for form in '%s' '%s\n' '%s\r\n' ' %s \n\n' '\xef\xbb\xbf%s\r\n'; do
		# shellcheck disable=SC2059 # the loop's formats
		printf "$form" "$(cat live.secret)" > key
		run -0 fob verify --secret-file key
	done
	printf '\xff\xfes\0k\0' > key
	run -1 fob verify --secret-file key
	[[ $output == *"key is UTF-16"* ]]
	printf '\xef\xbb\xbf \n' > key
	run -1 fob verify --secret-file key
	[[ $output == *"nothing"* ]]
}

@test "a name that begins like a key is no key" {
	create
	mkdir mask_test_env
	cp live.secret mask_test_env/sk_live_acct_1.txt
	run -0 fob verify --secret-file mask_test_env/sk_live_acct_1.txt --operation task_live_run
	run -0 fob account create "disk_live_$BATS_TEST_NUMBER" --environment live
	run -1 fob verify "sk_live_0123456789abcdef"
	[[ $output == *"looks like an API key"* && $output != *0123456789* ]]
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

@test "standard output that cannot be written to: said before anything is changed" {
	create
	for to in '> /dev/full' '>&-' '1< /dev/null'; do
		run -1 bash -c "'$FOB_BUILD/fob' key roll '$account' --environment live $to"
		[[ $output == *"nothing was changed"* && $output != *sk_live_* ]]
	done
	[[ $(states) == current ]]
	run -1 bash -c "ulimit -f 0; '$FOB_BUILD/fob' account create '$account.2' > new.txt"
	[[ $output == *"nothing was changed"*"File too large"* ]]
	run -3 fob key list "$account.2"
	# A file with room for little more.
	truncate -s 2000 new.txt
	run -1 bash -c "ulimit -f 4; '$FOB_BUILD/fob' account create '$account.2' >> new.txt"
	run -0 bash -c "ulimit -f 8; '$FOB_BUILD/fob' account create '$account.2' >> new.txt"
	[[ $(grep -ac 'sk_live_' new.txt) == 1 ]]
}

@test "a new secret that cannot be written: said loudly, and the rerun that is named shows it" {
	create
	mkfifo p
	kill -STOP "$FOBD_PID"
	"$FOB_BUILD/fob" key roll "$account" --environment live --token-file t > p 2> roll.err 3>&- &
	roller=$!
	exec 9< p
	wait_until 10 test -s t
	exec 9<&-
	kill -CONT "$FOBD_PID"
	rc=0
	wait "$roller" || rc=$?
	[[ $rc == 1 && $(states) == "grace current" ]]
	[[ $(cat roll.err) == *"COULD NOT BE WRITTEN"*"Broken pipe"*"same --token-file"* ]]
	[[ $(cat roll.err) != *sk_live_* ]]
	run -0 fob key roll "$account" --environment live --token-file t
	grep -oE 'sk_live_[0-9A-Za-z]{36}' <<< "$output" > live.secret
	run -0 fob verify < live.secret
	[[ $(states) == "grace current" ]]
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
	[[ $output == *"in 23h59m"* && $output == *$'\e['* ]]
	run -0 on_terminal '' "$FOB_BUILD/fob" --no-color key list "$account"
	[[ $output != *$'\e['* ]]
	NO_COLOR=1 run -0 on_terminal '' "$FOB_BUILD/fob" key list "$account"
	[[ $output != *$'\e['* ]]
	run -0 fob key list "$account"
	[[ $output != *$'\e['* && $output != *"(in "* ]]
}

@test "a terminal: no line is longer than it is wide; with room, times are shown in both ways" {
	create
	roll
	roll
	fob key revoke "$account" --environment live --kind secret --generation 1 --yes > /dev/null
	fob verify < live.secret > /dev/null
	fob account suspend "$account" --environment test --yes > /dev/null
	for c in "key list $account" "account list" "events --account $account" "account resume $account"; do
		run -0 on_terminal '' bash -c "stty cols 80; exec '$FOB_BUILD/fob' --no-color $c"
		[[ $(wc -L <<< "$output") -le 80 && $output =~ (now|ago) ]] || { echo "$output"; false; }
		run -0 on_terminal '' bash -c "stty cols 200; exec '$FOB_BUILD/fob' --no-color $c"
		[[ $output =~ Z\ \((now|[0-9a-z ]*ago)\) ]]
	done
}

@test "a key that was revoked does not expire, and none was used before it was made" {
	create
	roll
	fob verify < live.secret > /dev/null
	fob key revoke "$account" --environment live --kind secret --generation 1 --yes > /dev/null
	run -0 fob key list "$account" --environment live --output json
	[[ $(json "[(k['state'], k['expires'], k['ended'] is None) for k in d['keys'] if k['kind'] == 'secret']" <<< "$output") == \
	    "[('revoked', None, False), ('current', None, True)]" ]]
	[[ $(json "[k['last_used_ms'] >= k['created_ms'] for k in d['keys'] if k['last_used']]" <<< "$output") == "[True]" ]]
	run -0 fob events --account "$account" --environment live --output json
	[[ $(json "d['event'], d['expires']" <<< "${lines[-1]}") == "('key_revoked', None)" ]]
	run -3 fob verify --output json < live.old
	[[ $(json "d['verdict'], d['expires']" <<< "$output") == "('REVOKED', None)" ]]
	# The newest secret key has one time of an end, in the past.
	run -0 fob key list "$account" --environment live
	[[ $output == *revoked* && $output != *"in 2"* ]]
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
	[[ $output != *"$account."* && ${lines[0]} == ENV* ]]
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
	[[ $(json "[d['uid'], d['pid'] > 0, d['peer'], d['certificate'], d['on_behalf_of']]" <<< "${lines[0]}") == \
	    "[$(id -u), True, None, None, None]" ]]
	run -0 fob events --account "$account" --environment test
	[[ ${#lines[@]} -eq 2 && $output == *account_created\ \ * ]]
	run -0 fob events
	[[ $output == *"$account"* ]]
	run -3 fob events --account nobody_here
	[[ $output == *"NOT_FOUND: no account nobody_here"* ]]
}

@test "events --follow: what happens later appears; it ends when nobody reads" {
	"$FOB_BUILD/fob" events --follow --account "$account" --output json > followed 2> follow.err 3>&- &
	follower=$!
	wait_until 10 test -s follow.err # it has asked, and found no such account
	create
	wait_until 10 grep -q '"test".*account_created' followed
	roll
	wait_until 10 grep -q key_rolled followed
	kill "$follower"
	[[ $(cat follow.err) == "fob: events: NOT_FOUND: no account $account yet: waiting for it" ]]
	run -0 bash -c "set -o pipefail; '$FOB_BUILD/fob' events --follow --output json 2> err | head -n 1"
	[[ $(wc -l <<< "$output") -eq 1 && ! -s err ]]
}

@test "a reader that leaves, of a pipe or of a socket, is no error" {
	create
	for c in "events --follow" "key list $account" "account list --output json" "verify --secret-file live.secret"; do
		run -0 "$PYTHON" -c '
import socket, subprocess, sys
for ours, theirs in socket.socketpair(), socket.socketpair():
    ours.close()
    done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, timeout=20)
    assert (done.returncode, done.stderr) == (0, b""), done
' "$FOB_BUILD/fob" $c
		run -0 bash -c "set -o pipefail; '$FOB_BUILD/fob' $c 2>&1 | true"
		[[ -z $output ]]
	done
	# Nothing is left to be written when this reader leaves.
	run -0 "$PYTHON" -c '
import socket, subprocess, sys
ours, theirs = socket.socketpair()
fob = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
theirs.close()
seen = b""
while b"account_created" not in seen:
    seen += ours.recv(4096)
ours.close()
assert fob.communicate(timeout=20)[1] == b"" and fob.returncode == 0, fob.returncode
' "$FOB_BUILD/fob" events --follow --account "$account" --environment live
}

@test "the first process of a PID namespace ends on SIGTERM" {
	unshare -rpf true || skip "no user and PID namespaces here"
	unshare -rpf --kill-child "$FOB_BUILD/fob" events --follow > followed 2> follow.err 3>&- &
	follower=$!
	wait_until 10 test -s followed
	run -0 kill $(< "/proc/$follower/task/$follower/children")
	rc=0
	wait "$follower" || rc=$?
	[[ $rc == 143 ]]
	follower=
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

@test "backup to a folder whose name ends in a slash" {
	run -0 fob backup --config "$FOBD_DIR/fobd.conf" live copy//
	[[ $output == *"live: copied to copy: "* ]]
	[[ -f copy/data.mdb && $(ls -A) == copy ]]
	run -1 fob backup --config "$FOBD_DIR/fobd.conf" live copy/
	[[ $output == *"copy: exists already"* ]]
	run -1 fob backup --config "$FOBD_DIR/fobd.conf" live "$(printf '%05000d' 0)"
	[[ $output == *"too long"* ]]
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
	[[ $(json "sorted((a['class'], a['environment'], a['code'], a['count']) for a in d['answered'] if a['class'] in ('verify', 'change'))" \
	    <<< "$output") == "[('change', 'live', 'OK', 1), ('change', 'test', 'OK', 1), ('verify', 'any', 'OK', 1), ('verify', 'live', 'OK', 1)]" ]]
	[[ $(json "(d['durations']['verify']['count'], sum(d['durations']['verify']['buckets']), d['durations']['verify']['sum_seconds'] > 0)" \
	    <<< "$output") == "(2, 2, True)" ]]
	[[ $(json "[(e['group_sizes'][0], sum(e['group_sizes']), e['superseded_in_use']) for e in d['environments']]" \
	    <<< "$output") == "[(1, 1, 0), (1, 1, 0)]" ]]
	[[ $(json "[(e['key_states'] or {}).get('current', 2) for e in d['environments']]" <<< "$output") == "[2, 2]" ]]
	run -0 fob stats
	[[ $output == *"verify took"*"half within"* ]]
	[[ $output == *"environment"*live*"environment"*test* && $output == *commits* ]]
	stop_fobd
}
