//! A Kafka broker, as far as transactions see it.

use super::{PARTITIONS, Partition};
use crate::protocol::CheckpointId;
use crate::protocol::invariants::Commit;
use std::collections::BTreeSet;

/// Transactional ids that exist: `g-0` to `g-2`.
pub(super) const IDS: usize = 3;

/// What the metadata of an offset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Named {
    pub(super) checkpoint: u8,
    pub(super) hash: u8,
}

/// Offsets that belong to a transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SentOffsets {
    pub(super) offsets: [Option<u8>; PARTITIONS],
    pub(super) named: Named,
    /// Only for the invariant: what the committing attempt has built on.
    pub(super) base: Option<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    epoch: u8,
    /// A transaction is open; the offsets that were sent to it.
    open: Option<Option<SentOffsets>>,
}

/// A request to commit what is open of this id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EndTxn {
    pub(super) id: u8,
    pub(super) epoch: u8,
}

/// The epoch is not the newest one of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fenced;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Output {
    partition: Partition,
    offset: u8,
    /// The id whose open transaction it belongs to; none when it is committed.
    open: Option<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Broker {
    ids: [Id; IDS],
    /// Epoch of the owner id.
    owner: u8,
    /// The output topic in the order of its offsets, without what was aborted.
    outputs: Vec<Output>,
    pub(super) committed: [Option<(u8, Named)>; PARTITIONS],
    pub(super) commits: Vec<Commit>,
    /// Requests that are under way.
    pub(super) wire: BTreeSet<EndTxn>,
}

impl Broker {
    fn at(&mut self, id: u8, epoch: u8) -> Result<&mut Id, Fenced> {
        let found = &mut self.ids[usize::from(id)];
        if found.epoch == epoch { Ok(found) } else { Err(Fenced) }
    }

    /// InitProducerId: a new epoch; what is open is aborted.
    pub(super) fn initialise(&mut self, id: u8) -> u8 {
        self.abort(id);
        let found = &mut self.ids[usize::from(id)];
        found.epoch += 1;
        found.epoch
    }

    /// Initialises the owner id.
    pub(super) fn take(&mut self) -> u8 {
        self.owner += 1;
        self.owner
    }

    /// A request with the owner id.
    pub(super) fn prove(&self, owner: u8) -> Result<(), Fenced> {
        if self.owner == owner { Ok(()) } else { Err(Fenced) }
    }

    fn abort(&mut self, id: u8) {
        self.ids[usize::from(id)].open = None;
        self.outputs.retain(|output| output.open != Some(id));
    }

    /// Ids with an open transaction: the broker may abort it for its age, which takes the epoch away from its producer.
    pub(super) fn open(&self) -> impl Iterator<Item = u8> {
        (0..).zip(&self.ids).filter(|(_, id)| id.open.is_some()).map(|(number, _)| number)
    }

    pub(super) fn epoch(&self, id: u8) -> u8 {
        self.ids[usize::from(id)].epoch
    }

    /// Produce.
    pub(super) fn append(&mut self, id: u8, epoch: u8, records: &[(Partition, u8)]) -> Result<(), Fenced> {
        let found = self.at(id, epoch)?;
        if !records.is_empty() {
            found.open.get_or_insert(None);
        }
        self.outputs.extend(records.iter().map(|(partition, offset)| Output {
            partition: *partition,
            offset: *offset,
            open: Some(id),
        }));
        Ok(())
    }

    /// TxnOffsetCommit.
    pub(super) fn send_offsets(&mut self, id: u8, epoch: u8, offsets: SentOffsets) -> Result<(), Fenced> {
        self.at(id, epoch)?.open = Some(Some(offsets));
        Ok(())
    }

    /// EndTxn, as it arrives: it commits what is open of this id and epoch, whatever it was sent for.
    pub(super) fn end(&mut self, EndTxn { id, epoch }: EndTxn) -> Result<(), Fenced> {
        let Some(offsets) = self.at(id, epoch)?.open.take() else { return Ok(()) };
        for output in self.outputs.iter_mut().filter(|output| output.open == Some(id)) {
            output.open = None;
        }
        if let Some(SentOffsets { offsets, named, base }) = offsets {
            for (committed, offset) in self.committed.iter_mut().zip(offsets) {
                *committed = offset.map(|offset| (offset, named)).or(*committed);
            }
            let number = |number: u8| CheckpointId(u64::from(number));
            self.commits.push(Commit { checkpoint: number(named.checkpoint), base: base.map(number) });
        }
        Ok(())
    }

    /// What read_committed readers see.
    pub(super) fn visible(&self) -> impl Iterator<Item = (Partition, i64)> {
        self.outputs.iter().filter(|output| output.open.is_none()).map(|output| (output.partition, i64::from(output.offset)))
    }
}
