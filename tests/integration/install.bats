#!/usr/bin/env bats
# What `make install` lays down, used as a user of libfob would: the header, both libraries, pkg-config, the symbols. And
# what else a newcomer does first: `make`, `make run`.

load ../lib/daemon.bash

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.."
	export ROOT="$PWD" DEST="$BATS_FILE_TMPDIR/dest"
	case $FOB_BUILD in
	*address*) san=address,undefined ;;
	*) san= ;;
	esac
	export san
	install_to "$DEST"
	cat > "$BATS_FILE_TMPDIR/user.c" <<'END'
#include <fob.h>
#include <stdio.h>

int
main(void)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c = NULL;
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	int fault;

	if (fob_options_set_address(o, "ipc:///nonexistent/fob.sock") != 0 || fob_client_new(o, &c, NULL) != 0)
		return 1;
	fault = fob_verify(c, &(struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1,
	    .timeout_ms = 50 }, &v, NULL);
	printf("%s %d %d\n", fob_fault_name(fault), fob_allows(&v), fob_http_status(fault, v.verdict));
	fob_client_free(c);
	fob_options_free(o);
	return 0;
}
END
}

teardown() {
	stop_fobd
}

install_to() {
	make -s --no-print-directory -C "$ROOT" install B="$FOB_BUILD" SAN="$san" DESTDIR="$1" PREFIX=/usr
}

compile() {
	gcc ${san:+-fsanitize=$san} -std=c99 -Wall -Wextra -Wpedantic -Werror "$BATS_FILE_TMPDIR/user.c" \
	    -o "$BATS_TEST_TMPDIR/user" "$@"
}

declared() {
	sed -e 's,/\*.*\*/,,' "$ROOT/client/fob.h" | tr '\n' ' ' | grep -oE '[ *]fob_[a-z0-9_]+\(' | tr -d ' *(' |
	    grep -vE '_cb$' | sort -u
}

@test "pkg-config knows the library, and a program links with the shared one" {
	flags=$(PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$DEST pkg-config --cflags --libs fob)
	compile $flags
	run env LD_LIBRARY_PATH="$DEST/usr/lib" "$BATS_TEST_TMPDIR/user"
	[ "$status" -eq 0 ]
	[ "$output" = "UNAVAILABLE 0 503" ]
}

@test "a program links with the static library" {
	libs=$(PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig pkg-config --static --libs fob | sed 's/ *-lfob / /')
	compile -I"$DEST/usr/include" "$DEST/usr/lib/libfob.a" $libs
	run "$BATS_TEST_TMPDIR/user"
	[ "$status" -eq 0 ]
	[ "$output" = "UNAVAILABLE 0 503" ]
}

# The example of README.md, compiled as its first comment says, against a fobd.
@test "verify.c: compiled with the shared and with the static library, as pkg-config says, it verifies a key" {
	local way
	export PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig
	cd "$BATS_TEST_TMPDIR"
	start_fobd "$BATS_FILE_TMPDIR/d"
	create_account acct_1
	gcc ${san:+-fsanitize=$san} -o shared "$ROOT/client/examples/verify.c" \
	    $(PKG_CONFIG_SYSROOT_DIR=$DEST pkg-config --cflags --libs fob)
	# A sanitizer's runtime cannot be linked statically.
	[[ -n $san ]] || gcc -static -o static "$ROOT/client/examples/verify.c" -I"$DEST/usr/include" -L"$DEST/usr/lib" \
	    $(pkg-config --static --cflags --libs fob)
	for way in shared static; do
		[[ $way == shared || -z $san ]] || continue
		run -0 env LD_LIBRARY_PATH="$DEST/usr/lib" "./$way" "$FOBD_VERIFY" < live.secret
		[ "$output" = "acct_1, live mode" ]
	done
}

@test "the .proto files, PROTOCOL.md, openapi.yaml and what Prometheus and Grafana read are installed, and a client's messages are made from them" {
	cmp "$ROOT/proto/PROTOCOL.md" "$DEST/usr/share/doc/fob/PROTOCOL.md"
	for file in METRICS.md alerts.yml alerts_test.yml grafana.json openapi.yaml; do
		cmp "$ROOT/client/http/$file" "$DEST/usr/share/doc/fob/$file"
	done
	protoc -I"$DEST/usr/share/fob/proto" --c_out="$BATS_TEST_TMPDIR" fob/rpc/v1/rpc.proto fob/v1/types.proto \
	    fob/v1/keys.proto fob/v1/admin.proto fob/v1/health.proto
	[ -s "$BATS_TEST_TMPDIR/fob/v1/admin.pb-c.h" ]
}

