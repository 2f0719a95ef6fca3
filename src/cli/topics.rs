//! `sluicegate topics`

use super::{Code, Given, Stop, screen};
use crate::{
    config::Settings,
    engine::plan::Plan,
    kafka::{Cluster, Creation, TopicSpec},
    protocol::Failure,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

/// Create the topics of the job.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Topics {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create the input topic and the output topics, those that are absent.
    ///
    /// A topic that is there is left as it is.
    Create(Create),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate topics create --partitions 8 --replication-factor 3")]
struct Create {
    /// Partitions of each topic
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Copies of each partition; without it, the broker's default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    replication_factor: Option<i32>,
    #[command(flatten)]
    given: Given,
}

/// The topics of a job.
pub(super) struct Names {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

impl Names {
    /// Those of the order job.
    pub(super) fn of(settings: &Settings) -> Self {
        Self { inputs: vec![settings.source.topic.clone()], outputs: settings.topics.all().map(str::to_owned).into() }
    }

    /// Those of a graph; none if it does without Kafka.
    pub(super) fn of_graph(plan: &Plan) -> Result<Option<Self>, Failure> {
        let outputs: BTreeSet<String> = plan.kafka_outputs().map(str::to_owned).collect();
        let inputs: Vec<String> = plan.kafka_inputs()?.into_iter().map(str::to_owned).collect();
        Ok((!inputs.is_empty() || !outputs.is_empty()).then(|| Self { inputs, outputs: outputs.into_iter().collect() }))
    }

    /// The input topics and the output topics.
    pub(super) fn all(&self) -> Vec<String> {
        self.inputs.iter().chain(&self.outputs).cloned().collect()
    }
}

impl Topics {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        self.run_for(|settings| Ok(Names::of(settings)))
    }

    /// For the job whose topics `names` gives.
    pub(super) fn run_for(&self, names: impl FnOnce(&Settings) -> Result<Names, Failure>) -> Result<Code, Stop> {
        match &self.command {
            Command::Create(create) => create.run(names),
        }
    }
}

impl Create {
    fn run(&self, names: impl FnOnce(&Settings) -> Result<Names, Failure>) -> Result<Code, Stop> {
        let (settings, _) = self.given.load()?;
        let names = names(&settings)?;
        let output = |name: &String| names.outputs.contains(name);
        let wanted: Vec<TopicSpec> = names
            .all()
            .into_iter()
            .map(|name| TopicSpec {
                partitions: self.partitions,
                replication: self.replication_factor,
                configs: if output(&name) { limits(&settings) } else { BTreeMap::new() },
                name,
            })
            .collect();
        for (name, creation) in connect(&settings)?.create_topics(&wanted)? {
            screen::line(&match creation {
                Creation::Created => format!("{name}: created, {}", partitions(self.partitions)),
                Creation::Existed { partitions: n } => format!("{name}: was there, {}", partitions(n)),
            })?;
        }
        Ok(Code::Done)
    }
}

/// An output topic takes what our producer may send, dead letters of the largest input records among it.
fn limits(settings: &Settings) -> BTreeMap<String, String> {
    let bytes = settings.kafka.connection.message_max_bytes();
    [("max.message.bytes".to_owned(), bytes.to_string())].into()
}

fn partitions(n: impl std::fmt::Display) -> String {
    let n = n.to_string();
    let unit = if n == "1" { "partition" } else { "partitions" };
    format!("{n} {unit}")
}

/// The cluster that the settings name, once it answers.
pub(super) fn connect(settings: &Settings) -> Result<Cluster, Failure> {
    let kafka = &settings.kafka;
    Cluster::connect(&kafka.connection, kafka.connect_timeout, &AtomicBool::new(false))
}
