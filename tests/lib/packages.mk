# The Debian packages that `make run` and `make test` install. The names are the same on Debian 12 and 13.
PACKAGES_RUN := gcc libc6-dev make pkg-config libnng-dev libssl-dev liblmdb-dev libprotobuf-c-dev \
	protobuf-c-compiler protobuf-compiler libsodium-dev libconfuse-dev libseccomp-dev libjansson-dev zlib1g-dev libevent-dev
# chromium, its driver and selenium: test_page.py uses the page in a real browser.
PACKAGES_TEST := $(PACKAGES_RUN) clang libclang-rt-dev libcmocka-dev bats perl python3 python3-protobuf \
	openssl gdb libuv1-dev chromium chromium-driver python3-selenium

deps-run:
	@tests/lib/install-packages $(PACKAGES_RUN)
deps-test:
	@tests/lib/install-packages $(PACKAGES_TEST)
