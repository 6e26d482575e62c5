# Thin: each target is a command or two. Everything lands outside the tree, but for bin/ and target/ (both ignored by git).
#
#   make build            the worker, as bin/penstock
#   make test             all tests, against real servers (what CI runs)
#   make demo [KEEP=1]    retail events from Kafka through a component into Snowflake
#   make bench [ARGS=..]  beside the real Java Connect; ARGS="--help" lists what can be chosen, ARGS=silence measures failover
#   make fuzz             fuzzers of all that decodes what components give, for FUZZ_SECONDS (60) each
#   make setup            only install what the above run against (tests/ground/setup.sh)

export CARGO_TARGET_DIR ?= $(HOME)/.cache/penstock/target
# One selection of packages for all targets: with another one, cargo picks other features and compiles dependencies twice.
CARGO_BUILD = $(OWN_JOBS) cargo build --release --workspace
# Cargo counts its jobs itself: those of a `make -j` around it are for whole targets.
OWN_JOBS = env -u MAKEFLAGS
RELEASE = $(CARGO_TARGET_DIR)/release
# Integration tests start servers: more at once than cores only makes them wait for each other.
TEST_THREADS ?= 2
# Workspaces of their own, since they are built for another target.
GUESTS = $(patsubst %/Cargo.toml,%,$(wildcard tests/guests/Cargo.toml examples/retail/transform/Cargo.toml examples/http-*/Cargo.toml))

# For each fuzzer.
FUZZ_SECONDS ?= 60

.PHONY: build test demo bench fuzz ready setup guests fmt fmt-check lint clean

build: ground-build
	$(CARGO_BUILD) --bin penstock
	@mkdir -p bin
	@cp -f $(RELEASE)/penstock bin/penstock.new && mv -f bin/penstock.new bin/penstock

# A failing test shows its message and the servers' logs; backtraces through the async machinery would bury both. The integration
# tests come late, so that the end of a log tells what failed.
test: export RUST_BACKTRACE = 0
test: fmt-check ready fuzz
	cargo test --release --workspace --doc
	cargo test --release --workspace --lib --bins --tests --no-fail-fast -- --test-threads=$(TEST_THREADS)

demo: ready
	$(CARGO_BUILD) --bin demo
	$(RELEASE)/demo $(if $(KEEP),--keep) $(ARGS)

bench: ready
	$(CARGO_BUILD) --bin bench
	$(RELEASE)/bench $(ARGS)

fuzz: ground-build
	@tests/ground/setup.sh cargo-fuzz
	$(OWN_JOBS) plugins/host/fuzz/run.sh $(FUZZ_SECONDS)

# What is fetched comes in beside the compiler: on a fresh machine that saves the time of the one or the other.
ready:
	@$(MAKE) --no-print-directory -j2 setup build guests

setup: ground-build
	@tests/ground/setup.sh

.PHONY: ground-build
ground-build:
	@tests/ground/setup.sh build

# The components of the tests and of the retail example.
guests: ground-build
	@for guest in $(GUESTS); do $(OWN_JOBS) plugins/guest/build.sh $$guest $(CARGO_TARGET_DIR)/components || exit 1; done

fmt:
	cargo fmt --all
	@for guest in $(GUESTS); do cargo fmt --all --manifest-path $$guest/Cargo.toml || exit 1; done

fmt-check:
	cargo fmt --all --check
	@for guest in $(GUESTS); do cargo fmt --all --check --manifest-path $$guest/Cargo.toml || exit 1; done

lint: fmt-check ground-build
	cargo clippy --release --workspace --all-targets -- -D warnings

clean:
	rm -rf bin target
	cargo clean
