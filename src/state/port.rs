//! A table's end of the way to the writer.

use super::{StateId, chunk::Chunk};
use crate::protocol::{CheckpointId, Failure};
use crossbeam_channel::{Sender, TrySendError};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a table says to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Entries.
    Chunk(Chunk),
    /// All entries of this freeze were sent.
    Done { port: usize, generation: u32, checkpoint: CheckpointId },
    /// Somebody waits for room in memory: write what was sent, now.
    Hurry,
}

/// What the writer and all tables know together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Number + 1 of the last checkpoint whose snapshot is linked; 0 = none.
    linked: AtomicU64,
    /// Bytes sent and not yet in RocksDB.
    in_flight: AtomicUsize,
    failure: OnceLock<Failure>,
    turn: Mutex<u64>,
    moved: Condvar,
}

impl Shared {
    pub(super) fn set_linked(&self, checkpoint: CheckpointId) {
        self.linked.store(checkpoint.0.saturating_add(1), Ordering::Release);
        self.notify();
    }

    /// The first failure stays.
    pub(super) fn fail(&self, failure: Failure) {
        let _ = self.failure.set(failure);
        self.notify();
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Wakes those who wait for the writer to get on.
    pub(super) fn notify(&self) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    pub(super) fn landed(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A table's end of the way to the writer: made by [`super::Plan::port`], given to [`super::Table::new`].
#[derive(Debug)]
pub struct Port {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Sender<Message>,
    pub(super) number: usize,
    pub(super) state: StateId,
    /// Number of this table's last chunk that is in RocksDB, with all before it.
    pub(super) applied: Arc<AtomicU32>,
    /// What the channel had no room for.
    pub(super) outbox: VecDeque<Message>,
}

impl Port {
    /// The state that this port leads to.
    #[must_use]
    pub fn state(&self) -> StateId {
        self.state
    }

    /// Number of the last chunk that is in RocksDB, with all before it.
    pub(super) fn applied(&self) -> u32 {
        self.applied.load(Ordering::Acquire)
    }

    /// Whether the snapshot of `checkpoint` is linked: what is written now does not become a part of it.
    pub(super) fn has_linked(&self, checkpoint: CheckpointId) -> bool {
        self.shared.linked.load(Ordering::Acquire) > checkpoint.0
    }

    /// Sends now or as soon as there is room; never waits.
    pub(super) fn send(&mut self, message: Message) -> Result<(), Failure> {
        if let Message::Chunk(chunk) = &message {
            self.shared.in_flight.fetch_add(chunk.memory(), Ordering::Relaxed);
        }
        self.outbox.push_back(message);
        self.pump().map(|_| ())
    }

    /// Whether nothing waits for room in the channel.
    pub(super) fn is_sent(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Sends what waits, as far as there is room; `true` = nothing waits any more.
    pub(super) fn pump(&mut self) -> Result<bool, Failure> {
        while let Some(message) = self.outbox.pop_front() {
            match self.sender.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.outbox.push_front(message);
                    return Ok(false);
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.shared.check()?;
                    return Err(Failure::attempt("local state: the writer has ended"));
                }
            }
        }
        Ok(true)
    }

    /// Waits until the writer got on (wrote, linked, failed), at most for `limit`. Fails when the writer has.
    pub(super) fn wait(&self, limit: Duration) -> Result<(), Failure> {
        let turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *turn;
        self.shared.check()?;
        drop(self.shared.moved.wait_timeout_while(turn, limit, |now| *now == before));
        self.shared.check()
    }
}
