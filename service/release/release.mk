# What a release has besides the packages: its sources, and what is in it.

.PHONY: dist sbom
DIST ?= build/fob-$(VERSION).tar.gz

# The committed files but those of .gitattributes, in git's order, with the commit's time: the same commit gives the same
# bytes. Nothing of it needs git or the network to be built.
dist: ## the release's sources in build/fob-VERSION.tar.gz, with its SHA-256
	@mkdir -p build
	$(Q)git rev-parse --verify -q HEAD >/dev/null || { echo 'make dist: only in a checkout of git' >&2; exit 1; }
	$(Q)git diff --quiet HEAD || echo 'make dist: what is not committed is not in it' >&2
	$(Q)git archive --format=tar --prefix=fob-$(VERSION)/ HEAD | gzip -9n > $(DIST)
	$(Q)cd $(dir $(DIST)) && sha256sum $(notdir $(DIST)) | tee $(notdir $(DIST)).sha256

SBOM ?= build/fob.spdx.json
sbom: all ## what is in this build, and what it is linked with: build/fob.spdx.json (SPDX 2.3)
	$(Q)rm -rf $(SBOM).d
	$(Q)$(MAKE) -s --no-print-directory install DESTDIR="$(abspath $(SBOM).d)" PREFIX=/usr >/dev/null
	$(Q)service/release/sbom $(SBOM).d $(VERSION) > $(SBOM).new && mv $(SBOM).new $(SBOM)
	$(Q)rm -rf $(SBOM).d
	@echo $(SBOM)
