# `make run` and `make test` set up what they need; nothing but Python 3.11 or later, make and git must be there before.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export NODE_DISABLE_COMPILE_CACHE := 1

.PHONY: run test test-parts test-whole test-documents test-large test-aws bench setup stop lock clean

run: setup ## Deploy to embedded AWS, send the samples, show what became of each record
	$(BIN)/custody up
	$(BIN)/python -m samples.send

test: setup ## All that CI runs; the tests of the parts, of the whole, and of the documents beside one another
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory --jobs=3 test-parts test-whole test-documents

test-parts: setup
	$(BIN)/pytest -p no:cacheprovider tests --ignore=tests/local --ignore=tests/e2e

test-whole: setup
	$(BIN)/pytest -p no:cacheprovider tests/local tests/e2e/system

test-documents: setup
	$(BIN)/pytest -p no:cacheprovider tests/e2e/documents

test-large: setup ## The tests of bulk with a million records in an object, and two thousand objects; ten minutes
	CUSTODY_RECORDS=1000000 CUSTODY_OBJECTS=2000 $(BIN)/pytest -p no:cacheprovider tests/e2e/system/test_bulk.py

test-aws: setup ## The tests marked `aws` in an account of yours: make test-aws AWS_PROFILE=NAME ACCOUNT=NUMBER; docs/deploy.md
	@TEST_ENV="$(TEST_ENV)" SETTINGS="$(SETTINGS)" ACCOUNT="$(ACCOUNT)" $(BIN)/python -m tests.support.on_aws

bench: setup ## Measure the three stages beside a floor and beside what one would write instead; a minute or two
	$(BIN)/python -m benchmarks

stop: ## Stop embedded AWS
	@if [ -x $(BIN)/custody ]; then $(BIN)/custody down; fi

setup: .venv/.ready node_modules/.ready

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Custody needs Python 3.11 or later, and this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

node_modules/.ready: .venv/.ready package.json package-lock.json
	npm ci --no-progress --loglevel=error
	touch $@

lock: .venv/.ready ## Pin the dependencies anew, with their hashes
	for name in bootstrap functions dev; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

clean: stop ## Remove all that was built or downloaded
	rm -rf .venv node_modules build cdk.out .custody .mypy_cache .ruff_cache .pytest_cache .hypothesis
