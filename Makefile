# Every target calls one command; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# uv makes the environment from uv.lock; where it is missing, a copy goes into .tools
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
export UV_COMPILE_BYTECODE := 1# dbt starts 40 % quicker
# in a checkout the environment is the checkout's own, whatever another one has activated
unexport VIRTUAL_ENV

START ?=
END ?=
SOURCE ?= jsonplaceholder

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

.tools/bin/uv:
	@infra/install-uv.sh .tools

.PHONY: setup
setup: $(filter .tools/%,$(UV)) ## Install everything for development into .venv
	@$(UV) sync --locked --quiet

.PHONY: core
core: $(filter .tools/%,$(UV))
	@$(UV) sync --locked --quiet --inexact --no-default-groups

.PHONY: demo
demo: core ## Three days from the sample API to a tested warehouse, no network needed
	@$(BIN)/pipeline demo

.PHONY: run
run: core ## Ingest, validate and build: make run START=2024-01-01 END=2024-01-03
	@$(BIN)/pipeline run --source $(SOURCE) --start-date $(START) --end-date $(END)

.PHONY: backfill
backfill: core ## Load the missing days of a range, then build: make backfill START=… END=…
	@$(BIN)/pipeline backfill --source $(SOURCE) --start-date $(START) --end-date $(END)

.PHONY: build
build: core ## Build Silver and Gold from what changed, and publish
	@$(BIN)/pipeline build

.PHONY: status
status: core ## Show the rows of every partition and whether they add up
	@$(BIN)/pipeline status

.PHONY: doctor
doctor: core ## Check this installation; each problem comes with its fix
	@$(BIN)/pipeline doctor

.PHONY: sample-api
sample-api: core ## Serve the sample API on 127.0.0.1:3000
	@$(BIN)/python -m scripts.sample_api --port 3000

.PHONY: test
test: lint types test-unit test-integration test-warehouse ## Run every check: lint, types, unit, integration and dbt tests

.PHONY: lint
lint: setup ## Lint, formatting, and that generated files are up to date
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/pipeline sources check > /dev/null

.PHONY: types
types: setup ## Check the types, strictly
	@$(BIN)/mypy

.PHONY: test-unit
test-unit: setup ## Tests of single parts, seconds
	@$(BIN)/pytest -q tests/unit

.PHONY: test-integration
test-integration: setup ## Tests of loads against the sample API: faults, kills, disks
	@$(BIN)/pytest -q tests/integration

.PHONY: test-warehouse
test-warehouse: setup ## Tests of builds with dbt: fresh, incremental, killed, read
	@$(BIN)/pytest -q tests/warehouse

.PHONY: test-e2e
test-e2e: setup ## Tests of the whole against servers that are not ours; see tests/e2e
	@$(BIN)/pytest -q tests/e2e

.PHONY: format
format: setup ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet

.PHONY: clean
clean: ## Remove the demo's data and what tools left; keeps data/ and .env
	@rm -rf data/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis dbt/target dbt/logs
