//! The few requests that are made of a schema registry, in Confluent's words.

use super::{RegistrySettings, Secret};
use crate::protocol::Failure;
use apache_avro::Schema;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use std::{error::Error, fmt, path::Path};

/// More is no answer of a registry.
const LONGEST_ANSWER: usize = 8 << 20;
/// Schemas that one may refer to, in all.
const MOST_REFERENCES: usize = 64;
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// Why a request was in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vain {
    /// The registry says that there is no such thing.
    Absent(String),
    /// It says that the schema must not be: what it said.
    Incompatible(String),
    /// It does not answer, or not as a registry in order does: another time perhaps.
    Away(String),
    /// It answers what no time will mend: a schema that nobody can parse.
    Unusable(String),
}

impl fmt::Display for Vain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(text) | Self::Incompatible(text) | Self::Away(text) | Self::Unusable(text) => f.write_str(text),
        }
    }
}

/// A schema, and those that it refers to.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its number.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// The schema.
    pub schema: Schema,
    /// What it refers to.
    pub others: Vec<Schema>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    id: u32,
    #[serde(default)]
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Compatible {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error_code: u32,
    message: String,
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    settings: RegistrySettings,
}

impl Client {
    /// Sends nothing yet.
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, Failure> {
        // One provider of cryptography for the process; whoever installed one before us has decided.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |key: &str, error: &dyn fmt::Display| Failure::fatal(format!("registry.{key}: {error}"));
        let read =
            |key: &str, path: &Path| std::fs::read(path).map_err(|error| wrong(key, &format!("{}: {error}", path.display())));
        let mut builder = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("sluicegate");
        if let Some(path) = &settings.ca_certificate {
            let pem = read("ca_certificate", path)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| wrong("ca_certificate", &format!("{} holds no certificates in PEM: {error}", path.display())))?;
            if certificates.is_empty() {
                return Err(wrong("ca_certificate", &format!("{} holds no certificate in PEM", path.display())));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(path) = &settings.client_certificate {
            let identity = reqwest::Identity::from_pem(&read("client_certificate", path)?).map_err(|error| {
                wrong("client_certificate", &format!("{} holds no certificate and key in PEM: {error}", path.display()))
            })?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| wrong("url", &reasons(&error)))?;
        Ok(Self { http, settings: settings.clone() })
    }

    /// The schema of this number.
    pub(super) async fn by_id(&self, id: u32) -> Result<Registered, Vain> {
        let answer: Answer = self.get(&["schemas", "ids", &id.to_string()]).await?;
        self.whole(Answer { id, ..answer }).await
    }

    /// The newest schema under a subject.
    pub(super) async fn latest(&self, subject: &str) -> Result<Registered, Vain> {
        let answer = self.get(&["subjects", subject, "versions", "latest"]).await?;
        self.whole(answer).await
    }

    /// The number of a schema that is under a subject.
    pub(super) async fn id_of(&self, subject: &str, schema: &str) -> Result<u32, Vain> {
        self.post::<Answer>(&["subjects", subject], schema).await.map(|answer| answer.id)
    }

    /// Puts a schema under a subject, if it is not there; its number.
    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<u32, Vain> {
        self.post::<Answer>(&["subjects", subject, "versions"], schema).await.map(|answer| answer.id)
    }

    /// Whether a schema may follow the newest one of its subject; if not, why.
    pub(super) async fn may_follow(&self, subject: &str, schema: &str) -> Result<(), Vain> {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let answer: Compatible = self.post(&path, schema).await?;
        if answer.is_compatible { Ok(()) } else { Err(Vain::Incompatible(answer.messages.join("; "))) }
    }

    async fn whole(&self, answer: Answer) -> Result<Registered, Vain> {
        let Answer { id, schema: text, schema_type, references } = answer;
        if let Some(other) = schema_type.filter(|kind| kind != "AVRO") {
            return Err(Vain::Unusable(format!("schema id {id} is of the type {other}; wanted is AVRO")));
        }
        let mut wanted = references;
        let mut texts: Vec<String> = Vec::new();
        let mut seen = 0;
        while let Some(Reference { subject, version }) = wanted.pop() {
            seen += 1;
            if seen > MOST_REFERENCES {
                return Err(Vain::Unusable(format!("schema id {id} refers to more than {MOST_REFERENCES} others")));
            }
            let other: Answer = self.get(&["subjects", &subject, "versions", &version.to_string()]).await?;
            if !texts.contains(&other.schema) {
                texts.push(other.schema);
                wanted.extend(other.references);
            }
        }
        let (schema, others) = Schema::parse_str_with_list(&text, &texts)
            .map_err(|error| Vain::Unusable(format!("schema id {id} is not Avro: {error}")))?;
        Ok(Registered { id, text, schema, others })
    }

    async fn get<T: for<'a> Deserialize<'a>>(&self, path: &[&str]) -> Result<T, Vain> {
        self.send(Method::GET, path, None).await
    }

    async fn post<T: for<'a> Deserialize<'a>>(&self, path: &[&str], schema: &str) -> Result<T, Vain> {
        self.send(Method::POST, path, Some(json!({ "schema": schema }).to_string())).await
    }

    async fn send<T: for<'a> Deserialize<'a>>(&self, method: Method, path: &[&str], body: Option<String>) -> Result<T, Vain> {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let shown = format!("{method} {url}");
        let away = |error: &dyn fmt::Display| Vain::Away(format!("{shown}: {error}"));
        let mut request = self.http.request(method.clone(), url.clone());
        if let Some((user, Secret(password))) = &self.settings.basic {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, JSON).body(body);
        }
        let mut response = request.send().await.map_err(|error| away(&reasons(&error.without_url())))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| away(&reasons(&error.without_url())))? {
            if bytes.len() + chunk.len() > LONGEST_ANSWER {
                return Err(away(&format!("answers more than {LONGEST_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| away(&format!("answers what no registry does: {error}")));
        }
        let refusal: Refusal = serde_json::from_slice(&bytes).unwrap_or_default();
        let said =
            format!("{shown} answers {status}: {}", if refusal.message.is_empty() { "no reason" } else { &refusal.message });
        Err(match status {
            // Only the registry's own words: a proxy in between says 404, too.
            StatusCode::NOT_FOUND if (40_400..40_500).contains(&refusal.error_code) => Vain::Absent(said),
            StatusCode::CONFLICT => Vain::Incompatible(said),
            StatusCode::UNPROCESSABLE_ENTITY => Vain::Unusable(said),
            _ => Vain::Away(said),
        })
    }
}

/// An error and what it comes from: the outermost alone says little.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text = format!("{text}: {source}");
        inner = source.source();
    }
    text
}
