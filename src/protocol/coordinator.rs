//! The checkpoints of one attempt.
//!
//! ```text
//! TriggerDue ─► InjectBarrier ─► all tasks acknowledged ┐
//!                                output flushed         ├─► WriteManifest ─► durable ─► Commit(permit) ─► committed ─► Confirm
//!                                state uploaded         ┘
//! ```
//!
//! One checkpoint at a time, from trigger to confirmation. Whatever goes wrong before the commit ends the attempt: the
//! transaction holds output that must never be seen, and that no later checkpoint could give out instead. Whatever a commit
//! returns but OK ends it as well: the outcome is unknown, and only Kafka can tell. Once committed, nothing can go wrong any
//! more: marker and garbage collection are best effort.
//!
//! Events of another checkpoint than the one that is being made, repeated ones, and any after the attempt's end change nothing.
//! Two kinds mean that the engine is wired wrong, and end the attempt: a task number that does not exist, and a partition
//! that two tasks own.

use super::{
    CheckpointId, Command, CommitOutcome, CommitPermit, Event, Failure, JobName, ManifestRef, Positions, Trigger,
    invariants::{self, Violation},
    mutant::{self, Mutant},
};
use std::collections::BTreeSet;

/// What an attempt begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The job.
    pub job: JobName,
    /// Number of tasks that acknowledge each barrier, the sink not counted.
    pub tasks: usize,
    /// Number of the first checkpoint: [`super::recovery::next_checkpoint`].
    pub next: CheckpointId,
    /// The committed checkpoint that was restored; none at a first start.
    pub base: Option<ManifestRef>,
    /// Where reading begins: the restored positions, and resolved start offsets of partitions that they do not hold.
    pub positions: Positions,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Idle,
    Preparing { acknowledged: BTreeSet<usize>, positions: Positions, flushed: bool, uploaded: bool },
    Publishing { positions: Positions },
    Committing { manifest: ManifestRef, positions: Positions },
    Confirming { manifest: ManifestRef },
    Ended,
}

/// The state machine of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinator {
    job: JobName,
    tasks: usize,
    base: Option<ManifestRef>,
    /// What the checkpoint that is being made goes on from: what is committed, and partitions that were added since.
    positions: Positions,
    /// Partitions that were added behind the current barrier.
    added: Positions,
    phase: Phase,
    /// The checkpoint that is being made; when idle, the next one.
    current: CheckpointId,
    trigger: Trigger,
    savepoint_waits: bool,
    final_waits: bool,
}

