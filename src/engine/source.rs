//! The life of a source task: poll, decode, timestamps and watermarks per partition, barriers between records.

use super::{
    chain::{Collector, Shared},
    context::{Parts, TaskContext},
    event::{PartitionState, SourceCommand, TaskEvent, TaskSnapshot},
    halt::Halt,
    held_back::HeldBack,
    message::{BarrierKind, MAX_WATERMARK, Mark, Timestamp},
    meter::Meter,
    output::Header,
    snapshot::OperatorSnapshots,
    watermarks::Partitions,
};
use crate::protocol::{CheckpointId, Failure, Positions};
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Records taken in one round, at most: bounds how long a barrier waits.
const ROUND: usize = 1024;

/// How long a round waits for its first record.
const PATIENCE: Duration = Duration::from_millis(5);

/// A record as the topic holds it.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The broker's or producer's timestamp in milliseconds since the epoch.
    pub timestamp: Option<Timestamp>,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; none in a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: LazyHeaders<'a>,
}

/// The headers of a record, parsed only when somebody asks: of a good record nobody does.
#[derive(Clone, Copy)]
pub struct LazyHeaders<'a>(&'a dyn Fn() -> Vec<Header>);

impl<'a> LazyHeaders<'a> {
    /// Headers as `parse` finds them.
    pub fn of(parse: &'a dyn Fn() -> Vec<Header>) -> Self {
        Self(parse)
    }

    /// Of a record that has none.
    #[must_use]
    pub fn none() -> Self {
        Self(&Vec::new)
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Header> {
        (self.0)()
    }
}

impl fmt::Debug for LazyHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

/// What a round of reading found besides records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Round {
    /// Number of records.
    pub records: usize,
    /// Partitions with nothing more to read, and the offset at which that is so.
    pub dry: Vec<(i32, i64)>,
}

/// Reads the partitions of one topic.
pub trait SplitReader: Send {
    /// Gives up to `max` records to `each`; waits for the first one for at most `patience`.
    fn poll(&mut self, patience: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure>;
    /// Reads these partitions as well.
    fn add(&mut self, positions: &Positions) -> Result<(), Failure>;
    /// Per partition, how many records the topic holds behind `positions`, as far as the reader knows without asking.
    fn lag(&self, positions: &Positions) -> Vec<(i32, i64)>;
}

/// Why a record cannot be used. It goes to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Short stable name of the kind of error.
    pub class: &'static str,
    /// What is wrong, with the value and what is allowed.
    pub message: String,
}

/// Turns raw records into a job's type.
pub trait Decode: 'static {
    /// The job's type.
    type Out: 'static;
    /// Whether all that is needed to decode `record` is at hand. Must not wait: while the answer is no, the source holds the record and those
    /// behind it back, lets barriers pass, and asks again.
    #[inline]
    fn is_ready(&mut self, record: &RawRecord<'_>) -> bool {
        let _ = record;
        true
    }
    /// Event time and record.
    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, Self::Out), Undecodable>;
}

/// A record that could not be decoded, with all that is needed to find and replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRecord {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp of the record in milliseconds, if it has one.
    pub timestamp: Option<Timestamp>,
    /// Key as it was.
    pub key: Option<Vec<u8>>,
    /// Value as it was; none in a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers as they were, in order.
    pub headers: Vec<Header>,
    /// Name of the stage that refused it.
    pub stage: Arc<str>,
    /// The checkpoint in whose transaction what is made of it becomes visible.
    pub checkpoint: CheckpointId,
    /// Why.
    pub error: Undecodable,
}

/// What a source task begins with.
pub struct SourceInput {
    /// Name of the topic.
    pub topic: String,
    /// Opened at the partitions' offsets.
    pub reader: Box<dyn SplitReader>,
    /// Partitions, offsets and what event time was seen.
    pub partitions: Vec<PartitionState>,
    /// Per partition, the offset at which it counts as caught up.
    pub targets: Positions,
    /// Records may be that much out of order.
    pub out_of_orderness: Duration,
    /// A partition with nothing to read for so long does not hold event time back.
    pub idle_timeout: Option<Duration>,
    /// Number of the first checkpoint of the attempt; each barrier ends one, and the next one has the next number.
    pub first_checkpoint: CheckpointId,
    /// Whether the first barrier comes before the first record: at the first start of all, whose checkpoint holds nothing but where
    /// the job begins.
    pub barrier_first: bool,
}

