# Everything a developer types. Works from a fresh clone with python3 (3.11 or newer, with venv) and make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Nothing here may come from, or end up in, the home of whoever types `make`.
export FUSTGO_HOME := $(CURDIR)/.demo/home
# Compiled modules are a third of a start; some environments switch them off.
unexport PYTHONDONTWRITEBYTECODE

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

.PHONY: help setup demo test check cover build bench lock lock-check clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv with the locked dependencies and this project (editable)

demo: $(INSTALLED) ## Run an example on 336,776 real flights (downloads 8 MB, by hash)
	@$(BIN)/python deploy/demo.py fetch
	@$(BIN)/fustgo run dags/flights.py
	@$(BIN)/python deploy/demo.py show

test: check cover ## All checks and all tests, with the coverage floors (as CI does)

check: $(INSTALLED) ## Formatting, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

cover: $(INSTALLED)
	rm -f .coverage .coverage.*
	$(BIN)/pytest -q --numprocesses 3 --cov --cov-report=json:.coverage.json
	$(BIN)/python -m tests.architecture.coverage_floors .coverage.json

build: $(INSTALLED) ## Build the sdist, and from it the wheel, into dist/
	rm -rf dist build *.egg-info
	$(BIN)/python -m build --no-isolation
	@rm -rf build *.egg-info # else their metadata would be found before the installed one

bench: $(INSTALLED) ## Run every benchmark of tests/benchmarks; they print ratios and assert none
	@for file in tests/benchmarks/[a-z]*.py; do \
		module=$${file%.py}; echo "== $$module"; $(BIN)/python -m $${module//\//.}; \
	done

lock: $(INSTALLED) ## Bring the lock files in line with pyproject.toml (UPGRADE=--upgrade moves all versions)
	$(COMPILE) $(UPGRADE) pyproject.toml --output-file requirements.lock
	$(COMPILE) $(UPGRADE) --constraints requirements.lock --group dev pyproject.toml --output-file dev.lock

lock-check: $(INSTALLED) ## Fail when `make lock` would change something (asks the package index)
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; cp pyproject.toml README.md *.lock "$$scratch"; \
	root=$$PWD; cd "$$scratch"; \
	"$$root"/$(COMPILE) pyproject.toml --output-file requirements.lock; \
	"$$root"/$(COMPILE) --constraints requirements.lock --group dev pyproject.toml --output-file dev.lock; \
	cd "$$root"; for lock in *.lock; do \
		cmp "$$lock" "$$scratch/$$lock" || { echo "$$lock is stale: run 'make lock'" >&2; exit 1; }; \
	done; echo "the lock files are fresh"

clean: ## Remove what building, testing and the demo leave behind; keeps .venv
	rm -rf build dist .demo .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "python3 cannot create environments: on Debian, apt install python3-venv" >&2; exit 2; }

# uv itself comes from the lock, by hash; everything after it is uv's work (seconds instead of a minute).
$(INSTALLED): pyproject.toml requirements.lock dev.lock | $(BIN)/python
	@echo "installing the locked dependencies into .venv"
	@if [ ! -x $(BIN)/uv ]; then \
		awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' dev.lock > .venv/uv.lock; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock; \
	fi
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
