# Fob. `make help` lists the targets.
#   CC=clang               another compiler, with its own build folder
#   SAN=address,undefined  sanitizers, with their own build folder; also SAN=thread
#   V=1                    show the commands
#   CFLAGS, CPPFLAGS, LDFLAGS, DESTDIR, PREFIX, LIBDIR and UNITDIR are never changed here: set them as you like.

ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
UNITDIR ?= $(PREFIX)/lib/systemd/system
CFLAGS ?= -O2 -g
PYTHON ?= /usr/bin/python3
PKG_CONFIG ?= pkg-config
# Since protobuf-c 1.5 (Debian 13) protoc-c works with a warning: protoc is to call the generator.
PROTOC_C ?= $(if $(shell command -v protoc),protoc,protoc-c)

comma := ,
VERSION := $(shell sed -n 's/^\#define FOB_VERSION "\(.*\)"/\1/p' client/fob.h)
# What a program that links libfob.so asks for at its start, and the file that it finds.
SONAME := libfob.so.0
SOFILE := libfob.so.$(VERSION)
VARIANT := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
B := build/$(VARIANT)
Q := $(if $(V),,@)

.DEFAULT_GOAL := all
include tests/lib/packages.mk client/python/python.mk

# ---- flags ----

PKGS := lmdb libprotobuf-c libsodium libconfuse jansson zlib
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wwrite-strings -Wcast-align -Wvla -Wformat=2 -Wundef
# Who gives a level of _FORTIFY_SOURCE, as dpkg-buildflags does, gets that one.
FORTIFY := $(if $(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN := $(if $(SAN),-fno-omit-frame-pointer,$(FORTIFY) -fstack-protector-strong)
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -DFOBD_VERSION='"$(VERSION)"' -I. -isystem $(B)/proto $(WARN) $(HARDEN) -fPIC -fvisibility=hidden -pthread \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

LIBS_DAEMON := -lnng -lssl -lcrypto -llmdb -lprotobuf-c -lsodium -lconfuse -lseccomp -lz
LIBS_CLIENT := -lprotobuf-c -lsodium -lssl -lcrypto
LIBS_CLI := $(LIBS_CLIENT) -ljansson
LIBS_HTTP := $(LIBS_CLIENT) -ljansson -lconfuse -levent_extra -levent_core
LIBS_CLUSTER := -lcurl -lprotobuf-c -lsodium -lssl -lcrypto -lconfuse

# ---- files ----

PROTOS := fob/rpc/v1/rpc fob/v1/types fob/v1/keys fob/v1/admin fob/v1/health fob/v1/cluster
PROTO_OBJ := $(PROTOS:%=$(B)/proto/%.pb-c.o)
PROTO_H := $(PROTOS:%=$(B)/proto/%.pb-c.h)

SERVICE_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out service/main.c,$(wildcard service/*.c service/*/*.c)))
SHARED_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard proto/c/*.c))
CLIENT_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard client/*.c))
CLI_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard client/cli/*.c))
HTTP_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard client/http/*.c))
DAEMON_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard client/daemon/*.c))
CLUSTER_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard client/cluster/*.c))
# etcd's messages, which only fob-cluster has.
ETCD_OBJ := $(B)/proto/client/cluster/etcd.pb-c.o
UNIT_BIN := $(patsubst %.c,$(B)/%,$(shell find tests/unit -name 'test_*.c'))
TOOL_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/tools/*.c tests/interop/*.c tests/history/*.c))
FUZZ_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/fuzz/*.c))
CRASH_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/crash/test_*.c))
OBJ := $(SERVICE_OBJ) $(SHARED_OBJ) $(CLIENT_OBJ) $(CLI_OBJ) $(HTTP_OBJ) $(DAEMON_OBJ) $(CLUSTER_OBJ) $(B)/service/main.o $(UNIT_BIN:=.o) $(TOOL_BIN:=.o) $(CRASH_BIN:=.o) $(B)/tests/crash/shim.o \
	$(patsubst %.c,$(B)/%.o,$(wildcard tests/cluster/*.c)) \
	$(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c)) $(FUZZ_OBJ)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help run run-cluster deps-cluster test torture deps-run deps-test deps-deb deps-image deps-torture install deb image clean unit-bin tool-bin crash-bin fuzz fuzz-bin \
	examples

all: $(B)/fobd $(B)/fob $(B)/fob-http $(B)/fob-cluster $(B)/libfob.a $(B)/libfob.so ## build the daemons, the command line and the library

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- the two commands ----

run: deps-run ## install what is missing, build, start fobd with a demo account
	$(Q)+$(MAKE) -s all
	$(Q)exec tests/lib/demo $(B)

run-cluster: deps-cluster ## install what is missing, build, start a cluster of three nodes and three etcd members
	$(Q)+$(MAKE) -s all
	$(Q)exec tests/lib/demo-cluster $(B)

test: deps-test ## install what is missing, build every variant, run every test: 15 minutes. One: tests/run --help
	$(Q)+tests/run

torture: deps-test deps-torture lint ## the tests in their long form, and lint
	$(Q)+TORTURE=1 tests/run

fuzz: deps-test ## fuzz under libFuzzer: FUZZ=target (all), FUZZ_SECONDS in all (600), TEST_SEED
	$(Q)+FUZZ_SECONDS=$${FUZZ_SECONDS:-600} tests/run --variant fuzz --filter '/fuzz_$(or $(FUZZ),.*)$$'

# ---- rules ----

# The first command that fails would name a file, not the package that has it. Where packages are missing and the
# generator is there, the libraries may have come in another way.
$(B)/packages: tests/lib/packages.mk
	@mkdir -p $(@D)
	$(Q)tests/lib/install-packages --check $(PACKAGES_RUN) || command -v protoc-gen-c >/dev/null
	$(Q)touch $@

# protoc-c reads `string` fields as `bytes`: protobuf-c would turn a string into a char * that ends at an embedded NUL, and
# the NUL could not be refused. On the wire both are the same (https://protobuf.dev/programming-guides/encoding/).
$(B)/proto/%.proto: proto/%.proto
	@mkdir -p $(@D)
	$(Q)sed -E 's/^( *(repeated )?)string /\1bytes /' $< > $@

$(B)/proto/client/cluster/etcd.proto: client/cluster/etcd.proto
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(B)/proto/%.pb-c.c $(B)/proto/%.pb-c.h &: $(B)/proto/%.proto | $(PROTOS:%=$(B)/proto/%.proto) $(B)/packages
	$(Q)$(PROTOC_C) --c_out=$(B)/proto -I$(B)/proto $<

$(B)/proto/%.pb-c.o: $(B)/proto/%.pb-c.c | $(PROTO_H)
	$(Q)$(CC) $(filter-out -W%,$(ALL_CFLAGS)) -I$(B)/proto -c -o $@ $<

# The messages are read as system headers, for their warnings; so -MMD does not see them.
$(B)/%.o: %.c $(PROTO_H)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $@')
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(CLUSTER_OBJ): $(ETCD_OBJ:.o=.h)

# It has those files inside.
$(B)/client/http/page.o: $(wildcard client/http/page/*.html client/http/page/*.css client/http/page/*.js)

$(B)/libservice.a: $(SERVICE_OBJ) $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

# One object whose hidden symbols are local: a program that links libfob.a gets fob_* names only.
$(B)/libfob.o: $(CLIENT_OBJ) $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)$(LD) -r -o $@ $^ && objcopy --localize-hidden $@

$(B)/libfob.a: $(B)/libfob.o
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/$(SOFILE): $(CLIENT_OBJ) $(SHARED_OBJ) $(PROTO_OBJ) client/libfob.map
	$(Q)$(CC) -shared -pthread -Wl,-soname,$(SONAME) -Wl,--version-script=client/libfob.map -Wl,-z,relro,-z,now \
	    -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS_CLIENT)

$(B)/$(SONAME): $(B)/$(SOFILE)
	$(Q)ln -sf $(SOFILE) $@

$(B)/libfob.so: $(B)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

$(B)/fobd: $(B)/service/main.o $(B)/libservice.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DAEMON)

# Parts of proto/c that libfob does not export.
$(B)/fob: $(CLI_OBJ) $(B)/proto/c/key_form.o $(B)/proto/c/new_folder.o $(B)/libfob.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CLI)

# For its unit tests, too, which give functions of their own in the place of some.
$(B)/libhttp.a: $(filter-out %/main.o,$(HTTP_OBJ)) $(DAEMON_OBJ)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

$(B)/fob-http: $(B)/client/http/main.o $(B)/libhttp.a $(B)/proto/c/journal.o $(B)/libfob.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_HTTP)

$(B)/libcluster.a: $(filter-out %/main.o,$(CLUSTER_OBJ)) $(DAEMON_OBJ) $(ETCD_OBJ)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

# Without libfob: it speaks Fob's protocol to one socket, without waiting for it.
$(B)/fob-cluster: $(B)/client/cluster/main.o $(B)/libcluster.a $(SHARED_OBJ) $(PROTO_OBJ)
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CLUSTER)

# Unit tests link the client's objects, not libfob.a, whose internal functions are hidden. They note each secret that is made,
# so that tests/run can search all output for it.
MADE_OBJ := $(B)/tests/lib/made.o $(B)/tests/lib/made_generate.o
MADE := $(MADE_OBJ) -Wl,--wrap=secret_generate

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(MADE_OBJ) $(B)/libservice.a $(CLIENT_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(MADE) $(CLIENT_OBJ) $(B)/libservice.a -lcmocka $(LIBS_DAEMON) $(LIBS_CLI)

$(B)/tests/unit/client/http/%: $(B)/tests/unit/client/http/%.o $(B)/libhttp.a $(CLIENT_OBJ) $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS_HTTP)

$(B)/tests/unit/client/daemon/%: $(B)/tests/unit/client/daemon/%.o $(DAEMON_OBJ) $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -lprotobuf-c -lsodium -lssl -lcrypto -lconfuse

$(B)/tests/unit/client/cluster/%: $(B)/tests/unit/client/cluster/%.o $(B)/libcluster.a $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS_CLUSTER)

# Clients and hostile peers that share nothing with fobd but the messages.
# Loads the shared library.
$(B)/tests/unit/client/test_fob: $(B)/libfob.so

$(B)/tests/tools/%: $(B)/tests/tools/%.o
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

$(B)/tests/interop/%: $(B)/tests/interop/%.o $(B)/tests/lib/made.o $(PROTO_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lnng -lprotobuf-c -lsodium

$(B)/tests/history/%: $(B)/tests/history/%.o $(B)/tests/lib/made.o $(B)/libfob.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_CLIENT)

# The fleet alone, in virtual time. tests/cluster/mutants.py links these objects, too.
SIMULATE_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/cluster/*.c service/cluster/fleet*.c) service/cluster/row.c)

$(B)/tests/cluster/simulate: $(SIMULATE_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lsodium

# Makes system calls fail: linked into the crash tests, preloaded into a fobd. Built without a sanitizer, as it is called
# before a sanitizer's runtime is ready.
$(B)/tests/crash/shim.o: override SAN :=

$(B)/tests/crash/test_%: $(B)/tests/crash/test_%.o $(B)/tests/crash/shim.o $(MADE_OBJ) $(B)/libservice.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter-out $(MADE_OBJ),$^) $(MADE) -lcmocka $(LIBS_DAEMON)

# Has libfob inside, not the service.
$(B)/tests/crash/test_client: $(B)/tests/crash/test_client.o $(B)/tests/crash/shim.o $(CLIENT_OBJ) $(SHARED_OBJ) $(PROTO_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -llmdb $(LIBS_CLIENT) -ldl

# Preloaded into a fobd, so not instrumented.
$(B)/tests/lib/clock.o: override SAN :=

$(B)/tests/lib/clock.so: $(B)/tests/lib/clock.o
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -o $@ $<

$(B)/tests/crash/shim.so: $(B)/tests/crash/shim.o
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -o $@ $< -ldl

# Fuzz targets. With clang and SAN=fuzzer-no-link,... they are libFuzzer programs, else programs that replay inputs. Their
# allocations go through tests/fuzz/fault.c, and the lines of log.c through tests/fuzz/world.c.
FUZZ_WRAP := $(foreach f,malloc calloc realloc strdup asprintf write scratch_init scratch_alloc scratch_reset arena_init \
	arena_fini,-Wl$(comma)--wrap=$f)
FUZZ_MAIN := $(if $(findstring fuzzer,$(SAN)),,$(B)/tests/fuzz/replay.o)
FUZZ_SHARED := $(patsubst %,$(B)/tests/fuzz/%.o,fault wire world) $(FUZZ_MAIN)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(FUZZ_SHARED) $(B)/libservice.a $(CLIENT_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(FUZZ_MAIN),,-fsanitize=fuzzer) $(FUZZ_WRAP) -o $@ $< $(FUZZ_SHARED) \
	    $(CLIENT_OBJ) $(B)/libservice.a $(LIBS_DAEMON) $(LIBS_CLIENT)

# The pure half of fob-http.
FUZZ_HTTP := $(patsubst %,$(B)/client/http/%.o,admin_json headers json request route)

$(B)/tests/fuzz/fuzz_http_%: $(B)/tests/fuzz/fuzz_http_%.o $(FUZZ_HTTP) $(FUZZ_SHARED) $(B)/libservice.a $(CLIENT_OBJ)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(FUZZ_MAIN),,-fsanitize=fuzzer) $(FUZZ_WRAP) -o $@ $< $(FUZZ_HTTP) $(FUZZ_SHARED) \
	    $(CLIENT_OBJ) $(B)/libservice.a $(LIBS_DAEMON) $(LIBS_CLIENT) -ljansson

# Builds nothing: it is called as root, and what root built the user could not build again.
D = $(DESTDIR)$(PREFIX)
DL = $(DESTDIR)$(LIBDIR)
DU = $(DESTDIR)$(UNITDIR)
UNITS := service/fobd.service service/fobd@.service client/http/fob-http-auth.service client/http/fob-http-operator.service \
	client/cluster/fob-cluster.service
USERS := service/fobd client/http/fob-http client/cluster/fob-cluster
install: ## install below $(DESTDIR)$(PREFIX) what `make` has built
	@$(MAKE) -q B="$(B)" all 2>/dev/null || { echo 'make install: $(B) is not built, or older than its sources;' \
	    'run `make` first (as root `make deps-run` installs the packages for it)' >&2; exit 1; }
	install -D -m 755 $(B)/fobd "$(D)/sbin/fobd"
	install -D -m 755 $(B)/fob "$(D)/bin/fob"
	install -D -m 755 $(B)/fob-http "$(D)/sbin/fob-http"
	install -D -m 755 $(B)/fob-cluster "$(D)/sbin/fob-cluster"
	install -D -m 644 $(B)/libfob.a "$(DL)/libfob.a"
	install -m 644 $(B)/$(SOFILE) "$(DL)/$(SOFILE)"
	ln -sf $(SOFILE) "$(DL)/$(SONAME)"
	ln -sf $(SONAME) "$(DL)/libfob.so"
	install -D -m 644 client/fob.h "$(D)/include/fob.h"
	install -D -m 644 client/cli/fob.1 "$(D)/share/man/man1/fob.1"
	install -D -m 644 -t "$(D)/share/man/man8" service/fobd.8 client/http/fob-http.8 client/cluster/fob-cluster.8
	install -D -m 644 client/cli/fob.bash "$(D)/share/bash-completion/completions/fob"
	install -D -m 644 -t "$(D)/share/doc/fob" service/fobd.conf service/fobd-live.conf service/fobd-test.conf client/http/fob-http.conf proto/PROTOCOL.md \
	    client/cluster/fob-cluster.conf \
	    client/http/fob-http-operator.conf client/http/openapi.yaml \
	    client/http/OPERATOR.md client/http/METRICS.md client/http/alerts.yml client/http/alerts_test.yml client/http/grafana.json
	for p in $(PROTOS); do install -D -m 644 proto/$$p.proto "$(D)/share/fob/proto/$$p.proto" || exit; done
	install -d "$(DU)" "$(DL)/pkgconfig"
	for u in $(UNITS); do sed -e 's|/usr/local|$(PREFIX)|g' $$u > "$(DU)/$${u##*/}" || exit; done
	for p in $(USERS); do install -D -m 644 $$p.sysusers "$(D)/lib/sysusers.d/$${p##*/}.conf" || exit; done
	install -D -m 644 service/fobd.tmpfiles "$(D)/lib/tmpfiles.d/fobd.conf"
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@VERSION@|$(VERSION)|g' client/fob.pc.in > "$(DL)/pkgconfig/fob.pc"
	$(INSTALL_PAGES)