/// Reads until the attempt ends.
pub fn run<D: Decode>(
    context: &mut TaskContext,
    parts: &mut Parts,
    decoder: &mut D,
    head: &Shared<D::Out>,
    dead: &Shared<DeadRecord>,
) -> Result<(), Halt> {
    let input = context.input.take().and_then(|any| any.downcast::<SourceInput>().ok());
    let SourceInput {
        topic,
        mut reader,
        partitions: begin,
        targets,
        out_of_orderness,
        idle_timeout,
        first_checkpoint,
        mut barrier_first,
    } = *input.ok_or_else(|| Failure::fatal(format!("source {} has no reader", context.name)))?;
    let commands = context.commands.take();
    let commands = commands.ok_or_else(|| Failure::fatal(format!("source {} has no commands", context.name)))?;
    let mut partitions = Partitions::new(out_of_orderness, idle_timeout);
    for state in begin {
        let target = targets.get(&state.partition).copied().unwrap_or(0);
        partitions.add(state.partition, state.offset, state.max_timestamp, target);
    }
    let mut refused = Refused { dead, stage: Arc::clone(&context.name), checkpoint: first_checkpoint };
    let mut held = HeldBack::new(&topic, &context.metrics);
    let mut caught_up = false;
    let mut lag_due = Instant::now();
    loop {
        context.stop.check()?;
        let wait = barrier_first || !held.is_empty();
        let command = if wait { commands.recv_timeout(PATIENCE) } else { commands.try_recv().map_err(timed) };
        match command {
            Ok(SourceCommand::Inject(barrier)) => {
                barrier_first = false;
                refused.barrier(barrier.checkpoint)?;
                if barrier.kind == BarrierKind::Drain {
                    let mark = Mark { watermark: MAX_WATERMARK, idle: false };
                    head.borrow_mut().mark(mark)?;
                    parts.mark(mark)?;
                    head.borrow_mut().end()?;
                    parts.end()?;
                }
                let mut operators = OperatorSnapshots::default();
                head.borrow_mut().snapshot(&mut operators)?;
                let stall = parts.barrier(barrier)?;
                let watermark = partitions.mark().watermark;
                let snapshot = TaskSnapshot { partitions: partitions.states(Instant::now()), watermark, operators, stall };
                context.report(TaskEvent::Acknowledged { checkpoint: barrier.checkpoint, task: context.task, snapshot })?;
                if barrier.kind != BarrierKind::Running {
                    // What was read up to here is all there will be; the attempt's end closes the channels.
                    let _ = context.stop.signal().recv();
                    return Err(Halt::Stopped);
                }
            }
            Ok(SourceCommand::Add(positions)) => {
                reader.add(&positions)?;
                for (partition, offset) in positions {
                    partitions.add(partition, offset, None, 0);
                }
            }
            Err(RecvTimeoutError::Timeout) if barrier_first => continue,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Halt::Stopped),
        }
        let since = Instant::now();
        let mut bytes = 0;
        let mut intake = Intake { partitions: &mut partitions, decoder, head, refused: &refused, meter: &context.metrics };
        let round =
            if held.is_empty() { intake.read(&mut *reader, &mut held, &mut bytes)? } else { intake.read_held(&mut held)? };
        let now = Instant::now();
        for (partition, offset) in &round.dry {
            partitions.dry(*partition, *offset, now);
        }
        parts.flush()?;
        if let Some(mark) = partitions.advance(now) {
            context.metrics.watermark(mark.watermark);
            head.borrow_mut().mark(mark)?;
            dead.borrow_mut().mark(mark)?;
            parts.mark(mark)?;
        }
        if !caught_up && partitions.caught_up() {
            caught_up = true;
            context.report(TaskEvent::CaughtUp { task: context.task })?;
        }
        if now >= lag_due {
            lag_due = now + Duration::from_secs(1);
            context.metrics.lag(&topic, &reader.lag(&partitions.positions()));
        }
        let blocked = parts.take_blocked();
        context.metrics.read(&topic, round.records as u64, bytes);
        context.metrics.blocked(blocked);
        match round.records {
            0 => context.metrics.idle(since.elapsed().saturating_sub(blocked)),
            _ => context.metrics.busy(since.elapsed().saturating_sub(blocked)),
        }
    }
}

