//! One bucket of orders: `order-status`, `order-batches`, `late-orders`, and which changes of stock there must be.

use super::facts::{Digest, OrderFact, Place, UserFact, put_user};
use super::kind::EventKind;
use super::order_case::{self, Accepted, OrderCase, Way};
use super::report::Report;
use super::spill::{Bucket, Spill};
use super::{Committed, JobRules, Topic};
use crate::comparison::{
    DifferenceKind,
    lists::{distance, lists},
};
use crate::protocol::Failure;
use compact_str::CompactString;
use std::collections::HashMap;

pub(super) fn judge(
    bucket: Bucket<(CompactString, OrderFact)>,
    committed: &Committed,
    rules: &JobRules,
    users: &mut Spill<(CompactString, UserFact)>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut cases: HashMap<CompactString, OrderCase> = HashMap::new();
    bucket.read(|(order, fact)| {
        let case = cases.entry(order).or_default();
        match fact {
            OrderFact::Event(arrival) => case.arrivals.push(arrival),
            OrderFact::Status(place, status) => case.statuses.push((place, status)),
            OrderFact::Batched(batch, kind, json) => case.batched.push((batch, kind, json)),
            OrderFact::Late(place, bytes, watermark) => case.late.push((place, bytes, watermark)),
            OrderFact::Level(place, change) => case.levels.push((place, change)),
        }
        Ok(())
    })?;
    // Sorted, so that two audits of the same topics show the same differences.
    let mut cases: Vec<(CompactString, OrderCase)> = cases.into_iter().collect();
    cases.sort_by(|left, right| left.0.cmp(&right.0));
    for (order, mut case) in cases {
        case.arrivals.sort_by_key(|arrival| arrival.place);
        case.statuses.sort_by_key(|(place, _)| *place);
        Judge { order: &order, case: &case, committed, rules, report }.judge(users)?;
    }
    Ok(())
}

struct Judge<'a> {
    order: &'a CompactString,
    case: &'a OrderCase,
    committed: &'a Committed,
    rules: &'a JobRules,
    report: &'a mut Report,
}

