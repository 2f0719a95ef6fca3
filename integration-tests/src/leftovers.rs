//! Nothing stays behind, not even when this process is killed with -9.
//!
//! A small shell, in a process group of its own so that Ctrl-C does not reach it, reads from a pipe what exists: processes,
//! containers, mounts, folders. The pipe ends when this process ends, in whatever way; then the shell removes what is still listed.
//! In the normal course the owners remove their things themselves and strike them off the list.

use crate::{Context, Result};
use std::{
    fmt,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// Lines on standard input: `+process 12`, `-process 12`, `+container NAME`, `+folder PATH`. At its end, cleans up: processes first,
/// so that nobody writes into a folder while it is removed.
const GUARD: &str = r#"
n='
'
list=
while IFS= read -r line; do
  case $line in
    +*) list="$list${line#+}$n" ;;
    -*) rest=$(printf '%s' "$list" | grep -vxF -e "${line#-}"); list=${rest:+"$rest$n"} ;;
  esac
done
each() { printf '%s' "$list" | while IFS= read -r item; do case $item in "$1 "*) "$2" "${item#* }" ;; esac; done; }
end() { kill -9 "$1"; i=0; while kill -0 "$1" && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; }
remove_container() { docker rm -fv "$1"; }
remove_network() { docker network rm "$1"; }
remove_mount() { umount -l "$1"; }
remove_folder() { rm -rf -- "$1"; }
each process end
each container remove_container
each network remove_network
each mount remove_mount
each folder remove_folder
"#;

/// Something that must not outlive this process. Dropping it strikes it off the list; it does not remove the thing.
#[derive(Debug)]
pub struct Leftover(String);

impl Leftover {
    /// A child process.
    pub fn process(pid: i32) -> Result<Self> {
        Self::list("process", pid)
    }

    /// A Docker container.
    pub fn container(name: &str) -> Result<Self> {
        Self::list("container", name)
    }

    /// A Docker network.
    pub fn network(name: &str) -> Result<Self> {
        Self::list("network", name)
    }

    /// A mounted file system.
    pub fn mount(place: &Path) -> Result<Self> {
        Self::list("mount", place.display())
    }

    /// A folder with all that is in it.
    pub fn folder(path: &Path) -> Result<Self> {
        Self::list("folder", path.display())
    }

    fn list(kind: &str, what: impl fmt::Display) -> Result<Self> {
        let entry = format!("{kind} {what}");
        tell(&format!("+{entry}\n")).context("the guard against leftovers")?;
        Ok(Self(entry))
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // If the guard is gone there is nobody to tell.
        let _ = tell(&format!("-{}\n", self.0));
    }
}

fn tell(line: &str) -> Result<()> {
    static GUARD_INPUT: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let input = GUARD_INPUT.get_or_init(|| Mutex::new(start_guard().ok()));
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    input.as_mut().context("sh did not start")?.write_all(line.as_bytes())?;
    Ok(())
}

fn start_guard() -> Result<ChildStdin> {
    let mut guard = Command::new("sh")
        .args(["-c", GUARD])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    guard.stdin.take().context("no pipe to the guard")
}

/// A temporary folder of this process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: bool,
    leftover: Option<Leftover>,
}

impl Folder {
    /// A new folder `sluicegate-<purpose>-<random>` in the system's folder for temporary files.
    pub fn new(purpose: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("sluicegate-{purpose}-")).tempdir()?;
        let path = folder.keep();
        Ok(Self { leftover: Some(Leftover::folder(&path)?), path, kept: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it, for somebody to look into.
    pub fn keep(&mut self) {
        self.kept = true;
        self.leftover = None;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept && std::fs::remove_dir_all(&self.path).is_err() {
            // Somebody still writes into it: it stays on the guard's list.
            std::mem::forget(self.leftover.take());
        }
    }
}
