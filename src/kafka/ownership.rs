//! Who owns the job: one transactional id that is initialised once per attempt, and first.
//!
//! Producers are initialised again and again while the job runs ([`super::pool`]). That is the very act that fences others, so an
//! instance that was replaced could take ids back from the one that replaced it:
//!
//! ```text
//!   old instance A        new instance B
//!   commit N on id 0
//!                         fences 0, 1, 2, reads offsets: N
//!   initialises 0 again   (B's producer of 0 is fenced!)
//!   ... commits N+1 on 0  ... commits N+1 on 1           both are visible: every output twice
//! ```
//!
//! The owner id forbids it, by two rules:
//!
//! 1. An instance initialises the owner id **before** any other id, and never again during the attempt.
//! 2. A producer that was initialised may be used only after a request on the owner id, sent *after* that initialisation, has
//!    succeeded. The same holds once for all of them at the start, before the committed offsets are read.
//!
//! Argument. Let A use a producer of X: initialised at i, ownership proven at o > i. Let B be another instance, which initialised the
//! owner at f and X at x > f (rule 1). The proof at o succeeded, so B had not yet taken the owner: o < f. Hence i < o < f < x: B's
//! initialisation of X comes after A's, and fences it. So of any two instances, the one that took the owner id last fences *every*
//! usable producer of the other before it reads the committed offsets. Two instances that start at the same moment and
//! interleave their initialisations are covered too: rule 2 lets only the last owner begin.
//!
//! (An instance asks *before* it initialises a producer too, so that one that was replaced does not disturb the one that replaced it.
//! That is a courtesy, and no part of the argument.)
//!
//! Between two attempts of one process the handle of the owner id is kept. When another instance has started meanwhile, which the
//! checkpoint storage tells, the handle is asked before the next attempt takes the job ([`LastOwnership`]): else an instance that was
//! replaced, and fails for some other reason before it notices, would take the job back, and two supervisors would take turns.
//! Only a process that starts takes a job from another one. (The handle alone would not do: a transaction that the broker gave up,
//! because it was away in the middle of a proof, looks like fencing.)
//!
//! The proof is a transaction that is always aborted: it adds offsets of the group (which the coordinator refuses for an old epoch) and
//! gives up. No EndTxn(commit) is ever sent for this id, so a delayed one cannot make those offsets visible. It leaves nothing
//! behind and takes about 5 ms, in the background. Fencing of *another* id says nothing certain; the owner id is asked then, and
//! decides between "another instance owns the job" and "start again".

use super::{
    Connection, context::Deliveries, failure, fencing::fence_with_one, group::ConsumerGroup, transaction::offsets, waiting::Wait,
};
use crate::failpoint;
use crate::protocol::{Failure, FailureKind, TopicPartition};
use rdkafka::{
    error::KafkaError,
    producer::{BaseProducer, Producer as _},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
    time::Duration,
};

/// A proof that a kill interrupts blocks readers of the group's offsets until the broker gives it up, or the job runs again. It is
/// long enough for a broker to restart meanwhile: a transaction that the broker gives up looks like one that was fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for one answer; then the flag is looked at, and it is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two proofs that did not come about.
const PAUSE: Duration = Duration::from_millis(50);

/// For the question what a fencing means.
const JUDGEMENT: Duration = Duration::from_secs(10);

/// The transactional id that decides who owns the jobs that commit to `group`.
#[must_use]
pub fn owner_id(group: &str) -> String {
    format!("{group}-owner")
}

/// The owner id's producer, held until the next attempt has asked it.
pub(super) struct Ownership {
    id: String,
    group: Arc<ConsumerGroup>,
    witness: TopicPartition,
    producer: Mutex<BaseProducer<Deliveries>>,
}

/// The ownership of the last attempt of this process, if there was one.
#[derive(Default)]
pub struct LastOwnership(Mutex<Option<Arc<Ownership>>>);

impl LastOwnership {
    pub(super) fn set(&self, ownership: &Arc<Ownership>) {
        *self.lock() = Some(Arc::clone(ownership));
    }

