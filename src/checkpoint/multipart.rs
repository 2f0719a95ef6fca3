//! An upload in parts, which nobody sees before it is complete, and of which nothing is left when it is given up.

use super::explain::Trouble;
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, path::Path as ObjectPath};
use std::time::Duration;

/// For telling the storage that an upload was given up. What it is not told of stays there unseen, and costs money, until a rule
/// of the bucket deletes it.
const ABORT: Duration = Duration::from_secs(10);

/// An upload that is not complete. Dropping it, at a deadline or the end of the attempt, abandons it in the background.
#[derive(Debug)]
pub(crate) struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    pub(crate) async fn begin(store: &dyn ObjectStore, target: &ObjectPath) -> Result<Self, Trouble> {
        Ok(Self(Some(store.put_multipart(target).await.map_err(Trouble::of)?)))
    }

    /// Sends the next part. All but the last one have the same size, at least 5 MiB.
    pub(crate) async fn put_part(&mut self, part: Bytes) -> Result<(), Trouble> {
        match &mut self.0 {
            Some(upload) => upload.put_part(part.into()).await.map_err(Trouble::of),
            None => Ok(()),
        }
    }

    /// Makes the parts visible, all at once, as one object.
    pub(crate) async fn complete(mut self) -> Result<(), Trouble> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let done = upload.complete().await.map(drop).map_err(Trouble::of);
        match done {
            Ok(()) => self.0 = None,
            Err(_) => self.abandon().await,
        }
        done
    }

    /// Gives it up, and waits until the storage knows.
    pub(crate) async fn abandon(mut self) {
        if let Some(upload) = self.0.take() {
            abort(upload).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Outside of a runtime there is nobody to wait for the answer.
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>) {
    match tokio::time::timeout(ABORT, upload.abort()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::debug!(%why, "an upload that was given up could not be aborted"),
        Err(_) => tracing::debug!("an upload that was given up was not aborted in time"),
    }
}