# ---- manual pages and completions ----

# Made from fob.h and from the settings that come with each daemon, so that they cannot differ. Their date is changelog's,
# which is elsewhere in the tree of a Debian package.
CHANGELOG := $(firstword $(wildcard service/debian/changelog debian/changelog))
PAGES := $(B)/man/libfob.3 $(B)/man/fobd.conf.5 $(B)/man/fob-http.conf.5 $(B)/man/fob-cluster.conf.5

all: $(PAGES)

# And the pages of all functions, beside it.
$(B)/man/libfob.3: client/man/libfob.pl client/man/Mdoc.pm client/fob.h $(CHANGELOG)
	@mkdir -p $(@D)
	$(Q)rm -f $(@D)/*.3 && perl -Iclient/man $< client/fob.h $(CHANGELOG) $(@D)

$(B)/man/fobd.conf.5: service/fobd.conf
$(B)/man/fob-http.conf.5: client/http/fob-http.conf client/http/fob-http-operator.conf
$(B)/man/fob-cluster.conf.5: client/cluster/fob-cluster.conf
$(B)/man/%.conf.5: client/man/conf.pl client/man/Mdoc.pm $(CHANGELOG)
	@mkdir -p $(@D)
	$(Q)perl -Iclient/man client/man/conf.pl $*.conf $* $(CHANGELOG) $(filter %.conf,$^) > $@

# The folder that zsh reads for what the system's packages install, or for what its users do.
ZSH_FOLDER := $(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
define INSTALL_PAGES
install -d "$(D)/share/man/man3"
install -m 644 -t "$(D)/share/man/man3" $(B)/man/*.3
install -D -m 644 -t "$(D)/share/man/man5" $(B)/man/fobd.conf.5 $(B)/man/fob-http.conf.5 $(B)/man/fob-cluster.conf.5
install -D -m 644 client/cli/fob.zsh "$(D)/share/zsh/$(ZSH_FOLDER)/_fob"
install -D -m 644 client/cli/fob.fish "$(D)/share/fish/vendor_completions.d/fob.fish"
endef

# ---- the ABI ----

# The files of libfob that define what it exports, with all that abidiff reads. client/abi/libfob.abi is that of the
# last release; tests/integration/test_abi.py compares. Functions of the same code are one under -O2, and abidw tells of one.
ABI_OBJ := $(patsubst %,$(B)/abi/%.o,admin batch client cluster names options verify)
# By the folder, abidw knows which types are public.
ABIDW := abidw --headers-dir $(B)/abi/include --drop-private-types --no-corpus-path --no-comp-dir-path --no-show-locs \
	--drop-undefined-syms --no-parameter-names --no-elf-needed

$(B)/abi/%.o: client/%.c $(PROTO_H)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -I. -isystem $(B)/proto -fPIC -O0 -g -MMD -MP -c -o $@ $<

$(B)/abi/libfob.so.0: $(ABI_OBJ) client/libfob.map
	$(Q)$(CC) -shared -Wl,-soname,libfob.so.0 -Wl,--version-script=client/libfob.map -o $@ $(ABI_OBJ)

$(B)/abi/libfob.abi: $(B)/abi/libfob.so.0
	@mkdir -p $(@D)/include
	$(Q)cp client/fob.h $(@D)/include && $(ABIDW) --out-file $@ $<

.PHONY: abi
abi: $(B)/abi/libfob.abi ## at a release: keep libfob's ABI in client/abi, for later versions to be compared with
	$(Q)cp $< client/abi/libfob.abi

.PHONY: release
release: ## tag the version of client/fob.h, when the changelog, client/abi and the tree agree with it
	$(Q)tests/lib/release

-include $(ABI_OBJ:.o=.d)

# ---- packages ----

deb: deps-deb ## build Debian packages of this tree, as it is, into build/deb
	$(Q)service/debian/build build/deb

# The packages of build/deb, unless something that they are made of is newer.
CHANGES := $(or $(wildcard build/deb/fob_*.changes),build/deb/fob.changes)
$(CHANGES): Makefile README.md tests/lib/packages.mk \
    $(shell find proto service client -type f ! -path 'service/container/*' ! -name '*.pyc')
	$(Q)+$(MAKE) --no-print-directory deb

image: deps-image $(CHANGES) ## build a container image (OCI layout) from those packages, into build/image
	$(Q)PYTHON=$(PYTHON) service/container/build build/deb build/image

# ---- examples ----

# Compiled as a user of libfob compiles them: with the public header only. nng_req.c is without libfob, and has messages
# of its own, made from the .proto files as they are. Those of event loops are for where the loop's package is.
EXAMPLE_PKG_libevent := libevent_core
EXAMPLE_PKG_libuv := libuv
EXAMPLES := verify nng_req $(foreach e,libevent libuv,$(if \
	$(shell $(PKG_CONFIG) --exists $(EXAMPLE_PKG_$e) 2>/dev/null && echo yes),$e))
EXAMPLE_PROTOS := fob/rpc/v1/rpc fob/v1/types fob/v1/keys
EXAMPLE_PROTO_C := $(EXAMPLE_PROTOS:%=$(B)/client/examples/%.pb-c.c)
EXAMPLE_CC = $(CC) -std=gnu17 $(WARN) $(if $(SAN),-fsanitize=$(SAN)) $(CFLAGS)

$(EXAMPLE_PROTO_C) &: $(EXAMPLE_PROTOS:%=proto/%.proto)
	@mkdir -p $(B)/client/examples
	$(Q)$(PROTOC_C) --c_out=$(B)/client/examples -Iproto $(EXAMPLE_PROTOS:%=%.proto)

$(B)/client/examples/%.pb-c.o: $(EXAMPLE_PROTO_C)
	$(Q)$(filter-out -W%,$(EXAMPLE_CC)) -I$(B)/client/examples -c -o $@ $(@:.o=.c)

$(B)/client/examples/nng_req: client/examples/nng_req.c $(EXAMPLE_PROTO_C:.c=.o)
	$(Q)$(EXAMPLE_CC) -isystem $(B)/client/examples -o $@ $^ $(LDFLAGS) -lnng -lprotobuf-c

$(B)/client/examples/%: client/examples/%.c client/fob.h $(B)/libfob.a
	@mkdir -p $(@D)
	$(Q)$(EXAMPLE_CC) -Iclient -o $@ $(filter-out %.h,$^) $(LDFLAGS) $(LIBS_CLIENT) -pthread \
	    $(if $(EXAMPLE_PKG_$*),$$($(PKG_CONFIG) --cflags --libs $(EXAMPLE_PKG_$*)))

examples: $(EXAMPLES:%=$(B)/client/examples/%) ## build client/examples

# ---- load ----

LOAD_COMMON := $(patsubst %,$(B)/tests/load/%.o,hist recorder switches measure mix keys report flags server verify_bytes)
LOAD_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/load/*.c))
LOAD_BIN := $(B)/fob-load $(patsubst %,$(B)/tests/load/%,http-constant nng-echo sp-echo in-process limits stall.so)
LOAD_LIBS := $(LIBS_CLIENT) -ljansson -llmdb -lz -lm

$(B)/fob-load: $(patsubst %,$(B)/tests/load/%.o,fob_load load load_call load_client load_pace load_targets setup) \
    $(LOAD_COMMON) $(B)/libfob.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOAD_LIBS)

$(B)/tests/load/nng-echo: $(B)/tests/load/nng_echo.o $(LOAD_COMMON) $(B)/libfob.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOAD_LIBS) -lnng

$(B)/tests/load/http-constant: $(B)/tests/load/http_constant.o
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -levent

$(B)/tests/load/sp-echo: $(B)/tests/load/sp_echo.o $(LOAD_COMMON) $(B)/proto/c/sp.o $(B)/libfob.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOAD_LIBS) -lnng

$(B)/tests/load/in-process: $(B)/tests/load/in_process.o $(LOAD_COMMON) $(B)/libservice.a $(B)/libfob.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DAEMON) $(LOAD_LIBS)

$(B)/tests/load/limits: $(B)/tests/load/limits.o $(LOAD_COMMON) $(B)/libfob.a
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LOAD_LIBS)

# Preloaded into a fobd, so not instrumented.
$(B)/tests/load/stall.o: override SAN :=

$(B)/tests/load/stall.so: $(B)/tests/load/stall.o
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -o $@ $< -ldl

# Built only if these packages are installed: libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc protobuf-compiler. The generated code has its
# own folder: next to it a program has the name of a C++ header.
GRPC_PLUGIN := $(shell command -v grpc_cpp_plugin)
GRPC_OK := $(and $(GRPC_PLUGIN),$(shell command -v protoc),$(shell $(PKG_CONFIG) --exists grpc++ protobuf 2>/dev/null && echo yes))
LOAD_BIN += $(if $(GRPC_OK),$(B)/tests/load/grpc-baseline)

$(B)/tests/load/grpc/grpc_baseline.grpc.pb.cc: tests/load/grpc_baseline.proto
	@mkdir -p $(@D)
	$(Q)protoc -Itests/load --cpp_out=$(@D) --grpc_out=$(@D) --plugin=protoc-gen-grpc=$(GRPC_PLUGIN) $<

$(B)/tests/load/grpc-baseline: tests/load/grpc_baseline.cc $(B)/tests/load/grpc/grpc_baseline.grpc.pb.cc \
    $(B)/tests/load/grpc_bridge.o $(LOAD_COMMON) $(B)/libfob.a
	@$(if $(V),,echo '  CXX     $@')
	$(Q)$(CXX) -std=c++17 $(CFLAGS) -Wall -Wextra -I. -I$(B)/tests/load/grpc $$($(PKG_CONFIG) --cflags grpc++ protobuf) \
	    -pthread -o $@ $^ $(B)/tests/load/grpc/grpc_baseline.pb.cc \
	    $$($(PKG_CONFIG) --libs grpc++ protobuf) $(LOAD_LIBS)

fob-load: $(B)/fob-load ## build the program that measures a fobd of yours: see tests/load/README.md

BENCH_ARGS ?=
.PHONY: bench fob-load
bench: all $(LOAD_BIN) ## measure Fob against its targets; report in build/bench (BENCH_ARGS=--quick: two minutes)
	$(Q)tests/load/bench $(B) $(BENCH_ARGS)

.PHONY: bench-cluster
bench-cluster: deps-cluster all ## measure a cluster of three nodes beside etcd alone: a minute
	$(Q)FOB_BUILD=$(B) $(PYTHON) tests/load/bench_cluster.py

-include $(LOAD_OBJ:.o=.d)

# ---- checks without running ----

include tests/lint/lint.mk

# ---- releases ----

include service/release/release.mk

unit-bin: $(UNIT_BIN)
tool-bin: $(TOOL_BIN) $(B)/tests/lib/clock.so $(B)/tests/cluster/simulate
crash-bin: $(CRASH_BIN) $(B)/tests/crash/shim.so
fuzz-bin: $(FUZZ_BIN)

clean: ## remove what was built
	rm -rf build

-include $(OBJ:.o=.d)
