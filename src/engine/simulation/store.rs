//! The faulty store of `checkpoint::faulty`, on the simulated clock.
//!
//! The storage's own pauses (between tries) and time limits go by the clock of its tokio runtime, which is paused and jumps. The two
//! clocks are kept together here: what the runtime has slept is slept in the world, and what a request takes in the world passes
//! in the runtime.

use super::world::{World, lock};
use crate::checkpoint::faulty::FaultyStore;
use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, path::Path,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

type Check = Arc<dyn Fn() + Send + Sync>;

/// One attempt's way to the bucket. Clones are the same one.
#[derive(Clone)]
pub(super) struct SimulatedStore {
    world: World,
    store: FaultyStore,
    /// The runtime's clock, as far as the world knows it.
    seen: Arc<Mutex<Option<Instant>>>,
    /// So many of a thousand requests take seconds.
    slow: Arc<AtomicU32>,
    /// Called after something may have been deleted.
    check: Check,
}

impl SimulatedStore {
    /// `check` is called after every deletion.
    pub(super) fn new(world: &World, store: FaultyStore, slow: Arc<AtomicU32>, check: impl Fn() + Send + Sync + 'static) -> Self {
        Self { world: world.clone(), store, seen: Arc::default(), slow, check: Arc::new(check) }
    }

    /// The time that a request takes to arrive.
    async fn pass(&self, doing: &str, path: &Path) {
        let world = &self.world;
        let slept = lock(&self.seen).replace(Instant::now()).map_or(Duration::ZERO, |seen| seen.elapsed());
        world.request();
        let way = if world.chance(self.slow.load(Ordering::Relaxed)) {
            world.between(Duration::from_millis(200), Duration::from_secs(10))
        } else {
            world.between(Duration::from_micros(300), Duration::from_millis(4))
        };
        world.sleep(slept + way);
        // The clock moves at once; what `advance` does then is to let other futures run, in an order that is nobody's choice.
        let _ = tokio::time::advance(way).now_or_never();
        *lock(&self.seen) = Some(Instant::now());
        let process = world.process().map_or(0, |process| process.0);
        world.record(format_args!("process {process}: {doing} {path}"));
    }

    fn noted<T>(&self, doing: &str, path: &Path, done: Result<T>) -> Result<T> {
        if let Err(error) = &done {
            let process = self.world.process().map_or(0, |process| process.0);
            let kind = match error {
                object_store::Error::NotFound { .. } => "not found",
                object_store::Error::AlreadyExists { .. } => "exists already",
                _ => "failed",
            };
            self.world.record(format_args!("process {process}: {doing} {path}: {kind}"));
        }
        done
    }
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedStore")
    }
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedStore")
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.pass("put", location).await;
        let done = self.store.put_opts(location, payload, opts).await;
        self.noted("put", location, done)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.pass("put in parts", location).await;
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass("get", location).await;
        let done = self.store.get_opts(location, options).await;
        self.noted("get", location, done)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |path| {
                let store = store.clone();
                async move {
                    let path = path?;
                    store.pass("delete", &path).await;
                    let one = stream::once(std::future::ready(Ok(path.clone()))).boxed();
                    let gone: Result<Vec<Path>> = store.store.delete_stream(one).try_collect().await;
                    (store.check)();
                    store.noted("delete", &path, gone).map(|_| path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        stream::once(async move {
            store.pass("list", &prefix).await;
            let found: Result<Vec<ObjectMeta>> = store.store.list(Some(&prefix)).try_collect().await;
            store.noted("list", &prefix, found)
        })
        .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let shown = prefix.cloned().unwrap_or_default();
        self.pass("list folder", &shown).await;
        let done = self.store.list_with_delimiter(prefix).await;
        self.noted("list folder", &shown, done)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
