//! Runs attempts until the job is finished: each one recovers from what Kafka says is committed.

use super::{
    attempt::{Attempt, Discovery},
    cluster::Cluster,
    context::RestoredVertex,
    coordinator::{Ask, Bounds, Ending, Schedule},
    event::PartitionState,
    evolution,
    manifest::Blueprint,
    plan::{Plan, VertexKind},
    recovery::{Base, FromSavepoint, Identity, Recovered, partitions_of, recover, second_look},
    restart::{Next, Patience, RestartStrategy},
    restoring::Restoring,
    source::SourceInput,
    stop::Stop,
};
use crate::checkpoint::{Collector, Location, Manifest, Retention, Started, Storage, Uploaded};
use crate::failpoint;
use crate::observe::{Health, Metrics, Status};
use crate::protocol::{
    CheckpointId, Coordinator, Failure, FailureKind, JobName, Plan as CorePlan, Positions, TopicPartition, transactional_ids,
};
use crate::state::{Budget, KeyGroups, Settings as StateSettings, Store, Unclaimed, Workspace};
use crossbeam_channel::Receiver;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Everything that a job is run with.
#[derive(Clone)]
pub struct JobSettings {
    /// Identity of the job.
    pub job: JobName,
    /// Tasks per stage.
    pub parallelism: usize,
    /// Key groups.
    pub groups: KeyGroups,
    /// Consumer group of the offsets; the transactional ids are made from it.
    pub group: String,
    /// Producers taken in turn.
    pub producers: usize,
    /// Records may be that much out of order.
    pub out_of_orderness: Duration,
    /// A partition with nothing to read for so long does not hold event time back.
    pub idle_timeout: Option<Duration>,
    /// From one look for new partitions to the next.
    pub discovery: Option<Duration>,
    /// When checkpoints are taken.
    pub schedule: Schedule,
    /// Where they go.
    pub location: Location,
    /// Which are kept.
    pub retention: Retention,
    /// Local state: directory and memory.
    pub state: StateSettings,
    /// Failed checkpoints in a row that do not use up a restart.
    pub tolerable_failures: u32,
    /// What follows a failure.
    pub restart: RestartStrategy,
    /// A task that is at the same thing for so long has stalled.
    pub task_timeout: Option<Duration>,
    /// When the job ends by itself.
    pub bounds: Bounds,
    /// The operator's choice after offsets were lost.
    pub restore: Option<CheckpointId>,
    /// The savepoint to begin from.
    pub from: Option<FromSavepoint>,
}

/// Runs one job in this process.
pub struct Supervisor {
    settings: JobSettings,
    cluster: Arc<dyn Cluster>,
    plan: Plan,
    runtime: tokio::runtime::Handle,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// When the last attempt ended: the clock of "time to recover".
    down_since: Instant,
    /// The last attempt, as the checkpoint storage knows it.
    last: Option<String>,
}

