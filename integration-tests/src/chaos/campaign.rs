//! How a campaign goes.

use super::{Kind, Report, checker::Checker, fault::Fault};
use crate::{
    Context, Result, bail,
    broker::{Broker, Options},
    deadline::{wait_for, wait_until},
    ensure,
    job::{Job, Load},
    process::Process,
    progress::Progress,
    proxy::{Api, Network},
    service::Service,
};
use rand::SeedableRng;
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Short, so that a freeze can outlast it. A broker that is away for longer than it lets an attempt fail.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(12);
/// What takes longer is not slow, it is stuck.
const RECOVERY: Duration = Duration::from_secs(120);
/// For a process that must end.
const END: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For how long faults come.
    pub lasts: Duration,
    /// So many come however long that takes.
    pub faults: usize,
    /// Decides load and faults.
    pub seed: u64,
    /// Events per second.
    pub rate: u64,
    /// Bad records in a thousand.
    pub dirty: u32,
    /// Which faults.
    pub kinds: Vec<Kind>,
    /// As `checkpoint.interval`.
    pub interval: String,
    /// A program that runs [`super::read`] when it is called as the program of `make chaos` is with `--read`.
    pub reader: PathBuf,
}

/// A running campaign.
pub struct Campaign<'a> {
    plan: &'a Plan,
    generator: Process,
    service: Service,
    checker: Option<Checker>,
    progress: Progress,
    /// Instances that were started, so that each has a folder of its own for its state.
    instances: u32,
    report: Report,
    job: &'a Job,
    broker: &'a mut Broker,
}

impl<'a> Campaign<'a> {
    /// Runs it on a broker of its own and gives the report; an error if the job ended by itself or got stuck. Each fault is told to
    /// `tell` when it is over.
    pub fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Report> {
        let options = Options { proxied: true, heap: "1g".into(), ..Options::own() };
        let mut broker = Broker::start(&options).context("no Kafka")?;
        tell(&broker.describe());
        let mut job = Job::new(broker.bootstrap())?;
        job.set("checkpoint.interval", &plan.interval).set("checkpoint.timeout", "9s").set("state.memory", "128MiB");
        job.set("kafka.transaction_timeout", format!("{}s", TRANSACTION_TIMEOUT.as_secs())).set("kafka.connect_timeout", "30s");
        job.set("restart.attempts", 1000).set("restart.delay", "100ms");
        let result = Campaign::start(plan, &mut broker, &job).and_then(|mut campaign| {
            campaign.faults(&mut tell)?;
            campaign.finish()
        });
        match &result {
            Ok(report) if report.is_clean() => {}
            _ => tell(&format!("logs, state and checkpoints are kept in {}", job.keep().display())),
        }
        result
    }

    fn start(plan: &'a Plan, broker: &'a mut Broker, job: &'a Job) -> Result<Self> {
        job.create_topics()?;
        let checker = Some(Checker::start(job, &plan.reader)?);
        // More than is needed: it is ended when the faults are over.
        let events = plan.rate * (plan.lasts.as_secs() * 2 + 600);
        let load = Load { seed: plan.seed, dirty: plan.dirty, ..Load::of(events).at(plan.rate) };
        let generator = job.start_generating(load)?;
        let mut service = job.start()?;
        service.wait_ready()?;
        let progress = Progress::of(job)?;
        let report = Report { seed: plan.seed, ..Report::default() };
        Ok(Self { plan, generator, service, checker, progress, instances: 1, report, job, broker })
    }

