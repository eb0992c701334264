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

# Percent of the package's lines that the unit tests have to run.
UNIT_COVERAGE = 90

# Each server that a test starts would compile the package and every test its module once more, a third of all CPU time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help serve test unit e2e applications autobahn coverage coverage-unit coverage-e2e check features lint style types options fmt bench bench-short bench-plot bench-slow bench-websockets fuzz clean

help:                            ## print these words
	@awk -F ':.*## *' '/^[a-z0-9-]+:.*## / { printf "  make %-18s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: $(VENV)/serve.done        ## serve the example on every core
	$(BIN)/corehttp $(APP) --workers auto --host $(HOST) --port $(PORT)

test: $(VENV)/test.done          ## every test; FULL=1 runs every case of them, JOBS=8 at once
	$(PYTEST)

unit: $(VENV)/test.done          ## all but the tests with real processes
	$(PYTEST) -m "not e2e"

e2e: $(VENV)/test.done           ## the tests with real processes and clients
	$(PYTEST) -m e2e

# The end-to-end tests that it leaves out take longer than all others together; `make test` and CI run them. The types
# are checked beside the tests, of which some only wait.
check: style                     ## what to run before a commit: lint, types, unit tests, each feature end to end
	@$(MAKE) --no-print-directory -j 2 types features

features: JOBS = 4
features: export LIVES = 50
features: $(VENV)/test.done
	$(PYTEST) -m "not e2e or feature"

applications: $(VENV)/applications.done  ## Gradio, NiceGUI, Django, Flask and datasette, served and used; Chromium must be installed
	$(BIN)/python -m pytest --numprocesses 2 -o python_files="check_*.py" tests/e2e/applications

autobahn: $(VENV)/test.done      ## every Autobahn case of WebSockets, compression too; takes some minutes
	AUTOBAHN="*" $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/e2e/test_autobahn.py::test_all_cases_are_passed_strictly

# It says what is run, not whether it is right: `make test` does. Being measured costs time and descriptors that some
# end-to-end tests count, so one of them that fails here is printed, and the figure comes all the same.
MEASURED = COVERAGE_CORE=sysmon $(subst -m pytest,-m coverage run -m pytest,$(PYTEST))
coverage: coverage-unit coverage-e2e  ## which lines of the package no test runs, those of server processes included

coverage-unit: $(VENV)/test.done  ## the same of the unit tests alone; fails below UNIT_COVERAGE percent
	rm -f .coverage .coverage.*
	$(MEASURED) -m "not e2e" --ignore tests/test_budgets.py
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=$(UNIT_COVERAGE)

coverage-e2e: $(VENV)/test.done  ## adds what the end-to-end tests run to the figure of coverage-unit
	-$(MEASURED) -m e2e
	$(BIN)/python -m coverage combine --quiet --append
	$(BIN)/python -m coverage report

lint: style types                ## style and types

style: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What is not imported on Windows: all that only a supervisor, its workers and their clients need.
NOT_ON_WINDOWS = corehttp/(admin|control|watching)/|corehttp/bus/(mesh|peer)\.py|corehttp/supervisor/(?!deployment|leftovers)
NOT_ON_WINDOWS := $(NOT_ON_WINDOWS)|corehttp/ipc/(channel|handover|mailbox|memory_file|scoreboard|.*_area)\.py
NOT_ON_WINDOWS := $(NOT_ON_WINDOWS)|corehttp/worker/(affinity|mail_watch|process|siblings|spreading|stacks|template)\.py
NOT_ON_WINDOWS := $(NOT_ON_WINDOWS)|corehttp/(supervision|systemd_units)\.py

types: $(VENV)/test.done
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 --follow-imports silent \
		--exclude "$(NOT_ON_WINDOWS)" corehttp corehttp_server.py

options: $(VENV)/test.done       ## write options into the README, the manual page and other documents
	$(BIN)/python -m tests.options_table README.md
	$(BIN)/python -m tests.migration_tables
	$(BIN)/python -m tests.man_page docs/corehttp.1
	$(BIN)/python -m tests.options_schema docs/corehttp.schema.json

fmt: $(VENV)/test.done           ## format the code, write the generated parts of the documentation
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tests.options_table README.md
	$(BIN)/python -m tests.migration_tables
	$(BIN)/python -m tests.man_page docs/corehttp.1
	$(BIN)/python -m tests.options_schema docs/corehttp.schema.json

bench: $(VENV)/bench.done        ## compare with peers, ten minutes; wrk and autocannon must be installed
	$(BIN)/python -m benchmarks.peers

bench-short: $(VENV)/bench.done  ## the same in one minute
	$(BIN)/python -m benchmarks.peers --short

ROUNDS ?= 5

bench-plot: $(VENV)/bench.done   ## the same, recorded, drawn and written into docs/ and the README; ROUNDS=5
	$(BIN)/python -m benchmarks.peers --record docs/benchmarks --rounds $(ROUNDS)
	$(BIN)/python -m benchmarks.plot
	$(BIN)/python -m benchmarks.tables

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
