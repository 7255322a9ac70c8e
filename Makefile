# Everything starts from a bare clone: needs Python 3.11 or newer and make, brings the rest into .venv.

PYTHON ?= python3
STUDY ?= lab

VENV := .venv
BIN := $(VENV)/bin

PINS := pyproject.toml constraints.txt constraints-cpu.txt

# Held to the tested versions; torch only where there is no GPU.
GPU = $(shell nvidia-smi -L >/dev/null 2>&1 && echo yes)
CONSTRAINTS = -c constraints.txt $(if $(GPU),,-c constraints-cpu.txt)
PIP_INSTALL = $(BIN)/python -m pip install $(CONSTRAINTS)

# For a machine without a registry: the wheels that are carried there, what it has without them, and
# where both are put together.
WHEELS := wheels
PYTHON_THERE ?= 3.12
HAS ?= torch transformers numpy pandas pyarrow scipy scikit-learn matplotlib
CARRIED := .venv-wheels

.DEFAULT_GOAL := help
.PHONY: help install book epub pdf test test-gpu wheels axe axe-core jupyter clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  make %-10s%s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed  ## make .venv and install everything (about 3 minutes, once)

book: $(VENV)/.installed  ## run the live part of STUDY (default: lab) and build its book
	$(BIN)/bertprune sweep $(STUDY) --live
	$(BIN)/bertprune book $(STUDY) --live

epub pdf: $(VENV)/.installed  ## the same, and its chapters as one file; Chromium prints the PDF
	$(BIN)/bertprune sweep $(STUDY) --live
	$(BIN)/bertprune book $(STUDY) --live --also-as $@

test: export HF_HUB_OFFLINE := 1
test: export PYTHONUTF8 := 1
test: $(VENV)/.installed-dev  ## lint, check order and types, run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-gpu: $(if $(wildcard $(WHEELS)),$(CARRIED),$(VENV))/.installed-dev
test-gpu:  ## do all that needs a GPU, in eight minutes; with wheels/ no registry is asked
	$(<D)/bin/python tests/gpu/run.py

wheels: $(VENV)/.installed-dev  ## download what test-gpu needs on a machine without a registry
	rm -rf $(WHEELS)
	$(BIN)/python tests/gpu/wheels.py $(WHEELS) --python $(PYTHON_THERE) --has "$(HAS)"

# Nothing of it is kept in the project: npm brings it into a folder that git ignores.
axe: axe-core  ## check the built pages with axe-core (needs node and Chromium)
	node tests/book/site/axe.mjs .axe _build/html $(PAGES)

axe-core: .axe/node_modules

.axe/node_modules:
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix .axe axe-core@4.14 puppeteer-core@24

jupyter: $(VENV)/.installed-jupyter  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

clean:  ## remove .venv and the built pages; runs and caches stay
	rm -rf $(VENV) $(CARRIED) _build .axe *.egg-info .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "bertprune needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Without a GPU torch goes in first, and alone: where the registry has its CPU build, that one is
# taken, and nothing later asks for another.
$(VENV)/.installed: $(PINS) | $(VENV)/bin/python
	$(if $(GPU),,$(PIP_INSTALL) torch)
	$(PIP_INSTALL) -e .
	touch $@

# The extras `dev` and `jupyter`.
$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[$*]'
	touch $@

# The packages of PYTHON are found too, also where that is one of a virtual environment itself.
$(CARRIED)/.installed-dev: $(WHEELS)/requirements.txt
	$(PYTHON) -m venv --without-pip --clear $(CARRIED)
	$(PYTHON) -c 'import sys; print(*sys.path[1:], sep="\n")' > \
		$$(echo $(CARRIED)/lib/python*/site-packages)/beside.pth
	$(CARRIED)/bin/python -m pip install --quiet --no-index --find-links $(WHEELS) -r $<
	touch $@
