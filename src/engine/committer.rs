//! The thread that commits: it waits for a permit, and does nothing else.

use super::{
    event::TaskEvent,
    halt::Halt,
    sink::{CommitOutcome, Sealed},
    stop::Stop,
};
use crate::failpoint;
use crate::protocol::{Carrier, CommitPermit, Failure};
use crossbeam_channel::{Receiver, Sender, select};
use std::time::Instant;

/// What the committer works with.
pub struct Committer {
    /// Flushed transactions, in order of their checkpoints.
    pub sealed: Receiver<Sealed>,
    /// Permits, in the same order.
    pub permits: Receiver<CommitPermit>,
    /// Which offsets Kafka is told.
    pub carrier: Carrier,
    /// To the coordinator.
    pub events: Sender<TaskEvent>,
    /// The end of the attempt.
    pub stop: Stop,
}

impl Committer {
    /// Runs until the attempt ends.
    pub fn run(self) -> Result<(), Halt> {
        loop {
            let permit = select! {
                recv(self.permits) -> permit => permit.map_err(|_| Halt::Stopped)?,
                recv(self.stop.signal()) -> _ => return Err(Halt::Stopped),
            };
            let sealed = self.sealed.recv().map_err(|_| Halt::Stopped)?;
            self.stop.send(&self.events, commit(permit, &self.carrier, sealed)?)?;
        }
    }
}

/// Commits the transaction that the permit is for, and says what Kafka said.
pub fn commit(permit: CommitPermit, carrier: &Carrier, Sealed { checkpoint, transaction }: Sealed) -> Result<TaskEvent, Failure> {
    if checkpoint != permit.checkpoint() {
        let wanted = permit.checkpoint();
        return Err(Failure::attempt(format!("permit for checkpoint {wanted}, transaction of {checkpoint}")));
    }
    failpoint::hit("after-manifest")?;
    let since = Instant::now();
    let outcome = transaction.commit(permit, carrier);
    if outcome == CommitOutcome::Committed {
        failpoint::hit("after-commit")?;
    }
    Ok(match outcome {
        CommitOutcome::Committed => TaskEvent::Committed { checkpoint, took: since.elapsed() },
        CommitOutcome::Fenced(message) => TaskEvent::CommitFailed { checkpoint, fenced: true, message },
        CommitOutcome::Unknown(message) => TaskEvent::CommitFailed { checkpoint, fenced: false, message },
    })
}
