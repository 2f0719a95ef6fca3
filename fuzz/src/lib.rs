//! Hostile input for the decoders of sluicegate: whatever comes, it is accepted or refused with a reason, without a panic and in bounded
//! memory and time.
//!
//! ```text
//! mutation: a number ──► bytes that are nearly a record        (the same number, the same bytes)
//! check:    bytes ──► accepted, or a class of error; a panic if a promise is broken
//! campaign: millions of numbers, on a plain toolchain          make fuzz INPUTS=10000000
//! targets:  what coverage leads to, with libFuzzer             make fuzz-coverage SECONDS=60
//! ```
//!
//! The property tests of `src/format` use the same two files.

pub mod check;
pub mod format;
pub mod memory;
pub mod mutation;
#[path = "../../src/connectors/random.rs"]
pub mod random;
