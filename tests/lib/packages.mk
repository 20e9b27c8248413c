# The Debian packages that `make run` and `make test` install. The names are the same on Debian 12 and 13. libcurl: for
# fob-cluster, which speaks gRPC to etcd.
PACKAGES_RUN := gcc libc6-dev make pkg-config libnng-dev libssl-dev liblmdb-dev libprotobuf-c-dev \
	protobuf-c-compiler protobuf-compiler libsodium-dev libconfuse-dev libseccomp-dev libjansson-dev zlib1g-dev libevent-dev \
	libcurl4-openssl-dev
# The proxies of client/http/examples, for test_proxies.py. Their nginx has auth_request, their HAProxy has Lua.
PACKAGES_PROXIES := nginx caddy haproxy
# The browser in which test_page.py uses the page, and what drives it.
PACKAGES_BROWSER := chromium chromium-driver python3-selenium
# The etcd that fob-cluster is tested with, and etcdctl.
PACKAGES_ETCD := etcd-server etcd-client
# The shells in which test_completion.py types, what renders the pages for test_manual.py, abidiff for test_abi.py.
PACKAGES_MANUAL := zsh fish mandoc groff-base abigail-tools
# libzstd-dev: Debian 13's static OpenSSL needs it and does not bring it. prometheus: promtool, for fob-http's metrics.
# python3-yaml, python3-jsonschema: client/http/openapi.yaml is held against fob-http. python3-setuptools, python3-wheel:
# `make python-wheel`. mypy: the types of client/python. dpkg-dev: dpkg reads the changelog.
PACKAGES_TEST := $(PACKAGES_RUN) clang libclang-rt-dev libcmocka-dev bats perl python3 python3-protobuf dpkg-dev \
	openssl gdb libuv1-dev libzstd-dev $(PACKAGES_PROXIES) prometheus $(PACKAGES_BROWSER) \
	python3-yaml python3-jsonschema python3-setuptools python3-wheel mypy $(PACKAGES_MANUAL) $(PACKAGES_ETCD)
# What `make lint` checks with.
PACKAGES_LINT := $(PACKAGES_RUN) clang clang-tidy cppcheck shellcheck python3-pyflakes licensecheck libcmocka-dev libuv1-dev

# What `make deb` needs beside the compiler and the libraries.
PACKAGES_DEB := $(PACKAGES_RUN) debhelper dpkg-dev dh-python python3 python3-setuptools python3-wheel perl
# What `make image` needs beside that. mmdebstrap unpacks, umoci packs; uidmap is for those who are not root.
PACKAGES_IMAGE := $(PACKAGES_DEB) mmdebstrap umoci uidmap
# The long tests make Debian systems in folders, and install the packages there. They run the image by crun and runc, with
# the filter of system calls that an engine has; docker-compose reads compose.yaml.
PACKAGES_TORTURE := $(PACKAGES_DEB) mmdebstrap piuparts autopkgtest umoci crun runc skopeo golang-github-containers-common \
	docker-compose

deps-run:
	@tests/lib/install-packages $(PACKAGES_RUN)
deps-cluster:
	@tests/lib/install-packages $(PACKAGES_RUN) $(PACKAGES_ETCD) python3 openssl iproute2
deps-test:
	@tests/lib/install-packages $(PACKAGES_TEST)
deps-lint:
	@tests/lib/install-packages $(PACKAGES_LINT)
deps-deb:
	@tests/lib/install-packages $(PACKAGES_DEB)
deps-image:
	@tests/lib/install-packages $(PACKAGES_IMAGE)
deps-torture:
	@tests/lib/install-packages $(PACKAGES_TORTURE)
