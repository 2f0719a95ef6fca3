//! The program on a real broker, one behaviour per file. Each file's name says what it is about, each test's name what holds.
//!
//! All of them are one binary, so that they are linked once and share one broker; tests that break their broker start their own.

mod harness;

mod audit_finds_differences;
mod avro_topics;
mod bad_records;
mod broker_absent;
mod broker_away_for_long;
mod broker_dies_in_each_phase;
mod broker_faults;
mod broker_restart;
mod broker_too_old;
mod chaos_with_a_fixed_seed;
mod checkpoint_storage_trouble;
mod checkpoints_in_a_bucket;
mod damaged_checkpoint;
mod dead_letters_replayed;
mod demo_and_bench;
mod every_crash_point;
mod frozen_past_the_transaction_timeout;
mod idle_partition;
mod input_changes_under_the_job;
mod instances_that_compete;
mod kill_at_crash_points;
mod looking_inside;
mod memory_behind_a_slow_broker;
mod missing_offsets;
mod missing_topics;
mod network_faults;
mod network_under_load;
mod new_partition_while_running;
mod offsets_expired;
mod orders_in_rust;
mod others_in_the_group;
mod output_record_over_the_limit;
mod output_topic_deleted_while_running;
mod producer_schema_rolls_over;
mod protections;
mod readers_schema_of_ones_own;
mod restart_with_other_settings;
mod rights_taken_away;
mod savepoints;
mod schema_registry;
mod second_instance;
mod start_positions;
mod state_in_memory;
mod stop_in_order;
mod testcontainers;
mod three_brokers;
mod transaction_timeout;
mod wrong_settings;
