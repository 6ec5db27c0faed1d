# Python 3.11 or newer, git and make are enough: everything else goes to .venv. `make` lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Found only when it is needed; `make install PYTHON=/some/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTEST ?= -n auto --dist worksteal
PORT ?= 3000
SIZE ?= full

# Debian keeps initdb and postgres where no shell looks.
export PATH := $(PATH):$(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))
export DAGSTER_HOME := $(CURDIR)/.dagster_home
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; name one: make install PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing the locked packages in $(VENV); the first time this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock & pip=$$!; \
		passed=0; while kill -0 $$pip 2>/dev/null; do sleep 1; passed=$$((passed + 1)); \
		[ $$((passed % 15)) -ne 0 ] || echo "  still installing after $$passed seconds"; done; wait $$pip
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

.PHONY: install
install: $(INSTALLED) ## Make .venv with the locked packages; instant when nothing changed

.PHONY: servers
servers: ## Install Redis, Postgres, MariaDB and Kafka for the tests that use them (apt, asks for root; Maven)
	scripts/install-test-servers

$(DAGSTER_HOME)/dagster.yaml: scripts/dagster.yaml
	@mkdir -p $(@D)
	@cp $< $@

.PHONY: stage
stage: $(INSTALLED) ## Write the example's data, a year of flights, to feature_repo/data
	@$(BIN)/python scripts/stage_flights.py

.PHONY: demo
demo: $(INSTALLED) $(DAGSTER_HOME)/dagster.yaml ## Run the example from raw data to features, with Dagster
	@$(BIN)/python scripts/demo.py

.PHONY: dev
dev: $(INSTALLED) $(DAGSTER_HOME)/dagster.yaml stage ## Open the same project in Dagster's UI, http://127.0.0.1:3000 (PORT=3001 for another)
	@$(BIN)/dagster dev -h 127.0.0.1 -p $(PORT) -w workspace.yaml

.PHONY: test
test: $(INSTALLED) ## Run the tests
	@$(BIN)/python -m pytest $(PYTEST)

.PHONY: clients
clients: $(INSTALLED) ## Test the clients in Go and Java against servers (ONLY=go for one of them)
	@$(BIN)/python scripts/test_clients.py $(ONLY)

.PHONY: check
check: $(INSTALLED) ## Lint, format check, types, and which room may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(INSTALLED) ## Format the code and sort imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: docs
docs: $(INSTALLED) ## Write the generated parts of the documentation
	@$(BIN)/python scripts/document_cli.py
	@$(BIN)/python -m compat.page

PROTOS := feast_assets/serving/grpc/protos

.PHONY: protos
protos: $(INSTALLED) ## Write what is generated from the .proto files (that of Go needs protoc-gen-go on the PATH)
	@$(BIN)/python -m grpc_tools.protoc -I$(PROTOS) --include_imports \
		--descriptor_set_out=feast_assets/serving/grpc/descriptors.binpb $(PROTOS)/feast_assets/*.proto
	@$(BIN)/python -m grpc_tools.protoc -I$(PROTOS) --go_out=clients/go \
		--go_opt=module=github.com/feast-assets/feast-assets/clients/go \
		$(PROTOS)/feast_assets/value.proto $(PROTOS)/feast_assets/features.proto

.bench/feastenv/.installed: benchmarks/feast-requirements.txt $(INSTALLED)
	@echo "Installing Feast in .bench/feastenv; the first time this takes a minute or two."
	@$(BIN)/python -m venv .bench/feastenv
	@.bench/feastenv/bin/python -m pip install --quiet -r $<
	@touch $@

.PHONY: compat
compat: $(INSTALLED) $(if $(FEAST_PYTHON),,.bench/feastenv/.installed) ## Compare with an installed Feast: its public names, and what it does
	@$(BIN)/python -m compat.refresh $(or $(FEAST_PYTHON),$(CURDIR)/.bench/feastenv/bin/python)
	@$(BIN)/python -m pytest tests/compat

.PHONY: feast-tests
feast-tests: $(INSTALLED) ## Run Feast's own unit tests with this package (FEAST_TESTS=/checkout/of/feast/sdk/python/tests)
	@$(BIN)/python -m compat.feast_tests "$(FEAST_TESTS)" $(if $(FEAST_PYTHON),--feast-python "$(FEAST_PYTHON)")

.PHONY: bench
bench: $(INSTALLED) $(if $(BENCH_FEAST_PYTHON),,.bench/feastenv/.installed) ## Measure beside Feast and the bare engines (SIZE=small for a look, ONLY="pushes historical")
	@$(BIN)/python -m benchmarks.run --size $(SIZE) $(if $(ONLY),--only $(ONLY)) --feast-python \
		"$(or $(BENCH_FEAST_PYTHON),$(CURDIR)/.bench/feastenv/bin/python)"; failed=$$?; \
		$(BIN)/python -m benchmarks.report --size $(SIZE) && exit $$failed

.PHONY: lock
lock: $(INSTALLED) ## Choose package versions anew within pyproject.toml's bounds
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header \
		--no-emit-index-url --all-extras --group dev --upgrade --quiet pyproject.toml -o requirements.lock

.PHONY: clean
clean: ## Remove .venv, the example's data, and what tools left
	rm -rf $(VENV) .dagster_home .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	rm -rf .bench
	rm -rf feature_repo/data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
