//! The engine in a simulated world: its own coordinator, sink, recovery and garbage collection, over a broker, a network and a store
//! that fail as real ones do. Every seed is another history, and the same seed is the same one.
//!
//! ```text
//! seed ── decides ──► what befalls the job: kills, pauses, weather, records
//!                       │
//!   process ─► attempt ─┴─► recover ─► driver ─ sink ─ committer ─ checkpointer     the engine's own
//!                              │                   │                   │
//!                            pool ────────────► network ► broker     store          simulated
//!                                                  │                   │
//!                                                  └──── checks ◄──────┘            the invariants of `protocol`
//! ```
//!
//! `docs/simulation.md` says what is simulated and what is not, and how to replay a seed.

mod attempt;
mod broker;
mod checks;
mod cluster;
mod conformance;
mod fate;
mod files;
mod grounds;
mod histories;
mod job;
mod network;
mod pool;
mod process;
mod scene;
mod seed;
mod store;
mod tasks;
mod tests;
mod world;
