//! Output in memory: for tests and examples.

use crate::stream::{Failure, Outgoing, Owner, SinkTransaction, TwoPhaseCommitSink};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps what was committed, each record once, in this process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// By name: whose, and the records.
    staged: BTreeMap<String, (Owner, Vec<Vec<u8>>)>,
    begun: u64,
    published: Vec<Vec<u8>>,
}

impl Collected {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records that were committed, in order; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.inner().published.iter().map(|record| String::from_utf8_lossy(record).into_owned()).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TwoPhaseCommitSink for Collected {
    fn recover(&self, owner: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
        self.commit(committed.unwrap_or_default())?;
        self.inner().staged.retain(|_, (by, _)| by.job != owner.job || by.epoch >= owner.epoch);
        Ok(())
    }

    fn begin(&self, owner: &Owner) -> Result<Box<dyn SinkTransaction>, Failure> {
        Ok(Box::new(Staged { of: self.clone(), owner: owner.clone(), records: Vec::new() }))
    }

    fn commit(&self, staged: &[String]) -> Result<(), Failure> {
        let mut inner = self.inner();
        for name in staged {
            if let Some((_, records)) = inner.staged.remove(name) {
                inner.published.extend(records);
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "memory of this process".to_owned()
    }

    fn warning(&self) -> Option<String> {
        Some("what this sink holds ends with the process".to_owned())
    }
}

struct Staged {
    of: Collected,
    owner: Owner,
    records: Vec<Vec<u8>>,
}

impl SinkTransaction for Staged {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.records.extend(record.value.map(<[u8]>::to_vec));
        Ok(())
    }

    fn pre_commit(mut self: Box<Self>) -> Result<Vec<String>, Failure> {
        let mut inner = self.of.inner();
        inner.begun += 1;
        // The process as well: what another one had in memory is not taken for ours.
        let name = format!("{}-{}", std::process::id(), inner.begun);
        inner.staged.insert(name.clone(), (self.owner.clone(), mem::take(&mut self.records)));
        Ok(vec![name])
    }
}
