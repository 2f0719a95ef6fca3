//! What an error of the storage means for the caller: the one place that looks into `object_store::Error`.

use super::{advice::Advice, answer::Answer, bucket::Service};
use crate::protocol::Failure;
use object_store::client::{HttpError, HttpErrorKind};
use std::{error::Error, fmt, io};

/// What was wanted when the trouble came; it decides what the user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    List,
    Write,
    Delete,
}

impl Access {
    fn doing(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::List => "listing",
            Self::Write => "writing",
            Self::Delete => "deleting",
        }
    }
}

/// Classes of trouble, by what helps against them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Another try may help: connection lost, 503, I/O error, out of time.
    Passing,
    /// Nothing lies under this name.
    Missing,
    /// There is not even a bucket.
    NoBucket,
    /// A conditional put found something under this name.
    Taken,
    /// A conditional put found something, and a look at it found nothing.
    Gone,
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
    /// What to look at, where a service refuses or is silent.
    advice: Option<Advice>,
}

impl Trouble {
    pub(crate) fn new(class: Class, words: impl Into<String>) -> Self {
        Self { class, words: words.into(), advice: None }
    }

    /// What a request says that was not answered in time.
    pub(crate) fn silence(words: impl Into<String>) -> Self {
        Self { advice: Some(Advice::Endpoint), ..Self::new(Class::Passing, words) }
    }

    /// The same with `words` after it, in parentheses.
    pub(crate) fn and(mut self, words: impl fmt::Display) -> Self {
        self.words = format!("{} ({words})", self.words);
        self
    }

    /// What a call says when its storage was cancelled.
    pub(crate) fn cancelled() -> Self {
        Self::new(Class::Cancelled, "the attempt has ended")
    }

