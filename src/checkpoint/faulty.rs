//! A store that misbehaves as real ones do, seeded: for the tests of this room and for the simulation.
//!
//! A [`Bucket`] is what is really stored. Every attempt gets a [`FaultyStore`] of its own to it, with its own seed, faults and
//! end: so an attempt can crash at any operation, or be paused there while others go on.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, memory::InMemory,
    path::Path,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fmt, io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often each fault comes, per thousand operations that it can hit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// An error, and nothing happened.
    pub(crate) error: u32,
    /// An error, but it did happen: the answer was lost.
    pub(crate) lost_answer: u32,
    /// An error, and it happens some operations later.
    pub(crate) late: u32,
    /// An error, and a part of the bytes lies under the name.
    pub(crate) torn: u32,
    /// A list as it was some operations ago.
    pub(crate) stale_list: u32,
    /// A read with one bit flipped.
    pub(crate) flipped: u32,
    /// A read whose bytes end half-way with an error.
    pub(crate) cut: u32,
    /// Takes [`Faults::delay`] longer, by the clock of the runtime.
    pub(crate) slow: u32,
    /// See [`Faults::slow`].
    pub(crate) delay: Duration,
}

impl Faults {
    /// Everything that a store may do to us without losing what it acknowledged.
    pub(crate) const ROUGH: Self = Self {
        error: 40,
        lost_answer: 40,
        late: 40,
        torn: 20,
        stale_list: 200,
        flipped: 0,
        cut: 40,
        slow: 20,
        delay: Duration::from_secs(2),
    };
}

/// Late operations happen and stale lists show within this many operations.
const HORIZON: u64 = 12;

/// What is really stored, shared by all who talk to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bucket {
    objects: InMemory,
    history: Arc<Mutex<History>>,
}

#[derive(Debug, Default)]
struct History {
    operations: u64,
    late: Vec<(u64, Change)>,
    written: BTreeMap<Path, u64>,
    deleted: Vec<(u64, ObjectMeta)>,
}

#[derive(Debug, Clone)]
enum Change {
    Put { path: Path, bytes: Bytes, create: bool },
    Delete { path: Path },
}

impl Bucket {
    /// A store to this bucket for one attempt.
    pub(crate) fn store(&self, seed: u64, faults: Faults) -> FaultyStore {
        let control = Control { random: ChaCha8Rng::seed_from_u64(seed), faults, operations: 0, crash_at: None, pause: None };
        FaultyStore { bucket: self.clone(), control: Arc::new(Mutex::new(control)) }
    }

    /// What is late happens now.
    pub(crate) fn settle(&self) {
        let late = mem::take(&mut self.history().late);
        late.into_iter().for_each(|(_, change)| drop(self.apply(change)));
    }

    /// Everything stored, by path.
    pub(crate) fn contents(&self) -> BTreeMap<String, Bytes> {
        let read = |meta: ObjectMeta| {
            let bytes =
                self.objects.get(&meta.location).now_or_never().unwrap().unwrap().bytes().now_or_never().unwrap().unwrap();
            (meta.location.to_string(), bytes)
        };
        let listed: Vec<_> = self.objects.list(None).try_collect().now_or_never().unwrap().unwrap();
        listed.into_iter().map(read).collect()
    }

    /// Operations so far, of all who talk to it.
    pub(crate) fn operations(&self) -> u64 {
        self.history().operations
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation later: what is due happens.
    fn tick(&self) -> u64 {
        let (now, due) = {
            let mut history = self.history();
            history.operations += 1;
            let now = history.operations;
            let due: Vec<_> = history.late.extract_if(.., |(at, _)| *at <= now).collect();
            (now, due)
        };
        due.into_iter().for_each(|(_, change)| drop(self.apply(change)));
        now
    }

    /// A change happens. The memory answers at once, so that nothing has to wait here.
    fn apply(&self, change: Change) -> Result<()> {
        match change {
            Change::Put { path, bytes, create } => {
                let mode = if create { PutMode::Create } else { PutMode::Overwrite };
                self.objects
                    .put_opts(&path, bytes.into(), mode.into())
                    .now_or_never()
                    .unwrap_or_else(|| Err(fault("pending")))?;
                let mut history = self.history();
                let now = history.operations;
                history.written.insert(path, now);
            }
            Change::Delete { path } => {
                if let Some(Ok(meta)) = self.objects.head(&path).now_or_never() {
                    let mut history = self.history();
                    let now = history.operations;
                    history.deleted.push((now, meta));
                    history.written.remove(&path);
                }
                self.objects.delete(&path).now_or_never().unwrap_or_else(|| Err(fault("pending")))?;
            }
        }
        Ok(())
    }
}

/// One attempt's way to a [`Bucket`].
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    bucket: Bucket,
    control: Arc<Mutex<Control>>,
}

