use super::*;
use crate::checkpoint::{Amount, Holdings};
use crate::protocol::{CheckpointId, TopicPartition};
use std::{collections::BTreeSet, time::Duration};

/// Every metric touched once: families without a member are not shown.
fn all_touched() -> std::sync::Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.source.records("orders").inc_by(10);
    metrics.source.bytes("orders").inc_by(3100);
    metrics.source.lag("orders", 3).set(42);
    metrics.source.set_watermark(1_767_225_600_000);
    metrics.sink.records("order-status").inc_by(9);
    metrics.sink.bytes("order-status").inc_by(900);
    metrics.events.accepted.inc_by(8);
    metrics.events.duplicates.inc();
    metrics.events.dead_letters("json").inc();
    metrics.checkpoints.stall("track").observe(0.003);
    metrics.checkpoints.failed();
    metrics.source.held("orders").set(2);
    let time = metrics.tasks.time("track", 1);
    time.busy(Duration::from_millis(500));
    time.backpressured(Duration::from_millis(250));
    time.idle(Duration::from_millis(125));
    metrics.state.memory("tables").set(1 << 20);
    metrics.state.lies_in(std::path::Path::new("nowhere"));
    let amount = |files, bytes| Amount { files, bytes };
    metrics.checkpoints.stored(Holdings { referenced: amount(3, 4000), unreferenced: amount(1, 500) });
    metrics.attempts.failures("transient").inc();
    metrics.attempts.restarts.inc();
    CheckpointReport {
        checkpoint: CheckpointId(4),
        duration: Duration::from_millis(120),
        phases: Phases { flush: Duration::from_millis(30), ..Phases::default() },
        size_bytes: 5000,
        new_bytes: 700,
        records_in: 10,
        records_out: 9,
        offsets: [(TopicPartition::new("orders", 0), 10)].into(),
    }
    .publish(&metrics);
    metrics
}

#[test]
fn what_is_scraped_is_what_is_listed() {
    let text = all_touched().encode();
    let mut scraped = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        scraped.insert((name, kind.to_owned()));
    }
    let listed = Metrics::new().listing().iter().map(|m| (m.name.clone(), m.kind.to_owned())).collect::<BTreeSet<_>>();
    assert_eq!(scraped, listed, "{text}");
}

#[test]
fn the_documentation_lists_every_metric_and_no_other() {
    let documented: Vec<&str> = include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `")).collect();
    let metrics = Metrics::new();
    let expected: Vec<String> = metrics
        .listing()
        .iter()
        .map(|m| {
            let labels = if m.labels.is_empty() { "-".to_owned() } else { format!("`{}`", m.labels.join("`, `")) };
            format!("| `{}` | {} | {labels} | {} |", m.name, m.kind, m.about)
        })
        .collect();
    assert_eq!(documented, expected, "docs/metrics.md should have these lines:\n{}", expected.join("\n"));
}

#[test]
fn a_snapshot_tells_what_was_counted() {
    let snapshot = all_touched().snapshot();
    assert_eq!((snapshot.records_in, snapshot.accepted, snapshot.duplicates, snapshot.dead_letters), (10, 8, 1, 1));
    assert_eq!(snapshot.records_out, [("order-status".to_owned(), 9)].into());
    assert_eq!(snapshot.lag, [("orders-3".to_owned(), 42)].into());
    assert_eq!(snapshot.watermark, Some(1_767_225_600_000));
    let last = CheckpointSnapshot { number: 4, duration_seconds: 0.12, size_bytes: 5000, new_bytes: 700 };
    assert_eq!((snapshot.checkpoint, snapshot.failed_checkpoints, snapshot.restarts, snapshot.failures), (Some(last), 1, 1, 1));
    assert_eq!(snapshot.checkpoint_storage, [("referenced".to_owned(), 4000), ("unreferenced".to_owned(), 500)].into());
    assert_eq!(snapshot.state_disk, [("live".to_owned(), 0), ("snapshots".to_owned(), 0)].into());
    let task = TaskSnapshot {
        stage: "track".into(),
        task: "1".into(),
        busy_seconds: 0.5,
        backpressured_seconds: 0.25,
        idle_seconds: 0.125,
    };
    assert_eq!(snapshot.tasks, [task]);
    let json = serde_json::to_value(Metrics::new().snapshot()).unwrap();
    assert!(json["watermark"].is_null() && json["checkpoint"].is_null() && json["recordsIn"] == 0, "{json}");
}

#[test]
fn no_watermark_is_shown_before_the_first_and_after_the_end_of_time() {
    let metrics = Metrics::new();
    assert!(!metrics.encode().contains("sluicegate_watermark"));
    metrics.source.set_watermark(i64::MAX);
    assert!(!metrics.encode().contains("sluicegate_watermark"));
    metrics.source.set_watermark(1_500);
    assert!(metrics.encode().contains("\nsluicegate_watermark_timestamp_seconds 1.5\n"));
}
