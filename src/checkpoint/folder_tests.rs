//! What only a folder of this machine can show: hard links, permissions, a full disk, torn uploads.

use super::{
    Collector, Location, Manifest, Reason, RestoreProgress, Retention, Storage, Uploaded,
    conformance::{MINUTE, checkpoint, contents, executor, job, snapshot},
};
use crate::protocol::{CheckpointId, FailureKind};
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn open(folder: &Path) -> Result<Storage, crate::protocol::Failure> {
    Storage::open(&Location::folder(folder)?, &job(), executor())
}

/// A file system of its own in memory, unmounted at the end; none when this user may not mount.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }

    fn remount(&self, options: &str) {
        soon(|| {
            let mut remount = Command::new("mount");
            let done = remount.args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status().unwrap();
            done.success().then_some(()).ok_or(done)
        });
    }
}

/// Repeats `attempt` until it succeeds, for ten seconds at most. A process that another test starts holds all files that are open
/// here until it executes its program: so long a file that was deleted takes up space, and one that was closed counts as open.
fn soon<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < end, "{why:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn on_one_file_system_tables_are_linked_and_all_else_is_copied() {
    let base = tempfile::tempdir().unwrap();
    let storage = open(&base.path().join("checkpoints")).unwrap();
    let taken = snapshot(&base.path().join("n"), &[("000007.sst", b"rows"), ("CURRENT", b"MANIFEST-000005\n")]);
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    let restored = base.path().join("restored");
    let report = storage.restore(&manifest, &restored, MINUTE, &|_| ()).unwrap();
    assert_eq!(report.linked, 1);
    assert_eq!(std::fs::metadata(restored.join("000007.sst")).unwrap().nlink(), 2);
    assert_eq!(std::fs::metadata(restored.join("CURRENT")).unwrap().nlink(), 1);
    // What RocksDB does to its own files leaves the checkpoint alone.
    std::fs::write(restored.join("CURRENT"), b"MANIFEST-000099\n").unwrap();
    std::fs::remove_file(restored.join("000007.sst")).unwrap();
    storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
    // A folder that holds something is never restored into.
    let failure = storage.restore(&manifest, &restored, MINUTE, &|_| ()).unwrap_err();
    assert!(failure.message.contains("is not empty"), "{failure}");
}

#[test]
fn what_a_running_job_clears_away_while_a_checkpoint_is_read_stays_readable() {
    let base = tempfile::tempdir().unwrap();
    let storage = open(&base.path().join("checkpoints")).unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("{number:06}.sst")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let taken = snapshot(&base.path().join("n"), &files);
    let (folder, aside) = (base.path().join("checkpoints/orders/files"), base.path().join("aside"));
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    // when all files go as soon as the first one was read
    let clear = |_: RestoreProgress| drop(std::fs::rename(&folder, &aside));
    assert_eq!(storage.examine(&manifest, MINUTE, &clear).unwrap(), []);
    assert!(!folder.exists());
    std::fs::rename(&aside, &folder).unwrap();
    let restored = base.path().join("restored");
    let report = storage.restore(&manifest, &restored, MINUTE, &clear).unwrap();
    // then all of them are there: as links before that moment, as copies after it
    assert!(!folder.exists() && report.linked < 20, "{report:?}");
    assert_eq!(contents(&restored), contents(&taken.0));
    // and when they are asked for once more, they are missing
    assert_eq!(storage.examine(&manifest, MINUTE, &|_| ()).unwrap().len(), 20);
}

#[test]
fn on_another_file_system_everything_is_copied() {
    let Some(mount) = Mount::new("size=2m") else { return eprintln!("skipped: this user may not mount a tmpfs") };
    let base = tempfile::tempdir().unwrap();
    let storage = open(base.path()).unwrap();
    let taken = snapshot(&mount.0.path().join("n"), &[("000007.sst", b"rows")]);
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    let restored = mount.0.path().join("restored");
    assert_eq!(storage.restore(&manifest, &restored, MINUTE, &|_| ()).unwrap().linked, 0);
    assert_eq!(contents(&restored), contents(&taken.0));
}

#[test]
fn a_full_disk_is_told_with_the_path_and_leaves_the_last_checkpoint_whole() {
    let Some(mount) = Mount::new("size=1m") else { return eprintln!("skipped: this user may not mount a tmpfs") };
    let base = tempfile::tempdir().unwrap();
    let storage = open(mount.0.path()).unwrap();
    let (mut uploaded, small) = (Uploaded::nothing(), snapshot(&base.path().join("1"), &[("000001.sst", b"rows")]));
    let (manifest, first) = checkpoint(&storage, &mut uploaded, 1, None, &small).unwrap();
    // when a table does not fit any more, as one part and as many
    for (number, size) in [(2, 2 << 20), (3, 20 << 20)] {
        let large = snapshot(&base.path().join(number.to_string()), &[("000002.sst", &vec![1; size])]);
        let failure = checkpoint(&storage, &mut uploaded, number, Some(first), &large).unwrap_err();
        // then the message says so, and where
        assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
        assert!(failure.message.contains("no space left for"), "{failure}");
        assert!(failure.message.contains(&mount.0.path().join("orders/files").display().to_string()), "{failure}");
    }
    // and nothing is left behind that fills the disk, and what was there is whole
    assert_eq!(std::fs::read_dir(mount.0.path().join("orders/files")).unwrap().count(), 1);
    storage.verify(&manifest, MINUTE, &|_| ()).unwrap();
    // and once there is room, the same attempt goes on
    let again = snapshot(&base.path().join("4"), &[("000001.sst", b"rows"), ("000003.sst", b"more")]);
    soon(|| checkpoint(&storage, &mut uploaded, 4, Some(first), &again));
}

