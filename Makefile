# NeoKV's verbs. `make` alone lists them.
#
# The build directory lies outside the sources: RocksDB takes twenty minutes to compile once, and a
# fresh checkout finds it again there. One Cargo profile serves the server, the tests and the
# benchmarks for the same reason.
SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/neokv/target
export PATH := $(HOME)/.cargo/bin:$(PATH)

# A compiler cache, where there is one, compiles RocksDB once for all checkouts and after every
# `cargo clean`.
ifeq ($(origin CXX),default)
ifneq ($(shell command -v ccache),)
export CXX := ccache c++
endif
endif

CARGO ?= cargo
ARGS ?=
BIN_DIR := $(CARGO_TARGET_DIR)/debug

# The rules rely on their order, also under `make -j`: what a build needs is installed, or refused,
# before RocksDB compiles.
.NOTPARALLEL:

.PHONY: help setup build run test lint fix bench fuzz crash oracle ci

help: ## Show this list
	@awk -F ':[a-z ]*## ' '/^[a-z]+:[a-z ]*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what build, tests and benchmarks need (apt-get when root, else it says what is missing)
	@scripts/setup

build: ## Set up and build everything
	@scripts/setup build
	$(CARGO) build --workspace --locked

run: ## Build and start the server: make run ARGS='--port 7000 --dir /tmp/data'
	@scripts/setup build
	$(CARGO) build --workspace --locked
	@exec $(BIN_DIR)/neokv $(ARGS)

test: setup lint ## Set up, check formatting and lints, run every test
	$(CARGO) build --workspace --locked
	$(CARGO) test --workspace --locked
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz fuzz/run all 5

lint: ## Check formatting, lints and documentation, change no source
	@scripts/setup build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

fix: ## Format the sources
	$(CARGO) fmt --all

bench: setup build ## Print NeoKV against Redis in the same run: make bench ARGS='--rounds 1 --only set'
	@$(BIN_DIR)/bench $(ARGS)

oracle: setup build ## Millions of random commands, every reply compared with redis-server's: make oracle ARGS='--commands 5000000'
	@$(BIN_DIR)/oracle $(ARGS)

crash: setup build ## Five hundred kills under load and during recovery, every acknowledged write is there once: make crash ARGS='--kills 50'
	@$(BIN_DIR)/crash $(ARGS)

fuzz: setup ## Fuzz the RESP parser and every decoder for half a minute each: make fuzz ARGS='explain 600'
	@CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz fuzz/run $(ARGS)

ci: ## What continuous integration runs
	@.ci/run
