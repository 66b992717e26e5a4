# What `make` runs. Install steps leave a stamp in .venv, so they run again only when pyproject.toml changes.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMPS := .venv/.stamps
OLDEST := .venv-oldest

# One thread a worker: torch would otherwise start one a core in every pytest worker.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

# Passive waiting (quickstart): with a core taken by other work, spinning threads are ten times slower.

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-oldest lint types docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(STAMPS)/scans  ## pretrain on 2D shapes, convert, fine-tune on 3D shapes, write a report
	OMP_WAIT_POLICY=PASSIVE $(BIN)/thirdaxis quickstart --out quickstart

test: $(STAMPS)/dev docs  ## run every test and build the documentation strictly
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=15

test-oldest: $(OLDEST)/.stamp  ## run the converter's tests on the oldest supported torch
	$(TEST_ENV) $(OLDEST)/bin/python -m pytest -n $(WORKERS) \
		tests/test_axes.py tests/fusion tests/convert tests/export

lint: $(STAMPS)/dev  ## ruff: lint rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/dev  ## mypy on the package
	$(BIN)/mypy

docs: $(STAMPS)/dev  ## build docs/ into docs/_build, every warning an error
	$(TEST_ENV) $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

clean:  ## remove the environment and everything built
	rm -rf .venv .venv-oldest docs/_build quickstart dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(OLDEST)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet -e '.[dev]' 'torch==2.8.*' 'torchvision==0.23.*'
	@touch $@

$(STAMPS)/venv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

# The dev install contains scans, so its stamp serves both and quickstart never installs twice.
$(STAMPS)/scans: $(STAMPS)/venv pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[scans]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $(STAMPS)/scans $@
