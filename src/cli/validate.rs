//! `sluicegate validate`

use super::{
    Code, Given, Stop, checkpoint, formats, screen,
    topics::{self, Names},
};
use crate::{
    config::{Settings, show_duration},
    format::Format,
    protocol::Failure,
};
use std::{path::Path, sync::atomic::AtomicBool};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate validate --config config/orders.toml --set kafka.bootstrap_servers=kafka:9092")]
pub struct Validate {
    /// Check the settings only
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    pub(super) given: Given,
}

/// What was looked at, and what was found.
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) found: Result<String, Failure>,
}

impl Check {
    /// Shows all of them, and says whether all is well.
    pub(super) fn show(checks: &[Self]) -> Result<Code, Stop> {
        for Self { what, found } in checks {
            let (word, text) = match found {
                Ok(text) => ("ok", text.clone()),
                Err(failure) => ("FAILED", failure.to_string()),
            };
            screen::line(&format!("{what:<25} {word:<7} {text}"))?;
        }
        Ok(if checks.iter().all(|check| check.found.is_ok()) { Code::Done } else { Code::Failed })
    }
}

impl Validate {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (settings, sources) = self.given.load()?;
        let file = sources.file.as_ref().map_or_else(|| "no file, defaults".to_owned(), |file| file.display().to_string());
        let mut checks = vec![Check { what: "settings", found: Ok(file) }];
        checks.extend(schemas(&settings));
        if !self.offline {
            checks.push(Check { what: "state.dir", found: writable(&settings.state.dir) });
            checks.push(Check { what: "checkpoint.storage", found: storage(&settings) });
            checks.extend(brokers(&settings, &Names::of(&settings)));
            checks.extend(registry(&settings));
        }
        Check::show(&checks)
    }
}

/// Whether the files of schemas can be used.
fn schemas(settings: &Settings) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(path) = &settings.format.reader_schema {
        let found = formats::reader_schema(settings).map(|_| format!("{}: has all fields of an order event", path.display()));
        checks.push(Check { what: "format.reader_schema", found });
    }
    if let Some(folder) = &settings.format.schemas {
        let found = formats::single_object(settings)
            .map(|(_, known)| format!("{}: {known} schemas of producers can be read", folder.display()));
        checks.push(Check { what: "format.schemas", found });
    }
    checks
}

/// Whether the brokers answer, have the topics and allow what the settings want.
pub(super) fn brokers(settings: &Settings, names: &Names) -> Vec<Check> {
    let kafka = &settings.kafka;
    let cluster = match topics::connect(settings) {
        Ok(cluster) => cluster,
        Err(failure) => return vec![Check { what: "kafka.bootstrap_servers", found: Err(failure) }],
    };
    let answered = format!("{} answers, cluster {}", kafka.connection.bootstrap_servers, cluster.id());
    let (all, outputs) = (names.all(), &names.outputs);
    let present = cluster.require(&all).map(|()| format!("all {} are there", all.len()));
    let timeout = cluster.transaction_max_timeout().map(|limit| match limit {
        Some(limit) => format!("{}, the brokers allow {}", show_duration(kafka.transaction_timeout), show_duration(limit)),
        None => format!("{}, the brokers do not say what they allow", show_duration(kafka.transaction_timeout)),
    });
    let missing = present.is_err();
    // Limits of topics can only be asked for where there are topics.
    let limits = cluster.check_limits(kafka.transaction_timeout, if missing { &[] } else { outputs });
    vec![
        Check { what: "kafka.bootstrap_servers", found: Ok(answered) },
        Check { what: "topics", found: present },
        Check { what: "kafka.transaction_timeout", found: limits.and(timeout) },
    ]
}

/// Whether the registry answers, the newest schema of the input can be read, and our schemas may follow those of the outputs.
fn registry(settings: &Settings) -> Vec<Check> {
    let Some(address) = settings.registry.as_ref().map(|registry| registry.url.clone()) else { return Vec::new() };
    let patience = settings.kafka.connect_timeout;
    let never = AtomicBool::new(false);
    let runtime = match formats::runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return vec![Check { what: "registry.url", found: Err(failure) }],
    };
    let connecting = formats::Connecting::new(settings, runtime.handle(), &never);
    let registry = connecting.and_then(|connecting| connecting.registry().cloned());
    let registry = match registry.and_then(|registry| registry.answers(patience, &never).map(|()| registry)) {
        Ok(registry) => registry,
        Err(failure) => return vec![Check { what: "registry.url", found: Err(failure) }],
    };
    let mut checks = vec![Check { what: "registry.url", found: Ok(format!("{address} answers")) }];
    if settings.format.orders == Format::Avro {
        let found = registry.can_read(&settings.source.topic, patience, &never).map(|newest| match newest {
            Some(id) => format!("{}: records of the newest schema, id {id}, can be read", settings.source.topic),
            None => format!("{}: has no schema yet", settings.source.topic),
        });
        checks.push(Check { what: "schema of the input", found });
    }
    for (topic, schema) in formats::registered_outputs(settings) {
        let found = registry.can_write(topic, schema, patience, &never).map(|id| match id {
            Some(id) => format!("{topic}: is registered, id {id}"),
            None => format!("{topic}: will be registered, and may be"),
        });
        checks.push(Check { what: "schema of an output", found });
    }
    checks
}

/// Whether files can be written there, or where the folder would be made.
pub(super) fn writable(folder: &Path) -> Result<String, Failure> {
    let shown = folder.display();
    let Some(existing) = folder.ancestors().find(|ancestor| ancestor.exists()) else {
        return Err(Failure::fatal(format!("{shown}: nothing of this path exists")));
    };
    tempfile::tempfile_in(existing)
        .map_err(|error| Failure::fatal(format!("{} is not writable: {error}", existing.display())))?;
    Ok(if existing == folder { shown.to_string() } else { format!("{shown}, will be made") })
}

pub(super) fn storage(settings: &Settings) -> Result<String, Failure> {
    let location = &settings.checkpoint.storage;
    if let Some(folder) = location.as_folder() {
        let written = writable(folder)?;
        if !folder.join(settings.job.name.as_str()).exists() {
            return Ok(format!("{written}; no checkpoint of job {} yet", settings.job.name));
        }
    }
    // Whether a bucket may be written to is found at the start: nothing is changed here.
    let newest = match checkpoint::open_if_there(settings)? {
        Some(storage) => storage.list_manifests()?.pop(),
        None => None,
    };
    Ok(match newest {
        Some(newest) => format!("{location}; newest checkpoint of job {} is {newest}", settings.job.name),
        None => format!("{location}; no checkpoint of job {} yet", settings.job.name),
    })
}
