//! `sluicegate validate`

use super::{
    Code, Given, Stop, checkpoint, screen,
    topics::{self, Names},
};
use crate::{
    config::{Settings, show_duration},
    protocol::Failure,
};
use std::path::Path;

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
        if !self.offline {
            checks.push(Check { what: "state.dir", found: writable(&settings.state.dir) });
            checks.push(Check { what: "checkpoint.storage", found: storage(&settings) });
            checks.extend(brokers(&settings, &Names::of(&settings)));
        }
        Check::show(&checks)
    }
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
