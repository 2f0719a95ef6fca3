//! The program on a real broker, one behaviour per file. Each file's name says what it is about, each test's name what holds.
//!
//! All of them are one binary, so that they are linked once and share one broker; tests that break their broker start their own.

mod harness;

mod bad_records;
mod broker_absent;
mod broker_faults;
mod broker_restart;
mod checkpoint_storage_trouble;
mod demo_and_bench;
mod kill_at_crash_points;
mod missing_offsets;
mod missing_topics;
mod network_faults;
mod new_partition_while_running;
mod output_record_over_the_limit;
mod second_instance;
mod start_positions;
mod stop_in_order;
mod transaction_timeout;
mod wrong_settings;
