//! `sluicegate run`

use super::{Code, Given, Stop, formats::Connecting, graph, savepoint};
use crate::{
    checkpoint::{Executor, Retention},
    config::{self, Settings},
    engine::{
        Ask, Bounds, ExponentialDelay, FromSavepoint, JobSettings, KafkaCluster, KafkaSettings, LocalCluster, MixedCluster,
        RestartStrategy, Schedule, Supervisor,
        cluster::Cluster,
        plan::{Ends, Plan},
    },
    observe::{Health, Metrics, Server, Status, logging},
    protocol::{CheckpointId, Failure},
    state::{KeyGroups, Settings as StateSettings},
};
use crossbeam_channel::{Sender, unbounded};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

/// What dead attempts left in checkpoint storage stays for so long, for people to look at.
const GRACE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate run --config config/orders.toml --set checkpoint.interval=500ms\n  \
                        sluicegate run --until-caught-up\n  sluicegate run --from 42-0badcafe")]
pub struct Run {
    /// End when everything that the input holds now is committed
    #[arg(long)]
    until_caught_up: bool,
    /// With --until-caught-up: move event time to the end first, so that all windows fire and partial batches are written
    #[arg(long, requires = "until_caught_up")]
    drain: bool,
    /// After the group's offsets were lost: go on from this checkpoint, which must be the last confirmed one
    #[arg(long, value_name = "CHECKPOINT")]
    restore: Option<u64>,
    /// Begin from this savepoint: its name, or where it lies. A job that has begun from it goes on from what it has committed since
    #[arg(long, value_name = "SAVEPOINT", conflicts_with = "restore")]
    from: Option<String>,
    /// With --from: process input again that is committed, and give out its outputs a second time
    #[arg(long, requires = "from")]
    rewind: bool,
    /// With --from: leave out state that no operator of the job has
    #[arg(long, requires = "from")]
    allow_non_restored_state: bool,
    #[command(flatten)]
    pub(super) given: Given,
}

impl Run {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        self.run_graph(|settings, runtime, cancel| graph::of(settings, Connecting::new(settings, runtime, cancel)?.all()?))
    }

    /// Runs the graph that `graph` makes of the settings; it may ask others on the threads of the runtime, until the flag is raised.
    pub(super) fn run_graph(
        &self,
        graph: impl FnOnce(&Settings, &Handle, &AtomicBool) -> Result<Plan, Failure>,
    ) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        logging::init(&settings.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("io")
            .enable_all()
            .build()
            .map_err(|error| Failure::fatal(format!("cannot start the I/O threads: {error}")))?;
        let (metrics, health) = (Metrics::new(), Arc::new(Health::default()));
        let (ask, asked) = unbounded();
        let interrupted = Arc::new(AtomicBool::new(false));
        let stopper = Arc::new(Stopper { ask, health: Arc::clone(&health), interrupted: Arc::clone(&interrupted) });
        let on_stop = Arc::clone(&stopper);
        let _server = match &settings.http.listen {
            Some(listen) => {
                let on_stop = Arc::new(move |drain| on_stop.stop(drain));
                Some(Server::start(listen, Arc::clone(&metrics), Arc::clone(&health), on_stop)?)
            }
            None => None,
        };
        runtime.spawn(async move { on_signals(&stopper).await });
        let from = self.origin(&settings, runtime.handle().clone().into())?;
        let plan = graph(&settings, runtime.handle(), &interrupted)?;
        let mut job = self.job_settings(&settings, from)?;
        let kafka = || KafkaCluster::connect(kafka_settings(&settings, &plan), &plan.kafka_inputs()?, &interrupted);
        let cluster: Arc<dyn Cluster> = match plan.ends()? {
            Ends::Kafka => Arc::new(kafka()?),
            Ends::Both => Arc::new(MixedCluster::new(&job.job, kafka()?, &job.location, &plan)?),
            Ends::Own => Arc::new(LocalCluster::new(&job.job, &job.location, &plan)?),
        };
        // A job whose input ends does so, too.
        let ends = plan.is_bounded();
        job.bounds = Bounds { until_caught_up: self.until_caught_up || ends, drain: self.drain || ends };
        job.discovery = job.discovery.filter(|_| plan.kafka_inputs().is_ok_and(|topics| !topics.is_empty()));
        let supervisor = Supervisor::new(job, cluster, plan, runtime.handle().clone(), metrics, health);
        supervisor.run(&asked)?;
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(Code::Done)
    }

    fn origin(&self, settings: &Settings, executor: Executor) -> Result<Option<FromSavepoint>, Failure> {
        let Some(named) = &self.from else { return Ok(None) };
        let savepoint = savepoint::named(named, settings, &executor)?;
        Ok(Some(FromSavepoint { savepoint, rewind: self.rewind, allow_non_restored_state: self.allow_non_restored_state }))
    }

    fn job_settings(&self, settings: &Settings, from: Option<FromSavepoint>) -> Result<JobSettings, Failure> {
        let memory = usize::try_from(settings.state.memory).unwrap_or(usize::MAX);
        Ok(JobSettings {
            job: settings.job.name.clone(),
            parallelism: settings.job.parallelism.get(),
            groups: KeyGroups::new(settings.job.max_parallelism.get())?,
            group: settings.kafka.group.clone(),
            producers: settings.kafka.producers,
            out_of_orderness: settings.source.max_out_of_orderness,
            idle_timeout: settings.source.idle_timeout,
            discovery: settings.source.partition_discovery_interval,
            schedule: Schedule {
                interval: settings.checkpoint.interval,
                min_pause: settings.checkpoint.min_pause,
                timeout: settings.checkpoint.timeout,
            },
            location: settings.checkpoint.storage.clone(),
            retention: Retention { retained: settings.checkpoint.retained, grace: GRACE },
            state: StateSettings { backend: settings.state.backend, ..StateSettings::new(&settings.state.dir, memory) },
            tolerable_failures: settings.checkpoint.tolerable_failures,
            restart: restart_strategy(settings.restart),
            task_timeout: settings.job.task_timeout,
            bounds: Bounds { until_caught_up: self.until_caught_up, drain: self.drain },
            restore: self.restore.map(CheckpointId),
            from,
        })
    }
}

