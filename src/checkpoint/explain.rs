//! What an error of the storage means for the caller: the one place that looks into `object_store::Error`.

use crate::protocol::Failure;
use std::{error::Error, fmt, io};

/// What was wanted when the trouble came; it decides what the user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Classes of trouble, by what helps against them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Another try may help: connection lost, 503, I/O error, out of time.
    Passing,
    /// Nothing lies under this name.
    Missing,
    /// A conditional put found something under this name.
    Taken,
    /// No space, or over quota.
    Full,
    /// Not allowed, or read-only.
    Denied,
    /// It is there, and it is not what the manifest says.
    Damaged,
    /// The trouble is on this side, in the state folder; the words name the path.
    Local,
    /// The attempt has ended; nobody waits for the answer.
    Cancelled,
    /// Neither time nor space helps: not supported, invalid name, wrong credentials.
    Wrong,
}

/// An error of the storage, classified, with the words of its source.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) class: Class,
    words: String,
}

impl Trouble {
    pub(crate) fn new(class: Class, words: impl Into<String>) -> Self {
        Self { class, words: words.into() }
    }

    /// What a call says when its storage was cancelled.
    pub(crate) fn cancelled() -> Self {
        Self::new(Class::Cancelled, "the attempt has ended")
    }

    /// Classifies an error of a store.
    pub(crate) fn of(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let class = match &error {
            E::NotFound { .. } => Class::Missing,
            E::AlreadyExists { .. } | E::Precondition { .. } => Class::Taken,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Class::Denied,
            E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
                Class::Wrong
            }
            _ => operating_system_error(&error).map_or(Class::Passing, class_of_io),
        };
        Self { class, words: innermost_words(&error) }
    }

    /// Classifies an error of the local file system.
    pub(crate) fn of_io(error: io::Error) -> Self {
        Self { class: class_of_io(&error), words: error.to_string() }
    }

    /// The failure to hand to the caller. `shown` is the full path or URL of the object.
    pub(crate) fn into_failure(self, access: Access, shown: &str) -> Failure {
        let Self { class, words } = self;
        let doing = match access {
            Access::Read => "reading",
            Access::Write => "writing",
        };
        match class {
            Class::Passing => Failure::transient(format!("checkpoint storage: {doing} {shown} failed: {words}")),
            Class::Missing => Failure::refused(format!("checkpoint storage: {shown} is missing")),
            Class::Taken => Failure::attempt(format!(
                "checkpoint storage: {shown} exists already with other content: another attempt of this job wrote it"
            )),
            // Space can be freed while the restart strategy waits, so that this is worth another attempt.
            Class::Full => Failure::transient(format!(
                "checkpoint storage: no space left for {shown} ({words}): free space there, or point checkpoint.storage elsewhere"
            )),
            Class::Denied => Failure::fatal(format!(
                "checkpoint storage: {doing} {shown} is not permitted ({words}): the user that runs sluicegate needs {} access there",
                if access == Access::Read { "read" } else { "read and write" }
            )),
            Class::Damaged => Failure::refused(format!("checkpoint storage: {shown} is damaged: {words}")),
            Class::Local => Failure::attempt(format!("{doing} {shown} failed on this side: {words}")),
            Class::Cancelled => Failure::attempt(format!("checkpoint storage: {doing} {shown} was given up: {words}")),
            Class::Wrong => Failure::fatal(format!("checkpoint storage: {doing} {shown} is impossible: {words}")),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

fn class_of_io(error: &io::Error) -> Class {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound => Class::Missing,
        K::AlreadyExists => Class::Taken,
        K::StorageFull | K::QuotaExceeded => Class::Full,
        K::PermissionDenied | K::ReadOnlyFilesystem => Class::Denied,
        K::NotADirectory | K::IsADirectory | K::InvalidFilename | K::FileTooLarge | K::Unsupported => Class::Wrong,
        _ => Class::Passing,
    }
}

/// The operating system's error somewhere below `error`.
fn operating_system_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = current.source();
    }
    None
}

/// `object_store` repeats each inner error in the outer one's text; the first text says all, save the word "Generic".
fn innermost_words(error: &object_store::Error) -> String {
    match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FailureKind;

    fn generic(error: io::Error) -> object_store::Error {
        object_store::Error::Generic { store: "LocalFileSystem", source: error.into() }
    }

    #[test]
    fn a_full_disk_and_a_missing_permission_are_told_apart_and_name_the_path() {
        let full = Trouble::of(generic(io::ErrorKind::StorageFull.into())).into_failure(Access::Write, "/ck/orders/job.json");
        assert_eq!(full.kind, FailureKind::Transient);
        assert!(full.message.contains("no space left for /ck/orders/job.json"), "{full}");
        let denied =
            Trouble::of(generic(io::ErrorKind::PermissionDenied.into())).into_failure(Access::Write, "/ck/orders/job.json");
        assert_eq!(denied.kind, FailureKind::Fatal);
        assert!(denied.message.contains("/ck/orders/job.json is not permitted"), "{denied}");
    }

    #[test]
    fn an_error_that_nobody_knows_is_worth_another_try() {
        let trouble = Trouble::of(generic(io::Error::other("connection reset")));
        assert_eq!(trouble.class, Class::Passing);
        assert_eq!(trouble.into_failure(Access::Read, "x").kind, FailureKind::Transient);
    }
}
