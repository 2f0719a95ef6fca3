//! A program of a user's own, with the whole command line: `examples/orders_in_rust.rs` is the order job again, written with the stream
//! API. What it gives out is judged by the audit of the built-in job.

use crate::{
    harness::{END, LIMIT, says, within},
    own_program::Own,
};
use integration_tests::{Result, ensure, job::Load, process};
use std::{process::Command, thread, time::Duration};

const EVENTS: u64 = 10_000;

fn own() -> Result<Own> {
    Own::new("orders_in_rust", "ORDERS_PREFIX")
}

#[test]
fn its_outputs_are_those_of_the_built_in_job_though_it_is_killed() {
    within(LIMIT, || {
        // Given a load with bad records and copies, and more of it while the program runs
        let mut own = own()?;
        own.job = own.job.with_events(Load::of(EVENTS).dirty(20))?;
        let mut more = own.job.start_generating(Load::of(EVENTS).at(2_500).dirty(20).more())?;
        // When it dies at the two steps around the commit, and once at any moment, and goes on with another parallelism
        own.killed_at("after-manifest=kill@3")?;
        own.killed_at("after-commit=kill@2")?;
        let mut service = own.start(&["run", "--set", "job.parallelism=3"], &[])?;
        service.wait_ready()?;
        service.wait_checkpoints(1)?;
        thread::sleep(Duration::from_millis(137));
        service.kill()?;
        more.wait(END)?;
        own.catch_up(&[])?;
        // Then nothing is lost or doubled in any of the seven outputs
        let audit = own.job.audit()?;
        assert_eq!(audit.number("/records_in")?, 2 * EVENTS);
        assert!(audit.number("/dead")? > 0 && audit.number("/copies")? > 0);
        assert!(audit.number("/waiting")? > 0, "no event waits for its batch: the state of the batches was not looked at");
        // Nor when all windows fire
        own.catch_up(&["--drain"])?;
        let audit = own.job.audit()?;
        assert_eq!((audit.number("/records_in")?, audit.number("/waiting")?), (2 * EVENTS, 0));
        Ok(())
    });
}

#[test]
fn its_command_line_is_that_of_the_built_in_job() {
    within(LIMIT, || {
        // Before there are topics, it says so, and changes nothing
        let own = own()?;
        let refused = own.run(&["validate"])?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
        says(&refused.stdout, &["topics", "FAILED", &own.job.input()])?;
        // It makes its own, the same as the built-in job would
        says(&own.succeed(&["topics", "create", "--partitions", "4"])?, &[&own.job.output("order-batches"), "created, 4"])?;
        says(&own.job.succeed(["topics", "create"], END)?, &[&own.job.input(), "was there"])?;
        let valid = own.succeed(&["validate"])?;
        says(&valid, &["kafka.bootstrap_servers", "all 8 are there", "transaction_timeout"])?;
        ensure!(!valid.contains("FAILED"), "{valid}");
        let mut graph = Command::new(&own.program);
        let graph = process::output(graph.arg("graph").env("ORDERS_PREFIX", format!("{}.", own.job.name())), END)?;
        says(&graph, &["dedup", "purchases", &own.job.output("low-stock-alerts")])?;
        let wrong = own.run(&["validate", "--set", "orders.window=1h"])?;
        assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stdout);
        says(&wrong.stderr, &["orders.window", "order job"])?;
        // It is stopped with a savepoint while it runs
        own.job.generate(Load::of(EVENTS))?;
        let mut service = own.start(&["run"], &[])?;
        service.wait_ready()?;
        service.wait_checkpoints(2)?;
        let listen = format!("http.listen={}", service.address());
        says(&own.succeed(&["stop", "--savepoint", "--set", &listen])?, &["savepoint"])?;
        let exit = service.wait(END)?;
        ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(40));
        // What it keeps can be looked at
        let states = own.succeed(&["state", "list"])?;
        says(&states, &["dedup", "track", "inventory", "purchases"])?;
        let order = own.succeed(&["state", "get", "--operator", "track", "--state", "order", "--key", "O-000000001"])?;
        says(&order, &["status", "times"])?;
        says(&own.succeed(&["checkpoint", "list"])?, &["committed"])?;
        let listed: serde_json::Value = serde_json::from_str(&own.succeed(&["savepoint", "list", "--json"])?)?;
        let id = listed.pointer("/0/id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        // And it goes on from the savepoint
        own.catch_up(&["--from", &id])?;
        assert_eq!(own.job.audit()?.number("/records_in")?, EVENTS);
        Ok(())
    });
}
