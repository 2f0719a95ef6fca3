//! What all processes of a simulated job share.

use super::{
    broker::Broker,
    checks::Checks,
    cluster::SimulatedCluster,
    fate::ProcessId,
    files::{Ends, FILES, FilesSink, FilesSource, Folder},
    job::{INPUT, OUTPUT},
    network::{self, Network},
    process::Knobs,
    store::SimulatedStore,
    world::{World, lock},
};
use crate::checkpoint::{
    Connected, Executor, Storage,
    faulty::{self, Bucket, FaultyStore},
};
use crate::engine::{cluster::Cluster, mixed_cluster::MixedCluster, plan::Plan};
use crate::protocol::{Failure, JobName};
use object_store::path::Path as ObjectPath;
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

/// Consumer group of the job.
pub(super) const GROUP: &str = "group";

/// How bad things are for now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) network: network::Faults,
    pub(super) store: faulty::Faults,
    /// Of a thousand requests to the store, so many take seconds.
    pub(super) slow_store: u32,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) fn calm() -> Self {
        Self { network: network::Faults::default(), store: faulty::Faults::default(), slow_store: 0 }
    }

    /// What a cluster and a store do on a bad day.
    pub(super) fn rough() -> Self {
        Self { network: network::Faults::ROUGH, store: simulated(faulty::Faults::ROUGH), slow_store: 15 }
    }

    /// Nearly everything goes wrong.
    pub(super) fn storm() -> Self {
        let store =
            faulty::Faults { error: 150, lost_answer: 120, late: 80, torn: 60, stale_list: 400, ..faulty::Faults::default() };
        Self { network: network::Faults::STORM, store, slow_store: 60 }
    }
}

/// Slowness is the world's, not the runtime's.
fn simulated(faults: faulty::Faults) -> faulty::Faults {
    faulty::Faults { slow: 0, ..faults }
}

struct Shared {
    bucket: Bucket,
    stores: Mutex<Vec<FaultyStore>>,
    weather: Mutex<Weather>,
    slow_store: Arc<AtomicU32>,
    attempts: AtomicU32,
    folder: tempfile::TempDir,
    seed: u64,
    /// What the engine's clock shows at the beginning.
    pub(super) began: Instant,
}

/// Clones are the same one.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) network: Network,
    pub(super) checks: Checks,
    pub(super) job: JobName,
    pub(super) ends: Ends,
    pub(super) output: Folder,
    shared: Arc<Shared>,
}

impl Scene {
    /// A broker without topics and an empty store, for a job with these ends.
    pub(super) fn new(world: &World, seed: u64, ends: Ends) -> Self {
        let job: JobName = "counts".parse().expect("a name");
        let bucket = Bucket::default();
        let output = Folder::default();
        let checks = Checks::new(world, &bucket, &job, (ends != Ends::Kafka).then(|| output.clone()));
        let look = checks.clone();
        let network = Network::new(world, Broker::new(seed), move |broker, _| look.after_request(broker));
        let shared = Shared {
            bucket,
            stores: Mutex::default(),
            weather: Mutex::new(Weather::calm()),
            slow_store: Arc::default(),
            attempts: AtomicU32::new(0),
            folder: tempfile::tempdir().expect("a folder"),
            seed,
            began: Instant::now(),
        };
        Self { world: world.clone(), network, checks, job, ends, output, shared: Arc::new(shared) }
    }

    /// From now on it is like this, for all.
    pub(super) fn set_weather(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
        self.network.set_faults(weather.network);
        self.shared.slow_store.store(weather.slow_store, Ordering::Relaxed);
        lock(&self.shared.stores).iter().for_each(|store| store.set_faults(weather.store));
    }

    /// All that is late happens now.
    pub(super) fn settle(&self) {
        self.world.settle();
        self.shared.bucket.settle();
        self.checks.after_deletion();
    }

    /// Number of the next attempt.
    pub(super) fn next_attempt(&self) -> u32 {
        self.shared.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The storage as attempt `attempt` opens it.
    pub(super) fn storage(&self, attempt: u32) -> Result<Storage, Failure> {
        let faults = lock(&self.shared.weather).store;
        let store = self.shared.bucket.store(self.shared.seed.wrapping_mul(1_000_003) + u64::from(attempt), faults);
        lock(&self.shared.stores).push(store.clone());
        let checks = self.checks.clone();
        let slow = Arc::clone(&self.shared.slow_store);
        let store = SimulatedStore::new(&self.world, store, slow, move || checks.after_deletion());
        let connected =
            Connected { store: Arc::new(store), prefix: ObjectPath::default(), folder: None, shown: "sim://".to_owned() };
        // One thread for what blocks: more would finish in any order.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).max_blocking_threads(1).build();
        let runtime = runtime.map_err(|error| Failure::fatal(format!("no runtime: {error}")))?;
        Storage::over(connected, &self.job, Executor::Own(Arc::new(runtime)), format!("{attempt:08x}")).claim()
    }

    /// What the job reads and writes, as a process sees it: the cluster, and the ends of the graph.
    pub(super) fn ends(&self, knobs: &Knobs, process: ProcessId) -> (Box<dyn Cluster>, Plan) {
        let (cluster, mut plan) = (self.cluster(knobs, process), Plan::default());
        plan.topics.push(OUTPUT.to_owned());
        if self.ends == Ends::Kafka {
            return (Box::new(cluster), plan);
        }
        let (world, folder, checks) = (self.world.clone(), self.output.clone(), self.checks.clone());
        plan.topics.push(FILES.to_owned());
        plan.sinks.insert(FILES.to_owned(), Arc::new(FilesSink { world, folder, checks, epoch: AtomicU64::new(0) }));
        if self.ends == Ends::FromFiles {
            plan.sources.insert(INPUT.to_owned(), Arc::new(FilesSource(cluster.clone())));
        }
        (Box::new(MixedCluster::over(&self.job, cluster, &plan)), plan)
    }

    /// The broker as a process sees it.
    pub(super) fn cluster(&self, knobs: &Knobs, process: ProcessId) -> SimulatedCluster {
        SimulatedCluster {
            network: self.network.clone(),
            process: Some(process),
            group: GROUP.to_owned(),
            transaction_timeout: knobs.transaction_timeout,
            patience: knobs.patience,
        }
    }

    /// Whether anything lies under this name.
    pub(super) fn stored(&self, path: &str) -> bool {
        self.shared.bucket.contents().contains_key(path)
    }

    /// A folder of one attempt on the local disk.
    pub(super) fn folder(&self, attempt: u32, name: &str) -> PathBuf {
        self.shared.folder.path().join(format!("{attempt}-{name}"))
    }

    /// The world's time as the engine's clock shows it.
    pub(super) fn instant(&self) -> Instant {
        self.shared.began + self.world.now()
    }

    /// The world's time at `instant`.
    pub(super) fn at(&self, instant: Instant) -> std::time::Duration {
        instant.saturating_duration_since(self.shared.began)
    }
}
