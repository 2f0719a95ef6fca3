//! The chaos campaign: random faults under a live load, a reader that checks all the time, and the audit at the end.
//!
//! ```text
//! generator ──► proxy ──► broker ◄── proxy ◄── checker (read_committed): no gap, no double, order per key
//!                 ▲          ▲
//!                 │          │ kill, pause
//!     cut, hold,  │          │
//!     delay, lose └── faults ┴──► job: kill -9, at a fail point, frozen, succeeded, asked to end
//! ```
//!
//! One fault at a time, each followed by the wait for the next commit, which is the time to recover. The seed decides which faults
//! come in which order and how long they last; the machine decides what they hit.

mod campaign;
mod checker;
mod fault;
mod reader;
mod report;

pub use campaign::{Campaign, Plan};
pub use fault::Kind;
pub use reader::read;
pub use report::Report;
