//! The life of a task behind a keyed exchange.

use super::{
    chain::Shared,
    context::{Parts, TaskContext},
    event::{TaskEvent, TaskSnapshot},
    exchange::Keyed,
    gate::{Gate, Incoming},
    halt::Halt,
    message::{Barrier, BarrierKind, MIN_WATERMARK, Message},
    snapshot::OperatorSnapshots,
};
use crate::protocol::Failure;
use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};

/// How long a task sleeps at most when it has nothing to do; it is woken by its channels and by the attempt's end.
const PATIENCE: Duration = Duration::from_secs(1);

type Batches<K, T> = Message<Vec<Keyed<K, T>>>;

/// Runs the operators behind `head` until the attempt ends.
pub fn run<K: Send + 'static, T: Send + 'static>(
    context: &mut TaskContext,
    parts: &mut Parts,
    head: &Shared<Keyed<K, T>>,
) -> Result<(), Halt> {
    let receivers = inputs::<K, T>(context)?;
    let watermark = context.restored.watermark.unwrap_or(MIN_WATERMARK);
    let mut gate = Gate::new(receivers, watermark, context.stop.clone());
    // What a timer emits after the end, or after the last barrier, would be in no checkpoint.
    let mut timers_fire = true;
    loop {
        if timers_fire && parts.alarms.fire()? {
            parts.flush()?;
            parts.tables.maintain()?;
        }
        let patience = match parts.tables.has_frozen() {
            true => Duration::ZERO,
            false if timers_fire => parts.alarms.patience(PATIENCE),
            false => PATIENCE,
        };
        let waiting_since = Instant::now();
        let incoming = gate.next(patience)?;
        let working_since = Instant::now();
        context.metrics.idle(working_since - waiting_since);
        match incoming {
            Incoming::Batch(batch) => {
                let mut head = head.borrow_mut();
                for record in batch {
                    head.collect(record.timestamp, record)?;
                }
                drop(head);
                parts.flush()?;
                parts.tables.maintain()?;
            }
            Incoming::Mark(mark) => {
                head.borrow_mut().mark(mark)?;
                parts.mark(mark)?;
            }
            Incoming::Barrier(barrier) => {
                timers_fire &= barrier.kind == BarrierKind::Running;
                pass(context, parts, head, &mut gate, barrier)?;
            }
            Incoming::End => {
                timers_fire = false;
                head.borrow_mut().end()?;
                parts.end()?;
            }
            Incoming::Nothing => {}
        }
        parts.tables.encode_slice()?;
        let blocked = parts.take_blocked();
        context.metrics.blocked(blocked);
        context.metrics.busy(working_since.elapsed().saturating_sub(blocked));
    }
}

/// The channels of all edges: a barrier is aligned, and event time the minimum, over all of them.
fn inputs<K: 'static, T: 'static>(context: &mut TaskContext) -> Result<Vec<Receiver<Batches<K, T>>>, Failure> {
    let mut receivers = Vec::new();
    for of_edge in std::mem::take(&mut context.receivers) {
        let of_edge = of_edge.downcast::<Vec<Receiver<Batches<K, T>>>>();
        receivers.extend(*of_edge.map_err(|_| Failure::fatal(format!("task {} has an input of another type", context.name)))?);
    }
    match receivers.is_empty() {
        true => Err(Failure::fatal(format!("task {} has no input", context.name))),
        false => Ok(receivers),
    }
}

fn pass<K, T>(
    context: &TaskContext,
    parts: &mut Parts,
    head: &Shared<Keyed<K, T>>,
    gate: &mut Gate<Vec<Keyed<K, T>>>,
    barrier: Barrier,
) -> Result<(), Halt> {
    let mut operators = OperatorSnapshots::default();
    head.borrow_mut().snapshot(&mut operators)?;
    let froze = parts.barrier(barrier)?;
    let stall = gate.take_stall() + froze;
    context.metrics.stall(stall);
    let snapshot = TaskSnapshot { partitions: Vec::new(), watermark: gate.watermark(), operators, stall };
    context.report(TaskEvent::Acknowledged { checkpoint: barrier.checkpoint, task: context.task, snapshot })?;
    Ok(())
}
