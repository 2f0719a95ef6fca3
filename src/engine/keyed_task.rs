//! The life of a task behind a keyed exchange.

use super::{
    chain::Shared,
    context::{Parts, TaskContext},
    event::{TaskEvent, TaskSnapshot},
    exchange::Keyed,
    gate::{Gate, Incoming},
    halt::Halt,
    message::{Barrier, BarrierKind, MIN_WATERMARK, Message},
    pulse::Phase,
    snapshot::OperatorSnapshots,
};
use crate::protocol::Failure;
use crossbeam_channel::Receiver;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
    let pulse = Arc::clone(&context.pulse);
    loop {
        pulse.turn_to(Phase::Timer);
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
        pulse.turn_to(Phase::Waiting);
        let incoming = gate.next(patience)?;
        let working_since = Instant::now();
        context.metrics.idle(working_since - waiting_since);
        match incoming {
            Incoming::Batch(batch) => {
                pulse.turn_to(Phase::Record);
                let mut head = head.borrow_mut();
                for record in batch {
                    head.collect(record.timestamp, record)?;
                }
                drop(head);
                parts.flush()?;
                parts.tables.maintain()?;
            }
            Incoming::Mark(mark) => {
                pulse.turn_to(Phase::Watermark);
                head.borrow_mut().mark(mark)?;
                parts.mark(mark)?;
            }
            Incoming::Barrier(barrier) => {
                pulse.turn_to(Phase::Barrier);
                timers_fire &= barrier.kind == BarrierKind::Running;
                pass(context, parts, head, &mut gate, barrier)?;
            }
            Incoming::End => {
                pulse.turn_to(Phase::End);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Stop, Timestamp,
        chain::{Collector, Downstream},
        message::Mark,
    };
    use crate::protocol::CheckpointId;
    use crate::state::{Key, KeyGroups};
    use crossbeam_channel::{Sender, bounded, unbounded};
    use std::{any::Any, cell::RefCell, rc::Rc};

    /// Writes down what comes, and ends the attempt with a record of value 3.
    struct Journal(Rc<RefCell<Vec<String>>>, Stop);

    impl Downstream for Journal {
        fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
            self.0.borrow_mut().push(format!("watermark {}", mark.watermark));
            Ok(())
        }
        fn end(&mut self) -> Result<(), Halt> {
            Ok(())
        }
        fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
            self.0.borrow_mut().push("barrier".to_owned());
            Ok(())
        }
    }

    impl Collector<Keyed<u64, u64>> for Journal {
        fn collect(&mut self, _: Timestamp, record: Keyed<u64, u64>) -> Result<(), Halt> {
            self.0.borrow_mut().push(format!("record {}", record.value));
            if record.value == 3 {
                self.1.stop();
            }
            Ok(())
        }
    }

    fn context(receivers: Vec<Box<dyn Any + Send>>, events: Sender<TaskEvent>, stop: Stop) -> TaskContext {
        TaskContext { receivers, events, stop, ..TaskContext::alone("joined", 0, 1, KeyGroups::default()) }
    }

    fn record(value: u64) -> Batches<u64, u64> {
        Message::Batch(vec![Keyed { key: Key::new(value), timestamp: 0, value }])
    }

    fn mark(watermark: Timestamp) -> Batches<u64, u64> {
        Message::Mark(Mark { watermark, idle: false })
    }

    #[test]
    fn barriers_are_aligned_and_event_time_is_the_minimum_over_all_edges_of_a_task() {
        let barrier = Barrier { checkpoint: CheckpointId(1), kind: BarrierKind::Running };
        let ((first, of_first), (second, of_second)) = (bounded(8), bounded(8));
        for message in [record(1), mark(100), Message::Barrier(barrier), record(3)] {
            first.send(message).unwrap();
        }
        for message in [record(2), mark(50), Message::Barrier(barrier)] {
            second.send(message).unwrap();
        }
        let (events, reported) = unbounded();
        let stop = Stop::new();
        let mut context = context(vec![Box::new(vec![of_first]), Box::new(vec![of_second])], events, stop.clone());
        let journal = Rc::new(RefCell::new(Vec::new()));
        let head: Shared<Keyed<u64, u64>> = Rc::new(RefCell::new(Journal(Rc::clone(&journal), stop)));
        assert!(matches!(run(&mut context, &mut Parts::new(), &head), Err(Halt::Stopped)));
        let mut journal = journal.take();
        assert_eq!(journal.split_off(2), ["watermark 50", "barrier", "record 3"]);
        journal.sort_unstable();
        assert_eq!(journal, ["record 1", "record 2"]);
        let Ok(TaskEvent::Acknowledged { snapshot, .. }) = reported.try_recv() else { panic!("no checkpoint") };
        assert_eq!(snapshot.watermark, 50);
    }

    #[test]
    fn a_task_whose_input_is_of_another_type_says_so() {
        let (_sender, receiver) = bounded::<Batches<u64, u64>>(1);
        let mut context = context(vec![Box::new(vec![receiver])], unbounded().0, Stop::new());
        let other = inputs::<u64, String>(&mut context).err().unwrap();
        assert!(other.message.contains("task joined has an input of another type"), "{other}");
    }
}
