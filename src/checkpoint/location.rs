//! Where checkpoints lie: the setting `checkpoint.storage`, as written and as a store to talk to.

use super::{
    bucket::{Bucket, Service, environment},
    explain::{Access, Trouble},
};
use crate::protocol::Failure;
use object_store::{ObjectStore, local::LocalFileSystem, path::Path as ObjectPath};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};
use url::Url;

/// A checked `checkpoint.storage`: a folder of this machine (`file:///path` or a plain path), or a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A location that answers.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    /// The store, rooted anywhere.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Where the location begins inside the store.
    pub(crate) prefix: ObjectPath,
    /// The folder, when the store is one of this machine.
    pub(crate) folder: Option<PathBuf>,
    /// The location as errors show it.
    pub(crate) shown: String,
}

impl Location {
    /// The folder at `path`; a relative path starts at the working directory.
    ///
    /// # Errors
    /// Fatal, when there is no working directory to start from.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path)
            .map_err(|why| Failure::fatal(format!("checkpoint.storage = {:?}: no absolute path: {why}", path.display())))?;
        Ok(Self(Place::Folder(absolute)))
    }

    /// The folder, when the location is one of this machine: hard links are possible from there.
    #[must_use]
    pub fn as_folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::Folder(path) => Some(path),
            Place::Bucket(_) => None,
        }
    }

    /// The place `name` inside of this one.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self(match &self.0 {
            Place::Folder(path) => Place::Folder(path.join(name)),
            Place::Bucket(bucket) => Place::Bucket(bucket.below(name)),
        })
    }

    /// The last part of the place.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.0 {
            Place::Folder(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Place::Bucket(bucket) => bucket.prefix().filename().unwrap_or_default().to_owned(),
        }
    }

    /// Opens the location; `create` makes the folder when it is absent. A bucket is not asked for anything yet.
    pub(crate) fn connect(&self, create: bool) -> Result<Connected, Failure> {
        let shown = self.to_string();
        match &self.0 {
            Place::Folder(path) => {
                let failed = |access, why: std::io::Error| Trouble::of_io(why).into_failure(access, &shown);
                if create {
                    std::fs::create_dir_all(path).map_err(|why| match why.kind() {
                        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => Failure::fatal(format!(
                            "checkpoint.storage = {shown:?}: it, or a part of its path, is a file, not a folder"
                        )),
                        _ => failed(Access::Write, why),
                    })?;
                } else if !path.exists() {
                    return Err(Failure::refused(format!(
                        "checkpoint storage {shown} does not exist: check checkpoint.storage, or that the disk is mounted"
                    )));
                }
                // Without fsync a power cut can leave an empty file under a name that Kafka's offsets point to.
                let store = LocalFileSystem::new_with_prefix(path)
                    .map_err(|why| Trouble::of(why).into_failure(Access::Read, &shown))?
                    .with_fsync(true);
                Ok(Connected { store: Arc::new(store), prefix: ObjectPath::default(), folder: Some(path.clone()), shown })
            }
            Place::Bucket(bucket) => {
                let store = bucket.connect(environment())?;
                Ok(Connected { store, prefix: bucket.prefix().clone(), folder: None, shown })
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(path) => path.display().fmt(f),
            Place::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl FromStr for Location {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| {
            Failure::fatal(format!(
                "checkpoint.storage = {text:?}: {why}; allowed are a plain path, or a URL like file:///var/lib/sluicegate/checkpoints, \
                 s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
            ))
        };
        if text.trim().is_empty() {
            return Err(refuse("it is empty"));
        }
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
        let Some(scheme) = scheme else {
            if text.starts_with('~') {
                return Err(refuse("'~' is not expanded here, write the path in full"));
            }
            return Self::folder(text);
        };
        let service = Service::ALL.into_iter().find(|service| service.scheme() == scheme);
        if service.is_none() && scheme != "file" {
            return Err(refuse(&format!("{scheme}: is not known")));
        }
        let url = Url::parse(text).map_err(|why| refuse(&format!("not a URL: {why}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a query ('?') or fragment ('#') has no meaning here"));
        }
        if let Some(service) = service {
            return Ok(Self(Place::Bucket(Bucket::parse(service, &url).map_err(|why| refuse(&why))?)));
        }
        if !text.starts_with("file:///") && !text.starts_with("file://localhost/") {
            return Err(refuse("a file URL has three slashes"));
        }
        let path = url.to_file_path().map_err(|()| refuse("not a path of this machine"))?;
        Ok(Self(Place::Folder(path)))
    }
}

/// Whether `text`, found before a colon, reads as the scheme of a URL.
fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_a_plain_path_name_the_same_folder() {
        let url: Location = "file:///var/lib/check%20points".parse().unwrap();
        let plain: Location = "/var/lib/check points".parse().unwrap();
        assert_eq!(url, plain);
        assert_eq!(url.to_string(), "/var/lib/check points");
    }

    #[test]
    fn a_relative_path_starts_at_the_working_directory() {
        let location: Location = "checkpoints/orders".parse().unwrap();
        assert_eq!(location.as_folder().unwrap(), std::env::current_dir().unwrap().join("checkpoints/orders"));
    }

    #[test]
    fn everything_else_is_refused_with_what_is_allowed() {
        for (text, reason) in [
            ("", "empty"),
            ("  ", "empty"),
            ("~/checkpoints", "'~' is not expanded"),
            ("hdfs://name/path", "hdfs: is not known"),
            ("s3:bucket/path", "no name of a bucket"),
            ("s3://Bucket/path", "no name of a bucket"),
            ("s3://bucket/path?region=eu", "query"),
            ("gs://key:secret@bucket/path", "environment variables"),
            ("file://host/path", "three slashes"),
            ("file:relative", "three slashes"),
            ("file:///path?a=b", "query"),
        ] {
            let failure = text.parse::<Location>().unwrap_err();
            assert!(failure.message.contains(reason), "{text}: {failure}");
            assert!(failure.message.contains("allowed are a plain path, or a URL like file:///"), "{text}: {failure}");
        }
    }

    #[test]
    fn a_bucket_is_no_folder_and_shows_as_it_is_written() {
        for text in ["s3://shop-checkpoints/prod/eu", "gs://shop.example", "az://checkpoints/a"] {
            let location: Location = text.parse().unwrap();
            assert_eq!((location.as_folder(), location.to_string().as_str()), (None, text));
        }
    }
}
