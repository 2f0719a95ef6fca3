//! One suite that every store passes: in memory, a folder, a store that fails now and then, and a bucket on a real server.

use super::{
    Amount, Collector, Executor, Holdings, Manifest, Reason, Retention, StateFile, Storage, Uploaded,
    bucket_tests::{self, real_time},
    faulty::{Bucket, Faults},
    location::{Connected, Location},
};
use crate::protocol::{CheckpointId, FailureKind, JobName, ManifestHash, ManifestRef, Pointer};
use object_store::{ObjectStoreExt, memory::InMemory, path::Path as ObjectPath};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A runtime that the calls themselves drive, with a clock that jumps over pauses.
pub(super) fn executor() -> Executor {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    Executor::Own(Arc::new(runtime))
}

pub(super) fn job() -> JobName {
    "orders".parse().unwrap()
}

/// What one suite run talks to: a place that can be opened again and again.
pub(super) struct Place {
    pub(super) name: &'static str,
    connected: Connected,
    runtime: Executor,
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn all() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let local = Location::folder(folder.path().join("checkpoints")).unwrap().connect(true).unwrap();
        let remote =
            |store| Connected { store, prefix: ObjectPath::from("a/prefix"), folder: None, shown: "mem://a/prefix".into() };
        let memory = remote(Arc::new(InMemory::new()));
        let passing = Faults { error: 100, lost_answer: 100, late: 50, cut: 100, ..Faults::default() };
        let failing = remote(Arc::new(Bucket::default().store(1, passing)));
        let place = |name, connected, folder| Self { name, connected, runtime: executor(), folder };
        let mut all = vec![
            place("folder", local, folder),
            place("memory", memory, tempfile::tempdir().unwrap()),
            place("failing now and then", failing, tempfile::tempdir().unwrap()),
        ];
        all.extend(bucket_tests::location().map(|location| Self {
            name: "bucket",
            connected: location.connect(true).unwrap(),
            runtime: real_time(),
            folder: tempfile::tempdir().unwrap(),
        }));
        all
    }

    pub(super) fn attempt(&self, name: &str) -> Storage {
        let over = Storage::over(self.connected.clone(), &job(), self.runtime.clone(), name.to_owned());
        over.claim().unwrap_or_else(|failure| panic!("{}: {failure}", self.name))
    }

    /// A snapshot's folder with these files.
    pub(super) fn snapshot(&self, name: &str, files: &[(&str, &[u8])]) -> (PathBuf, Vec<String>) {
        snapshot(&self.folder.path().join(name), files)
    }

    pub(super) fn overwrite(&self, path: &str, bytes: &[u8]) {
        let path: ObjectPath = format!("{}/orders/{path}", self.connected.prefix).trim_start_matches('/').into();
        let put = || async { self.connected.store.put(&path, bytes.to_vec().into()).await };
        let Executor::Own(runtime) = &self.runtime else { panic!("own runtime") };
        while runtime.block_on(put()).is_err() {}
    }

    pub(super) fn delete(&self, path: &str) {
        let path: ObjectPath = format!("{}/orders/{path}", self.connected.prefix).trim_start_matches('/').into();
        let Executor::Own(runtime) = &self.runtime else { panic!("own runtime") };
        while runtime.block_on(self.connected.store.delete(&path)).is_err() {}
    }
}

pub(super) fn snapshot(folder: &Path, files: &[(&str, &[u8])]) -> (PathBuf, Vec<String>) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    (folder.to_owned(), files.iter().map(|(name, _)| (*name).to_owned()).collect())
}

pub(super) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// Uploads a snapshot and makes it checkpoint `number`.
pub(super) fn checkpoint(
    storage: &Storage,
    uploaded: &mut Uploaded,
    number: u64,
    base: Option<ManifestRef>,
    (folder, names): &(PathBuf, Vec<String>),
) -> Result<(Manifest, ManifestRef), crate::protocol::Failure> {
    let report = storage.upload(CheckpointId(number), folder, names, uploaded, MINUTE)?;
    let mut manifest = Manifest::new(job(), CheckpointId(number), base, Reason::Interval);
    (manifest.files, manifest.new_bytes, manifest.total_bytes) = (report.files, report.new_bytes, report.total_bytes);
    let reference = storage.put_manifest(&manifest)?;
    Ok((manifest, reference))
}