    /// Classifies an error of a store.
    pub(crate) fn of(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let text = error.to_string();
        if let Some(answer) = Answer::in_text(&text) {
            let by_kind = match &error {
                E::NotFound { .. } => Some((Class::Missing, None)),
                E::AlreadyExists { .. } | E::Precondition { .. } => Some((Class::Taken, None)),
                _ => None,
            };
            let (class, advice) =
                answer.meaning().or(by_kind).or_else(|| answer.meaning_of_status()).unwrap_or((Class::Passing, None));
            // Whatever such a server has not: it is no object of ours.
            let (class, advice) = match class {
                _ if !asks_the_machine(&text) => (class, advice),
                Class::Passing => (Class::Passing, Some(Advice::Machine)),
                _ => (Class::Denied, Some(Advice::Machine)),
            };
            return Self { class, words: answer.to_string(), advice };
        }
        if let Some(unanswered) = cause::<HttpError>(&error) {
            return Self::of_connection(unanswered.kind(), &error, &text);
        }
        let class = match &error {
            E::NotFound { .. } => Class::Missing,
            E::AlreadyExists { .. } | E::Precondition { .. } => Class::Taken,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Class::Denied,
            E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
                Class::Wrong
            }
            _ => cause::<io::Error>(&error).map_or(Class::Passing, class_of_io),
        };
        let advice = text.contains("without LOCATION").then_some(Advice::Region);
        Self { class: if advice.is_some() { Class::Wrong } else { class }, words: innermost_words(&error), advice }
    }

    /// A request that got no answer. `text` names request and address, the innermost cause what the system said.
    fn of_connection(kind: HttpErrorKind, error: &(dyn Error + 'static), text: &str) -> Self {
        let root = root_cause(error);
        let words = if text.contains(&root) { text.to_owned() } else { format!("{text}: {root}") };
        let (class, advice) = match kind {
            _ if asks_the_machine(text) => (Class::Passing, Advice::Machine),
            _ if root.contains("certificate") => (Class::Wrong, Advice::Certificate),
            HttpErrorKind::Connect | HttpErrorKind::Timeout => (Class::Passing, Advice::Endpoint),
            _ => return Self::new(Class::Passing, words),
        };
        Self { class, words, advice: Some(advice) }
    }

    /// Classifies an error of the local file system.
    pub(crate) fn of_io(error: io::Error) -> Self {
        Self::new(class_of_io(&error), error.to_string())
    }

    /// The failure to hand to the caller. `shown` is the full path or URL of the object.
    pub(crate) fn into_failure(self, access: Access, shown: &str) -> Failure {
        let Self { class, words, advice } = self;
        let doing = access.doing();
        let service = Service::of_url(shown);
        let advice = advice.zip(service).map(|(advice, service)| format!(": {}", advice.words(service, access)));
        let advice = advice.unwrap_or_default();
        match class {
            Class::Passing => Failure::transient(format!("checkpoint storage: {doing} {shown} failed: {words}{advice}")),
            Class::Missing => Failure::refused(format!("checkpoint storage: {shown} is missing")),
            Class::NoBucket => {
                Failure::fatal(format!("checkpoint storage: {doing} {shown} failed: there is no such bucket ({words}){advice}"))
            }
            Class::Taken => Failure::attempt(format!(
                "checkpoint storage: {shown} exists already with other content: another attempt of this job wrote it"
            )),
            Class::Gone => {
                Failure::attempt(format!("checkpoint storage: {shown} was there and is gone: somebody else deletes here"))
            }
            // Space can be freed while the restart strategy waits, so that this is worth another attempt.
            Class::Full => Failure::transient(format!(
                "checkpoint storage: no space left for {shown} ({words}): free space there, or point checkpoint.storage elsewhere"
            )),
            Class::Denied if service.is_some() => {
                Failure::fatal(format!("checkpoint storage: {doing} {shown} is not permitted ({words}){advice}"))
            }
            Class::Denied => Failure::fatal(format!(
                "checkpoint storage: {doing} {shown} is not permitted ({words}): the user that runs sluicegate needs {} access there",
                if matches!(access, Access::Read | Access::List) { "read" } else { "read and write" }
            )),
            Class::Damaged => Failure::refused(format!("checkpoint storage: {shown} is damaged: {words}")),
            Class::Local => Failure::attempt(format!("{doing} {shown} failed on this side: {words}")),
            Class::Cancelled => Failure::attempt(format!("checkpoint storage: {doing} {shown} was given up: {words}")),
            Class::Wrong => Failure::fatal(format!("checkpoint storage: {doing} {shown} is impossible: {words}{advice}")),
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

/// An error and what caused it, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| Error::source(*error))
}

/// The first `E` at or below `error`.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// What the innermost error below `error` says.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether the request that failed was one for credentials, to the server that clouds have for their own machines.
fn asks_the_machine(text: &str) -> bool {
    text.contains("//169.254.") || text.contains("//metadata")
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

    /// As a service's answer comes out of `object_store`.
    fn answered(status: &str, code: &str) -> object_store::Error {
        let text =
            format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code><Message>no</Message></Error>");
        let source = io::Error::other(text).into();
        match code {
            "NoSuchKey" => object_store::Error::NotFound { path: "a".to_owned(), source },
            _ => object_store::Error::Generic { store: "S3", source },
        }
    }

    fn unanswered(kind: HttpErrorKind, words: &'static str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: HttpError::new(kind, io::Error::other(words)).into() }
    }

    #[test]
    fn refusals_of_a_service_say_bucket_key_operation_and_what_to_look_at() {
        const KEY: &str = "s3://shop/prod/orders/job.json";
        for (status, code, access, kind, words) in [
            ("403 Forbidden", "AccessDenied", Access::Write, FailureKind::Fatal, ["writing", "s3:PutObject", "403"]),
            ("403 Forbidden", "AccessDenied", Access::Delete, FailureKind::Fatal, ["deleting", "s3:DeleteObject", "403"]),
            (
                "403 Forbidden",
                "SignatureDoesNotMatch",
                Access::Read,
                FailureKind::Fatal,
                ["reading", "AWS_SECRET_ACCESS_KEY", "403"],
            ),
            ("403 Forbidden", "RequestTimeTooSkewed", Access::List, FailureKind::Fatal, ["listing", "clock", "403"]),
            ("404 Not Found", "NoSuchBucket", Access::Read, FailureKind::Fatal, ["no such bucket", "AWS_REGION", "404"]),
            ("301 Moved", "PermanentRedirect", Access::Read, FailureKind::Fatal, ["impossible", "another region", "301"]),
            ("503 Slow Down", "SlowDown", Access::Write, FailureKind::Transient, ["writing", "503", "SlowDown"]),
            (
                "507 Full",
                "XMinioStorageFull",
                Access::Write,
                FailureKind::Transient,
                ["no space left", "507", "XMinioStorageFull"],
            ),
        ] {
            let failure = Trouble::of(answered(status, code)).into_failure(access, KEY);
            assert_eq!(failure.kind, kind, "{failure}");
            assert!(failure.message.contains(KEY), "{failure}");
            for word in words {
                assert!(failure.message.contains(word), "{code}: {word:?} is not in: {failure}");
            }
        }
    }

    #[test]
    fn a_service_that_does_not_answer_is_tried_again_and_one_that_cannot_be_trusted_is_not() {
        let said = |kind, words| Trouble::of(unanswered(kind, words)).into_failure(Access::Write, "gs://shop/a");
        let failure = said(HttpErrorKind::Connect, "Connection refused");
        assert_eq!(failure.kind, FailureKind::Transient);
        assert!(failure.message.contains("Connection refused") && failure.message.contains("GOOGLE_BASE_URL"), "{failure}");
        let failure = said(HttpErrorKind::Connect, "invalid peer certificate: UnknownIssuer");
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains("SSL_CERT_FILE"), "{failure}");
        assert_eq!(said(HttpErrorKind::Interrupted, "connection reset").kind, FailureKind::Transient);
    }

    /// A machine without a role answers 404 to whoever asks for its credentials.
    #[test]
    fn a_machine_that_has_no_credentials_is_not_taken_for_an_absent_object() {
        let text = "Error performing GET http://169.254.169.254/latest/meta-data/iam/security-credentials/ in 1ms - Server returned \
            non-2xx status code: 404 Not Found: no role";
        let failure = Trouble::of(generic(io::Error::other(text))).into_failure(Access::Read, "s3://shop/a");
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains("AWS_ACCESS_KEY_ID") && failure.message.contains("404"), "{failure}");
    }

    #[test]
    fn an_error_that_nobody_knows_is_worth_another_try() {
        let trouble = Trouble::of(generic(io::Error::other("connection reset")));
        assert_eq!(trouble.class, Class::Passing);
        assert_eq!(trouble.into_failure(Access::Read, "x").kind, FailureKind::Transient);
    }
}
