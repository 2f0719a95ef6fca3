//! Sources that break one promise each, and the suite that says which.

use super::{Broken, Promise, source};
use crate::engine::{
    Timestamp,
    local::LocalSource,
    source::{Decode, LazyHeaders, RawRecord, Round, SplitReader, Undecodable},
};
use crate::protocol::{Failure, Positions};
use crate::stream::Source;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What is wrong with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    CannotBeOpened,
    NoPartitions,
    OtherPartitionsEachTime,
    EndBeforeBeginning,
    ForeignPartition,
    BeforeThePosition,
    PositionStays,
    MoreThanWanted,
    Miscounted,
    Blocks,
    NeverDry,
    EndsTooSoon,
    OtherRecordsEachTime,
    ForgetsOneWhenItBeginsInTheMiddle,
    RepeatsOneWhenItBeginsInTheMiddle,
    OtherRecordsWhenAlone,
    IgnoresWhatIsAdded,
    DecoderCounts,
}

const PARTITIONS: i32 = 3;
const END: i64 = 50;

/// Numbers in three partitions; the position is the number.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    fault: Fault,
    /// Counts the instances.
    instance: u64,
}

impl Source for Numbers {
    type Out = String;
    type Decoder = Text;

    fn into_parts(self) -> (Arc<dyn LocalSource>, impl Fn() -> Text + Send + Sync + 'static) {
        (Arc::new(self), move || Text { fault: self.fault, decoded: Cell::new(0) })
    }
}

struct Text {
    fault: Fault,
    decoded: Cell<u64>,
}

impl Decode for Text {
    type Out = String;

    fn decode(&mut self, record: &RawRecord<'_>) -> Result<(Timestamp, String), Undecodable> {
        self.decoded.set(self.decoded.get() + 1);
        let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        if record.offset == 13 {
            return Err(Undecodable { class: "unlucky", message: "13".into() });
        }
        match self.fault {
            Fault::DecoderCounts => Ok((0, format!("{text} is number {}", self.decoded.get()))),
            _ => Ok((record.offset, text)),
        }
    }
}

impl LocalSource for Numbers {
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        Ok(match self.fault {
            Fault::NoPartitions => BTreeSet::new(),
            Fault::OtherPartitionsEachTime => (0..PARTITIONS + i32::try_from(self.instance % 2).unwrap()).collect(),
            _ => (0..PARTITIONS).collect(),
        })
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), Failure> {
        // The last one is empty.
        let end = if partition == PARTITIONS - 1 { 0 } else { END };
        Ok(if self.fault == Fault::EndBeforeBeginning { (END, 0) } else { (0, end) })
    }

    fn reader(&self, positions: &Positions) -> Result<Box<dyn SplitReader>, Failure> {
        if self.fault == Fault::CannotBeOpened {
            return Err(Failure::transient("the door is locked"));
        }
        let next: BTreeMap<i32, i64> = positions.iter().map(|(at, next)| (at.partition, *next)).collect();
        let begun = next.clone();
        Ok(Box::new(Reader { of: *self, next, begun }))
    }

    fn bounded(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "numbers".into()
    }
}

struct Reader {
    of: Numbers,
    next: BTreeMap<i32, i64>,
    begun: BTreeMap<i32, i64>,
}

