//! The RocksDB of a store, and how sorted files become its content.
//!
//! - *Growing*: a file is taken in at once and wins over those before it. What is not overwritten stays.
//! - *Whole*: files are set aside until all of a checkpoint are there, and then replace everything. So a checkpoint of a backend
//!   that has all entries in memory is made of the same kind of files, and whoever reads it need not know which backend wrote it.
//!
//! Replacing drops the column families and makes them anew in the same RocksDB. A fresh one would count its files from the
//! beginning, and the upload takes a table of a known name for one that it has uploaded before.

use super::{Backend, StateId};
use rocksdb::{DB, Error, IngestExternalFileOptions, Options, checkpoint::Checkpoint};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

/// RocksDB and its way of growing.
pub(super) enum Files {
    Growing(DB),
    Whole(Whole),
}

/// A RocksDB whose content is replaced by each checkpoint. Read only while state is restored.
pub(super) struct Whole {
    db: RwLock<DB>,
    aside: Mutex<Vec<(StateId, PathBuf)>>,
}

impl Files {
    /// The way of `backend`.
    pub(super) fn of(backend: Backend, db: DB) -> Self {
        match backend {
            Backend::RocksDb => Self::Growing(db),
            Backend::Memory => Self::Whole(Whole { db: RwLock::new(db), aside: Mutex::default() }),
        }
    }

    /// Calls `f` with the database.
    #[inline]
    pub(super) fn with<R>(&self, f: impl FnOnce(&DB) -> R) -> R {
        match self {
            Self::Growing(db) => f(db),
            Self::Whole(whole) => f(&whole.db.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The database, for whoever has it alone.
    pub(super) fn get_mut(&mut self) -> &mut DB {
        match self {
            Self::Growing(db) => db,
            Self::Whole(whole) => whole.db.get_mut().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Takes a sorted file of the column family `name`, which is `state`.
    pub(super) fn take(&self, state: StateId, name: &str, file: PathBuf) -> Result<(), String> {
        match self {
            Self::Growing(db) => ingest(db, name, file),
            Self::Whole(whole) => {
                whole.aside.lock().unwrap_or_else(PoisonError::into_inner).push((state, file));
                Ok(())
            }
        }
    }

    /// Links what was taken so far into `dir`. `names` are the column families of all states, by their numbers; `options` are for those
    /// that are made anew, and outlive them.
    pub(super) fn link<'n>(&self, dir: &Path, names: impl Iterator<Item = &'n str>, options: &Options) -> Result<(), String> {
        match self {
            Self::Growing(db) => hard_links(db, dir),
            Self::Whole(whole) => {
                let files = std::mem::take(&mut *whole.aside.lock().unwrap_or_else(PoisonError::into_inner));
                let mut db = whole.db.write().unwrap_or_else(PoisonError::into_inner);
                for (number, name) in names.enumerate() {
                    db.drop_cf(name).map_err(Error::into_string)?;
                    db.create_cf(name, options).map_err(Error::into_string)?;
                    for (_, file) in files.iter().filter(|(of, _)| *of == StateId(number)) {
                        ingest(&db, name, file.clone())?;
                    }
                }
                hard_links(&db, dir)
            }
        }
    }
}

fn hard_links(db: &DB, dir: &Path) -> Result<(), String> {
    Checkpoint::new(db).and_then(|links| links.create_checkpoint(dir)).map_err(Error::into_string)
}

/// RocksDB moves the file into its directory. Later files win over earlier ones.
fn ingest(db: &DB, name: &str, file: PathBuf) -> Result<(), String> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    let family = db.cf_handle(name).ok_or_else(|| format!("there is no column family {name}"))?;
    db.ingest_external_file_cf_opts(family, &options, vec![file]).map_err(Error::into_string)
}
