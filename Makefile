# Every target calls one command; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# uv creates the environment from uv.lock; if the machine has no uv, a copy is installed into .tools
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
export UV_COMPILE_BYTECODE := 1# dbt starts 40 % quicker
# a checkout always uses its own environment, also if another one is active
unexport VIRTUAL_ENV

START ?=
# processes of pytest: one for each core; PROCESSES=0 runs the tests one after another, for a debugger
PROCESSES ?= auto
COVERAGE_FLOOR ?= 83
FUZZ_SECONDS ?= 3600
PYTEST = $(BIN)/pytest -q -n $(PROCESSES) --dist loadfile
LONG = $(if $(QUICK),-m "not long")
END ?=
SOURCE ?= jsonplaceholder
BENCH_ENV ?= $(HOME)/.cache/data-pipeline/bench
DOCS_PORT ?= 8090
N8N_DIR ?= $(HOME)/.cache/data-pipeline/n8n

PROFILES ?=
# containers that load, and loads that each of them runs at the same time; .env may set both, and 0 is one machine
WORKERS ?= $(shell sed -n 's/^WORKERS=//p' .env 2>/dev/null)
override WORKERS := $(filter-out 0,$(WORKERS))
WORKER_SLOTS ?= $(or $(shell sed -n 's/^WORKER_SLOTS=//p' .env 2>/dev/null),4)
COMPOSE = docker compose --env-file .env -f infra/docker-compose.yml \
	$(if $(WORKERS),-f infra/docker-compose.workers.yml --profile workers) \
	$(if $(WORKERS),$(if $(filter prefect,$(PROFILES)),--profile prefect-workers)) \
	$(if $(PROD),-f infra/docker-compose.prod.yml) \
	$(if $(or $(filter tls,$(PROFILES)),$(shell grep -s '^PUBLIC_DOMAIN=.' .env)),-f infra/docker-compose.tls.yml) \
	$(addprefix --profile ,$(PROFILES))