#[test]
fn a_disk_that_is_full_at_start_is_told_at_start() {
    let Some(mount) = Mount::new("size=64k") else { return eprintln!("skipped: this user may not mount a tmpfs") };
    drop(std::fs::write(mount.0.path().join("filler"), vec![0; 1 << 20]));
    let failure = open(mount.0.path()).unwrap_err();
    assert!(failure.message.contains("no space left") && failure.message.contains("orders"), "{failure}");
}

#[test]
fn a_read_only_folder_is_told_at_start_with_the_path() {
    let Some(mount) = Mount::new("size=1m") else { return eprintln!("skipped: this user may not mount a tmpfs") };
    drop(open(mount.0.path()).unwrap());
    mount.remount("ro");
    let failure = open(mount.0.path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    assert!(failure.message.contains("orders/started.json is not permitted"), "{failure}");
    // Reading goes on.
    let storage = Storage::inspect(&Location::folder(mount.0.path()).unwrap(), &job(), executor()).unwrap();
    assert_eq!(storage.list_manifests().unwrap(), []);
}

#[test]
fn a_folder_without_write_permission_is_told_at_start_with_the_path() {
    let base = tempfile::tempdir().unwrap();
    std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(base.path().join("x"), b"").is_ok() {
        return eprintln!("skipped: this user writes wherever it wants");
    }
    let failure = open(base.path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    assert!(failure.message.contains(&base.path().display().to_string()), "{failure}");
}

#[test]
fn a_file_where_the_folder_should_be_is_told_with_the_path() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("occupied");
    std::fs::write(&path, b"").unwrap();
    let failure = open(&path).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    assert!(failure.message.contains(&path.display().to_string()), "{failure}");
}

#[test]
fn looking_at_what_is_not_there_makes_nothing() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("absent");
    let failure = Storage::inspect(&Location::folder(&path).unwrap(), &job(), executor()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(!path.exists());
    let failure = Storage::inspect(&Location::folder(base.path()).unwrap(), &job(), executor()).unwrap_err();
    assert!(failure.message.contains("no checkpoints of job orders"), "{failure}");
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn uploads_that_a_dead_attempt_never_finished_are_removed() {
    // given what a kill in the middle of a put leaves: a staged file, which the store does not list
    let base = tempfile::tempdir().unwrap();
    drop(open(base.path()).unwrap());
    let files = base.path().join("orders/files");
    std::fs::create_dir_all(&files).unwrap();
    let torn = files.join(format!("{}-1-dead#1", blake3::hash(b"x")));
    std::fs::write(&torn, b"half").unwrap();
    let storage = open(base.path()).unwrap();
    let mut collector = Collector::new(storage.clone(), Retention { retained: 1.try_into().unwrap(), grace: Duration::ZERO });
    collector.survey().unwrap();
    assert!(torn.exists(), "nothing is deleted before a commit");
    // when a checkpoint is committed
    let taken = snapshot(&base.path().join("n"), &[("000001.sst", b"rows")]);
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    assert_eq!(collector.confirmed(&manifest).postponed, Vec::<String>::new());
    // then it is gone
    assert!(!torn.exists());
}

#[test]
fn who_started_last_can_be_asked() {
    let base = tempfile::tempdir().unwrap();
    let older = open(base.path()).unwrap();
    let newer = open(base.path()).unwrap();
    let started = older.last_started().unwrap().unwrap();
    assert_eq!((started.attempt.as_str(), started.pid), (newer.attempt(), std::process::id()));
    assert_ne!(older.attempt(), newer.attempt());
}

#[test]
fn a_manifest_is_readable_text() {
    let base = tempfile::tempdir().unwrap();
    let storage = open(base.path()).unwrap();
    storage.put_manifest(&Manifest::new(job(), CheckpointId(42), None, Reason::Start)).unwrap();
    let text = std::fs::read_to_string(base.path().join("orders/manifests/00000000000000000042.json")).unwrap();
    assert!(text.starts_with("{\n  \"format\": 1,\n  \"job\": \"orders\",\n  \"checkpoint\": 42,\n"), "{text}");
    assert!(text.ends_with("}\n"), "{text}");
}

#[test]
fn the_manifest_in_the_documentation_reads_and_every_field_of_it_is_explained() {
    let page = include_str!("../../docs/checkpoints.md");
    let text = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let manifest: Manifest = serde_json::from_str(text).unwrap();
    assert_eq!(manifest.format, Manifest::PLAIN);
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&manifest).unwrap(), serde_json::Value::Object(fields.clone()), "fields of today");
    for field in fields.keys() {
        assert!(
            page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{field}`"))),
            "{field} is not explained"
        );
    }
}
