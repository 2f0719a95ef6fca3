//! Attempts that crash at any operation, or are paused there while others take over, on a store that misbehaves: whatever the
//! history, what Kafka names is there and whole.

use super::{
    Collector, Manifest, Retention, Storage, Uploaded,
    conformance::{MINUTE, checkpoint, contents, executor, job, snapshot},
    faulty::{Bucket, Faults, FaultyStore},
    layout::Layout,
    location::Connected,
};
use crate::protocol::{CheckpointId, Failure, FailureKind, ManifestRef, Pointer};
use object_store::path::Path as ObjectPath;
use proptest::{prelude::*, test_runner::Config};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What a broker keeps of a job: who may commit, and which checkpoint the committed offsets name.
#[derive(Debug, Default)]
struct Kafka {
    owner: u64,
    committed: Option<ManifestRef>,
    /// All that were ever committed.
    history: BTreeSet<ManifestRef>,
}

/// Files by name.
type State = BTreeMap<String, Vec<u8>>;

/// A history under way. Clones are the same world.
#[derive(Clone)]
struct World {
    bucket: Bucket,
    kafka: Arc<Mutex<Kafka>>,
    /// What the state was, per manifest that may have been committed.
    states: Arc<Mutex<BTreeMap<ManifestRef, State>>>,
    folders: Arc<tempfile::TempDir>,
    retained: NonZeroU32,
    attempts: Arc<Mutex<u64>>,
    random: Arc<Mutex<ChaCha8Rng>>,
}

