//! The broker that the other tests rely on: it dies, freezes and comes back with the same data on the same port, and nothing of it
//! stays behind.

use crate::harness::{END, LIMIT, within};
use integration_tests::{
    Result,
    broker::{Broker, Options},
    deadline::wait_until,
    ensure,
    topics::Cluster,
};
use std::{path::Path, process::Command};

fn values(cluster: &Cluster) -> Result<Vec<String>> {
    let records = cluster.read("numbers")?;
    Ok(records.into_iter().filter_map(|record| String::from_utf8(record.value?).ok()).collect())
}

#[test]
fn data_and_port_outlive_kill_stop_and_pause() {
    within(LIMIT, || {
        // Given a broker of our own with one record
        let mut broker = Broker::start(&Options::own())?;
        let cluster = Cluster::at(broker.bootstrap())?;
        cluster.create("numbers", 1, &[])?;
        cluster.send("numbers", [("a", b"1".as_slice())])?;
        // When it is killed, started again, stopped, started again, and paused for a moment
        broker.kill(1)?;
        ensure!(cluster.brokers().is_err(), "a killed broker answered");
        broker.restart(1)?;
        cluster.send("numbers", [("a", b"2".as_slice())])?;
        broker.stop(1)?;
        broker.restart(1)?;
        broker.pause(1)?;
        ensure!(cluster.brokers().is_err(), "a paused broker answered");
        broker.resume(1)?;
        wait_until("the resumed broker", END, || Ok(cluster.brokers().is_ok()))?;
        cluster.send("numbers", [("a", b"3".as_slice())])?;
        // Then every record is there, in order, at the same address
        let values = values(&cluster)?;
        ensure!(values == ["1", "2", "3"], "{values:?}");
        Ok(())
    });
}

#[test]
fn three_brokers_go_on_without_one() {
    within(LIMIT, || {
        let mut cluster_of_three = Broker::start(&Options { brokers: 3, ..Options::own() })?;
        let cluster = Cluster::at(cluster_of_three.bootstrap())?;
        cluster.create("numbers", 3, &[])?;
        cluster.send("numbers", [("a", b"1".as_slice())])?;
        cluster_of_three.kill(2)?;
        cluster.send("numbers", [("a", b"2".as_slice())])?;
        cluster_of_three.restart(2)?;
        let values = values(&cluster)?;
        ensure!(values == ["1", "2"], "{values:?}");
        Ok(())
    });
}

/// The program `broker` is killed with -9, so that nothing of it can clean up.
#[test]
fn a_killed_owner_leaves_no_broker_and_no_folder() {
    within(LIMIT, || {
        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.env("BROKER", "process").env_remove("KAFKA").args(["--heap", "512m"]);
        let mut owner = integration_tests::process::Process::spawn("broker", &mut command, log.path())?;
        let mut seen = String::new();
        wait_until("the address of the broker", 2 * END, || {
            seen = std::fs::read_to_string(log.path())?;
            ensure!(owner.try_exit()?.is_none(), "{seen}");
            Ok(seen.lines().any(|line| line.starts_with("127.0.0.1:")))
        })?;
        let pid = seen.split_once("(process ").and_then(|(_, rest)| rest.split_once(')')).map(|(pid, _)| pid.to_owned());
        let pid = pid.ok_or_else(|| integration_tests::anyhow!("no process id in {seen}"))?;
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        let properties =
            arguments.split('\0').find(|argument| argument.ends_with("server.properties")).unwrap_or_default().to_owned();
        ensure!(Path::new(&properties).exists(), "{arguments:?}");
        owner.kill()?;
        wait_until("the end of the broker", END, || Ok(!Path::new("/proc").join(&pid).exists()))?;
        wait_until("the end of its folder", END, || Ok(!Path::new(&properties).exists()))
    });
}
