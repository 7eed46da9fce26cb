# `make run` and `make test` need Python 3.11 or newer and nothing else: they make .venv and install into it.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: help run test check bench nemesis lock

help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/ok    ## the whole service at http://127.0.0.1:8000
	@exec $(BIN)/authsvc run

test: .venv/ok   ## every test
	$(BIN)/pytest $(ARGS)

check: .venv/ok  ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: .venv/ok  ## the figures of docs/performance.md, measured here
	$(BIN)/python -m bench $(ARGS)

SECONDS ?= 600
nemesis: .venv/ok ## faults among clients at work, SECONDS=600 SEED=n, and a checker of what they were told
	$(BIN)/python -m tests.faults.nemesis --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

lock:            ## requirements.lock anew, from pyproject.toml
	uv pip compile pyproject.toml --extra service --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock

.venv/ok: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "authsvc needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
