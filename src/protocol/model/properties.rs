//! The invariants of [`crate::protocol::invariants`], asked of the model's world.

use super::{
    PARTITIONS,
    instance::Instance,
    store::{Manifest, number},
    world::{Scenario, World},
};
use crate::protocol::invariants::{self, Kept, Named, Violation};
use stateright::Property;
use std::collections::BTreeMap;

pub(super) const OUTPUTS: &str = "outputs are the fold of the committed input, each once";
pub(super) const RESTORABLE: &str = "what Kafka names is durable and whole";
pub(super) const STATE: &str = "the state is the fold of its input";
pub(super) const OWNER: &str = "one owner's commits";
pub(super) const SAVEPOINTS: &str = "savepoints stay whole";
pub(super) const REFUSAL: &str = "no refusal without a reason";
pub(super) const STUCK: &str = "nobody waits for what cannot come";
pub(super) const RECOVERS: &str = "a run without faults recovers";

type Check = fn(&World) -> Result<(), Violation>;

const SAFE: [(&str, Check); 6] =
    [(OUTPUTS, outputs), (RESTORABLE, restorable), (STATE, state), (OWNER, owner), (SAVEPOINTS, savepoints), (REFUSAL, refusals)];

pub(super) fn all() -> Vec<Property<Scenario>> {
    vec![
        Property::always(OUTPUTS, |_, world| outputs(world).is_ok()),
        Property::always(RESTORABLE, |_, world| restorable(world).is_ok()),
        Property::always(STATE, |_, world| state(world).is_ok()),
        Property::always(OWNER, |_, world| owner(world).is_ok()),
        Property::always(SAVEPOINTS, |_, world| savepoints(world).is_ok()),
        Property::always(REFUSAL, |_, world| refusals(world).is_ok()),
        Property::always(STUCK, |scenario, world| scenario.under(|| stuck(scenario, world).is_ok())),
        Property::always(RECOVERS, |scenario, world| scenario.under(|| scenario.recovers(world))),
    ]
}

/// The first property that does not hold, and why.
pub(super) fn violated(world: &World) -> Option<(&'static str, Violation)> {
    SAFE.iter().find_map(|(name, check)| check(world).err().map(|violation| (*name, violation)))
}

fn at(offsets: impl IntoIterator<Item = Option<u8>>) -> BTreeMap<u8, i64> {
    (0..).zip(offsets).filter_map(|(partition, offset)| Some((partition, i64::from(offset?)))).collect()
}

fn outputs(world: &World) -> Result<(), Violation> {
    let committed = at(world.broker.committed.iter().map(|committed| committed.map(|(offset, _)| offset)));
    invariants::each_once_in_order(&at([Some(0); PARTITIONS]), &committed, world.broker.visible())
}

fn restorable(world: &World) -> Result<(), Violation> {
    let committed = &world.broker.committed;
    let Some((_, first)) = committed.iter().flatten().next() else { return Ok(()) };
    if committed.iter().any(|committed| committed.is_none_or(|(_, named)| named != *first)) {
        return Err(Violation::new(format!("the partitions do not agree: {committed:?}")));
    }
    let offsets = at(committed.iter().map(|committed| committed.map(|(offset, _)| offset)));
    whole(world, first.checkpoint, first.hash, |kept| {
        let positions = at(kept.positions);
        let named = Named { checkpoint: number(first.checkpoint), hash: first.hash, offsets: &offsets };
        let kept = Kept { hash: kept.hash, positions: &positions, files: &kept.files };
        invariants::named_is_restorable(&named, Some(&kept), |file| world.store.files.contains(file))
    })
}

fn whole(
    world: &World,
    checkpoint: u8,
    hash: u8,
    check: impl FnOnce(&Manifest) -> Result<(), Violation>,
) -> Result<(), Violation> {
    match world.store.manifests.get(&checkpoint) {
        Some(kept) if kept.hash == hash => check(kept),
        Some(kept) => {
            Err(Violation::new(format!("checkpoint {checkpoint} of attempt {hash} was written over by attempt {}", kept.hash)))
        }
        None => Err(Violation::new(format!("the manifest of checkpoint {checkpoint} is not there"))),
    }
}

fn state(world: &World) -> Result<(), Violation> {
    for manifest in world.store.manifests.values() {
        invariants::state_is_fold(&at(manifest.positions), &at(manifest.files.map(|file| Some(file.folded))))?;
    }
    for folds in world.instances.iter().filter_map(Instance::folds) {
        invariants::state_is_fold(&at(folds.map(|(position, _)| Some(position))), &at(folds.map(|(_, folded)| Some(folded))))?;
    }
    Ok(())
}

fn owner(world: &World) -> Result<(), Violation> {
    invariants::commits_form_a_chain(world.broker.commits.iter().copied())
}

fn savepoints(world: &World) -> Result<(), Violation> {
    for (checkpoint, hash) in &world.store.savepoints {
        whole(world, *checkpoint, *hash, |kept| match kept.files.iter().find(|file| !world.store.files.contains(file)) {
            Some(file) => Err(Violation::new(format!("savepoint {checkpoint} has lost {file:?}"))),
            None => Ok(()),
        })?;
    }
    Ok(())
}

/// A process that runs can always go on, if nothing fails and checkpoints are not limited.
fn stuck(scenario: &Scenario, world: &World) -> Result<(), Violation> {
    let mut steps = Vec::new();
    for instance in &world.instances {
        steps.clear();
        instance.steps(scenario.records, u8::MAX, false, &mut steps);
        let ended = matches!(instance, Instance::Down | Instance::Finished | Instance::Refused(..));
        let answer_comes = world.broker.wire.iter().any(|request| instance.awaits(*request));
        if !ended && !answer_comes && steps.iter().all(|step| step.is_fault()) {
            return Err(Violation::new(format!("a process waits for ever: {instance:?}")));
        }
    }
    Ok(())
}

/// Nothing in the model is broken such that a person would have to decide.
fn refusals(world: &World) -> Result<(), Violation> {
    match world.instances.iter().find(|instance| matches!(instance, Instance::Refused(_))) {
        Some(Instance::Refused(why)) => Err(Violation::new(format!("recovery has refused: {why}"))),
        _ => Ok(()),
    }
}
