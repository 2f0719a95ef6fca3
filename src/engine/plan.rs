//! A job's graph, ready to be run with any parallelism: what [`crate::stream`] builds and an attempt turns into threads.

use super::{
    context::TaskContext,
    halt::Halt,
    local::{LocalSource, TwoPhaseCommitSink},
};
use crate::protocol::{Carrier, Failure, TopicPartition};
use crate::state::StateDescriptor;
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Channel ends of one edge, for each upstream task a `Vec<Sender<_>>` (one for each downstream task), and for each
/// downstream task a `Vec<Receiver<_>>` (one for each upstream task). Only the edge's two vertices know the type.
pub struct Channels {
    /// One for each upstream task.
    pub senders: Vec<Box<dyn Any + Send>>,
    /// One for each downstream task.
    pub receivers: Vec<Box<dyn Any + Send>>,
}

type MakeChannels = dyn Fn(usize, usize, usize) -> Channels + Send + Sync;
/// The life of one task.
pub type RunTask = dyn Fn(&mut TaskContext) -> Result<(), Halt> + Send + Sync;

/// A keyed exchange from one vertex to another.
#[derive(Clone)]
pub struct Edge {
    /// Index of the upstream vertex.
    pub from: usize,
    /// Index of the downstream vertex.
    pub to: usize,
    /// Makes the channels for (upstream tasks, downstream tasks, batches per channel).
    pub channels: Arc<MakeChannels>,
}

/// What drives a vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VertexKind {
    /// Reads a topic.
    Source {
        /// Name of the topic.
        topic: String,
    },
    /// Reads an edge.
    Keyed,
}

/// A chain of operators that runs as one task per subtask.
#[derive(Clone)]
pub struct Vertex {
    /// Name: that of its first operator.
    pub name: String,
    /// What drives it.
    pub kind: VertexKind,
    /// Whether it writes to the sink.
    pub has_output: bool,
    /// Names of its operators, first to last.
    pub operators: Vec<String>,
    /// The task's whole life; runs on a thread of its own.
    pub run: Arc<RunTask>,
}

/// The graph.
#[derive(Clone, Default)]
pub struct Plan {
    /// Sources and keyed stages, upstream first.
    pub vertices: Vec<Vertex>,
    /// Exchanges between them.
    pub edges: Vec<Edge>,
    /// Output topics; records name them by index.
    pub topics: Vec<String>,
    /// Which vertex writes to which of the topics, both by index.
    pub writes: Vec<(usize, usize)>,
    /// Those of the topics that hold dead letters, each with the names that stand in them for the job.
    pub dead_letters: BTreeMap<String, BTreeSet<String>>,
    /// Keyed states of all operators.
    pub states: Vec<StateDescriptor>,
    /// States of operators that belong to subtasks instead of keys; they lie in the manifest.
    pub operator_states: Vec<StateDescriptor>,
    /// Those of the topics that are read and are not Kafka's.
    pub sources: BTreeMap<String, Arc<dyn LocalSource>>,
    /// Those of the topics that are written and are not Kafka's.
    pub sinks: BTreeMap<String, Arc<dyn TwoPhaseCommitSink>>,
}

/// Whose the ends of a job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// All are Kafka's.
    Kafka,
    /// None is Kafka's.
    Own,
    /// Some are, some are not.
    Both,
}

impl Plan {
    /// Whose the sources and sinks are.
    ///
    /// # Errors
    /// As [`Plan::inputs`].
    pub fn ends(&self) -> Result<Ends, Failure> {
        if self.sources.is_empty() && self.sinks.is_empty() {
            return Ok(Ends::Kafka);
        }
        let of_kafka = !self.kafka_inputs()?.is_empty() || self.kafka_outputs().next().is_some();
        Ok(if of_kafka { Ends::Both } else { Ends::Own })
    }

    /// Those of the topics that are read which are Kafka's.
    ///
    /// # Errors
    /// As [`Plan::inputs`].
    pub fn kafka_inputs(&self) -> Result<Vec<&str>, Failure> {
        Ok(self.inputs()?.into_iter().filter(|topic| !self.sources.contains_key(*topic)).collect())
    }

    /// Those of the topics that are written which are Kafka's.
    pub fn kafka_outputs(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(String::as_str).filter(|topic| !self.sinks.contains_key(*topic))
    }

    /// A sink that is not Kafka's and has the name of a topic that the job writes to.
    pub fn sink_named_twice(&self) -> Option<&str> {
        let twice = |name: &&String| self.topics.iter().filter(|topic| topic == name).count() > 1;
        self.sinks.keys().find(twice).map(String::as_str)
    }

    /// Whether the job ends by itself: none of its sources is a topic of Kafka, and each one ends.
    pub fn is_bounded(&self) -> bool {
        self.kafka_inputs().is_ok_and(|topics| topics.is_empty()) && self.sources.values().all(|source| source.bounded())
    }

    /// What carries the pointer of the job. The anchor is the one that it would begin with: a job that has one keeps it.
    ///
    /// # Errors
    /// As [`Plan::inputs`].
    pub fn carrier(&self) -> Result<Carrier, Failure> {
        if self.ends()? != Ends::Both {
            return Ok(Carrier::default());
        }
        let anchor = match self.kafka_inputs()?.is_empty() {
            true => self.kafka_outputs().min().map(|topic| TopicPartition::new(topic, 0)),
            false => None,
        };
        Ok(Carrier { only_in_manifests: self.sources.keys().map(|name| name.as_str().into()).collect(), anchor })
    }

    /// The topics that the job reads, in the order of its sources.
    ///
    /// # Errors
    /// Fatal: there is no source, or two read the same topic.
    pub fn inputs(&self) -> Result<Vec<&str>, Failure> {
        let mut topics = Vec::new();
        for vertex in &self.vertices {
            let VertexKind::Source { topic } = &vertex.kind else { continue };
            if topics.contains(&topic.as_str()) {
                return Err(Failure::fatal(format!(
                    "two sources read topic {topic:?}: its positions are committed once. Give the stream of one source to both consumers"
                )));
            }
            topics.push(topic.as_str());
        }
        if topics.is_empty() { Err(Failure::fatal("the graph has no source")) } else { Ok(topics) }
    }

    /// A text that is the same for the same graph: names of vertices, operators, states and topics.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        for vertex in &self.vertices {
            text.push_str(&format!("{}[{}];", vertex.name, vertex.operators.join(",")));
        }
        for edge in &self.edges {
            text.push_str(&format!("{}->{};", edge.from, edge.to));
        }
        text
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("graph", &self.fingerprint()).field("topics", &self.topics).finish_non_exhaustive()
    }
}
