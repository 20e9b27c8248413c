#!/usr/bin/env bats
# `fob account import` against a real fobd: both formats, running it again, what it refuses, what becomes of the keys, and
# a fobd that is killed in the middle.

load ../lib/daemon.bash

setup_file() {
	start_fobd "$BATS_FILE_TMPDIR/d"
}

teardown_file() {
	stop_fobd
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	# What is imported is of each test alone.
	me=t$BATS_TEST_NUMBER
	export TERM=xterm TMPDIR=$BATS_TEST_TMPDIR
}

teardown() {
	[[ -z ${importer:-} ]] || kill "$importer" 2> /dev/null || true
	[[ $FOBD_DIR == "$BATS_FILE_TMPDIR"/* ]] || stop_fobd
}

# sha TEXT: its SHA-256.
sha() {
	printf %s "$1" | sha256sum | cut -d' ' -f1
}

# one ACCOUNT KIND KEY: a line of NDJSON for one key.
one() {
	printf '{"account":"%s","kind":"%s","sha256":"%s","last4":"%s"}\n' "$1" "$2" "$(sha "$3")" abcd
}

# many N: N accounts with both keys each, a line an account; account i's secret key is sk_live_ME-i.
many() {
	"$PYTHON" - "$me" "$1" << 'PY'
import hashlib, json, sys
me, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    a = {"account": "%s-%d" % (me, i), "created_ms": 1700000000000 + i}
    for kind, prefix in ("secret", "sk"), ("publishable", "pk"):
        key = "%s_live_%s-%d" % (prefix, me, i)
        a[kind + "_sha256"] = hashlib.sha256(key.encode()).hexdigest()
        a[kind + "_last4"] = "%04d" % (i % 10000)
    print(json.dumps(a))
PY
}

# verdict KEY: of it, with the exit code of the command.
verdict() {
	printf %s "$1" > key
	fob verify --secret-file key --output json > verified.json || true
	json 'd["verdict"]' < verified.json
}

# counts FILE: imported, unchanged, conflicts, refused.
counts() {
	json '" ".join(str(d[k]) for k in ("imported", "unchanged", "conflicts", "refused"))' < "$1"
}

@test "NDJSON, an account a line: keys verify, and running it again changes nothing" {
	[[ $(verdict "sk_live_$me-0") == MALFORMED ]]
	many 1000 > a.ndjson
	fob account import a.ndjson --environment live --output json > first.json
	[[ $(counts first.json) == "1000 0 0 0" ]]
	fob account import --environment live --output json < a.ndjson > second.json
	[[ $(counts second.json) == "0 1000 0 0" ]]
	[[ $(verdict "sk_live_$me-999") == VALID ]]
	[[ $(json 'd["account"], d["livemode"], d["kind"], d["generation"], d["created_ms"], d["last4"]' < verified.json) == \
	    "('$me-999', True, 'secret', 1, 1700000000999, '0999')" ]]
	[[ $(verdict "pk_live_$me-0") == VALID ]]
	[[ $(verdict "sk_live_$me-1000") == MALFORMED ]]
	run -0 fob events --environment live --account "$me-7"
	[[ $output == *account_imported* ]]
}

@test "a key a line; the second line of an account adds its other key" {
	{
		one "$me" secret "sk_live_$me"
		one "$me" publishable "pk_live_$me"
	} > a
	run -0 fob account import a --environment live
	[[ $output == *"imported"*2* ]]
	[[ $(verdict "sk_live_$me") == VALID ]]
	[[ $(verdict "pk_live_$me") == VALID ]]
}

@test "CSV by its name or by --format, with quotes and line ends of both kinds" {
	printf 'kind,"sha256",last4,account\r\nsecret,%s,abcd,"%s"\r\npublishable,"%s",efgh,%s' "$(sha "sk_live_$me")" "$me" \
	    "$(sha "pk_live_$me")" "$me" > a.csv
	fob account import a.csv --environment live --output json > first.json
	[[ $(counts first.json) == "2 0 0 0" ]]
	fob account import --format csv --environment live --output json < a.csv > second.json
	[[ $(counts second.json) == "0 2 0 0" ]]
	run -1 fob account import --format ndjson --environment live a.csv
	[[ $output == *"a.csv:1: it is not JSON"* ]]
	[[ $(verdict "pk_live_$me") == VALID ]]
}

@test "Basic, operations and the required environment hold for imported keys" {
	one "$me" publishable "pk_live_$me" | fob account import --environment live
	printf 'Basic %s' "$(printf 'pk_live_%s:' "$me" | base64)" > header
	run -0 fob verify --basic --secret-file header
	run -0 fob verify --basic --secret-file header --operation tokenize
	run -3 fob verify --basic --secret-file header --operation charges.create
	[[ $output == *FORBIDDEN* ]]
	run -3 fob verify --basic --secret-file header --require test
	[[ $output == *WRONG_ENVIRONMENT* ]]
}

@test "live and test: an import into one is nothing to the other" {
	one "$me" secret "sk_test_$me" | fob account import --environment live
	[[ $(verdict "sk_test_$me") == MALFORMED ]]
	one "$me" secret "sk_test_$me" | fob account import --environment test
	[[ $(verdict "sk_test_$me") == VALID ]]
	[[ $(json 'd["environment"], d["livemode"]' < verified.json) == "('test', False)" ]]
	# Imported as another kind than its prefix says, a key is not found.
	one "$me-2" publishable "sk_test_$me-2" | fob account import --environment test
	[[ $(verdict "sk_test_$me-2") == MALFORMED ]]
}

@test "the first roll makes an ordinary key; the imported one has its grace, and does not come back" {
	one "$me" secret "sk_live_$me" > a
	fob account import a --environment live
	fob key roll "$me" --environment live --output json > rolled.json
	[[ $(verdict "$(json 'd["new_key"]["secret"]' < rolled.json)") == VALID ]]
	[[ $(verdict "sk_live_$me") == VALID ]]
	[[ $(json 'd["superseded"], d["generation"], d["current_generation"]' < verified.json) == "(True, 1, 2)" ]]
	fob key revoke "$me" --environment live --kind secret --generation 1 --yes
	[[ $(verdict "sk_live_$me") == REVOKED ]]
	fob account import a --environment live --output json > again.json
	[[ $(counts again.json) == "0 1 0 0" ]]
	[[ $(verdict "sk_live_$me") == REVOKED ]]
}

@test "an account without keys gets its secret key by its first roll" {
	echo "{\"account\":\"$me\"}" | fob account import --environment live
	run -0 fob key roll "$me" --environment live
	[[ $output == *"generation"*1* && $output != *"old generation"* ]]
	fob key roll "$me" --environment live --output json > rolled.json
	[[ $(json 'd["old_key"]["generation"]' < rolled.json) == 1 ]]
}

@test "conflicts: told with their lines, exit code 4; the others are imported when it may go on" {
	one "$me" secret "sk_live_$me" | fob account import --environment live
	{
		one "$me" secret "sk_live_other-$me"
		one "$me-b" secret "sk_live_$me"
		one "$me-c" secret "sk_live_$me-c"
	} > a
	run -4 fob account import a --environment live --continue-on-error
	[[ $output == *"a:1: the account is there already, with another key"* ]]
	[[ $output == *"a:2: the key is there already, as another account's"* ]]
	[[ $(verdict "sk_live_$me-c") == VALID ]]
	[[ $(verdict "sk_live_other-$me") == MALFORMED ]]
}

@test "a bad line stops it, with what came before imported; --continue-on-error passes over all of them" {
	{
		one "$me" secret "sk_live_$me"
		echo '{"account":"a b"}'
		one "$me-b" secret "sk_live_$me-b"
		echo
		echo "{\"account\":\"$me-c\",\"created_ms\":99999999999999}"
	} > a
	run -1 fob account import a --environment live
	[[ $output == *"a:2: an account is"* && $output == *"--continue-on-error"* ]]
	[[ $(verdict "sk_live_$me") == VALID ]]
	[[ $(verdict "sk_live_$me-b") == MALFORMED ]]
	run -1 fob account import a --environment live --start-line 3
	[[ $output == *"a:5: created_ms is in the future"* ]]
	[[ $(verdict "sk_live_$me-b") == VALID ]]
	run -1 fob account import a --environment live --continue-on-error
	[[ $output == *a:2:* && $output == *a:5:* ]]
}

@test "a key itself is refused and never repeated; so is a Basic header" {
	for line in "{\"account\":\"$me\",\"secret\":\"sk_live_SHOULDNOTBEHERE\"}" 'sk_test_SHOULDNOTBEHERE' \
	    "{\"account\":\"$me\",\"secret_sha256\":\"c2tfbGl2ZV9TSE9VTEROT1RCRUhFUkU6\"}"; do
		echo "$line" > a
		run -1 fob account import a --environment live
		[[ $output == *"a:1: it holds something that looks like an API key"* ]]
		[[ $output != *SHOULDNOTBEHERE* && $output != *c2tfbGl2* ]]
		run -1 fob account import a --environment live --format csv
		[[ $output != *SHOULDNOTBEHERE* && $output != *c2tfbGl2* ]]
	done
	[[ $(cat "$FOBD_DIR/log") != *SHOULDNOTBEHERE* ]]
}

@test "a dry run checks every line and needs no fobd" {
	many 300 > a
	echo '{"account":"'"$me"'","secret_last4":"abcd"}' >> a
	run -1 fob --address ipc:///nowhere account import a --environment live --dry-run
	[[ $output == *"a:301: there is a last4 without its sha256"* ]]
	[[ $output == *"sound lines"*300* && $output != *--continue-on-error* ]]
	[[ $(verdict "sk_live_$me-0") == MALFORMED ]]
}

@test "a dry run refuses what the real run refuses, and goes on to the end" {
	{
		one "$me" secret "sk_live_$me"
		one "$me" secret "sk_live_$me"
		one "$me-b" secret "sk_live_$me"
		one "$me" secret "sk_live_other-$me"
		one "$me" publishable "sk_live_$me"
		echo "{\"account\":\"$me-c\",\"created_ms\":$(($(date +%s) + 100000))000}"
		echo "{\"account\":\"$me-c\",\"created_ms\":$(date +%s)}"
		one "$me-d" secret "sk_live_$me-d"
		echo "{\"account\":\"$me-d\"}"
	} > a
	run -1 fob account import a --environment live --dry-run
	[[ $output == *"a:3: an earlier line gives the key to another account"* ]]
	[[ $output == *"a:4: an earlier line gives the account another key"* ]]
	[[ $output == *"a:6: created_ms is in the future"* && $output == *"a:7: "*"seconds"* ]]
	run --separate-stderr -1 fob account import a --environment live --dry-run --output json
	[[ $(json '[d[k] for k in ("sound", "unchanged", "conflicts", "refused")]' <<< "$output") == "[3, 2, 2, 2]" ]]
	run --separate-stderr -1 fob account import a --environment live --continue-on-error --output json
	[[ $(json '[d[k] for k in ("imported", "unchanged", "conflicts", "refused")]' <<< "$output") == "[3, 2, 2, 2]" ]]
	[[ $(grep -o '^fob: a:[0-9]*' <<< "$stderr" | sort | tr '\n' ' ') == "fob: a:3 fob: a:4 fob: a:6 fob: a:7 " ]] || { echo "$stderr"; false; }
}

@test "files as spreadsheets write them, and what no flag can help" {
	printf '\xef\xbb\xbfaccount;Kind ;sha256;last4\r\n%s;secret;%s;abcd\r\n;;;\r\n' "$me" "$(sha "sk_live_$me")" > A.CSV
	run -1 fob account import A.CSV --environment live
	[[ $output == *'A.CSV: '*'column 2, "Kind", has no name'* && $output != *--continue-on-error* ]]
	sed -i 's/Kind/kind/' A.CSV
	run -0 fob account import A.CSV --environment live
	[[ $(verdict "sk_live_$me") == VALID ]]
	printf '\xef\xbb\xbf{"account":"%s-b"}\n' "$me" > b.ndjson
	run -0 fob account import b.ndjson --environment live
}

@test "usage: what must be given, and what cannot be read" {
	run -1 fob account import a
	[[ $output == *--environment* ]]
	run -1 fob account import a --environment live
	[[ $output == *"a: No such file"* ]]
	: > a
	run -1 fob account import a --environment live --format xml
	run -1 fob account import a --environment live --start-line 0
	run -0 fob account import a --environment live
	run -1 fob account import . --environment live
	run -2 fob --address ipc:///nowhere account import a --environment live
	run -3 fob --address "$FOBD_VERIFY" account import --environment live <<< '{"account":"x"}'
	[[ $output == *PERMISSION_DENIED* ]]
}

@test "progress on a terminal, and not elsewhere" {
	many 2000 > a
	run -0 on_terminal "" "$FOB_BUILD/fob" account import a --environment live
	[[ $output == *imported*2000* ]]
	run -0 --separate-stderr fob account import a --environment live
	[[ -z $stderr ]]
}

@test "fobd is killed in the middle: the command says how to go on, and the same command finishes it" {
	start_fobd "$BATS_TEST_TMPDIR/d" live
	many 60000 > a
	fob account import a --environment live --timeout 2s > out 2> err 3>&- &
	importer=$!
	wait_until 20 some_are_there
	kill -KILL "$FOBD_PID"
	wait_until 10 fobd_gone
	rc=0
	wait "$importer" || rc=$?
	importer=
	[[ $rc == 2 ]]
	grep -q "run the same command again" err
	start_fobd "$BATS_TEST_TMPDIR/d"
	fob stats --output json > stats.json
	before=$(json 'd["environments"][0]["accounts"]' < stats.json)
	((before > 0 && before < 60000))
	line=$(sed -n 's/.*--start-line \([0-9]*\).*/\1/p' err)
	fob account import a --environment live --start-line "$line" --output json > again.json
	[[ $(json 'd["imported"]' < again.json) == $((60000 - before)) ]]
	fob account import a --environment live --output json > whole.json
	[[ $(counts whole.json) == "0 60000 0 0" ]]
	[[ $(verdict "sk_live_$me-0") == VALID ]]
	[[ $(verdict "sk_live_$me-59999") == VALID ]]
	# What has taken an import knows it after a restart, and so it did above.
	stop_fobd
	start_fobd "$BATS_TEST_TMPDIR/d"
	[[ $(verdict "sk_live_$me-1") == VALID ]]
}

some_are_there() {
	fob stats --output json > stats.json && [[ $(json 'd["environments"][0]["accounts"]' < stats.json) -gt 1000 ]]
}
