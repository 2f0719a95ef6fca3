//! A number for each attempt that takes a job over, larger than that of any attempt before: `epochs/<number>`.
//!
//! What an attempt stages outside of Kafka is named by it. Kafka's own epochs are inside its client, and the number of a checkpoint is used
//! again by an attempt that follows one without a manifest; so there is one object for each epoch, which only one attempt can make.

use super::{
    explain::{Access, Class},
    layout::Layout,
    storage::Storage,
};
use crate::protocol::Failure;
use bytes::Bytes;
use object_store::{PutMode, path::Path as ObjectPath};

impl Storage {
    /// Takes the next epoch. Older ones are forgotten.
    ///
    /// # Errors
    /// Transient, Fatal: as any write.
    pub fn take_epoch(&self) -> Result<u64, Failure> {
        loop {
            let taken = self.epochs()?;
            let epoch = taken.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0) + 1;
            let path = self.layout().epoch(epoch);
            match self.put(&path, Bytes::from(format!("{}\n", self.attempt())), PutMode::Create) {
                // Somebody was quicker; or it was this attempt, and the answer was lost: a number that nobody uses does no harm.
                Err(trouble) if trouble.class == Class::Taken => continue,
                done => done.map_err(|trouble| self.failed(trouble, Access::Write, &path))?,
            }
            // Only now: the highest one is what the next attempt counts from. One that stays is deleted by the next.
            let older: Vec<ObjectPath> = taken.into_iter().map(|(_, path)| path).collect();
            for failure in self.delete_all(&older).into_iter().filter_map(Result::err) {
                tracing::debug!(%failure, "an epoch that is over could not be deleted");
            }
            return Ok(epoch);
        }
    }

    fn epochs(&self) -> Result<Vec<(u64, ObjectPath)>, Failure> {
        let all = self.list(&self.layout().epochs())?.into_iter();
        Ok(all.filter_map(|meta| Some((Layout::epoch_number(&meta.location)?, meta.location))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Executor, Location};
    use std::sync::Arc;

    #[test]
    fn each_attempt_has_a_higher_one_and_the_last_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let open = || {
            let location = Location::folder(folder.path()).unwrap();
            Storage::open(&location, &"shop".parse().unwrap(), Executor::Own(Arc::clone(&runtime))).unwrap()
        };
        let (one, other) = (open(), open());
        assert_eq!([one.take_epoch().unwrap(), other.take_epoch().unwrap(), one.take_epoch().unwrap()], [1, 2, 3]);
        let left: Vec<u64> = open().epochs().unwrap().into_iter().map(|(epoch, _)| epoch).collect();
        assert_eq!(left, [3]);
    }

    #[test]
    fn attempts_at_the_same_time_do_not_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let location = Location::folder(folder.path()).unwrap();
        let take = || {
            let storage = Storage::open(&location, &"shop".parse().unwrap(), runtime.handle().clone()).unwrap();
            (0..5).map(|_| storage.take_epoch().unwrap()).collect::<Vec<_>>()
        };
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20);
    }
}
