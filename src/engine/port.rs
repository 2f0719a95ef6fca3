//! Where records leave a task.

use super::{
    frozen::Tables,
    halt::Halt,
    message::{Barrier, Mark},
    pulse::{Phase, Pulse},
    stop::Stop,
};
use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The sending side of a task's edges. Called by the task, not by its operators: marks, barriers and the end reach the
/// ports after every operator of the task has acted on them.
pub trait Port {
    /// Sends what is gathered: the end of a round.
    fn flush(&mut self) -> Result<(), Halt>;
    /// Sends what is gathered, then the mark.
    fn mark(&mut self, mark: Mark) -> Result<(), Halt>;
    /// Sends what is gathered, then the barrier.
    fn barrier(&mut self, barrier: Barrier) -> Result<(), Halt>;
    /// Sends what is gathered, then the end.
    fn end(&mut self) -> Result<(), Halt>;
    /// Time spent waiting for room since the last call: back-pressure.
    fn take_blocked(&mut self) -> Duration;
}

/// How a port sends: it waits for room, and lets the task's checkpoint get on meanwhile.
pub struct Waiting {
    stop: Stop,
    tables: Tables,
    pulse: Arc<Pulse>,
    blocked: Duration,
}

impl Waiting {
    /// Waits until there is room or the attempt ends; encodes what is frozen of `tables` meanwhile, and says on `pulse` that it waits.
    pub fn new(stop: Stop, tables: Tables, pulse: Arc<Pulse>) -> Self {
        Self { stop, tables, pulse, blocked: Duration::ZERO }
    }

    /// Sends with back-pressure.
    pub fn send<M>(&mut self, sender: &Sender<M>, message: M) -> Result<(), Halt> {
        let mut message = match sender.try_send(message) {
            Ok(()) => {
                self.pulse.beat();
                return Ok(());
            }
            Err(TrySendError::Disconnected(_)) => return Err(Halt::Stopped),
            Err(TrySendError::Full(message)) => message,
        };
        let since = Instant::now();
        let working = self.pulse.visit(Phase::Waiting);
        loop {
            self.stop.check()?;
            self.tables.encode_slice()?;
            let patience = Duration::from_millis(if self.tables.has_frozen() { 0 } else { 50 });
            message = match sender.send_timeout(message, patience) {
                Ok(()) => break,
                Err(SendTimeoutError::Disconnected(_)) => return Err(Halt::Stopped),
                Err(SendTimeoutError::Timeout(message)) => message,
            };
        }
        self.pulse.leave(working);
        self.blocked += since.elapsed();
        Ok(())
    }

    /// Time spent waiting since the last call.
    pub fn take_blocked(&mut self) -> Duration {
        std::mem::take(&mut self.blocked)
    }
}
