# Only Python 3.11 or later, make and git must be installed; `make setup` brings the rest into the checkout.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -p no:cacheprovider
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export NODE_DISABLE_COMPILE_CACHE := 1
# Python would compile every module again in each process: commands would take twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-types test-parts test-whole test-documents test-large test-aws docs bench setup stop lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Deploy to embedded AWS, send the samples, and show the outcome of each record
	$(BIN)/custody up
	$(BIN)/python -m samples.send

test: setup ## Run everything that CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory --jobs=4 test-parts test-whole test-documents test-types

test-types: setup
	$(BIN)/mypy

test-parts: setup
	$(PYTEST) tests --ignore=tests/local --ignore=tests/e2e

test-whole: setup
	$(PYTEST) tests/local tests/e2e/system

test-documents: setup
	$(PYTEST) tests/e2e/documents

test-large: setup ## Run the bulk tests with a million records in an object, and two thousand objects; ten minutes
	CUSTODY_RECORDS=1000000 CUSTODY_OBJECTS=2000 $(PYTEST) tests/e2e/system -k bulk

test-aws: setup ## Run the tests marked `aws` in your account: make test-aws AWS_PROFILE=NAME ACCOUNT=NUMBER (docs/deploy.md)
	@TEST_ENV="$(TEST_ENV)" SETTINGS="$(SETTINGS)" ACCOUNT="$(ACCOUNT)" $(BIN)/python -m tests.support.on_aws

docs: setup ## Generate settings, permissions, alarms, costs, diagrams and schemas in README.md and docs/
	$(BIN)/python -m docs.generator

bench: setup ## Measure the three steps against a floor and an alternative; a minute or two
	$(BIN)/python -m benchmarks

stop: ## Stop embedded AWS
	@if [ -x $(BIN)/custody ]; then $(BIN)/custody down; fi

setup: .venv/.ready node_modules/.ready ## Install every pinned dependency into .venv and node_modules

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Custody needs Python 3.11 or later; this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

node_modules/.ready: .venv/.ready package.json package-lock.json
	npm ci --no-progress --loglevel=error
	touch $@

lock: .venv/.ready ## Pin the dependencies again, with their hashes
	for name in bootstrap functions dev; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

clean: stop ## Remove everything that was built or downloaded
	rm -rf .venv node_modules build cdk.out .custody .mypy_cache .ruff_cache .pytest_cache .hypothesis
