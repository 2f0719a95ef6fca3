//! The jobs that ship with sluicegate. They are written with [`crate::stream`] and [`mod@crate::format`] only.

pub mod orders;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Every Rust file below `folder`.
    fn sources(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: std::path::PathBuf| match path.is_dir() {
            true => sources(&path),
            false => vec![(path.display().to_string(), fs::read_to_string(&path).unwrap())],
        };
        entries.flat_map(read).collect()
    }

    #[test]
    fn jobs_use_the_stream_api_and_the_formats_and_nothing_else_of_ours() {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/jobs"));
        assert!(files.len() > 5, "{files:?}");
        for (file, text) in &files {
            for used in text.split("crate::").skip(1).chain(text.split("sluicegate::").skip(1)) {
                let room = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                // In this sentence there is no room named.
                assert!(["stream", "format", ""].contains(&room), "{file} uses crate::{room}");
            }
        }
    }
}
