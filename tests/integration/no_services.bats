#!/usr/bin/env bats
# tests/lib/no-services: what apt-get installs for the tests is neither started nor enabled. Here the system is a folder,
# and apt-get a command that does there what a package's scripts do.

bats_require_minimum_version 1.5.0

setup() {
	NO_SERVICES=$BATS_TEST_DIRNAME/../lib/no-services
	R=$BATS_TEST_TMPDIR/root
	mkdir -p "$R"/lib/systemd/system "$R"/etc/systemd/system/multi-user.target.wants "$R"/etc/init.d "$R"/etc/rc2.d \
	    "$R"/usr/sbin "$BATS_TEST_TMPDIR/bin"
	export R PATH=$BATS_TEST_TMPDIR/bin:$PATH
	service old
	# Installs the service "new". Exits with 100 when it may start it, 7 when it may not start "old".
	program install-new '
		touch $R/lib/systemd/system/new.service $R/etc/init.d/new
		ln -s /lib/systemd/system/new.service $R/etc/systemd/system/multi-user.target.wants/
		ln -s ../init.d/new $R/etc/rc2.d/S01new
		$R/usr/sbin/policy-rc.d new start && exit 100
		$R/usr/sbin/policy-rc.d new.service start && exit 100
		$R/usr/sbin/policy-rc.d --quiet new start && exit 100
		$R/usr/sbin/policy-rc.d old.service restart && $R/usr/sbin/policy-rc.d --quiet old restart || exit 7'
	program update-rc.d 'mv $R/etc/rc2.d/S01$1 $R/etc/rc2.d/K01$1'
}

program() {
	printf '#!/bin/sh\n%s\n' "$2" > "$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

service() {
	touch "$R/lib/systemd/system/$1.service" "$R/etc/init.d/$1"
	ln -s "/lib/systemd/system/$1.service" "$R/etc/systemd/system/multi-user.target.wants/"
	ln -s "../init.d/$1" "$R/etc/rc2.d/S01$1"
}

@test "a new service is neither started nor enabled, and an old one is left alone" {
	run -0 "$NO_SERVICES" --root "$R" install-new
	[ "$output" = "" ]
	[ "$(ls "$R/etc/systemd/system/multi-user.target.wants")" = old.service ]
	[ "$(ls "$R/etc/rc2.d")" = "$(printf 'K01new\nS01old')" ]
	[ ! -e "$R/usr/sbin/policy-rc.d" ]
}

@test "a machine's own policy-rc.d stays as it is" {
	printf '#!/bin/sh\nexit 101\n' > "$R/usr/sbin/policy-rc.d"
	chmod +x "$R/usr/sbin/policy-rc.d"
	run -7 "$NO_SERVICES" --root "$R" install-new # it forbids the old service, too
	[ "$(tail -n 1 "$R/usr/sbin/policy-rc.d")" = "exit 101" ]
	[ "$(ls "$R/etc/systemd/system/multi-user.target.wants")" = old.service ]
}

@test "a service that stays enabled or runs is an error" {
	program update-rc.d 'exit 0'
	run -1 "$NO_SERVICES" --root "$R" install-new
	[ "$output" = "no-services: new is enabled or running; disable it" ]
	rm "$R"/etc/rc2.d/S01new "$R"/lib/systemd/system/new.service "$R"/etc/init.d/new
	mkdir -p "$R/run/systemd/system"
	program systemctl 'case $* in *is-active*new*) exit 0;; *is-active*) exit 3;; esac'
	program update-rc.d 'rm $R/etc/rc2.d/S01$1'
	run -1 "$NO_SERVICES" --root "$R" install-new
	[[ $output = *"new.service is enabled or running"* ]]
}

@test "the status of the installation is passed on" {
	run -9 "$NO_SERVICES" --root "$R" sh -c 'exit 9'
	[ ! -e "$R/usr/sbin/policy-rc.d" ]
}

@test "when it is killed, the policy that it leaves allows everything" {
	"$NO_SERVICES" --root "$R" sh -c 'kill -9 $PPID' || true
	run -0 "$R/usr/sbin/policy-rc.d" new start
}