impl Judge<'_> {
    fn judge(mut self, users: &mut Spill<(CompactString, UserFact)>) -> Result<(), Failure> {
        let case = self.case;
        let ways = order_case::ways(&case.arrivals, self.rules);
        self.report.beyond_ttl += ways.beyond_ttl;
        self.report.orders_in_several_partitions += u64::from(ways.partitions > 1);
        let statuses: Vec<_> = case.statuses.iter().map(|(_, status)| status.clone()).collect();
        let mut levels: Vec<_> = case.levels.iter().map(|(_, change)| change.clone()).collect();
        levels.sort();
        // Several ways are possible only where nobody but the outputs can tell which one happened: they decide.
        let differing = |way: &Way<'_>| {
            distance(&order_case::statuses(way), &statuses, true) + distance(&order_case::changes(way), &levels, false)
        };
        let mut best: Option<(usize, Way<'_>)> = None;
        for way in ways.ways {
            let differing = differing(&way);
            if best.as_ref().is_none_or(|(least, _)| differing < *least) {
                best = Some((differing, way));
            }
            if differing == 0 {
                break;
            }
        }
        let (differing, way) = best.unwrap_or_default();
        self.report.beyond_tracking_ttl += order_case::beyond_tracking_ttl(&way, self.rules);
        if differing > 0 && ways.cut_off {
            self.report.undecided += 1;
        }

        self.report.accepted += way.len() as u64;
        self.report.copies += (case.arrivals.len() - way.len()) as u64;
        let expected = order_case::statuses(&way);
        self.report.output(Topic::OrderStatus).expected += expected.len() as u64;
        lists(self.report.output(Topic::OrderStatus), self.order, &expected, &statuses, true);
        self.one_partition();

        let mut expected = order_case::changes(&way);
        expected.sort();
        self.report.output(Topic::InventoryLevels).expected += expected.len() as u64;
        lists(self.report.output(Topic::InventoryLevels), self.order, &expected, &levels, false);

        self.batches(&way);
        self.late(&way, users)
    }

    fn one_partition(&mut self) {
        let statuses = &self.case.statuses;
        let (first, last) = (statuses.first().map(|(place, _)| *place), statuses.last().map(|(place, _)| *place));
        if let (Some(first), Some(last)) = (first, last)
            && first.partition != last.partition
        {
            let found = format!("{first} and {last}");
            let difference = || (self.order.to_string(), "all records of the order in one partition".to_owned(), found);
            self.report.output(Topic::OrderStatus).note(DifferenceKind::Wrong, difference);
        }
    }

    /// Every accepted event once in a batch, or waiting for one, with the bytes of its producer.
    fn batches(&mut self, way: &Way<'_>) {
        let report = self.report.output(Topic::OrderBatches);
        report.expected += way.len() as u64;
        let mut left: Vec<(Option<Place>, EventKind, Digest)> = self.case.batched.clone();
        let mut unmatched = Vec::new();
        for Accepted { arrival, .. } in way {
            match left.iter().position(|(_, kind, json)| *kind == arrival.event.kind && *json == arrival.json) {
                Some(index) => {
                    left.swap_remove(index);
                }
                None => unmatched.push(arrival),
            }
        }
        let place =
            |batch: Option<Place>| batch.map_or("waiting for a batch".to_owned(), |place| format!("in the batch at {place}"));
        for arrival in unmatched {
            let kind = arrival.event.kind;
            let key = format!("{} {kind}", self.order);
            let expected = format!("the event of {}", arrival.place);
            match left.iter().position(|(_, other, _)| *other == kind) {
                Some(index) => {
                    let (batch, ..) = left.swap_remove(index);
                    report.note(DifferenceKind::Wrong, || (key, expected, format!("other bytes {}", place(batch))));
                }
                None => report.note(DifferenceKind::Missing, || (key, expected, "in no batch and not waiting".to_owned())),
            }
        }
        for (batch, kind, _) in left {
            let key = format!("{} {kind}", self.order);
            report.note(DifferenceKind::Extra, || (key, "no more".to_owned(), place(batch)));
        }
    }

    /// Each late order is an accepted `CREATED` whose window had fired; the other ones count in their windows.
    fn late(&mut self, way: &Way<'_>, users: &mut Spill<(CompactString, UserFact)>) -> Result<(), Failure> {
        let mut late = self.case.late.clone();
        late.sort_by_key(|(place, ..)| *place);
        for Accepted { arrival, .. } in way.iter().filter(|accepted| accepted.arrival.event.kind == EventKind::Created) {
            let event = &arrival.event;
            let window = event.time.div_euclid(self.rules.window) * self.rules.window;
            if let Some(index) = late.iter().position(|(_, bytes, _)| *bytes == arrival.bytes) {
                let (place, _, watermark) = late.remove(index);
                self.report.late += 1;
                self.report.output(Topic::LateOrders).expected += 1;
                let closes = (window + self.rules.window - 1).saturating_add(self.rules.allowed_lateness);
                if watermark < closes || watermark > self.committed.watermark {
                    let expected =
                        format!("a watermark of {closes} (its window closes) to {} (committed)", self.committed.watermark);
                    let difference = || (self.order.to_string(), expected, format!("{watermark} at {place}"));
                    self.report.output(Topic::LateOrders).note(DifferenceKind::Wrong, difference);
                }
                continue;
            }
            let fact = UserFact::Created { window, amount: event.amount, pieces: event.pieces, category: event.category.clone() };
            put_user(users, &event.user, fact)?;
        }
        for (place, ..) in late {
            let difference =
                || (self.order.to_string(), "no (other) accepted CREATED with these bytes".to_owned(), place.to_string());
            self.report.output(Topic::LateOrders).note(DifferenceKind::Extra, difference);
        }
        Ok(())
    }
}
