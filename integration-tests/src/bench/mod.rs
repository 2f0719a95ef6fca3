//! What `make bench`, `make bench-state` and `make bench-days` measure, and how.

mod days;
pub mod document;
mod growth;
pub mod machine;
mod recovery;
mod throughput;

pub use days::{Days, Look};
pub use growth::{Growth, Step};
pub use recovery::Recovery;
pub use throughput::{Figures, Throughput};
