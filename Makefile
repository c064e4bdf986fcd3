# `make demo` and `make test` do everything on a fresh machine; PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help setup setup-dev demo test test-fast lint clean

help:
	@echo "make demo       set up, train HPT, SFT and GRPO at small scale, evaluate, publish a leaderboard"
	@echo "make test       set up and run lint, types, import rules and every test"
	@echo "make test-fast  the same without the tests marked slow"
	@echo "make setup      make the environment in .venv"
	@echo "make clean      remove .venv and caches; keeps runs/"

setup:
	@$(PYTHON) scripts/setup_env.py

setup-dev:
	@$(PYTHON) scripts/setup_env.py --dev

demo: setup
	@$(BIN)/hpt run configs/demo.toml

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

test-fast: lint
	$(BIN)/python -m pytest -m "not slow"

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
