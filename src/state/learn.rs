//! Learning which keys a restored store holds, beside the work.
//!
//! Asking RocksDB for an absent key costs microseconds, and a job that was restored would pay them for each new key until it is
//! restarted from nothing. Reading all keys once costs about 0.3 µs each; it is done where the filter fits its memory.

use super::{Budget, StateId, Store, absence::KeyFilter, budget::FilterShare, hash_key};
use crate::protocol::Failure;
use std::{
    ops::Range,
    sync::{
        Arc, TryLockError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often one that waits for its turn looks again.
const TURN: Duration = Duration::from_millis(5);

/// A thread that reads the keys of one table. Stopped and waited for on drop.
#[derive(Debug)]
pub(super) struct Learner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<KeyFilter>>>,
}

impl Learner {
    /// Starts to learn the keys of `state` in the key groups `owned`, of `groups` in all; `None` where their filter would not fit
    /// what is left for filters.
    pub(super) fn start(
        store: &Arc<Store>,
        state: StateId,
        owned: Range<u16>,
        groups: u16,
        budget: &Arc<Budget>,
    ) -> Result<Option<Self>, Failure> {
        let keys = store.estimated_keys(state)? * u64::from(owned.end - owned.start) / u64::from(groups.max(1));
        if !KeyFilter::fits(keys, budget.filter_limit().saturating_sub(budget.filters())) {
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (store, budget, stopped) = (store.clone(), budget.clone(), stop.clone());
        let learn = move || {
            // One at a time: the work wants the cores.
            let _turn = loop {
                match budget.learning().try_lock() {
                    Ok(turn) => break turn,
                    Err(TryLockError::Poisoned(turn)) => break turn.into_inner(),
                    Err(TryLockError::WouldBlock) if stopped.load(Relaxed) => return None,
                    Err(TryLockError::WouldBlock) => std::thread::sleep(TURN),
                }
            };
            learn(&store, state, owned, FilterShare::of(budget.clone()), &stopped)
        };
        match std::thread::Builder::new().name("state-keys".into()).spawn(learn) {
            Ok(thread) => Ok(Some(Self { stop, thread: Some(thread) })),
            Err(error) => {
                Err(Failure::attempt(format!("cannot start the thread that reads the keys of restored state: {error}")))
            }
        }
    }

    /// What was learned, once it is there: `Some(None)` when nothing could be.
    pub(super) fn poll(&mut self) -> Option<Option<KeyFilter>> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return None;
        }
        Some(self.thread.take().and_then(|thread| thread.join().ok()).flatten())
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn learn(store: &Store, state: StateId, owned: Range<u16>, share: FilterShare, stopped: &AtomicBool) -> Option<KeyFilter> {
    let mut keys = KeyFilter::new(share);
    let mut complete = true;
    for group in owned {
        let scanned = store.scan(state, group, &[], &mut |key, _| {
            complete = complete && !stopped.load(Relaxed) && keys.insert(hash_key(key));
            Ok(complete)
        });
        if let Err(failure) = scanned {
            // Reads of the table itself will meet and report it.
            tracing::warn!(%failure, "cannot learn the keys of restored state");
            return None;
        }
    }
    complete.then_some(keys)
}
