//! Whether the job that starts can go on from a checkpoint: names of operators and states, sources, key groups.

use super::{
    evolution,
    plan::{Ends, Plan},
    recovery::Identity,
    snapshot::{ElementKind, NamedElement},
};
use crate::checkpoint::{InputPosition, Manifest, OperatorEntry};
use crate::protocol::Failure;
use crate::state::StateDescriptor;

/// Names are identity: a checkpoint is restored only into the operators that wrote it, and into states that can read it.
pub fn check_compatible(manifest: &Manifest, identity: &Identity<'_>, topics: &[&str]) -> Result<(), Failure> {
    if manifest.max_parallelism != u32::from(identity.max_parallelism) {
        return Err(Failure::refused(format!(
            "checkpoint {} was written with job.max_parallelism = {}, the settings say {}: it is fixed for the life of a job",
            manifest.checkpoint, manifest.max_parallelism, identity.max_parallelism
        )));
    }
    if let Some(other) = manifest.input.iter().find(|input| !topics.contains(&input.topic.as_str())) {
        return Err(Failure::refused(format!(
            "checkpoint {} has read topic {}, the job reads {} (source.topic, or the names of its sources): its state belongs to that \
             input",
            manifest.checkpoint,
            other.topic,
            topics.join(", ")
        )));
    }
    check_ends(manifest, identity.plan)?;
    let dropped = identity.from.is_some_and(|from| from.allow_non_restored_state);
    for operator in manifest.operators.iter().filter(|_| !dropped) {
        let known = identity.plan.vertices.iter().any(|vertex| vertex.operators.contains(&operator.name));
        if !known && (!operator.states.is_empty() || !operator.operator_state.is_empty()) {
            return Err(Failure::refused(format!(
                "checkpoint {} holds state of operator {:?}, which this job does not have: an operator was renamed or removed",
                manifest.checkpoint, operator.name
            )));
        }
        check_claimed(manifest, operator, identity.plan)?;
    }
    evolution::check_states(manifest, identity.plan)
}

/// A position means something else in a file than in a topic.
fn check_ends(manifest: &Manifest, plan: &Plan) -> Result<(), Failure> {
    let new_job = "its positions do not fit: give the source another name, and the job too (job.name)";
    match plan.ends()? {
        Ends::Own if manifest.format == Manifest::PLAIN => Ok(()),
        Ends::Own => Err(Failure::refused(format!(
            "checkpoint {} was committed in group {} of Kafka, and the job does without Kafka now: give it another name (job.name)",
            manifest.checkpoint, manifest.group
        ))),
        Ends::Kafka | Ends::Both => {
            let is_other = |input: &&InputPosition| input.only_here != plan.sources.contains_key(&input.topic);
            let Some(other) = manifest.input.iter().find(is_other) else { return Ok(()) };
            let (was, is) = match other.only_here {
                true => ("no topic of Kafka", "it is one now"),
                false => ("a topic of Kafka, or all of the job was without Kafka", "now it is none, in a job with Kafka"),
            };
            Err(Failure::refused(format!(
                "checkpoint {} has read {:?}, which was {was}; {is}: {new_job}",
                manifest.checkpoint, other.topic
            )))
        }
    }
}

