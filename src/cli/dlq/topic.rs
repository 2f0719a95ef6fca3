//! Where the dead letters of a job lie, and what they come from.

use super::super::Stop;
use crate::{config::Settings, engine::plan::Plan, protocol::Failure};
use std::collections::BTreeSet;

/// A topic of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct DeadLetters {
    /// Its name.
    pub(super) topic: String,
    /// The names that stand in its letters for the job.
    pub(super) jobs: BTreeSet<String>,
    /// The topics that the job reads.
    pub(super) inputs: BTreeSet<String>,
}

/// Which of the topics is meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Which {
    /// The topic of the dead letters; needed where the job writes them to several
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
}

impl DeadLetters {
    /// That of the order job.
    pub(in crate::cli) fn of(settings: &Settings) -> Vec<Self> {
        let jobs = [settings.job.name.to_string()].into();
        vec![Self { topic: settings.topics.dead_letters.clone(), jobs, inputs: [settings.source.topic.clone()].into() }]
    }

    /// Those of a graph.
    ///
    /// # Errors
    /// As [`Plan::inputs`].
    pub(in crate::cli) fn of_graph(plan: &Plan) -> Result<Vec<Self>, Failure> {
        let inputs: BTreeSet<String> = plan.inputs()?.into_iter().map(str::to_owned).collect();
        let topics = plan.dead_letters.iter();
        Ok(topics.map(|(topic, jobs)| Self { topic: topic.clone(), jobs: jobs.clone(), inputs: inputs.clone() }).collect())
    }

    /// The input topics, for a sentence.
    pub(super) fn inputs(&self) -> String {
        self.inputs.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Which {
    /// The one of `all` that is meant.
    ///
    /// # Errors
    /// Usage: there is none, none of this name, or more than one without a name.
    pub(super) fn of(&self, mut all: Vec<DeadLetters>) -> Result<DeadLetters, Stop> {
        let names = all.iter().map(|letters| letters.topic.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(wanted) = &self.topic {
            let found = all.into_iter().find(|letters| letters.topic == *wanted);
            return found.ok_or_else(|| {
                let names = if names.is_empty() { "none".to_owned() } else { names };
                Stop::Usage(format!("--topic {wanted}: the topics of dead letters of this job are: {names}"))
            });
        }
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                Err(Stop::Usage(format!("this job writes dead letters to several topics: choose one with --topic: {names}")))
            }
            (None, _) => Err(Stop::Usage(
                "this job keeps no dead letters: give the second stream of a source of Kafka a topic with \
                 dead.sink_dead_letters(topic, job, max_record_bytes)"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{App, Decode, RawRecord, Timestamp, Undecodable};

    struct Nothing;

    impl Decode for Nothing {
        type Out = ();
        fn decode(&mut self, _: &RawRecord<'_>) -> Result<(Timestamp, ()), Undecodable> {
            Ok((0, ()))
        }
    }

    fn graph(topics: &[(&str, &str)]) -> Vec<DeadLetters> {
        let app = App::new();
        for (input, letters) in topics {
            let (records, dead) = app.source(input, input, || Nothing);
            records.sink("out", |(), _| ());
            dead.sink_dead_letters(letters, "shop", 1_000);
        }
        DeadLetters::of_graph(&app.into_plan().unwrap()).unwrap()
    }

    fn of(which: Option<&str>, all: Vec<DeadLetters>) -> Result<String, String> {
        match (Which { topic: which.map(str::to_owned) }).of(all) {
            Ok(letters) => Ok(letters.topic),
            Err(Stop::Usage(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_only_topic_of_a_graph_needs_no_name_and_one_of_several_does() {
        let one = graph(&[("orders", "dead"), ("payments", "dead")]);
        assert_eq!((one.len(), one[0].inputs()), (1, "orders, payments".to_owned()));
        assert_eq!(of(None, one.clone()), Ok("dead".into()));
        assert_eq!(of(Some("dead"), one.clone()), Ok("dead".into()));
        assert!(of(Some("other"), one).unwrap_err().contains("--topic other: the topics of dead letters of this job are: dead"));
        let two = graph(&[("orders", "a"), ("payments", "b")]);
        assert!(of(None, two.clone()).unwrap_err().ends_with("choose one with --topic: a, b"));
        assert_eq!(of(Some("b"), two), Ok("b".into()));
        assert!(of(None, Vec::new()).unwrap_err().contains("sink_dead_letters"));
        assert!(of(Some("a"), Vec::new()).unwrap_err().ends_with("are: none"));
    }
}
