# Everything that people and CI do with this repository. `make help` lists it.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GOFLAGS     := -trimpath
BIN         := bin
COMMANDS    := ./services/cmd/... ./proxy/cmd/...
DEMO_FOR    ?=
RATE        ?= 60
BENCH       ?=
MODULES     := gen internal services proxy integration
GO          := go
# Tests on several hosts that are run once more with captured programs: those that can tell a difference, and do not take long.
CAPTURED     = TestE1_E3|TestC7_C16|TestD3
# The data path, run once more with buffers that are spoilt when they are given back.
POISONED     = $(addprefix ./proxy/internal/,wire h1 h2 forward walktest)
# The packages whose tests need no built binaries, and those that drive them; e2e are those that need root or much time.
UNIT         = $(shell $(GO) list work | grep -v /gen/ | grep -v -E '/integration/(scripts|arch|hosts|chaos|conformance)$$|/internal/differ$$')
# The packages that make system calls of their own where the race detector is not on (docs/adr/0015-turns.md).
FAST         = $(addprefix ./proxy/internal/,wire identity pool forward walktest)
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X github.com/weft-mesh/weft/internal/buildinfo.version=$(VERSION)

.PHONY: help build demo test check e2e lint gen gen-check breaking tidy arch scripts conformance bench bench-go fuzz soak clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## Build every binary into bin/.
	@mkdir -p $(BIN)
	@$(GO) build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ $(COMMANDS)

$(BIN)/weft-shop $(BIN)/weft-demo: build
	@$(GO) build $(GOFLAGS) -ldflags '-s -w' -o $(BIN)/weft-shop ./integration/demo/shop
	@$(GO) build $(GOFLAGS) -ldflags '-s -w' -o $(BIN)/weft-demo ./integration/demo

$(BIN)/weft-bench: build
	@$(GO) build $(GOFLAGS) -ldflags '-s -w' -o $@ ./integration/bench

.PHONY: $(BIN)/weft-shop $(BIN)/weft-demo $(BIN)/weft-bench $(BIN)/weft-echo
demo: $(BIN)/weft-shop $(BIN)/weft-demo ## Show the mesh at work: a shop, a canary, a refusal, an outage. DEMO_FOR=60s ends by itself.
	@$(BIN)/weft-demo -rate $(RATE) $(if $(DEMO_FOR),-for $(DEMO_FOR))

test: arch ## Unit tests with the race detector, script and conformance tests; does all its own set-up, needs no root.
	@$(GO) vet $(UNIT)
	@$(GO) test -race $(UNIT)
	@$(GO) test $(FAST)
	@$(MAKE) --no-print-directory scripts conformance

$(BIN)/etcd: ; @$(GO) build $(GOFLAGS) -ldflags '-s -w' -o $@ go.etcd.io/etcd/server/v3

scripts: $(BIN)/weft-shop $(BIN)/weft-echo $(BIN)/weft-bench $(BIN)/etcd ## Script tests: the real binaries, all in one process and one process each, with real programs; and how those read HTTP.
	@clients=$$(integration/tools/clients.sh) || [ $$? = 3 ]; \
	WEFT_CLIENTS=$$clients WEFT_DEBIAN="$$(integration/tools/debian.sh || true)" WEFT_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 20m ./integration/scripts
	@WEFT_DEBIAN="$$(integration/tools/debian.sh || true)" $(GO) test -race -count=1 ./proxy/internal/differ

INTEROP = WEFT_INTEROP=$$(integration/tools/interop.sh) WEFT_BIN=$(CURDIR)/$(BIN)

conformance: build ## Suites and programs of others through the real sidecars: h2spec, gRPC interop and stress, WebSocket libraries, gRPC-Web.
	@$(GO) vet ./integration/conformance
	@$(INTEROP) $(GO) test -count=1 -timeout 10m ./integration/conformance

