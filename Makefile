# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv by itself.
#
#   make demo    a whole venture on embedded data: trains, evaluates, releases, serves and asks a code assistant
#   make test    lint, format, types, import rules, tests
#   make setup   only the set-up: the command line in .venv/bin/lodestar
#   make clean   removes .venv, the demo and every cache
#
# PYTHON   the Python to set up with (3.11 or newer)
# PIP_ARGS more arguments for pip, e.g. an index that holds the GPU build of torch

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: demo test setup setup-test lint clean
.DELETE_ON_ERROR:

demo: setup
	@$(BIN)/lodestar demo

test: setup-test lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: .venv/.installed

setup-test: .venv/.installed-test
	@scripts/ensure-browser
	@scripts/ensure-espeak
	@scripts/ensure-postgresql

.venv/.installed: pyproject.toml constraints.txt
	@scripts/ensure-venv "$(PYTHON)"
	@echo "Installing Lodestar into .venv (torch is the large part; a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

.venv/.installed-test: .venv/.installed
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf .venv demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