impl SplitReader for Reader {
    fn poll(&mut self, _: Duration, max: usize, each: &mut dyn FnMut(RawRecord<'_>)) -> Result<Round, Failure> {
        let mut round = Round::default();
        let (fault, splits) = (self.of.fault, self.next.len());
        let wanted = if fault == Fault::MoreThanWanted { max + 1 } else { max };
        for (partition, next) in &mut self.next {
            let end = self.of.bounds(*partition)?.1;
            let begun = self.begun.get(partition).copied().unwrap_or(0);
            let last = if fault == Fault::EndsTooSoon { end - 1 } else { end };
            while *next < last && round.records < wanted {
                let mut value = next.to_string();
                let (mut offset, mut told) = (*next, *partition);
                match fault {
                    Fault::ForeignPartition if *next == 30 => told = PARTITIONS + 4,
                    Fault::BeforeThePosition if *next == begun && begun > 0 => offset -= 1,
                    Fault::PositionStays if *next == 30 => offset -= 1,
                    Fault::OtherRecordsEachTime if *next == 30 => value = self.of.instance.to_string(),
                    Fault::OtherRecordsWhenAlone if splits == 1 && begun == 0 && *next == 30 => value = "alone".into(),
                    Fault::ForgetsOneWhenItBeginsInTheMiddle if *next == begun && begun > 20 => {
                        *next += 1;
                        continue;
                    }
                    Fault::RepeatsOneWhenItBeginsInTheMiddle if *next == begun && begun > 20 => value = (*next - 1).to_string(),
                    _ => {}
                }
                let value = Some(value.as_bytes());
                let (timestamp, key, headers) = (None, None, LazyHeaders::none());
                each(RawRecord { topic: "numbers", partition: told, offset, timestamp, key, value, headers });
                *next += 1;
                round.records += 1;
            }
            if *next >= last && fault != Fault::NeverDry {
                round.dry.push((*partition, *next));
            }
        }
        if fault == Fault::Miscounted && round.records > 0 {
            round.records -= 1;
        }
        if fault == Fault::Blocks && round.records == 0 {
            thread::sleep(Duration::from_millis(2_200));
        }
        Ok(round)
    }

    fn add(&mut self, positions: &Positions) -> Result<(), Failure> {
        if self.of.fault != Fault::IgnoresWhatIsAdded {
            self.next.extend(positions.iter().map(|(at, next)| (at.partition, *next)));
        }
        Ok(())
    }

    fn lag(&self, _: &Positions) -> Vec<(i32, i64)> {
        Vec::new()
    }
}

fn tried(fault: Fault) -> Result<(), Broken> {
    let instances = AtomicU64::new(0);
    source(|| Numbers { fault, instance: instances.fetch_add(1, Ordering::Relaxed) })
}

#[test]
fn a_source_without_fault_passes() {
    assert_eq!(tried(Fault::None), Ok(()));
}

#[test]
fn a_broken_promise_is_named() {
    for (fault, promise) in [
        (Fault::CannotBeOpened, Promise::NothingFails),
        (Fault::NoPartitions, Promise::PartitionsAreStable),
        (Fault::OtherPartitionsEachTime, Promise::PartitionsAreStable),
        (Fault::EndBeforeBeginning, Promise::BoundsAreInOrder),
        (Fault::ForeignPartition, Promise::OnlyWhatWasAsked),
        (Fault::BeforeThePosition, Promise::OnlyWhatWasAsked),
        (Fault::PositionStays, Promise::PositionsGrow),
        (Fault::MoreThanWanted, Promise::RoundsAreCounted),
        (Fault::Miscounted, Promise::RoundsAreCounted),
        (Fault::Blocks, Promise::RoundsAreShort),
        (Fault::NeverDry, Promise::EndIsReported),
        (Fault::EndsTooSoon, Promise::EndIsReported),
        (Fault::OtherRecordsEachTime, Promise::ReplayIsEqual),
        (Fault::ForgetsOneWhenItBeginsInTheMiddle, Promise::ResumesBehindEachRecord),
        (Fault::RepeatsOneWhenItBeginsInTheMiddle, Promise::ResumesBehindEachRecord),
        (Fault::OtherRecordsWhenAlone, Promise::SplitsRedistribute),
        (Fault::IgnoresWhatIsAdded, Promise::SplitsRedistribute),
        (Fault::DecoderCounts, Promise::DecodingIsRepeatable),
    ] {
        let broken = tried(fault).expect_err(&format!("{fault:?} was not seen"));
        assert_eq!(broken.promise, promise, "{fault:?}: {broken}");
    }
}

#[test]
fn what_is_told_names_the_place_and_both_sides() {
    let broken = tried(Fault::RepeatsOneWhenItBeginsInTheMiddle).unwrap_err().to_string();
    for part in ["partition 0", "position 22", r#""21" at 22"#, r#""22" at 22"#] {
        assert!(broken.contains(part), "{part:?} is not in {broken:?}");
    }
}
