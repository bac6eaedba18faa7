# Earmark. `make help` lists the targets; `make run` is the place to start.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Each of its processes, and each service a test starts, would else compile all of our code anew where bytecode is not
# written, and load schemathesis' plugin, which is slow and not used: named are those that are.
PYTEST = PYTHONDONTWRITEBYTECODE= PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
  PYTEST_PLUGINS=pytest_asyncio.plugin,xdist,timeout,hypothesispytest HF_HUB_OFFLINE=1 $(BIN)/python -m pytest
RUNTIME := $(VENV)/.earmark-runtime
DEV := $(VENV)/.earmark-dev
PINS := pyproject.toml requirements/lock.txt tools/setup.sh

##@ Use
.PHONY: run
run: $(RUNTIME) ## start the mesh, ingest samples/, answer three sample searches; leaves it running
	@$(BIN)/earmark demo

.PHONY: stop
stop: ## stop the mesh that `make run` left running
	@if [ -x $(BIN)/earmark ]; then $(BIN)/earmark down; fi

.PHONY: clean-data
clean-data: stop ## stop, and delete every video, index and model copy of the local mesh
	rm -rf "$${EARMARK_DATA_DIR:-.earmark}"

##@ Develop
.PHONY: setup
setup: $(DEV) ## make .venv with all that running, testing and building needs (pinned)

$(RUNTIME): $(PINS)
	@tools/setup.sh all $@

$(DEV): $(PINS)
	@tools/setup.sh all,dev $@ $(RUNTIME)

.PHONY: test
test: $(DEV) ## unit, contract, integration and short e2e tests, three files at a time; what takes longest first
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder tests/e2e tests/integration tests/contract tests/unit -m "not slow" $(ARGS)

.PHONY: test-unit
test-unit: $(DEV) ## tests without network or other processes; seconds
	$(PYTEST) tests/unit -m "not slow" $(ARGS)

.PHONY: test-e2e
test-e2e: $(DEV) ## the whole mesh on real media, the slow ones too
	$(PYTEST) tests/e2e $(ARGS)

.PHONY: test-slow
test-slow: $(DEV) ## what `make test` leaves out because it takes long (of e2e: `make test-e2e`)
	$(PYTEST) tests/unit tests/integration -m slow $(ARGS)

.PHONY: test-chaos
test-chaos: $(DEV) ## kill services in the middle of an ingest, then assert what must hold
	$(PYTEST) tests/chaos $(ARGS)

.PHONY: lint
lint: $(DEV) ## ruff (rules and format), and the import rules between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(DEV) ## let ruff sort imports and format
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

.PHONY: type
type: $(DEV) ## mypy, strict
	$(BIN)/mypy

.PHONY: bench
bench: $(DEV) ## the mesh against the one-process proof of concept, on the same files
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-index
bench-index: $(DEV) .bench-venv/.ready ## the index against FAISS and other vector indexes, which get a .bench-venv of their own
	$(BIN)/python -m bench.index $(ARGS)

.bench-venv/.ready: requirements/bench-index.txt
	$(BIN)/python -m venv .bench-venv
	.bench-venv/bin/python -m pip install --disable-pip-version-check -qq --requirement $<
	@touch $@

.PHONY: chromium
chromium: ## install Debian's Chromium for the page's tests (root; elsewhere see CONTRIBUTING.md)
	@command -v chromium >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

##@ Generated files
.PHONY: proto
proto: $(DEV) ## generate the Python code of protos/
	$(BIN)/python tools/gen_protos.py

.PHONY: proto-check
proto-check: $(DEV) ## buf lint, nothing released broken, and that the committed code is what protos/ gives
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against protos/released.binpb
	$(BIN)/python tools/gen_protos.py --check

.PHONY: proto-released
proto-released: $(DEV) ## with a release: what the protocol may only be added to from now on
	$(BIN)/buf build protos --exclude-source-info -o protos/released.binpb

.PHONY: samples
samples: $(DEV) ## make samples/*.mp4 again (installs piper-tts, GPL, into .venv)
	@tools/setup.sh all,dev,samples $(VENV)/.earmark-samples
	$(BIN)/python samples/make_samples.py

.PHONY: lock
lock: ## pin in requirements/lock.txt what .venv has now of all that pyproject.toml asks for
	$(BIN)/python tools/lock.py

##@ Ship
.PHONY: install-check
install-check: $(DEV) ## each extra alone in an empty venv: imports, size, and the service starts (minutes)
	$(BIN)/python tools/install_check.py $(ARGS)

.PHONY: image
image: ## build one image with its bill of materials (TARGET=gateway, MODELS=volume or baked); needs docker buildx
	docker buildx build -f deploy/docker/Dockerfile --target $(or $(TARGET),gateway) --build-arg MODELS=$(or $(MODELS),volume) \
	  --build-arg REVISION=$$(git rev-parse HEAD) --sbom=true --provenance=true -t earmark-$(or $(TARGET),gateway):0.1.0 .

.PHONY: image-digests
image-digests: $(DEV) ## pin the images of others by the digest their registry gives now; needs docker buildx
	$(BIN)/python tools/image_digests.py $(ARGS)

.PHONY: k8s-render
k8s-render: $(DEV) ## render deploy/k8s to stdout (OVERLAY=base, overlays/prod, ...)
	@$$(command -v kubectl || echo $(BIN)/kubectl) kustomize deploy/k8s/$(or $(OVERLAY),base)

.PHONY: k8s-validate
k8s-validate: $(DEV) ## overlays and components against the APIs' schemas, the settings and the edges of the code (in `make test`)
	$(PYTEST) tests/contract/test_k8s_schemas.py tests/contract/test_k8s_workloads.py tests/contract/test_k8s_edges.py $(ARGS)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
