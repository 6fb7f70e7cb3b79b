# make book          the environment, every experiment at the laptop profile, and the book in _build/html
# make serve         the book in a browser, at an address of this machine alone
# make pdf           the book as one PDF, printed by an installed chromium
# make test          what every change has to pass
# make exhaustive    the tests that show at length, or on more cases, what others show; CI runs them too
# make check         lint, types, and the tests of theory and optimizer that start nothing else: for every edit
# make lint          ruff: what reads wrong, and how it is laid out
# make types         what mypy finds in the types
# make unit          the tests, in several processes
# make notebooks     the numbers in the smoke notebooks, computed again and compared
# make smoke-book    the book at its smallest, built strictly
# make browser       the pages of the smoke book in an installed chromium
# make sphinx-book   the same book by Sphinx alone, without Jupyter Book, compared page by page
# make links         whether the addresses outside that the book names still answer; wants a network
# make validate      the crate and the citation file, by the validators of their formats; wants a network
# make clients       the recipes for other libraries, each run with that library
# make fuzz          the nightly setting of the fuzz tests: 10,000 cases and more
# make update-smoke  rewrite the smoke notebooks that CI compares with
# make records       run every experiment at the laptop profile again and commit its record
# make paper         every experiment at the paper's profile, which wants a GPU, and the book of it
# make bench         measure this machine
# make gpu           prove the CUDA path and answer what CPUs cannot, in eight minutes of one GPU
# make gpu-pack      what a GPU machine without a network needs beside the checkout, in gpu-pack
# make env           the environment alone, in .venv
# make dev           the same with what checks the repository
# make lock          the exact versions of everything, into constraints.txt
# make clean         remove what can be made again, but for .venv and records
# make help          this list
# Needs Python 3.11 or newer and make; with git, records name the commit they were made at.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEV := .venv/.dev
CLIENTS := .venv/.clients
BROWSER := .venv/.browser
KADAM := $(BIN)/python -m kadam

.PHONY: help env dev book test exhaustive check lint types unit browser clients fuzz notebooks smoke-book sphinx-book links validate update-smoke records paper serve pdf bench gpu gpu-pack lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' "$(strip $(MAKEFILE_LIST))"

env: $(READY)

dev: $(DEV)

# pip says what it downloads; the mark comes last, so that an interrupted installation is done again. It holds the seconds.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt

# pip compiles in one process. Tests are imported by nobody, and what is no Python 3, as a template, stays as it is.
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true

# Where this is set, as in many containers, every process would compile what it imports again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "kadam needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[lab,book]'
	$(COMPILE)
	$(BIN)/python -c "import os, time; print(round(time.time() - os.path.getmtime('.venv/pyvenv.cfg')))" > $@

$(DEV): $(READY)
	$(INSTALL) -e '.[dev]'
	$(COMPILE)
	touch $@

# The libraries of the recipes are large, and nothing else here needs them.
$(CLIENTS): $(DEV)
	$(INSTALL) -e '.[clients]'
	$(COMPILE)
	touch $@

# What drives a browser; the browser itself is the system's.
$(BROWSER): $(DEV)
	$(INSTALL) -e '.[browser]'
	touch $@

book: env
	$(KADAM) book --profile laptop

# Two at a time: each pair shares what the cores have, and neither needs what the other makes.
test: lint
	$(MAKE) --no-print-directory -j 2 types unit
	$(MAKE) --no-print-directory -j 2 notebooks smoke-book

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

# Tests and smoke notebooks keep their records apart from the user's own.
unit exhaustive check browser clients fuzz notebooks smoke-book sphinx-book links validate update-smoke: export KADAM_CACHE := $(CURDIR)/.cache

# The processes share the cores, so each computes in one thread.
unit exhaustive check clients notebooks: export OMP_NUM_THREADS := 1
PARALLEL := -n auto --maxprocesses 4

unit: dev
	$(BIN)/python -m pytest tests -m "not exhaustive" $(PARALLEL)

exhaustive: dev
	$(BIN)/python -m pytest tests -m exhaustive $(PARALLEL)

check: lint types
	$(BIN)/python -m pytest tests/theory tests/optim tests/test_decay.py tests/test_advice.py -m "not exhaustive and not heavy" $(PARALLEL)

