//! The simulated broker as the engine's [`Cluster`]: one attempt's way to it.

use super::{
    fate::ProcessId,
    network::{Network, Trouble},
    pool::{Pool, Settings, Transactions},
};
use crate::engine::{
    cluster::Cluster,
    sink,
    source::{LazyHeaders, RawRecord, Round, SplitReader},
    stop::Stop,
};
use crate::protocol::{
    Failure, FailureKind, Positions, TopicPartition,
    mutant::{self, Mutant},
    recovery::CommittedOffset,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// One process's way to the broker.
#[derive(Clone)]
pub(super) struct SimulatedCluster {
    pub(super) network: Network,
    /// The fibers of the pool belong to it; none: there is no pool in the background, ids are initialised when they are needed.
    pub(super) process: Option<ProcessId>,
    pub(super) group: String,
    pub(super) transaction_timeout: Duration,
    pub(super) patience: Duration,
}

/// What a request that was not answered, or refused, means for the attempt.
pub(super) fn failure(doing: &str, trouble: Trouble) -> Failure {
    let kind = match trouble {
        Trouble::Refused(super::broker::Refusal::Fenced) => FailureKind::Fenced,
        Trouble::TimedOut => FailureKind::Transient,
        Trouble::Refused(_) | Trouble::Stopped => FailureKind::Attempt,
    };
    Failure::new(kind, format!("{doing}: {trouble:?}"))
}

impl SimulatedCluster {
    fn ask<R: Send + 'static>(
        &self,
        doing: &str,
        stop: &Stop,
        question: impl Fn(&mut super::broker::Broker, Duration) -> Result<R, super::broker::Refusal> + Clone + Send + 'static,
    ) -> Result<R, Failure> {
        self.network.call(doing, self.patience, stop, question).map_err(|trouble| failure(doing, trouble))
    }
}

impl Cluster for SimulatedCluster {
    fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Failure> {
        let topic = topic.to_owned();
        self.ask("partitions", &Stop::new(), move |broker, _| {
            let count = broker.inputs.get(&topic).map_or(0, Vec::len);
            Ok((0..i32::try_from(count).unwrap_or(0)).collect())
        })
    }

    fn log_bounds(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, (i64, i64)>, Failure> {
        let partitions = partitions.to_vec();
        self.ask("log bounds", &Stop::new(), move |broker, _| {
            let end = |partition: &TopicPartition| {
                let log = broker.inputs.get(&*partition.topic)?.get(usize::try_from(partition.partition).ok()?)?;
                Some((partition.clone(), (0, i64::try_from(log.len()).ok()?)))
            };
            Ok(partitions.iter().filter_map(end).collect())
        })
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        stop: &Stop,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
        let partitions = partitions.to_vec();
        self.ask("committed offsets", stop, move |broker, now| broker.committed(&partitions, now))
    }

    fn start_positions(&self, partitions: &[TopicPartition], _: bool) -> Result<Positions, Failure> {
        Ok(partitions.iter().map(|partition| (partition.clone(), 0)).collect())
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        Ok(Box::new(Reader { network: self.network.clone(), positions: positions.clone() }))
    }

    /// The supervisor's loop, which asks, is not simulated.
    fn still_ours(&self, _stop: &Stop) -> Result<(), Failure> {
        Ok(())
    }

    fn transactions(
        &self,
        fence: &BTreeSet<String>,
        ids: &[String],
        witness: &TopicPartition,
        stop: &Stop,
    ) -> Result<Box<dyn sink::Transactions>, Failure> {
        // Kafka's pool initialises its own ids in any case. Here a list that lacks one is taken at its word.
        let own = ids.iter().filter(|_| !mutant::on(Mutant::ForgottenIdWhenFencing));
        let first = fence.iter().chain(own).cloned().collect();
        let settings = Settings {
            group: self.group.clone(),
            ids: ids.to_vec(),
            witness: witness.clone(),
            transaction_timeout: self.transaction_timeout,
            patience: self.patience,
        };
        Ok(Box::new(Transactions(Pool::start(&self.network, self.process, settings, &first, stop)?)))
    }
}

/// Reads without transactions: input is there or not.
struct Reader {
    network: Network,
    positions: Positions,
}

impl SplitReader for Reader {
    fn poll(&mut self, _: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
        let world = &self.network.world;
        world.sleep(world.between(Duration::from_micros(200), Duration::from_millis(2)));
        let mut round = Round::default();
        for (partition, offset) in &mut self.positions {
            let from = usize::try_from(*offset).unwrap_or(usize::MAX);
            let number = usize::try_from(partition.partition).unwrap_or(usize::MAX);
            let keys: Vec<String> = self.network.inside(|broker| {
                let log = broker.inputs.get(&*partition.topic).and_then(|log| log.get(number));
                let new = log.into_iter().flatten().skip(from).take(max.saturating_sub(round.records));
                new.map(|record| record.key.clone()).collect()
            });
            for key in keys {
                each(RawRecord {
                    topic: &partition.topic,
                    partition: partition.partition,
                    offset: *offset,
                    timestamp: Some(*offset),
                    key: Some(key.as_bytes()),
                    value: None,
                    headers: LazyHeaders::none(),
                });
                *offset += 1;
                round.records += 1;
            }
            round.dry.push((partition.partition, *offset));
        }
        Ok(round)
    }

    fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        self.positions.extend(positions.clone());
        Ok(())
    }

    fn lag(&self, _: &Positions) -> Vec<(i32, i64)> {
        Vec::new()
    }
}
