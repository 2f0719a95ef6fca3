//! What a program makes of the state that another version of it wrote: compared before anything runs, and remembered for the version
//! after it.

use super::{manifest::stored_state, plan::Plan};
use crate::checkpoint::Manifest;
use crate::protocol::Failure;
use crate::state::StateDescriptor;

/// Refuses a checkpoint whose states this program cannot read. States that only one of the two has are not looked at.
///
/// # Errors
/// Refused: keys, kind or values of a state do not fit; with its names and both shapes.
pub fn check_states(manifest: &Manifest, plan: &Plan) -> Result<(), Failure> {
    for state in &plan.states {
        if let Some(stored) = stored(manifest, state)? {
            let checkpoint = manifest.checkpoint;
            state.check_reads(&stored).map_err(|refused| refused.context(format_args!("checkpoint {checkpoint}")))?;
        }
    }
    Ok(())
}

/// The same graph, whose states remember what their entries in `manifest` were written with: the next manifests say so, too.
///
/// # Errors
/// As [`check_states`].
pub fn continuing(plan: &Plan, manifest: Option<&Manifest>) -> Result<Plan, Failure> {
    let mut plan = plan.clone();
    let Some(manifest) = manifest else { return Ok(plan) };
    for state in &mut plan.states {
        if let Some(stored) = stored(manifest, state)? {
            *state = state.clone().continuing(&stored);
        }
    }
    Ok(plan)
}

fn stored(manifest: &Manifest, state: &StateDescriptor) -> Result<Option<StateDescriptor>, Failure> {
    let named = |(operator, entry): &(&crate::checkpoint::OperatorEntry, &crate::checkpoint::StateEntry)| {
        operator.name == state.operator && entry.name == state.name
    };
    manifest.states().find(named).map(|(operator, entry)| stored_state(manifest, operator, entry)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{OperatorEntry, Reason};
    use crate::engine::manifest::state_entry;
    use crate::protocol::{CheckpointId, FailureKind};
    use crate::state::{StateValue, ValueType};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct First {
        user: String,
    }
    #[derive(Serialize, Deserialize)]
    struct Second {
        user: String,
        #[serde(default)]
        views: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct Third {
        user: String,
        views: u16,
    }
    impl StateValue for First {}
    impl StateValue for Second {}
    impl StateValue for Third {}

    fn session<V: StateValue>() -> StateDescriptor {
        StateDescriptor::value::<String>("sessions", "session").holding::<V>()
    }

    fn plan<V: StateValue>() -> Plan {
        Plan { states: vec![session::<V>()], ..Plan::default() }
    }

    /// As it comes back from storage.
    fn written(plan: &Plan) -> Manifest {
        let mut manifest = Manifest::new("shop".parse().unwrap(), CheckpointId(7), None, Reason::Interval);
        manifest.operators = vec![OperatorEntry {
            name: "sessions".into(),
            parallelism: 1,
            watermark: None,
            states: plan.states.iter().map(state_entry).collect(),
            operator_state: Vec::new(),
        }];
        Manifest::from_bytes(&manifest.to_bytes().unwrap(), &manifest.job, manifest.checkpoint, "manifest").unwrap()
    }

    #[test]
    fn a_program_that_cannot_read_what_is_stored_is_refused_before_it_runs() {
        let first = written(&plan::<First>());
        assert!(check_states(&first, &plan::<Second>()).is_ok());
        let refused = check_states(&first, &plan::<Third>()).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        for part in
            ["checkpoint 7: operator sessions, state session", "{user: text}", "{user: text, views: u16}", "\"views\" is new"]
        {
            assert!(refused.message.contains(part), "{refused}");
        }
        // a state that is not in the checkpoint starts empty
        let mut other = plan::<Third>();
        other.states[0].name = "other".to_owned();
        assert!(check_states(&first, &other).is_ok());
    }

    #[test]
    fn the_third_program_is_compared_with_the_first_one_too() {
        // given entries of the first program, and a second one that has taken over and needs no `views`
        let first = written(&plan::<First>());
        let second = written(&continuing(&plan::<Second>(), Some(&first)).unwrap());
        assert_eq!(stored(&second, &session::<Second>()).unwrap().unwrap().values.len(), 2);
        // then a third one that would read what the second one writes is refused for what the first one wrote
        let refused = check_states(&second, &plan::<Third>()).unwrap_err();
        assert!(refused.message.contains("values of {user: text}, this program {user: text, views: u16}"), "{refused}");
    }

    #[test]
    fn what_version_0_1_wrote_is_taken_and_remembered_as_not_known() {
        let mut old = written(&plan::<First>());
        old.operators[0].states[0].details.remove("values").unwrap();
        assert!(check_states(&old, &plan::<Third>()).is_ok(), "the values themselves are tried later");
        let plan = continuing(&plan::<Second>(), Some(&old)).unwrap();
        assert_eq!(plan.states[0].values[0], ValueType::Unknown);
        assert!(continuing(&plan, None).is_ok());
    }
}
