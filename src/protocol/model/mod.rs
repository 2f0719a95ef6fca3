//! The protocol's core, checked exhaustively.
//!
//! The code under test is the real one: `Coordinator`, `CommitPermit`, `recovery`, `garbage`, `pool`. Around it stand a broker with
//! transactional ids, epochs, fencing, time-outs and requests under way; a storage whose puts fail or arrive late; and the
//! engine, reduced to the steps that can be seen from outside. stateright visits every order of these steps in which a
//! process may be killed or paused anywhere, and asks for the invariants in each state.
//!
//! `cargo test --release --lib protocol::model -- --nocapture` prints what was visited, and which invariant catches which
//! deliberate bug. See `docs/model.md`.

mod broker;
mod instance;
mod properties;
mod recovering;
mod running;
mod store;
mod tests;
mod world;

use super::{JobName, TopicPartition, transactional_ids};

/// Partitions of the input topic.
const PARTITIONS: usize = 2;

type Partition = u8;

fn job() -> JobName {
    "orders".parse().expect("a valid name")
}

fn input() -> [TopicPartition; PARTITIONS] {
    thread_local! {
        static INPUT: [TopicPartition; PARTITIONS] = [0, 1].map(|partition| TopicPartition::new("in", partition));
    }
    INPUT.with(Clone::clone)
}

fn ids(pool: u8) -> Vec<String> {
    transactional_ids("g", usize::from(pool))
}

fn id_name(id: u8) -> String {
    format!("g-{id}")
}

fn id(name: &str) -> u8 {
    name.strip_prefix("g-").and_then(|number| number.parse().ok()).expect("an id of the group")
}
