# `make` alone lists what there is. Nothing here is needed to use cargo directly, save CARGO_TARGET_DIR: RocksDB and librdkafka take
# about 20 minutes of two cores to compile, so all clones of a user share one folder for what is compiled.

CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/sluicegate
export CARGO_TARGET_DIR ?= $(CACHE)/target
# A cargo that setup has just installed is not in PATH yet.
export PATH := $(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin
export EVENTS KILLS ORDERS BYTES KEYS SEED SEEDS MUTANT KAFKA BROKER S3 MINUTES RATE FAULTS DAYS GROWTH FORMAT INPUTS DECODER ONLY SECONDS ROUNDS PEERS RUNS INTERVALS DIRTY

RELEASE := $(CARGO_TARGET_DIR)/release
# One profile for everything, see Cargo.toml.
CARGO := cargo
BUILD := $(CARGO) build --release --locked

.DEFAULT_GOAL := help
.PHONY: help setup build demo test simulate fuzz fuzz-coverage chaos bench bench-peers bench-state bench-days bench-checkpoints bench-formats lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing, or say how
	@tools/setup
	@tools/checkout

build: setup ## Build the program: bin/sluicegate
	@$(BUILD) --package sluicegate
	@mkdir -p bin
	@install -m 755 $(RELEASE)/sluicegate bin/sluicegate.new && mv bin/sluicegate.new bin/sluicegate

demo: build ## Orders on a real Kafka with kill -9 on the way, then the audit (EVENTS=300000 KILLS=3 SEED=... FORMAT=json, avro or avro-single-object, KAFKA=host:port)
	@$(BUILD) --quiet --package integration-tests --bin demo
	@SLUICEGATE_BIN=$(CURDIR)/bin/sluicegate $(RELEASE)/demo

test: setup lint ## All tests: unit, property, and on a real Kafka (BROKER=process, docker or testcontainers; S3=minio, moto or off)
	@$(BUILD) --quiet --package integration-tests --bin broker --bin bucket
	@# The tests of the whole program start it, and a user's; cargo does not build a program for the tests of another package.
	@$(BUILD) --package sluicegate --features sluicegate/fault-injection --bins \
		--example orders_in_rust --example kafka_to_files --example files_to_kafka --example kafka_and_files --example account_balances
	$(RELEASE)/bucket -- $(RELEASE)/broker --heap 512m -- $(CARGO) test --release --locked --workspace --no-fail-fast --features sluicegate/fault-injection

simulate: setup ## Random faults in simulated time, seed after seed (SEEDS=20000), or one seed with all that happens in it (SEED=7)
	@$(CARGO) test --release --locked --package sluicegate --lib --features fault-injection -- \
		--ignored --exact --nocapture engine::simulation::tests::simulate

fuzz: setup ## Hostile records for the decoders, each from a seed and its number (INPUTS=10000000 SEED=42 DECODER=both, json or avro), or one of them (ONLY=7)
	@$(CARGO) build --release --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/fuzz --bin campaign
	@$(CARGO_TARGET_DIR)/fuzz/release/campaign $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED)) $(if $(DECODER),--decoder $(DECODER)) $(if $(ONLY),--only $(ONLY))

# What cargo-fuzz sets on a nightly toolchain, but for the sanitizers: the decoders have no unsafe code for these to look at.
COVERAGE := --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 \
	inline-8bit-counters pc-table trace-compares)

fuzz-coverage: setup ## Hostile records that coverage leads to, with libFuzzer, for each decoder so long (SECONDS=60)
	@host=$$(rustc -vV | sed -n 's/host: //p'); folder=$(CARGO_TARGET_DIR)/fuzz-coverage; \
	RUSTFLAGS="$(strip $(COVERAGE))" $(CARGO) build --release --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir $$folder \
		--features coverage --bin json --bin avro --target $$host && \
	for decoder in json avro; do \
		mkdir -p $$folder/corpus/$$decoder && $$folder/$$host/release/$$decoder -max_total_time=$(or $(SECONDS),60) -max_len=4096 \
			-timeout=20 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix=$$folder/ $$folder/corpus/$$decoder || exit 1; \
	done

chaos: setup ## Random faults under live load on a real Kafka, then the audit (MINUTES=10 SEED=... RATE=5000 FAULTS=all)
	@$(BUILD) --package sluicegate --features sluicegate/fault-injection
	@$(BUILD) --quiet --package integration-tests --bin chaos
	@SLUICEGATE_BIN=$(RELEASE)/sluicegate $(RELEASE)/chaos

bench: build ## Measure throughput, memory, checkpoints and recovery into docs/performance.md (EVENTS=2000000)
	@$(BUILD) --quiet --package integration-tests --bin bench
	@SLUICEGATE_BIN=$(CURDIR)/bin/sluicegate $(RELEASE)/bench --write docs/performance.md

bench-peers: build ## The same job on Kafka Streams and Flink, in turns with ours, into docs/performance.md (PEERS=kafka-streams,flink EVENTS=2000000 RUNS=2 INTERVALS=1,5 KILLS=3)
	@$(BUILD) --quiet --package integration-tests --bin bench
	@SLUICEGATE_BIN=$(CURDIR)/bin/sluicegate $(RELEASE)/bench --peers --write docs/performance.md

bench-state: build ## Measure with a state of many orders, and recovery with a large one, into docs/performance.md (ORDERS=10000000)
	@$(BUILD) --quiet --package integration-tests --bin bench
	@SLUICEGATE_BIN=$(CURDIR)/bin/sluicegate $(RELEASE)/bench --state --write docs/performance.md

bench-days: build ## Measure what is in the state after each of many days of event time into docs/performance.md (DAYS=10 ORDERS=86400 RATE=20000)
	@$(BUILD) --quiet --package integration-tests --bin bench
	@SLUICEGATE_BIN=$(CURDIR)/bin/sluicegate $(RELEASE)/bench --days --write docs/performance.md

bench-checkpoints: setup ## Checkpoints of a large state without Kafka: duration, bytes, stall, restore (KEYS=100000,1000000,10000000)
	@$(CARGO) bench --profile release --locked --bench checkpoints

bench-formats: setup ## Bytes and nanoseconds per event of each format, beside serde_json, fastavro, Java Avro and Jackson, into docs/formats.md (EVENTS=100000 ROUNDS=7)
	@$(CARGO) bench --profile release --locked --bench formats -- $(CURDIR)/docs/formats.md

lint: setup ## Formatting, clippy without warnings, and cargo-deny where it is installed
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path integration-tests/testcontainers/Cargo.toml --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --release --locked --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/fuzz --all-targets -- -D warnings
	$(CARGO) clippy --release --locked --workspace --all-targets --features sluicegate/fault-injection -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny --offline check licenses bans sources; fi
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny --manifest-path integration-tests/testcontainers/Cargo.toml --offline check licenses bans sources; fi

clean: ## Remove bin/ and this package's compiled code; dependencies and downloads stay in the cache
	@$(CARGO) clean --release --package sluicegate --package integration-tests
	@rm -rf bin