fn retention(retained: u32) -> Retention {
    Retention { retained: retained.try_into().unwrap(), grace: Duration::ZERO }
}

#[test]
fn a_manifest_reads_back_as_written_and_lists_ascending() {
    for place in Place::all() {
        let storage = place.attempt("one");
        assert_eq!(storage.list_manifests().unwrap(), [], "{}", place.name);
        for number in [10, 9, 100] {
            let manifest = Manifest::new(job(), CheckpointId(number), None, Reason::Start);
            let reference = storage.put_manifest(&manifest).unwrap();
            assert_eq!(storage.read_manifest(CheckpointId(number)).unwrap(), (manifest.clone(), reference), "{}", place.name);
            let pointer = Pointer::to(&job(), &reference);
            assert_eq!(storage.read_committed(&pointer).unwrap().0, manifest, "{}", place.name);
        }
        assert_eq!(storage.list_manifests().unwrap(), [CheckpointId(9), CheckpointId(10), CheckpointId(100)], "{}", place.name);
    }
}

#[test]
fn a_manifest_is_never_replaced_by_one_of_another_attempt() {
    for place in Place::all() {
        let mine = Manifest::new(job(), CheckpointId(1), None, Reason::Start);
        let mut theirs = mine.clone();
        theirs.group = "another".to_owned();
        place.attempt("one").put_manifest(&mine).unwrap();
        // The same bytes again are a try whose answer was lost.
        place.attempt("one").put_manifest(&mine).unwrap();
        let failure = place.attempt("two").put_manifest(&theirs).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Attempt, "{}: {failure}", place.name);
        assert!(failure.message.contains("00000000000000000001.json"), "{}: {failure}", place.name);
        assert_eq!(place.attempt("one").read_manifest(CheckpointId(1)).unwrap().0, mine, "{}", place.name);
    }
}

#[test]
fn a_marker_is_written_once_and_never_with_another_hash() {
    for place in Place::all() {
        let storage = place.attempt("one");
        let manifest = |number, byte| ManifestRef { checkpoint: CheckpointId(number), hash: ManifestHash([byte; 32]) };
        storage.put_marker(manifest(2, 2)).unwrap();
        storage.put_marker(manifest(2, 2)).unwrap();
        storage.put_marker(manifest(1, 1)).unwrap();
        assert_eq!(storage.put_marker(manifest(2, 3)).unwrap_err().kind, FailureKind::Attempt, "{}", place.name);
        assert_eq!(storage.markers().unwrap(), [manifest(1, 1), manifest(2, 2)], "{}", place.name);
    }
}

#[test]
fn a_restore_brings_back_every_byte_and_the_next_checkpoint_uploads_only_what_is_new() {
    let large = vec![7_u8; (8 << 20) + 12345];
    for place in Place::all() {
        // given a checkpoint with an empty, a small and a large file
        let files: &[(&str, &[u8])] = &[
            ("000007.sst", b"rows"),
            ("000008.sst", &large),
            ("CURRENT", b"MANIFEST-000005\n"),
            ("MANIFEST-000005", b"log"),
            ("OPTIONS-000006", b""),
        ];
        let (storage, mut uploaded) = (place.attempt("one"), Uploaded::nothing());
        let taken = place.snapshot("n1", files);
        let (manifest, first) = checkpoint(&storage, &mut uploaded, 1, None, &taken).unwrap();
        assert_eq!((manifest.files.len(), manifest.new_bytes), (5, manifest.total_bytes), "{}", place.name);

        // when the same attempt takes another one with one more table
        std::fs::write(taken.0.join("000009.sst"), b"more rows").unwrap();
        std::fs::write(taken.0.join("MANIFEST-000005"), b"log, longer").unwrap();
        let mut next = taken.clone();
        next.1.push("000009.sst".to_owned());
        let (second, _) = checkpoint(&storage, &mut uploaded, 2, Some(first), &next).unwrap();
        // then only the table and the changed log are new
        assert_eq!(second.new_bytes, 9 + 11, "{}", place.name);
        assert_eq!(second.total_bytes, manifest.total_bytes + 9 + 8, "{}", place.name);

        // when another attempt restores it
        let storage = place.attempt("two");
        let restored = place.folder.path().join("restored");
        let (read, _) = storage.read_manifest(CheckpointId(2)).unwrap();
        let seen = std::sync::Mutex::new(Vec::new());
        let report = storage.restore(&read, &restored, MINUTE, &|progress| seen.lock().unwrap().push(progress)).unwrap();
        // then all is there
        assert_eq!(contents(&restored), contents(&next.0), "{}", place.name);
        assert_eq!((report.files, report.bytes), (6, second.total_bytes), "{}", place.name);
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 6, "{}", place.name);
        assert!(seen.iter().any(|last| last.files_done == 6 && last.bytes_done == second.total_bytes), "{}", place.name);
        // and its own next checkpoint uploads no table again
        let report = storage.upload(CheckpointId(3), &restored, &next.1, &mut Uploaded::restored(&read), MINUTE).unwrap();
        assert_eq!((report.new_files, report.new_bytes), (0, 0), "{}", place.name);
    }
}

