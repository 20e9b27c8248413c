# `make lint`: what compilers do not find. cppcheck, clang-tidy (.clang-tidy, tests/.clang-tidy) and clang --analyze over all C,
# with the flags of the build; pyflakes over all Python; shellcheck (.shellcheckrc) over all shell; and licences. A file that
# passed is checked again when it, a header that it includes or a configuration has changed.

L := build/lint
.PHONY: lint lint-all
lint: deps-lint ## check all sources with cppcheck, clang-tidy, clang --analyze, pyflakes, shellcheck and licensecheck
	$(Q)+$(MAKE) --no-print-directory -k $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc)) lint-all

# Other goals need not search the tree. One file: make build/lint/service/main.c.ok
ifneq ($(filter lint-% $(L)/%,$(MAKECMDGOALS)),)

LINT_C := $(sort $(shell find proto/c service client tests -name '*.c'))
# In a checkout or in a release's folder alike; scripts without a suffix are known by their first line.
LINT_SCRIPTS := $(sort $(shell find $(wildcard .ci) service client tests -type f ! -path '*/corpus/*' ! -name '*.[ch]' \
	-exec grep -lIE -m1 '^\#!.*\b(sh|bash|bats|python3)\b' {} +))
LINT_PY := $(sort $(shell find service client tests -name '*.py') $(if $(LINT_SCRIPTS),$(shell grep -l -m1 '^\#!.*python3' $(LINT_SCRIPTS))))
LINT_BATS := $(filter %.bats,$(LINT_SCRIPTS))
LINT_SH := $(sort $(filter-out $(LINT_PY) $(LINT_BATS),$(LINT_SCRIPTS)) $(shell find service client tests -name '*.bash'))

lint-all: $(LINT_C:%=$(L)/%.ok) $(L)/python.ok $(L)/shell.ok $(L)/bats.ok $(L)/licences.ok

# The build's flags, without what asks for code: an analyzer is to see memcpy, not what _FORTIFY_SOURCE makes of it.
LINT_FLAGS = $(LINT_INC) $(filter-out $(HARDEN) $(CFLAGS) -fPIC,$(ALL_CFLAGS))
LINT_CPPCHECK := --quiet --error-exitcode=1 --std=c11 --library=posix --library=tests/lint/cppcheck.cfg --suppressions-list=tests/lint/cppcheck.supp -D__linux__ \
	--template='{file}:{line}:{column}: {severity}: {message} [{id}]' --template-location='{file}:{line}: note: {info}'
$(L)/%.c.ok: LINT_LEVEL := --enable=warning,performance,portability,style
$(L)/tests/%.c.ok: LINT_LEVEL := --enable=warning,performance,portability
# As libfob's users compile it, and one with messages of its own.
$(L)/client/examples/%.c.ok: LINT_INC := -Iclient
$(L)/client/examples/nng_req.c.ok: LINT_INC := -isystem $(B)/client/examples
$(L)/client/examples/nng_req.c.ok: $(EXAMPLE_PROTO_C)

# What clang --analyze is told of other files' functions, and the checkers that it is not to run on a file:
LINT_MODEL := -include tests/lint/model.h
not = $(foreach c,$(1),-Xclang -analyzer-disable-checker -Xclang $c)
$(L)/client/%.c.ok: LINT_KNOWS := -DLINT_CLIENT $(LINT_MODEL)
$(L)/client/cli/%.c.ok: LINT_KNOWS :=
$(L)/client/cluster/%.c.ok: LINT_KNOWS :=
$(L)/client/http/%.c.ok: LINT_KNOWS :=
$(L)/client/examples/%.c.ok: LINT_KNOWS :=
$(L)/service/rpc/%.c.ok: LINT_KNOWS := -DLINT_RPC $(LINT_MODEL)
$(L)/client/error.c.ok $(L)/client/request.c.ok $(L)/service/rpc/call.c.ok: LINT_KNOWS :=
# A test stops at a failed assertion, which they take for a function that returns; and its messages are read through their base.
$(L)/tests/%.c.ok: LINT_KNOWS := $(call not,deadcode.DeadStores core.CallAndMessage core.NonNullParamChecker core.NullDereference \
	core.uninitialized.Assign core.uninitialized.Branch core.uninitialized.UndefReturn core.UndefinedBinaryOperatorResult \
	unix.cstring.NullArg)