impl Coordinator {
    /// The state machine of an attempt that has just recovered. The first trigger is due at once.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            job: plan.job,
            tasks: plan.tasks,
            base: plan.base,
            positions: plan.positions,
            added: Positions::new(),
            phase: Phase::Idle,
            current: plan.next,
            trigger: Trigger::Interval,
            savepoint_waits: false,
            final_waits: false,
        }
    }

    /// The last checkpoint that Kafka confirmed: what the next manifest builds on.
    #[must_use]
    pub fn base(&self) -> Option<ManifestRef> {
        self.base
    }

    /// The checkpoint that is being made, from trigger to confirmation.
    #[must_use]
    pub fn in_progress(&self) -> Option<CheckpointId> {
        (!matches!(self.phase, Phase::Idle | Phase::Ended)).then_some(self.current)
    }

    /// Takes one event and says what is to be done, in this order.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::TriggerDue { trigger } => self.trigger(trigger),
            Event::PartitionsAdded { positions } => {
                self.added.extend(positions);
                Vec::new()
            }
            Event::TaskAcknowledged { checkpoint, task, positions } if checkpoint == self.current => {
                self.acknowledge(task, positions)
            }
            Event::OutputFlushed { checkpoint } if checkpoint == self.current => {
                if let Phase::Preparing { flushed, .. } = &mut self.phase {
                    *flushed = true;
                }
                self.publish_if_prepared()
            }
            Event::StateUploaded { checkpoint } if checkpoint == self.current => {
                if let Phase::Preparing { uploaded, .. } = &mut self.phase {
                    *uploaded = true;
                }
                self.publish_if_prepared()
            }
            Event::ManifestDurable { manifest } if manifest.checkpoint == self.current => self.commit(manifest),
            Event::PrepareFailed { checkpoint, failure } if checkpoint == self.current => match self.phase {
                Phase::Preparing { .. } | Phase::Publishing { .. } => {
                    self.end(failure.context(format_args!("checkpoint {checkpoint} could not be prepared")))
                }
                _ => Vec::new(),
            },
            Event::Committed { checkpoint } if checkpoint == self.current => self.committed(),
            Event::CommitFailed { checkpoint, outcome, message } if checkpoint == self.current => {
                self.commit_failed(outcome, &message)
            }
            Event::Confirmed { checkpoint } if checkpoint == self.current => self.confirmed(),
            Event::TimedOut { checkpoint } if checkpoint == self.current => self.timed_out(),
            _ => Vec::new(),
        }
    }

    fn trigger(&mut self, trigger: Trigger) -> Vec<Command> {
        match self.phase {
            Phase::Ended => Vec::new(),
            Phase::Idle => self.begin(trigger),
            _ => {
                // A waiting savepoint comes before a waiting end, and none comes behind the end.
                self.savepoint_waits |= trigger == Trigger::Savepoint && self.trigger != Trigger::Final;
                self.final_waits |= trigger == Trigger::Final && self.trigger != Trigger::Final;
                Vec::new()
            }
        }
    }

    fn begin(&mut self, trigger: Trigger) -> Vec<Command> {
        self.trigger = trigger;
        if self.base.is_none() {
            // Where reading begins has to be committed before anything is read: what was asked for comes after it.
            self.trigger = Trigger::Start;
            self.savepoint_waits |= trigger == Trigger::Savepoint;
            self.final_waits |= trigger == Trigger::Final;
        }
        for (partition, offset) in std::mem::take(&mut self.added) {
            self.positions.entry(partition).or_insert(offset);
        }
        let (acknowledged, positions) = (BTreeSet::new(), Positions::new());
        self.phase = Phase::Preparing { acknowledged, positions, flushed: false, uploaded: false };
        vec![Command::InjectBarrier { checkpoint: self.current, trigger: self.trigger }]
    }

    fn acknowledge(&mut self, task: usize, own: Positions) -> Vec<Command> {
        if task >= self.tasks && self.phase != Phase::Ended {
            return self.end(Failure::fatal(format!(
                "task {task} acknowledged checkpoint {}, but the attempt has tasks 0 to {} only",
                self.current,
                self.tasks.saturating_sub(1)
            )));
        }
        let Phase::Preparing { acknowledged, positions, .. } = &mut self.phase else { return Vec::new() };
        if !acknowledged.insert(task) {
            return Vec::new();
        }
        if let Some(partition) = own.keys().find(|partition| positions.contains_key(*partition)) {
            let failure = Failure::attempt(format!("partition {partition} is read by two tasks, {task} is one of them"));
            return self.end(failure);
        }
        positions.extend(own);
        self.publish_if_prepared()
    }

    fn publish_if_prepared(&mut self) -> Vec<Command> {
        let Phase::Preparing { acknowledged, positions, flushed, uploaded } = &mut self.phase else { return Vec::new() };
        let enough = if mutant::on(Mutant::OneAcknowledgementIsEnough) { 1 } else { self.tasks };
        let prepared = acknowledged.len() >= enough
            && (*flushed || mutant::on(Mutant::FlushNotAwaited))
            && (*uploaded || mutant::on(Mutant::UploadNotAwaited));
        if !prepared {
            return Vec::new();
        }
        let positions = std::mem::take(positions);
        if let Err(violation) = self.check(&positions) {
            return self.end(Failure::attempt(format!("checkpoint {} is not complete: {violation}", self.current)));
        }
        self.phase = Phase::Publishing { positions: positions.clone() };
        let write = Command::WriteManifest { checkpoint: self.current, positions };
        #[cfg(test)]
        if mutant::on(Mutant::CommitBeforeDurable) {
            let hash = super::ManifestHash([0; 32]);
            return std::iter::once(write).chain(self.commit(ManifestRef { checkpoint: self.current, hash })).collect();
        }
        vec![write]
    }

    fn check(&self, positions: &Positions) -> Result<(), Violation> {
        if mutant::on(Mutant::OneAcknowledgementIsEnough) {
            return Ok(());
        }
        invariants::positions_go_on(&self.positions, positions)?;
        if self.trigger == Trigger::Start && *positions != self.positions {
            return Err(Violation::new("a source has read records before the barrier of the first checkpoint of all"));
        }
        Ok(())
    }

    fn commit(&mut self, manifest: ManifestRef) -> Vec<Command> {
        let Phase::Publishing { positions } = &mut self.phase else { return Vec::new() };
        let positions = std::mem::take(positions);
        match CommitPermit::issue(&self.job, manifest, positions.clone(), &self.positions) {
            Ok(permit) => {
                self.phase = Phase::Committing { manifest, positions };
                let mut commands = vec![Command::Commit(permit)];
                if mutant::on(Mutant::DeleteBeforeConfirm) {
                    commands.insert(0, Command::Confirm { manifest });
                }
                commands
            }
            Err(violation) => self.end(Failure::attempt(format!("checkpoint {} is not complete: {violation}", self.current))),
        }
    }

    fn committed(&mut self) -> Vec<Command> {
        let Phase::Committing { manifest, positions } = &mut self.phase else { return Vec::new() };
        let manifest = *manifest;
        self.positions = std::mem::take(positions);
        self.base = Some(manifest);
        self.phase = Phase::Confirming { manifest };
        vec![Command::Confirm { manifest }]
    }

    fn commit_failed(&mut self, outcome: CommitOutcome, message: &str) -> Vec<Command> {
        if !matches!(self.phase, Phase::Committing { .. }) {
            return Vec::new();
        }
        if outcome == CommitOutcome::Unknown && mutant::on(Mutant::ResumeAfterUnknownOutcome) {
            self.phase = Phase::Idle;
            self.current = self.current.next();
            return Vec::new();
        }
        let checkpoint = self.current;
        self.end(match outcome {
            CommitOutcome::Unknown => {
                Failure::attempt(format!("the outcome of the commit of checkpoint {checkpoint} is unknown: {message}"))
            }
            CommitOutcome::Fenced => {
                Failure::fenced(format!("another instance took over while checkpoint {checkpoint} was committed: {message}"))
            }
        })
    }

    fn confirmed(&mut self) -> Vec<Command> {
        if !matches!(self.phase, Phase::Confirming { .. }) {
            return Vec::new();
        }
        if self.trigger == Trigger::Final {
            self.phase = Phase::Ended;
            return vec![Command::Finished];
        }
        self.phase = Phase::Idle;
        self.current = self.current.next();
        if std::mem::take(&mut self.savepoint_waits) {
            self.begin(Trigger::Savepoint)
        } else if std::mem::take(&mut self.final_waits) {
            self.begin(Trigger::Final)
        } else {
            Vec::new()
        }
    }

    fn timed_out(&mut self) -> Vec<Command> {
        match self.phase {
            Phase::Idle | Phase::Ended => Vec::new(),
            // The commit stands; clearing away that takes too long must not cost more than itself.
            Phase::Confirming { .. } => self.confirmed(),
            Phase::Preparing { .. } | Phase::Publishing { .. } | Phase::Committing { .. } => {
                let doing = self.describe();
                self.end(Failure::attempt(format!(
                    "checkpoint {} was not complete in time (checkpoint.timeout): {doing}",
                    self.current
                )))
            }
        }
    }

    /// What the checkpoint is waiting for.
    fn describe(&self) -> String {
        match &self.phase {
            Phase::Preparing { acknowledged, flushed, uploaded, .. } => {
                let missing: Vec<_> =
                    (0..self.tasks).filter(|task| !acknowledged.contains(task)).map(|task| task.to_string()).collect();
                let mut waits = Vec::new();
                if !missing.is_empty() {
                    waits.push(format!("the barrier has not passed the tasks {}", missing.join(", ")));
                }
                if !flushed {
                    waits.push("the output is not flushed".to_owned());
                }
                if !uploaded {
                    waits.push("the state is not uploaded".to_owned());
                }
                waits.join("; ")
            }
            Phase::Publishing { .. } => "the manifest is not written".to_owned(),
            Phase::Committing { .. } => "Kafka has not answered the commit, its outcome is unknown".to_owned(),
            Phase::Idle | Phase::Confirming { .. } | Phase::Ended => String::new(),
        }
    }

    fn end(&mut self, failure: Failure) -> Vec<Command> {
        let checkpoint = self.in_progress();
        self.phase = Phase::Ended;
        vec![Command::EndAttempt { failure, checkpoint }]
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