#[test]
fn what_a_dead_attempt_left_behind_is_not_reused() {
    for place in Place::all() {
        // given an attempt that uploaded and died before its manifest, and whose file was torn besides
        let taken = place.snapshot("n", &[("000007.sst", b"rows")]);
        let report = place.attempt("dead").upload(CheckpointId(1), &taken.0, &taken.1, &mut Uploaded::nothing(), MINUTE).unwrap();
        place.overwrite(&format!("files/{}", report.files[0].object_name()), b"ro");
        // when the next attempt writes the same content
        let storage = place.attempt("alive");
        let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
        // then it uploads it again, under a name of its own, and it is whole
        assert_eq!(manifest.new_bytes, 4, "{}", place.name);
        storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
    }
}

#[test]
fn a_flipped_bit_and_a_missing_file_are_found_and_named() {
    for place in Place::all() {
        let storage = place.attempt("one");
        let taken = place.snapshot("n", &[("000007.sst", b"rows"), ("CURRENT", b"MANIFEST-000005\n")]);
        let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
        let table = &manifest.files[0];
        let try_restore = |name: &str| storage.restore(&manifest, &place.folder.path().join(name), MINUTE, &|_| ()).unwrap_err();

        place.overwrite(&format!("files/{}", table.object_name()), b"rowr");
        let failure = try_restore("flipped");
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        let there = blake3::hash(b"rowr");
        for part in ["000007.sst", &table.object_name(), there.to_hex().as_str(), table.hash.to_hex().as_str(), "checkpoint 1"] {
            assert!(failure.message.contains(part), "{}: {part} not in {failure}", place.name);
        }

        place.overwrite(&format!("files/{}", table.object_name()), b"row");
        let failure = try_restore("short");
        assert!(failure.message.contains("it has 3 bytes, the manifest says 4"), "{}: {failure}", place.name);

        place.delete(&format!("files/{}", table.object_name()));
        let failure = try_restore("missing");
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        assert!(failure.message.contains("is missing") && failure.message.contains("000007.sst"), "{}: {failure}", place.name);
    }
}

