//! A broker that takes the outputs too slowly must slow the job down, not fill its memory: everything between input and output is bounded.
//!
//! The bound is the one of docs/reliability.md. Settings instead of a switch: with
//! `TEST_ALSO_SET=kafka.properties.queue.buffering.max.kbytes=2097151,kafka.properties.queue.buffering.max.messages=10000000` the
//! producers' queues are not bounded, the job reads all its input into them, and this fails.

use crate::harness::{END, LIMIT, within};
use integration_tests::{
    broker::{Broker, Options},
    ensure,
    job::{Job, Load},
    proxy::Network,
};
use std::{
    thread,
    time::{Duration, Instant},
};

const EVENTS: u64 = 400_000;
const MIB: u64 = 1 << 20;
/// As docs/reliability.md says: `state.memory`, and a fixed part for a job of parallelism 2 with three producers.
const BOUND: u64 = (128 + 272) * MIB;

#[test]
fn a_minute_of_a_slow_broker_keeps_the_process_under_its_bound() {
    within(LIMIT, || {
        // Given more input than memory would hold as outputs, and a job at full speed
        let broker = Broker::start(&Options { proxied: true, ..Options::own() })?;
        let mut job = Job::for_test(broker.bootstrap())?;
        job.set("state.memory", "128MiB").set("kafka.transaction_timeout", "15min");
        // No barrier comes, for which the tasks would wait: only the producer's queue holds the outputs up.
        job.set("checkpoint.interval", "5min").set("checkpoint.timeout", "5min");
        let job = job.with_events(Load::of(EVENTS))?;
        let mut service = job.start()?;
        service.wait_ready()?;
        service.wait_metric("sluicegate_records_in_total", 1.0, END)?;
        // When the way to the broker carries 400 KB a second for a minute, about 2 MB of outputs before their compression
        broker.network(1)?.set(Network::Limits(400_000));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            ensure!(service.try_exit()?.is_none(), "{}", service.last_lines(40));
            thread::sleep(Duration::from_millis(500));
        }
        // Then the job was held back
        let (read, held) = (service.metrics()?.sum("sluicegate_records_in_total", &[]), service.process().peak_memory()?);
        ensure!(read < EVENTS as f64, "nothing held the job back: all input was read, into {} MiB of memory", held / MIB);
        // And the process stays under its bound, to the end
        broker.network(1)?.set(Network::Works);
        service.wait_metric("sluicegate_records_in_total", EVENTS as f64, 2 * END)?;
        let peak = service.process().peak_memory()?;
        eprintln!("peak memory behind a slow broker: {} MiB, of {} MiB", peak / MIB, BOUND / MIB);
        ensure!(peak < BOUND, "{} MiB", peak / MIB);
        let exit = service.finish()?;
        ensure!(exit.code() == Some(0), "{}", service.last_lines(40));
        job.catch_up()?;
        assert_eq!(job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
