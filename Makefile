# Weir: one command for each habit. Everything lands under .local/ and dist/ (and a cache of built
# binaries, WEIR_CACHE, default ~/.cache/weir).

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .local/venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PACKAGES := contract operator lambdas glue local
SOURCES := contract/src operator/src lambdas/src glue/src local/src
UV := .local/uv/bin/uv
N ?= 1000
# Programs that start many Python processes: each would read every module's source again.
unexport PYTHONDONTWRITEBYTECODE
MINUTES ?= 10
# Three lanes of tests that take about as long: whole pipelines, which wait for each other's runs;
# rooms that wait for leases and restarts; and all others, which compute.
WHOLE := tests/e2e
WAITING := tests/local tests/operator/ownership tests/operator/process tests/faults

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -t -s '|'

# -- setting up ---------------------------------------------------------------------------------

.PHONY: prerequisites
prerequisites:
	@tools/prerequisites

$(UV):
	@tools/prerequisites
	@$(PYTHON) -m venv .local/uv && .local/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.ready: requirements.lock $(PACKAGES:%=%/pyproject.toml) | $(UV)
	@echo "setting up the Python environment in $(VENV)"
	@test -x $(PY) || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) pip sync --quiet --compile-bytecode --python $(PY) requirements.lock
	@$(UV) pip install --quiet --no-deps --python $(PY) $(PACKAGES:%=-e ./%)
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Set up the Python environment

.PHONY: lock
lock: | $(UV) ## Resolve the dependencies anew
	@$(UV) pip compile --quiet --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-emit-package weir --no-emit-package weir-contract --no-emit-package weir-lambdas \
	  --no-emit-package weir-glue --no-emit-package weir-local \
	  --custom-compile-command "make lock" --group pyproject.toml:dev \
	  $(PACKAGES:%=%/pyproject.toml) -o requirements.lock
	@$(UV) pip compile --quiet --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-emit-package weir --no-emit-package weir-contract \
	  --custom-compile-command "make lock" operator/pyproject.toml -o operator/requirements.lock

.PHONY: artifacts
artifacts: setup ## Build the Lambda and Glue artifacts into dist/artifacts
	@$(PY) lambdas/build_artifacts.py --out dist/artifacts

.PHONY: generate
generate: setup ## Write every generated file anew: crds/, the chart's copies, the docs' tables
	@$(PY) -m weir.api.crd
	@$(PY) charts/generate.py
	@$(PY) tools/docs.py

# -- running ------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## The main job, whole: from kubectl apply to rows in the warehouse (KEEP=1 leaves it running)
	@$(PY) -m weir_local demo $(if $(KEEP),--keep)

.PHONY: up
up: setup ## Start cluster, local AWS and operator in the background (KAFKA=1: a broker too); then: source .local/env.sh
	@$(PY) -m weir_local up $(if $(KAFKA),--kafka)

.PHONY: down
down: setup ## End exactly what make up started
	@$(PY) -m weir_local down

# -- checking -----------------------------------------------------------------------------------

.PHONY: test
test: artifacts ## Set up everything and run all tests
	@$(PY) -m weir_local warm
	@$(MAKE) --no-print-directory --keep-going -j3 test-whole test-waiting test-working

# Line by line, so that what they say stays readable.
.PHONY: test-whole test-waiting test-working
test-whole:
	@set -o pipefail; $(PY) -m pytest $(WHOLE) 2>&1 | sed -u ''
test-waiting:
	@set -o pipefail; $(PY) -m pytest $(WAITING) 2>&1 | sed -u ''
test-working:
	@set -o pipefail; $(PY) -m pytest tests $(patsubst %,--ignore=%,$(WHOLE) $(WAITING)) 2>&1 | sed -u ''

.PHONY: check
check: setup ## Format, lint, types, imports, generated files fresh
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports --no-cache
	@$(PY) -m weir.api.crd --check
	@$(PY) charts/generate.py --check
	@$(PY) tools/docs.py --check

.PHONY: format
format: setup ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: setup ## Time from apply to the first row, and AWS calls a resource, as one JSON line
	@$(PY) -m benchmarks.apply_to_row

.PHONY: kill-everywhere
kill-everywhere: setup ## The operator killed at every AWS call and restarted, as one JSON line (OBJECTS=n: every n-th call of a whole installation, 0 none)
	@OBJECTS=$(OBJECTS) PYTHONPATH=tests:tests/faults $(PY) -m benchmarks.kill_everywhere

.PHONY: soak
soak: setup ## Memory, CPU, files and threads of the operator over MINUTES of drift and edits, as one JSON line
	@MINUTES=$(MINUTES) $(PY) -m benchmarks.soak

.local/bench-venv/.ready: pyproject.toml | $(UV)
	@echo "setting up the peers' Python environment in .local/bench-venv"
	@test -x .local/bench-venv/bin/python || $(UV) venv --quiet --python $(PYTHON) .local/bench-venv
	@$(UV) pip install --quiet --compile-bytecode --python .local/bench-venv/bin/python --group pyproject.toml:bench
	@touch $@

.PHONY: bench-ingest
bench-ingest: setup .local/bench-venv/.ready ## Ingestion side by side with dlt and the Airbyte CDK, as one JSON line and a plot (ROUNDS=3; ONLY=csv,email: these parts)
	@ROUNDS=$(or $(ROUNDS),3) ONLY=$(ONLY) $(PY) -m benchmarks.ingest

.PHONY: bench-control-plane
bench-control-plane: setup ## AWS calls, seconds and memory for N objects, as one JSON line (KILL=0: without the kill test)
	@N=$(N) KILL=$(KILL) $(PY) -m benchmarks.control_plane
