//! What `make bench`, `make bench-peers`, `make bench-state` and `make bench-days` measure, and how.

mod days;
pub mod document;
mod growth;
pub mod machine;
pub mod peers;
mod recovery;
mod throughput;

pub use days::{Days, Look};
pub use growth::{Growth, Step};
pub use recovery::{Recovery, Victim};
pub use throughput::{Figures, Throughput};
