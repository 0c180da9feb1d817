# make demo | test | check | format: each makes .venv itself when it is missing or older than pyproject.toml.
.PHONY: demo test check format clean
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

.PHONY: help
help:
	@echo "make demo    every outcome against simulated providers (ARGS=--json: the same as JSON)"
	@echo "make test    the tests (ARGS=-k name: some of them)"
	@echo "make check   lint, format and types, changing nothing"
	@echo "make format  bring the code into its format"
	@echo "make clean   remove .venv and caches"

.venv/made: pyproject.toml
	@python=; for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "error: python: 3.11 or newer is needed and was not found. Install it, then run make again." >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then echo "error: python: $$python has no venv module. Install it (Debian, Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; fi; \
	echo "making .venv with $$($$python --version)" && $$python -m venv .venv && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev && touch $@

demo: .venv/made
	@$(BIN)/pushsvc demo $(ARGS)

test: .venv/made
	$(BIN)/python -m pytest -n auto $(ARGS)

check: .venv/made
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/made
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist build
