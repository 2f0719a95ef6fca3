//! What `make bench` measures, and how.

pub mod document;
pub mod machine;
mod recovery;
mod throughput;

pub use recovery::Recovery;
pub use throughput::{Figures, Throughput};
