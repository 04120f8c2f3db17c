# make quickstart   a first network, from nothing but Python 3.11 and pip
# make test         all quick tests (TEST_ARGS="-m slow" for the others)
# make lint         ruff, as CI runs it
# make results      README, RESULTS.md and pages of docs/ from docs/templates and results/, the pages of configs
# make docs         the site, into build/site
# make audit        known vulnerabilities of what is installed, by PyPI's advisories

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/quickstart
TEST_ARGS ?= -n 2 --dist loadfile
BIN := $(VENV)/bin

.PHONY: quickstart test lint results docs audit clean

quickstart: $(VENV)/.plots
	$(BIN)/python experiments/run.py --config=experiments/configs/quickstart.py --workdir=$(WORKDIR)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(TEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

results: $(VENV)/.plots
	$(BIN)/python experiments/results.py
	$(BIN)/python experiments/config_pages.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

audit: $(VENV)/.audit
	$(BIN)/python -m pip_audit --local --skip-editable --progress-spinner=off

clean:
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nasgen needs Python 3.11 or later; name one, as in: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Stamps: installed again only when what is to be installed has changed.
$(VENV)/.test: EXTRAS = plots,test
STAMPS := $(addprefix $(VENV)/.,plots test docs audit)
$(STAMPS): $(VENV)/.%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(or $(EXTRAS),$*)]"
	touch $@
