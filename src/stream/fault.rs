//! A failure on purpose: for demonstrations, and for tests of a job's recovery.

use super::app::Stream;
use crate::protocol::Failure;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

impl<T: Clone + Send + 'static> Stream<T> {
    /// Passes every record on but the `number`-th (from 1), at which the attempt fails: the restart strategy decides what follows. It
    /// fails once in the life of the process: when the record comes again after the restart, it passes. Records are counted over all
    /// tasks of the stream, those that come again as well. `name` is in the failure's message.
    /// ```
    /// use sluicegate::{connectors::{Collected, Collection}, stream::{App, Execution}};
    ///
    /// # fn main() -> Result<(), sluicegate::stream::Failure> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let (app, output) = (App::new(), Collected::new());
    /// app.read("numbers", Collection::of(1..=5)).fail_once_at("numbers", 3).write_lines("out", output.clone());
    /// // Without a restart strategy, that is the end; nothing was committed.
    /// let failed = Execution::new("numbers", folder.path()).run(app).unwrap_err();
    /// assert!(failed.message.contains("injected failure at record 3 of numbers"), "{failed}");
    /// assert!(output.lines().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fail_once_at(&self, name: &str, number: u64) -> Stream<T> {
        let (seen, name): (_, Arc<str>) = (Arc::new(AtomicU64::new(0)), name.into());
        self.flat_map(move |record, out| {
            // The count never comes back to the number.
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == number {
                return Err(Failure::attempt(format!("injected failure at record {number} of {name}")).into());
            }
            out.push(record)
        })
    }
}