    /// Proves that nobody has taken the job since; without a last attempt there is nothing to prove. A handle that is broken for
    /// another reason than fencing can prove nothing any more, and is given up.
    ///
    /// # Errors
    ///
    /// Fenced if somebody has; transient or attempt if it could not be found out within `patience`.
    pub fn prove(&self, patience: Duration, cancel: &AtomicBool) -> Result<(), Failure> {
        let Some(last) = self.lock().take().filter(|_| !failpoint::switched_off("last-ownership")) else { return Ok(()) };
        match last.prove(&Wait::new(patience, cancel)) {
            Err(failure) if failure.kind == FailureKind::Fenced => Err(failure),
            Err(failure) if !last.is_broken() => {
                self.set(&last);
                Err(failure)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Ownership>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ownership {
    /// Takes the job from whoever had it: a producer of the owner id, for [`Ownership::new`].
    pub(super) fn take(
        connection: &Connection,
        group: &str,
        transaction_timeout: Duration,
        wait: &Wait<'_>,
    ) -> Result<BaseProducer<Deliveries>, Failure> {
        let id = owner_id(group);
        let producer = connection.transactional_client(&id, transaction_timeout.min(TRANSACTION_TIMEOUT))?;
        // A pool's id that is fenced by a request of our own costs an attempt. The owner's would look like another instance, and end
        // the process; and it hardly ever has a transaction that hangs, which is what several handles are quicker at.
        fence_with_one(producer, &id, wait)
    }

    /// `witness` is any partition that exists.
    pub(super) fn new(producer: BaseProducer<Deliveries>, group: Arc<ConsumerGroup>, witness: TopicPartition) -> Self {
        Self { id: owner_id(group.name()), group, witness, producer: Mutex::new(producer) }
    }

    /// Proves that nobody has taken the job since.
    ///
    /// # Errors
    ///
    /// Fenced if somebody has; transient or attempt if it could not be found out.
    pub(super) fn prove(&self, wait: &Wait<'_>) -> Result<(), Failure> {
        if failpoint::switched_off("owner-id") {
            return Ok(());
        }
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Others may have asked before, for long: the pool's workers come here one after the other.
            if wait.cancelled() {
                return Err(failure::cancelled("proof of ownership"));
            }
            let proven = self.ask(&producer);
            producer.poll(Duration::ZERO);
            let Err(error) = proven else { return Ok(()) };
            let failure = failure::failure(format_args!("proof of ownership ({})", self.id), &error);
            let fatal = producer.client().fatal_error();
            let fencing = fatal.as_ref().is_some_and(|(code, _)| failure::is_fencing(*code));
            if fencing || failure.kind == FailureKind::Fenced {
                return Err(self.lost());
            }
            if let Some((_, reason)) = fatal {
                return Err(failure.context(reason));
            }
            let again = matches!(failure.kind, FailureKind::Transient | FailureKind::Attempt);
            if !again || wait.is_over() || wait.cancelled() {
                return Err(failure);
            }
            // A broker restarts, or the coordinator moves: give this transaction up, in whatever state it is, and ask anew.
            let _ = producer.abort_transaction(ANSWER);
            thread::sleep(PAUSE);
        }
    }

    fn is_broken(&self) -> bool {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).client().fatal_error().is_some()
    }

    fn lost(&self) -> Failure {
        let group = self.group.name();
        Failure::fenced(format!(
            "another instance has taken over the job of group {group}: it initialised transactional id {} after this one, so this \
             instance must end. If the other one was not meant, stop it, or give each job its own name and group (kafka.group)",
            self.id
        ))
    }

    fn ask(&self, producer: &BaseProducer<Deliveries>) -> Result<(), KafkaError> {
        let witness = [(self.witness.clone(), 0)].into();
        let offsets = offsets(&witness, "proof of ownership, always aborted").map_err(|_| KafkaError::Canceled)?;
        producer.begin_transaction()?;
        producer.send_offsets_to_transaction(&offsets, self.group.metadata(), ANSWER)?;
        producer.abort_transaction(ANSWER)
    }

    /// What fencing of some other id means: the job is lost, or (if this id is still ours) the attempt is.
    pub(super) fn judge(&self, fenced: Failure) -> Failure {
        let cancel = AtomicBool::new(false);
        match self.prove(&Wait::new(JUDGEMENT, &cancel)) {
            Err(lost) if lost.kind == FailureKind::Fenced => Failure::fenced(format!("{} ({fenced})", lost.message)),
            Err(unknown) => Failure::attempt(format!("{fenced}; and who owns the job could not be found out: {unknown}")),
            Ok(()) => Failure::attempt(format!(
                "{fenced}; but {} is ours still: an instance that was replaced has touched the id, or a client of something else uses it",
                self.id
            )),
        }
    }
}