impl Supervisor {
    /// A supervisor for `plan`.
    pub fn new(
        settings: JobSettings,
        cluster: Arc<dyn Cluster>,
        plan: Plan,
        runtime: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Self {
        Self { settings, cluster, plan, runtime, metrics, health, down_since: Instant::now(), last: None }
    }

    /// Runs attempts until the job is finished, asked to stop, or must not go on.
    pub fn run(mut self, asked: &Receiver<Ask>) -> Result<(), Failure> {
        let patience = Arc::new(Mutex::new(Patience::new(self.settings.restart, self.settings.tolerable_failures)));
        loop {
            self.health.set(Status::Recovering);
            let (failure, checkpoint, asked_to_stop) = match self.attempt(asked, &patience) {
                Ok(Ending::Finished) => return Ok(()),
                Ok(Ending::Failed { failure, checkpoint, asked_to_stop }) => (failure, checkpoint, asked_to_stop),
                Err(failure) => (failure, None, false),
            };
            let failure = self.named(failure);
            self.down_since = Instant::now();
            self.metrics.attempts.failures(kind_name(failure.kind)).inc();
            if checkpoint.is_some() {
                self.metrics.checkpoints.failed();
            }
            let next = patience.lock().unwrap_or_else(PoisonError::into_inner).after(&failure, checkpoint.is_some());
            let Some(Next { delay, used, allowed }) = next else {
                self.health.set(Status::Failed { reason: failure.message.clone() });
                return Err(failure);
            };
            if asked_to_stop {
                // Nothing is running: what Kafka says is committed stands.
                tracing::warn!(%failure, "the attempt failed while it was ending: the next start goes on from the last checkpoint");
                return Ok(());
            }
            tracing::warn!(%failure, restart = used, allowed, ?delay, "the attempt failed; everything of it is dropped, the next one recovers");
            self.metrics.attempts.restarts.inc();
            self.health.set(Status::Waiting { reason: failure.message });
            if let Ok(Ask::Stop { .. }) = asked.recv_timeout(delay) {
                // Nothing is running: what Kafka says is committed stands.
                return Ok(());
            }
        }
    }

    /// Says of a fenced attempt who took over. Whoever does has written so into the storage before; if nobody has, this looks like fencing
    /// only: a transaction that the broker gave up, because it was away for long, does.
    fn named(&self, failure: Failure) -> Failure {
        if failure.kind != FailureKind::Fenced {
            return failure;
        }
        match self.last_started() {
            None => failure,
            Some(started) if self.last.as_ref() == Some(&started.attempt) => Failure::attempt(format!(
                "a transaction was fenced, though no other instance has started since this one; it is taken for one that the broker \
                 gave up ({})",
                failure.message
            )),
            Some(other) => Failure::fenced(format!(
                "another instance of job {} took over: process {} on {}, started {}. This one ends; run one instance only ({})",
                self.settings.job, other.pid, other.host, other.at, failure.message
            )),
        }
    }

    /// None as well if the storage cannot tell.
    fn last_started(&self) -> Option<Started> {
        let storage = Storage::inspect(&self.settings.location, &self.settings.job, self.runtime.clone());
        storage.and_then(|storage| storage.last_started()).ok().flatten()
    }

    fn attempt(&mut self, asked: &Receiver<Ask>, patience: &Arc<Mutex<Patience>>) -> Result<Ending, Failure> {
        let settings = &self.settings;
        let stop = Stop::new();
        // An attempt that fails, for whatever reason, after another instance took over must not take the job back.
        if let Some(last) = &self.last
            && self.last_started().is_some_and(|started| started.attempt != *last)
        {
            self.cluster.still_ours(&stop)?;
        }
        let storage = Storage::open(&settings.location, &settings.job, self.runtime.clone())?;
        self.last = Some(storage.attempt().to_owned());
        let workspace = Workspace::create(&settings.state.dir, &settings.job)?;
        self.metrics.state.lies_in(workspace.dir());
        let ids = transactional_ids(&settings.group, settings.producers);

        let identity = Identity {
            job: &settings.job,
            group: &settings.group,
            ids: &ids,
            plan: &self.plan,
            max_parallelism: settings.groups.count(),
            restore: settings.restore,
            from: settings.from.as_ref(),
        };
        let Recovered { base, next, positions, mut transactions, carrier, epoch } =
            recover(&*self.cluster, &storage, identity, &stop)?;
        let (store, uploaded, restored_states) =
            self.restore(&storage, workspace, &base).map_err(|refused| second_look(refused, &mut *transactions))?;
        tracing::info!(
            checkpoint = base.committed().map(|manifest| manifest.checkpoint.0),
            took = ?self.down_since.elapsed(),
            partitions = positions.len(),
            "recovered"
        );

        let sources = self.sources(&positions, &base, next)?;
        let restored = base.manifest().map(|manifest| self.restored_vertices(manifest)).unwrap_or_default();
        let job = settings.job.clone();
        let discovery = self.discovery(&positions);
        let (base_ref, origin) = (base.committed(), base.origin());
        let (plan, group) = (evolution::continuing(&self.plan, base.manifest())?, settings.group.clone());
        let (parallelism, groups) = (settings.parallelism, settings.groups.count());
        let progress = Arc::clone(patience);
        let down_since = self.down_since;
        let metrics = Arc::clone(&self.metrics);
        let first_commit = std::sync::Once::new();
        let commits = AtomicU32::new(0);
        let attempt = Attempt {
            plan: self.plan.clone(),
            parallelism,
            groups: settings.groups,
            sources,
            restored,
            store,
            budget: Budget::of(&settings.state),
            restored_states,
            transactions,
            carrier: carrier.clone(),
            storage: storage.clone(),
            uploaded,
            collector: Collector::new(storage, settings.retention),
            core: {
                let positions = positions.clone();
                Box::new(move |tasks| Coordinator::new(CorePlan { job, tasks, next, base: base_ref, positions }))
            },
            blueprint: {
                let job = settings.job.clone();
                let mut began = positions.clone();
                began.extend(base.manifest().into_iter().flat_map(Manifest::began));
                let positions = (positions, began);
                Box::new(move |vertices| {
                    let mut blueprint = Blueprint::new(job, group, (parallelism, groups), ids, plan, vertices, positions);
                    blueprint.from = origin;
                    (blueprint.carrier, blueprint.epoch) = (carrier, epoch);
                    blueprint
                })
            },
            schedule: settings.schedule,
            bounds: settings.bounds,
            discovery,
            task_timeout: settings.task_timeout,
            metrics: Arc::clone(&self.metrics),
            committed: Arc::new(move |_| {
                // The first one is taken at once and covers next to nothing: an attempt that gets no further has made no progress.
                if commits.fetch_add(1, Ordering::Relaxed) > 0 {
                    progress.lock().unwrap_or_else(PoisonError::into_inner).committed();
                }
                first_commit.call_once(|| metrics.attempts.recovery.observe(down_since.elapsed().as_secs_f64()));
            }),
            stop,
        };
        self.health.set(Status::Running);
        Ok(attempt.run(asked))
    }

    fn restore(
        &self,
        storage: &Storage,
        workspace: Workspace,
        base: &Base,
    ) -> Result<(Arc<Store>, Uploaded, BTreeSet<String>), Failure> {
        let settings = &self.settings;
        let Some(manifest) = base.manifest().filter(|manifest| !manifest.files.is_empty()) else {
            return Ok((Store::create(workspace, &self.plan.states, &settings.state)?, Uploaded::nothing(), BTreeSet::new()));
        };
        // What comes from a savepoint belongs to it: the first checkpoint uploads everything.
        let (holder, uploaded) = match base {
            Base::Savepoint(savepoint, _) => (&savepoint.storage, Uploaded::nothing()),
            Base::Nothing | Base::Committed(..) => (storage, Uploaded::restored(manifest)),
        };
        let said = Restoring::begin();
        let within = settings.schedule.timeout;
        let report = holder.restore(manifest, &workspace.db_dir(), within, &|progress| said.tell(progress))?;
        failpoint::hit("during-restore")?;
        tracing::debug!(files = report.files, linked = report.linked, bytes = report.bytes, took = ?report.took, "state restored");
        let restored = manifest.state_names().collect();
        let dropped =
            matches!(base, Base::Savepoint(..)) && settings.from.as_ref().is_some_and(|from| from.allow_non_restored_state);
        let unclaimed = if dropped { Unclaimed::Drop } else { Unclaimed::Refuse };
        let store = Store::open_restored(workspace, &self.plan.states, &settings.state, unclaimed)?;
        store.try_values(settings.groups)?;
        Ok((store, uploaded, restored))
    }

    fn sources(
        &self,
        positions: &Positions,
        base: &Base,
        first_checkpoint: CheckpointId,
    ) -> Result<BTreeMap<usize, Vec<SourceInput>>, Failure> {
        let settings = &self.settings;
        let partitions: Vec<TopicPartition> = positions.keys().cloned().collect();
        let targets: Positions =
            self.cluster.log_bounds(&partitions)?.into_iter().map(|(partition, (_, high))| (partition, high)).collect();
        let seen: BTreeMap<(&str, i32), Option<i64>> = base
            .manifest()
            .into_iter()
            .flat_map(|manifest| &manifest.input)
            .map(|input| ((input.topic.as_str(), input.partition), input.timestamp_seen))
            .collect();
        let mut sources = BTreeMap::new();
        for (index, vertex) in self.plan.vertices.iter().enumerate() {
            let VertexKind::Source { topic } = &vertex.kind else { continue };
            let mut inputs = Vec::new();
            for share in &shares(positions, topic, settings.parallelism) {
                let begin = share.iter().map(|(partition, offset)| PartitionState {
                    partition: partition.clone(),
                    offset: *offset,
                    max_timestamp: seen.get(&(topic.as_str(), partition.partition)).copied().flatten(),
                    idle: false,
                });
                inputs.push(SourceInput {
                    topic: topic.clone(),
                    partitions: begin.collect(),
                    reader: self.cluster.reader(share)?,
                    targets: targets.clone(),
                    out_of_orderness: settings.out_of_orderness,
                    idle_timeout: settings.idle_timeout,
                    first_checkpoint,
                    barrier_first: base.committed().is_none(),
                    ends: settings.bounds.until_caught_up,
                });
            }
            sources.insert(index, inputs);
        }
        Ok(sources)
    }

    fn restored_vertices(&self, manifest: &Manifest) -> BTreeMap<usize, RestoredVertex> {
        let vertices = self.plan.vertices.iter().enumerate();
        vertices.map(|(index, vertex)| (index, RestoredVertex::of(manifest, &vertex.operators))).collect()
    }

    fn discovery(&self, known: &Positions) -> Option<Discovery> {
        let interval = self.settings.discovery?;
        let cluster = Arc::clone(&self.cluster);
        let plan = self.plan.clone();
        let mut known: BTreeSet<TopicPartition> = known.keys().cloned().collect();
        let look = move || {
            // What is not Kafka has the partitions that it began with.
            let now = partitions_of(&*cluster, &plan.kafka_inputs()?)?;
            let new: Vec<TopicPartition> = now.into_iter().filter(|partition| !known.contains(partition)).collect();
            if new.is_empty() {
                return Ok(Positions::new());
            }
            let positions = cluster.start_positions(&new, true)?;
            known.extend(new);
            Ok(positions)
        };
        Some(Discovery { interval, look: Box::new(look) })
    }
}

/// The partitions of `topic`, divided among its source tasks: `parallelism` of them, but none without a partition.
fn shares(positions: &Positions, topic: &str, parallelism: usize) -> Vec<Positions> {
    let of_topic = || positions.iter().filter(|(partition, _)| &*partition.topic == topic);
    let tasks = parallelism.min(of_topic().count().max(1));
    let mut shares = vec![Positions::new(); tasks];
    for (partition, offset) in of_topic() {
        let index = usize::try_from(partition.partition).unwrap_or(0) % tasks;
        if let Some(share) = shares.get_mut(index) {
            share.insert(partition.clone(), *offset);
        }
    }
    shares
}

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "transient",
        FailureKind::Attempt => "attempt",
        FailureKind::Fenced => "fenced",
        FailureKind::Refused => "refused",
        FailureKind::Fatal => "fatal",
    }
}
