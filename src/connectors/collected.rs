//! Output in memory: for tests and examples.

use crate::stream::{Failure, LocalSink, Outgoing, Owner, StagedOutput};
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
    staged: BTreeMap<String, Vec<Vec<u8>>>,
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

impl LocalSink for Collected {
    fn take_over(&self, _: &Owner, committed: Option<&[String]>) -> Result<(), Failure> {
        self.publish(committed.unwrap_or_default())?;
        self.inner().staged.clear();
        Ok(())
    }

    fn begin(&self, _: &Owner) -> Result<Box<dyn StagedOutput>, Failure> {
        Ok(Box::new(Staged { of: self.clone(), records: Vec::new() }))
    }

    fn publish(&self, staged: &[String]) -> Result<(), Failure> {
        let mut inner = self.inner();
        for name in staged {
            let records = inner.staged.remove(name).unwrap_or_default();
            inner.published.extend(records);
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
    records: Vec<Vec<u8>>,
}

impl StagedOutput for Staged {
    fn write(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.records.extend(record.value.map(<[u8]>::to_vec));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Failure> {
        let mut inner = self.of.inner();
        inner.begun += 1;
        // The process as well: what another one had in memory is not taken for ours.
        let name = format!("{}-{}", std::process::id(), inner.begun);
        inner.staged.insert(name.clone(), mem::take(&mut self.records));
        Ok(vec![name])
    }
}