struct Control {
    random: ChaCha8Rng,
    faults: Faults,
    operations: u64,
    crash_at: Option<u64>,
    pause: Option<(u64, Pause)>,
}

type Pause = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("operations", &self.operations).field("crash_at", &self.crash_at).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

/// What the store does with an operation that changes something.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Error,
    LostAnswer,
    Late(u64),
    Torn(f64),
}

/// The word by which a test knows that its attempt crashed.
pub(crate) const CRASHED: &str = "crashed by the test";

impl FaultyStore {
    /// From the operation with this number on (1 is the first), everything fails; the operation itself may or may not happen.
    pub(crate) fn crash_at(&self, operation: u64) {
        self.control().crash_at = Some(operation);
    }

    /// Before the operation with this number, `meanwhile` runs: what others do while this attempt is paused.
    pub(crate) fn pause_at(&self, operation: u64, meanwhile: impl FnOnce() + Send + 'static) {
        self.control().pause = Some((operation, Box::new(meanwhile)));
    }

    /// From now on these faults.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.control().faults = faults;
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every operation begins with.
    async fn begin(&self) -> Result<()> {
        let (crashed, pause, delay) = {
            let mut control = self.control();
            control.operations += 1;
            let now = control.operations;
            let pause = control.pause.take_if(|(at, _)| *at <= now).map(|(_, meanwhile)| meanwhile);
            let slow = control.faults.slow;
            let delay = control.hits(slow).then_some(control.faults.delay);
            (control.crash_at.is_some_and(|at| now > at), pause, delay)
        };
        if crashed {
            return Err(crash());
        }
        if let Some(meanwhile) = pause {
            // On a thread of its own: what it does has runtimes of its own.
            std::thread::spawn(meanwhile).join().expect("what happens meanwhile does not panic");
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        self.bucket.tick();
        Ok(())
    }

    /// Reads end here when they fail.
    async fn begin_read(&self) -> Result<()> {
        self.begin().await?;
        let mut control = self.control();
        if control.crash_at == Some(control.operations) {
            return Err(crash());
        }
        let error = control.faults.error;
        if control.hits(error) { Err(fault("503 slow down")) } else { Ok(()) }
    }

    /// Carries a change to its fate.
    async fn change(&self, change: Change) -> Result<()> {
        self.begin().await?;
        let (fate, crash_now) = {
            let mut control = self.control();
            let crash_now = control.crash_at == Some(control.operations);
            (control.fate(&change, crash_now), crash_now)
        };
        let answer = if crash_now { crash() } else { fault("connection reset") };
        match fate {
            Fate::Done => return self.bucket.apply(change),
            Fate::Error => {}
            Fate::LostAnswer => drop(self.bucket.apply(change)),
            Fate::Late(after) => {
                let mut history = self.bucket.history();
                let at = history.operations + after;
                history.late.push((at, change));
            }
            Fate::Torn(part) => {
                if let Change::Put { path, bytes, create } = change {
                    let torn = bytes.slice(..(bytes.len() as f64 * part) as usize);
                    drop(self.bucket.apply(Change::Put { path, bytes: torn, create }));
                }
            }
        }
        Err(answer)
    }

    /// The list, now or as it was.
    async fn listed(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        self.begin_read().await?;
        let mut found: Vec<ObjectMeta> = self.bucket.objects.list(prefix.as_ref()).try_collect().await?;
        let lag = {
            let mut control = self.control();
            let stale = control.faults.stale_list;
            if control.hits(stale) { control.random.random_range(1..=HORIZON) } else { 0 }
        };
        if lag > 0 {
            let history = self.bucket.history();
            let then = history.operations.saturating_sub(lag);
            found.retain(|meta| history.written.get(&meta.location).is_none_or(|at| *at <= then));
            let root = Path::default();
            let prefix = prefix.as_ref().unwrap_or(&root);
            let gone = history.deleted.iter().filter(|(at, meta)| *at > then && meta.location.prefix_matches(prefix));
            for (_, meta) in gone {
                if !found.iter().any(|there| there.location == meta.location) {
                    found.push(meta.clone());
                }
            }
        }
        Ok(found)
    }
}

impl Control {
    fn hits(&mut self, permille: u32) -> bool {
        permille > 0 && self.random.random_range(0..1000) < permille
    }

