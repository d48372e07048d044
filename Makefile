# SPDX-License-Identifier: Apache-2.0
#
# make run      bring a cluster up on this machine, replay requests through it, check every byte, report
#               TRACE=file replays a recorded trace; ARGS=... goes to `lab run` (see `lab run --help`)
# make test     everything: packages, build, all tests; LANES=1 for a machine that has other work
# make test-bench   tests of the package Bench
# make check    format, lint, bans, build with warnings as errors
# make bench    this cluster beside other balancers and none; report.html, .md and .json in .build/bench
#               TRACE=file adds a recorded trace; ARGS=... goes to `bench run` (see `bench run --help`)
# make bench-quick    the same in under three minutes
# make bench-growth   1 to 16 server nodes of equal capacity, and a model to 64
# make bench-dispatcher   decisions per second, in process and over the wire
# make random-events      properties of the dispatcher under ten million random events per policy
# make simulate TRACES='file ...'   the papers' experiments in virtual time, with plots
# make clean    remove what was built and what a killed lab left

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Namespaces and raw sockets need root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=PATH,HOME,HANDOFF_BIN)
# Tests compile in two thirds of the time without debug information; a release build gains nothing. `swift build` by itself
# has it, and builds all anew after make: DEBUG_INFO=1 makes make build the same.
FAST := $(if $(DEBUG_INFO),,-Xswiftc -gnone)
RELEASE := -c release
BIN := $(CURDIR)/.build/release
TRACES ?= $(wildcard ../shared/traces/*.tsv ../shared/traces/*.xz)
TESTS := $(SUDO) env HANDOFF_BIN=$(BIN) Scripts/run-tests
BENCH := $(SUDO) env HANDOFF_BIN=$(BIN) Bench/.build/release/bench
SOURCES := $(shell git ls-files '*.swift' 2> /dev/null)

export LANES ?= 2

.PHONY: run test test-bench check bench bench-quick bench-growth bench-programs bench-dispatcher random-events
.PHONY: simulate build release packages format clean

run: packages release
	$(SUDO) $(BIN)/lab run $(if $(TRACE),--trace $(TRACE)) $(ARGS)

# Suites of IntegrationTests that measure times or rates, or look at what all network namespaces share: nothing runs
# beside them.
ALONE := /(DoctorTests|DownloadRatioTests|StormTests|WireTraceTests)/
# Those of the first lane; the second has all others, so that none is forgotten.
FIRST_LANE := /(FailureTests|PacketHandoffTests)/

# Unit tests first. Then two lanes side by side, since most of these tests wait: agents with thousands of real connections,
# one test at a time, and clusters; other clusters, a short `make run`, and a short run of each fuzzer. Clusters and agents
# are in namespaces of their own, and nothing is built in .build (--ignore-lock). The clusters run the release build of the
# programs: that is what is shipped.
test: packages release
	swift build --build-tests $(FAST)
ifneq ($(FILTER),)
	$(TESTS) filtered --skip-build --filter $(FILTER)
else
	$(TESTS) unit --skip-build --skip 'IntegrationTests|BackEndTests'
	Scripts/side-by-side \
	  "$(TESTS) back-end --skip-build --ignore-lock --no-parallel --filter BackEndTests && \
	   $(TESTS) failures --skip-build --ignore-lock --filter 'IntegrationTests$(FIRST_LANE)'" \
	  "$(TESTS) integration --skip-build --ignore-lock --filter IntegrationTests --skip '$(FIRST_LANE)|$(ALONE)' && \
	   $(SUDO) $(BIN)/lab run --connections 2000 && nice Scripts/fuzz 3"
	$(TESTS) alone --skip-build --filter 'IntegrationTests$(ALONE)'
endif

# The tests of the load generator and of the bench's arithmetic; a package of its own, so a build of its own.
test-bench: packages
	swift build --build-tests --package-path Bench
	$(TESTS) bench --skip-build --package-path Bench

check:
	swift format lint --strict --configuration .swift-format $(SOURCES)
	Scripts/check-bans
	swift build --build-tests $(FAST)

bench: bench-programs
	$(BENCH) run $(if $(TRACE),--trace $(TRACE)) $(ARGS)

bench-quick: bench-programs
	$(BENCH) run --quick $(if $(TRACE),--trace $(TRACE)) $(ARGS)

bench-growth: bench-programs
	$(BENCH) growth $(ARGS)

bench-programs: packages release
	swift build --package-path Bench $(RELEASE) --product load
	swift build --package-path Bench $(RELEASE) --product bench

bench-dispatcher: packages
	swift build --package-path Bench -c release --product bench-decisions
	Bench/bench-dispatcher Bench/.build/release/bench-decisions $(ARGS)

# Ten million random events per policy on the policy core.
random-events: packages
	HANDOFF_RANDOM_EVENTS=$${HANDOFF_RANDOM_EVENTS:-10000000} swift test --package-path Bench -c release --filter RandomEventTests

simulate: packages
	swift run --package-path Bench -c release simulate --output .build/simulate $(ARGS) $(TRACES)

build: packages
	swift build $(FAST)

release:
	swift build $(RELEASE) --product cluster_startup
	swift build $(RELEASE) --product clusterctl
	swift build $(RELEASE) --product lab

packages:
	$(SUDO) Scripts/install-packages

format:
	swift format -i --configuration .swift-format $(SOURCES)

clean:
	if [ -x $(BIN)/lab ]; then $(SUDO) $(BIN)/lab clean; fi
	swift package clean