/// Not to wait is to wait for no time.
fn timed(error: TryRecvError) -> RecvTimeoutError {
    match error {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    }
}

/// Where refused records go, and what is told of each beside the record and the error.
struct Refused<'a> {
    dead: &'a Shared<DeadRecord>,
    stage: Arc<str>,
    /// What is read now becomes visible with this checkpoint: numbers follow each other without a gap within an attempt.
    checkpoint: CheckpointId,
}

impl Refused<'_> {
    /// What is read from here on belongs to the next checkpoint. An error if dead letters have been given a number that is not theirs.
    fn barrier(&mut self, checkpoint: CheckpointId) -> Result<(), Failure> {
        if checkpoint != self.checkpoint {
            let counted = self.checkpoint;
            return Err(Failure::attempt(format!(
                "the source counts checkpoint {counted}, but the barrier is that of {checkpoint}"
            )));
        }
        self.checkpoint = checkpoint.next();
        Ok(())
    }
}

/// What a record meets on its way in.
struct Intake<'a, D: Decode> {
    partitions: &'a mut Partitions,
    decoder: &'a mut D,
    head: &'a Shared<D::Out>,
    refused: &'a Refused<'a>,
    meter: &'a Meter,
}

impl<D: Decode> Intake<'_, D> {
    /// Reads a round. When the decoder is not ready for a record, that and the rest of the round is held.
    fn read(&mut self, reader: &mut dyn SplitReader, held: &mut HeldBack, bytes: &mut u64) -> Result<Round, Halt> {
        let mut halted = None;
        let mut head = self.head.borrow_mut();
        let Self { partitions, decoder, refused, meter, .. } = self;
        let mut round = reader.poll(PATIENCE, ROUND, &mut |record| {
            if halted.is_some() {
                return;
            }
            *bytes += record.value.map_or(0, <[u8]>::len) as u64;
            if !held.is_empty() || !decoder.is_ready(&record) {
                return held.push(&record);
            }
            halted = take(&record, partitions, *decoder, &mut *head, refused, meter).err();
        })?;
        if let Some(halt) = halted {
            return Err(halt);
        }
        if !held.is_empty() {
            held.keep_dry(std::mem::take(&mut round.dry));
        }
        Ok(round)
    }

    /// Takes what is held, as far as the decoder is ready for it.
    fn read_held(&mut self, held: &mut HeldBack) -> Result<Round, Halt> {
        let mut head = self.head.borrow_mut();
        held.release(|record| {
            if !self.decoder.is_ready(record) {
                return Ok::<_, Halt>(false);
            }
            take(record, self.partitions, self.decoder, &mut *head, self.refused, self.meter).map(|()| true)
        })?;
        Ok(Round { records: 0, dry: held.take_dry() })
    }
}

#[inline]
fn take<D: Decode>(
    record: &RawRecord<'_>,
    partitions: &mut Partitions,
    decoder: &mut D,
    head: &mut dyn Collector<D::Out>,
    refused: &Refused<'_>,
    meter: &Meter,
) -> Result<(), Halt> {
    match decoder.decode(record) {
        Ok((timestamp, value)) => {
            partitions.record(record.partition, record.offset, Some(timestamp));
            head.collect(timestamp, value)
        }
        Err(error) => {
            meter.dead_letter(error.class);
            partitions.record(record.partition, record.offset, None);
            let letter = DeadRecord {
                topic: record.topic.to_owned(),
                partition: record.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.all(),
                stage: Arc::clone(&refused.stage),
                checkpoint: refused.checkpoint,
                error,
            };
            refused.dead.borrow_mut().collect(record.timestamp.unwrap_or_default(), letter)
        }
    }
}
