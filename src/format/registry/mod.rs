//! A schema registry with Confluent's API (Confluent's own, Apicurio, Karapace, Redpanda), as far as a job needs it.
//!
//! Numbers and schemas never change once they are given, so both are asked for once. A schema is asked for beside the task that waits for it: see
//! [`Registry::answer`].

mod client;
mod settings;
#[cfg(test)]
mod tests;

pub use client::Registered;
pub use settings::{RegistrySettings, Secret, SubjectStrategy};

use super::avro::{OwnSchema, Plan, ReaderSchema};
use super::{DecodeError, ErrorClass};
use crate::protocol::Failure;
use client::{Client, Vain};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// First and longest pause before a request is made again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// For so long a number that the registry does not know is not asked for again: producers register before they write, but a registry of
/// several instances may know a little later.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// What is known of a schema now.
#[derive(Debug, Clone)]
pub enum Answer {
    /// How to read what was written with it.
    Plan(Arc<Plan>),
    /// Why nothing that was written with it can be read.
    Refused(DecodeError),
    /// The registry has not answered yet.
    Waiting,
}

enum Known {
    Asked,
    Plan(Arc<Plan>),
    Refused(DecodeError, Option<Instant>),
}

/// A registry and what it has said.
pub struct Registry {
    client: Client,
    settings: RegistrySettings,
    runtime: Handle,
    reader: ReaderSchema,
    known: Mutex<HashMap<u32, Known>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Registry {
    /// Sends nothing yet; requests will be made on `runtime`. Records are read as `reader`.
    ///
    /// # Errors
    ///
    /// Fatal: a file of certificates cannot be read or holds none.
    pub fn new(settings: RegistrySettings, reader: ReaderSchema, runtime: Handle) -> Result<Arc<Self>, Failure> {
        let client = Client::new(&settings)?;
        Ok(Arc::new(Self { client, settings, runtime, reader, known: Mutex::default() }))
    }

    /// How to read what was written with the schema of this number. Never waits: what is not known is asked for beside the caller, again and
    /// again until the registry answers, and until then the answer is [`Answer::Waiting`].
    pub fn answer(self: &Arc<Self>, id: u32) -> Answer {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id) {
            Some(Known::Plan(plan)) => return Answer::Plan(Arc::clone(plan)),
            Some(Known::Refused(error, until)) if until.is_none_or(|until| Instant::now() < until) => {
                return Answer::Refused(error.clone());
            }
            Some(Known::Asked) => return Answer::Waiting,
            Some(Known::Refused(..)) | None => {}
        }
        known.insert(id, Known::Asked);
        let registry = Arc::clone(self);
        self.runtime.spawn(async move { registry.ask(id).await });
        Answer::Waiting
    }

