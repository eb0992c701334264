# The words that people and CI share. Every one of them sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
APP ?= examples.fastapi_app:app

FUZZ_SECONDS ?= 60
# Tests at once: more than there are CPUs, since those with real processes mostly wait.
JOBS ?= 8
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder

# Each server that a test starts would compile the package and every test its module once more, a third of all CPU time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help serve test unit e2e applications autobahn coverage check lint options fmt bench bench-short bench-plot bench-slow bench-websockets fuzz docs clean

help:                            ## print these words
	@awk -F ':.*## *' '/^[a-z0-9-]+:.*## / { printf "  make %-18s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: $(VENV)/serve.done        ## serve the example on every core
	$(BIN)/corehttp $(APP) --workers auto --host $(HOST) --port $(PORT)

test: $(VENV)/test.done          ## the whole test suite; FULL=1 runs every case, JOBS=8 at once
	$(PYTEST)

unit: $(VENV)/test.done          ## all but the tests with real processes
	$(PYTEST) -m "not e2e"

e2e: $(VENV)/test.done           ## the tests with real processes and clients
	$(PYTEST) -m e2e

applications: $(VENV)/applications.done  ## Gradio, NiceGUI, Django, Flask and datasette, served and used; Chromium must be installed
	$(BIN)/python -m pytest --numprocesses 2 -o python_files="check_*.py" tests/e2e/applications

autobahn: $(VENV)/test.done      ## every Autobahn case of WebSockets, compression too; takes some minutes
	AUTOBAHN="*" $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/e2e/test_autobahn.py::test_all_cases_are_passed_strictly

# It says what is run, not whether it is right: `make test` does. Being measured costs time and descriptors that some
# tests count, so one that fails here is printed, and the figure comes all the same.
coverage: $(VENV)/test.done      ## the whole test suite, and which lines of the package it does not run
	rm -f .coverage .coverage.*
	-COVERAGE_CORE=sysmon $(BIN)/python -m coverage run -m pytest --numprocesses $(JOBS) --dist loadgroup \
		--no-loadscope-reorder --ignore tests/test_budgets.py
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: lint test                 ## lint, types, layers, budgets, tests

lint: $(VENV)/test.done          ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

options: $(VENV)/test.done       ## write the table of options into the README
	$(BIN)/python -m tests.options_table README.md

fmt: $(VENV)/test.done           ## format the code, write the generated parts of the documentation
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tests.options_table README.md

bench: $(VENV)/bench.done        ## compare with peers; takes some minutes, wrk and autocannon must be installed
	$(BIN)/python -m benchmarks.peers

bench-short: $(VENV)/bench.done  ## the same in one minute
	$(BIN)/python -m benchmarks.peers --short

bench-plot: $(VENV)/bench.done   ## measure the whole suite, and draw it into docs/benchmarks; takes half an hour
	$(BIN)/python -m benchmarks.peers --json docs/benchmarks/run.json
	$(BIN)/python -m benchmarks.plot docs/benchmarks/run.json docs/benchmarks

bench-slow: $(VENV)/bench.done   ## what slow and lost clients cost, in one minute
	$(BIN)/python -m benchmarks.slow_clients

bench-websockets: $(VENV)/bench.done  ## WebSockets: beside peers, idle, and a feed; three minutes
	$(BIN)/python -m benchmarks.websockets

fuzz: $(VENV)/fuzz.done          ## look for input over which parsers or cuts disagree; FUZZ_SECONDS=60
	mkdir -p .fuzz
	$(BIN)/python -m tests.fuzz.fuzz_connection .fuzz tests/fuzz/corpus \
		-max_total_time=$(FUZZ_SECONDS) -dict=tests/fuzz/http.dict -artifact_prefix=.fuzz/found- -print_final_stats=1

clean:                           ## remove the virtual environment and what tools have cached
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/serve.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[examples]"
	touch $@

$(VENV)/test.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

$(VENV)/applications.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[applications]"
	touch $@

$(VENV)/fuzz.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,fuzz]"
	touch $@

$(VENV)/bench.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[benchmark]"
	touch $@