    fn faults(&mut self, tell: &mut impl FnMut(&str)) -> Result<()> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(self.plan.seed);
        let mut bag = Vec::new();
        let began = Instant::now();
        self.await_commit(0)?;
        let mut come = 0;
        while began.elapsed() < self.plan.lasts || come < self.plan.faults {
            come += 1;
            let fault = Fault::draw(&mut random, &mut bag, &self.plan.kinds, TRANSACTION_TIMEOUT);
            thread::sleep(fault.calm);
            self.must_live()?;
            let before = self.committed();
            let over = self.inject(&fault).with_context(|| format!("fault {fault}"))?;
            let recovery = self.await_recovery(over).with_context(|| format!("after fault {fault}"))?;
            self.await_commit(before).with_context(|| format!("after fault {fault}"))?;
            self.report.recoveries.entry(fault.kind).or_default().push(recovery);
            let wrong = self.checker.as_ref().map_or(0, Checker::wrong);
            tell(&format!("{:>6.1?} {fault}: the next commit came {recovery:.2?} after it", began.elapsed()));
            ensure!(wrong == 0, "the reader beside it has seen {wrong} records out of step after {fault}");
        }
        self.report.lasted = began.elapsed();
        Ok(())
    }

    /// Does it, and says when it was over.
    fn inject(&mut self, fault: &Fault) -> Result<SystemTime> {
        match fault.kind {
            Kind::Kill => {
                self.service.kill()?;
                let killed = SystemTime::now();
                self.service = self.job.start()?;
                Ok(killed)
            }
            Kind::KillInRecovery => {
                self.service.kill()?;
                self.service = self.job.start()?;
                thread::sleep(fault.lasts);
                self.service.kill()?;
                let killed = SystemTime::now();
                self.service = self.job.start()?;
                Ok(killed)
            }
            Kind::KillAtPoint => {
                self.service.kill()?;
                self.service = self.job.start_failing(&format!("{}=kill@2", fault.point))?;
                self.service.wait_killed(RECOVERY)?;
                let killed = SystemTime::now();
                self.service = self.job.start()?;
                Ok(killed)
            }
            Kind::Freeze | Kind::LongFreeze => {
                self.service.pause()?;
                thread::sleep(fault.lasts);
                self.service.resume()?;
                Ok(SystemTime::now())
            }
            Kind::Successor => {
                let began = SystemTime::now();
                let older = self.take_over()?;
                Self::must_be_fenced(older, |_| Ok(()))?;
                Ok(began)
            }
            Kind::Zombie => {
                self.service.pause()?;
                let zombie = self.take_over()?;
                let began = SystemTime::now();
                let before = self.committed();
                self.await_commit(before)?;
                Self::must_be_fenced(zombie, Service::resume)?;
                Ok(began)
            }
            Kind::Stop => {
                let exit = self.service.finish()?;
                ensure!(exit.code() == Some(0), "SIGTERM ended the job with {}; {}", exit.status, self.service.last_lines(40));
                let ended = SystemTime::now();
                self.service = self.job.start()?;
                Ok(ended)
            }
            Kind::BrokerKill => {
                self.broker.kill(1)?;
                thread::sleep(fault.lasts);
                self.broker.restart(1)?;
                Ok(SystemTime::now())
            }
            Kind::BrokerFreeze => {
                self.broker.pause(1)?;
                thread::sleep(fault.lasts);
                self.broker.resume(1)?;
                Ok(SystemTime::now())
            }
            Kind::Refuse => self.network(Network::Refuses, fault.lasts),
            Kind::HoldRequests => self.network(Network::HoldsRequests, fault.lasts),
            Kind::HoldReplies => self.network(Network::HoldsReplies, fault.lasts),
            Kind::Delay => self.network(Network::Delays(Duration::from_millis(500)), fault.lasts),
            Kind::Cut => {
                self.broker.network(1)?.cut();
                Ok(SystemTime::now())
            }
            Kind::LoseCommit => self.lose(Api::EndTxn),
            Kind::LoseOffsets => self.lose(Api::TxnOffsetCommit),
            Kind::LoseProduce => self.lose(Api::Produce),
        }
    }

    fn network(&mut self, network: Network, lasts: Duration) -> Result<SystemTime> {
        self.broker.network(1)?.set(network);
        thread::sleep(lasts);
        self.broker.network(1)?.set(Network::Works);
        Ok(SystemTime::now())
    }

    fn lose(&mut self, api: Api) -> Result<SystemTime> {
        let proxy = self.broker.network(1)?;
        let before = proxy.lost();
        proxy.lose_reply_to(api);
        wait_until(format!("a request {api:?}"), RECOVERY, || Ok(proxy.lost() > before))?;
        Ok(SystemTime::now())
    }

    /// A second instance takes the place of the first, which is given back.
    fn take_over(&mut self) -> Result<Service> {
        self.instances += 1;
        let state = self.job.folder().join(format!("state-{}", self.instances));
        let younger = self.job.start_with(["run", "--set", &format!("state.dir={}", state.display())], &[])?;
        Ok(std::mem::replace(&mut self.service, younger))
    }

    /// Wakes an older instance, which must then end by itself with 3.
    fn must_be_fenced(mut older: Service, wake: impl FnOnce(&mut Service) -> Result<()>) -> Result<()> {
        wake(&mut older)?;
        let exit = older.wait(END)?;
        ensure!(exit.code() == Some(3), "the older instance ended with {} instead of 3; {}", exit.status, older.last_lines(40));
        Ok(())
    }

    /// 0 before the first commit, and while the broker does not answer.
    fn committed(&self) -> u64 {
        self.progress.committed().ok().flatten().unwrap_or(0)
    }

    /// From `over` to the first commit after it, by the job's own clock, which is this machine's. (To ask the broker would measure how
    /// soon the asking client finds the broker again.)
    fn await_recovery(&mut self, over: SystemTime) -> Result<Duration> {
        wait_for("the next commit", RECOVERY, || {
            self.must_live()?;
            // There is no answer while the process starts.
            let last =
                self.service.metrics().map(|metrics| metrics.sum("sluicegate_checkpoint_last_commit_timestamp_seconds", &[]));
            Ok((UNIX_EPOCH + Duration::from_secs_f64(last.unwrap_or_default())).duration_since(over).ok())
        })
        .with_context(|| self.service.last_lines(60))
    }

    /// Until the broker says that more is committed than `before`.
    fn await_commit(&mut self, before: u64) -> Result<()> {
        wait_until("the next commit", RECOVERY, || {
            self.must_live()?;
            Ok(self.committed() > before)
        })
        .with_context(|| self.service.last_lines(60))
    }

    /// The job and the load must not end by themselves.
    fn must_live(&mut self) -> Result<()> {
        if let Some(exit) = self.service.try_exit()? {
            bail!("the job ended by itself with {}; {}", exit.status, self.service.last_lines(60));
        }
        if let Some(exit) = self.generator.try_exit()? {
            bail!("generate ended with {}; {}", exit.status, self.generator.last_lines(20));
        }
        Ok(())
    }

    /// Lets the job work off what is left, and audits.
    fn finish(mut self) -> Result<Report> {
        self.generator.terminate(END)?;
        let exit = self.service.finish()?;
        ensure!(exit.code() == Some(0), "SIGTERM ended the job with {}; {}", exit.status, self.service.last_lines(40));
        let within = END + self.plan.lasts;
        self.job.catch_up_within(within)?;
        if let Some(checker) = self.checker.take() {
            self.report.checked = checker.finish()?;
        }
        let (_, audit) = self.job.audit_any(within)?;
        self.report.records = audit.number("/records_in")?;
        let sum = |names: &[&str]| -> Result<u64> {
            let mut sum = 0;
            for output in 0..7 {
                for name in names {
                    sum += audit.number(&format!("/outputs/{output}/{name}"))?;
                }
            }
            Ok(sum)
        };
        self.report.lost = sum(&["missing"])?;
        self.report.doubled = sum(&["extra", "wrong"])?;
        Ok(self.report)
    }
}
