#!/usr/bin/env bats
# `make release` tags only what agrees with itself. The script runs in a repository that has what it looks at.

bats_require_minimum_version 1.5.0

ROOT=$BATS_TEST_DIRNAME/../..

setup() {
	command -v git >/dev/null || skip "no git"
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME="$BATS_TEST_TMPDIR"
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@fob.example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@fob.example
	mkdir -p "$BATS_TEST_TMPDIR/r"
	cd "$BATS_TEST_TMPDIR/r"
	git init -q
	mkdir -p client/abi service/debian tests/lib
	cp "$ROOT/client/fob.h" client
	cp "$ROOT/service/debian/changelog" service/debian
	cp "$ROOT/tests/lib/release" tests/lib
	version=$(sed -n 's/^#define FOB_VERSION "\(.*\)"/\1/p' client/fob.h)
	# As an entry that is ready to be released has it.
	sed -i "1s/.*/fob ($version) unstable; urgency=medium/" service/debian/changelog
	echo old > client/abi/libfob.abi
	printf 'abi:\n\tcat abi-is > client/abi/libfob.abi\n' > Makefile
	echo old > abi-is
	commit
}

commit() {
	git add -A
	git commit -qm "A state"
}

refused() {
	run ! tests/lib/release
	[[ $output == *"$1"* ]] || {
		echo "not said: $1; said: $output"
		return 1
	}
	[[ -z $(git tag) || $1 == *exists* ]]
}

@test "it tags the version of fob.h, once" {
	run -0 tests/lib/release
	[[ $(git tag) == "v$version" && $(git cat-file -t "v$version") == tag ]]
	refused "the tag v$version exists"
}

@test "a tree that is not clean is refused" {
	touch new
	refused "not clean"
}

@test "an entry that is UNRELEASED is refused" {
	sed -i '1s/unstable/UNRELEASED/' service/debian/changelog
	commit
	refused "UNRELEASED"
}

@test "an entry of another version is refused, and a revision of Debian's is none" {
	sed -i '1s/(.*)/(9.9.9)/' service/debian/changelog
	commit
	refused "begins with 9.9.9"
	sed -i "1s/(.*)/($version-2)/" service/debian/changelog
	commit
	run -0 tests/lib/release
}

@test "a version whose parts are others is refused" {
	sed -i 's/^#define FOB_VERSION_PATCH .*/#define FOB_VERSION_PATCH 99/' client/fob.h
	commit
	refused "its parts are"
}

@test "an ABI that was not kept is refused, and is kept then" {
	echo new > abi-is
	commit
	refused "client/abi was not that of $version"
	commit
	run -0 tests/lib/release
}

@test "one version: fob.h, its parts, the changelog, PROTOCOL.md and the manual pages" {
	grep -qx "#define FOB_VERSION \"$(for p in MAJOR MINOR PATCH; do
		sed -n "s/^#define FOB_VERSION_$p //p" client/fob.h
	done | paste -sd.)\"" client/fob.h
	[[ $(sed -n '1s/^fob (\([0-9.]*\)[^0-9.].*/\1/p' "$ROOT/service/debian/changelog") == "$version" ]]
	for page in libfob.3 fob_verify.3 fobd.conf.5 fob-http.conf.5; do
		grep -qx ".Os \"Fob $version\"" "$(cd "$ROOT" && realpath "$FOB_BUILD")/man/$page"
	done
	# It has no version of its own to be wrong.
	run ! grep -E "Fob [0-9]+\.[0-9]+\.[0-9]+" "$ROOT/proto/PROTOCOL.md"
}

@test "dpkg reads the changelog without a warning" {
	command -v dpkg-parsechangelog >/dev/null || skip "no dpkg-parsechangelog"
	run -0 --separate-stderr dpkg-parsechangelog -l "$ROOT/service/debian/changelog" --all
	[ -z "$stderr" ]
	[[ $output == *"Version: $version"* ]]
}
