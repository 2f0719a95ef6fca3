//! Files that survive a power cut.

use crate::protocol::Failure;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

/// Puts `bytes` in the place of the file at `path`: whoever reads it, after whatever crash, finds the old content or the new one.
///
/// # Errors
/// Transient. It is not known then which of the two is there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |what: &str, why: std::io::Error| Failure::transient(format!("{}: cannot be {what}: {why}", path.display()));
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|why| failed("written", why))?;
    fs::rename(&beside, path).map_err(|why| failed("replaced", why))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Transient.
pub fn sync_folder(folder: &Path) -> Result<(), Failure> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|why| Failure::transient(format!("{}: cannot be synchronised: {why}", folder.display())))
}
