//! The order job here and on the systems that one would take instead, in turns on one broker and one load, so that the same minutes of the same
//! machine are compared; and whether what they write is right.
//!
//! ```text
//! benches/peers (Java) ──Maven──► Program ──► PeerJob ─┐
//!                                             Job ─────┴─► Contest: one turn each ─► audit of the outputs ─► table
//! ```
//!
//! The audit is that of the program: it recomputes the outputs from the input, shares nothing with any of the jobs, and takes the outputs' word
//! only where the order decides in which partitions were read.

mod contest;
mod peer;
mod program;
mod table;

pub use contest::{Contest, Turn, Verdict};
pub use peer::Peer;
pub use program::Program;
pub use table::{Column, table};
