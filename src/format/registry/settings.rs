//! Where the registry is, and how it is talked to.

use crate::format::avro::OwnSchema;
use std::{fmt, path::PathBuf, time::Duration};
use url::Url;

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How the subject of a schema is named, as Confluent's serializers do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectStrategy {
    /// `<topic>-value`.
    TopicName,
    /// `<full name of the record>`.
    RecordName,
    /// `<topic>-<full name of the record>`.
    TopicRecordName,
}

impl SubjectStrategy {
    /// The subject of `schema` on `topic`.
    #[must_use]
    pub fn subject(self, topic: &str, schema: OwnSchema) -> String {
        match self {
            Self::TopicName => format!("{topic}-value"),
            Self::RecordName => schema.record_name().to_owned(),
            Self::TopicRecordName => format!("{topic}-{}", schema.record_name()),
        }
    }
}

/// How a schema registry is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Base of its addresses: `/subjects` and `/schemas` are below it.
    pub url: Url,
    /// User and password for HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A file of certificates in PEM that its own is signed by, beside those that the system trusts.
    pub ca_certificate: Option<PathBuf>,
    /// A file with our certificate and its key in PEM, for a registry that wants one.
    pub client_certificate: Option<PathBuf>,
    /// How subjects are named.
    pub strategy: SubjectStrategy,
    /// Whether a schema that is not under its subject is registered there; else that is an error.
    pub register: bool,
    /// How long one request may take.
    pub timeout: Duration,
}
