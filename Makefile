# make book   the environment, every experiment at the laptop profile, and the book in _build/html
# make test   everything that CI checks
# make check  lint, types, and the tests of theory and optimizer: for every edit
# make fuzz   the nightly setting of the fuzz tests: 10,000 cases and more
# Needs Python 3.11 or newer, make and git.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEV := .venv/.dev
KADAM := $(BIN)/python -m kadam

.PHONY: help env dev book test check lint types unit check fuzz notebooks smoke-book update-smoke records paper serve pdf bench lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

env: $(READY)

dev: $(DEV)

# pip says what it downloads; the mark comes last, so that an interrupted installation is done again.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "kadam needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[lab,book]'
	touch $@

$(DEV): $(READY)
	$(INSTALL) -e '.[dev]'
	touch $@

book: env
	$(KADAM) run all --profile laptop
	$(KADAM) book --profile laptop

test: lint types unit notebooks smoke-book

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

# Tests and smoke notebooks keep their records apart from the user's own.
unit check fuzz notebooks smoke-book update-smoke: export KADAM_CACHE := $(CURDIR)/.cache

# The processes share the cores, so each computes in one thread.
unit check notebooks: export OMP_NUM_THREADS := 1
PARALLEL := -n auto --maxprocesses 4

unit: dev
	$(BIN)/python -m pytest tests $(PARALLEL) --dist loadgroup

check: lint types
	$(BIN)/python -m pytest tests/theory tests/optim tests/test_decay.py tests/test_advice.py $(PARALLEL) --dist loadgroup

# Other cases every time; a failure prints how to repeat it.
fuzz: dev
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/*/test_fuzz_*.py

# Strict: every printed number must be the committed one.
notebooks: dev
	$(BIN)/python -m pytest --nbval --nbval-current-env -p no:cacheprovider $(PARALLEL) --dist loadfile notebooks/smoke

smoke-book: env
	$(KADAM) book --profile smoke

update-smoke: env
	$(KADAM) book --profile smoke --update-smoke

# The reference records. README.md's table (kadam claims --markdown) and tests/verdicts.json follow by hand: a test insists.
records: env
	$(KADAM) run all --profile laptop --commit
	$(BIN)/python -c "from kadam import chapters; from kadam.chapters.growth import figures; \
	  figures.slopes(chapters.obtain('growth', 'laptop')).savefig('book/images/growth.png')"

paper: env
	$(KADAM) run all --profile paper
	$(KADAM) book --profile paper

serve: env
	$(BIN)/python -m http.server --directory _build/html 8000

# One page, printed by a browser that is installed already.
pdf: env
	$(BIN)/jupyter-book build book --path-output _build/pdf --config _config.yml --builder singlehtml
	chromium --headless --no-sandbox --disable-gpu --print-to-pdf=_build/kadam.pdf --virtual-time-budget=20000 _build/pdf/_build/singlehtml/index.html

bench: env
	$(KADAM) bench optimizer
	$(KADAM) bench engine
	$(KADAM) bench training
	$(KADAM) bench tokens

# The exact versions of everything, from the environment at hand.
lock: dev
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf _build book/notebooks book/generated .cache .pytest_cache .mypy_cache .ruff_cache