    fn fate(&mut self, change: &Change, crash_now: bool) -> Fate {
        let later = self.random.random_range(1..=HORIZON);
        let part = self.random.random_range(0.0..1.0);
        if crash_now {
            return match self.random.random_range(0..4) {
                0 => Fate::Error,
                1 => Fate::LostAnswer,
                2 => Fate::Late(later),
                _ if matches!(change, Change::Put { .. }) && self.faults.torn > 0 => Fate::Torn(part),
                _ => Fate::Error,
            };
        }
        let Faults { error, lost_answer, late, torn, .. } = self.faults;
        let dice = self.random.random_range(0..1000);
        let torn = if matches!(change, Change::Put { .. }) { torn } else { 0 };
        match dice {
            _ if dice < error => Fate::Error,
            _ if dice < error + lost_answer => Fate::LostAnswer,
            _ if dice < error + lost_answer + late => Fate::Late(later),
            _ if dice < error + lost_answer + late + torn => Fate::Torn(part),
            _ => Fate::Done,
        }
    }
}

fn fault(words: &'static str) -> Error {
    Error::Generic { store: "FaultyStore", source: io::Error::other(words).into() }
}

fn crash() -> Error {
    Error::NotSupported { source: CRASHED.into() }
}

fn put_result() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = matches!(opts.mode, PutMode::Create);
        self.change(Change::Put { path: location.clone(), bytes: payload.into(), create }).await?;
        Ok(put_result())
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.begin_read().await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), path: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.begin_read().await?;
        let got = self.bucket.objects.get_opts(location, options).await?;
        let (flipped, cut) = {
            let mut control = self.control();
            let Faults { flipped, cut, .. } = control.faults;
            (control.hits(flipped), control.hits(cut))
        };
        if !(flipped || cut) || got.meta.size == 0 {
            return Ok(got);
        }
        let (meta, range, attributes, extensions) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone(), got.extensions.clone());
        let mut bytes = got.bytes().await?.to_vec();
        if flipped {
            let bit = self.control().random.random_range(0..bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let mut chunks = Vec::new();
        if cut {
            bytes.truncate(bytes.len() / 2);
            chunks.push(Err(fault("connection reset in the middle")));
        }
        chunks.insert(0, Ok(Bytes::from(bytes)));
        let payload = GetResultPayload::Stream(stream::iter(chunks).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |path| {
                let store = store.clone();
                async move {
                    let path = path?;
                    store.change(Change::Delete { path: path.clone() }).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move { store.listed(prefix).await })
            .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.begin_read().await?;
        self.bucket.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy_opts".into(), implementer: self.to_string() })
    }
}

/// Parts are kept until all are there, as a store does.
#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    path: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data.into());
        let store = self.store.clone();
        async move { store.begin_read().await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let bytes = mem::take(&mut self.parts).concat().into();
        self.store.change(Change::Put { path: self.path.clone(), bytes, create: false }).await?;
        Ok(put_result())
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a caller sees of a fixed script of operations.
    fn script(seed: u64) -> (Vec<String>, BTreeMap<String, Bytes>) {
        let bucket = Bucket::default();
        let store = bucket.store(seed, Faults::ROUGH);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let seen = runtime.block_on(async {
            let mut seen = Vec::new();
            for i in 0..100_u32 {
                let path = Path::from(format!("a/{}", i % 7));
                seen.push(format!("{:?}", store.put(&path, vec![i as u8; 9].into()).await.is_ok()));
                seen.push(format!("{:?}", store.delete(&Path::from(format!("a/{}", i % 5))).await.is_ok()));
                let listed: Result<Vec<_>> = store.list(None).map_ok(|meta| meta.location).try_collect().await;
                seen.push(format!("{:?}", listed.ok()));
            }
            seen
        });
        (seen, bucket.contents())
    }

    #[test]
    fn the_same_seed_misbehaves_in_the_same_way() {
        assert_eq!(script(7), script(7));
        assert_ne!(script(7).0, script(8).0);
    }
}
