#!/usr/bin/env bats
# What `make install` lays down, used as a user of libfob would: the header, both libraries, pkg-config, the symbols.

bats_require_minimum_version 1.5.0

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.."
	export ROOT="$PWD" DEST="$BATS_FILE_TMPDIR/dest"
	# The programs under test exist already: install must not build them again with other flags.
	build=${FOB_BUILD:-build/gcc}
	case $build in
	*address*) san=address,undefined ;;
	*) san= ;;
	esac
	export san
	make -s --no-print-directory install B="$build" SAN="$san" CFLAGS="-O2 -g -Werror" DESTDIR="$DEST" PREFIX=/usr
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

@test "the header is C++ too" {
	command -v g++ >/dev/null || skip "no g++"
	echo '#include <fob.h>' > "$BATS_TEST_TMPDIR/user.cc"
	g++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
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
	g++ -std=c++20 -Wall -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
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
	g++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I"$DEST/usr/include" "$BATS_TEST_TMPDIR/user.cc"
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
	"$DEST/usr/sbin/fobd" --version | grep -E '^fobd [0-9.]+$'
	[ "$("$DEST/usr/bin/fob" --version | grep -oE '[0-9]+\.[0-9.]+')" = "$("$DEST/usr/sbin/fobd" --version | grep -oE '[0-9]+\.[0-9.]+')" ]
	grep -q '^ExecStart=/usr/sbin/fobd ' "$DEST/usr/lib/systemd/system/fobd.service"
	grep -q '^ExecReload=kill -HUP ' "$DEST/usr/lib/systemd/system/fobd.service"
	# The fobd of this fob, whatever the PATH has.
	output=$(PATH=/nowhere "$DEST/usr/bin/fob" check --config /nowhere/fobd.conf 2>&1) && false
	[[ $output == "fobd: /nowhere/fobd.conf: "* ]]
}
