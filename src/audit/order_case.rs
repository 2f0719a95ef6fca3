//! All that is known about one order, and the ways in which the job may have seen its events.

use super::facts::{Arrival, Change, Digest, Place};
use super::kind::EventKind;
use super::outputs::Status;
use super::{Identity, JobRules};
use compact_str::CompactString;

/// Ways that are tried for one order; usually there is one.
const MOST_WAYS: usize = 2_000;

/// Records of one order among which ways are looked for; an order that somebody sent a thousand times is not worth it.
const MOST_BRANCHING_ARRIVALS: usize = 40;

#[derive(Default)]
pub(super) struct OrderCase {
    pub arrivals: Vec<Arrival>,
    pub statuses: Vec<(Place, Status)>,
    /// Events in batches (with the batch's place), and waiting ones.
    pub batched: Vec<(Option<Place>, EventKind, Digest)>,
    pub late: Vec<(Place, Digest, i64)>,
    pub levels: Vec<(Place, Change)>,
}

/// An event that was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted<'a> {
    pub arrival: &'a Arrival,
    /// The order had been forgotten, and begins anew with it.
    pub anew: bool,
}

/// One way: the events that were accepted, in the order in which they were.
pub(super) type Way<'a> = Vec<Accepted<'a>>;

/// What is possible for one order.
pub(super) struct Ways<'a> {
    /// The first one is what happens when neither events nor the order are forgotten, partitions read one after the other.
    pub ways: Vec<Way<'a>>,
    /// Copies that may have been accepted again.
    pub beyond_ttl: u64,
    /// The events are in this many partitions.
    pub partitions: usize,
    /// There were too many ways to try all of them.
    pub cut_off: bool,
}

/// Every way in which the job may have accepted these events: each event unless it is a copy of an accepted one; a copy that came later than
/// the time to live either way; an event that came so long after the others that the order may have been forgotten as one more event or as
/// the first; partitions in any interleaving. `arrivals` are sorted by place.
pub(super) fn ways<'a>(arrivals: &'a [Arrival], rules: &JobRules) -> Ways<'a> {
    let partitions: Vec<&[Arrival]> = arrivals.chunk_by(|left, right| left.place.partition == right.place.partition).collect();
    let (plain, beyond_ttl) = first_way(arrivals, rules);
    let mut found = Ways { ways: vec![plain], beyond_ttl, partitions: partitions.len(), cut_off: false };
    if beyond_ttl > 0 || partitions.len() > 1 || found.ways.iter().any(|plain| beyond_tracking_ttl(plain, rules) > 0) {
        if arrivals.len() > MOST_BRANCHING_ARRIVALS {
            found.cut_off = true;
        } else {
            let mut search = Search { rules, ways: Vec::new(), accepted: Vec::new(), cut_off: false };
            search.go(&partitions);
            found = Ways { ways: search.ways, cut_off: search.cut_off, ..found };
        }
    }
    found
}

