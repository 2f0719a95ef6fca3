//! What must hold, asked after every commit and every deletion: the shared invariants, over what the broker and the store really
//! hold.

use super::{
    broker::{Broker, Record},
    files::Folder,
    job::{self, Counts, INPUT, Tables},
    world::World,
};
use crate::checkpoint::{Manifest, faulty::Bucket};
use crate::protocol::{
    CheckpointId, JobName, ManifestRef, Pointer, Positions, TopicPartition,
    invariants::{self, Commit, Kept, Named, Violation},
    recovery::CommittedOffset,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Names of the checks, as the model has them; the second one is only of jobs with files.
pub(super) const OUTPUTS: &str = "outputs are the fold of the committed input, each once";
pub(super) const FILES: &str = "files hold what is committed, each once";
pub(super) const NAMED: &str = "what Kafka names is durable and whole";
pub(super) const STATE: &str = "the state is the fold of its input";
pub(super) const OWNERS: &str = "one owner's commits";
pub(super) const REFUSALS: &str = "no refusal without a reason";
pub(super) const WAITS: &str = "nobody waits for what cannot come";
pub(super) const RECOVERS: &str = "a run without faults recovers";

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// What the group's offsets are.
type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// What has been seen of commits so far.
#[derive(Default)]
struct Seen {
    commits: Vec<Commit>,
    /// Of the broker's commits, how many have been looked at.
    taken: usize,
    offsets: Offsets,
    /// The right output of every record, as of the last commit.
    inputs: BTreeMap<TopicPartition, Vec<String>>,
}

/// Clones are the same ones.
#[derive(Clone)]
pub(super) struct Checks {
    world: World,
    bucket: Bucket,
    job: JobName,
    /// Of a job that writes to it as well.
    folder: Option<Folder>,
    seen: Arc<Mutex<Seen>>,
}

impl Checks {
    /// Checks over `bucket`, and over `folder` if the job writes to one.
    pub(super) fn new(world: &World, bucket: &Bucket, job: &JobName, folder: Option<Folder>) -> Self {
        Self { world: world.clone(), bucket: bucket.clone(), job: job.clone(), folder, seen: Arc::default() }
    }

    /// After a request that the broker has carried out.
    pub(super) fn after_request(&self, broker: &Broker) {
        let mut seen = super::world::lock(&self.seen);
        let first = std::mem::replace(&mut seen.taken, broker.commits.len());
        if first == broker.commits.len() {
            return;
        }
        seen.offsets.clone_from(&broker.offsets);
        seen.inputs =
            partitions(broker).map(|(partition, log)| (partition.clone(), expected(partition.partition, log))).collect();
        for (number, committed) in broker.commits.iter().enumerate().skip(first) {
            // The request with the offsets was on its way twice, and came once more after the commit: it opened a transaction without
            // records. The commit was asked for again, its answer being lost, and ended that one. It is the same id with the same
            // offsets: nothing has changed, and nobody was in between, whose fencing would have refused both.
            if number > 0 && broker.commits.get(number - 1) == Some(committed) {
                self.world.record(format_args!("COMMITTED the same again with {}", committed.id));
                continue;
            }
            let pointers = committed.offsets.values().filter_map(|offset| offset.metadata.parse::<Pointer>().ok());
            let Some(pointer) = pointers.max() else {
                return self.world.violated(NAMED, format_args!("{} committed without a pointer", committed.id));
            };
            let base = self.manifest(&pointer).ok().and_then(|(manifest, _)| manifest.base.map(|base| base.checkpoint));
            seen.commits.push(Commit { checkpoint: pointer.checkpoint, base });
            self.world.record(format_args!("COMMITTED {} with {}", pointer.checkpoint, committed.id));
        }
        let (offsets, commits) = (seen.offsets.clone(), seen.commits.clone());
        drop(seen);
        // Outputs first: they are what readers see.
        self.must(OUTPUTS, self.outputs(broker));
        self.must(NAMED, self.named(&offsets).map(drop));
        self.must(FILES, self.files(&offsets));
        self.must(STATE, self.state(broker, &offsets));
        self.must(OWNERS, invariants::commits_form_a_chain(commits));
    }

    /// After something may have been deleted.
    pub(super) fn after_deletion(&self) {
        let offsets = super::world::lock(&self.seen).offsets.clone();
        self.must(NAMED, self.named(&offsets).map(drop));
        self.must(FILES, self.files(&offsets));
    }

    /// When everything is given out.
    pub(super) fn at_the_end(&self) {
        let left = self.folder.as_ref().is_some_and(Folder::has_staged);
        self.must(FILES, if left { Err(Violation::new("something is staged still")) } else { Ok(()) });
    }

    /// How far the input is committed.
    pub(super) fn committed(&self) -> Positions {
        self.positions(&super::world::lock(&self.seen).offsets.clone())
    }

    /// The same for these offsets: an anchor is none, and what is not Kafka's is in the manifest only.
    fn positions(&self, offsets: &Offsets) -> Positions {
        let pointer = offsets.values().find_map(|offset| offset.metadata.parse::<Pointer>().ok());
        let manifest = pointer.and_then(|pointer| self.manifest(&pointer).ok());
        let mut positions = Positions::new();
        if let Some((manifest, _)) = manifest {
            let only_here = manifest.only_here();
            positions = manifest.positions();
            positions.retain(|partition, _| only_here.contains(partition));
        }
        let input = offsets.iter().filter(|(at, _)| &*at.topic == INPUT);
        positions.extend(input.map(|(at, offset)| (at.clone(), offset.offset)));
        positions
    }

    /// Commits so far.
    pub(super) fn commits(&self) -> usize {
        super::world::lock(&self.seen).commits.len()
    }

    fn must(&self, check: &'static str, held: Result<(), Violation>) {
        if let Err(violation) = held {
            self.world.violated(check, violation);
        }
    }

    fn outputs(&self, broker: &Broker) -> Result<(), Violation> {
        let wanted = super::world::lock(&self.seen).inputs.clone();
        let values = broker.visible().map(|written| String::from_utf8_lossy(&written.value).into_owned());
        each_once(&wanted, &self.positions(&broker.offsets), values)
    }

    /// What readers of the files see, and will see once what is committed is published.
    fn files(&self, offsets: &Offsets) -> Result<(), Violation> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let pointer = offsets.values().find_map(|offset| offset.metadata.parse::<Pointer>().ok());
        let manifest = pointer.and_then(|pointer| self.manifest(&pointer).ok());
        let named: Vec<String> = manifest.into_iter().flat_map(|(manifest, _)| manifest.staged.into_values().flatten()).collect();
        let wanted = super::world::lock(&self.seen).inputs.clone();
        each_once(&wanted, &self.positions(offsets), folder.published_with(&named))
    }

    /// The committed checkpoint, if there is one: its manifest and its files.
    fn named(&self, offsets: &Offsets) -> Result<Option<(Manifest, Files)>, Violation> {
        let mut pointers: Vec<Pointer> = offsets.values().filter_map(|offset| offset.metadata.parse().ok()).collect();
        pointers.dedup();
        let pointer = match pointers.as_slice() {
            [] => return Ok(None),
            [one] => one,
            _ => return Err(Violation::new(format!("the partitions do not agree on the checkpoint: {pointers:?}"))),
        };
        let anchors = offsets.iter().filter(|(at, _)| &*at.topic != INPUT);
        if let Some((at, offset)) = anchors.into_iter().find(|(_, at)| at.offset != pointer.checkpoint.0 as i64) {
            return Err(Violation::new(format!("{} is committed as {} of {at}", pointer.checkpoint, offset.offset)));
        }
        let positions = self.positions(offsets);
        let named = Named { checkpoint: pointer.checkpoint, hash: pointer.hash.clone(), offsets: &positions };
        let Ok((manifest, reference)) = self.manifest(pointer) else {
            return Err(invariants::named_is_restorable(&named, None::<&Kept<'_, _, _, String>>, |_| true)
                .err()
                .unwrap_or_else(|| Violation::new("no manifest")));
        };
        let contents = self.bucket.contents();
        let mut files = BTreeMap::new();
        for file in &manifest.files {
            let path = format!("{}/files/{}", self.job, file.object_name());
            if let Some(bytes) = contents.get(&path).filter(|bytes| blake3::hash(bytes) == file.hash) {
                files.insert(file.name.clone(), bytes.to_vec());
            }
        }
        let names: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
        let kept = Kept { hash: reference.hash.short(), positions: &manifest.positions(), files: &names };
        invariants::named_is_restorable(&named, Some(&kept), |name| files.contains_key(name))?;
        Ok(Some((manifest, files)))
    }

    fn manifest(&self, pointer: &Pointer) -> Result<(Manifest, ManifestRef), ()> {
        let CheckpointId(number) = pointer.checkpoint;
        let path = format!("{}/manifests/{number:020}.json", self.job);
        let contents = self.bucket.contents();
        let bytes = contents.get(&path).ok_or(())?;
        let manifest = Manifest::from_bytes(bytes, &self.job, pointer.checkpoint, &path).map_err(drop)?;
        Ok((manifest, Manifest::reference(pointer.checkpoint, bytes)))
    }

    fn state(&self, broker: &Broker, offsets: &Offsets) -> Result<(), Violation> {
        let Ok(Some((manifest, files))) = self.named(offsets) else { return Ok(()) };
        let counts = Tables::parse(&files).map_err(|failure| Violation::new(failure.message))?.counts();
        invariants::state_is_fold(&manifest.positions(), &job::folded(&counts))?;
        let mut right = Counts::new();
        for (partition, log) in partitions(broker) {
            let read = manifest.positions().get(&partition).copied().unwrap_or_default();
            for record in log.iter().take(usize::try_from(read).unwrap_or(0)) {
                for key in ["", &record.key] {
                    *right.entry((partition.partition, key.to_owned())).or_default() += 1;
                }
            }
        }
        if counts == right { Ok(()) } else { Err(Violation::new(format!("counts are {counts:?}, right is {right:?}"))) }
    }
}

fn partitions(broker: &Broker) -> impl Iterator<Item = (TopicPartition, &Vec<Record>)> {
    let logs = broker.inputs.get(INPUT).into_iter().flatten().enumerate();
    logs.map(|(number, log)| (TopicPartition::new(INPUT, i32::try_from(number).unwrap_or(-1)), log))
}

/// The right output of every record of a partition.
fn expected(partition: i32, log: &[Record]) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    let mut all = Vec::with_capacity(log.len());
    for (offset, record) in (0_i64..).zip(log) {
        let count = counts.entry(&record.key).or_default();
        *count += 1;
        all.push(job::output(partition, offset, &record.key, *count));
    }
    all
}

/// Of these values each is the right output of a record, and there is one for each record that is committed, in order.
fn each_once(
    wanted: &BTreeMap<TopicPartition, Vec<String>>,
    committed: &Positions,
    values: impl IntoIterator<Item = String>,
) -> Result<(), Violation> {
    let begin: Positions = wanted.keys().map(|partition| (partition.clone(), 0)).collect();
    let mut seen = Vec::new();
    for value in values {
        let mut parts = value.split(':').map(str::parse::<i64>);
        let (Some(Ok(partition)), Some(Ok(offset))) = (parts.next(), parts.next()) else {
            return Err(Violation::new(format!("{value:?} is no output of the job")));
        };
        let partition = TopicPartition::new(INPUT, i32::try_from(partition).unwrap_or(-1));
        let right = wanted.get(&partition).and_then(|all| all.get(usize::try_from(offset).ok()?));
        if right.is_none_or(|right| *right != value) {
            return Err(Violation::new(format!("output {value}: {right:?} is right")));
        }
        seen.push((partition, offset));
    }
    invariants::each_once_in_order(&begin, committed, seen)
}