soak: build ## gRPC's stress client through a pair of sidecars for ten minutes. By hand.
	@$(INTEROP) $(GO) test -count=1 -timeout 20m -v ./integration/conformance -run TestR8_GRPCStress/mtls_strict -stress 10m

check: ## A quick look for every save: vet and the unit tests of what changed, without the race detector.
	@$(GO) vet $(UNIT)
	@$(GO) test $(UNIT)

arch: ## Who may import whom, and what binaries may link.
	@$(GO) test -count=1 ./integration/arch

$(BIN)/weft-echo: ; @$(GO) build $(GOFLAGS) -ldflags '-s -w' -o $@ ./integration/hosts/echo

e2e: $(BIN)/weft-shop $(BIN)/weft-echo $(BIN)/etcd ## What needs root or much time: captured programs on namespaced hosts and what is on their wire, chaos, poisoned buffers.
	@$(GO) vet ./integration/hosts/... ./integration/chaos
	@export WEFT_DEBIAN="$$(integration/tools/debian.sh || true)" WEFT_BIN=$(CURDIR)/$(BIN); \
	if [ "$$(id -u)" = 0 ]; then \
		$(GO) test -count=1 -timeout 30m ./integration/hosts/... && \
		$(GO) test -count=1 -timeout 30m ./integration/hosts -capture transparent -run '$(CAPTURED)'; \
	else echo "NOT RUN: integration/hosts (several hosts, capture, their wire): network namespaces need root"; fi
	@WEFT_DEBIAN="$$(integration/tools/debian.sh || true)" WEFT_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 30m ./integration/chaos
	@$(GO) test -count=1 -tags weftpoison $(POISONED)

lint: ## golangci-lint in every module, buf lint, and the types of programs in other languages.
	@lint=$$(integration/tools/lint.sh); for m in $(MODULES); do [ $$m = gen ] || (cd $$m && $$lint run --timeout 10m ./...); done
	@PATH=$$(integration/tools/proto.sh):$$PATH buf lint
	@PATH=$$(integration/tools/proto.sh):$$PATH buf format --diff --exit-code proto
	@integration/tools/clients.sh >/dev/null

gen: ## Generate gen/ from proto/: Go, TypeScript, Python, OpenAPI.
	@export PATH=$$(integration/tools/proto.sh):$$PATH; buf format -w proto; buf lint; rm -rf gen/typescript/weft gen/python/weft; buf generate

gen-check: ## Fail when gen/ is not what proto/ generates.
	@$(MAKE) --no-print-directory gen
	@git diff --exit-code -- gen proto && [ -z "$$(git ls-files --others --exclude-standard -- gen proto | tee /dev/stderr)" ] || \
		{ echo "gen/ is not what proto/ generates: run make gen and commit"; exit 1; }

breaking: ## Fail when a message changed in a way that stored state or a running peer cannot read.
	@PATH=$$(integration/tools/proto.sh):$$PATH integration/tools/breaking.sh

tidy: ## Tidy every module.
	@for m in $(MODULES); do (cd $$m && GOWORK=off $(GO) mod tidy); done

bench: $(BIN)/weft-bench $(if $(SIM),$(BIN)/etcd) ## Compare the data path with other proxies, all on one core; BENCH='-only h1-1k-16' for a part; SIM=10000: the control plane with so many sidecars. Long; by hand.
	@$(BIN)/weft-bench -bin $(BIN) -results integration/bench/results $(BENCH) \
		$(if $(SIM),-sim $(SIM),-debian "$$(integration/tools/debian.sh || true)" -envoy "$$(integration/tools/envoy.sh || true)")

bench-go: ## Go's benchmarks of the sidecar's packages.
	@$(GO) test -run '^$$' -bench . -benchmem ./proxy/...

fuzz: ## Every fuzz target for half a minute. Long; by hand.
	@WEFT_DEBIAN="$$(integration/tools/debian.sh || true)" integration/tools/fuzz.sh 30s

clean: ## Remove what was built.
	@rm -rf $(BIN)
