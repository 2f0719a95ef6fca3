//! The input side of a task: several channels, aligned at barriers.
//!
//! A channel that delivered barrier N is held back until all have delivered it; what its sender produces meanwhile waits in
//! the bounded channel and, through it, holds the sender back. This is what makes a snapshot consistent without stopping
//! the sources.

use super::message::{Barrier, Mark, Message, Timestamp};
use super::stop::{Stop, Stopped};
use crossbeam_channel::{Receiver, Select, TryRecvError};
use std::time::{Duration, Instant};

/// What a task sees of its inputs.
#[derive(Debug)]
pub enum Incoming<B> {
    /// Records of one channel.
    Batch(B),
    /// The minimum over all channels that are not idle has moved.
    Mark(Mark),
    /// Every channel has delivered this barrier.
    Barrier(Barrier),
    /// Every channel has ended.
    End,
    /// Nothing came within the time that the caller was ready to wait.
    Nothing,
}

struct Channel<B> {
    receiver: Receiver<Message<B>>,
    mark: Mark,
    held: bool,
    ended: bool,
}

/// The input channels of one task.
pub struct Gate<B> {
    channels: Vec<Channel<B>>,
    next: usize,
    mark: Mark,
    barrier: Option<Barrier>,
    stalled: Duration,
    stop: Stop,
}

impl<B> Gate<B> {
    /// A gate over `receivers`. Event time starts at `watermark` and never goes back behind it.
    pub fn new(receivers: Vec<Receiver<Message<B>>>, watermark: Timestamp, stop: Stop) -> Self {
        let channels =
            receivers.into_iter().map(|receiver| Channel { receiver, mark: Mark::START, held: false, ended: false }).collect();
        Self { channels, next: 0, mark: Mark { watermark, idle: false }, barrier: None, stalled: Duration::ZERO, stop }
    }