/// Refuses operator state that no operator of the job has: it lies in the manifest instead of files.
pub(super) fn check_claimed(manifest: &Manifest, operator: &OperatorEntry, plan: &Plan) -> Result<(), Failure> {
    let elements = operator.operator_state.iter().filter_map(NamedElement::read);
    for NamedElement { state, kind, .. } in elements.filter(|named| named.kind != ElementKind::EventTime) {
        let declared =
            |of: &StateDescriptor| of.operator == operator.name && of.name == state && ElementKind::of(of.kind) == kind;
        if !plan.operator_states.iter().any(declared) {
            return Err(Failure::refused(format!(
                "checkpoint {} holds state {}/{state} ({}), which no operator of this job claims: it was renamed or removed, or is of \
                 another kind now. Give it back its name, or allow non-restored state to go on without it",
                manifest.checkpoint,
                operator.name,
                if kind == ElementKind::Broadcast { "a broadcast map" } else { "a list of subtasks" }
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{Anchor, Reason, StateEntry},
        connectors::Collected,
        engine::{
            local::{LocalSource, TwoPhaseCommitSink},
            plan::{Vertex, VertexKind},
            sink::Staged,
            source::SplitReader,
        },
        protocol::{Carrier, CheckpointId, FailureKind, Positions, TopicPartition},
    };
    use std::{collections::BTreeSet, sync::Arc};

    fn plan(operators: &[&str]) -> Plan {
        let vertex = Vertex {
            name: "orders".to_owned(),
            kind: VertexKind::Source { topic: "orders".to_owned() },
            has_output: true,
            operators: operators.iter().map(|name| (*name).to_owned()).collect(),
            run: Arc::new(|_| Ok(())),
        };
        Plan { vertices: vec![vertex], ..Plan::default() }
    }

    /// Written by a job with the operators "dedup" (with state) and "map" (without).
    fn written() -> Manifest {
        let mut manifest = Manifest::new("shop".parse().unwrap(), CheckpointId(7), None, Reason::Interval);
        let input = InputPosition {
            topic: "orders".into(),
            partition: 0,
            offset: 5,
            began: 0,
            timestamp_seen: None,
            idle: false,
            only_here: false,
        };
        manifest.input.push(input);
        let state = StateEntry { name: "seen".into(), kind: "value".into(), details: serde_json::Map::new() };
        for (name, states) in [("dedup", vec![state]), ("map", Vec::new())] {
            manifest.operators.push(OperatorEntry { name: name.into(), parallelism: 1, states, ..OperatorEntry::default() });
        }
        manifest
    }

    fn check(manifest: &Manifest, plan: &Plan, topic: &str) -> Result<(), String> {
        let job = "shop".parse().unwrap();
        let identity = Identity { job: &job, group: "g", ids: &[], plan, max_parallelism: 128, restore: None, from: None };
        check_compatible(manifest, &identity, &[topic]).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::Refused);
            failure.message
        })
    }

    #[test]
    fn a_renamed_operator_with_state_is_refused_by_its_name_and_one_without_is_not() {
        assert_eq!(check(&written(), &plan(&["dedup", "map"]), "orders"), Ok(()));
        assert_eq!(check(&written(), &plan(&["dedup", "other", "one-more"]), "orders"), Ok(()));
        let message = check(&written(), &plan(&["deduplicate", "map"]), "orders").unwrap_err();
        assert!(message.contains("\"dedup\"") && message.contains("renamed"), "{message}");
    }

    #[test]
    fn operator_state_alone_makes_a_name_needed() {
        let mut manifest = written();
        manifest.operators[1].operator_state.push(serde_json::json!(1));
        assert!(check(&manifest, &plan(&["dedup"]), "orders").unwrap_err().contains("\"map\""));
    }

    #[test]
    fn operator_state_that_nobody_declares_is_refused_by_its_name() {
        let mut manifest = written();
        manifest.operators[1].operator_state.push(NamedElement::write(ElementKind::List, "pending", &1).unwrap());
        let mut plan = plan(&["dedup", "map"]);
        let message = check(&manifest, &plan, "orders").unwrap_err();
        assert!(message.contains("map/pending") && message.contains("renamed"), "{message}");
        // of another kind
        let pending = StateDescriptor::value::<()>("map", "pending");
        plan.operator_states = vec![pending.clone().kind(crate::state::StateKind::Broadcast)];
        assert!(check(&manifest, &plan, "orders").is_err());
        plan.operator_states = vec![pending.kind(crate::state::StateKind::Operator)];
        assert_eq!(check(&manifest, &plan, "orders"), Ok(()));
    }

    #[test]
    fn another_topic_or_number_of_key_groups_is_refused_with_both() {
        let message = check(&written(), &plan(&["dedup"]), "others").unwrap_err();
        assert!(message.contains("orders") && message.contains("others"), "{message}");
        let other = Manifest { max_parallelism: 64, ..written() };
        let message = check(&other, &plan(&["dedup"]), "orders").unwrap_err();
        assert!(message.contains("64") && message.contains("128"), "{message}");
    }

    /// The plan of [`written`], with a file in place of the topic, and a topic or a file as output.
    fn with_other_ends(source: Option<&str>, sink: Option<&str>, topic: Option<&str>) -> Plan {
        let mut plan = plan(&["dedup", "map"]);
        plan.topics = sink.iter().chain(&topic).map(|name| (*name).to_owned()).collect();
        let source = source.map(|name| (name.to_owned(), Arc::new(Nothing) as Arc<dyn LocalSource>));
        plan.sources = source.into_iter().collect();
        let sink = sink.map(|name| (name.to_owned(), Arc::new(Collected::new()) as Arc<dyn TwoPhaseCommitSink>));
        plan.sinks = sink.into_iter().collect();
        plan
    }

    struct Nothing;

    impl LocalSource for Nothing {
        fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
            Ok(BTreeSet::from([0]))
        }
        fn bounds(&self, _: i32) -> Result<(i64, i64), Failure> {
            Ok((0, 0))
        }
        fn reader(&self, _: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
            Err(Failure::fatal("it is not read"))
        }
        fn bounded(&self) -> bool {
            true
        }
        fn describe(&self) -> String {
            "nothing".to_owned()
        }
    }

    #[test]
    fn the_carrier_of_a_job_follows_from_its_ends() {
        let carrier = |source, sink, topic| with_other_ends(source, sink, topic).carrier().unwrap();
        let carried = Carrier { only_in_manifests: ["orders".into()].into(), anchor: Some(TopicPartition::new("out", 0)) };
        assert_eq!(carrier(Some("orders"), None, Some("out")), carried);
        assert_eq!(carrier(Some("orders"), Some("files"), Some("out")), carried);
        // the topic that is read carries it, or Kafka has nothing to do with it
        assert_eq!(carrier(None, Some("files"), Some("out")), Carrier::default());
        assert_eq!(carrier(Some("orders"), Some("files"), None), Carrier::default());
        assert_eq!(carrier(None, None, Some("out")), Carrier::default());
    }

    #[test]
    fn a_source_that_was_another_kind_is_refused_by_its_name() {
        let file = with_other_ends(Some("orders"), None, Some("out"));
        let topic = with_other_ends(None, Some("files"), Some("out"));
        let of_a_file = |anchor: bool| {
            let mut manifest = written();
            manifest.input[0].only_here = true;
            manifest.anchor = anchor.then(|| Anchor { topic: "out".into(), partition: 0 });
            manifest.set_staged(Staged::new());
            manifest
        };
        assert_eq!(check(&of_a_file(true), &file, "orders"), Ok(()));
        assert_eq!(check(&written(), &topic, "orders"), Ok(()));
        for (manifest, plan) in [(written(), &file), (of_a_file(false), &topic)] {
            let message = check(&manifest, plan, "orders").unwrap_err();
            assert!(message.contains("\"orders\"") && message.contains("job.name"), "{message}");
        }
        // and the commits of Kafka do not go over into a file
        let own = with_other_ends(Some("orders"), Some("files"), None);
        assert!(check(&of_a_file(true), &own, "orders").unwrap_err().contains("without Kafka now"));
    }
}
