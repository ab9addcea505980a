# Every deed of the project is a target; CI runs the same ones. A bare `make` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install -q
NATIVE := CMakeLists.txt $(shell find csrc -type f)
CXX_SOURCES = $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.inl')
MODEL  ?= smollm2-135m-instruct

.DEFAULT_GOAL := help
.PHONY: help setup setup-test serve test test-all lint format type contracts proto proto-check docs docs-check \
        crd crd-check dashboard dashboard-check test-cluster test-api test-nodes cluster-bin cluster-up cluster-down sanitize bench bench-peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vajra needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The build tools live in the environment itself, so that a rebuild after a C++ edit is incremental.
$(VENV)/.setup: $(BIN)/python pyproject.toml constraints.txt $(NATIVE)
	@echo "installing vajra into $(VENV) and building the native engine (about two minutes the first time)"
	$(PIP) scikit-build-core nanobind cmake ninja
	PATH=$(CURDIR)/$(BIN):$$PATH $(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.setup-test: $(VENV)/.setup
	@echo "installing the test extras (torch and transformers serve as oracles)"
	PATH=$(CURDIR)/$(BIN):$$PATH $(PIP) --no-build-isolation -e '.[test]'
	@touch $@

setup: $(VENV)/.setup ## create .venv, install vajra and build the native engine
setup-test: $(VENV)/.setup-test ## setup, with the test extras

serve: setup ## fetch the embedded model and serve it (MODEL=… for another)
	$(BIN)/vajra serve $(MODEL)

# Two test files at a time: most tests wait more than they compute. Engines have two threads, so more want more cores.
WORKERS ?= 2
test: setup-test lint type contracts proto-check docs-check crd-check dashboard-check ## everything CI checks: lint, types, contracts, drift, quick tests
	$(BIN)/python -m pytest -q -m 'not slow' -n $(WORKERS) --dist loadfile

test-all: setup-test ## all tests, the slow ones too
	$(BIN)/python -m pytest -q

CLUSTER ?= local
test-cluster: setup-test $(if $(shell command -v go),cluster-bin) ## the tests on a real Kubernetes (CLUSTER=kind: on kind); docs/test-clusters.md
	+$(MAKE) --no-print-directory -j2 test-api test-nodes

test-api: setup-test ## of these, those of an API server
	VAJRA_CLUSTER=$(CLUSTER) $(BIN)/python -m pytest -q -rs -m cluster tests/cluster

test-nodes: setup-test ## of these, those of nodes
	VAJRA_CLUSTER=$(CLUSTER) $(BIN)/python -m pytest -q -rs -m node tests/cluster

cluster-bin: $(BIN)/python ## build Kubernetes for the tests with Go, unless that is done (7 minutes)
	$(BIN)/python -m tests.cluster build

NODES ?= 2
cluster-up: $(BIN)/python ## start a Kubernetes with two nodes and the images, to stay (NODES=0: the API server alone)
	$(BIN)/python -m tests.cluster up --nodes $(NODES)

cluster-down: $(BIN)/python ## end what cluster-up has started
	$(BIN)/python -m tests.cluster down

lint: setup-test ## ruff, clang-format and buf, without changing anything
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

format: setup-test ## format Python, C++ and proto sources in place
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_SOURCES)
	$(BIN)/buf format -w

type: setup-test ## mypy, strict
	$(BIN)/python -m mypy

contracts: setup-test ## which room may import which (import-linter)
	$(BIN)/lint-imports

PROTOC = $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) proto/vajra/*/v1/*.proto

proto: setup-test ## regenerate the checked-in protobuf code
	$(call PROTOC,proto)

proto-check: setup-test ## fail when the checked-in protobuf code differs from its .proto files
	@rm -rf build/proto && mkdir -p build/proto && $(call PROTOC,build/proto)
	@for f in $$(cd build/proto && find . -name '*.py*' -type f); do diff -q build/proto/$$f proto/$$f || { echo "run: make proto"; exit 1; }; done

docs: setup ## regenerate docs/configuration.md from the configuration registry
	$(BIN)/python -m vajra.config.docs > docs/configuration.md

docs-check: setup ## fail when docs/configuration.md differs from the registry
	@$(BIN)/python -m vajra.config.docs | diff -q - docs/configuration.md || { echo "run: make docs"; exit 1; }

crd: setup ## regenerate manifests/crd.yaml, and the chart's copy, from the configuration registry
	$(BIN)/python -m vajra.config.crd > manifests/crd.yaml
	cp manifests/crd.yaml charts/vajra-operator/files/

crd-check: setup ## fail when manifests/crd.yaml differs from the registry
	@for f in manifests charts/vajra-operator/files; do $(BIN)/python -m vajra.config.crd | diff -q - $$f/crd.yaml || { echo "run: make crd"; exit 1; }; done

dashboard: setup-test ## regenerate the chart's Grafana dashboard and docs/kubernetes/metrics.md from the tables of metrics
	$(BIN)/python -m vajra.operator.monitoring.dashboard > charts/vajra-operator/files/dashboard.json
	$(BIN)/python -m vajra.operator.monitoring.docs > docs/kubernetes/metrics.md

dashboard-check: setup-test ## fail when these differ from the tables
	@$(BIN)/python -m vajra.operator.monitoring.dashboard | diff -q - charts/vajra-operator/files/dashboard.json || { echo "run: make dashboard"; exit 1; }
	@$(BIN)/python -m vajra.operator.monitoring.docs | diff -q - docs/kubernetes/metrics.md || { echo "run: make dashboard"; exit 1; }

PEERS ?= build/peers
bench-peers: setup-test ## install the peers of the bench from PyPI into PEERS (build/peers): minutes, 25 GiB
	$(BIN)/python -m bench.peers.install $(PEERS)

bench: setup-test ## measure beside the peers (after bench-peers): compare, mixed load, gaps between steps (hours)
	$(BIN)/python -m bench.compare --peers $(PEERS)
	$(BIN)/python -m bench.mixed --peers $(PEERS)
	$(BIN)/python -m bench.step_gap --peers $(PEERS)

sanitize: setup-test ## engine and op tests under address, undefined-behaviour and thread sanitizers (slow)
	csrc/sanitize.sh $(CURDIR)/$(BIN)/python

clean: ## remove build outputs (not .venv)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
