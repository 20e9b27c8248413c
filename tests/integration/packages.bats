#!/usr/bin/env bats
# What the packaging says of Fob is true: the version, the symbols, the units, the users and folders. Packages are built
# and installed in tests/packages, by `make torture`.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
}

@test "the changelog's version is the one of fob.h" {
	local header
	header=$(sed -n 's/^#define FOB_VERSION "\(.*\)"$/\1/p' client/fob.h)
	[ -n "$header" ]
	[ "$(sed -n '1s/^fob (\([^)]*\)) .*/\1/p' service/debian/changelog)" = "$header" ]
}

@test "libfob0.symbols has each symbol of libfob.map, and no other" {
	local node
	node=$(sed -n 's/^\(FOB_[0-9.]*\) {$/\1/p' client/libfob.map)
	sed -n 's/^\t\(fob_[a-z0-9_]*\);$/\1/p' client/libfob.map | sort > "$BATS_TEST_TMPDIR/exported"
	sed -n "s/^ \(fob_[a-z0-9_]*\)@$node [0-9.]*\$/\1/p" service/debian/libfob0.symbols | sort > "$BATS_TEST_TMPDIR/listed"
	[ -s "$BATS_TEST_TMPDIR/exported" ]
	diff "$BATS_TEST_TMPDIR/exported" "$BATS_TEST_TMPDIR/listed"
	[ "$(grep -c '^ ' service/debian/libfob0.symbols)" -eq "$(($(wc -l < "$BATS_TEST_TMPDIR/listed") + 1))" ]
}

# The lines that systemd reads, with what an instance names taken out.
lines_of() {
	grep -v '^#' "$1" | sed -e 's/fob-%i\.slice/SLICE/' -e 's/fob-%i/fob/g' -e 's/, %i mode//' -e '/^Slice=SLICE$/d'
}

@test "fobd@.service is fobd.service, with the instance's names" {
	diff <(lines_of service/fobd.service) <(lines_of service/fobd@.service)
	grep -q '^Slice=fob-%i\.slice$' service/fobd@.service
}

@test "the users and folders of the units are made by sysusers.d and tmpfiles.d" {
	local user unit
	for unit in service/fobd.service client/http/fob-http-*.service client/cluster/fob-cluster.service; do
		user=$(sed -n 's/^User=//p' "$unit")
		grep -Eq "^u $user +- " service/fobd.sysusers client/http/fob-http.sysusers client/cluster/fob-cluster.sysusers
	done
	for user in fob fob-live fob-test; do
		grep -Eq "^u $user +- " service/fobd.sysusers
		grep -Eq "^d /var/lib/$user +0700 $user +$user\$" service/fobd.tmpfiles
		grep -Eq "^d /etc/$user +0750 $user +$user\$" service/fobd.tmpfiles
	done
}

@test "the settings of fobd@live and fobd@test are valid, and name only what their units own" {
	local e
	for e in live test; do
		"$FOB_BUILD/fobd" --config "service/fobd-$e.conf" --check-config
		run -0 sh -c "grep -oE '/(run|var/lib|etc)/[a-z-]+/' service/fobd-$e.conf | sort -u"
		[ "$output" = "$(printf '%s\n' "/etc/fob-$e/" "/run/fob-$e/" "/var/lib/fob-$e/")" ]
	done
}

# The units, with the programs that were built in place of the installed ones.
units() {
	mkdir "$BATS_TEST_TMPDIR/units"
	for unit in service/*.service client/http/*.service client/cluster/*.service; do
		sed -e "s|/usr/local/sbin|$FOB_BUILD|" "$unit" > "$BATS_TEST_TMPDIR/units/${unit##*/}"
	done
	cd "$BATS_TEST_TMPDIR/units"
}

@test "systemd-analyze verify finds nothing in the units" {
	command -v systemd-analyze >/dev/null || skip "no systemd-analyze"
	units
	run -0 systemd-analyze verify --man=no --recursive-errors=no ./fobd.service ./fobd@live.service ./fobd@test.service ./fob-http-*.service ./fob-cluster.service
	[ -z "$output" ]
}

@test "systemd-analyze security finds the units well confined" {
	command -v systemd-analyze >/dev/null || skip "no systemd-analyze"
	units
	# 20 of 100, which it calls "OK"; a unit without confinement has 96.
	run -0 systemd-analyze security --offline=yes --threshold=20 ./fobd.service ./fobd@live.service ./fob-http-*.service ./fob-cluster.service
}
