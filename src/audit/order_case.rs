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

/// One way: the events that were accepted, in the order in which they were.
pub(super) type Way<'a> = Vec<&'a Arrival>;

/// What is possible for one order.
pub(super) struct Ways<'a> {
    /// The first one is what happens when no copy outlives the time to live, partitions read one after the other.
    pub ways: Vec<Way<'a>>,
    /// Copies that may have been accepted again.
    pub beyond_ttl: u64,
    /// The events are in this many partitions.
    pub partitions: usize,
    /// There were too many ways to try all of them.
    pub cut_off: bool,
}

/// Every way in which the job may have accepted these events: each event unless it is a copy of an accepted one; a copy that came later than
/// the time to live either way; partitions in any interleaving. `arrivals` are sorted by place.
pub(super) fn ways<'a>(arrivals: &'a [Arrival], rules: &JobRules) -> Ways<'a> {
    let partitions: Vec<&[Arrival]> = arrivals.chunk_by(|left, right| left.place.partition == right.place.partition).collect();
    let (plain, beyond_ttl) = first_way(arrivals, rules);
    let mut found = Ways { ways: vec![plain], beyond_ttl, partitions: partitions.len(), cut_off: false };
    if beyond_ttl > 0 || partitions.len() > 1 {
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
        match accepted.iter().find(|earlier| same(earlier, arrival, rules)) {
            None => accepted.push(arrival),
            Some(earlier) => beyond_ttl += u64::from(expired(earlier, arrival, rules)),
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
            let earlier = self.accepted.iter().rev().find(|earlier| same(earlier, arrival, self.rules)).copied();
            if earlier.is_some() {
                self.go(&left);
            }
            if earlier.is_none_or(|earlier| expired(earlier, arrival, self.rules)) {
                self.accepted.push(arrival);
                self.go(&left);
                self.accepted.pop();
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

/// Records of `order-status`: the fold of the accepted events.
pub(super) fn statuses(way: &[&Arrival]) -> Vec<Status> {
    let mut furthest = EventKind::Created;
    let mut times = [None; 5];
    let user = way.first().map(|arrival| arrival.event.user.clone()).unwrap_or_default();
    way.iter()
        .map(|arrival| {
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

/// Changes of stock: taken by `CREATED` unless the order is cancelled already, given back by `CANCELLED` if `CREATED` came before it.
pub(super) fn changes(way: &[&Arrival]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut created, mut cancelled) = (false, false);
    for arrival in way {
        let event = &arrival.event;
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
        way.iter().map(|arrival| (arrival.event.kind, arrival.place.offset)).collect()
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
        let way: Way<'_> = arrivals.iter().collect();
        let found: Vec<_> = statuses(&way).into_iter().map(|status| (status.status.to_string(), status.times)).collect();
        assert_eq!(found[0], ("CREATED".into(), [Some(1), None, None, None, None]));
        assert_eq!(found[2], ("SHIPPED".into(), [Some(1), Some(2), Some(3), None, None]));
        assert_eq!(found[4], ("CANCELLED".into(), [Some(1), Some(2), Some(3), Some(5), Some(4)]));
    }

    #[test]
    fn stock_is_given_back_only_if_it_was_taken() {
        let (created, cancelled) = (arrival(0, 1, Created, 1, 1), arrival(0, 2, Cancelled, 4, 4));
        let sum = |way: &[&Arrival]| changes(way).iter().map(|change| change.change).collect::<Vec<_>>();
        assert_eq!(sum(&[&created, &cancelled]), [-2, -1, 2, 1]);
        assert_eq!(sum(&[&cancelled, &created]), Vec::<i64>::new());
        assert_eq!(sum(&[&created]), [-2, -1]);
    }
}
