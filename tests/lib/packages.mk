# The Debian packages that `make run` and `make test` install. The names are the same on Debian 12 and 13.
PACKAGES_RUN := gcc libc6-dev make pkg-config libnng-dev libssl-dev liblmdb-dev libprotobuf-c-dev \
	protobuf-c-compiler protobuf-compiler libsodium-dev libconfuse-dev libseccomp-dev libjansson-dev zlib1g-dev libevent-dev
# The proxies of client/http/examples, for test_proxies.py. Their nginx has auth_request, their HAProxy has Lua.
PACKAGES_PROXIES := nginx caddy haproxy
# The browser in which test_page.py uses the page, and what drives it.
PACKAGES_BROWSER := chromium chromium-driver python3-selenium
# libzstd-dev: Debian 13's static OpenSSL needs it and does not bring it. prometheus: promtool, for fob-http's metrics.
# python3-yaml, python3-jsonschema: client/http/openapi.yaml is held against fob-http.
PACKAGES_TEST := $(PACKAGES_RUN) clang libclang-rt-dev libcmocka-dev bats perl python3 python3-protobuf \
	openssl gdb libuv1-dev libzstd-dev $(PACKAGES_PROXIES) prometheus $(PACKAGES_BROWSER) \
	python3-yaml python3-jsonschema

# What `make deb` needs beside the compiler and the libraries.
PACKAGES_DEB := $(PACKAGES_RUN) debhelper dpkg-dev
# The long tests make Debian systems in folders, and install the packages there.
PACKAGES_TORTURE := mmdebstrap piuparts autopkgtest $(PACKAGES_DEB)

deps-run:
	@tests/lib/install-packages $(PACKAGES_RUN)
deps-test:
	@tests/lib/install-packages $(PACKAGES_TEST)
deps-deb:
	@tests/lib/install-packages $(PACKAGES_DEB)
deps-torture:
	@tests/lib/install-packages $(PACKAGES_TORTURE)