    /// The event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.mark.watermark
    }

    /// Time for which the last alignment left this task without work although input was waiting behind the barrier.
    pub fn take_stall(&mut self) -> Duration {
        std::mem::take(&mut self.stalled)
    }

    /// The next thing to do; waits for at most `patience`.
    pub fn next(&mut self, patience: Duration) -> Result<Incoming<B>, Stopped> {
        let deadline = Instant::now() + patience;
        loop {
            self.stop.check()?;
            match self.poll()? {
                Some(incoming) => return Ok(incoming),
                None if patience.is_zero() => return Ok(Incoming::Nothing),
                None => {}
            }
            let waiting_since = Instant::now();
            let ready = self.wait(deadline);
            if self.barrier.is_some() {
                self.stalled += waiting_since.elapsed();
            }
            if !ready && Instant::now() >= deadline {
                return Ok(Incoming::Nothing);
            }
        }
    }

    /// Takes from the channels in turn, so that a busy one does not starve the others.
    fn poll(&mut self) -> Result<Option<Incoming<B>>, Stopped> {
        let count = self.channels.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            while let Some(channel) = self.channels.get_mut(index).filter(|channel| !channel.held) {
                let message = match channel.receiver.try_recv() {
                    Ok(message) => message,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(Stopped),
                };
                self.next = index + 1;
                if let Some(incoming) = self.digest(index, message) {
                    return Ok(Some(incoming));
                }
            }
        }
        Ok(None)
    }

    fn digest(&mut self, index: usize, message: Message<B>) -> Option<Incoming<B>> {
        let channel = self.channels.get_mut(index)?;
        match message {
            Message::Batch(batch) => Some(Incoming::Batch(batch)),
            Message::Mark(mark) => {
                channel.mark = mark;
                self.raise().map(Incoming::Mark)
            }
            Message::Barrier(barrier) => {
                channel.held = true;
                debug_assert!(self.barrier.is_none_or(|other| other == barrier), "one barrier at a time");
                self.barrier = Some(barrier);
                if self.channels.iter().any(|channel| !channel.held) {
                    return None;
                }
                self.barrier = None;
                self.channels.iter_mut().for_each(|channel| channel.held = false);
                Some(Incoming::Barrier(barrier))
            }
            Message::End => {
                channel.ended = true;
                self.channels.iter().all(|channel| channel.ended).then_some(Incoming::End)
            }
        }
    }

    /// Event time is the minimum over the channels that are not idle, and never goes back.
    fn raise(&mut self) -> Option<Mark> {
        let active = self.channels.iter().filter(|channel| !channel.mark.idle).map(|channel| channel.mark.watermark).min();
        let before = self.mark;
        match active {
            Some(watermark) => {
                self.mark = Mark { watermark: watermark.max(self.mark.watermark), idle: false };
            }
            None => self.mark.idle = true,
        }
        (self.mark != before).then_some(self.mark)
    }

    fn wait(&self, deadline: Instant) -> bool {
        let mut select = Select::new();
        for channel in self.channels.iter().filter(|channel| !channel.held) {
            select.recv(&channel.receiver);
        }
        select.recv(self.stop.signal());
        select.ready_deadline(deadline).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::message::{BarrierKind, MIN_WATERMARK};
    use crate::protocol::CheckpointId;
    use crossbeam_channel::{Sender, bounded};

    const SOON: Duration = Duration::from_secs(60);

    type Batches = Sender<Message<Vec<u32>>>;

    fn gate(channels: usize) -> (Vec<Batches>, Gate<Vec<u32>>, Stop) {
        let stop = Stop::new();
        let (senders, receivers) = (0..channels).map(|_| bounded(16)).unzip();
        (senders, Gate::new(receivers, MIN_WATERMARK, stop.clone()), stop)
    }

    fn barrier(number: u64) -> Barrier {
        Barrier { checkpoint: CheckpointId(number), kind: BarrierKind::Running }
    }

    #[test]
    fn records_behind_a_barrier_wait_until_all_channels_delivered_it() {
        let (senders, mut gate, _stop) = gate(2);
        senders[0].send(Message::Barrier(barrier(1))).unwrap();
        senders[0].send(Message::Batch(vec![100])).unwrap();
        senders[1].send(Message::Batch(vec![1])).unwrap();
        assert!(matches!(gate.next(SOON), Ok(Incoming::Batch(b)) if b == [1]));
        assert!(matches!(gate.next(Duration::ZERO), Ok(Incoming::Nothing)), "record of epoch 2 must wait");
        senders[1].send(Message::Barrier(barrier(1))).unwrap();
        assert!(matches!(gate.next(SOON), Ok(Incoming::Barrier(b)) if b == barrier(1)));
        assert!(matches!(gate.next(SOON), Ok(Incoming::Batch(b)) if b == [100]));
    }

    #[test]
    fn the_slowest_channel_holds_event_time_back_unless_it_is_idle() {
        let (senders, mut gate, _stop) = gate(2);
        senders[0].send(Message::Mark(Mark { watermark: 50, idle: false })).unwrap();
        assert!(matches!(gate.next(Duration::ZERO), Ok(Incoming::Nothing)));
        senders[1].send(Message::Mark(Mark { watermark: 20, idle: false })).unwrap();
        assert!(matches!(gate.next(SOON), Ok(Incoming::Mark(m)) if m.watermark == 20));
        senders[1].send(Message::Mark(Mark { watermark: 20, idle: true })).unwrap();
        assert!(matches!(gate.next(SOON), Ok(Incoming::Mark(m)) if m.watermark == 50));
        senders[1].send(Message::Mark(Mark { watermark: 30, idle: false })).unwrap();
        assert!(matches!(gate.next(Duration::ZERO), Ok(Incoming::Nothing)), "event time never goes back");
    }

    #[test]
    fn the_end_comes_when_all_channels_ended_and_a_stop_ends_waiting() {
        let (senders, mut gate, stop) = gate(2);
        senders[0].send(Message::End).unwrap();
        assert!(matches!(gate.next(Duration::ZERO), Ok(Incoming::Nothing)));
        senders[1].send(Message::End).unwrap();
        assert!(matches!(gate.next(SOON), Ok(Incoming::End)));
        stop.stop();
        assert!(gate.next(SOON).is_err());
    }
}
