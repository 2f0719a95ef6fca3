//! An attempt that processes records and makes checkpoints.

use super::{
    PARTITIONS, Partition,
    broker::{EndTxn, Named, SentOffsets},
    instance::{Ended, Outside, Step},
    store::{self, File, Manifest, hash, number, small},
};
use crate::protocol::{
    Command, CommitOutcome, CommitPermit, Coordinator, Event, Failure, ManifestRef, Pointer, Trigger,
    garbage::{self, Garbage},
    mutant::{Mutant, on},
};
use std::num::NonZeroU32;

/// A producer of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Producer {
    /// May be written to.
    Ready(u8),
    /// Initialised; whether the job is still ours has not been asked since.
    Unproven(u8),
    Writing,
    Used,
    /// Only a mutant asks before.
    ProvenTooEarly,
}

/// A transaction that is written to or waits for its commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Transaction {
    pub(super) id: u8,
    pub(super) epoch: u8,
    /// Records that are in the producer's queue.
    pub(super) queue: Vec<(Partition, u8)>,
}

/// What one partition's task has frozen at the barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Task {
    pub(super) position: u8,
    pub(super) folded: u8,
}

/// What the core has asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Work {
    Put(u8, [Option<u8>; PARTITIONS]),
    Commit(SentOffsets),
    Answer(EndTxn, Option<bool>),
    Confirm(ManifestRef),
    DeleteManifests(u8, Garbage<File>),
    DeleteFiles(u8, Garbage<File>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Running {
    pub(super) attempt: u8,
    pub(super) owner: u8,
    pub(super) core: Coordinator,
    pub(super) tasks: [Task; PARTITIONS],
    /// Files of the last manifest: reused where the state has not changed.
    pub(super) files: [File; PARTITIONS],
    pub(super) has_files: bool,
    pub(super) producers: Vec<Producer>,
    pub(super) last_id: u8,
    pub(super) open: Option<Transaction>,
    pub(super) sealed: Option<Transaction>,
    /// The checkpoint that is being made, if its barrier is under way or passed: per task, what was frozen.
    pub(super) making: Option<Making>,
    pub(super) work: Vec<Work>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Making {
    pub(super) number: u8,
    pub(super) trigger: Trigger,
    pub(super) frozen: [Option<Task>; PARTITIONS],
    pub(super) acknowledged: bool,
    pub(super) delivered: bool,
    pub(super) flush_told: bool,
    pub(super) uploaded: bool,
}

impl Running {
    pub(super) fn steps(&self, records: [u8; PARTITIONS], last: u8, savepoint: bool, steps: &mut Vec<Step>) {
        match self.work.first() {
            Some(Work::Put(..)) => steps.extend([Step::Put, Step::PutFails, Step::PutSeemsToFail]),
            Some(Work::Commit(_)) => steps.push(Step::Commit),
            Some(Work::Answer(_, None)) => steps.push(Step::CommitTimesOut),
            Some(Work::Answer(_, Some(_))) => steps.extend([Step::Answer, Step::CommitTimesOut]),
            Some(Work::Confirm(_)) => steps.extend([Step::Confirm, Step::MarkerFails]),
            Some(Work::DeleteManifests(..)) => steps.push(Step::DeleteManifests),
            Some(Work::DeleteFiles(..)) => steps.push(Step::DeleteFiles),
            None => {}
        }
        if self.next_queue().is_some() {
            steps.push(Step::Deliver);
        }
        if let Some(making) = &self.making {
            match making.frozen {
                [Some(_), Some(_)] if !making.uploaded => steps.extend([Step::Upload, Step::UploadFails]),
                [Some(_), Some(_)] => {}
                // Without a transaction there is nothing to seal: the sink waits for a producer.
                _ if self.open.is_some() => steps.push(Step::Barrier),
                _ => {}
            }
            if making.frozen[1].is_some() && !making.acknowledged {
                steps.push(Step::Acknowledge);
            }
            if self.work.is_empty() {
                steps.push(Step::CheckpointTimesOut);
            }
        }
        for (id, producer) in (0..).zip(&self.producers) {
            match producer {
                Producer::Used if on(Mutant::ProvenTooEarly) => steps.push(Step::ProveProducer(id)),
                Producer::Used | Producer::ProvenTooEarly => steps.push(Step::Initialise(id)),
                Producer::Unproven(_) => steps.push(Step::ProveProducer(id)),
                Producer::Ready(_) | Producer::Writing => {}
            }
        }
        let all_read = self.tasks.iter().zip(records).all(|(task, records)| task.position >= records);
        if self.next_number().is_some_and(|next| next <= last) {
            let begun = self.core.base().is_some();
            if !begun || self.has_unfrozen_state() {
                steps.push(Step::Trigger(Trigger::Interval));
            }
            if begun && savepoint {
                steps.push(Step::Trigger(Trigger::Savepoint));
            }
            if begun && all_read {
                steps.push(Step::Trigger(Trigger::Final));
            }
        }
        for partition in 0..PARTITIONS {
            if self.may_process(partition, records) {
                steps.push(Step::Process(u8::try_from(partition).expect("small")));
            }
        }
    }

    /// The number that a trigger would begin now.
    fn next_number(&self) -> Option<u8> {
        (self.core.in_progress().is_none() && self.work.is_empty())
            .then(|| self.core.base().map_or(0, |base| small(base.checkpoint) + 1))
    }

    fn has_unfrozen_state(&self) -> bool {
        self.tasks.iter().zip(&self.files).any(|(task, file)| task.folded != file.folded)
    }

    fn may_process(&self, partition: usize, records: [u8; PARTITIONS]) -> bool {
        let task = self.tasks[partition];
        if task.position >= records[partition] || self.open.is_none() {
            return false;
        }
        match &self.making {
            // A first start commits where it begins before it reads.
            None => self.core.base().is_some(),
            Some(Making { trigger: Trigger::Start, frozen, delivered, .. }) => frozen.iter().all(Option::is_some) && *delivered,
            Some(Making { trigger: Trigger::Final, frozen, .. }) => frozen[partition].is_none(),
            Some(Making { frozen, delivered, .. }) => match frozen {
                // Aligned, and the records of N + 1 wait until N is flushed.
                [Some(_), Some(_)] => *delivered || on(Mutant::SentBeforeFlush) || on(Mutant::FlushNotAwaited),
                _ => frozen[partition].is_none(),
            },
        }
    }

    fn next_id(&self) -> usize {
        (usize::from(self.last_id) + 1) % self.producers.len()
    }

    /// The producer whose turn it is becomes the one that is written to, if it is there.
    pub(super) fn take_producer(&mut self) {
        let next = self.next_id();
        if self.open.is_none()
            && let Producer::Ready(epoch) = self.producers[next]
        {
            self.producers[next] = Producer::Writing;
            self.last_id = u8::try_from(next).expect("small");
            self.open = Some(Transaction { id: self.last_id, epoch, queue: Vec::new() });
        }
    }

    /// The transaction whose queue goes out next.
    fn next_queue(&self) -> Option<bool> {
        let to_flush = self.making.as_ref().is_some_and(|making| !making.delivered && self.sealed.is_some());
        let to_send = self.open.as_ref().is_some_and(|open| !open.queue.is_empty());
        match (to_flush, to_send) {
            (true, true) if on(Mutant::SentBeforeFlush) => Some(true),
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }

    pub(super) fn step(&mut self, step: Step, outside: &mut Outside<'_>) -> Result<(), Ended> {
        match step {
            Step::Own | Step::Fence(_) | Step::Read | Step::Decide | Step::LookAgain => Ok(()),
            Step::Process(partition) => {
                let task = &mut self.tasks[usize::from(partition)];
                if let Some(open) = &mut self.open {
                    open.queue.push((partition, task.position));
                    task.position += 1;
                    task.folded += 1;
                }
                Ok(())
            }
            Step::Trigger(trigger) => self.tell(Event::TriggerDue { trigger }),
            Step::Barrier => self.barrier(1),
            Step::Acknowledge => self.acknowledge(1),
            Step::Deliver => self.deliver(outside),
            Step::Upload => {
                if let Some(making) = &mut self.making {
                    making.uploaded = true;
                    let checkpoint = number(making.number);
                    outside.store.files.extend(self.new_files());
                    self.tell(Event::StateUploaded { checkpoint })?;
                }
                Ok(())
            }
            Step::UploadFails | Step::PutFails => self.prepare_failed(),
            Step::Initialise(id) => {
                let epoch = outside.broker.initialise(id);
                let enough = on(Mutant::ProducerNotProven) || on(Mutant::ProvenTooEarly);
                self.producers[usize::from(id)] = if enough { Producer::Ready(epoch) } else { Producer::Unproven(epoch) };
                self.take_producer();
                Ok(())
            }
            Step::Prove | Step::ProveProducer(_) if outside.broker.prove(self.owner).is_err() => Err(Ended::Failed),
            Step::ProveProducer(id) => {
                let producer = &mut self.producers[usize::from(id)];
                *producer = match *producer {
                    Producer::Unproven(epoch) => Producer::Ready(epoch),
                    _ => Producer::ProvenTooEarly,
                };
                self.take_producer();
                Ok(())
            }
            Step::Prove => Ok(()),
            Step::CheckpointTimesOut => match &self.making {
                Some(making) => self.tell(Event::TimedOut { checkpoint: number(making.number) }),
                None => Ok(()),
            },
            _ => self.work(step, outside),
        }
    }

    fn prepare_failed(&mut self) -> Result<(), Ended> {
        let Some(making) = &self.making else { return Ok(()) };
        self.tell(Event::PrepareFailed { checkpoint: number(making.number), failure: Failure::transient("storage") })
    }

    /// The barrier passes a task; with the last one the transaction is sealed.
    fn barrier(&mut self, task: usize) -> Result<(), Ended> {
        let Some(making) = &mut self.making else { return Ok(()) };
        making.frozen[task] = Some(self.tasks[task]);
        if making.frozen.iter().all(Option::is_some) {
            self.sealed = self.open.take();
            self.take_producer();
        }
        Ok(())
    }

    /// Tells what a task has frozen.
    fn acknowledge(&mut self, task: usize) -> Result<(), Ended> {
        let Some(making) = &mut self.making else { return Ok(()) };
        making.acknowledged = task == PARTITIONS - 1;
        let mut own = [None; PARTITIONS];
        own[task] = making.frozen[task].map(|frozen| frozen.position);
        let checkpoint = number(making.number);
        self.tell(Event::TaskAcknowledged { checkpoint, task, positions: store::positions(&own) })
    }

    fn deliver(&mut self, outside: &mut Outside<'_>) -> Result<(), Ended> {
        let Some(open) = self.next_queue() else { return Ok(()) };
        let transaction = if open { &mut self.open } else { &mut self.sealed };
        if let Some(Transaction { id, epoch, queue }) = transaction {
            outside.broker.append(*id, *epoch, &std::mem::take(queue))?;
        }
        if !open && let Some(making) = &mut self.making {
            making.delivered = true;
        }
        self.tell_flushed()
    }

    fn tell_flushed(&mut self) -> Result<(), Ended> {
        match &mut self.making {
            Some(making) if making.delivered && !making.flush_told => {
                making.flush_told = true;
                let checkpoint = number(making.number);
                self.tell(Event::OutputFlushed { checkpoint })
            }
            _ => Ok(()),
        }
    }

    /// The files of the checkpoint that is being made.
    fn new_files(&self) -> [File; PARTITIONS] {
        let Some(making) = &self.making else { return self.files };
        [0, 1].map(|task: usize| {
            let folded = making.frozen[task].unwrap_or(self.tasks[task]).folded;
            let partition = self.files[task].partition;
            match self.files[task] {
                old if self.has_files && old.folded == folded => old,
                _ => File { partition, folded, number: making.number, attempt: self.attempt },
            }
        })
    }

    /// Does the first thing that the core has asked for.
    fn work(&mut self, step: Step, outside: &mut Outside<'_>) -> Result<(), Ended> {
        if self.work.is_empty() {
            return Ok(());
        }
        match self.work.remove(0) {
            Work::Put(id, positions) => {
                let manifest = self.manifest(positions);
                if step == Step::PutSeemsToFail {
                    outside.store.late.insert((id, manifest));
                    return self.prepare_failed();
                }
                if !outside.store.put(id, manifest.clone()) {
                    return self.prepare_failed();
                }
                self.files = manifest.files;
                self.has_files = true;
                self.tell(Event::ManifestDurable { manifest: ManifestRef { checkpoint: number(id), hash: hash(self.attempt) } })
            }
            Work::Commit(offsets) => {
                let Some(Transaction { id, epoch, .. }) = self.sealed.clone() else { return Ok(()) };
                if outside.broker.send_offsets(id, epoch, offsets).is_err() {
                    return self.commit_failed(CommitOutcome::Fenced);
                }
                outside.broker.wire.insert(EndTxn { id, epoch });
                self.work.insert(0, Work::Answer(EndTxn { id, epoch }, None));
                Ok(())
            }
            Work::Answer(..) if step == Step::CommitTimesOut => self.commit_failed(CommitOutcome::Unknown),
            Work::Answer(_, Some(false)) => self.commit_failed(CommitOutcome::Fenced),
            Work::Answer(request, _) => self.committed(request),
            Work::Confirm(manifest) => {
                self.confirm(manifest, step, outside);
                Ok(())
            }
            Work::DeleteManifests(id, garbage) => {
                outside.store.delete_manifests(&garbage);
                self.work.insert(0, Work::DeleteFiles(id, garbage));
                Ok(())
            }
            Work::DeleteFiles(id, garbage) => {
                outside.store.delete_files(&garbage);
                self.tell(Event::Confirmed { checkpoint: number(id) })?;
                if self.core.in_progress().is_none() {
                    self.making = None;
                }
                Ok(())
            }
        }
    }

    fn manifest(&self, positions: [Option<u8>; PARTITIONS]) -> Manifest {
        let pool = u8::try_from(self.producers.len()).expect("small");
        let base = self.core.base().map(|base| small(base.checkpoint));
        let savepoint = self.making.as_ref().is_some_and(|making| making.trigger == Trigger::Savepoint);
        Manifest { hash: self.attempt, base, positions, pool, files: self.new_files(), savepoint }
    }

    fn committed(&mut self, request: EndTxn) -> Result<(), Ended> {
        let Some(making) = &self.making else { return Ok(()) };
        let checkpoint = number(making.number);
        let reused = if on(Mutant::ProducerReused) { Producer::Ready(request.epoch) } else { Producer::Used };
        self.producers[usize::from(request.id)] = reused;
        self.sealed = None;
        self.take_producer();
        self.tell(Event::Committed { checkpoint })
    }

    fn commit_failed(&mut self, outcome: CommitOutcome) -> Result<(), Ended> {
        let Some(making) = &self.making else { return Ok(()) };
        let checkpoint = number(making.number);
        self.tell(Event::CommitFailed { checkpoint, outcome, message: String::new() })?;
        // Only a mutant comes here: the transaction counts as aborted.
        (self.sealed, self.making) = (None, None);
        Ok(())
    }

    fn confirm(&mut self, manifest: ManifestRef, step: Step, outside: &mut Outside<'_>) {
        let id = small(manifest.checkpoint);
        if step != Step::MarkerFails {
            outside.store.markers.insert(id, self.attempt);
            if outside.store.manifests.get(&id).is_some_and(|kept| kept.savepoint) {
                outside.store.savepoints.insert(id, self.attempt);
            }
        }
        let garbage = garbage::collect(&outside.store.inventory(), manifest.checkpoint, NonZeroU32::MIN);
        self.work.insert(0, Work::DeleteManifests(id, garbage));
    }

    fn tell(&mut self, event: Event) -> Result<(), Ended> {
        for command in self.core.handle(event) {
            match command {
                Command::InjectBarrier { checkpoint, trigger } => {
                    let frozen = [None; PARTITIONS];
                    let [acknowledged, delivered, flush_told, uploaded] = [false; 4];
                    let number = small(checkpoint);
                    self.making = Some(Making { number, trigger, frozen, acknowledged, delivered, flush_told, uploaded });
                    self.barrier(0)?;
                    self.acknowledge(0)?;
                }
                Command::WriteManifest { checkpoint, positions } => {
                    self.work.push(Work::Put(small(checkpoint), store::offsets(&positions)));
                }
                Command::Commit(permit) => self.work.push(Work::Commit(self.sent(&permit))),
                Command::Confirm { manifest } => self.work.push(Work::Confirm(manifest)),
                Command::EndAttempt { .. } => return Err(Ended::Failed),
                Command::Finished => return Err(Ended::Finished),
            }
        }
        Ok(())
    }

    fn sent(&self, permit: &CommitPermit) -> SentOffsets {
        let pointer: Pointer = permit.metadata().parse().expect("a permit's metadata is a pointer");
        let content = u8::from_str_radix(&pointer.hash[..2], 16).expect("hexadecimal");
        let named = Named { checkpoint: small(pointer.checkpoint), hash: content };
        SentOffsets {
            offsets: store::offsets(permit.positions()),
            named,
            base: self.core.base().map(|base| small(base.checkpoint)),
        }
    }
}
