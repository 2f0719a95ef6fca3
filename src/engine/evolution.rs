//! What a program makes of the state that another version of it wrote: compared before anything runs, and remembered for the version
//! after it.

use super::{
    manifest::stored_state,
    plan::Plan,
    snapshot::{ElementKind, ElementsShape, NamedElement},
};
use crate::checkpoint::{Manifest, OperatorEntry, StateEntry};
use crate::protocol::Failure;
use crate::state::StateDescriptor;

/// Characters of an element in a message.
const SHOWN: usize = 200;

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
    for state in &plan.operator_states {
        for operator in manifest.operators.iter().filter(|operator| operator.name == state.operator) {
            let checked = check_elements(manifest, operator, state);
            checked.map_err(|refused| refused.context(format_args!("checkpoint {}", manifest.checkpoint)))?;
        }
    }
    Ok(())
}

/// The same for operator state. All of it lies in the manifest: each element is read, whether the manifest says what it is or not, and
/// none that is written later remembers an older type. What has no elements has nothing that could not be read.
fn check_elements(manifest: &Manifest, operator: &OperatorEntry, state: &StateDescriptor) -> Result<(), Failure> {
    let kind = ElementKind::of(state.kind);
    let elements = operator.operator_state.iter().filter_map(NamedElement::read);
    let elements: Vec<_> = elements.filter(|named| named.kind == kind && named.state == state.name).collect();
    if elements.is_empty() {
        return Ok(());
    }
    for entry in operator.operator_state_shapes.iter().filter(|entry| entry.name == state.name) {
        state.check_reads(&stored_state(manifest, operator, entry)?)?;
    }
    let Some((element, error)) =
        elements.iter().find_map(|named| Some((&named.element, state.try_element(&named.element).err()?)))
    else {
        return Ok(());
    };
    let mut shape = ElementsShape::default();
    elements.iter().for_each(|named| shape.learn(kind, &named.element));
    let reads = state.reads().map(|reads| format!(" (this program reads {reads})")).unwrap_or_default();
    let shown: String = element.to_string().chars().take(SHOWN).collect();
    Err(Failure::refused(format!(
        "operator {}, state {}, element {shown}{reads}: {error}; elements of this state look like {shape}: run the program that wrote it, or \
         give the state a new name",
        state.operator, state.name
    )))
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
    let named = |(operator, entry): &(&OperatorEntry, &StateEntry)| operator.name == state.operator && entry.name == state.name;
    manifest.states().find(named).map(|(operator, entry)| stored_state(manifest, operator, entry)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Reason;
    use crate::engine::manifest::{operator_state_entry, state_entry};
    use crate::protocol::{CheckpointId, FailureKind};
    use crate::state::{StateKind, StateValue, ValueType};
    use serde::{Deserialize, Serialize, de::DeserializeOwned};
    use serde_json::{Value, json};

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
            states: plan.states.iter().map(state_entry).collect(),
            operator_state_shapes: plan.operator_states.iter().map(operator_state_entry).collect(),
            ..OperatorEntry::default()
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

    fn list<T: DeserializeOwned>() -> StateDescriptor {
        StateDescriptor::value::<()>("sessions", "waiting").kind(StateKind::Operator).of_elements::<T>()
    }

    fn broadcast<K: DeserializeOwned, V: DeserializeOwned>() -> StateDescriptor {
        StateDescriptor::value::<()>("sessions", "limits").kind(StateKind::Broadcast).of_entries::<K, V>()
    }

    fn holding(state: StateDescriptor) -> Plan {
        Plan { operator_states: vec![state], ..Plan::default() }
    }

    /// A checkpoint of a program with this state, and these elements in it.
    fn with_elements(state: StateDescriptor, elements: &[Value]) -> Manifest {
        let (kind, name) = (ElementKind::of(state.kind), state.name.clone());
        let mut manifest = written(&holding(state));
        let elements = elements.iter().map(|element| NamedElement::write(kind, &name, element).unwrap());
        manifest.operators[0].operator_state.extend(elements);
        manifest
    }

    fn refused(manifest: &Manifest, state: StateDescriptor, parts: &[&str]) {
        let refused = check_states(manifest, &holding(state)).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        for part in parts {
            assert!(refused.message.contains(part), "{refused} does not say {part}");
        }
    }

    #[test]
    fn operator_state_that_does_not_fit_is_refused_with_both_shapes() {
        // given a list and a map of a first program
        let elements = with_elements(list::<First>(), &[json!({"user": "U-1"}), json!({"user": "U-2"})]);
        let entries = with_elements(broadcast::<String, u32>(), &[json!(["small", 10])]);
        // when the types have grown, then they are read
        assert!(check_states(&elements, &holding(list::<Second>())).is_ok());
        assert!(check_states(&entries, &holding(broadcast::<String, i64>())).is_ok());
        // when they do not fit, then operator, state and both shapes are named
        let names = "checkpoint 7: operator sessions, state waiting: the checkpoint has elements of {user: text}";
        refused(&elements, list::<Third>(), &[names, "this program {user: text, views: u16}", "\"views\" is new"]);
        let names = "checkpoint 7: operator sessions, state limits: the checkpoint has entries of a map from text to u32";
        refused(&entries, broadcast::<String, u8>(), &[names, "this program map from text to u8"]);
        refused(&entries, broadcast::<u64, u32>(), &[names, "this program map from u64 to u32", "keys"]);
        // and a list of which nothing is stored has nothing that would be lost
        assert!(check_states(&with_elements(list::<First>(), &[]), &holding(list::<Third>())).is_ok());
    }

    #[test]
    fn elements_that_no_manifest_describes_are_read_before_anything_runs() {
        let mut old = with_elements(list::<First>(), &[json!({"user": "U-1"}), json!({"user": "U-2"})]);
        old.operators[0].operator_state_shapes.clear();
        assert!(check_states(&old, &holding(list::<Second>())).is_ok());
        let names = "checkpoint 7: operator sessions, state waiting, element {\"user\":\"U-1\"}";
        refused(
            &old,
            list::<Third>(),
            &[names, "this program reads {user: text, views: u16}", "look like {user: text}", "views"],
        );
        let mut old = with_elements(broadcast::<String, u32>(), &[json!(["small", 10]), json!(["large", 1000])]);
        old.operators[0].operator_state_shapes.clear();
        let parts = ["state limits, element [\"large\",1000]", "reads map from text to u8", "look like map from text to integer"];
        refused(&old, broadcast::<String, u8>(), &parts);
    }

    #[test]
    fn types_are_asked_as_a_manifest_has_them() {
        use std::net::Ipv4Addr;
        assert_eq!(list::<Ipv4Addr>().values, [ValueType::Text]);
        let addresses = with_elements(list::<Ipv4Addr>(), &[json!("127.0.0.1")]);
        assert!(check_states(&addresses, &holding(list::<Ipv4Addr>())).is_ok());
        assert!(check_states(&addresses, &holding(list::<String>())).is_ok());
        refused(&addresses, list::<u32>(), &["elements of text, this program u32"]);
    }
}
