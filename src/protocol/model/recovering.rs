//! An attempt from its first look at the storage until it knows where to begin.

use super::{
    PARTITIONS,
    broker::{IDS, Named},
    instance::{Ended, Outside, Step},
    running::{Producer, Running, Task},
    store::{self, File, Store, hash, number, small},
};
use crate::protocol::{
    Coordinator, FailureKind, ManifestRef, Plan, Pointer, Positions,
    mutant::{Mutant, on},
    recovery::{self, CommittedOffset, Evidence, Recovery, Restore},
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Recovering {
    pub(super) attempt: u8,
    pub(super) pool: u8,
    /// Epoch of the owner id, once it is taken.
    pub(super) owner: Option<u8>,
    pub(super) proven: bool,
    pub(super) to_fence: Vec<u8>,
    pub(super) epochs: [Option<u8>; IDS],
    pub(super) read: Option<[Option<(u8, Named)>; PARTITIONS]>,
    /// What a look at the storage has refused; the offsets are read again before it counts.
    pub(super) refused: Option<String>,
    /// Only a mutant uses what was listed first.
    pub(super) listed: Option<Store>,
}

impl Recovering {
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        let own_first = !on(Mutant::OwnerTakenLast);
        let to_fence = 0..u8::try_from(self.to_fence.len()).expect("small");
        match self {
            Recovering { owner: None, .. } if own_first || to_fence.is_empty() => steps.push(Step::Own),
            _ if !to_fence.is_empty() => steps.extend(to_fence.map(Step::Fence)),
            Recovering { proven: false, .. } => steps.push(Step::Prove),
            Recovering { read: None, .. } => steps.push(Step::Read),
            Recovering { refused: Some(_), .. } => steps.push(Step::LookAgain),
            Recovering { .. } => steps.push(Step::Decide),
        }
    }

    pub(super) fn step(&mut self, step: Step, outside: &mut Outside<'_>) -> Result<Option<Running>, Ended> {
        match step {
            Step::Own => {
                self.owner = Some(outside.broker.take());
                Ok(None)
            }
            Step::Fence(index) => {
                let id = self.to_fence.remove(usize::from(index));
                self.epochs[usize::from(id)] = Some(outside.broker.initialise(id));
                Ok(None)
            }
            Step::Prove => {
                outside.broker.prove(self.owner.unwrap_or_default())?;
                self.proven = true;
                Ok(None)
            }
            Step::Read => {
                self.read = Some(outside.broker.committed);
                Ok(None)
            }
            Step::LookAgain => {
                if self.read == Some(outside.broker.committed) {
                    return Err(Ended::Refused(self.refused.take().unwrap_or_default()));
                }
                (self.read, self.refused) = (Some(outside.broker.committed), None);
                Ok(None)
            }
            _ => self.decide(outside),
        }
    }

    fn decide(&mut self, outside: &Outside<'_>) -> Result<Option<Running>, Ended> {
        let job = super::job();
        let store = self.listed.as_ref().unwrap_or(outside.store);
        let committed = self.read.unwrap_or_default();
        let pointer =
            |named: Named| Pointer::to(&job, &ManifestRef { checkpoint: number(named.checkpoint), hash: hash(named.hash) });
        let committed = committed.map(|committed| {
            committed.map(|(offset, named)| CommittedOffset { offset: i64::from(offset), metadata: pointer(named).to_string() })
        });
        let fenced = (0..).zip(self.epochs).filter(|(_, epoch)| epoch.is_some()).map(|(id, _)| super::id_name(id));
        let evidence = Evidence {
            committed: super::input().into_iter().zip(committed).collect(),
            anchors: std::collections::BTreeMap::new(),
            manifests: store.listed(),
            torn: std::collections::BTreeSet::new(),
            markers: store.markers.iter().map(|(id, content)| (number(*id), hash(*content))).collect(),
            log_bounds: super::input().into_iter().zip(outside.records.map(|records| (0, i64::from(records)))).collect(),
            fenced: fenced.collect(),
            restore: None,
            from: None,
        };
        let seen = evidence.manifests.keys().chain(evidence.markers.keys()).copied();
        let (base, positions, next) = match recovery::decide(&job, "g", &evidence) {
            Ok(Recovery::Fence(ids)) => {
                self.to_fence = ids.iter().map(|id| super::id(id)).collect();
                (self.read, self.proven) = (None, false);
                return Ok(None);
            }
            Ok(Recovery::FirstStart) => {
                let positions = super::input().into_iter().map(|partition| (partition, 0)).collect();
                (None, positions, recovery::next_checkpoint(None, seen))
            }
            Ok(Recovery::Restore(Restore { manifest, positions, .. })) => {
                (Some(manifest), positions, recovery::next_checkpoint(Some(manifest.checkpoint), seen))
            }
            Ok(Recovery::Begin(begin)) => unreachable!("nobody gave a savepoint: {begin:?}"),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Refused);
                self.refused = Some(failure.message);
                return Ok(None);
            }
        };
        match self.begin(outside, base, positions, small(next)) {
            Ok(running) => Ok(Some(running)),
            Err(why) => {
                self.refused = Some(why);
                Ok(None)
            }
        }
    }

    fn begin(&self, outside: &Outside<'_>, base: Option<ManifestRef>, positions: Positions, next: u8) -> Result<Running, String> {
        let none = |partition| File { partition, folded: 0, number: 0, attempt: 0 };
        let mut files = [none(0), none(1)];
        if let Some(manifest) = base.and_then(|base| outside.store.manifests.get(&small(base.checkpoint))) {
            files = manifest.files;
            if let Some(file) = files.iter().find(|file| !outside.store.files.contains(file)) {
                return Err(format!("file {file:?} is missing"));
            }
        }
        let offsets = store::offsets(&positions).map(Option::unwrap_or_default);
        let mut tasks = [0, 1].map(|task: usize| Task { position: offsets[task], folded: files[task].folded });
        if on(Mutant::LocalStateKept) {
            // Whatever the last attempt of this machine had folded is there.
            tasks[0].folded =
                outside.store.files.iter().filter(|file| file.partition == 0).map(|file| file.folded).max().unwrap_or(0);
        }
        let mut producers: Vec<_> = self.epochs.iter().map(|epoch| epoch.map_or(Producer::Used, Producer::Ready)).collect();
        producers.truncate(usize::from(self.pool));
        let last_id = if on(Mutant::BeginsWithAnyId) { self.pool - 2 } else { self.pool - 1 };
        let job = super::job();
        let mut running = Running {
            attempt: self.attempt,
            owner: self.owner.unwrap_or_default(),
            core: Coordinator::new(Plan { job, tasks: PARTITIONS, next: number(next), base, positions }),
            tasks,
            files,
            has_files: base.is_some(),
            producers,
            last_id,
            open: None,
            sealed: None,
            making: None,
            work: Vec::new(),
        };
        running.take_producer();
        Ok(running)
    }
}