pub(super) fn restart_strategy(restart: config::Restart) -> RestartStrategy {
    match restart {
        config::Restart::None => RestartStrategy::None,
        config::Restart::FixedDelay { attempts, delay } => RestartStrategy::FixedDelay { attempts, delay },
        config::Restart::ExponentialDelay { initial_delay, max_delay, multiplier, reset_threshold, jitter } => {
            RestartStrategy::ExponentialDelay(ExponentialDelay {
                initial: initial_delay,
                max: max_delay,
                multiplier,
                reset_after: reset_threshold,
                jitter,
            })
        }
        config::Restart::FailureRate { failures, interval, delay } => RestartStrategy::FailureRate { failures, interval, delay },
    }
}

fn kafka_settings(settings: &Settings, plan: &Plan) -> KafkaSettings {
    KafkaSettings {
        connection: settings.kafka.connection.clone(),
        group: settings.kafka.group.clone(),
        start: settings.source.start.clone(),
        transaction_timeout: settings.kafka.transaction_timeout,
        patience: settings.kafka.connect_timeout,
        output_topics: plan.kafka_outputs().map(str::to_owned).collect(),
    }
}

/// The way to ask the job to stop.
struct Stopper {
    ask: Sender<Ask>,
    health: Arc<Health>,
    interrupted: Arc<AtomicBool>,
}

impl Stopper {
    fn stop(&self, drain: bool) {
        tracing::info!(drain, "asked to stop: a last checkpoint is taken and committed");
        self.health.set(Status::Stopping);
        self.interrupted.store(true, Ordering::Release);
        let _ = self.ask.send(Ask::Stop { drain });
    }
}

/// The first signal asks for a last checkpoint; whoever sends another one is in a hurry: recovery will cope.
async fn on_signals(stopper: &Stopper) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot listen to signals: the job can only be killed (which it survives)");
        return;
    };
    for received in 0_u32.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if received > 0 {
            tracing::warn!("second signal: leaving at once; what Kafka says is committed stands");
            std::process::exit(1);
        }
        stopper.stop(false);
    }
}