@test "manual pages and completions are installed where man and the shells look" {
	for page in man1/fob.1 man8/fobd.8 man8/fob-http.8 man5/fobd.conf.5 man5/fob-http.conf.5 man3/libfob.3 man3/fob_verify.3; do
		[ -s "$DEST/usr/share/man/$page" ]
	done
	grep -qx '.so man3/fob_verify.3' "$DEST/usr/share/man/man3/fob_verify_async.3"
	cmp client/cli/fob.bash "$DEST/usr/share/bash-completion/completions/fob"
	cmp client/cli/fob.zsh "$DEST/usr/share/zsh/vendor-completions/_fob"
	cmp client/cli/fob.fish "$DEST/usr/share/fish/vendor_completions.d/fob.fish"
}

@test "install: a DESTDIR with a blank gets the same files" {
	install_to "$BATS_TEST_TMPDIR/a b"
	diff -r "$DEST" "$BATS_TEST_TMPDIR/a b"
}

@test "install builds nothing: it says what to do first" {
	run -2 make --no-print-directory install B="$BATS_TEST_TMPDIR/none" DESTDIR="$BATS_TEST_TMPDIR/dest"
	[[ $output == *"is not built"*"run \`make\` first"* ]]
	[ ! -e "$BATS_TEST_TMPDIR/dest" ] && [ ! -e "$BATS_TEST_TMPDIR/none" ]
}

@test "plain make builds the programs, and installs no package" {
	run -0 make --no-print-directory -n B="$BATS_TEST_TMPDIR/none"
	[[ $output == *"-o $BATS_TEST_TMPDIR/none/fobd "* && $output == *"/libfob.so.0"* ]]
	[[ $output != *"install-packages gcc"* ]]
}

@test "where packages are missing, make names them before a command fails" {
	run -1 "$ROOT/tests/lib/install-packages" --check make no-such-package-1 no-such-package-2
	[[ $output == *"not installed: no-such-package-1 no-such-package-2"*"apt-get install no-such"* ]]
	run -0 "$ROOT/tests/lib/install-packages" --check make
	[ -z "$output" ]
}

# demo_on PORT: `make run`, in a clone that has nothing but its script. It is up when it has said how it ends.
demo_on() {
	: > "said.$1" # wait_until gives up when grep finds no file
	FOB_PORT=$1 tests/lib/demo "$FOB_BUILD" > "said.$1" 2>&1 3>&- &
	demos="$demos $!"
	wait_until 30 grep -q "Ctrl-C here stops fobd and fob-http" "said.$1" || {
		cat "said.$1"
		return 1
	}
}

# web_of PORT PATH: what the fob-http whose address was printed with PATH says to a request without a key.
web_of() {
	local address
	address=$(grep -oE "127\.0\.0\.1:[0-9]+$2( |\$)" "said.$1")
	"$PYTHON" -c '
import socket, sys
host, _, rest = sys.argv[1].partition(":")
with socket.create_connection((host, int(rest.partition("/")[0])), 10) as s:
    s.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\nX-Original-Method: POST\r\nX-Original-URI: /v1/charges\r\n\r\n" % sys.argv[2].encode())
    print(s.recv(4096).decode())' "$address" "$2"
}

@test "make run: two at once, each with a port and a folder of its own" {
	local one two demos=
	cd "$BATS_TEST_TMPDIR"
	mkdir -p tests/lib
	cp "$ROOT/tests/lib/demo" tests/lib
	one=$(free_port)
	two=$(free_port)
	demo_on "$one"
	demo_on "$two"
	run -0 fob --address "ipc://run/$one/admin.sock" health
	run -0 fob --address "tcp://127.0.0.1:$two" health
	web_of "$one" /v1/auth | grep -q "^HTTP/1.1 401 "
	web_of "$two" /v1/auth | grep -q "^HTTP/1.1 401 "
	web_of "$one" / | grep -q "^HTTP/1.1 200 "
	web_of "$two" / | grep -q "^HTTP/1.1 200 "
	run ! env FOB_PORT="$two" tests/lib/demo "$FOB_BUILD"
	[[ $output == *"port $two is in use"* ]]
	kill $demos
	wait $demos
}

@test "the header is C++ too" {
	cxx=$(command -v g++ || command -v clang++) || skip "no C++ compiler"
	echo '#include <fob.h>' > "$BATS_TEST_TMPDIR/user.cc"
	"$cxx" -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
	cat > "$BATS_TEST_TMPDIR/user.cc" <<'END'
#include <fob.h>

int
verify(fob_client *c, const char *key, size_t len)
{
	fob_verification v = { FOB_VERIFICATION_INIT };
	fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = key, .secret_len = len,
		.require_environment = FOB_ENVIRONMENT_LIVE };

	return fob_verify(c, &r, &v, nullptr) == 0 && fob_allows(&v);
}
END
	"$cxx" -std=c++20 -Wall -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
	cat > "$BATS_TEST_TMPDIR/user.cc" <<'END'
#include <fob.h>

