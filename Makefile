# Thin: every target is a line or two of what a person would type.
export CARGO_TARGET_DIR ?= $(or $(INTELLICARTEL_CACHE),$(HOME)/.cache/intellicartel)/target

# Clippy as the compiler of our own crates: one build lints them and makes what is run and tested.
export RUSTC_WORKSPACE_WRAPPER := clippy-driver
export CLIPPY_ARGS := -Dwarnings__CLIPPY_HACKERY__

# Always the whole workspace: cargo resolves features for what it is asked to build, and a single crate would compile the dependencies anew.
.DEFAULT_GOAL := help
.PHONY: help demo test check kill-test trickle bench bench-forecast bench-cycle tune-forecast services

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## streams a million real sales through Kafka into a lake, with nothing else to install, and shows what to ask
	scripts/setup build
	cargo build -q --workspace --all-targets
	$(CARGO_TARGET_DIR)/debug/intellicartel demo $(DEMO)

test: ## everything that CI runs: installs, lints, and all tests against real Kafka and S3
	scripts/setup test
	$(MAKE) --no-print-directory check
	scripts/with-services cargo test --workspace --no-fail-fast

check: ## formatting, licences and doubled versions, and a build with all lints
	cargo fmt --all --check
	scripts/cargo-deny
	cargo build -q --workspace --all-targets

kill-test: ## 100 random kill -9 of ingest during a live stream, with sales sent twice, of members of a group, and of refreshes of the marts (KILLS=n, SEED=n)
	scripts/setup test
	cargo build -q --workspace --all-targets
	scripts/with-services env KILLS=$(or $(KILLS),100) cargo test --workspace --test kill --test duplicates --test groups --test daily_marts -- --nocapture --test-threads=1

trickle: ## three hours of a commit a second by a clock wound by hand, and what became of files, log and planning (COMMITS=n, HOURS_AGO=n)
	cargo build -q --workspace --all-targets
	COMMITS=$(or $(COMMITS),10800) HOURS_AGO=$(or $(HOURS_AGO),48) timeout 1800 cargo test --workspace --test trickle -- --nocapture

bench: ## side-by-side runs in release: throughput against peers, recovery, latency, marts, a year of orders (BENCH=throughput|feeds|recovery|latency|recent|marts|decisions|all)
	scripts/setup test
	env -u RUSTC_WORKSPACE_WRAPPER cargo build -q --release --workspace --bins
	INTELLICARTEL_BENCH_PYTHON=$$(scripts/python-env benches/python/requirements.txt) scripts/with-services $(CARGO_TARGET_DIR)/release/benches $(or $(BENCH),all)

FORECASTS := $(or $(INTELLICARTEL_CACHE),$(HOME)/.cache/intellicartel)/forecasts
ON_FORECASTS = INTELLICARTEL=$(CARGO_TARGET_DIR)/debug/intellicartel INTELLICARTEL_BENCH_PYTHON=$$(scripts/python-env benches/forecast/requirements.txt) sh -c

bench-forecast: ## forecasts beside statsforecast and LightGBM on three sets of real series, in one table on stdout (SETS="rossmann daily weekly")
	scripts/setup test
	cargo build -q --workspace --all-targets
	$(ON_FORECASTS) '$$INTELLICARTEL_BENCH_PYTHON benches/forecast/bench.py $(FORECASTS) $(SETS)'

bench-cycle: ## times and memory of the weekly forecast of 1,000 made-up articles with three years behind them
	scripts/setup test
	cargo build -q --workspace --all-targets
	$(ON_FORECASTS) 'scripts/with-services $$INTELLICARTEL_BENCH_PYTHON benches/forecast/cycle.py $(FORECASTS)'

tune-forecast: ## both sides' settings on rows held back; what benches/forecast/*-holdback.csv hold already is not run again
	scripts/setup test
	cargo build -q --workspace --all-targets
	$(ON_FORECASTS) 'for side in rival ours; do $$INTELLICARTEL_BENCH_PYTHON benches/forecast/tune.py $$side $(FORECASTS) $(SETS); done'

services: ## starts Kafka and S3 for working by hand; `scripts/services down` stops them
	scripts/setup test
	scripts/services up
