# `make demo` and `make test` do everything on a fresh machine. PYTHON=python3.12 picks another interpreter than the first
# that fits; EXTRAS="s3 ray" adds optional parts, which later calls keep.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p; done) python3)
EXTRAS ?=
BIN := .venv/bin
# As many processes as there are cores, up to four: tests that share a server or an engine stay in one.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(shell n=$$(nproc); echo $$((n > 4 ? 4 : n))) --dist loadgroup
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help setup setup-dev demo test test-fast lint constraints clean

help:
	@echo "make demo       set up, train HPT, SFT and GRPO at small scale, evaluate, publish a leaderboard"
	@echo "make test       set up and run lint, types, import rules and every test"
	@echo "make test-fast  the same without the tests marked slow"
	@echo "make setup      make the environment in .venv; EXTRAS=\"s3 ray\" adds optional parts"
	@echo "make clean      remove .venv and caches; keeps runs/"

setup:
	@$(PYTHON) scripts/setup_env.py $(EXTRAS)

setup-dev:
	@$(PYTHON) scripts/setup_env.py dev $(EXTRAS)

demo: setup
	@$(BIN)/hpt run configs/demo.toml

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not slow"

# The newest versions that all extras, builds of torch and supported Pythons allow; keeps what is pinned where it can.
# `make constraints UPGRADE=--upgrade` takes the newest of everything.
constraints: setup-dev
	UV_CUSTOM_COMPILE_COMMAND="make constraints" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--no-annotate --all-extras --group dev --override requirements/gpu.txt --no-emit-package torch $(UPGRADE) \
		pyproject.toml --output-file requirements/constraints.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
