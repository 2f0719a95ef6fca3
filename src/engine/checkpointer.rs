//! The thread that makes checkpoints durable: uploads the snapshot's new files, writes the manifest last, and clears away
//! what nobody needs once Kafka has confirmed the commit.

use super::{event::TaskEvent, halt::Halt, stop::Stop};
use crate::checkpoint::{Collector, Manifest, Storage, UploadReport, Uploaded};
use crate::failpoint;
use crate::protocol::{CheckpointId, Failure, ManifestRef};
use crate::state::Snapshot;
use crossbeam_channel::{Receiver, Sender, select};
use std::time::{Duration, Instant};

/// What the coordinator asks for.
pub enum Request {
    /// Upload the snapshot of a checkpoint.
    Upload(CheckpointId, Snapshot),
    /// Write the manifest of the checkpoint that was uploaded last; its files are filled in here.
    Publish(Box<Manifest>),
    /// Kafka has confirmed the commit: write the marker, delete what only older checkpoints need.
    Confirm(ManifestRef),
}

/// Makes checkpoints durable, one after the other.
pub struct Checkpointer {
    storage: Storage,
    /// What of the restored checkpoint need not be uploaded again.
    uploaded: Uploaded,
    collector: Collector,
    /// Longest time for an upload.
    timeout: Duration,
    report: Option<(CheckpointId, UploadReport)>,
    published: Option<Box<Manifest>>,
}

impl Checkpointer {
    /// A checkpointer for an attempt. `timeout` is the longest time for an upload.
    pub fn new(storage: Storage, uploaded: Uploaded, collector: Collector, timeout: Duration) -> Self {
        Self { storage, uploaded, collector, timeout, report: None, published: None }
    }

    /// Runs until the attempt ends.
    pub fn run(mut self, requests: &Receiver<Request>, events: &Sender<TaskEvent>, stop: &Stop) -> Result<(), Halt> {
        loop {
            let request = select! {
                recv(requests) -> request => request.map_err(|_| Halt::Stopped)?,
                recv(stop.signal()) -> _ => return Err(Halt::Stopped),
            };
            stop.send(events, self.handle(request)?)?;
        }
    }

    /// Does what is asked for, and says how it went.
    pub fn handle(&mut self, request: Request) -> Result<TaskEvent, Failure> {
        Ok(match request {
            Request::Upload(checkpoint, snapshot) => match self.upload(checkpoint, &snapshot) {
                Ok(done) => {
                    let (new_bytes, total_bytes, took) = (done.new_bytes, done.total_bytes, done.took);
                    self.report = Some((checkpoint, done));
                    TaskEvent::StateUploaded { checkpoint, new_bytes, total_bytes, took }
                }
                Err(failure) => TaskEvent::PrepareFailed { checkpoint, failure },
            },
            Request::Publish(mut manifest) => {
                let checkpoint = manifest.checkpoint;
                if let Some((_, done)) = self.report.take().filter(|(uploaded, _)| *uploaded == checkpoint) {
                    (manifest.new_bytes, manifest.total_bytes, manifest.files) = (done.new_bytes, done.total_bytes, done.files);
                }
                match self.publish(&manifest) {
                    Ok(durable) => {
                        self.published = Some(manifest);
                        TaskEvent::ManifestDurable(durable)
                    }
                    Err(failure) => TaskEvent::PrepareFailed { checkpoint, failure },
                }
            }
            Request::Confirm(durable) => {
                let manifest = self.published.take();
                self.confirm(durable, manifest.as_deref())?;
                TaskEvent::Confirmed { checkpoint: durable.checkpoint, holdings: self.collector.holdings() }
            }
        })
    }

    fn upload(&mut self, checkpoint: CheckpointId, snapshot: &Snapshot) -> Result<UploadReport, Failure> {
        failpoint::hit("before-prepare")?;
        let names: Vec<String> = snapshot.files().iter().map(|file| file.name.clone()).collect();
        let report = self.storage.upload(checkpoint, snapshot.dir(), &names, &mut self.uploaded, self.timeout)?;
        failpoint::hit("after-upload")?;
        Ok(report)
    }

    fn publish(&mut self, manifest: &Manifest) -> Result<ManifestRef, Failure> {
        // Once per attempt: what dead attempts have left behind is found, to be cleared away after a commit.
        if let Err(failure) = self.collector.survey() {
            tracing::warn!(%failure, "old checkpoints could not be listed; they are kept");
        }
        self.storage.put_manifest(manifest)
    }

    /// Best effort: the commit stands already.
    fn confirm(&mut self, durable: ManifestRef, manifest: Option<&Manifest>) -> Result<(), Failure> {
        failpoint::hit("before-confirm")?;
        let since = Instant::now();
        if let Err(failure) = self.storage.put_marker(durable) {
            tracing::warn!(checkpoint = durable.checkpoint.0, %failure, "marker not written; Kafka knows that it is committed");
            return Ok(());
        }
        let Some(manifest) = manifest else { return Ok(()) };
        let collected = self.collector.confirmed(manifest);
        let took = since.elapsed();
        tracing::debug!(
            checkpoint = durable.checkpoint.0,
            manifests = collected.manifests.len(),
            files = collected.files,
            ?took,
            "cleared away"
        );
        for why in &collected.postponed {
            tracing::warn!(checkpoint = durable.checkpoint.0, why, "could not be cleared away, is tried again");
        }
        Ok(())
    }
}
