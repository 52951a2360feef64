# Every target with a description shows up in `make help`.
SHELL   := /bin/bash
TAGS    := sqlite_omit_load_extension
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Address randomisation and a read-only relocation table also for the C part.
LDFLAGS := -X main.version=$(VERSION) -extldflags "-Wl,-z,relro,-z,now"
FUZZTIME ?= 30s
# Sizes of make torture: power cuts, distance of the calls that a sweep strikes
# at, random histories of the model (about ten deliveries each).
CUTS ?= 1000
SWEEP_STEP ?= 1
HISTORIES ?= 12500
# Packages want a version that sorts: commits after a tag are newer than it.
PACKAGE_VERSION = $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null | sed 's/^v//; s/-/+/' | grep . || echo 0.0.0+$(VERSION))

.PHONY: help build demo test check unit lint fuzz bench deb fmt deps clean torture s3 mutants
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: deps ## build bin/ingestd
	CGO_ENABLED=1 go build -trimpath -buildmode=pie -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ingestd ./cmd/ingestd

demo: build ## build, then show everything on this machine with a sandbox vendor
	bin/ingestd demo

test: deps check unit ## vet, formatting, systemd unit, and all tests with the race detector
	go test -race -tags $(TAGS) ./...

check:
	@unformatted=$$(gofmt -l cmd internal); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change (run make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet -tags $(TAGS) ./...

unit: ## check the systemd unit: syntax, and exposure at most 1.2
	@.ci/unit packaging/systemd/ingestd.service

lint: deps ## run the linters of .golangci.yml (the first run builds them)
	go tool -modfile=tools/go.mod golangci-lint run

s3: deps ## Voyc's uploads against a real S3 server (the first run builds it, about 90 s; part of test)
	INGESTD_S3=must go test -tags $(TAGS) -count=1 -v -run TestS3 ./internal/senders/voyc

fuzz: deps ## run every fuzz target for FUZZTIME (30s)
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -r -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
	    echo "$$dir $$target"; go test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$dir; done; done

bench: deps ## throughput beside a bare client, and memory with a backlog (docs/performance.md)
	go test -tags "$(TAGS) bench" -count=1 -timeout 60m -v -run 'TestThroughput|TestBacklogMemory|TestMillion' ./cmd/ingestd
	go test -tags $(TAGS) -run '^$$' -bench . -benchmem ./internal/ledger ./internal/watcher

torture: deps ## every fault, every sweep, CUTS power cuts, HISTORIES random histories: hours, as root
	go test -tags "$(TAGS) torture" -count=1 -timeout 12h -v -run TestModel ./internal/torture/model -rapid.checks=$(HISTORIES)
	INGESTD_CUTS=$(CUTS) INGESTD_SWEEP_STEP=$(SWEEP_STEP) go test -tags "$(TAGS) torture" -count=1 -timeout 24h -v ./internal/torture

mutants: deps ## build deliberate defects in, one after the other; the tests must find each (minutes, as root)
	go test -tags "$(TAGS) torture" -count=1 -timeout 2h -v -run TestMutants ./internal/torture/mutants

fmt: ## format all Go files
	gofmt -w cmd internal

deps: ## look for the tools that build and tests need; install what is missing
	@.ci/deps

clean: ## remove what was built
	rm -rf bin dist