/// Why an attempt ended.
#[derive(Debug)]
enum End {
    /// Something failed, as the faults have it.
    Failed(Failure),
    /// Its script was done.
    Done,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Self {
            bucket: Bucket::default(),
            kafka: Arc::default(),
            states: Arc::default(),
            folders: Arc::new(tempfile::tempdir().unwrap()),
            retained: random.random_range(1..4_u32).try_into().unwrap(),
            attempts: Arc::default(),
            random: Arc::new(Mutex::new(random)),
        }
    }

    fn dice(&self, below: u32) -> u32 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..below)
    }

    fn folder(&self, attempt: u64, name: &str) -> PathBuf {
        self.folders.path().join(format!("{attempt}-{name}"))
    }

    fn open(&self, attempt: u64, store: &FaultyStore) -> Result<Storage, Failure> {
        let connected =
            Connected { store: Arc::new(store.clone()), prefix: ObjectPath::default(), folder: None, shown: "mem://".into() };
        Storage::over(connected, &job(), executor(), format!("{attempt:08x}")).claim()
    }

    /// An attempt from its recovery to its end. With `depth` left, it may be paused while another one takes over.
    fn attempt(&self, faults: Faults, depth: u32, checkpoints: u32) -> End {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            *attempts += 1;
            *attempts
        };
        let store = self.bucket.store(attempt * 7919, faults);
        if checkpoints < 10 {
            match self.dice(4) {
                0 => store.crash_at(u64::from(self.dice(120)) + 1),
                1 | 2 if depth > 0 => {
                    let (world, others) = (self.clone(), 1 + self.dice(2));
                    store.pause_at(u64::from(self.dice(120)) + 1, move || {
                        for _ in 0..others {
                            drop(world.attempt(faults, depth - 1, 1 + world.dice(4)));
                        }
                    });
                }
                _ => {}
            }
        }
        match self.run(attempt, &store, checkpoints) {
            Ok(()) => End::Done,
            Err(failure) => End::Failed(failure),
        }
    }

    fn run(&self, attempt: u64, store: &FaultyStore, checkpoints: u32) -> Result<(), Failure> {
        // Fence first, then read what is committed, then restore exactly that.
        let committed = {
            let mut kafka = self.kafka.lock().unwrap();
            kafka.owner = attempt;
            kafka.committed
        };
        let storage = self.open(attempt, store)?;
        let (mut uploaded, mut state) = (Uploaded::nothing(), State::new());
        if let Some(committed) = committed {
            let (manifest, found) = self.must(attempt, storage.read_committed(&Pointer::to(&job(), &committed)))?;
            assert_eq!(found, committed);
            let target = self.folder(attempt, "restored");
            self.must(attempt, storage.restore(&manifest, &target, MINUTE, &|_| ()))?;
            state = contents(&target);
            assert_eq!(Some(&state), self.states.lock().unwrap().get(&committed), "attempt {attempt} restored something else");
            uploaded = Uploaded::restored(&manifest);
        }
        let seen = storage.list_manifests()?.pop();
        let first = seen.max(committed.map(|committed| committed.checkpoint)).map_or(0, |last| last.0 + 1);
        let mut collector = Collector::new(storage.clone(), Retention { retained: self.retained, grace: Duration::ZERO });
        let mut base = committed;
        for number in first..first + u64::from(checkpoints) {
            drop(collector.survey());
            self.change(&mut state, number);
            let files: Vec<_> = state.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            let taken = snapshot(&self.folder(attempt, &number.to_string()), &files);
            let bytes = |manifest: &Manifest| Manifest::reference(manifest.checkpoint, &manifest.to_bytes().unwrap());
            let (manifest, reference) = checkpoint(&storage, &mut uploaded, number, base, &taken)?;
            assert_eq!(bytes(&manifest), reference);
            self.states.lock().unwrap().insert(reference, state.clone());
            self.commit(attempt, reference)?;
            drop(storage.put_marker(reference));
            drop(collector.confirmed(&manifest));
            base = Some(reference);
        }
        Ok(())
    }

    /// Kafka's part: the fenced are turned away, and now and then the outcome stays unknown.
    fn commit(&self, attempt: u64, manifest: ManifestRef) -> Result<(), Failure> {
        let unknown = self.dice(12) == 0;
        let happens = !unknown || self.dice(2) == 0;
        let mut kafka = self.kafka.lock().unwrap();
        if kafka.owner != attempt {
            return Err(Failure::fenced("fenced"));
        }
        if happens {
            kafka.committed = Some(manifest);
            kafka.history.insert(manifest);
        }
        if unknown { Err(Failure::attempt("unknown outcome")) } else { Ok(()) }
    }

    /// What the committed offsets name is never missing and never damaged, for the one who owns the job. A paused attempt may
    /// find that the world has moved on.
    fn must<T>(&self, attempt: u64, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            let owner = self.kafka.lock().unwrap().owner;
            assert!(failure.kind != FailureKind::Refused || owner != attempt, "attempt {attempt}: {failure}");
        }
        result
    }

    /// RocksDB's habits: tables come and go and never change; their numbers go on from what was restored, so that a number
    /// that a dead attempt used comes again with other content, or by chance the same; `CURRENT` is one of few contents.
    fn change(&self, state: &mut State, number: u64) {
        let next = state.keys().filter_map(|name| name.strip_suffix(".sst")?.parse::<u32>().ok()).max().map_or(1, |max| max + 1);
        for table in next..=next + self.dice(2) {
            state.insert(format!("{table:06}.sst"), vec![self.dice(3) as u8; 20]);
        }
        let tables: Vec<_> = state.keys().filter(|name| name.ends_with(".sst")).cloned().collect();
        for table in tables.iter().take(tables.len().saturating_sub(1)) {
            if self.dice(4) == 0 {
                state.remove(table);
            }
        }
        state.insert("CURRENT".to_owned(), format!("MANIFEST-{:06}\n", self.dice(2)).into_bytes());
        // A file that comes and goes, always the same: what an older checkpoint had must not be taken for stored.
        match self.dice(3) {
            0 => drop(state.remove("OPTIONS-000001")),
            _ => drop(state.insert("OPTIONS-000001".to_owned(), b"options".to_vec())),
        }
        state.insert("MANIFEST-000000".to_owned(), number.to_le_bytes().to_vec());
    }

    /// Every checkpoint that was committed and is still listed is whole: manifests go before their files.
    fn nothing_half_deleted(&self) {
        let storage = self.open(u64::MAX >> 32, &self.bucket.store(0, Faults::default())).unwrap();
        for number in storage.list_manifests().unwrap() {
            let (manifest, found) = storage.read_manifest(number).unwrap();
            if self.kafka.lock().unwrap().history.contains(&found) {
                storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
            }
        }
    }

    /// The committed checkpoint and the kept ones before it, read through a store without faults.
    fn kept(&self) -> Vec<Manifest> {
        let Some(mut next) = self.kafka.lock().unwrap().committed else { return Vec::new() };
        let storage = self.open(u64::MAX >> 32, &self.bucket.store(0, Faults::default())).unwrap();
        let mut kept = Vec::new();
        loop {
            let (manifest, found) = storage.read_committed(&Pointer::to(&job(), &next)).unwrap();
            storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
            let target = self.folder(0, &format!("{}-{}", self.bucket.operations(), found.checkpoint));
            storage.restore(&manifest, &target, MINUTE, &|_| ()).unwrap();
            assert_eq!(Some(&contents(&target)), self.states.lock().unwrap().get(&found));
            let base = manifest.base.map(|base| ManifestRef { checkpoint: base.checkpoint, hash: base.hash });
            kept.push(manifest);
            match base.filter(|_| kept.len() < self.retained.get() as usize) {
                Some(base) => next = base,
                None => return kept,
            }
        }
    }
}

