# `make demo` and `make test` work on a fresh machine. PYTHON=python3.12 selects an interpreter; the default is the
# first supported one. EXTRAS="s3 ray" installs optional extras; later calls keep them.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p; done) python3)
EXTRAS ?=
BIN := .venv/bin
# Processes of the tests: one per core, up to four, one more because some wait, and two more for the slow ones, which
# wait for others. Tests that share a server or an engine run in one process.
CORES = $(shell n=$$(nproc); echo $$((n > 4 ? 4 : n)))
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist loadgroup -n
# Without kept bytecode, every process of a run compiles Prefect, transformers and vLLM again: 5 s for each engine.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-dev demo test test-fast lint suite suite-fast test-long test-kills docs constraints clean

help:
	@echo "make demo       set up, train HPT, SFT and GRPO at small scale, evaluate, publish a leaderboard"
	@echo "make test       set up and run lint, types, import rules and the tests"
	@echo "make test-fast  the same without the tests marked slow"
	@echo "make test-long  the tests that take minutes each: whole pipelines on S3 and PostgreSQL, random kills"
	@echo "make test-kills those among them that kill processes"
	@echo "make docs       set up and build the documentation in build/docs"
	@echo "make setup      create the environment in .venv; EXTRAS=\"s3 ray\" adds optional extras"
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

# The linters run beside the tests. Either one's failure is the command's.
test test-fast:
	@$(MAKE) --no-print-directory -j2 lint $(@:test%=suite%)

suite: setup-dev
	$(PYTEST) $(shell echo $$(($(CORES) + 2))) -m "not long"

# Whole pipelines on S3 and PostgreSQL, random kills, a killed Ray node and a killed setup: minutes each, so they have a
# command of their own.
test-long: setup-dev
	$(PYTEST) 2 -m long

# The kill tests among them, for CI.
test-kills: setup-dev
	$(PYTEST) 2 -m kills

suite-fast: setup-dev
	$(PYTEST) $(shell echo $$(($(CORES) + 1))) -m "not slow and not long"

# The config reference and the catalog's tables are written from the code; a warning is an error. The build needs no network.
docs: setup-dev
	@$(BIN)/python -c "from pathlib import Path; from flows.commands.config import reference_text; \
		Path('docs/reference/config.md').write_text(reference_text(), encoding='utf-8')"
	@$(BIN)/python -m benchmarks.catalog.document docs/reference/schemas.md
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

# Pins versions that fit all extras, torch builds and supported Pythons. Existing pins are kept where possible;
# `make constraints UPGRADE=--upgrade` upgrades everything.
constraints: setup-dev
	UV_CUSTOM_COMPILE_COMMAND="make constraints" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--no-annotate --all-extras --group dev --override requirements/gpu.txt --no-emit-package torch $(UPGRADE) \
		pyproject.toml --output-file requirements/constraints.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
