//! The keyed exchange: each record goes to the task that owns its key group.

use super::{
    chain::{Collector, Downstream},
    halt::Halt,
    message::{Barrier, Mark, Message, Timestamp},
    port::{Port, Waiting},
    snapshot::OperatorSnapshots,
};
use crate::state::{Key, KeyGroups, StateKey};
use crossbeam_channel::{Receiver, Sender};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// Records per batch at full speed; a batch is sent earlier at the end of each round of the sender.
const BATCH: usize = 512;

/// A record on its way to the owner of its key.
#[derive(Debug, Clone)]
pub struct Keyed<K, T> {
    /// The key with its hash, computed once.
    pub key: Key<K>,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
    /// The record.
    pub value: T,
}

/// A channel of an edge.
pub type ExchangeSender<K, T> = Sender<Message<Vec<Keyed<K, T>>>>;

/// The other end.
pub type ExchangeReceiver<K, T> = Receiver<Message<Vec<Keyed<K, T>>>>;

/// The sending side of one edge in one task.
pub struct ExchangePort<K, T> {
    targets: Vec<ExchangeSender<K, T>>,
    pending: Vec<Vec<Keyed<K, T>>>,
    waiting: Waiting,
}

impl<K: StateKey, T: Send> ExchangePort<K, T> {
    /// Sends to `targets`, one channel for each downstream task in order of its key groups.
    pub fn new(targets: Vec<ExchangeSender<K, T>>, waiting: Waiting) -> Self {
        let pending = targets.iter().map(|_| Vec::new()).collect();
        Self { targets, pending, waiting }
    }

    fn push(&mut self, target: usize, record: Keyed<K, T>) -> Result<(), Halt> {
        let Some(pending) = self.pending.get_mut(target) else { return Ok(()) };
        if pending.capacity() == 0 {
            pending.reserve_exact(BATCH);
        }
        pending.push(record);
        if pending.len() >= BATCH { self.send_pending(target) } else { Ok(()) }
    }

    fn send_pending(&mut self, target: usize) -> Result<(), Halt> {
        let Some(pending) = self.pending.get_mut(target) else { return Ok(()) };
        if pending.is_empty() {
            return Ok(());
        }
        let batch = Message::Batch(std::mem::take(pending));
        self.send(target, batch)
    }

    fn send(&mut self, target: usize, message: Message<Vec<Keyed<K, T>>>) -> Result<(), Halt> {
        let Some(sender) = self.targets.get(target) else { return Ok(()) };
        self.waiting.send(sender, message)
    }

    fn broadcast(&mut self, make: impl Fn() -> Message<Vec<Keyed<K, T>>>) -> Result<(), Halt> {
        (0..self.targets.len()).try_for_each(|target| {
            self.send_pending(target)?;
            self.send(target, make())
        })
    }
}

impl<K: StateKey, T: Send> Port for ExchangePort<K, T> {
    fn flush(&mut self) -> Result<(), Halt> {
        (0..self.targets.len()).try_for_each(|target| self.send_pending(target))
    }
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        self.broadcast(|| Message::Mark(mark))
    }
    fn barrier(&mut self, barrier: Barrier) -> Result<(), Halt> {
        self.broadcast(|| Message::Barrier(barrier))
    }
    fn end(&mut self) -> Result<(), Halt> {
        self.broadcast(|| Message::End)
    }
    fn take_blocked(&mut self) -> Duration {
        self.waiting.take_blocked()
    }
}

/// Puts a stream's records onto an exchange, by the key that `select` reads from each.
pub struct KeyBy<K, T, F> {
    port: Rc<RefCell<ExchangePort<K, T>>>,
    select: F,
    groups: KeyGroups,
}

impl<K: StateKey, T: Send, F: Fn(&T) -> K> KeyBy<K, T, F> {
    /// A collector in front of `port`.
    pub fn new(port: Rc<RefCell<ExchangePort<K, T>>>, select: F, groups: KeyGroups) -> Self {
        Self { port, select, groups }
    }
}

impl<K, T, F> Downstream for KeyBy<K, T, F> {
    // The task itself gives marks, barriers and the end to its ports, after the last operator has acted on them.
    fn mark(&mut self, _: Mark) -> Result<(), Halt> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
    fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
        Ok(())
    }
}

impl<K: StateKey, T: Send, F: Fn(&T) -> K> Collector<T> for KeyBy<K, T, F> {
    fn collect(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        let key = (self.select)(&value);
        let key = Key::new(key);
        let mut port = self.port.borrow_mut();
        let target = self.groups.subtask_of(self.groups.group(key.hash), port.targets.len());
        port.push(target, Keyed { key, timestamp, value })
    }
}

/// Puts each record onto every channel of an exchange: all downstream tasks get it. It travels under the default key, which no operator
/// is to see.
pub struct Broadcast<K, T, F> {
    port: Rc<RefCell<ExchangePort<K, T>>>,
    wrap: F,
}

impl<K, T, F> Broadcast<K, T, F> {
    /// A collector in front of `port`; `wrap` makes of a record what travels.
    pub fn new(port: Rc<RefCell<ExchangePort<K, T>>>, wrap: F) -> Self {
        Self { port, wrap }
    }
}

impl<K, T, F> Downstream for Broadcast<K, T, F> {
    // As with `KeyBy`, these are the task's.
    fn mark(&mut self, _: Mark) -> Result<(), Halt> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
    fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
        Ok(())
    }
}

impl<K: StateKey + Default, T: Send, U: Clone, F: Fn(U) -> T> Collector<U> for Broadcast<K, T, F> {
    fn collect(&mut self, timestamp: Timestamp, value: U) -> Result<(), Halt> {
        let mut port = self.port.borrow_mut();
        (0..port.targets.len()).try_for_each(|target| {
            let value = (self.wrap)(value.clone());
            port.push(target, Keyed { key: Key::new(K::default()), timestamp, value })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{frozen::Tables, stop::Stop};
    use crossbeam_channel::bounded;
    use std::sync::Arc;

    #[test]
    fn a_broadcast_record_reaches_every_task_and_a_keyed_one_the_owner_of_its_key() {
        let (senders, receivers): (Vec<ExchangeSender<u64, u64>>, Vec<_>) = (0..3).map(|_| bounded(4)).unzip();
        let port =
            Rc::new(RefCell::new(ExchangePort::new(senders, Waiting::new(Stop::new(), Tables::default(), Arc::default()))));
        let groups = KeyGroups::default();
        let mut keyed = KeyBy::new(Rc::clone(&port), |value: &u64| *value, groups);
        let mut broadcast = Broadcast::new(Rc::clone(&port), |value: u64| value + 1_000);
        (0..9).for_each(|value| keyed.collect(5, value).unwrap());
        broadcast.collect(7, 1).unwrap();
        port.borrow_mut().flush().unwrap();
        let mut keyed_values = Vec::new();
        for (task, receiver) in receivers.iter().enumerate() {
            let Ok(Message::Batch(mut batch)) = receiver.try_recv() else { panic!("nothing for task {task}") };
            let last = batch.pop().unwrap();
            assert_eq!((last.timestamp, last.value), (7, 1_001));
            for record in batch {
                assert_eq!(groups.subtask_of(groups.group(record.key.hash), 3), task);
                keyed_values.push(record.value);
            }
        }
        keyed_values.sort_unstable();
        assert_eq!(keyed_values, (0..9).collect::<Vec<_>>());
    }
}
