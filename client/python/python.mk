# The Python package fob: its wheel, and its files for a Debian package. Included by the Makefile.
#   PYTHON_BUILD  where the wheel is built
#   PYTHON_DIR    where install-python puts the package, below DESTDIR

PYTHON_BUILD ?= build/python
PYTHON_DIR ?= /usr/lib/python3/dist-packages
PYTHON_WHEEL := $(PYTHON_BUILD)/fob-$(VERSION)-py3-none-any.whl
PYTHON_SRC := $(addprefix client/python/,pyproject.toml README.md) $(wildcard client/python/fob/*.py) client/python/fob/py.typed
# The date of the files in the wheel, so that two builds give the same bytes: 1980, the first that a zip file can say.
PYTHON_DATE := $(or $(SOURCE_DATE_EPOCH),315532800)

.PHONY: python-wheel install-python

python-wheel: $(PYTHON_WHEEL) ## build the Python package's wheel in build/python: python3-setuptools, python3-wheel

# Without a network: the build backend is called as pip calls it. The version is client/fob.h's.
$(PYTHON_WHEEL): $(PYTHON_SRC) client/python/python.mk client/fob.h
	$(Q)rm -rf $(PYTHON_BUILD)/src && mkdir -p $(PYTHON_BUILD)/src/fob
	$(Q)cp LICENSE $(filter %.toml %.md,$^) $(PYTHON_BUILD)/src
	$(Q)cp $(filter client/python/fob/%,$^) $(PYTHON_BUILD)/src/fob && echo $(VERSION) > $(PYTHON_BUILD)/src/VERSION
	$(Q)cd $(PYTHON_BUILD)/src && SOURCE_DATE_EPOCH=$(PYTHON_DATE) $(PYTHON) -c \
	    'from setuptools import build_meta; build_meta.build_wheel("..")' > ../log 2>&1 || { cat ../log >&2; exit 1; }

# A wheel of Python files only is installed by unpacking it. Builds nothing, like install.
install-python: ## install below $(DESTDIR)$(PYTHON_DIR) what `make python-wheel` has built
	@test -e $(PYTHON_WHEEL) || { echo 'make install-python: run `make python-wheel` first' >&2; exit 1; }
	install -d "$(DESTDIR)$(PYTHON_DIR)"
	$(PYTHON) -m zipfile -e $(PYTHON_WHEEL) "$(DESTDIR)$(PYTHON_DIR)"
