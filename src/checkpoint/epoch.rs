//! A number for each attempt that takes a job over, larger than that of any attempt before: `epochs/<number>`.
//!
//! What an attempt stages outside of Kafka is named by it. Kafka's own epochs are inside its client, and the number of a checkpoint is used
//! again by an attempt that follows one without a manifest; so there is one object for each epoch, which only one attempt can make.
//!
//! The manifest that is committed names the epoch of its attempt. Objects above that one stay, so that the next epoch is higher than
//! all, also where a list of objects lags behind: a number that is taken is passed over. Objects up to it are needed no more.

use super::{
    explain::{Access, Class},
    layout::Layout,
    storage::Storage,
};
use crate::protocol::Failure;
use bytes::Bytes;
use object_store::{PutMode, path::Path as ObjectPath};

impl Storage {
    /// Takes an epoch above all others; `committed` is that of the committed manifest, 0 if there is none.
    ///
    /// # Errors
    /// Transient, Fatal: as any write.
    pub fn take_epoch(&self, committed: u64) -> Result<u64, Failure> {
        let known = self.epochs()?;
        let mut epoch = known.iter().map(|(epoch, _)| *epoch).fold(committed, u64::max) + 1;
        loop {
            let path = self.layout().epoch(epoch);
            match self.put(&path, Bytes::from(format!("{}\n", self.attempt())), PutMode::Create) {
                Ok(()) => break,
                // Somebody was quicker; or it was this attempt, and the answer was lost: a number that nobody uses does no harm.
                Err(trouble) if trouble.class == Class::Taken => epoch += 1,
                Err(trouble) => return Err(self.failed(trouble, Access::Write, &path)),
            }
        }
        let over: Vec<ObjectPath> = known.into_iter().filter(|(epoch, _)| *epoch <= committed).map(|(_, path)| path).collect();
        for failure in self.delete_all(&over).into_iter().filter_map(Result::err) {
            tracing::debug!(%failure, "an epoch that is over could not be deleted; the next attempt will");
        }
        Ok(epoch)
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
    fn each_attempt_has_a_higher_one_and_those_up_to_the_committed_one_go() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let open = || {
            let location = Location::folder(folder.path()).unwrap();
            Storage::open(&location, &"shop".parse().unwrap(), Executor::Own(Arc::clone(&runtime))).unwrap()
        };
        let (one, other) = (open(), open());
        assert_eq!([one.take_epoch(0).unwrap(), other.take_epoch(0).unwrap(), one.take_epoch(2).unwrap()], [1, 2, 3]);
        let left = || open().epochs().unwrap().into_iter().map(|(epoch, _)| epoch).collect::<Vec<u64>>();
        assert_eq!(left(), [3]);
        // Whatever became of the objects, it is above the committed one.
        std::fs::remove_dir_all(folder.path().join("shop/epochs")).unwrap();
        assert_eq!(one.take_epoch(9).unwrap(), 10);
    }

    #[test]
    fn attempts_at_the_same_time_do_not_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let location = Location::folder(folder.path()).unwrap();
        let take = || {
            let storage = Storage::open(&location, &"shop".parse().unwrap(), runtime.handle().clone()).unwrap();
            (0..5).map(|_| storage.take_epoch(0).unwrap()).collect::<Vec<_>>()
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
