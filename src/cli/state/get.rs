//! `sluicegate state get`

use super::{
    super::{Code, Stop, screen},
    looking::{Shown, Where},
};
use crate::{
    protocol::Failure,
    state::{KeyShape, StateDescriptor},
};
use serde::Serialize;
use serde_json::Value;

/// Show the value of a key, as JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate state get --operator track --state order --key O-000000042")]
pub(super) struct Get {
    /// Operator that the state belongs to
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// State of the operator
    #[arg(long, value_name = "NAME")]
    state: String,
    /// The key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// With checkpoint, key group, and the event times of the time to live
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    checkpoint: u64,
    committed: bool,
    operator: &'a str,
    state: &'a str,
    #[serde(flatten)]
    entry: Shown,
}

impl Get {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (described, (state, key), stored) = self.place.look(|described| {
            let state = described.state(&self.operator, &self.state)?;
            Ok((state.clone(), encoded(state, &self.key)?))
        })?;
        let checkpoint = described.found.manifest.checkpoint;
        let Some(entry) = stored.get(&state, &key, |entry| Shown::of(&state, entry))? else {
            return Err(Failure::fatal(format!(
                "checkpoint {checkpoint}: state {} has no key {}",
                state.column_family(),
                self.key
            ))
            .into());
        };
        if self.json {
            let committed = described.found.committed;
            let (operator, state) = (&self.operator, &self.state);
            screen::json(&Answer { checkpoint: checkpoint.0, committed, operator, state, entry })?;
        } else {
            screen::json(&entry.value)?;
        }
        Ok(Code::Done)
    }
}

/// The bytes of a key as it was written.
fn encoded(state: &StateDescriptor, written: &str) -> Result<Vec<u8>, Failure> {
    if state.key == KeyShape::Unit {
        return Err(Failure::fatal(format!(
            "state {} has no keys, but one entry for each key group: `state scan` shows them",
            state.column_family()
        )));
    }
    let read = |key: Value| {
        let mut bytes = Vec::new();
        state.key.encode_json(&key, &mut bytes)?;
        Ok(bytes)
    };
    let bytes = state.key.parse(written).and_then(read);
    bytes.map_err(|failure| failure.context(format_args!("state {}", state.column_family())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_kind_is_refused_with_what_the_state_has() {
        let windows = StateDescriptor::value::<(i64, String)>("purchases", "windows");
        assert!(encoded(&windows, r#"[5,"U-1"]"#).is_ok());
        let error = encoded(&windows, "U-1").unwrap_err().message;
        assert!(error.contains("purchases/windows") && error.contains("[an integer of 64 bits, text]"), "{error}");
        let error = encoded(&StateDescriptor::value::<()>("a", "b"), "x").unwrap_err().message;
        assert!(error.contains("state scan"), "{error}");
    }
}
