//! What `make bench` and `make bench-state` measure, and how.

pub mod document;
mod growth;
pub mod machine;
mod recovery;
mod throughput;

pub use growth::{Growth, Step};
pub use recovery::Recovery;
pub use throughput::{Figures, Throughput};
