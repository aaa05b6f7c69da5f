# Tertulia's workshop. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || true)
FUZZTIME ?= 30s
SHOT ?= docs/window.png
N ?= 30000
BENCHTIME ?= 300ms
LARGEST ?= 100000
# Fresh worlds of the simulator begin at another seed with each commit.
SEED ?= $(shell echo $$(( 0x$$(git rev-parse --short=7 HEAD 2>/dev/null || echo 1) + 1000000 )))

# Three builds share one set of flags, so that each package is compiled once for
# each: the window (cgo, x11), everything else (no cgo), and the race tests.
export GOFLAGS := -trimpath -buildvcs=false
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
PLAIN := CGO_ENABLED=0
LINT := $(PLAIN) go tool -modfile=.ci/tools.mod golangci-lint

# Packages with goroutines of their own; the tests run under the race detector.
CONCURRENT := ./chat/... ./storage/... ./p2p/... ./node/... ./client/... ./api/...

.PHONY: help run three quick check test sim build bin/tertulia bin/tertulia-headless \
	shot shots generate generated lint vet fuzz model bench measure vuln clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

run: ## install what building lacks, build, open the window (without a display: start a node)
	@.ci/need-go
	@.ci/start

three: bin/tertulia-headless ## three nodes on this machine, to talk to each other
	@.ci/three

build: bin/tertulia bin/tertulia-headless ## build both programs into bin

# Without animations: for a blinking cursor the toolkit paints the whole window 12
# times a second.
bin/tertulia:
	@.ci/need-go
	CGO_ENABLED=1 go build -tags 'x11 no_animations' -ldflags '$(LDFLAGS)' -o $@ .

bin/tertulia-headless:
	@.ci/need-go
	$(PLAIN) go build -tags nogui -ldflags '$(LDFLAGS)' -o $@ .

quick: bin/tertulia-headless lint ## for every commit: build, vet, lint, unit tests, fuzz corpora
	$(PLAIN) go test -tags ci -short ./...

check: ## what CI runs: lint, generated files, builds, all tests
	@.ci/need-go
	@.ci/packages test
	$(MAKE) lint
	$(MAKE) generated
	$(MAKE) build
	$(MAKE) test

test: ## install what tests lack and run them all, the window under Xvfb included
	@.ci/need-go
	@.ci/packages test
	@$(MAKE) build
	CGO_ENABLED=1 go test -race -tags ci -run '^$$' $(CONCURRENT)
	@# built; now one package after the other: what one does to the disk looks like a fault to the next
	CGO_ENABLED=1 go test -race -tags ci -p 1 -timeout 20m $(CONCURRENT)
	$(PLAIN) go test -tags ci $$($(PLAIN) go list -tags ci ./... | grep -v -e '^tertulia$$' -e /sim$$)
	@echo 'simulator: pinned worlds and mutants, then fresh worlds from seed $(SEED)'
	$(PLAIN) go test -tags ci -v -count=1 -timeout 20m ./ordering/sim -for 4m -from $(SEED) | grep -v '^ *\(=== \|--- PASS\)'
	$(PLAIN) E2E_DESKTOP=$(CURDIR)/bin/tertulia E2E_HEADLESS=$(CURDIR)/bin/tertulia-headless \
		go test -tags 'ci e2e' -count=1 -timeout 20m -artifacts -outputdir $(CURDIR)/bin .

sim: ## N (30000) worlds of the simulator from SEED, or a hunt for MUTANT=name; MODE=leader|lamport|mixed
	$(PLAIN) go test -tags ci -v -count=1 -timeout 24h ./ordering/sim -run 'TestSim$$' -worlds=$(N) -from=$(SEED) \
		$(if $(MUTANT),-mutant=$(MUTANT)) $(if $(MODE),-mode=$(MODE))

shot: build ## a picture of the real window, in SHOT (docs/window.png)
	@.ci/packages test
	@.ci/shot $(SHOT)

shots: build ## pictures of every view, light and dark, in both languages, and sheets of them, in build/shots
	@.ci/packages test
	@.ci/shots build/shots

generate: ## make the Go code of the schemas
	.ci/generate

generated: # fails when the generated files are not current
	.ci/generate --check

vet:
	$(PLAIN) go vet -tags 'ci e2e' ./...

lint: vet ## go vet, and what .golangci.yml asks
	$(LINT) run ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@.ci/fuzz $(FUZZTIME)

model: ## the model of the Lamport epochs, with SPIN
	@.ci/model

bench: ## the benchmarks, some minutes; a room of 1,000,000 messages too with LARGEST=1000000
	$(PLAIN) go test -tags ci -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem -timeout 20m $$($(PLAIN) go list -tags ci ./... | grep -v /node$$)
	$(PLAIN) go test ./node -tags ci -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem -timeout 40m -largest $(LARGEST)

measure: bin/tertulia ## the real window with rooms of 1,000 and 100,000 messages: start, idle, memory
	@.ci/packages test
	@.ci/measure

vuln: ## known vulnerabilities of what this uses (asks vuln.go.dev)
	$(PLAIN) go run golang.org/x/vuln/cmd/govulncheck@latest -tags nogui ./...

clean: ## remove what was built
	rm -rf bin build .cache dist