    async fn ask(&self, id: u32) {
        let mut pause = PAUSES.0;
        let refused = |class, message, until| Known::Refused(DecodeError { class, message }, until);
        let answer = loop {
            match self.client.by_id(id).await {
                Ok(found) => {
                    break match Plan::read_as(&found.schema, &found.others, &self.reader) {
                        Ok(plan) => {
                            tracing::info!(id, "records of a schema that is new to this process");
                            Known::Plan(Arc::new(plan))
                        }
                        Err(why) => refused(ErrorClass::IncompatibleSchema, format!("schema id {id}: {why}"), None),
                    };
                }
                Err(Vain::Absent(_)) => {
                    let message = format!("the registry at {} knows no schema id {id}", self.settings.url);
                    break refused(ErrorClass::UnknownSchema, message, Some(Instant::now() + UNKNOWN_FOR));
                }
                Err(Vain::Unusable(why) | Vain::Incompatible(why)) => break refused(ErrorClass::IncompatibleSchema, why, None),
                Err(Vain::Away(why)) => {
                    tracing::warn!(id, why, "the registry does not say what a schema is; records that need it wait");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
    }

    /// Waits until the registry answers, for `patience` at most, until `cancel` is raised.
    ///
    /// # Errors
    ///
    /// Transient: no answer in that time.
    pub fn answers(&self, patience: Duration, cancel: &AtomicBool) -> Result<(), Failure> {
        // What it says does not matter: no number is larger, and none will ever be given that often.
        self.insist(patience, cancel, async || self.client.by_id(i32::MAX.unsigned_abs()).await).map(|_| ())
    }

    /// The number under which `schema` is written to `topic`: registered, or only looked up, as the settings say. Tries for `patience`, until
    /// `cancel` is raised.
    ///
    /// # Errors
    ///
    /// Transient: no answer in that time. Fatal: the registry refuses the schema, or does not have it and must not be changed.
    pub fn number(&self, topic: &str, schema: OwnSchema, patience: Duration, cancel: &AtomicBool) -> Result<u32, Failure> {
        let subject = self.settings.strategy.subject(topic, schema);
        let asked = self.insist(patience, cancel, async || match self.settings.register {
            true => self.client.register(&subject, schema.text()).await,
            false => self.client.id_of(&subject, schema.text()).await,
        });
        asked?.map_err(|vain| {
            let what = match vain {
                Vain::Absent(_) if !self.settings.register => format!(
                    "subject {subject} does not have the schema of {}; register it, or let the job do so with registry.auto_register = true",
                    schema.record_name()
                ),
                vain => format!("subject {subject} does not take the schema of {}: {vain}", schema.record_name()),
            };
            Failure::fatal(format!("registry {}: {what}", self.settings.url))
        })
    }

    /// Whether records of the newest schema of `topic` can be read: its number, or none if the topic has none.
    ///
    /// # Errors
    ///
    /// Transient: no answer. Fatal: they cannot be read; says why.
    pub fn can_read(&self, topic: &str, patience: Duration, cancel: &AtomicBool) -> Result<Option<u32>, Failure> {
        let subject = self.settings.strategy.subject(topic, OwnSchema::OrderEvent);
        let failed = |why: String| Failure::fatal(format!("registry {}: subject {subject}: {why}", self.settings.url));
        match self.insist(patience, cancel, async || self.client.latest(&subject).await)? {
            Ok(found) => match Plan::read_as(&found.schema, &found.others, &self.reader) {
                Ok(_) => Ok(Some(found.id)),
                Err(why) => Err(failed(format!("records of its newest schema (id {}) cannot be read: {why}", found.id))),
            },
            Err(Vain::Absent(_)) => Ok(None),
            Err(vain) => Err(failed(vain.to_string())),
        }
    }

    /// Whether `schema` is under the subject of `topic`, or may be put there, without doing so: its number, or none if it is not there yet.
    ///
    /// # Errors
    ///
    /// Transient: no answer. Fatal: it may not follow what is there, or is not there and must not be registered.
    pub fn can_write(
        &self,
        topic: &str,
        schema: OwnSchema,
        patience: Duration,
        cancel: &AtomicBool,
    ) -> Result<Option<u32>, Failure> {
        let subject = self.settings.strategy.subject(topic, schema);
        let failed = |why: String| Failure::fatal(format!("registry {}: subject {subject}: {why}", self.settings.url));
        match self.insist(patience, cancel, async || self.client.id_of(&subject, schema.text()).await)? {
            Ok(id) => return Ok(Some(id)),
            Err(Vain::Absent(_)) if self.settings.register => {}
            Err(Vain::Absent(_)) => {
                let name = schema.record_name();
                return Err(failed(format!("does not have the schema of {name}, and registry.auto_register is false")));
            }
            Err(vain) => return Err(failed(vain.to_string())),
        }
        match self.insist(patience, cancel, async || self.client.may_follow(&subject, schema.text()).await)? {
            Ok(()) | Err(Vain::Absent(_)) => Ok(None),
            Err(vain) => Err(failed(format!("the schema of {} may not follow the newest one: {vain}", schema.record_name()))),
        }
    }

    /// The schema of this number, for readers that have time; none if the registry does not know it.
    ///
    /// # Errors
    ///
    /// Transient: no answer in `patience`. Fatal: it cannot be used.
    pub fn schema(&self, id: u32, patience: Duration, cancel: &AtomicBool) -> Result<Option<Registered>, Failure> {
        match self.insist(patience, cancel, async || self.client.by_id(id).await)? {
            Ok(found) => Ok(Some(found)),
            Err(Vain::Absent(_)) => Ok(None),
            Err(vain) => Err(Failure::fatal(format!("registry {}: {vain}", self.settings.url))),
        }
    }

    /// Makes a request until it is answered. Not for threads of the runtime.
    fn insist<T>(
        &self,
        patience: Duration,
        cancel: &AtomicBool,
        request: impl AsyncFn() -> Result<T, Vain>,
    ) -> Result<Result<T, Vain>, Failure> {
        let since = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            match self.runtime.block_on(request()) {
                Err(Vain::Away(why)) => {
                    if cancel.load(Ordering::Acquire) {
                        return Err(Failure::attempt(format!("asked to stop while asking the registry {}", self.settings.url)));
                    }
                    if since.elapsed() + pause > patience {
                        return Err(Failure::transient(format!(
                            "the schema registry {} (registry.url) has not answered for {} s: {why}",
                            self.settings.url,
                            patience.as_secs()
                        )));
                    }
                    tracing::warn!(why, "the schema registry does not answer; trying again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
                answer => return Ok(answer),
            }
        }
    }
}
