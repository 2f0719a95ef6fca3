//! `sluicegate state scan`

use super::{
    super::{Code, Stop, screen},
    looking::{Shown, Where},
};
use crate::{
    protocol::Failure,
    state::{Entry, StateDescriptor},
};

/// Show the entries of a state, one per line: the key, a tab, the value as JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate state scan --operator track --state order --prefix O-00000 --limit 10 --json")]
pub(super) struct Scan {
    /// Operator that the state belongs to
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// State of the operator
    #[arg(long, value_name = "NAME")]
    state: String,
    /// Only entries whose key begins like this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Entries shown at most; 0 means all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Each line as a JSON object, with key group and the event times of the time to live
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

impl Scan {
    pub(super) fn run(&self) -> Result<Code, Stop> {
        let (_, (state, prefix), stored) = self.place.look(|described| {
            let state = described.state(&self.operator, &self.state)?;
            Ok((state.clone(), self.encoded_prefix(state)?))
        })?;
        let mut lines = screen::Lines::begin();
        let (mut shown, mut more) = (0, false);
        stored.scan(&state.column_family(), &prefix, |entry| {
            if self.limit > 0 && shown == self.limit {
                more = true;
                return Ok(false);
            }
            shown += 1;
            lines.line(&self.line(&state, entry)?)?;
            Ok::<bool, Stop>(true)
        })?;
        lines.finish()?;
        if more {
            eprintln!("sluicegate: there are more than these {shown}; --limit 0 shows all");
        }
        Ok(Code::Done)
    }

    fn line(&self, state: &StateDescriptor, entry: Entry<'_>) -> Result<String, Failure> {
        let entry = Shown::of(state, entry)?;
        if self.json {
            return serde_json::to_string(&entry).map_err(|error| Failure::fatal(error.to_string()));
        }
        // One entry is one line, whatever a producer wrote into its key.
        let key = screen::one_line(&state.key.show(&entry.key));
        Ok(format!("{key}\t{}", entry.value))
    }

    fn encoded_prefix(&self, state: &StateDescriptor) -> Result<Vec<u8>, Failure> {
        let Some(written) = &self.prefix else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        let encoded = state.key.parse(written).and_then(|prefix| state.key.encode_prefix(&prefix, &mut bytes));
        encoded.map_err(|failure| failure.context(format_args!("state {}", state.column_family())))?;
        Ok(bytes)
    }
}
