//! What lies where below `<storage>/<job>/`, and the way back from a name to its meaning.

use crate::protocol::{CheckpointId, JobName};
use object_store::path::Path as ObjectPath;

/// Names inside the folder of one job.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: ObjectPath,
}

impl Layout {
    pub(crate) fn new(prefix: &ObjectPath, job: &JobName) -> Self {
        Self { root: prefix.clone().join(job.as_str()) }
    }

    /// The folder of the job.
    pub(crate) fn root(&self) -> &ObjectPath {
        &self.root
    }

    /// Says whose folder this is.
    pub(crate) fn owner(&self) -> ObjectPath {
        self.root.clone().join("job.json")
    }

    pub(crate) fn manifests(&self) -> ObjectPath {
        self.root.clone().join("manifests")
    }

    /// Twenty digits hold every `u64`, so that names sort as numbers do.
    pub(crate) fn manifest(&self, checkpoint: CheckpointId) -> ObjectPath {
        self.manifests().join(format!("{:020}.json", checkpoint.0))
    }

    pub(crate) fn markers(&self) -> ObjectPath {
        self.root.clone().join("committed")
    }

    pub(crate) fn marker(&self, checkpoint: CheckpointId) -> ObjectPath {
        self.markers().join(format!("{:020}", checkpoint.0))
    }

    pub(crate) fn files(&self) -> ObjectPath {
        self.root.clone().join("files")
    }

    /// The object that holds a state file, `name` as [`super::StateFile::object_name`] says it.
    pub(crate) fn file(&self, name: &str) -> ObjectPath {
        self.files().join(name)
    }

    /// Who runs the job: overwritten at each start, which also shows that the storage can be written.
    pub(crate) fn started(&self) -> ObjectPath {
        self.root.clone().join("started.json")
    }

    pub(crate) fn epochs(&self) -> ObjectPath {
        self.root.clone().join("epochs")
    }

    /// Made by the attempt that has this epoch.
    pub(crate) fn epoch(&self, epoch: u64) -> ObjectPath {
        self.epochs().join(format!("{epoch:020}"))
    }

    /// The epoch whose object lies at `path`, if that is its name.
    pub(crate) fn epoch_number(path: &ObjectPath) -> Option<u64> {
        number(path.filename()?).map(|CheckpointId(epoch)| epoch)
    }

    /// The checkpoint whose manifest lies at `path`, if that is a manifest's name.
    pub(crate) fn manifest_number(path: &ObjectPath) -> Option<CheckpointId> {
        number(path.filename()?.strip_suffix(".json")?)
    }

    /// The checkpoint whose marker lies at `path`, if that is a marker's name.
    pub(crate) fn marker_number(path: &ObjectPath) -> Option<CheckpointId> {
        number(path.filename()?)
    }

    /// The checkpoint that a file of this name was uploaded for, if it is a name as [`super::StateFile::object_name`] gives it.
    pub(crate) fn file_number(name: &str) -> Option<CheckpointId> {
        let mut parts = name.split('-');
        let (hash, number, attempt) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = hash.len() == 64 && !attempt.is_empty() && parts.next().is_none();
        well_formed.then(|| number.parse().ok().map(CheckpointId))?
    }
}

/// Twenty digits, nothing else: another spelling of the same number would be a second name for one thing.
fn number(digits: &str) -> Option<CheckpointId> {
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok().map(CheckpointId))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_read_back() {
        let layout = Layout::new(&ObjectPath::from("base"), &"orders".parse().unwrap());
        let (small, large) = (layout.manifest(CheckpointId(9)), layout.manifest(CheckpointId(u64::MAX)));
        assert_eq!(small.as_ref(), "base/orders/manifests/00000000000000000009.json");
        assert!(small < large);
        assert_eq!(Layout::manifest_number(&large), Some(CheckpointId(u64::MAX)));
        assert_eq!(Layout::marker_number(&layout.marker(CheckpointId(7))), Some(CheckpointId(7)));
    }

    #[test]
    fn other_names_are_no_manifests() {
        for name in ["m/9.json", "m/00000000000000000009.json.bak", "m/0000000000000000000x.json", "m/+0000000000000000009.json"]
        {
            assert_eq!(Layout::manifest_number(&ObjectPath::from(name)), None, "{name}");
        }
    }
}
