//! The program on a real broker, one behaviour per file. Each file's name says what holds.
//!
//! All of them are one binary, so that they are linked once and share one broker; tests that break their broker start their own.

mod broker_faults;
mod harness;