# verify_route() gives an environment for each key.
$(L)/client/batch.c.ok: LINT_KNOWS += $(call not,core.uninitialized.ArraySubscript core.CallAndMessage)
# They do not see that TAILQ_REMOVE of an entry changes the list's head; place() returns a session always.
$(L)/client/http/server_connection.c.ok: LINT_KNOWS += $(call not,unix.Malloc)
$(L)/client/http/session.c.ok: LINT_KNOWS += $(call not,core.NonNullParamChecker)
# They do not see that protobuf-c frees a message.
$(L)/client/cluster/answers.c.ok $(L)/client/cluster/messages.c.ok: LINT_KNOWS += $(call not,unix.Malloc)
# A step of a search is filled in by the step above it.
$(L)/service/lmdb/descent.c.ok: LINT_KNOWS += $(call not,core.UndefinedBinaryOperatorResult core.uninitialized.Branch \
	core.uninitialized.Assign core.CallAndMessage)

LINT_CONFIG := .clang-tidy tests/.clang-tidy $(wildcard tests/lint/*.supp) tests/lint/cppcheck.cfg tests/lint/model.h tests/lint/lint.mk
$(L)/%.c.ok: %.c $(LINT_CONFIG) | $(PROTO_H) $(ETCD_OBJ:.o=.h)
	@mkdir -p $(@D)
	@$(if $(V),,echo '  LINT    $<')
	$(Q)ok=0; \
	cppcheck $(LINT_CPPCHECK) $(LINT_LEVEL) $(filter -D%,$(LINT_FLAGS)) -I. $< || ok=1; \
	clang-tidy --quiet $< -- $(LINT_FLAGS) 2>$@.err || { grep -v ' warnings\? generated\|^Suppressed\|^Use -header' $@.err; ok=1; }; \
	clang --analyze -Xclang -analyzer-output=text -Xclang -analyzer-werror $(LINT_FLAGS) $(LINT_KNOWS) -MMD -MP -MF $(@:.ok=.d) -MT $@ $< || ok=1; \
	rm -f $@.err; test $$ok = 0
	$(Q)touch $@

$(L)/python.ok: $(LINT_PY) tests/lint/lint.mk
	@mkdir -p $(@D)
	$(Q)$(PYTHON) -m pyflakes $(LINT_PY) && touch $@

$(L)/shell.ok: $(LINT_SH) .shellcheckrc tests/lint/lint.mk
	@mkdir -p $(@D)
	$(Q)shellcheck -x $(LINT_SH) && touch $@

# SC2016: `bash -c '... $$1'` is meant. SC2046, SC2086: flags for a command, in words. SC2155: a test shows what it got.
# SC2164: bats ends a test at the first command that fails.
$(L)/bats.ok: $(LINT_BATS) .shellcheckrc tests/lint/lint.mk
	@mkdir -p $(@D)
	$(Q)shellcheck -x -e SC2016,SC2046,SC2086,SC2155,SC2164 $(LINT_BATS) && touch $@

# No file has a notice of a licence but LICENSE's, and Debian's copyright file has its words.
LINT_ALL := LICENSE Makefile README.md $(sort $(shell find proto service client tests -type f ! -path '*/corpus/*' ! -name '*.pyc'))
$(L)/licences.ok: $(LINT_ALL)
	@mkdir -p $(@D)
	$(Q)licensecheck --machine --check . $? | awk -F '\t' '$$2 !~ /^(UNKNOWN|ISC( License)?)$$/ { print; bad = 1 } END { exit bad }'
	$(Q)sed '0,/^Files:/d' service/debian/copyright | sed '0,/^License:/d' | sed '0,/^License:/d; s/^ //; s/^\.$$//' > $@.words
	$(Q)sed 1,2d LICENSE | cmp - $@.words && rm $@.words
	$(Q)touch $@

-include $(LINT_C:%.c=$(L)/%.c.d)

endif
