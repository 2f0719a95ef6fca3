//! The one folder for what is downloaded or compiled; correct when empty, and to be deleted at any time when nothing runs.

use crate::{Context, Result};
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/sluicegate`, else `~/.cache/sluicegate`. The Makefile and `tools/setup` use the same.
pub fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("sluicegate"))
}