int
verify(fob_client *c, const char *key, size_t len)
{
	fob_verification v = {};
	fob_verify_request r = {};

	v.size = sizeof(v);
	r.size = sizeof(r);
	r.secret = key;
	r.secret_len = len;
	return fob_verify(c, &r, &v, nullptr) == 0 && fob_allows(&v);
}
END
	"$cxx" -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
}

@test "the shared library exports what fob.h declares, and nothing else" {
	declared > "$BATS_TEST_TMPDIR/declared"
	nm -D --defined-only "$DEST/usr/lib/libfob.so.0" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort -u |
	    grep -v '^__' > "$BATS_TEST_TMPDIR/exported"
	[ -s "$BATS_TEST_TMPDIR/declared" ]
	diff "$BATS_TEST_TMPDIR/declared" "$BATS_TEST_TMPDIR/exported"
}

@test "a program that was built for an older libfob does not start with this one" {
	readelf --dyn-syms --wide "$DEST/usr/lib/libfob.so.0" | grep -q ' fob_verify@@FOB_0\.2$'
	# libfob of 0.1, as far as the dynamic linker knows it.
	mkdir "$BATS_TEST_TMPDIR/old"
	cd "$BATS_TEST_TMPDIR/old"
	echo 'const char *fob_version(void); const char *fob_version(void) { return "0.1.0"; }' > old.c
	echo 'FOB_0 { global: fob_version; local: *; };' > old.map
	gcc -shared -fPIC -Wl,-soname,libfob.so.0 -Wl,--version-script=old.map -o libfob.so.0 old.c
	echo 'const char *fob_version(void); int main(void) { return fob_version()[0] == 0; }' > user.c
	gcc -o user user.c libfob.so.0
	LD_LIBRARY_PATH=. ./user
	run ! env LD_LIBRARY_PATH="$DEST/usr/lib" ./user
	[[ $output == *FOB_0* ]]
}

@test "the static library adds only fob_ names to its user's program" {
	run sh -c "nm --defined-only '$DEST/usr/lib/libfob.a' | awk '\$2 ~ /^[TDBR]\$/ && \$3 !~ /^fob_/ { print \$3 }' |
	    grep -vE '^(__|_?asan|_?ubsan|_GLOBAL_)'"
	[ -z "$output" ]
}

@test "libfob has no other library's threads: it does not link nng, and puts nothing in the way of libc" {
	run ! sh -c "readelf -d '$DEST/usr/lib/libfob.so.0' | grep NEEDED.*nng"
	run ! sh -c "nm -D '$DEST/usr/lib/libfob.so.0' | grep -E ' (T sendmsg|. nng_)'"
}

@test "the programs run from where they were installed, and name one version" {
	version=$(sed -n 's/^#define FOB_VERSION "\(.*\)"/\1/p' "$DEST/usr/include/fob.h")
	[ "$("$DEST/usr/bin/fob" --version)" = "fob $version" ]
	[ "$(PKG_CONFIG_PATH=$DEST/usr/lib/pkgconfig pkg-config --modversion fob)" = "$version" ]
	"$DEST/usr/sbin/fobd" --version | grep -E '^fobd [0-9.]+$'
	[ "$("$DEST/usr/bin/fob" --version | grep -oE '[0-9]+\.[0-9.]+')" = "$("$DEST/usr/sbin/fobd" --version | grep -oE '[0-9]+\.[0-9.]+')" ]
	grep -q '^ExecStart=/usr/sbin/fobd ' "$DEST/usr/lib/systemd/system/fobd.service"
	grep -q '^ExecReload=kill -HUP ' "$DEST/usr/lib/systemd/system/fobd.service"
	[ "$("$DEST/usr/sbin/fob-http" --version)" = "$("$DEST/usr/sbin/fobd" --version | sed 's/fobd/fob-http/')" ]
	grep -q '^ExecStart=/usr/sbin/fob-http ' "$DEST/usr/lib/systemd/system/fob-http-auth.service"
	grep -q '^ExecStart=/usr/sbin/fob-http ' "$DEST/usr/lib/systemd/system/fob-http-operator.service"
	"$DEST/usr/sbin/fob-http" --check-config --config "$DEST/usr/share/doc/fob/fob-http.conf"
	"$DEST/usr/sbin/fob-http" --check-config --config "$DEST/usr/share/doc/fob/fob-http-operator.conf"
	# With it fobd would take every other user for nobody, and allow_users would refuse them.
	run ! grep -q '^PrivateUsers=' "$DEST/usr/lib/systemd/system/fobd.service"
	# The fobd of this fob, whatever the PATH has.
	output=$(PATH=/nowhere "$DEST/usr/bin/fob" check --config /nowhere/fobd.conf 2>&1) && false
	[[ $output == "fobd: /nowhere/fobd.conf: "* ]]
}
