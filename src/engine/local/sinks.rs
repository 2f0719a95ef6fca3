//! What is done with all sinks of a job that are not Kafka's.

use super::connect::{Owner, SinkTransaction, TwoPhaseCommitSink};
use crate::engine::{
    plan::Plan,
    sink::{Outgoing, Staged},
};
use crate::protocol::Failure;
use std::{collections::BTreeMap, sync::Arc};

/// Sinks by name.
pub(in crate::engine) type Sinks = BTreeMap<String, Arc<dyn TwoPhaseCommitSink>>;

/// Says which guarantees the ends of a job that are not Kafka's do not give.
pub(in crate::engine) fn warn(plan: &Plan) {
    let warnings = plan.sources.iter().map(|(name, source)| (name, source.warning()));
    let warnings = warnings.chain(plan.sinks.iter().map(|(name, sink)| (name, sink.warning())));
    for (name, warning) in warnings {
        if let Some(warning) = warning {
            tracing::warn!(name, "{warning}");
        }
    }
}

/// The job is `owner`'s: publishes what of it is committed (none if the job has never committed), and aborts the rest.
pub(in crate::engine) fn recover(sinks: &Sinks, owner: &Owner, committed: Option<&Staged>) -> Result<(), Failure> {
    let staged = |name: &str| committed.map(|all| all.get(name).map(Vec::as_slice).unwrap_or_default());
    let about = |name: &str, done: Result<(), Failure>| done.map_err(|why| why.context(format_args!("sink {name}")));
    // All of them first: two sinks may write to one place, and what the one aborts there must not be what the other has committed.
    sinks.iter().try_for_each(|(name, sink)| about(name, sink.commit(staged(name).unwrap_or_default())))?;
    sinks.iter().try_for_each(|(name, sink)| about(name, sink.recover(owner, staged(name))))
}

/// The output of one checkpoint, on its way into the sinks.
pub(in crate::engine) struct Staging {
    sinks: Arc<Sinks>,
    owner: Owner,
    open: BTreeMap<String, Box<dyn SinkTransaction>>,
}

impl Staging {
    /// Nothing is staged yet.
    pub(in crate::engine) fn new(sinks: &Arc<Sinks>, owner: &Owner) -> Self {
        Self { sinks: Arc::clone(sinks), owner: owner.clone(), open: BTreeMap::new() }
    }

    /// Adds a record, if it is for one of the sinks; says whether it is.
    pub(in crate::engine) fn write(&mut self, record: &Outgoing<'_>) -> Result<bool, Failure> {
        if let Some(open) = self.open.get_mut(record.topic) {
            open.write(record)?;
            return Ok(true);
        }
        let Some(sink) = self.sinks.get(record.topic) else { return Ok(false) };
        let mut open = sink.begin(&self.owner)?;
        open.write(record)?;
        self.open.insert(record.topic.to_owned(), open);
        Ok(true)
    }

    /// Makes all of it durable, and says under which names.
    pub(in crate::engine) fn pre_commit(self) -> Result<Staged, Failure> {
        self.open.into_iter().map(|(sink, open)| Ok((sink, open.pre_commit()?))).collect()
    }
}

/// Makes visible what was staged.
pub(in crate::engine) fn publish(sinks: &Sinks, staged: &Staged) -> Result<(), Failure> {
    staged.iter().try_for_each(|(name, staged)| sinks.get(name).map_or(Ok(()), |sink| sink.commit(staged)))
}