# Elsewhere these tests are skipped; here they fail where the browser is missing.
browser: export KADAM_BROWSER := 1
browser: $(BROWSER) smoke-book
	$(BIN)/python -m pytest tests/browser $(PARALLEL)

# Each library is installed here, so where one is missing its tests fail; elsewhere they are skipped.
clients: export KADAM_CLIENTS := 1
clients: $(CLIENTS)
	$(BIN)/python -m pytest tests/clients

# Other cases every time; a failure prints how to repeat it.
fuzz: dev
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/*/test_fuzz_*.py

# Strict: every printed number must be the committed one. Pictures are not compared, so these kernels draw none.
notebooks: export IPYTHONDIR := $(CURDIR)/.cache/ipython
notebooks: dev
	mkdir -p "$$IPYTHONDIR/profile_default"
	echo '{"InlineBackend": {"figure_formats": []}}' > "$$IPYTHONDIR/profile_default/ipython_kernel_config.json"
	$(BIN)/python -m pytest --nbval --nbval-current-env -p no:cacheprovider $(PARALLEL) --dist loadfile notebooks/smoke

smoke-book: env
	$(KADAM) book --profile smoke

# Whatever pages another profile's book has left in book/, they are those of the smallest one now.
fresh-smoke-book:
	rm -f _build/smoke/_build/html.stamp
	$(MAKE) smoke-book

sphinx-book: fresh-smoke-book
	$(BIN)/sphinx-build -q -W -n --keep-going -d _build/sphinx/doctrees book _build/sphinx/html
	$(BIN)/python tests/same_book.py _build/smoke/_build/html _build/sphinx/html

links: fresh-smoke-book
	$(BIN)/sphinx-build -q -b linkcheck -d _build/links/doctrees book _build/links

# In an environment of their own: they ask for other versions than the book's tools.
VALIDATORS := _build/validators

$(VALIDATORS)/.ready:
	$(PYTHON) -m venv $(VALIDATORS)
	$(VALIDATORS)/bin/python -m pip install --disable-pip-version-check roc-validator==0.13.0 cffconvert==2.0.0
	touch $@

validate: fresh-smoke-book $(VALIDATORS)/.ready
	$(VALIDATORS)/bin/cffconvert --validate
	$(VALIDATORS)/bin/rocrate-validator --no-interactive validate --profile-identifier process-run-crate _build/smoke/_build/html

update-smoke: env
	$(KADAM) book --profile smoke --update-smoke

# The reference records, and what is drawn and written of them.
records: dev
	$(KADAM) run all --profile laptop --commit
	$(BIN)/python tests/recorded.py

paper: env
	$(KADAM) run all --profile paper
	$(KADAM) book --profile paper

# At a free port, which it prints; PORT=8000 takes that one.
serve:
	@test -f _build/html/index.html || { echo "There is no book in _build/html yet; build it with: make book" >&2; exit 1; }
	@$(PYTHON) -c "import socket; socket.create_server(('127.0.0.1', $(or $(PORT),0)))" 2>/dev/null || \
	  { echo "Port $(PORT) cannot be had; without PORT=$(PORT) a free one is found" >&2; exit 1; }
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),0)

# One page, printed by a browser that is installed already. Its outline is the headings.
CHROMIUM ?= chromium
PRINT := --headless --no-sandbox --disable-gpu --no-pdf-header-footer --generate-pdf-document-outline
pdf: book
	$(BIN)/jupyter-book build book --path-output _build/pdf --config _config.yml --builder singlehtml
	$(BIN)/python -c "import subprocess, sys; subprocess.run(sys.argv[1:], check=True, timeout=600)" $(CHROMIUM) $(PRINT) --print-to-pdf=_build/kadam.pdf _build/pdf/_build/singlehtml/intro.html

bench: env
	$(KADAM) bench optimizer
	$(KADAM) bench engine
	$(KADAM) bench training
	$(KADAM) bench tokens

# In this environment where there is one, else in that of the machine, which need not be able to install anything.
gpu:
	PYTHONPATH=. $(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m kadam gpu

# Packages, data and the commit's name. It is found beside the package, or where KADAM_PACK says.
gpu-pack: env
	$(BIN)/python -m kadam.lab.packing gpu-pack

# The exact versions of everything, from the environment at hand.
lock: $(CLIENTS) $(BROWSER)
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf _build book/notebooks book/generated .cache .pytest_cache .mypy_cache .ruff_cache
