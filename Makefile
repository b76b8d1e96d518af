# Everything here needs Go (the version in go.mod) and nothing else; `make race` also a C compiler, and `make test` Node 20 or
# later with npm, and Chromium, which it installs where it may. `make help` lists it.

SHELL := /bin/bash

# What `go test` gets besides the packages. Results are cached: -count=1 runs everything again.
TESTFLAGS ?=
# The time for each fuzz target.
FUZZTIME ?= 5s

# Where known faults are looked up: the Go project's database, or a copy of it such as file:///var/lib/vulndb.
VULNDB ?= https://vuln.go.dev

.PHONY: run build test units sdk peers chromium check lint vuln race fuzz bench demo soak chaos cluster manifests clean help

run: build ## Build and serve everything in one process, once it has pushed to itself; data stays in ./data
	./bin/carillon serve --self-test

build: ## Build bin/carillon
	go build -o bin/carillon ./cmd/carillon

test: check peers ## Run all tests
	@$(MAKE) --no-print-directory -j2 sdk units

# Most of the time tests wait, for elections, heartbeats and lifetimes: more of them run at once than there are cores.
units:
	go test -p 3 -parallel 6 $(TESTFLAGS) ./...

# Its output goes to stderr: that of `go test` may be read by a program.
sdk: chromium sdk/js/node_modules/.installed ## Run the tests of the TypeScript SDK, in Node and in Chromium
	@cd sdk/js && npm test >&2

peers: deliver/channel/webpush/peer/node_modules/.installed ## Install the Web Push of others, which tests speak to

%/node_modules/.installed: %/package.json %/package-lock.json %/.npmrc
	@command -v npm >/dev/null || { echo '$* needs Node 20 or later, with npm: see https://nodejs.org' >&2; exit 1; }
	@cd $* && npm ci >&2 && touch node_modules/.installed

chromium:
	@if [ -n "$$CHROMIUM" ] || command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'the tests of the TypeScript SDK need Chromium: install it as chromium, or set CHROMIUM to its path' >&2; exit 1; fi; \
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >&2 || \
		{ echo 'the tests of the TypeScript SDK need Chromium, and apt-get could not install it' >&2; exit 1; }

check: ## gofmt and go vet
	@unformatted=$$(gofmt -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then printf 'not formatted with gofmt:\n%s\n' "$$unformatted" >&2; exit 1; fi
	go vet ./...

lint: check ## gofmt, go vet and staticcheck
	go tool staticcheck ./...

vuln: ## Look for known faults in the code that is used, dependencies and Go among it; needs VULNDB
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db $(VULNDB) ./...

race: ## Run all tests under the race detector
	go test -race $(TESTFLAGS) ./...

# -list prints the targets of a package and then the package. Minimising is cut short, or small inputs take the whole time.
fuzz: ## Fuzz every target of the tree for FUZZTIME (5s)
	@set -eo pipefail; targets=$$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ { t[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print t[i], $$2; n = 0 }'); \
	while read -r target package; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "$$package" </dev/null; \
	done <<<"$$targets"

bench: ## Measure; see docs/benchmarks
	go run ./bench

demo: build ## Run the main job on real input and check every recipient
	./bin/carillon demo

# SEED=7 replays the schedule of the run that printed it; FLAGS has more, see docs/soak.md.
soak: ## Try a cluster for ten minutes while its processes are killed, and check every recipient; SHORT=1: under a minute
	go run ./cmd/soak $(if $(SHORT),-short) $(if $(SEED),-seed $(SEED)) $(FLAGS)

chaos: ## The same over three servers, with a network and disks that fail; SHORT=1: under two minutes
	go run ./cmd/soak -chaos $(if $(SHORT),-short) $(if $(SEED),-seed $(SEED)) $(FLAGS)

cluster: build ## Run the topology of docker-compose.yml as processes and kill a broker; SHORT=1 for a small one
	go run ./cmd/internal/cluster -binary bin/carillon $(if $(SHORT),-short)

manifests: ## Hold deploy/kubernetes against the types of the Kubernetes API
	cd deploy/testdata/check && go test ./...

clean: ## Remove what was built; ./data stays
	rm -rf bin

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