SECRETS = $(if $(PROD),SECRETS_VERSION=$$(cat .secrets/* | cksum | cut -d ' ' -f 1))
ifdef DEMO
override PROFILES += demo
export API_BASE_URL := http://sample-api:3000
export COIN_API_BASE_URL := http://sample-api:3000
endif
ifneq ($(WORKERS),)
export WORKERS WORKER_SLOTS
# as many tasks as there are slots: another task would wait at the broker, where its priority does not count
export AIRFLOW_PARALLELISM := $(shell echo $$((($(WORKERS) + 1) * $(WORKER_SLOTS))))
endif
ifneq ($(filter observability,$(PROFILES)),)
export AIRFLOW_METRICS := True
endif

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | expand -t 18

.tools/bin/uv:
	@infra/install-uv.sh .tools

.PHONY: setup
setup: $(filter .tools/%,$(UV)) ## Install everything for development into .venv
	@$(UV) sync --locked --quiet

.PHONY: install
install: setup ## The same as make setup

.PHONY: core
core: $(filter .tools/%,$(UV))
	@$(UV) sync --locked --quiet --inexact --no-default-groups

.PHONY: setup-spark
setup-spark: $(filter .tools/%,$(UV)) ## Install dbt for Spark into infra/spark/.venv, for DBT_TARGET=spark
	@$(UV) sync --locked --quiet --project infra/spark

.PHONY: demo
demo: core ## Load three days from the sample API into a tested warehouse; needs no network
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

.PHONY: run-dbt
run-dbt: build ## The same as make build

.PHONY: test-dbt
test-dbt: core ## Build what changed, with every dbt test over all rows, and publish
	@$(BIN)/pipeline build --full-tests

.PHONY: docs-dbt
docs-dbt: docs ## The same as make docs

.PHONY: status
status: core ## Show the row counts of every partition, and whether they add up
	@$(BIN)/pipeline status

.PHONY: doctor
doctor: core ## Check this installation, and print each problem with its fix
	@$(BIN)/pipeline doctor --docker

.PHONY: health
health: core ## Show how fresh the data is and which problems it has
	@$(BIN)/pipeline health

.PHONY: report
report: core ## Write the health page to data/docs/health.html
	@$(BIN)/pipeline report

.PHONY: docs
docs: core ## Write the pages for data consumers to data/docs: the portal, dbt's site, health
	@$(BIN)/pipeline docs

.PHONY: docs-serve
docs-serve: site docs ## Serve the data portal and the guides at http://127.0.0.1:8090 until Ctrl-C: make docs-serve DOCS_PORT=8091
	@echo "the data portal: http://127.0.0.1:$(DOCS_PORT)"
	@$(BIN)/python infra/docs_site.py --host 127.0.0.1 --port $(DOCS_PORT)

.PHONY: sql-page
sql-page: ## Install the parts of the portal's SQL page from npm into data/sql_page, 50 MB
	@infra/install-sql-page.sh data/sql_page

.PHONY: site
site: setup ## Build the site of docs/, with the health page and dbt's site, in data/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file infra/mkdocs.yml --site-dir ../data/site

.PHONY: init
init: core ## Add the secrets that .env lacks; existing values stay
	@$(BIN)/pipeline init --secrets-dir .secrets

.PHONY: airflow-local
airflow-local: setup ## Run Airflow without Docker until Ctrl-C: make airflow-local AIRFLOW_PORT=8081
	@$(BIN)/python infra/airflow_local.py $(AIRFLOW_PORT:%=--port %)

.PHONY: airflow
airflow: airflow-local ## The old name of make airflow-local

.PHONY: airflow-cli
airflow-cli: setup ## Run Airflow's own command line: make airflow-cli ARGS="backfill create --dag-id …"
	@$(BIN)/python infra/airflow_local.py exec airflow $(ARGS)

.PHONY: run-prefect
run-prefect: site ## Run Prefect without Docker until Ctrl-C: make run-prefect PREFECT_PORT=4201
	@$(BIN)/python infra/prefect_local.py $(PREFECT_PORT:%=--port %)

.PHONY: n8n-install
n8n-install: ## Install n8n and Node 24 from npm into N8N_DIR, outside the repository
	@infra/install-n8n.sh $(N8N_DIR)

.PHONY: n8n-up
n8n-up: setup ## Run n8n with the backfill webhook without Docker until Ctrl-C; needs make airflow-local
	@N8N_DIR=$(N8N_DIR) $(BIN)/python infra/n8n_local.py $(N8N_PORT:%=--port %) $(AIRFLOW_PORT:%=--airflow-url http://127.0.0.1:%)

.PHONY: n8n-import
n8n-import: setup ## Import n8n/workflows into the n8n of make n8n-up (in Docker: make up); OVERWRITE=yes replaces changes made there
	@N8N_DIR=$(N8N_DIR) $(BIN)/python infra/n8n_workflows.py import $(if $(filter yes,$(OVERWRITE)),--overwrite)

.PHONY: n8n-export
n8n-export: setup ## Export its workflows to n8n/workflows: make n8n-export NAMES="one of yours"
	@N8N_DIR=$(N8N_DIR) $(BIN)/python infra/n8n_workflows.py export $(if $(NAMES),"$(NAMES)")

.PHONY: up
up: init ## Start everything in Docker, until it is healthy: make up DEMO=1 WORKERS=3 PROFILES="prefect observability spark tls" PROD=1 OVERWRITE=yes
	@mkdir -p data
	@$(SECRETS) $(BIN)/python infra/compose_up.py $(if $(filter yes,$(ADOPT)),--adopt) $(COMPOSE) up --detach $(if $(shell grep -s '^PIPELINE_IMAGE=.' .env),--no-build,--build) --wait --wait-timeout 900
	@$(BIN)/python infra/addresses.py

.PHONY: down
down: core ## Stop the stack; all data stays
	@$(BIN)/python infra/compose_up.py --check
	@$(COMPOSE) --profile '*' down

.PHONY: run-airflow
run-airflow: up ## The same as make up

.PHONY: stop-airflow
stop-airflow: down ## The same as make down

.PHONY: ps
ps: ## Show the containers and their health
	@$(COMPOSE) --profile '*' ps

.PHONY: logs
logs: ## Follow the logs: make logs SERVICE=scheduler
	@$(COMPOSE) --profile '*' logs --follow --tail 100 $(SERVICE)

.PHONY: shell
shell: ## Open a shell in a container, with the pipeline's commands: make shell SERVICE=scheduler
	@$(COMPOSE) exec $(or $(SERVICE),scheduler) /app/infra/entrypoint.sh bash

.PHONY: reset
reset: ## Remove the containers and volumes, not data/ and .env: make reset CONFIRM=yes
	@infra/reset.sh "$(CONFIRM)" $(COMPOSE)

.PHONY: deploy
deploy: init ## Deploy a release, and go back if it is not healthy: make deploy IMAGE=…@sha256:… COMMIT=… PROD=1
	@infra/deploy.sh "$(IMAGE)" "$(COMMIT)" $(COMPOSE)

.PHONY: compare-gold
compare-gold: setup ## Print the effect of a change on Gold as Markdown: make compare-gold BASE=…/data/demo HEAD=data/demo
	@$(BIN)/python infra/compare_gold.py $(BASE) $(HEAD)

.PHONY: backup
backup: ## Copy databases, Bronze, warehouse and secrets to a folder: make backup TO=backups/monday
	@infra/backup.sh "$(or $(TO),backups/$(shell date -u +%Y%m%dT%H%M%SZ))" $(COMPOSE)

.PHONY: restore
restore: init ## Restore a backup into an empty installation: make restore FROM=backups/monday
	@infra/restore.sh "$(FROM)" $(COMPOSE)

.PHONY: sample-api
sample-api: core ## Serve the sample API on 127.0.0.1:3000
	@$(BIN)/python -m scripts.sample_api --port 3000

.PHONY: test
test: QUICK = 1
test: lint types test-unit test-integration test-cases test-crash-sample test-warehouse test-dags ## Run every check: lint, types, unit, integration, cases, dbt and DAG tests, but the long ones; each suite by its own target is whole

.PHONY: lint
lint: setup ## Check lint, formatting, and that generated files are up to date
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports
	@$(BIN)/pipeline sources check > /dev/null
	@$(BIN)/python infra/n8n_expressions.py --check
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/zizmor -q --offline --persona=auditor .github
	@$(BIN)/bandit -q -c pyproject.toml -r scripts infra airflow prefect
	@$(BIN)/hadolint infra/Dockerfile.airflow
	@$(BIN)/shellcheck infra/*.sh infra/bucket/*.sh infra/redis/*.sh infra/spark/*.sh n8n/*.sh
	@$(BIN)/sqlfluff lint -q dbt
	@$(BIN)/codespell

.PHONY: types
types: setup ## Check the types in strict mode
	@$(BIN)/mypy

.PHONY: test-unit
test-unit: setup ## Run the tests of single parts, in seconds
	@$(PYTEST) tests/unit

.PHONY: test-quick
test-quick: setup ## Run the unit and integration tests without the slow ones
	@$(PYTEST) -m "not slow" tests/unit tests/integration

.PHONY: coverage
coverage: setup ## Measure the coverage of unit and integration tests; fails below the floor
	@$(PYTEST) --cov --cov-report= --cov-fail-under=0 tests/unit tests/integration
	@$(BIN)/coverage report --format=markdown --fail-under=$(COVERAGE_FLOOR)

.PHONY: test-integration
test-integration: setup ## Run the tests of loads against the sample API: faults, kills, disks
	@$(PYTEST) $(LONG) tests/integration

.PHONY: test-cases
test-cases: setup ## Run the tests of inputs that once went wrong for users; CASES_DIR names their folder
	@$(PYTEST) $(LONG) --dist worksteal tests/cases

.PHONY: test-cases-dbt
test-cases-dbt: setup ## Run all cases of ordinary work in dbt; CASES_DBT_DIR names their folder
	@CASES_DBT=all $(BIN)/pytest -q tests/cases/test_dbt_cases.py

.PHONY: test-histories
test-histories: setup ## Compare 200 random histories of a dbt project with plain dbt, in two hours: HISTORIES=20
	@HISTORIES=$(or $(HISTORIES),200) $(PYTEST) --dist worksteal tests/warehouse/test_histories.py

.PHONY: test-warehouse
test-warehouse: setup ## Run the tests of builds with dbt: fresh, incremental, killed, read
	@$(PYTEST) $(LONG) --dist worksteal tests/warehouse

.PHONY: test-crash-sample
test-crash-sample: setup ## Run the tests of power cuts and kills with a sample of the states and some kills
	@$(PYTEST) $(LONG) tests/crash

.PHONY: test-crash
test-crash: setup ## Run the tests of power cuts with all states, and a thousand kills, in some hours
	@CRASH_STATES=all KILLS=1000 RACE_SECONDS=600 $(PYTEST) tests/crash

.PHONY: test-scale
test-scale: $(filter .tools/%,$(UV)) $(if $(QUICK),,setup-spark) ## Run the tests with Bronze in a bucket, Celery workers and models on Spark: it installs an S3 server (153 MB) and Spark (480 MB), and needs Redis and Java 17; QUICK=1 as above
	@$(UV) sync --locked --quiet --group scale
	@$(PYTEST) --scale $(LONG) tests/integration tests/warehouse/test_spark_cluster.py \
		tests/e2e/test_workers.py tests/e2e/test_prefect_workers.py

.PHONY: test-dags
test-dags: setup ## Run the tests of the rules for DAGs
	@$(BIN)/pytest -q tests/orchestration

.PHONY: test-e2e
test-e2e: setup ## Run the end-to-end tests with a real Airflow and other servers; QUICK=1 leaves out the long ones
	@$(PYTEST) --no-loadscope-reorder $(LONG) tests/e2e

.PHONY: test-compose
test-compose: setup ## Run the tests of docker compose: new, killed, in production; needs Docker; QUICK=1 as above
	@$(BIN)/pytest -q $(LONG) tests/compose

.PHONY: fuzz
fuzz: setup ## Load malformed answers for one hour: make fuzz FUZZ_SECONDS=300
	@$(BIN)/python tests/fuzz/responses.py --seconds $(FUZZ_SECONDS)

.PHONY: bench
bench: setup ## Compare the speed with the floor, dlt, PyAirbyte and SQLMesh; all of docs/performance.md or SECTIONS="'Daily build'"
	@for peer in "dlt dlt[filesystem,parquet]==1.31.0" "airbyte airbyte==0.71.3" \
			"sqlmesh sqlmesh[duckdb]==0.236.4" "charts vl-convert-python==1.9.0.post1"; do \
		set -- $$peer; folder=$(BENCH_ENV)/$$1; shift; \
		test -x $$folder/bin/python || $(UV) venv --quiet $$folder; \
		$(UV) pip install --quiet --python $$folder/bin/python "$$@" || exit 1; \
	done
	@$(BIN)/python tests/benchmarks/run.py $(BENCH_ENV) $(SECTIONS)

.PHONY: image
image: ## Build the image that make up uses
	@docker build --quiet --file infra/Dockerfile.airflow --tag data-pipeline:local .

.PHONY: scan-image
scan-image: ## Scan the image for known vulnerabilities; fails on critical ones with a fix; needs the internet
	@docker run --rm -v /var/run/docker.sock:/var/run/docker.sock anchore/grype:v0.92.0 data-pipeline:local \
		--only-fixed --fail-on critical

.PHONY: scan-secrets
scan-secrets: ## Scan the history of the repository for secrets; needs Docker
	@docker run --rm -v "$(CURDIR):/repo:ro" ghcr.io/gitleaks/gitleaks:v8.28.0 git --no-banner --redact /repo

.PHONY: audit
audit: $(filter .tools/%,$(UV)) ## Scan the packages in uv.lock for known vulnerabilities; needs the internet
	@$(UV) audit --locked

.PHONY: format
format: setup ## Format the code and fix what ruff can fix
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet

.PHONY: clean
clean: ## Remove the demo's data and the caches of tools; keeps other files in data/ and .env
	@rm -rf data/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis dbt/target dbt/logs