#[test]
fn a_manifest_with_a_flipped_bit_is_refused_even_when_it_still_reads() {
    for place in Place::all() {
        let storage = place.attempt("one");
        let manifest = Manifest::new(job(), CheckpointId(1), None, Reason::Interval);
        let reference = storage.put_manifest(&manifest).unwrap();
        // "orders" as a group becomes "osders": good JSON, another truth
        let text = String::from_utf8(manifest.to_bytes().unwrap()).unwrap();
        place.overwrite("manifests/00000000000000000001.json", text.replace("\"group\": \"o", "\"group\": \"n").as_bytes());
        let failure = storage.read_committed(&Pointer::to(&job(), &reference)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        assert!(failure.message.contains("00000000000000000001.json"), "{}: {failure}", place.name);
        assert!(failure.message.contains(&reference.hash.short()), "{}: {failure}", place.name);

        place.delete("manifests/00000000000000000001.json");
        let failure = storage.read_committed(&Pointer::to(&job(), &reference)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        assert!(failure.message.contains("is missing"), "{}: {failure}", place.name);
    }
}

#[test]
fn a_newer_format_and_another_job_are_refused_with_both_sides_named() {
    for place in Place::all() {
        let storage = place.attempt("one");
        let mut newer = Manifest::new(job(), CheckpointId(1), None, Reason::Interval);
        newer.format = 9;
        place.overwrite("manifests/00000000000000000001.json", &newer.to_bytes().unwrap());
        let failure = storage.read_manifest(CheckpointId(1)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        assert!(failure.message.contains("format 9") && failure.message.contains("up to 2"), "{}: {failure}", place.name);

        let foreign = Manifest::new("other".parse().unwrap(), CheckpointId(1), None, Reason::Interval);
        place.overwrite("manifests/00000000000000000001.json", &foreign.to_bytes().unwrap());
        let failure = storage.read_manifest(CheckpointId(1)).unwrap_err();
        assert!(failure.message.contains("is of job other, not of orders"), "{}: {failure}", place.name);

        place.overwrite("job.json", br#"{"format":1,"job":"other","created_at":"","sluicegate":""}"#);
        let again = || Storage::over(place.connected.clone(), &job(), place.runtime.clone(), "two".to_owned()).claim();
        let failure = again().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{}: {failure}", place.name);
        assert!(failure.message.contains("belongs to job \"other\", not to \"orders\""), "{}: {failure}", place.name);
        place.overwrite("job.json", br#"{"format":3,"job":"orders","created_at":"","sluicegate":""}"#);
        assert!(again().unwrap_err().message.contains("format 3"), "{}", place.name);
        place.delete("job.json");
        assert!(again().unwrap_err().message.contains("no job.json"), "{}", place.name);
    }
}

#[test]
fn collection_keeps_what_was_asked_for_and_deletes_all_else() {
    for place in Place::all() {
        // given what a dead attempt left: an orphaned manifest and files
        let (dead, mut uploaded) = (place.attempt("dead"), Uploaded::nothing());
        let taken = place.snapshot("dead", &[("000001.sst", b"never committed")]);
        checkpoint(&dead, &mut uploaded, 1, None, &taken).unwrap();
        // when another one makes five checkpoints and keeps two
        let (storage, mut uploaded) = (place.attempt("alive"), Uploaded::nothing());
        let mut collector = Collector::new(storage.clone(), retention(2));
        let mut base = None;
        let mut manifests = Vec::new();
        for number in 2..7_u64 {
            collector.survey().unwrap();
            let table = format!("{number:06}.sst");
            let taken = place.snapshot(&number.to_string(), &[("000000.sst", b"in all"), (&table, table.as_bytes())]);
            let (manifest, reference) = checkpoint(&storage, &mut uploaded, number, base, &taken).unwrap();
            storage.put_marker(reference).unwrap();
            let collected = collector.confirmed(&manifest);
            assert_eq!(collected.postponed, Vec::<String>::new(), "{}", place.name);
            let before = if number < 4 { number.saturating_sub(1).min(1) * u64::from(number == 2) } else { 1 };
            assert_eq!(collected.manifests.len() as u64, before, "{}: at {number}: {collected:?}", place.name);
            base = Some(reference);
            manifests.push(manifest);
        }
        // then exactly two are left, whole
        assert_eq!(storage.list_manifests().unwrap(), [CheckpointId(5), CheckpointId(6)], "{}", place.name);
        let marked: Vec<_> = storage.markers().unwrap().iter().map(|marker| marker.checkpoint).collect();
        assert_eq!(marked, [CheckpointId(5), CheckpointId(6)], "{}", place.name);
        for manifest in &manifests[3..] {
            storage.verify(manifest, MINUTE, &|_| ()).unwrap();
        }
        let files = storage.list(&storage.layout().files()).unwrap().len();
        assert_eq!(files, 3, "{}: the common table and one of each", place.name);
        // and what they take is known without looking again
        let known = Holdings { referenced: Amount { files: 3, bytes: 6 + 2 * 10 }, unreferenced: Amount::default() };
        assert_eq!(collector.holdings(), known, "{}", place.name);
        assert_eq!(storage.holdings(&manifests[3..]).unwrap(), known, "{}", place.name);
    }
}

#[test]
fn a_commit_that_was_not_reported_is_kept_all_the_same() {
    for place in Place::all() {
        // given three committed checkpoints, of which the collector never heard of the second
        let (storage, mut uploaded) = (place.attempt("one"), Uploaded::nothing());
        let mut collector = Collector::new(storage.clone(), retention(3));
        let mut base = None;
        for number in 1..4 {
            collector.survey().unwrap();
            let table = format!("{number:06}.sst");
            let taken = place.snapshot(&number.to_string(), &[(&table, table.as_bytes())]);
            let (manifest, reference) = checkpoint(&storage, &mut uploaded, number, base, &taken).unwrap();
            if number != 2 {
                assert_eq!(collector.confirmed(&manifest).postponed, Vec::<String>::new(), "{}", place.name);
            }
            base = Some(reference);
        }
        // then all three are there, whole
        for number in 1..4 {
            let (manifest, _) = storage.read_manifest(CheckpointId(number)).unwrap();
            storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
        }
    }
}

#[test]
fn a_number_above_the_committed_one_is_left_alone() {
    for place in Place::all() {
        // given an orphan whose number was not seen when the attempt chose its own
        place.attempt("dead").put_manifest(&Manifest::new(job(), CheckpointId(8), None, Reason::Interval)).unwrap();
        let storage = place.attempt("alive");
        let mut collector = Collector::new(storage.clone(), retention(1));
        collector.survey().unwrap();
        // when a lower number is committed
        let seven = Manifest::new(job(), CheckpointId(7), None, Reason::Interval);
        storage.put_manifest(&seven).unwrap();
        collector.confirmed(&seven);
        // then it stays, since a delete of it that comes late could hit this attempt's own 8
        assert_eq!(storage.list_manifests().unwrap(), [CheckpointId(7), CheckpointId(8)], "{}", place.name);
        // and goes with the first one above it
        let nine = Manifest::new(job(), CheckpointId(9), None, Reason::Interval);
        storage.put_manifest(&nine).unwrap();
        collector.confirmed(&nine);
        assert_eq!(storage.list_manifests().unwrap(), [CheckpointId(9)], "{}", place.name);
    }
}

#[test]
fn leftovers_younger_than_the_grace_period_stay() {
    for place in Place::all() {
        let taken = place.snapshot("n", &[("000001.sst", b"never committed")]);
        place.attempt("dead").upload(CheckpointId(1), &taken.0, &taken.1, &mut Uploaded::nothing(), MINUTE).unwrap();
        let storage = place.attempt("alive");
        let mut collector = Collector::new(storage.clone(), Retention { grace: MINUTE, ..retention(1) });
        collector.survey().unwrap();
        let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
        assert_eq!(collector.confirmed(&manifest).files, 0, "{}", place.name);
        let one = Amount { files: 1, bytes: 15 };
        let both = Holdings { referenced: one, unreferenced: one };
        assert_eq!((collector.holdings(), storage.holdings([&manifest]).unwrap()), (both, both), "{}", place.name);
    }
}

#[test]
fn a_cancelled_storage_answers_at_once_and_for_good() {
    for place in Place::all() {
        let storage = place.attempt("one");
        storage.clone().cancel();
        let failure = storage.list_manifests().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Attempt, "{}: {failure}", place.name);
        let taken = place.snapshot("n", &[("000001.sst", b"rows")]);
        let failure = storage.upload(CheckpointId(1), &taken.0, &taken.1, &mut Uploaded::nothing(), MINUTE).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Attempt, "{}: {failure}", place.name);
        assert_eq!(place.attempt("two").list_manifests().unwrap(), [], "{}", place.name);
    }
}

#[test]
fn a_storage_that_stays_away_is_a_transient_failure_that_names_the_object() {
    let bucket = Bucket::default();
    let store = bucket.store(1, Faults::default());
    let connected =
        Connected { store: Arc::new(store.clone()), prefix: ObjectPath::default(), folder: None, shown: "mem://".into() };
    let storage = Storage::over(connected, &job(), executor(), "one".to_owned()).claim().unwrap();
    store.set_faults(Faults { error: 1000, ..Faults::default() });
    let failure = storage.put_manifest(&Manifest::new(job(), CheckpointId(1), None, Reason::Start)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("orders/manifests/00000000000000000001.json"), "{failure}");
    assert!(failure.message.contains("given up after"), "{failure}");
    assert!(bucket.operations() > 5, "tried only {} times", bucket.operations());
}

#[test]
fn a_manifest_from_disk_cannot_lead_a_restore_out_of_its_folder() {
    let mut manifest = Manifest::new(job(), CheckpointId(1), None, Reason::Start);
    let file = StateFile { name: "../evil".into(), size: 0, hash: blake3::hash(b""), written_by: "1-a".into() };
    for file in [file.clone(), StateFile { name: "ok".into(), written_by: "../../x".into(), ..file }] {
        manifest.files = vec![file];
        let failure = Manifest::from_bytes(&manifest.to_bytes().unwrap(), &job(), CheckpointId(1), "m.json").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    }
}