fn history(seed: u64, faults: Faults, attempts: u32) {
    let world = World::new(seed);
    for _ in 0..attempts {
        drop(world.attempt(faults, 2, 1 + world.dice(5)));
        world.kept();
        // On a store that misbehaves a put that comes late can bring a deleted manifest back, which nobody needs.
        if faults.late == 0 {
            world.nothing_half_deleted();
        }
    }
    // When the store behaves again, one attempt leaves what is kept and nothing else.
    world.bucket.settle();
    match world.attempt(Faults::default(), 0, 10) {
        End::Done => {}
        End::Failed(failure) if ["unknown outcome"].contains(&failure.message.as_str()) => return,
        End::Failed(failure) => panic!("seed {seed}: without faults: {failure}"),
    }
    let kept = world.kept();
    assert_eq!(kept.len(), world.retained.get() as usize);
    let layout = Layout::new(&ObjectPath::default(), &job());
    let files = kept.iter().flat_map(|manifest| &manifest.files).map(|file| layout.file(&file.object_name()));
    let manifests = kept.iter().map(|manifest| layout.manifest(manifest.checkpoint));
    let wanted: BTreeSet<_> = files.chain(manifests).collect();
    let mut there: BTreeSet<_> = world.bucket.contents().keys().map(|path| ObjectPath::from(path.as_str())).collect();
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(missing.is_empty(), "seed {seed}: needed, and gone: {missing:?}");
    // What stays: markers and the like; manifests above the committed one; those that cannot be read, with what they may name.
    let torn = |path: &ObjectPath| world.bucket.contents().get(path.as_ref()).is_some_and(|bytes| !bytes.ends_with(b"}\n"));
    let unreadable = there.iter().filter(|path| torn(path)).filter_map(Layout::manifest_number).max();
    there.retain(|path| match (Layout::manifest_number(path), path.filename().and_then(Layout::file_number)) {
        (Some(number), _) => number <= newest(&kept) && !torn(path),
        (None, Some(number)) => unreadable.is_none_or(|unreadable| number > unreadable),
        (None, None) => false,
    });
    let garbage: Vec<_> = there.difference(&wanted).collect();
    assert!(garbage.is_empty(), "seed {seed}: not needed, and there: {garbage:?}");
}

fn newest(kept: &[Manifest]) -> CheckpointId {
    kept.iter().map(|manifest| manifest.checkpoint).max().unwrap()
}

/// As many as `PROPTEST_CASES` says, else few enough for every `make test`.
fn config() -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 60 };
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_kafka_names_is_whole_after_crashes_and_pauses(seed: u64) {
        history(seed, Faults::default(), 6);
    }

    #[test]
    fn what_kafka_names_is_whole_on_a_store_that_misbehaves(seed: u64) {
        history(seed, Faults::ROUGH, 6);
    }
}