/// The way in which every copy is dropped, partition after partition, and how many copies may have been accepted again.
fn first_way<'a>(arrivals: &'a [Arrival], rules: &JobRules) -> (Way<'a>, u64) {
    let (mut accepted, mut beyond_ttl): (Way<'a>, u64) = (Vec::new(), 0);
    for arrival in arrivals {
        match accepted.iter().find(|earlier| same(earlier.arrival, arrival, rules)) {
            None => accepted.push(Accepted { arrival, anew: false }),
            Some(earlier) => beyond_ttl += u64::from(expired(earlier.arrival, arrival, rules)),
        }
    }
    (accepted, beyond_ttl)
}

struct Search<'a, 'r> {
    rules: &'r JobRules,
    accepted: Way<'a>,
    ways: Vec<Way<'a>>,
    cut_off: bool,
}

impl<'a> Search<'a, '_> {
    fn go(&mut self, rest: &[&'a [Arrival]]) {
        if self.ways.len() >= MOST_WAYS {
            self.cut_off = true;
            return;
        }
        if rest.is_empty() {
            self.ways.push(self.accepted.clone());
            return;
        }
        for (index, partition) in rest.iter().enumerate() {
            let Some((arrival, behind)) = partition.split_first() else { continue };
            let mut left = rest.to_vec();
            if behind.is_empty() {
                left.remove(index);
            } else if let Some(slot) = left.get_mut(index) {
                *slot = behind;
            }
            let earlier = self.accepted.iter().rev().find(|earlier| same(earlier.arrival, arrival, self.rules)).copied();
            if earlier.is_some() {
                self.go(&left);
            }
            if earlier.is_none_or(|earlier| expired(earlier.arrival, arrival, self.rules)) {
                let forgotten = may_be_forgotten(&self.accepted, arrival, self.rules);
                for anew in [false, true].into_iter().take(1 + usize::from(forgotten)) {
                    self.accepted.push(Accepted { arrival, anew });
                    self.go(&left);
                    self.accepted.pop();
                }
            }
        }
    }
}

fn same(left: &Arrival, right: &Arrival, rules: &JobRules) -> bool {
    rules.identity == Identity::Order || left.event.kind == right.event.kind
}

/// Whether the job may have forgotten `earlier` when `copy` came.
fn expired(earlier: &Arrival, copy: &Arrival, rules: &JobRules) -> bool {
    earlier.event.time.saturating_add(rules.dedup_ttl) <= copy.latest
}

/// Whether the job may have forgotten the order of `accepted` when `arrival` came.
fn may_be_forgotten(accepted: &[Accepted<'_>], arrival: &Arrival, rules: &JobRules) -> bool {
    // Its youngest event since it began.
    let begin = accepted.iter().rposition(|accepted| accepted.anew).unwrap_or(0);
    let youngest = accepted.iter().skip(begin).map(|accepted| accepted.arrival.event.time).max();
    youngest.is_some_and(|youngest| youngest.saturating_add(rules.tracking_ttl) <= arrival.latest)
}

/// Events of a way that may have found the order forgotten, whether they did or not.
pub(super) fn beyond_tracking_ttl(way: &[Accepted<'_>], rules: &JobRules) -> u64 {
    let behind = |(index, event): &(usize, &Accepted<'_>)| {
        way.get(..*index).is_some_and(|before| may_be_forgotten(before, event.arrival, rules))
    };
    way.iter().enumerate().filter(behind).count() as u64
}

/// Records of `order-status`: the fold of the accepted events since the order began.
pub(super) fn statuses(way: &[Accepted<'_>]) -> Vec<Status> {
    let mut furthest = EventKind::Created;
    let mut times = [None; 5];
    let mut user = way.first().map(|first| first.arrival.event.user.clone()).unwrap_or_default();
    way.iter()
        .map(|Accepted { arrival, anew }| {
            if *anew {
                (furthest, times, user) = (EventKind::Created, [None; 5], arrival.event.user.clone());
            }
            let kind = arrival.event.kind;
            // The kinds are in the order in which an order passes them, and nothing comes after a cancellation.
            furthest = furthest.max(kind);
            if let Some(time) = times.get_mut(kind as usize) {
                *time = Some(arrival.event.time);
            }
            let status = match furthest {
                EventKind::Created => "CREATED",
                EventKind::PaymentCompleted => "PAID",
                EventKind::Shipped => "SHIPPED",
                EventKind::Delivered => "DELIVERED",
                EventKind::Cancelled => "CANCELLED",
            };
            Status { user: user.clone(), status: CompactString::const_new(status), times }
        })
        .collect()
}

/// Changes of stock: taken by `CREATED` unless the order is cancelled already, given back by `CANCELLED` if `CREATED` came before it;
/// both since the order began.
pub(super) fn changes(way: &[Accepted<'_>]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut created, mut cancelled) = (false, false);
    for Accepted { arrival, anew } in way {
        let event = &arrival.event;
        if *anew {
            (created, cancelled) = (false, false);
        }
        let sign = match event.kind {
            EventKind::Created if !cancelled => -1,
            EventKind::Cancelled if created => 1,
            _ => 0,
        };
        created |= event.kind == EventKind::Created;
        cancelled |= event.kind == EventKind::Cancelled;
        if sign != 0 {
            changes.extend(event.items.iter().map(|(product, quantity)| Change {
                product: product.clone(),
                change: sign * i64::from(*quantity),
                time: event.time,
            }));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::rules::Event;
    use super::*;

    const DAY: i64 = 86_400_000;

    fn arrival(partition: i32, offset: i64, kind: EventKind, time: i64, latest: i64) -> Arrival {
        let event = Event {
            order: "O".into(),
            user: "U".into(),
            kind,
            amount: 0,
            pieces: 1,
            category: "books".into(),
            items: vec![("P".into(), 2), ("Q".into(), 1)],
            time,
        };
        Arrival { place: Place { partition, offset }, event, bytes: Digest::of(b"x"), json: Digest::of(b"x"), latest }
    }

    fn kinds(way: &Way<'_>) -> Vec<(EventKind, i64)> {
        way.iter().map(|accepted| (accepted.arrival.event.kind, accepted.arrival.place.offset)).collect()
    }

    /// The way in which all of them are accepted, of an order that is never forgotten.
    fn all<'a>(arrivals: impl IntoIterator<Item = &'a Arrival>) -> Way<'a> {
        arrivals.into_iter().map(|arrival| Accepted { arrival, anew: false }).collect()
    }

    use EventKind::{Cancelled, Created, PaymentCompleted, Shipped};

    #[test]
    fn copies_are_dropped_and_there_is_one_way() {
        let arrivals = [
            arrival(0, 1, Created, 5, 5),
            arrival(0, 2, Created, 5, 9),
            arrival(0, 3, Shipped, 9, 9),
            arrival(0, 7, Created, 5, 9),
        ];
        let ways = ways(&arrivals, &JobRules::default());
        assert_eq!(ways.ways.iter().map(kinds).collect::<Vec<_>>(), [vec![(Created, 1), (Shipped, 3)]]);
        assert_eq!((ways.beyond_ttl, ways.partitions), (0, 1));
    }

    #[test]
    fn with_identity_order_only_the_first_event_counts() {
        let arrivals = [arrival(0, 1, Created, 5, 5), arrival(0, 3, Shipped, 9, 9)];
        let rules = JobRules { identity: Identity::Order, ..JobRules::default() };
        assert_eq!(ways(&arrivals, &rules).ways.iter().map(kinds).collect::<Vec<_>>(), [vec![(Created, 1)]]);
    }

    #[test]
    fn a_copy_beyond_the_time_to_live_may_go_either_way() {
        let arrivals = [arrival(0, 1, Created, 5, 5), arrival(0, 2, Created, 5, DAY + 4), arrival(0, 3, Created, 5, DAY + 5)];
        let ways = ways(&arrivals, &JobRules::default());
        assert_eq!(ways.ways.iter().map(kinds).collect::<Vec<_>>(), [vec![(Created, 1)], vec![(Created, 1), (Created, 3)]]);
        assert_eq!(ways.beyond_ttl, 1);
    }

    #[test]
    fn events_in_two_partitions_may_interleave() {
        let arrivals = [arrival(0, 1, Created, 5, 5), arrival(0, 2, Shipped, 9, 9), arrival(3, 0, PaymentCompleted, 7, 7)];
        let ways = ways(&arrivals, &JobRules::default());
        assert_eq!(ways.partitions, 2);
        assert_eq!(ways.ways.len(), 3);
        assert_eq!(kinds(&ways.ways[0]), [(Created, 1), (Shipped, 2), (PaymentCompleted, 0)]);
    }

    #[test]
    fn the_status_never_moves_back_and_cancelled_is_final() {
        let arrivals = [
            arrival(0, 1, Created, 1, 1),
            arrival(0, 2, Shipped, 3, 3),
            arrival(0, 3, PaymentCompleted, 2, 3),
            arrival(0, 4, Cancelled, 4, 4),
            arrival(0, 5, EventKind::Delivered, 5, 5),
        ];
        let found: Vec<_> =
            statuses(&all(&arrivals)).into_iter().map(|status| (status.status.to_string(), status.times)).collect();
        assert_eq!(found[0], ("CREATED".into(), [Some(1), None, None, None, None]));
        assert_eq!(found[2], ("SHIPPED".into(), [Some(1), Some(2), Some(3), None, None]));
        assert_eq!(found[4], ("CANCELLED".into(), [Some(1), Some(2), Some(3), Some(5), Some(4)]));
    }

    #[test]
    fn stock_is_given_back_only_if_it_was_taken() {
        let (created, cancelled) = (arrival(0, 1, Created, 1, 1), arrival(0, 2, Cancelled, 4, 4));
        let sum = |arrivals: &[&Arrival]| {
            changes(&all(arrivals.iter().copied())).iter().map(|change| change.change).collect::<Vec<_>>()
        };
        assert_eq!(sum(&[&created, &cancelled]), [-2, -1, 2, 1]);
        assert_eq!(sum(&[&cancelled, &created]), Vec::<i64>::new());
        assert_eq!(sum(&[&created]), [-2, -1]);
    }
    #[test]
    fn an_order_that_nothing_was_heard_of_for_the_time_to_live_may_be_one_or_two() {
        fn begins(way: &Way<'_>) -> Vec<i64> {
            way.iter().filter(|accepted| accepted.anew).map(|accepted| accepted.arrival.place.offset).collect()
        }
        let rules = JobRules { dedup_ttl: DAY, tracking_ttl: 2 * DAY, ..JobRules::default() };
        let ways_of = |arrivals: &[Arrival]| -> (Vec<Vec<i64>>, u64) {
            let found = ways(arrivals, &rules);
            assert!(!found.cut_off);
            (found.ways.iter().map(begins).collect(), beyond_tracking_ttl(&found.ways[0], &rules))
        };
        // given an order that is paid for, and shipped when the watermark may just not be, or be, two days further
        let (created, paid) = (arrival(0, 1, Created, 5, 5), arrival(0, 2, PaymentCompleted, 9, 9));
        let shipped = |latest: i64| arrival(0, 3, Shipped, latest, latest);
        // then it is followed in the one case, and can be both in the other
        assert_eq!(ways_of(&[created, paid, shipped(2 * DAY + 8)]), (vec![vec![]], 0));
        let (created, paid) = (arrival(0, 1, Created, 5, 5), arrival(0, 2, PaymentCompleted, 9, 9));
        let arrivals = [created, paid, shipped(2 * DAY + 9), arrival(0, 4, Cancelled, 2 * DAY + 9, 4 * DAY + 8)];
        assert_eq!(ways_of(&arrivals), (vec![vec![], vec![3]], 1));
        // and one that begins anew knows nothing of its time before
        let anew = ways(&arrivals, &rules).ways.remove(1);
        assert_eq!(statuses(&anew)[2].times, [None, None, Some(2 * DAY + 9), None, None]);
        assert_eq!(statuses(&anew)[3].times, [None, None, Some(2 * DAY + 9), None, Some(2 * DAY + 9)]);
        assert_eq!(changes(&anew).iter().map(|change| change.change).collect::<Vec<_>>(), [-2, -1]);
        // and the youngest event counts, not the last one
        let old = [arrival(0, 1, Shipped, DAY, DAY), arrival(0, 2, Created, 5, DAY), arrival(0, 3, Cancelled, DAY, 3 * DAY - 1)];
        assert_eq!(ways_of(&old), (vec![vec![]], 0));
    }

    #[test]
    fn a_copy_that_comes_when_the_order_may_be_forgotten_may_be_its_first_event_again() {
        let rules = JobRules { dedup_ttl: DAY, tracking_ttl: 2 * DAY, ..JobRules::default() };
        let arrivals = [arrival(0, 1, Created, 5, 5), arrival(0, 2, Created, 5, 2 * DAY + 5)];
        let found = ways(&arrivals, &rules);
        let shown: Vec<Vec<bool>> = found.ways.iter().map(|way| way.iter().map(|accepted| accepted.anew).collect()).collect();
        assert_eq!(shown, [vec![false], vec![false, false], vec![false, true]]);
        assert_eq!(found.beyond_ttl, 1);
    }
}
