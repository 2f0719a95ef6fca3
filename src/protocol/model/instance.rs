//! One process: what the engine does around the core, reduced to what can be seen from outside.
//!
//! It decides nothing of its own: where to begin comes from `recovery`, when to commit from `Coordinator`, what to delete
//! from `garbage`.

use super::{
    PARTITIONS, Partition,
    broker::{Broker, EndTxn, Fenced, IDS},
    recovering::Recovering,
    running::{Running, Work},
    store::Store,
};
use crate::protocol::{
    Trigger,
    mutant::{Mutant, on},
    recovery,
};

/// What an instance sees of the world.
pub(super) struct Outside<'a> {
    pub(super) broker: &'a mut Broker,
    pub(super) store: &'a mut Store,
    /// Records in the input, per partition.
    pub(super) records: [u8; PARTITIONS],
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Instance {
    /// No process, or one between two attempts.
    Down,
    /// Ended for good: finished.
    Finished,
    /// Ended for good: recovery refused, for this reason.
    Refused(String),
    Recovering(Recovering),
    Running(Box<Running>),
}

/// One step of one instance. Those that are faults say so in [`Step::is_fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Own,
    Fence(u8),
    Prove,
    Read,
    Decide,
    LookAgain,
    Answer,
    Deliver,
    Upload,
    Put,
    Commit,
    Confirm,
    DeleteManifests,
    DeleteFiles,
    Initialise(u8),
    ProveProducer(u8),
    Barrier,
    Acknowledge,
    Trigger(Trigger),
    Process(Partition),
    UploadFails,
    PutFails,
    PutSeemsToFail,
    MarkerFails,
    CommitTimesOut,
    CheckpointTimesOut,
}

impl Step {
    pub(super) fn is_fault(self) -> bool {
        use Step::{CheckpointTimesOut, CommitTimesOut, MarkerFails, PutFails, PutSeemsToFail, UploadFails};
        matches!(self, UploadFails | PutFails | PutSeemsToFail | MarkerFails | CommitTimesOut | CheckpointTimesOut)
    }
}

/// The attempt is over.
pub(super) enum Ended {
    /// Something failed; another attempt may begin.
    Failed,
    Finished,
    Refused(String),
}

impl From<Fenced> for Ended {
    fn from(_: Fenced) -> Self {
        Ended::Failed
    }
}

impl Instance {
    /// A new attempt with a pool of `pool` producers: it lists the manifests, which says what to fence.
    pub(super) fn start(attempt: u8, pool: u8, outside: &Outside<'_>) -> Self {
        let listed = outside.store.listed();
        let older: Vec<_> = listed.values().flatten().map(|manifest| &manifest.transactional_ids).collect();
        let today = super::ids(pool);
        let to_fence = recovery::ids_to_fence(&today, older).iter().map(|id| super::id(id)).collect();
        let read = on(Mutant::ReadBeforeFence).then_some(outside.broker.committed);
        let listed = on(Mutant::ListedOnce).then(|| outside.store.clone());
        Instance::Recovering(Recovering {
            attempt,
            pool,
            owner: None,
            proven: false,
            to_fence,
            epochs: [None; IDS],
            read,
            refused: None,
            listed,
        })
    }

    /// What it may do next, the most urgent first. `last` is the highest checkpoint number that may be begun.
    pub(super) fn steps(&self, records: [u8; PARTITIONS], last: u8, savepoint: bool, steps: &mut Vec<Step>) {
        match self {
            Instance::Down | Instance::Finished | Instance::Refused(..) => {}
            Instance::Recovering(recovering) => recovering.steps(steps),
            Instance::Running(running) => running.steps(records, last, savepoint, steps),
        }
    }

    pub(super) fn step(&mut self, step: Step, outside: &mut Outside<'_>) {
        let ended = match self {
            Instance::Down | Instance::Finished | Instance::Refused(..) => return,
            Instance::Recovering(recovering) => match recovering.step(step, outside) {
                Ok(None) => return,
                Ok(Some(running)) => {
                    *self = Instance::Running(Box::new(running));
                    return;
                }
                Err(ended) => ended,
            },
            Instance::Running(running) => match running.step(step, outside) {
                Ok(()) => return,
                Err(ended) => ended,
            },
        };
        *self = match ended {
            Ended::Failed => Instance::Down,
            Ended::Finished => Instance::Finished,
            Ended::Refused(why) => Instance::Refused(why),
        };
    }

    /// The broker has answered a commit.
    pub(super) fn answered(&mut self, request: EndTxn, ok: bool) {
        if let Instance::Running(running) = self
            && let Some(Work::Answer(awaited, answer)) = running.work.first_mut()
            && *awaited == request
        {
            *answer = Some(ok);
        }
    }

    pub(super) fn awaits(&self, request: EndTxn) -> bool {
        matches!(self, Instance::Running(running) if matches!(running.work.first(), Some(Work::Answer(awaited, None)) if *awaited == request))
    }

    /// Per task, its position and how much is folded into its state.
    pub(super) fn folds(&self) -> Option<[(u8, u8); PARTITIONS]> {
        match self {
            Instance::Running(running) => Some(running.tasks.map(|task| (task.position, task.folded))),
            _ => None,
        }
    }
}
