//! One signal that ends all threads of an attempt.

use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering};

/// The attempt is over; whoever sees it returns at once. Not an error of its own: the cause was reported by another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Shared by all threads of an attempt. Clones are the same signal.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    // Dropping the sender wakes everybody who waits on the receiver.
    sender: Arc<Mutex<Option<Sender<()>>>>,
    receiver: Receiver<()>,
}

impl Stop {
    /// A signal that was not given yet.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Self { flag: Arc::new(AtomicBool::new(false)), sender: Arc::new(Mutex::new(Some(sender))), receiver }
    }

    /// Ends the attempt. Any number of times.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        if let Ok(mut sender) = self.sender.lock() {
            sender.take();
        }
    }

    /// Whether the attempt is over.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// `Err` when the attempt is over.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// The flag itself, for code that polls it between slices of a blocking call.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Becomes ready (disconnected) when the attempt is over.
    pub fn signal(&self) -> &Receiver<()> {
        &self.receiver
    }

    /// Sends with back-pressure: waits for room, or for the end.
    pub fn send<T>(&self, sender: &Sender<T>, message: T) -> Result<(), Stopped> {
        select! {
            send(sender, message) -> sent => sent.map_err(|_| Stopped),
            recv(self.receiver) -> _ => Err(Stopped),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Stopped> for super::Halt {
    fn from(_: Stopped) -> Self {
        super::Halt::Stopped
    }
}
