//! Whose folder it is: `job.json`, which is made once, and `started.json`, which every attempt writes.

use super::{
    explain::{Access, Class, Trouble},
    manifest::now_as_text,
    storage::Storage,
};
use crate::protocol::Failure;
use bytes::Bytes;
use object_store::PutMode;
use serde::{Deserialize, Serialize};

/// The version of `job.json` that this program writes, and the highest that it reads.
const FORMAT: u32 = 1;

/// `job.json`: whose folder this is.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    format: u32,
    job: String,
    created_at: String,
    sluicegate: String,
}

/// What `job.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// This job.
    Ours,
    /// Nothing is there yet.
    Free,
    /// It was never written to the end, and nothing was built on it.
    Torn,
}

/// `started.json`: who opened the storage last, for a word to the one who was fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The attempt, as in the names of the files that it writes.
    pub attempt: String,
    /// When, RFC 3339.
    pub at: String,
    /// On which machine.
    pub host: String,
    /// Process id there.
    pub pid: u32,
    /// Version of the program.
    pub sluicegate: String,
}

impl Storage {
    /// Makes the folder ours and shows that it can be written.
    pub(crate) fn claim(self) -> Result<Self, Failure> {
        let owner = Owner {
            format: FORMAT,
            job: self.job().to_string(),
            created_at: now_as_text(),
            sluicegate: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let owner = json(&owner)?;
        let write = |mode| self.put(&self.layout().owner(), owner.clone(), mode);
        let done = match self.ownership()? {
            Ownership::Ours => Ok(()),
            Ownership::Free => match write(PutMode::Create) {
                // Two first starts at once: whoever came first wrote it.
                Err(trouble) if trouble.class == Class::Taken && self.ownership()? == Ownership::Ours => Ok(()),
                done => done,
            },
            Ownership::Torn => write(PutMode::Overwrite),
        };
        done.map_err(|trouble| self.failed(trouble, Access::Write, &self.layout().owner()))?;
        self.refuses_to_replace()?;
        let started = Started {
            attempt: self.attempt().to_owned(),
            at: now_as_text(),
            host: host_name(),
            pid: std::process::id(),
            sluicegate: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let path = self.layout().started();
        self.put(&path, json(&started)?, PutMode::Overwrite).map_err(|trouble| self.failed(trouble, Access::Write, &path))?;
        Ok(self)
    }

    /// That the storage has conditional puts: some servers that speak S3's protocol pass over a condition that they do not know, and
    /// with them one attempt could replace the manifest of another. Shown with what is there already, so that nothing changes if
    /// it is replaced. The file system of a folder has no such servers.
    fn refuses_to_replace(&self) -> Result<(), Failure> {
        if self.is_folder() {
            return Ok(());
        }
        let path = self.layout().owner();
        let Some(there) = self.get_if_present(&path)? else { return Ok(()) };
        match self.put(&path, there, PutMode::Create) {
            Err(trouble) if trouble.class == Class::Taken => Ok(()),
            Err(trouble) => Err(self.failed(trouble, Access::Write, &path)),
            Ok(()) => Err(Failure::fatal(format!(
                "checkpoint storage: {} was replaced, though it was to be made only if it is not there: this storage passes over \
                 conditions (If-None-Match), without which attempts can overwrite each other's checkpoints; use another one, or a \
                 newer version",
                self.show(&path)
            ))),
        }
    }

    /// Who opened the storage for writing last.
    ///
    /// # Errors
    /// As any read; a damaged file reads as none.
    pub fn last_started(&self) -> Result<Option<Started>, Failure> {
        let bytes = self.get_if_present(&self.layout().started())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Whose folder this is. One with other things in it and no `job.json` is nobody's to write into.
    pub(super) fn ownership(&self) -> Result<Ownership, Failure> {
        let path = self.layout().owner();
        let shown = self.show(&path);
        let bytes = match self.get_if_present(&path)? {
            Some(bytes) => bytes,
            None if self.is_empty()? => return Ok(Ownership::Free),
            // Whoever makes the folder writes job.json first: it may have done so between the two questions.
            None => self.get_if_present(&path)?.ok_or_else(|| {
                Failure::refused(format!(
                    "{} holds files but no job.json: not a checkpoint folder of sluicegate; point checkpoint.storage elsewhere",
                    self.show(self.layout().root())
                ))
            })?,
        };
        let refuse = |why: String| Failure::refused(format!("{shown}: {why}"));
        let owner: Owner = match serde_json::from_slice(&bytes) {
            Ok(owner) => owner,
            Err(_) if self.list_manifests()?.is_empty() => return Ok(Ownership::Torn),
            Err(why) => return Err(refuse(format!("damaged: {why}"))),
        };
        if owner.format > FORMAT {
            return Err(refuse(format!(
                "has format {}, this program reads formats up to {}: use a newer sluicegate",
                owner.format, FORMAT
            )));
        }
        if owner.job != self.job().as_str() {
            return Err(refuse(format!(
                "the folder belongs to job {:?}, not to {:?}: every job needs a folder of its own",
                owner.job,
                self.job().as_str()
            )));
        }
        Ok(Ownership::Ours)
    }

    /// Whether the folder holds nothing at all.
    fn is_empty(&self) -> Result<bool, Failure> {
        let (root, store) = (self.layout().root(), self.store());
        let inside = self.run(|| async { store.list_with_delimiter(Some(root)).await.map_err(Trouble::of) });
        let inside = inside.map_err(|trouble| self.failed(trouble, Access::List, root))?;
        Ok(inside.objects.is_empty() && inside.common_prefixes.is_empty())
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn json(value: &impl Serialize) -> Result<Bytes, Failure> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|why| Failure::fatal(format!("no JSON form: {why}")))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}
